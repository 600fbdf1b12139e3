"""The catalogue of methods: each is declared once, with the inputs that it accepts.

This module does not import torch, so that the command line can list and check methods quickly. Each
entry names the place of its implementation: a recipe in `robustdip.recipes`, or a function in
`robustdip.classical`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, get_args

from overparam.checks import check_choice, check_type
from robustdip.told import BESIDE_MASK

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "DEFAULT",
    "METHODS",
    "Method",
    "check_method",
    "gives_mask_of_changes",
    "names",
    "register",
]

Kind = Literal["fit", "classical", "interpolation"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to recover an image.

    Attributes
    ----------
    name : str
        As in `denoise(method=...)` and `denoise --method`.
    summary : str
        What it does, in a few words.
    kind : {"fit", "classical", "interpolation"}
        "fit": a network is fitted, by a recipe. "classical": no network; blind. "interpolation":
        elements of a given mask are filled from the others.
    where : str
        "module:MAPPING". The mapping holds the implementation under the method's name: a `Recipe`;
        a function of the image; or a function of image and mask. Images are (H, W, C) float32. A
        function returns a new image of that shape, of finite floats, and changes none that it is
        given.
    takes_mask : bool
        Whether the method can use a mask of known corruption.
    takes_certain : bool
        Whether it takes elements that are certainly corrupted or clean, and judges the others.
    gives_uncertainty : bool
        Whether it estimates the standard deviation of each element without a mask.

    Raises
    ------
    TypeError, ValueError
        If the name or `where` is no such string, or the kind is another.
    """

    name: str
    summary: str
    kind: Kind
    where: str
    takes_mask: bool = False
    takes_certain: bool = False
    gives_uncertainty: bool = False

    def __post_init__(self) -> None:
        if not check_type("name", self.name, str):
            raise ValueError("name is empty; a method needs one")
        check_choice("kind", self.kind, get_args(Kind))
        module, _, mapping = check_type("where", self.where, str).partition(":")
        if not (module and mapping):
            raise ValueError(f"where is {self.where!r}; module:MAPPING is needed")

    @property
    def needs_mask(self) -> bool:
        """Whether the method works only with a mask."""
        return self.kind == "interpolation"

    def load(self) -> Any:
        """Import the module of `where`, and return the implementation.

        Returns
        -------
        Recipe or callable
            A recipe for a fit, else a function; see `where`.

        Raises
        ------
        TypeError
            If it is neither, or (when it is called) returns no array of floats.
        ValueError
            If there is none at `where`, or (when it is called) what it returns has another shape
            than its image, or values that are not finite.
        """
        module, _, mapping = self.where.partition(":")
        try:
            imported = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # a module that this one needs
            raise ValueError(
                f"method {self.name!r} is in {module!r}, which is not there"
            ) from error
        try:
            found = getattr(imported, mapping)[self.name]
        except (AttributeError, KeyError) as error:
            raise ValueError(f"{self.where!r} has no method {self.name!r}") from error
        if self.kind != "fit":
            if not callable(found):
                raise TypeError(f"method {self.name!r} is {found!r}; a function is needed")
            return _checked(self.name, found)
        from robustdip.recipes import Recipe

        if not isinstance(found, Recipe):
            raise TypeError(f"method {self.name!r} is {found!r}; a Recipe is needed")
        return found


def _checked(name: str, method: Callable[..., Any]) -> "Callable[..., np.ndarray]":
    """A function that returns what `denoise` takes for its result, or says that it does not."""

    @wraps(method)
    def call(image: "np.ndarray", *mask: "np.ndarray") -> "np.ndarray":
        import numpy as np

        result = method(image, *mask)
        if not isinstance(result, np.ndarray) or not np.issubdtype(result.dtype, np.floating):
            kind = getattr(result, "dtype", type(result).__name__)
            raise TypeError(f"method {name!r} returned {kind}; an array of floats is needed")
        if result.shape != image.shape:
            raise ValueError(
                f"method {name!r} returned shape {result.shape}; {image.shape} is needed"
            )
        if not np.isfinite(result).all():
            raise ValueError(f"method {name!r} returned values that are not finite")
        return result.astype(np.float32, copy=False)

    return call


def _fit(name: str, summary: str, **facts: bool) -> Method:
    return Method(
        name=name, summary=summary, kind="fit", where="robustdip.recipes:RECIPES", **facts
    )


def _separation(name: str, summary: str) -> Method:
    """A fit that estimates s by a mixture."""
    return _fit(name, summary, takes_mask=True, takes_certain=True, gives_uncertainty=True)


def _classical(name: str, summary: str) -> Method:
    where = "robustdip.classical:METHODS"
    return Method(name=name, summary=summary, kind="classical", where=where)


