"""Labels that people gave: the files of CIFAR-10N and CIFAR-100N.

Wei et al., *Learning with noisy labels revisited*, ICLR 2022 (arXiv 2110.12088) had the training
images of CIFAR labelled again by people. CIFAR-10 has three labels per image (random1 to random3),
their majority (aggre, 9 % wrong), and a wrong label wherever one of the three is wrong (worst, 40 %
wrong). CIFAR-100 has one label per image (cifar100n, 40 % wrong).

The official files are pickles of numpy arrays. A pickle names functions to call, so reading one
may run any code. In addition numpy's own unpickling trusts the types that the file declares, so a
forged array makes it read memory beyond the array. Both are prevented here: torch.load with
weights_only calls only what is on a list, and under numpy's names this list has two classes of this
module, which only store what they are given.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_type
from overparam.files import FileError, file_errors, require_regular_file
from sop_classify.data.label_arrays import check_labels, not_masked
from sop_classify.data.npz import read_arrays
from sop_classify.labels.label_noise import HUMAN_NOISE

__all__ = ["read_human_labels"]

_CLEAN_KEYS = ("clean_label", "train_labels")

_SOURCE = (
    "get CIFAR-10_human.pt or CIFAR-100_human.pt from https://github.com/UCSC-REAL/cifar-10-100n, "
    "if its licence (CC BY-NC 4.0) suits you"
)


def read_human_labels(
    path: str | os.PathLike[str], name: str, *, clean_labels: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Read one set of human labels.

    Parameters
    ----------
    path : str or PathLike
        ``CIFAR-10_human.pt`` or ``CIFAR-100_human.pt`` as published, or an ``.npz`` with the
        same keys (``aggre_label``, ``random_label1`` to ``3``, ``worse_label``, ``noisy_label``) or
        ``cifar10n_aggre``, ``cifar10n_random1`` to ``3`` and ``cifar10n_worse``, of shape (N,) or
        (N, 1).
    name : str
        One of `HUMAN_NOISE`.
    clean_labels : array_like of int, shape (N,), optional
        The true labels of the images. The file holds labels for all training images in the order of
        torchvision; TensorFlow, for example, uses another order. If the file also has clean labels
        (``clean_label`` or ``train_labels``), they must equal these.

    Returns
    -------
    ndarray of int64, shape (N,)
        In [0, 10), for ``"cifar100n"`` in [0, 100).

    Raises
    ------
    FileError
        If the name is unknown; if the file is missing, damaged or another one, or holds anything
        but arrays of integers and lists; or if its labels are not of these images.
    """
    with file_errors("read", path):
        if check_type("name", name, str) not in HUMAN_NOISE:
            raise FileError(f"unknown label set {name!r}; use one of {', '.join(HUMAN_NOISE)}")
        arrays = _read(Path(path), (*HUMAN_NOISE[name], *_CLEAN_KEYS))
        key = next((key for key in HUMAN_NOISE[name] if key in arrays), None)
        if key is None:
            kind = "CIFAR-100N" if name == "cifar100n" else "CIFAR-10N"
            raise FileError(
                f"it has no {HUMAN_NOISE[name][0]!r}, which holds the labels {name!r}; "
                f"use a file of {kind}"
            )
        try:
            labels = check_labels(arrays[key], 100 if name == "cifar100n" else 10)
        except (TypeError, ValueError) as error:
            raise FileError(f"in its {key!r} {error}") from error
        if clean_labels is not None:
            own = next((arrays[key] for key in _CLEAN_KEYS if key in arrays), None)
            _check_order(labels, own, not_masked("clean_labels", clean_labels))
        return labels


def _check_order(labels: NDArray[np.int64], own: NDArray[Any] | None, clean: NDArray[Any]) -> None:
    if labels.shape != clean.shape:
        raise FileError(
            f"it labels {len(labels)} images and {len(clean)} are given; "
            "use all training images, in their published order"
        )
    if own is None or np.array_equal(own, clean):
        return
    if own.shape != clean.shape:
        raise FileError(f"its clean labels have shape {own.shape}; {clean.shape} is needed")
    raise FileError(
        f"its clean labels differ from those given in {(own != clean).sum()} of {len(clean)} "
        "places, so it labels other images, or these in another order; "
        "use the training images in their published order"
    )


def _read(source: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of those keys that the file has."""
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise FileError(f"no such file; {_SOURCE}") from error
    require_regular_file(mode)
    read = _read_npz if source.suffix.lower() == ".npz" else _read_pt
    try:
        return read(source, keys)
    except OSError:
        raise
    except Exception as error:
        # Malformed or hostile bytes make the readers raise nearly anything. torch's own message has
        # many lines and explains how to load the file without protection.
        raise FileError(f"damaged, or not a file of CIFAR-N labels; {_SOURCE}") from error


def _read_npz(source: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    arrays = read_arrays(source, lambda headers: [key for key in keys if key in headers])
    # Labels of images may be a column, see `read_npz`.
    return {k: v[:, 0] if v.shape[1:] == (1,) else v for k, v in arrays.items()}


def _read_pt(source: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    import torch

    with _allowing_stand_ins():
        contents = torch.load(source, map_location="cpu", weights_only=True)
    return {key: contents[key].integers() for key in keys if key in contents}


class _PickledType:
    """Replaces numpy.dtype: its code, such as "i8", and byte order, as written."""

    order = "="

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _PickledArray:
    """Replaces numpy.ndarray and the function that makes one: its bytes, as written."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, _, self.bytes = state

    def integers(self) -> NDArray[Any]:
        dtype = np.dtype(self.type.order + self.type.code)
        if dtype.kind not in "iu":
            raise TypeError(f"the array is {dtype}; integers are needed")
        # frombuffer and reshape check the number of bytes against dtype and shape.
        return np.frombuffer(self.bytes, dtype).reshape(self.shape)


@contextmanager
def _allowing_stand_ins() -> Iterator[None]:
    """Let torch.load make the two classes above, and meanwhile nothing that others allowed.

    torch.serialization.safe_globals would add to what others allowed, which may include numpy's own
    types, and if a name is on the list twice torch may take either entry.
    """
    from torch import serialization

    allowed_by_others = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    serialization.add_safe_globals(
        [
            (_PickledArray, "numpy.core.multiarray._reconstruct"),  # as numpy 1 writes it
            (_PickledArray, "numpy._core.multiarray._reconstruct"),  # and numpy 2
            (_PickledArray, "numpy.ndarray"),
            (_PickledType, "numpy.dtype"),
        ]
    )
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(allowed_by_others)
