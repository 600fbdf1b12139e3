"""The command `apply-corrections`: a person's decisions in, a corrected data set out.

Only typer and the standard library are imported here: `--help` answers at once.
"""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overparam.terminal import exit_on_error, printable
from overparam.words import counted

if TYPE_CHECKING:
    from sop_classify.data.correction_plan import Plan

__all__ = ["apply_corrections"]

_SHOWN = 20  # changes that a dry run prints
# Names of which nobody means a folder.
_OTHER_FILES = (".tsv", ".txt", ".xls", ".xlsx", ".ods", ".json", ".parquet", ".zip")


def apply_corrections(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="The data that the corrections are for."),
    ],
    corrections: Annotated[
        Path,
        typer.Argument(
            metavar="CORRECTIONS",
            help="The table that review.html exports, or one like it. Of a label_issues.csv all "
            "suggestions are accepted, which nobody has looked at, except those about a class that "
            "is too rare to judge.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the corrected data: a new folder, a new .csv file, or a new .npz "
            "file for an .npz file. Without it nothing is written."
        ),
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a label_issues.csv: accept only so many suggestions, those of the lowest "
            "label_quality.",
        ),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Fill the folder with symbolic links, not copies.")
    ] = False,
    skip_problems: Annotated[
        bool, typer.Option("--skip-problems", help="Apply the rest if some cannot be applied.")
    ] = False,
    undo: Annotated[
        Path | None,
        typer.Option(
            help="Also write the corrections that turn the result into DATA again: a new file."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as one JSON object on stdout.")
    ] = False,
) -> None:
    """Apply corrections of labels to a data set.

    Says what would change; with --out writes the corrected data, and leaves DATA as it
    is. Corrections that were applied before are no error, but for an .npz file: there
    those after a dropped image have another number.
    """
    if out is not None and (suffix := out.suffix.lower()) in _OTHER_FILES:
        raise typer.BadParameter(f"--out is a {suffix} file; name a .csv file, or a folder")
    if link and (out is None or out.suffix.lower() in (".csv", ".npz")):
        raise typer.BadParameter("--link needs --out, a folder")
    if undo is not None and out is None:
        raise typer.BadParameter("--undo needs --out")
    with exit_on_error():
        from overparam.files import FileError, check_target
        from sop_classify.data.corrected_data import undo_csv, write_new
        from sop_classify.data.correction_plan import plan, read_labels
        from sop_classify.data.corrections import count_too_rare, read_corrections

        decisions = read_corrections(corrections, worst=worst)
        changes = plan(read_labels(data), decisions)
        for problem in changes.problems:
            typer.echo(problem, err=True)
        if changes.problems and out is not None and not skip_problems:
            raise FileError(
                f"{counted(len(changes.problems), 'correction')} cannot be applied, and nothing "
                "was written; correct them, or leave them out by --skip-problems"
            )
        if undo is not None and out is not None and not out.exists():  # else as `write_new` says
            check_target(undo)
        if not as_json and out is None:
            _print_changes(changes)
        if out is not None:
            places = _write(out, changes, link=link)
            if undo is not None:
                write_new(undo, undo_csv(changes, places))
        counts = _counts(changes) | {"too_rare": count_too_rare(corrections)}
        if not as_json:
            _print_skipped(changes)
        typer.echo(json.dumps(counts) if as_json else _report(counts, out))
        if changes.problems and not skip_problems:
            raise typer.Exit(1)


def _write(out: Path, changes: "Plan", *, link: bool) -> dict[str, str]:
    """Write the corrected data; the new path of every image, by its old one."""
    from sop_classify.data.corrected_data import write_csv, write_folder, write_npz

    if out.suffix.lower() == ".csv":
        return write_csv(out, changes)
    if out.suffix.lower() == ".npz":
        return write_npz(out, changes)
    return write_folder(out, changes, link=link)


def _counts(changes: "Plan") -> dict[str, Any]:
    test = {entry.path for entry in changes.labelled.entries if entry.split == "test"}
    return {
        "relabelled": len(changes.relabelled),
        "dropped": len(changes.dropped),
        "already": changes.already,
        "by_name": changes.by_name,
        "absent": changes.absent,
        "problems": len(changes.problems),
        "unchanged": len(changes.labelled.entries) - len(changes.relabelled) - len(changes.dropped),
        "skipped": sum(_skipped(changes).values()),
        "in_test": len(test & (changes.relabelled.keys() | changes.dropped)),
    }


def _print_skipped(changes: "Plan") -> None:
    """Say on stderr how many rows and files have no part in what is written, and why."""
    for reason, number in _skipped(changes).most_common():
        said = counted(number, "row or file", "rows or files")
        typer.echo(f"{said} left out: {reason}", err=True)


def _skipped(changes: "Plan") -> Counter[str]:
    """The reasons why rows and files of the data are no labelled images, hidden files apart."""
    from sop_classify.data.listing import HIDDEN

    listing = changes.labelled.listing
    reasons = Counter[str](() if listing is None else (each.reason for each in listing.skipped))
    del reasons[HIDDEN]
    return reasons


def _print_changes(changes: "Plan") -> None:
    given = {entry.path: entry.label for entry in changes.labelled.entries}
    pairs = Counter((given[path], label) for path, label in changes.relabelled.items())
    for (old, new), number in pairs.most_common(_SHOWN):
        typer.echo(f"{printable(old)} -> {printable(new)}: {number}")
    lines = [
        *(
            f"{path!r}: {printable(given[path])} -> {printable(label)}"
            for path, label in changes.relabelled.items()
        ),
        *(f"{path!r}: left out" for path in sorted(changes.dropped)),
    ]
    for line in lines[:_SHOWN]:
        typer.echo(line)
    if len(lines) > _SHOWN:
        typer.echo(f"and {len(lines) - _SHOWN} more")


def _report(counts: dict[str, Any], out: Path | None) -> str:
    relabelled, dropped = (
        counted(counts["relabelled"], "label"),
        counted(counts["dropped"], "image"),
    )
    said = f"{relabelled} changed, {dropped} left out"
    if counts["in_test"]:
        said += f" ({counts['in_test']} of them in the test set)"
    if counts["already"]:
        said += f", {counted(counts['already'], 'correction')} applied before"
    if counts["by_name"]:
        said += f" ({counts['by_name']} of them by the name: the image is moved, or gone)"
    if counts["absent"]:
        said += f", not in the data: {counted(counts['absent'], 'image')} to drop or keep"
    if counts["too_rare"]:
        said += f"; {counted(counts['too_rare'], 'suggestion')} not accepted: of too rare a class"
    if out is None:
        return f"{said}; nothing was written: give --out, a new folder or file"
    return f"{said}: {out}"
