"""Checks of parameters: one line that says which parameter, which value and what is needed."""

import math
import numbers
import operator
from collections.abc import Collection
from typing import Any, TypeVar

__all__ = ["LARGEST_SEED", "check_choice", "check_count", "check_real", "check_type"]

T = TypeVar("T")

LARGEST_SEED = 2**63 - 1
"""The largest seed that PyTorch's generators take."""


def check_count(name: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    """Check a whole number.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        Any type that Python accepts as an index, except bool.
    least, most : int
        Smallest and largest allowed value; no upper limit if `most` is None.

    Returns
    -------
    int
        The value.

    Raises
    ------
    TypeError
        If the type is not one of whole numbers: 1.5 or True, for example.
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
        # Python itself refuses to print a number of more than 4300 digits.
        shown = number if abs(number) < 10**100 else "too large" if number > 0 else "too small"
        raise ValueError(f"{name} is {shown}; a whole number {limits} is needed")
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
    """Check a finite real number.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        A real number of Python or numpy.
    least, above, most, below : float
        Limits: least <= value <= most and above < value < below.

    Returns
    -------
    float
        The value.

    Raises
    ------
    TypeError
        If the type is not one of real numbers.
    ValueError
        If it is not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; a number is needed")
    try:
        number = float(value)
    except OverflowError:  # of a whole number with more than 308 digits
        number = math.inf
    if math.isfinite(number) and least <= number <= most and above < number < below:
        return number
    limits = {"at least": least, "above": above, "at most": most, "below": below}
    words = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
    needed = " ".join(["a finite number", " and ".join(words)]).strip()
    shown = value if math.isfinite(number) else number
    raise ValueError(f"{name} is {shown}; {needed} is needed")


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Check that a value is one of several names.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
    choices : collection of str
        The allowed values.

    Returns
    -------
    str
        The value.

    Raises
    ------
    ValueError
        If the value is not among the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; use one of {', '.join(choices)}")
    return value


def check_type(name: str, value: object, kind: type[T]) -> T:
    """Check a type.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
    kind : type

    Returns
    -------
    object
        The value.

    Raises
    ------
    TypeError
        If the value is not of this type.
    """
    if not isinstance(value, kind):
        given, wanted = type(value).__name__, kind.__name__
        if given == wanted:  # such as the generators of numpy and of torch
            given, wanted = f"{type(value).__module__}.{given}", f"{kind.__module__}.{wanted}"
        raise TypeError(f"{name} is a {given}; {wanted} is needed")
    return value
