"""Checks of parameters: one line that says which parameter, which value and what is needed."""

import math
import numbers
import operator
from collections.abc import Collection
from typing import Any

__all__ = ["check_choice", "check_count", "check_real"]


def check_count(name: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    """A whole number in [least, most], as int.

    Raises
    ------
    TypeError
        If the value is no whole number by type: 1.5 or True, for example.
    ValueError
        If it is out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; a whole number is needed")
    if number < least or (most is not None and number > most):
        limits = f"from {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {number}; a whole number {limits} is needed")
    return number


def check_real(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> float:
    """A finite real number within [least, most] and (above, below), as float.

    Raises
    ------
    TypeError
        If the value is no real number by type.
    ValueError
        If it is not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; a number is needed")
    number = float(value)
    if math.isfinite(number) and least <= number <= most and above < number < below:
        return number
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    words = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
    needed = " ".join(["a finite number", " and ".join(words)]).strip()
    raise ValueError(f"{name} is {value}; {needed} is needed")


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """One of the names.

    Raises
    ------
    ValueError
        If it is another.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(choices)}")
    return value
