"""The page that shows what a run did: one file, opened in a browser."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.pages.chart import Chart, line_chart
from overparam.pages.page import html_page
from overparam.pages.pictures import data_uri, shrunk
from overparam.words import counted
from sop_classify.data.image_data import ImageData
from sop_classify.labels.issues import LabelIssues
from sop_classify.records.record import RunRecord
from sop_classify.training.evaluation import Epoch

__all__ = ["REPORT", "charts_of", "matrix_of", "most_confused", "settings_of", "training_page"]

REPORT = "report.html"

_PAGE = Path(__file__).parent / "training_page"
_MOST_SUSPECTS = 48
_SIDE = 96  # pixels of a thumbnail
_LARGEST_MATRIX = 30  # classes; with more the squares are smaller than a letter
_CHARTS = {
    "test_accuracy": "Accuracy",
    "train_loss": "Training loss",
    "train_fit": "Training labels that are predicted as given",
    "memorized": "Wrong labels that are memorised",
}


def training_page(
    record: RunRecord,
    history: Sequence[Epoch],
    confusion: NDArray[np.int64],
    *,
    data: ImageData,
    issues: LabelIssues,
) -> bytes:
    """Make the page of a complete run.

    Parameters
    ----------
    record : RunRecord
        With its results.
    history : sequence of Epoch
    confusion : ndarray of int64, shape (C, C)
        As `sop_classify.reports.confusion.confusion_matrix`, of the test images.
    data : ImageData
        What was trained on.
    issues : LabelIssues
        Of the training labels.

    Returns
    -------
    bytes
        HTML in UTF-8, below 1 MB for up to a thousand classes.
    """
    names = [_utf8(name) for name in data.class_names]
    held_out = "holdout" in record.arguments
    found = issues.worst_first[issues.is_label_issue[issues.worst_first]]
    return html_page(
        _PAGE,
        {
            "title": f"{record.data['name']}: {record.recipe['method']}",
            "facts": _facts(record, data),
            "charts": charts_of(history),
            "judged": (
                f"{counted(int(confusion.sum()), 'held-out image')}, whose labels may be wrong too."
                if held_out
                else f"{counted(int(confusion.sum()), 'test image')}."
            ),
            "matrix": matrix_of(confusion, names),
            "confused": most_confused(confusion, names),
            "issues": len(found),
            "suspects": [_suspect(data, issues, int(at), names) for at in found[:_MOST_SUSPECTS]],
            "classes": _classes(confusion, issues.given_label, names),
            "settings": settings_of(record),
        },
    )


def charts_of(history: Sequence[Epoch]) -> list[Chart]:
    """Diagrams of what is known about two epochs or more."""
    charts = [
        line_chart(
            title,
            [e.epoch for e in history if getattr(e, key) is not None],
            [getattr(e, key) for e in history if getattr(e, key) is not None],
            x_label="epoch",
        )
        for key, title in _CHARTS.items()
    ]
    return [chart for chart in charts if chart is not None]


def matrix_of(confusion: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any] | None:
    """What the template draws: each row as shares; None for more than 30 classes."""
    if len(names) > _LARGEST_MATRIX:
        return None
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    return {"names": names, "rows": shares.tolist()}


def most_confused(
    confusion: NDArray[np.int64], names: Sequence[str], *, most: int = 10
) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: given class, predicted class, number of images."""
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = (divmod(int(at), len(names)) for at in order)
    return [(names[i], names[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def settings_of(record: RunRecord) -> dict[str, str]:
    """Everything that decided the run, and the machine."""
    versions = record.versions
    return {
        **{key: _shown(value) for key, value in record.recipe.items() if key != "source"},
        **{key: _shown(value) for key, value in record.arguments.items() if value is not None},
        "seed": str(record.seed),
        "device": f"{record.device_name}, {record.precision}, {counted(record.threads, 'thread')}",
        "versions": ", ".join(f"{key} {value}" for key, value in versions.items()),
    }


def _facts(record: RunRecord, data: ImageData) -> dict[str, str]:
    results: Mapping[str, Any] = record.results
    height, width = data.train_images.shape[1:3]
    where = "hold-out" if "holdout" in record.arguments else "test images"
    epoch = f"epoch {results['selected_epoch']} of {record.recipe['epochs']}"
    facts = {
        f"Accuracy, {where}": f"{_percent(results['selected_accuracy'])} ({epoch})",
        "Mean over the classes": _percent(results["balanced_accuracy"]),
        "Wrong labels, estimated": _percent(results["estimated_noise_rate"]),
        "Images": f"{len(data.train_images):,} trained, {len(data.test_images):,} tested, "
        f"{width}x{height}",
        "Classes": f"{len(data.class_names)}",
        "Network": str(record.recipe["network"]),
        "Training time": f"{results['training_seconds']:.0f} s",
    }
    if results.get("memorized") is not None:
        facts["Wrong labels memorised"] = _percent(results["memorized"])
    return facts


def _suspect(data: ImageData, issues: LabelIssues, at: int, names: Sequence[str]) -> dict[str, Any]:
    pixels = data.train_images[at]
    return {
        "picture": data_uri(shrunk(pixels, _SIDE), quality=75),
        "small": max(pixels.shape[:2]) < _SIDE,
        "given": names[issues.given_label[at]],
        "predicted": names[issues.predicted_label[at]],
        "where": _utf8(data.train_files[at]) if data.train_files else f"training image {at}",
    }


def _classes(
    confusion: NDArray[np.int64], given: NDArray[np.int64], names: Sequence[str]
) -> list[list[Any]]:
    trained, tested = np.bincount(given, minlength=len(names)), confusion.sum(1)
    right = confusion.diagonal()
    return [
        [name, int(n), int(m), f"{100 * hit / m:.1f}" if m else ""]
        for name, n, m, hit in zip(names, trained, tested, right, strict=True)
    ]


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.2f} %"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
