"""What `overparam.checks` does not check: the type of a parameter that is no number and no name."""

from typing import TypeVar

__all__ = ["LARGEST_SEED", "check_type"]

T = TypeVar("T")

LARGEST_SEED = 2**63 - 1
"""The largest seed that PyTorch's generators take."""


def check_type(name: str, value: object, kind: type[T]) -> T:
    """The value, if it is of this type.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} is a {type(value).__name__}; {kind.__name__} is needed")
    return value
