"""How many checks have held, by area: what was really run is counted, not what was planned."""

from collections import Counter
from collections.abc import Iterable

import pytest

__all__ = ["checks", "held", "some_slow"]

checks: Counter[str] = Counter()


def held(area: str, number: int = 1) -> None:
    """Count checks that held; a check that fails ends its test and is not counted."""
    checks[area] += number


def some_slow(values: Iterable, *, every: int) -> list:
    """Values for `pytest.mark.parametrize`: all but one in `every` are for the slow tests alone."""
    return [
        value if place % every == 0 else pytest.param(value, marks=pytest.mark.slow)
        for place, value in enumerate(values)
    ]
