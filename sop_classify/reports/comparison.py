"""Methods side by side: the runs of a folder as a table, a CSV and a figure."""

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overparam.figures import write_figure
from overparam.files import FileError, file_errors, one_line, replace_file
from sop_classify.labels.label_noise import LabelNoise
from sop_classify.methods.catalogue import METHODS
from sop_classify.records.record import RECORD, RunRecord, read_metrics, read_record
from sop_classify.reports.comparison_report import ShownRun, comparison_page, shown_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["read_runs", "write_comparison"]

_CIFAR10 = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
# Columns of the CSV that the table does not have.
_OTHER = ("data", "is_cifar10", "limit", "device", "threads")

# Key of a row, its title, and the factor that the table multiplies it by.
_COLUMNS = {
    "accuracy": ("last epoch, %", 100),
    "accuracy_ensemble": ("both networks, %", 100),
    "best_accuracy": ("best epoch, %", 100),
    "memorized": ("memorised, %", 100),
    "issues_auroc": ("issues AUROC", 1),
    "epochs": ("epochs", 1),
    "seconds": ("seconds", 1),
    "images_per_second": ("images/s", 1),
    "forward_passes": ("forward", 1),
    "backward_passes": ("backward", 1),
}

_NOTE = """\
Accuracies are those of the last epoch unless the title says best, and of the first network unless
it says both. Passes: images sent forward and backward through a network, per training image and
epoch. Published: accuracy on the whole of CIFAR-10 with the networks and lengths of each paper
(`sop_classify.METHODS`).
"""

Case = tuple[str, str]  # noise and method


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """One row for each completed run in the folders below `folder`, in the order of their names.

    Returns
    -------
    list of dict
        `run`, `noise`, `method`, `seed`, `data`, `is_cifar10`, `limit`, `device`, `threads`; if
        known the results of run.json; `epochs`; `images_per_second` in training, without tests; and
        `forward_passes` and `backward_passes` per image and epoch.

    Raises
    ------
    FileError
        If a run.json or metrics.csv cannot be read or is not that of a run.
    """
    return [
        _row(path, record)
        for path in _run_folders(folder)
        if (record := read_record(path)).status == "completed"
    ]


def write_comparison(folder: Path) -> str:
    """Write comparison.csv (a row for each run), comparison.md, comparison.html and comparison.png.

    Parameters
    ----------
    folder : Path
        Its folders are runs. Only completed and failed ones are shown; a folder whose run cannot be
        read is named below the table.

    Returns
    -------
    str
        The table of comparison.md: mean ± standard deviation over seeds, and below it the runs that
        failed and those that cannot be read.

    Raises
    ------
    FileError
        If a file cannot be written.
    """
    rows: list[dict[str, Any]] = []
    complete: list[ShownRun] = []
    failures: dict[Case, int] = defaultdict(int)
    remarks: list[str] = []
    for path in _run_folders(folder):
        try:
            record = read_record(path)
            if record.status == "completed":
                rows.append(_row(path, record))
                complete.append(shown_run(path, record))
            elif record.status == "failed":
                failures[_noise(path, record), record.recipe["method"]] += 1
                reason = record.results.get("error", "no reason is on record")
                remarks.append(f"Failed: {path.name}: {reason}")
        except FileError as error:
            remarks.append(f"Skipped: {error}")
    groups: dict[Case, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["noise"], row["method"]].append(row)
    remarks += _unlike(groups)
    order = {method: place for place, method in enumerate(METHODS)}
    cases = sorted(
        {*groups, *failures}, key=lambda case: (case[0], order.get(case[1], len(order)), case[1])
    )

    table = io.StringIO()
    writer = csv.DictWriter(
        table, ["run", "noise", "method", "seed", *_OTHER, *_COLUMNS], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    replace_file(folder / "comparison.csv", _utf8(table.getvalue()))

    titles = ["noise", "method", *(title for title, _ in _COLUMNS.values()), "published, %", "n"]
    cells = [_cells(case, groups.get(case, []), failures.get(case, 0)) for case in cases]
    lines = [_line(titles), "|" + "---|" * len(titles), *map(_line, cells)]
    lines += [f"\n{remark}" for remark in remarks]
    text = "\n".join(lines)
    replace_file(folder / "comparison.md", _utf8(f"{text}\n\n{_NOTE}"))
    page = comparison_page(
        complete,
        title=f"Methods compared: {folder.resolve().name}",
        columns=titles,
        rows=cells,
        remarks=remarks,
        note=_NOTE.replace("`", "").replace("\n", " "),
    )
    replace_file(folder / "comparison.html", page)
    if rows:
        noises = list(dict.fromkeys(noise for noise, _ in groups))
        draw = partial(_draw, groups=groups, cases=[c for c in cases if c in groups])
        write_figure(folder / "comparison.png", draw, size=(1 + 4 * len(noises), 4))
    return text


def _utf8(text: str) -> bytes:
    """A text whose names may hold what UTF-8 does not have: that becomes an escape sequence."""
    return text.encode("utf-8", "backslashreplace")


def _unlike(groups: dict[Case, list[dict[str, Any]]]) -> list[str]:
    """A line for each row of the table whose runs differ in more than their seeds."""
    found = []
    for (noise, method), rows in groups.items():
        for key in ("data", "limit", "epochs"):
            values = sorted({str(row[key]) for row in rows})
            if len(values) > 1:
                found.append(
                    f"Unlike: the runs of {method} with noise {noise} have different {key} "
                    f"({', '.join(values)}); give each comparison a folder of its own"
                )
    return found


def _run_folders(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob(f"*/{RECORD}"))]


