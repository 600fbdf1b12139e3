"""Promise: a diagram shows the points where they are, between round numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.pages.chart import line_chart

VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


def points(chart):
    return [tuple(map(float, point.split(","))) for point in chart.line.split()]


def test_a_straight_line_is_straight_and_fills_the_frame():
    chart = line_chart("loss", [0, 1, 2, 4], [10, 20, 30, 50], x_label="step")
    (x0, y0), *_, (x1, y1) = places = points(chart)
    assert 0 < x0 < x1 < chart.width
    assert 0 < y1 < y0 < chart.height
    slope = (y1 - y0) / (x1 - x0)
    for x, y in places:
        assert y == pytest.approx(y0 + slope * (x - x0), abs=0.2)  # a tenth is the last digit
    assert [text for _, text in chart.x_ticks] == ["0", "1", "2", "3", "4"]
    assert [text for _, text in chart.y_ticks] == ["10", "20", "30", "40", "50"]
    assert [y for y, _ in chart.y_ticks] == sorted((y for y, _ in chart.y_ticks), reverse=True)
    assert chart.summary == "loss: 10 at step 0, 50 at step 4"


def test_an_exponential_is_straight_on_a_logarithmic_axis():
    steps = list(range(0, 101, 10))
    chart = line_chart("loss", steps, [10 ** (-step / 25) for step in steps], x_label="", log=True)
    down = [b[1] - a[1] for a, b in zip(points(chart), points(chart)[1:], strict=False)]
    assert max(down) - min(down) <= 0.3
    assert [text for _, text in chart.y_ticks] == ["0.0001", "0.001", "0.01", "0.1", "1"]


@pytest.mark.parametrize("power", range(-5, 6))
def test_an_axis_a_rounding_error_short_of_four_units_has_its_ticks(power):
    """As 100 x 0.12 - 100 x 0.08 is, of two accuracies in per cent."""
    length = math.nextafter(4 * 10.0**power, 0)
    chart = line_chart("accuracy", [0, 1], [0, length], x_label="epoch")
    assert 4 <= len(chart.y_ticks) <= 8


@pytest.mark.parametrize("values", [(5e15, 5e15), (-1e300, -1e300), (1.0, math.nextafter(1, 2))])
def test_large_or_close_values_that_do_not_change_are_a_flat_line(values):
    chart = line_chart("loss", [0, 1], values, x_label="step")
    (_, left), (_, right) = points(chart)
    assert left == pytest.approx(right, abs=0.1)
    assert 0 < left < chart.height
    texts = [text for _, text in chart.y_ticks]
    assert 3 <= len(texts) == len(set(texts)) <= 8


def test_what_has_no_place_is_left_out():
    values = [1, math.nan, math.inf, 0, -1, 2]
    assert len(points(line_chart("y", range(6), values, x_label="x"))) == 4
    assert len(points(line_chart("y", range(6), values, x_label="x", log=True))) == 2
    assert line_chart("y", [0, 1], [1, math.nan], x_label="x") is None
    assert line_chart("y", [], [], x_label="x") is None


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=20), st.booleans())
def test_all_points_and_numbers_are_inside(pairs, log):
    x, y = zip(*pairs, strict=True)
    y = [abs(value) + 1e-3 for value in y] if log else y
    chart = line_chart("y", x, y, x_label="x", log=log)
    places = [
        *points(chart),
        *((a, 1) for a, _ in chart.x_ticks),
        *((1, b) for b, _ in chart.y_ticks),
    ]
    for a, b in places:
        assert 0 <= a <= chart.width
        assert 0 <= b <= chart.height
    assert len(chart.y_ticks) >= 1
    assert len(chart.y_ticks) <= 12
