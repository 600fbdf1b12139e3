"""What a person decided of the labels of a data set: the table of corrections.

docs/label_issues.md describes it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from overparam.files import FileError, file_errors
from sop_classify.data.listing import shown
from sop_classify.data.tables import read_table

__all__ = ["ACTIONS", "Correction", "count_too_rare", "read_corrections"]

# Columns of the label_issues.csv of find-label-errors; those of train, of the same meaning.
_SUGGESTED = ("path", "given", "suggested", "is_label_issue", "label_quality")
_OF_TRAIN = ("file", "given_label", "predicted_label", "is_label_issue", "label_score")
ACTIONS = ("accept", "relabel", "keep", "drop")
"""What a decision may be."""


@dataclass(frozen=True)
class Correction:
    """One decision: a row of the table.

    Attributes
    ----------
    line : int
        Its line in the table.
    path, given, corrected, action : str
        As docs/label_issues.md says; the action is one of `ACTIONS`.
    new_class : bool
        The corrected class may be one that the data does not have.
    """

    line: int
    path: str
    given: str
    corrected: str
    action: str
    new_class: bool = False


def read_corrections(table: Path, *, worst: int | None = None) -> list[Correction]:
    """Read a table of corrections, or a label_issues.csv, whose suggestions are then accepted.

    That of `train` is taken too, if it names files. One that a person has given a column
    ``action`` is a table of corrections.

    Parameters
    ----------
    table : Path
    worst : int, optional
        Take only so many suggestions of a label_issues.csv: those of the lowest `label_quality`,
        (of `train`: `label_score`), in whatever order the rows are.

    Raises
    ------
    FileError
        If it is damaged, a column is missing, or a row has no path or another action; or `worst`
        is given for a table of corrections, or for suggestions without a `label_quality`.
    """
    with file_errors("read", table):
        columns, rows = read_table(table)
        # With an action in each row it is what a person has decided, whatever was suggested.
        decided = "action" in columns
        for names in (_SUGGESTED, _OF_TRAIN):
            if set(names[:4]) <= set(columns) and not decided:
                return _suggestions(rows, names, worst=worst)
        if set(_OF_TRAIN[1:4]) <= set(columns) and not decided:
            raise FileError(
                "it is a label_issues.csv without names of files; make one by find-label-errors"
            )
        if worst is not None:
            raise FileError("it is no label_issues.csv; only of those the worst can be taken")
        for name in ("path", "given", "corrected", "action"):
            if name not in columns:
                raise FileError(f"it has no column {name!r}")
        corrections = []
        for line, cells in rows:
            path, given, corrected, action = (
                shown(cells.get(name, "")) for name in ("path", "given", "corrected", "action")
            )
            # A spreadsheet begins what is typed with a capital.
            new = _true(line, cells, "new_class")
            each = Correction(line, path, given, corrected, action.strip().lower(), new)
            if each.action not in ACTIONS:
                raise FileError(
                    f"line {line} has the action {each.action!r}; use {', '.join(ACTIONS)}"
                )
            if not path.strip() or (each.action in ("accept", "relabel") and not each.corrected):
                missing = "corrected class" if path.strip() else "path"
                raise FileError(f"line {line} has no {missing}")
            corrections.append(each)
        return corrections


def count_too_rare(table: Path) -> int:
    """How many suggestions are not accepted, because the class is too rare to judge its labels.

    Parameters
    ----------
    table : Path
        A label_issues.csv; of a table of corrections it is 0.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    with file_errors("read", table):
        columns, rows = read_table(table)
        if "action" in columns:
            return 0
        return sum(
            _true(line, cells, "is_label_issue") and _true(line, cells, "too_rare")
            for line, cells in rows
        )


def _suggestions(
    rows: Iterable[tuple[int, Mapping[str, str]]], names: Sequence[str], *, worst: int | None
) -> list[Correction]:
    """The suggestions; `names` are the columns of path, given, suggested, doubt and quality."""
    found: list[tuple[float, Correction]] = []
    for line, cells in rows:
        path, given, suggested = (shown(cells.get(name, "")) for name in names[:3])
        if _true(line, cells, "is_label_issue") and not _true(line, cells, "too_rare"):
            if not path.strip() or not suggested:
                missing = "suggested class" if path.strip() else "path"
                raise FileError(f"line {line} has no {missing}")
            # A person may have sorted the table by something else.
            quality = 0.0 if worst is None else _quality(line, cells, names[4])
            found.append((quality, Correction(line, path, given, suggested, "accept")))
    return [each for _, each in sorted(found, key=itemgetter(0))][:worst]


def _quality(line: int, cells: Mapping[str, str], name: str) -> float:
    said = cells.get(name, "")
    try:
        quality = float(said)
    except ValueError:
        quality = math.nan
    if math.isnan(quality):
        raise FileError(
            f"line {line} has the {name} {said!r}; to take the worst, a number is needed"
        )
    return quality


def _true(line: int, cells: Mapping[str, str], name: str) -> bool:
    """Whether a cell says True; a spreadsheet writes TRUE, in other languages another word."""
    said = cells.get(name, "").strip().lower()
    if said not in ("true", "false", "1", "0", ""):
        raise FileError(f"line {line} has the {name} {said!r}; use True or False")
    return said in ("true", "1")
