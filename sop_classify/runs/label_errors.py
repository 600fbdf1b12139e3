"""From a completed training to what is wrong with the labels of its data."""

import numpy as np
from numpy.typing import NDArray

from sop_classify.data.duplicates import find_duplicates
from sop_classify.data.images import LabelledImages
from sop_classify.data.pixels import rows
from sop_classify.labels.class_weights import class_weights, weighted
from sop_classify.labels.issues import label_issues
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.reports.label_errors import Findings, Judged
from sop_classify.runs.run import Run
from sop_classify.training.loop import TrainingLoop

__all__ = ["judge", "judged_by"]

Probabilities = NDArray[np.float32]

# Weight of the last probabilities beside their averages. The averages find more on few images,
# where the end knows errors by heart (AUROC .997 against .972 on hard errors of the digits, mean of
# two seeds by benchmarks/labels/planted_errors.py). Mixed they find more on CIFAR-10.
_OF_THE_END = 0.35


def judge(run: Run, data: LabelledImages, *, seed: int = 0) -> Findings:
    """Judge all labels by the predictions of one training.

    The score is that of `judged_by`.

    Parameters
    ----------
    run : Run
        With all epochs done, on `data.image_data()`.
    data : LabelledImages
    seed : int
        Seeds the interval of the noise rate.

    Raises
    ------
    FileError
        If the run was completed earlier and its checkpoint is damaged.
    """
    training = run.training
    if training.epoch < training.recipe.epochs:  # completed by an earlier process
        run.restore()

    index = data.index("train", "val")
    said = _said(training, data, index)
    train, val = (np.isin(index, data.index(split)) for split in ("train", "val"))
    return Findings(
        data=data,
        labels=_judged(training, data, index, said),
        test=judged_by(training, data, "test") if "test" in data.splits else None,
        noise_rate=estimate_noise_rate(
            data.labels[index[val]],
            said[val],
            training_labels=data.labels[index[train]],
            training_probability=said[train],
            averaged_probability=training.probability.cpu().numpy(),
            seed=seed,
        ),
        duplicates=find_duplicates(data.images),
    )


def judged_by(training: TrainingLoop, data: LabelledImages, *splits: str) -> Judged:
    """Judge the labels of these splits.

    The score is the probability of the given label, averaged over an image and its mirror image if
    the recipe does so. That of a training image is for 35 % that of the trained network, without
    augmentation, and else the average over the epochs, which hardly knows memorised labels; for
    others it is that of the trained network alone. `class_weights` make up for neglected classes.

    Parameters
    ----------
    training : TrainingLoop
        With all epochs done, on `data.image_data()`.
    data : LabelledImages
    *splits : {"train", "val", "test"}
    """
    index = data.index(*splits)
    return _judged(training, data, index, _said(training, data, index))


def _said(training: TrainingLoop, data: LabelledImages, index: NDArray[np.int64]) -> Probabilities:
    """What the trained network says of these images."""
    return np.concatenate(
        [
            training.predict(rows(data.images, part), flips=training.recipe.flips).cpu().numpy()
            for part in np.array_split(index, -(-index.size // 20_000))
        ]
    )


def _judged(
    training: TrainingLoop, data: LabelledImages, index: NDArray[np.int64], said: Probabilities
) -> Judged:
    averaged = training.probability.cpu().numpy()
    trained = np.isin(index, data.index("train"))
    probability = said.copy()
    probability[trained] *= _OF_THE_END
    probability[trained] += (1 - _OF_THE_END) * averaged[: trained.sum()]
    probability = weighted(probability, class_weights(training.given.cpu().numpy(), averaged))
    issues = label_issues(data.labels[index], probability, score="self_confidence")
    return Judged(index, issues, probability)
