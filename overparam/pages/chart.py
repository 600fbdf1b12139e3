"""A line in a diagram, as a template draws it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "line_chart"]

_WIDTH, _HEIGHT = 360, 190  # of the diagram, with room for the numbers beside it
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 34


@dataclass(frozen=True)
class Chart:
    """A diagram for the macro `chart` of chart.html.jinja. Positions are in its own units.

    Attributes
    ----------
    title, x_label : str
    width, height : int
    line : str
        For the attribute ``points`` of a polyline.
    x_ticks, y_ticks : sequence of (position, text)
    summary : str
        What a person who does not see the line should know.
    """

    title: str
    x_label: str
    width: int
    height: int
    line: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    summary: str


def line_chart(
    title: str, x: Sequence[float], y: Sequence[float], *, x_label: str, log: bool = False
) -> Chart | None:
    """Lay out the line through the points; those that are not finite are left out.

    Parameters
    ----------
    title : str
        What y is.
    x, y : sequence of float
        Of one length.
    x_label : str
        What x is.
    log : bool
        Use a logarithmic axis for y. Points that are not positive are left out.

    Returns
    -------
    Chart or None
        None if fewer than two points are left.

    Examples
    --------
    >>> chart = line_chart("loss", [0, 50, 100], [1.0, 0.5, 0.25], x_label="step")
    >>> chart.summary
    'loss: 1 at step 0, 0.25 at step 100'
    >>> [text for _, text in chart.x_ticks]
    ['0', '20', '40', '60', '80', '100']
    """
    points = [
        (float(a), float(b))
        for a, b in zip(x, y, strict=True)
        if math.isfinite(a) and math.isfinite(b) and (b > 0 or not log)
    ]
    if len(points) < 2:
        return None
    xs, ys = [a for a, _ in points], [b for _, b in points]
    scale = math.log10 if log else float
    low, high = _range([scale(b) for b in ys])
    first, last = _range(xs)

    def across(a: float) -> float:
        return round(_LEFT + (a - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def down(b: float) -> float:
        share = (scale(b) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    ends = (points[0], points[-1])
    marks = _log_ticks(low, high) if log else _ticks(low, high)
    return Chart(
        title=title,
        x_label=x_label,
        width=_WIDTH,
        height=_HEIGHT,
        line=" ".join(f"{across(a)},{down(b)}" for a, b in points),
        x_ticks=[(across(a), f"{a:g}") for a in _ticks(first, last)],
        y_ticks=[(down(b), f"{b:g}") for b in marks],
        summary=f"{title}: {', '.join(f'{b:.4g} at {x_label} {a:g}' for a, b in ends)}",
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, apart also if all are one."""
    low, high = min(values), max(values)
    # Between values that are nearer to each other rounding leaves no room for numbers.
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    margin = max(0.5, abs(low) / 100)  # a half is lost in the rounding of 5e15
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Some four to eight round numbers: multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    # A little less than 4, as 12.0 - 8.000000000000002, is 4: the logarithm has rounded it up too.
    step = next(m * power for m in (5, 2, 1) if (high - low) / (m * power) > 3.999)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and their double and fivefold where there is room."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    marks = [m * 10.0**k for k in powers for m in factors if low <= math.log10(m) + k <= high]
    return marks if len(marks) > 1 else _ticks(10**low, 10**high)