def _interpolation(name: str, summary: str) -> Method:
    where = "robustdip.classical:INTERPOLATIONS"
    return Method(name=name, summary=summary, kind="interpolation", where=where, takes_mask=True)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        _separation("default", "deep image prior plus s, estimated from the image"),
        _separation("fast", "default in half of the steps"),
        _separation("best", "default with two networks and more steps, over three times the work"),
        _fit("paper", "the published deep image prior plus s, 150,000 steps"),
        _fit("dip-l1", "deep image prior without s, absolute loss", takes_mask=True),
        _fit("dip-l2", "deep image prior without s, squared loss", takes_mask=True),
        _fit("dip-es-wmv", "dip-l2 with early stopping (ES-WMV)", takes_mask=True),
        _classical("median", "median of a window"),
        _classical("adaptive-median", "median of windows that grow with the noise"),
        _classical("two-phase", "adaptive median, then an edge-preserving fit"),
        _classical("tv-l1", "total variation with absolute loss"),
        _classical("extremes-linear", "pure black and white filled linearly"),
        _classical("extremes-biharmonic", "pure black and white filled by smooth surfaces"),
        _interpolation("linear", "linear interpolation over the mask"),
        _interpolation("biharmonic", "smooth surfaces over the mask"),
    )
}
"""All methods by name, in the order in which they are listed."""

DEFAULT = "default"
"""Name of the method that `denoise` uses if none is given."""


def register(method: Method) -> None:
    """Add a method of your own to `METHODS`.

    Parameters
    ----------
    method : Method

    Raises
    ------
    TypeError
        If it is no `Method`.
    ValueError
        If the name is taken.
    """
    check_type("method", method, Method)
    if method.name in METHODS:
        raise ValueError(f"there is a method {method.name!r} already; choose another name")
    METHODS[method.name] = method


def names(kind: Kind) -> tuple[str, ...]:
    """List the names of all methods of one kind.

    Parameters
    ----------
    kind : {"fit", "classical", "interpolation"}

    Returns
    -------
    tuple of str
        In the order of `METHODS`.
    """
    return tuple(name for name, method in METHODS.items() if method.kind == kind)


def gives_mask_of_changes(name: str) -> bool:
    """Whether the mask of a result says what was changed much, not what was found corrupted.

    So it is with classical methods, which judge nothing.
    """
    return name in METHODS and METHODS[name].kind == "classical"


def check_method(
    name: str,
    *,
    mask: bool = False,
    certain: bool = False,
    told: bool = False,
    steps: int | None = None,
    device: str = "auto",
    uncertainty: bool = False,
    tiles: bool = False,
) -> None:
    """Check that a method exists and accepts the given inputs.

    Parameters
    ----------
    name : str
        One of `METHODS`.
    mask : bool
        Whether a mask is given.
    certain : bool
        Whether elements are given that are certainly corrupted, or certainly clean.
    told : bool
        Whether something is told about the damage (`robustdip.told.Told`).
    steps : int or None
        Gradient steps instead of the recipe's; only a fit accepts them.
    device : str
        Only a fit accepts another device than "auto".
    uncertainty : bool
        Whether the standard deviation of the result is asked for.
    tiles : bool
        Whether something is asked for about tiles; only a fit has them.

    Raises
    ------
    ValueError
        If there is no such method, or it does not accept one of the inputs.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}")
    method, fits = METHODS[name], names("fit")
    if method.needs_mask and not mask:
        raise ValueError(f"method {name!r} fills the elements of a mask; give one")
    if mask and not method.takes_mask:
        able = [other.name for other in METHODS.values() if other.takes_mask]
        raise ValueError(f"method {name!r} takes no mask; {', '.join(able)} do")
    if certain and not method.takes_certain:
        able = [other.name for other in METHODS.values() if other.takes_certain]
        raise ValueError(
            f"method {name!r} takes no add-mask and no protected elements; {', '.join(able)} do"
        )
    if told and not method.takes_certain:
        able = [other.name for other in METHODS.values() if other.takes_certain]
        raise ValueError(
            f"method {name!r} takes no damage, strength, only and max-size; {', '.join(able)} do"
        )
    if told and mask:
        raise ValueError(BESIDE_MASK)
    if method.kind != "fit" and steps is not None:
        raise ValueError(f"method {name!r} takes no steps; {', '.join(fits)} do")
    if method.kind != "fit" and tiles:
        raise ValueError(f"method {name!r} takes the whole picture at once; leave out the tiles")
    if method.kind != "fit" and device != "auto":
        raise ValueError(f"method {name!r} runs on the CPU only; leave the device at 'auto'")
    if uncertainty and not (method.gives_uncertainty or (method.kind == "fit" and mask)):
        able = [other.name for other in METHODS.values() if other.gives_uncertainty]
        raise ValueError(f"method {name!r} gives no uncertainty; {', '.join(able)} do")
