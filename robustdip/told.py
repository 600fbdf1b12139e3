"""What a caller knows about the damage, as settings of the detectors.

Without it every detector must be careful, because a detail of the picture may look like damage. A
kind that is named is there, so its detectors may believe weaker evidence; and detectors of other
kinds are left out. This changes priors only: what is found goes through the same mixture.

This module does not import torch, so that the command line can check names quickly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from overparam.checks import check_choice, check_real

if TYPE_CHECKING:
    from robustdip.corruption.mixture import Mixture
    from robustdip.recipes import Recipe

__all__ = ["BESIDE_MASK", "DAMAGE", "LARGEST_SIZE", "Told", "check_damage"]

DAMAGE = {
    "auto": "whatever is certain enough",
    "pixels": "single wrong values",
    "text": "printed words",
    "scratches": "long thin lines",
    "hair": "curled thin lines",
    "dust": "blobs",
    "lines": "lost rows or columns, and streaks along them",
}
"""What can be told of the damage, in a few words each."""

LARGEST_SIZE = 200
"""Largest `max_size`, in pixels: time and memory of the search grow with its square."""

BESIDE_MASK = "a mask says where the damage is; give it without damage, strength, only and max-size"
"""What is said of a mask beside something that is told."""

# Log odds for a strength of 1.
_STRONGEST = 4.0


def check_damage(damage: str | Sequence[str]) -> tuple[str, ...]:
    """Check the names of kinds of damage.

    Parameters
    ----------
    damage : str or sequence of str
        One or several names of `DAMAGE`; "auto" is alone.

    Returns
    -------
    tuple of str

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If there is no such name, or "auto" is not alone.
    """
    if not isinstance(damage, Iterable):
        raise TypeError(f"damage is {damage!r}; names of {', '.join(DAMAGE)} are needed")
    named = (damage,) if isinstance(damage, str) else tuple(damage)
    for name in named:
        check_choice("damage", name, DAMAGE)
    if not named or ("auto" in named and len(named) > 1):
        raise ValueError(f"damage is {damage!r}; name what is there, or 'auto' alone")
    return named


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a caller knows about the damage.

    Attributes
    ----------
    damage : str or sequence of str
        Names of `DAMAGE`: the kinds that are there.
    strength : float
        From -1, removes too little, to 1, removes too much.
    only : {"bright", "dark"} or None
        Damage is only brighter, or only darker, than the picture.
    max_size : float or None
        Width in pixels of the widest stroke, line or blob that counts as damage, from 1 to 200;
        None leaves it to the detectors.

    Raises
    ------
    TypeError
        If a number has another type.
    ValueError
        If there is no such kind of damage, or a value is out of range.
    """

    damage: str | Sequence[str] = ("auto",)
    strength: float = 0.0
    only: Literal["bright", "dark"] | None = None
    max_size: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "damage", check_damage(self.damage))
        check_real("strength", self.strength, least=-1, most=1)
        if self.only is not None:
            check_choice("only", self.only, ("bright", "dark"))
        if self.max_size is not None:
            check_real("max_size", self.max_size, least=1, most=LARGEST_SIZE)

    @property
    def anything(self) -> bool:
        """Whether it says anything at all."""
        return self != Told()

    def check_mask(self, given: bool) -> None:
        """Raise ValueError if something is told although a mask is given, which says all."""
        if given and self.anything:
            raise ValueError(BESIDE_MASK)

    def applied(self, recipe: "Recipe") -> "Recipe":
        """Set the detectors of a recipe.

        Parameters
        ----------
        recipe : Recipe

        Returns
        -------
        Recipe
            `recipe` itself if nothing is told.

        Raises
        ------
        ValueError
            If its model of s is not the mixture.
        """
        from robustdip.corruption.mixture import Mixture

        if not self.anything:
            return recipe
        model = recipe.corruption_model
        if not isinstance(model, Mixture):
            raise ValueError(
                f"recipe {recipe.name!r} finds no kinds of damage; leave out damage, strength, "
                "only and max_size"
            )
        if self.damage != ("auto",):
            model = _only_detectors_of(check_damage(self.damage), model)
        bias = _STRONGEST * self.strength
        changes: dict[str, Any] = {"only": self.only}
        if self.max_size is not None:
            changes["max_width"] = self.max_size
        shapes = tuple(
            replace(cast(Any, shape), prior=shape.prior + bias, **changes) for shape in model.shapes
        )
        return replace(
            recipe,
            corruption_model=replace(model, shapes=shapes, bias=model.bias + bias, only=self.only),
        )


def _only_detectors_of(named: tuple[str, ...], model: "Mixture") -> "Mixture":
    """Leave out the detectors of kinds that are not named, and let the others be bold."""
    from robustdip.corruption.blobs import Blobs
    from robustdip.corruption.missing_lines import MissingLines
    from robustdip.corruption.printed_colours import PrintedColours
    from robustdip.corruption.printed_text import PrintedText
    from robustdip.corruption.streaks import Streaks
    from robustdip.corruption.thin_lines import ThinLines

    text = PrintedColours(prior=-0.5, least_evidence=0, least_exact_evidence=0, least_varied=0)
    exact = {"lines": MissingLines(), "text": PrintedText()}
    shapes = {
        "text": text,
        "scratches": ThinLines(),
        "hair": ThinLines(),
        "dust": Blobs(),
        "lines": Streaks(),
    }
    return replace(
        model,
        detail=None,  # what is named is there, if only a few elements of it
        detectors=tuple(detector for name, detector in exact.items() if name in named),
        shapes=tuple(dict.fromkeys(shape for name, shape in shapes.items() if name in named)),
        scratches=model.scratches if {"scratches", "hair"} & set(named) else None,
    )
