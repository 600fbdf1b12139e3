"""Whether something looks wrong in a part of a picture: a cheap test, without a network."""

from robustdip.inputs import Given

__all__ = ["looks_wrong"]


def looks_wrong(given: Given) -> bool:
    """Judge a part of a picture."""
    return given.values.size > 0
