"""Methods side by side: the finished runs of a folder as a table, a CSV and a figure."""

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from overparam.files import FileError, naming, one_line, replace_file

__all__ = ["PUBLISHED", "read_runs", "write_comparison"]

# Last-epoch test accuracy in per cent where the source gives it; CIFAR-N's leaderboard is of the
# best epoch on the test set. ResNet34 for one network without semi-supervision (ELR, Table 1; SOP,
# Table 1), PreActResNet18 for the others (ELR, Table 2; SOP, Table 3).
PUBLISHED: dict[tuple[str, str], float] = {
    ("symmetric 0.2", "ce"): 86.98,
    ("symmetric 0.2", "elr"): 91.16,
    ("symmetric 0.2", "sop"): 93.18,
    ("symmetric 0.2", "coteaching+"): 89.5,
    ("symmetric 0.2", "dividemix"): 96.1,
    ("symmetric 0.2", "elr+"): 95.8,
    ("symmetric 0.2", "sop+"): 96.3,
    ("symmetric 0.4", "ce"): 81.88,
    ("symmetric 0.4", "elr"): 89.15,
    ("symmetric 0.4", "sop"): 90.09,
    ("symmetric 0.5", "ce"): 79.4,
    ("symmetric 0.5", "coteaching+"): 85.7,
    ("symmetric 0.5", "dividemix"): 94.6,
    ("symmetric 0.5", "elr+"): 94.8,
    ("symmetric 0.5", "sop+"): 95.5,
    ("worst", "ce"): 77.69,
    ("worst", "elr"): 83.58,
    ("worst", "coteaching+"): 83.26,
    ("worst", "dividemix"): 92.56,
    ("worst", "elr+"): 91.09,
    ("worst", "sop+"): 93.24,
}
"""Accuracies in per cent on the whole of CIFAR-10, own lengths; by noise and method."""

_CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
# What a row of the CSV holds besides.
_OTHER = ("data", "is_cifar10", "limit", "device", "threads")

# Key of a row, its title, and by what it is multiplied.
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


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """One dict for each completed run below `folder`, in the order of their names.

    Returns
    -------
    list of dict
        `run`, `noise`, `method`, `seed`, `data`, `is_cifar10`, `limit`, `device`, `threads`, and as
        far as known the results of run.json, `epochs`, `images_per_second` of the training
        (evaluation aside) and `forward_passes`, `backward_passes` an image and epoch.

    Raises
    ------
    FileError
        If a run.json cannot be read.
    """
    rows = []
    for path in sorted(folder.glob("*/run.json")):
        with naming("read", path):
            try:
                record = json.loads(path.read_text())
            except ValueError as error:
                raise FileError(f"not JSON, or damaged ({one_line(error)})") from error
        if record["status"] != "completed":
            continue
        with (path.parent / "metrics.csv").open() as file:
            epochs = list(csv.DictReader(file))
        arguments, results = record["arguments"], record["results"]
        rate = arguments.get("noise")
        kind = str(arguments.get("noise_type"))
        images = record["data"]["train_images"] * len(epochs)
        rows.append(
            {
                "run": path.parent.name,
                "noise": kind if rate is None else f"{kind} {rate:g}",
                "method": record["recipe"]["method"],
                "seed": record["seed"],
                "data": record["data"]["name"],
                "is_cifar10": tuple(record["data"]["class_names"]) == _CIFAR10,
                "limit": arguments.get("limit"),
                "device": record["device_name"],
                "threads": record["threads"],
                **{key: results.get(key) for key in _COLUMNS if key in results},
                "epochs": len(epochs),
                "images_per_second": images / results["training_seconds"],
                **{
                    key: statistics.mean(float(epoch[key]) for epoch in epochs)
                    for key in ("forward_passes", "backward_passes")
                },
            }
        )
    return rows


def write_comparison(folder: Path, *, methods: Iterable[str]) -> str:
    """Write comparison.csv (a row a run), comparison.md and comparison.png of what is finished.

    Parameters
    ----------
    folder : Path
        Its folders are runs.
    methods : iterable of str
        In this order in table and figure.

    Returns
    -------
    str
        The table of comparison.md: mean ± standard deviation over seeds.
    """
    rows = read_runs(folder)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    order = list(methods)
    for row in rows:
        groups[row["noise"], row["method"]].append(row)
    known = {m: i for i, m in enumerate(order)}
    cases = sorted(groups, key=lambda case: (case[0], known.get(case[1], len(order))))

    table = io.StringIO()
    writer = csv.DictWriter(table, ["run", "noise", "method", "seed", *_OTHER, *_COLUMNS])
    writer.writeheader()
    writer.writerows(rows)
    replace_file(folder / "comparison.csv", table.getvalue().encode())

    titles = [title for title, _ in _COLUMNS.values()]
    lines = [f"| noise | method | {' | '.join(titles)} | published, % | n |"]
    lines += ["|" + "---|" * (len(titles) + 4)]
    for case in cases:
        shown = [
            _spread([row[key] * scale for row in groups[case] if row.get(key) is not None])
            for key, (_, scale) in _COLUMNS.items()
        ]
        ours = all(row["is_cifar10"] for row in groups[case])
        published = PUBLISHED.get(case, "") if ours else ""
        lines.append(
            f"| {case[0]} | {case[1]} | {' | '.join(shown)} | {published} | {len(groups[case])} |"
        )
    text = "\n".join(lines)
    note = (
        "Last epoch unless it says best; of the first network unless it says both. Passes: images "
        "sent through a network, and back, per training image and epoch. Published: the whole of "
        "CIFAR-10, the methods' own networks and lengths (`sop_classify.reports.comparison.PUBLISHED`).\n"
    )
    replace_file(folder / "comparison.md", f"{text}\n\n{note}".encode())
    if rows:
        _draw(folder / "comparison.png", groups, cases)
    return text


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = statistics.mean(values)
    digits = 0 if mean >= 1000 else 2 if mean >= 1 else 4
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{deviation}"


def _draw(
    path: Path,
    groups: dict[tuple[str, str], list[dict[str, Any]]],
    cases: list[tuple[str, str]],
) -> None:
    """Accuracy over seconds, a panel for each noise; without matplotlib there is no figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    noises = list(dict.fromkeys(noise for noise, _ in cases))
    figure = Figure(figsize=(1 + 4 * len(noises), 4), layout="constrained")
    for axes, noise in zip(figure.subplots(1, len(noises), squeeze=False)[0], noises, strict=True):
        for _, method in (case for case in cases if case[0] == noise):
            runs = groups[noise, method]
            seconds = statistics.mean(row["seconds"] for row in runs)
            accuracies = [100 * row["accuracy"] for row in runs]
            error = statistics.stdev(accuracies) if len(accuracies) > 1 else 0
            axes.errorbar(seconds, statistics.mean(accuracies), error, fmt="o", label=method)
        axes.set(title=noise, xlabel="seconds", ylabel="test accuracy, last epoch, %")
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    replace_file(path, buffer.getvalue())
