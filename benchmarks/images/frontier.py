"""What time buys: PSNR of the recipes fast, default and best over their seconds.

From the record of `benchmarks.images.quality`, which measures them: for each corruption the mean
over the cases (photograph and seed) that all three have, and their median seconds a megapixel.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.markdown import STALE, STALE_NOTE, Cell, table, values
from benchmarks.record import RESULTS, Line, is_current

RECIPES = ("fast", "default", "best")
FIGURE = RESULTS / "images" / "frontier.png"


class Point(NamedTuple):
    """A recipe on one corruption."""

    corruption: str
    recipe: str
    seconds: float  # median, a megapixel
    psnr: float  # mean
    lines: list[Line]


def points(lines: Iterable[Line]) -> list[Point]:
    """Each recipe on each corruption that all recipes were measured on, in equal cases."""
    measured: dict[tuple, dict[tuple, dict[str, Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        if line["method"] in RECIPES and line.get("steps") is None and "psnr" in line:
            case = (line["image"], line["seed"])
            of_side = (line["kind"], line["amount"], line["side"])
            measured[of_side][case][line["method"]] = line
    made: list[Point] = []
    for (kind, amount, side), cases in sorted(measured.items()):
        whole = [found for found in cases.values() if set(found) == set(RECIPES)]
        for recipe in RECIPES if whole else ():
            used = [found[recipe] for found in whole]
            seconds = statistics.median(values(used, "seconds")) / (side**2 / 1e6)
            psnr = statistics.mean(values(used, "psnr"))
            made.append(Point(f"{kind} {amount:.0%}, {side}x{side}", recipe, seconds, psnr, used))
    return made


def tabulate(lines: Iterable[Line]) -> str:
    """A row for each corruption; empty if nothing was measured with all recipes."""
    rows: dict[str, list[Cell | str]] = {}
    for point in points(lines):
        row = rows.setdefault(point.corruption, [point.corruption])
        row.append(Cell(f"{point.psnr:.2f}", point.lines))
        row.append(Cell(f"{point.seconds:.0f}", point.lines))
        if point.recipe == RECIPES[-1]:
            row.append(str(len(point.lines)))
    head = [word for recipe in RECIPES for word in (f"{recipe}, dB", "s a megapixel")]
    return table(["corruption", *head, "n"], rows.values()) if rows else "Not measured yet.\n"


def draw(lines: Iterable[Line], path: Path) -> None:
    """One line for each corruption, through its recipes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    found: dict[str, list[Point]] = defaultdict(list)
    for point in points(lines):
        found[point.corruption].append(point)
    old = False
    for corruption, line in found.items():
        stale = not all(is_current(each) for point in line for each in point.lines)
        old |= stale
        name = f"{corruption} {STALE}" if stale else corruption
        axis.plot([p.seconds for p in line], [p.psnr for p in line], "o-", label=name)
        for point in line:
            place = (point.seconds, point.psnr)
            axis.annotate(point.recipe, place, (4, -10), textcoords="offset points", size=8)
    axis.set_xscale("log")
    axis.margins(0.12)  # room for the names
    axis.set_xlabel("seconds a megapixel")
    axis.set_ylabel("PSNR (dB)")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8, title=STALE_NOTE if old else None, title_fontsize=8)
    figure.savefig(path, dpi=100)
