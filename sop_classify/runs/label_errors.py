"""From a completed training to what is wrong with the labels of its data."""

import numpy as np

from sop_classify.data.duplicates import find_duplicates
from sop_classify.data.images import LabelledImages
from sop_classify.data.pixels import rows
from sop_classify.labels.issues import label_issues
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.reports.label_errors import Findings, Judged
from sop_classify.runs.run import Run
from sop_classify.training.loop import TrainingLoop

__all__ = ["judge", "judged_by"]

# Weight of the last probabilities beside their averages. By benchmarks/labels/planted_errors.py the
# averages find more on few images, 0.961 against 0.884 of AUROC on hard errors; the last ones a
# little more on 50,000 (results/labels/label_issues.jsonl, CIFAR-10N Worst).
_OF_THE_END = 0.25


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

    labels = judged_by(training, data, "train", "val")
    train, val = (np.isin(labels.index, data.index(split)) for split in ("train", "val"))
    averaged = training.probability.cpu().numpy()
    return Findings(
        data=data,
        labels=labels,
        test=judged_by(training, data, "test") if "test" in data.splits else None,
        noise_rate=estimate_noise_rate(
            labels.issues.given_label[val],
            labels.probability[val],
            training_labels=labels.issues.given_label[train],
            training_probability=averaged,
            seed=seed,
        ),
        duplicates=find_duplicates(data.images),
    )


def judged_by(training: TrainingLoop, data: LabelledImages, *splits: str) -> Judged:
    """Judge the labels of these splits.

    The score is the probability of the given label: for a training image three quarters of it the
    average over the epochs, which hardly knows memorised labels, and a quarter that of the trained
    network on the image without augmentation; for others only the second.

    Parameters
    ----------
    training : TrainingLoop
        With all epochs done, on `data.image_data()`.
    data : LabelledImages
    *splits : {"train", "val", "test"}
    """
    index = data.index(*splits)
    probability = np.concatenate(
        [
            training.predict(rows(data.images, part)).cpu().numpy()
            for part in np.array_split(index, -(-index.size // 20_000))
        ]
    )
    trained = np.isin(index, data.index("train"))
    averaged = training.probability.cpu().numpy()
    probability[trained] *= _OF_THE_END
    probability[trained] += (1 - _OF_THE_END) * averaged[: trained.sum()]
    issues = label_issues(data.labels[index], probability, score="self_confidence")
    return Judged(index, issues, probability)
