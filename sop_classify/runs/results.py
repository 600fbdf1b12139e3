"""What a run leaves when it is complete: its results, tables of the labels, and a figure."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import replace_file
from sop_classify.data.image_data import ImageData
from sop_classify.labels.issues import auroc, f1, label_issues
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.methods.catalogue import SOPRecipe
from sop_classify.records.record import RunRecord
from sop_classify.reports.confusion import (
    CONFUSION,
    balanced_accuracy,
    confusion_csv,
    confusion_matrix,
)
from sop_classify.reports.curves import CURVES, draw_curves
from sop_classify.reports.issues_table import issues_csv, transitions_csv
from sop_classify.reports.training_report import REPORT, training_page
from sop_classify.runs.model import Model
from sop_classify.training.evaluation import Epoch
from sop_classify.training.loop import TrainingLoop

__all__ = ["best_epoch", "write_results"]

_SAMPLE = 10_000  # images of an estimate of the noise rate: enough for a deviation of 0.005


def write_results(
    folder: Path,
    training: TrainingLoop,
    history: Sequence[Epoch],
    *,
    data: ImageData,
    record: RunRecord,
    true_labels: NDArray[np.int64] | None = None,
    model: Model | None = None,
) -> dict[str, Any]:
    """Write the tables, the figure and the page, and return the results.

    These are label_issues.csv, transition_matrix.csv, confusion_matrix.csv, curves.png and
    report.html.

    Parameters
    ----------
    folder : Path
    training : TrainingLoop
        With all epochs done.
    history : sequence of Epoch
        All its epochs.
    data : ImageData
        What was trained on and tested with.
    record : RunRecord
        For the page.
    true_labels : ndarray of int64, shape (N,), optional
    model : Model, optional
        The network of the epoch that was chosen; by default that of the last.

    Returns
    -------
    dict
        For run.json. From the last epoch: `accuracy`, `accuracy_flips`, `accuracy_ema`,
        `accuracy_ema_flips`, `accuracy_ensemble`, as in `Epoch`. From the training images without
        augmentation: `memorized` and `recovered`. `best_accuracy` is the best of all tested epochs;
        it is chosen with the test labels, so it is not an estimate of the accuracy. `noise_rate`,
        `issues_auroc` and `issues_f1` need the truth; `estimated_noise_rate` does without.
        `training_seconds`, and `seconds` with the tests included; neither includes reading data and
        saving. `curves`: the name of the figure, or why there is none. Of the chosen epoch:
        `selected_epoch`, `selected_accuracy`, and `balanced_accuracy`, the mean over the classes
        of the fraction of their test images that is predicted correctly.
    """
    last, given = history[-1], training.given.cpu().numpy()
    issues = label_issues(given, training.probability.cpu().numpy())
    names = data.class_names
    table = issues_csv(issues, class_names=names, files=data.train_files)
    replace_file(folder / "label_issues.csv", table)
    replace_file(folder / "transition_matrix.csv", transitions_csv(issues, class_names=names))
    with _weights_of(model, training):
        tested = training.predict(data.test_images).argmax(1).cpu().numpy()
    confusion = confusion_matrix(data.test_labels, tested, len(names))
    replace_file(folder / CONFUSION, confusion_csv(confusion, class_names=names))
    said = training.predict_training_images().cpu().numpy()
    predicted = said.argmax(1)
    wrong = np.zeros(len(given), bool) if true_labels is None else given != true_labels

    def share_of_wrong(labels: NDArray[np.int64] | None) -> float | None:
        return float((predicted == labels)[wrong].mean()) if wrong.any() else None

    chosen = history[-1] if model is None else history[model.epoch - 1]
    training_seconds = sum(epoch.seconds for epoch in history)
    results = {
        "accuracy": last.test_accuracy,
        "best_accuracy": max(e.test_accuracy for e in history if e.test_accuracy is not None),
        "accuracy_flips": last.test_accuracy_flips,
        "accuracy_ema": last.test_accuracy_ema,
        "accuracy_ema_flips": last.test_accuracy_ema_flips,
        "accuracy_ensemble": last.test_accuracy_ensemble,
        "memorized": share_of_wrong(given),
        "recovered": share_of_wrong(true_labels),
        "noise_rate": None if true_labels is None else float(wrong.mean()),
        "estimated_noise_rate": _noise_rate(training, given, said),
        "issues_auroc": None if true_labels is None else auroc(issues.label_score, wrong),
        "issues_f1": None if true_labels is None else f1(issues.is_label_issue, wrong),
        "seconds": training_seconds + sum(epoch.evaluation_seconds for epoch in history),
        "training_seconds": training_seconds,
        "curves": draw_curves(folder / CURVES, history),
        "selected_epoch": chosen.epoch,
        "selected_accuracy": chosen.test_accuracy,
        "balanced_accuracy": balanced_accuracy(confusion),
    }
    page = training_page(
        replace(record, results=results), history, confusion, data=data, issues=issues
    )
    replace_file(folder / REPORT, page)
    return results


def _noise_rate(
    training: TrainingLoop, given: NDArray[np.int64], said: NDArray[np.float32]
) -> float:
    """Estimate the fraction of wrong labels from those that were trained on alone.

    Those of a test set may be better. So what was trained on stands for what is held out, too:
    then nothing counts as learned by heart, and both fits of the estimate are of the same labels.
    A loss without s teaches the network how frequent wrong labels are, so that its probabilities
    explain them, and the fit is far too low. There the contradicted labels are counted.
    """
    averaged = training.probability.cpu().numpy()
    if not isinstance(training.recipe, SOPRecipe):
        return float((averaged.argmax(1) != given).mean())
    few = np.random.default_rng(0).permutation(len(given))[:_SAMPLE]
    return estimate_noise_rate(
        given[few],
        said[few],
        training_labels=given,
        training_probability=said,
        averaged_probability=averaged,
    ).estimate


def best_epoch(history: Sequence[Epoch]) -> int | None:
    """The epoch with the best test accuracy, the first of equals; None if none was tested."""
    tested = [
        (epoch.test_accuracy, -epoch.epoch) for epoch in history if epoch.test_accuracy is not None
    ]
    return -max(tested)[1] if tested else None


@contextmanager
def _weights_of(model: Model | None, training: TrainingLoop) -> Iterator[None]:
    """Predict with the weights of a model, and put back those of the training."""
    if model is None:
        yield
        return
    own = {key: value.clone() for key, value in training.network.state_dict().items()}
    training.network.load_state_dict(model.network.state_dict())
    try:
        yield
    finally:
        training.network.load_state_dict(own)
