"""Images + label noise + seed -> the labels to train on."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.checks import check_count, check_type
from sop_classify.data.image_data import ImageData, subset
from sop_classify.data.label_arrays import noise_rate
from sop_classify.labels.cifar_n import read_human_labels
from sop_classify.labels.label_noise import HUMAN_NOISE, LabelNoise
from sop_classify.labels.synthetic import asymmetric_noise, instance_noise, symmetric_noise

__all__ = ["NoisyLabels", "noisy_labels"]


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """A training set whose labels may be wrong.

    Attributes
    ----------
    data : ImageData
        The training images that are used, and all test images.
    given_labels : ndarray of int64, shape (N,)
        The labels to train on.
    true_labels : ndarray of int64, shape (N,), or None
        None if nobody knows which of the given labels are right.
    index : ndarray of int64, shape (N,)
        Position of each training image in the whole data set.
    noise : LabelNoise or None
        What was done to the labels; None if they are those of the data.
    limit : int or None
        How many training images were asked for.
    """

    data: ImageData
    given_labels: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    index: NDArray[np.int64]
    noise: LabelNoise | None
    limit: int | None

    @property
    def noise_rate(self) -> float | None:
        """The fraction of given labels that are wrong; None if it is not known."""
        return None if self.true_labels is None else noise_rate(self.true_labels, self.given_labels)

    @property
    def arguments(self) -> dict[str, Any]:
        """How the labels were made, for run.json; `LabelNoise.from_arguments` reads it."""
        noise = self.noise
        return {
            "noise": None if noise is None else noise.rate,
            "noise_type": "symmetric" if noise is None else noise.kind,
            "limit": self.limit,
            "mapping": None if noise is None else noise.mapping,
        }


def noisy_labels(
    data: ImageData,
    noise: LabelNoise | None,
    *,
    seed: int,
    limit: int | None = None,
    human_labels: str | os.PathLike[str] | None = None,
) -> NoisyLabels:
    """The labels that `train-cifar` trains on.

    Parameters
    ----------
    data : ImageData
        With right labels, unless `noise` is None.
    noise : LabelNoise or None
        None leaves the labels as they are and takes the truth as unknown.
    seed : int
        Decides which labels become wrong, and which images `limit` keeps. The two are drawn
        independently.
    limit : int, optional
        Keep this many training images, with all classes in proportion. All by default.
    human_labels : path, optional
        File with the labels of people, see `read_human_labels`; needed for that kind of noise.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    TypeError
        If a parameter has another type.
    ValueError
        If the noise does not suit the data, `limit` is out of range, or `human_labels` is missing
        or not needed.
    FileError
        If `human_labels` cannot be read or is of other images.
    """
    check_type("data", data, ImageData)
    if noise is not None:
        check_type("noise", noise, LabelNoise)
    seed = check_count("seed", seed)
    limit = None if limit is None else check_count("limit", limit)
    human = noise is not None and noise.is_human
    if human_labels is not None and not human:
        raise ValueError(
            f"human labels are given, and the noise is {noise or 'unknown'}; they are for "
            f"{', '.join(HUMAN_NOISE)}"
        )
    limit_rng, noise_rng = np.random.default_rng(seed).spawn(2)
    given = None
    if noise is not None and human:
        if human_labels is None:
            raise ValueError(f"noise {noise.kind!r} needs human labels, the file that has them")
        given = read_human_labels(human_labels, noise.kind, clean_labels=data.train_labels)
    index = np.arange(len(data.train_labels))
    if limit is not None:
        data, index = subset(data, limit, rng=limit_rng)
        given = None if given is None else given[index]
    if noise is None:
        return NoisyLabels(data, data.train_labels, None, index, None, limit)
    noise = noise.for_classes(len(data.class_names))
    if given is None:
        given = _made(data, noise, noise_rng)
    return NoisyLabels(data, given, data.train_labels, index, noise, limit)


def _made(data: ImageData, noise: LabelNoise, rng: np.random.Generator) -> NDArray[np.int64]:
    labels, classes = data.train_labels, len(data.class_names)
    rate = noise.rate or 0.0
    if noise.kind == "symmetric":
        return symmetric_noise(labels, rate, classes, rng=rng)
    if noise.kind == "instance":
        return instance_noise(data.train_images, labels, rate, classes, rng=rng)
    return asymmetric_noise(labels, rate, classes, mapping=str(noise.mapping), rng=rng)
