"""The page that shows methods side by side, with the same parts as the page of one run."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, file_errors, one_line
from overparam.pages.page import html_page
from sop_classify.records.record import RunRecord, read_metrics
from sop_classify.reports.confusion import CONFUSION
from sop_classify.reports.training_report import REPORT, charts_of, matrix_of, settings_of

__all__ = ["ShownRun", "comparison_page", "shown_run"]

_PAGE = Path(__file__).parent / "training_page"
_LARGEST_MATRIX = 12  # classes; larger ones are on the pages of the runs


@dataclass(frozen=True)
class ShownRun:
    """What the page says of one run; `report` is the address of its page, if it has one."""

    name: str
    accuracy: str
    report: str
    charts: Sequence[Any]
    matrix: dict[str, Any] | None
    settings: dict[str, str]


def comparison_page(
    runs: Sequence[ShownRun],
    *,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    remarks: Sequence[str],
    note: str,
) -> bytes:
    """Make the page of complete runs.

    Parameters
    ----------
    runs : sequence of ShownRun
        The page is beside their folders.
    title : str
    columns : sequence of str
    rows : sequence of sequence of str
        The table of comparison.md.
    remarks : sequence of str
        What failed or could not be read.
    note : str
        What the columns mean.

    Returns
    -------
    bytes
        HTML in UTF-8.
    """
    return html_page(
        _PAGE,
        {
            "title": title,
            "columns": columns,
            "rows": rows,
            "remarks": remarks,
            "note": note,
            "runs": runs,
        },
        template="comparison.html.jinja",
    )


def shown_run(folder: Path, record: RunRecord) -> ShownRun:
    """Read what the page says of a complete run.

    Raises
    ------
    FileError
        If metrics.csv or confusion_matrix.csv cannot be read. A run of an earlier version has no
        matrix.
    """
    names = [str(name) for name in record.data["class_names"]]
    confusion = _confusion(folder, len(names)) if len(names) <= _LARGEST_MATRIX else None
    seconds = record.results["training_seconds"]
    return ShownRun(
        name=folder.name,
        accuracy=f"{100 * record.results['accuracy']:.2f} %, {seconds:.0f} s",
        # A part of an address: "#" in a name, say, would end it.
        report=f"{quote(os.fsencode(folder.name))}/{REPORT}" if (folder / REPORT).exists() else "",
        charts=charts_of(read_metrics(folder)),
        matrix=None if confusion is None else matrix_of(confusion, names),
        settings=settings_of(record),
    )


def _confusion(folder: Path, classes: int) -> NDArray[np.int64] | None:
    """The matrix of a run; None for one of an earlier version, which has none."""
    path = folder / CONFUSION
    if not path.exists():
        return None
    with file_errors("read", path):
        try:
            rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))[1:]
            matrix = np.array([[int(cell) for cell in row[1:]] for row in rows], np.int64)
        except (ValueError, OverflowError, csv.Error) as error:
            raise FileError(f"it is damaged ({one_line(error)})") from error
        if matrix.shape != (classes, classes) or matrix.min() < 0:
            raise FileError(f"it has shape {matrix.shape}; {(classes, classes)} is needed")
        return matrix
