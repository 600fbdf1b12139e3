"""From a completed training to what is wrong with the labels of its data."""

import numpy as np
from numpy.typing import NDArray

from sop_classify.data.duplicates import find_duplicates
from sop_classify.data.images import LabelledImages
from sop_classify.data.pixels import rows
from sop_classify.labels.issues import label_issues
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.reports.label_errors import Findings, Judged
from sop_classify.runs.run import Run

__all__ = ["judge"]


def judge(run: Run, data: LabelledImages, *, seed: int = 0) -> Findings:
    """Judge all labels by the network at the end of its training.

    The score is the probability of the given label, from the image without augmentation.

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

    def judged(*splits: str) -> Judged:
        index = data.index(*splits)
        probability = np.concatenate(
            [
                training.predict(rows(data.images, part)).cpu().numpy()
                for part in np.array_split(index, -(-index.size // 20_000))
            ]
        )
        issues = label_issues(data.labels[index], probability, score="self_confidence")
        return Judged(index, issues, probability)

    labels = judged("train", "val")
    train, val = (np.isin(labels.index, data.index(split)) for split in ("train", "val"))
    return Findings(
        data=data,
        labels=labels,
        test=judged("test") if "test" in data.splits else None,
        noise_rate=estimate_noise_rate(
            labels.issues.given_label[val],
            labels.probability[val],
            contradicted=_contradicted(
                training.probability.cpu().numpy(), labels.issues.given_label[train]
            ),
            seed=seed,
        ),
        duplicates=find_duplicates(data.images),
    )


def _contradicted(probability: NDArray[np.float32], given: NDArray[np.int64]) -> float:
    return float(label_issues(given, probability).is_label_issue.mean())