def _noise(folder: Path, record: RunRecord) -> str:
    with file_errors("read", folder / RECORD):
        try:
            return str(LabelNoise.from_arguments(record.arguments) or "as given")
        except (TypeError, ValueError) as error:
            raise FileError(f"its arguments are damaged: {one_line(error)}") from error


def _row(folder: Path, record: RunRecord) -> dict[str, Any]:
    history = read_metrics(folder)
    with file_errors("read", folder / RECORD):
        results = record.results
        if not history or not results["training_seconds"] > 0:
            raise FileError("it is the record of a run of no epochs")
        return {
            "run": folder.name,
            "noise": _noise(folder, record),
            "method": record.recipe["method"],
            "seed": record.seed,
            "data": record.data["name"],
            "is_cifar10": record.data["class_names"] == _CIFAR10,
            "limit": record.arguments.get("limit"),
            "device": record.device_name,
            "threads": record.threads,
            **{key: results[key] for key in _COLUMNS if key in results},
            "epochs": len(history),
            "images_per_second": (
                record.data["train_images"] * len(history) / results["training_seconds"]
            ),
            "forward_passes": statistics.mean(epoch.forward_passes for epoch in history),
            "backward_passes": statistics.mean(epoch.backward_passes for epoch in history),
        }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(case: Case, rows: list[dict[str, Any]], failures: int) -> list[str]:
    noise, method = case
    shown = [
        _spread([row[key] * scale for row in rows if row.get(key) is not None])
        for key, (_, scale) in _COLUMNS.items()
    ]
    published = ""
    if method in METHODS and rows and all(row["is_cifar10"] for row in rows):
        published = str(METHODS[method].published_accuracy.get(noise, ""))
    number = f"{len(rows)} ({failures} failed)" if failures else f"{len(rows)}"
    return [noise, method, *shown, published, number]


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = statistics.mean(values)
    digits = 0 if mean >= 1000 else 2 if mean >= 1 else 4
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{deviation}"


def _draw(figure: "Figure", *, groups: dict[Case, list[dict[str, Any]]], cases: list[Case]) -> None:
    """Accuracy over seconds, a panel for each noise."""
    noises = list(dict.fromkeys(noise for noise, _ in cases))
    for axes, noise in zip(figure.subplots(1, len(noises), squeeze=False)[0], noises, strict=True):
        for _, method in (case for case in cases if case[0] == noise):
            runs = groups[noise, method]
            seconds = statistics.mean(row["seconds"] for row in runs)
            accuracies = [100 * row["accuracy"] for row in runs]
            error = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
            axes.errorbar(seconds, statistics.mean(accuracies), error, fmt="o", label=method)
        axes.set(title=noise, xlabel="seconds", ylabel="test accuracy, last epoch, %")
        axes.legend(fontsize=8)
