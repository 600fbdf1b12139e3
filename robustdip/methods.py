"""The names of all methods, and what each can be told. Imports no torch: `--help` lists them."""

from robustdip.recipes import RECIPES

__all__ = ["CLASSICAL", "FITS", "INTERPOLATIONS", "METHODS", "check_method"]

FITS = tuple(RECIPES)
"""Fits of a network, by `robustdip.denoise`: blind, or on the elements that a mask leaves."""

CLASSICAL = (
    "median",
    "adaptive-median",
    "two-phase",
    "tv-l1",
    "extremes-linear",
    "extremes-biharmonic",
)
"""Blind methods without a network, of `robustdip.classical.METHODS`."""

INTERPOLATIONS = ("linear", "biharmonic")
"""Those of `robustdip.classical.interpolate`, which need a mask."""

METHODS = (*FITS, *CLASSICAL, *INTERPOLATIONS)
"""All of them."""


def check_method(
    method: str,
    *,
    mask: bool = False,
    steps: int | None = None,
    device: str = "auto",
    uncertainty: bool = False,
) -> None:
    """Raise ValueError, in one line, for a method that is unknown or is told what it cannot use.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    mask : bool
        Whether a mask is given: needed by `INTERPOLATIONS`, and of no use to `CLASSICAL` or to a
        recipe whose separation is "descent".
    steps : int or None
        Instead of the recipe's: None without a recipe.
    device : str
        "auto" without a recipe.
    uncertainty : bool
        Whether a standard deviation is wanted: of a recipe that models s or is told the mask.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if method in INTERPOLATIONS and not mask:
        raise ValueError(f"method {method!r} fills the elements of a mask; give one")
    if mask and (method in CLASSICAL or _estimates_always(method)):
        able = [name for name in METHODS if name not in CLASSICAL and not _estimates_always(name)]
        raise ValueError(f"method {method!r} takes no mask; {', '.join(able)} do")
    if method not in FITS and steps is not None:
        raise ValueError(f"method {method!r} takes no steps; {', '.join(FITS)} do")
    if method not in FITS and device != "auto":
        raise ValueError(f"method {method!r} runs on the CPU alone; leave the device at 'auto'")
    if uncertainty and not (method in FITS and (mask or _judges(method))):
        able = [name for name in FITS if _judges(name)]
        raise ValueError(f"method {method!r} knows no uncertainty; {', '.join(able)} does")


def _judges(method: str) -> bool:
    return RECIPES[method].separation == "evidence"


def _estimates_always(method: str) -> bool:
    return method in RECIPES and RECIPES[method].separation == "descent"
