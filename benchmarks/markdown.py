"""Tables of measurements in Markdown, in which a number of earlier code is marked."""

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmarks.record import Line, is_current

STALE = "†"
STALE_NOTE = f"{STALE} measured with earlier code"


class Cell(NamedTuple):
    """A printed number and the lines of a record that it was computed from."""

    text: str
    lines: Sequence[Line]


# Of an entry of the lines: its title, by what it is multiplied, and the digits printed.
Columns = dict[str, tuple[str, float, int]]


def table(head: Sequence[str], rows: Iterable[Sequence[Cell | str]]) -> str:
    """Return a table, and below it a note if a cell is marked as measured with earlier code."""
    written = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    stale: list[Line] = []
    for row in rows:
        words = []
        for cell in row:
            if isinstance(cell, str):
                words.append(cell)
                continue
            old = [line for line in cell.lines if not is_current(line)] if cell.text else []
            words.append(f"{cell.text} {STALE}" if old else cell.text)
            stale += old
        written.append(f"| {' | '.join(words)} |")
    if stale:
        commits = dict.fromkeys(str(line["commit"]) for line in sorted(stale, key=_date))
        several = "s" if len(commits) > 1 else ""
        written += [
            "",
            f"{STALE_NOTE} (commit{several} {', '.join(commits)})",
        ]
    return "\n".join(written) + "\n"


def _date(line: Line) -> str:
    return line["date"]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation; the mean alone of one value, nothing of none."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def shown(value: float | None, form: str) -> str:
    """The value in the given format; nothing for None."""
    return "" if value is None else format(value, form)


def values(lines: Iterable[Line], name: str) -> list[float]:
    """What the lines say of `name`, as far as they do."""
    return [line[name] for line in lines if line.get(name) is not None]


def average(lines: Iterable[Line], name: str) -> float:
    """The mean of what the lines say of `name`."""
    return statistics.fmean(values(lines, name))


def titles_of(columns: Columns) -> list[str]:
    """The heads of the columns."""
    return [title for title, _, _ in columns.values()]


def cells_of(lines: list[Line], columns: Columns) -> list[Cell]:
    """One row: mean ± standard deviation of each column's entry of the lines."""
    return [
        Cell(spread([scale * value for value in values(lines, name)], digits), lines)
        for name, (_, scale, digits) in columns.items()
    ]
