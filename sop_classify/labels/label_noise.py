"""The kinds of label noise by name. Without numpy, so that a command line can list them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from overparam.checks import check_real, check_type

__all__ = [
    "ASYMMETRIC_VARIANTS",
    "HUMAN_NOISE",
    "NOISE_KINDS",
    "SYNTHETIC_NOISE",
    "LabelNoise",
    "check_mapping",
]

SYNTHETIC_NOISE = ("symmetric", "asymmetric", "instance")
"""Kinds that `sop_classify.labels.synthetic` makes."""

HUMAN_NOISE = {
    "aggre": ("aggre_label", "cifar10n_aggre"),
    "random1": ("random_label1", "cifar10n_random1"),
    "random2": ("random_label2", "cifar10n_random2"),
    "random3": ("random_label3", "cifar10n_random3"),
    "worst": ("worse_label", "cifar10n_worse"),
    "cifar100n": ("noisy_label",),
}
"""Labels that people gave (CIFAR-N), with their keys in the official file and in an .npz."""

NOISE_KINDS = (*SYNTHETIC_NOISE, *HUMAN_NOISE)

ASYMMETRIC_VARIANTS = {
    "cifar10": 10,
    "cifar10-all": 10,
    "cifar100-cyclic": 100,
    "cifar100-pairs": 100,
}
"""Named mappings of asymmetric noise, and the number of classes that each is made for."""

_DEFAULT_MAPPING = {10: "cifar10", 100: "cifar100-cyclic"}


@dataclass(frozen=True)
class LabelNoise:
    """A kind of label noise and how strong it is.

    ``str(noise)`` is the name that tables, folders and reports use, such as ``symmetric-0.4``.

    Attributes
    ----------
    kind : str
        One of `NOISE_KINDS`.
    rate : float or None
        In [0, 1) for synthetic noise, see `sop_classify.labels.synthetic` for its meaning. None for
        labels of people.
    mapping : str or None
        Only for asymmetric noise: a key of `ASYMMETRIC_VARIANTS`. None means "cifar10" for data of
        10 classes and "cifar100-cyclic" for data of 100.

    Raises
    ------
    TypeError, ValueError
        If the kind or the mapping is unknown, rate or mapping do not suit the kind, or one has
        another type.

    Examples
    --------
    >>> LabelNoise.parse("0.2")
    LabelNoise(kind='symmetric', rate=0.2, mapping=None)
    >>> str(LabelNoise("asymmetric", 0.4)), str(LabelNoise("worst"))
    ('asymmetric-0.4', 'worst')
    """

    kind: str
    rate: float | None = None
    mapping: str | None = None

    def __post_init__(self) -> None:
        if check_type("kind", self.kind, str) not in NOISE_KINDS:
            raise ValueError(f"no noise {self.kind!r}; there are {', '.join(NOISE_KINDS)}")
        if self.is_human and self.rate is not None:
            raise ValueError(f"noise {self.kind!r} are labels of people; it has no rate")
        if not self.is_human and self.rate is None:
            raise ValueError(f"noise {self.kind!r} needs a rate, the fraction of labels to change")
        if self.rate is not None:
            check_real("the noise rate", self.rate, least=0, below=1)
        if self.mapping is not None and self.kind != "asymmetric":
            raise ValueError(f"mapping {self.mapping!r} is for asymmetric noise, not {self.kind}")
        if self.mapping is not None:
            check_mapping(self.mapping)

    def __str__(self) -> str:
        other = self.mapping if self.mapping not in _DEFAULT_MAPPING.values() else None
        rate = None if self.rate is None else f"{self.rate:g}"
        return "-".join(part for part in (self.kind, rate, other) if part)

    @property
    def is_human(self) -> bool:
        """Whether people gave these labels."""
        return self.kind in HUMAN_NOISE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "0.2" (symmetric noise), "KIND:RATE", "asymmetric:RATE:MAPPING", or "worst".

        Raises
        ------
        ValueError
            If the text is none of these.
        """
        kind, *rest = check_type("the noise", text, str).split(":")
        if not rest and kind not in NOISE_KINDS:
            kind, rest = "symmetric", [kind]
        try:
            rate = float(rest[0]) if rest else None
        except ValueError:
            raise ValueError(
                f"noise is {text!r}; use a rate such as 0.2, KIND:RATE or a set of human labels; "
                f"kinds are {', '.join(SYNTHETIC_NOISE)}, sets are {', '.join(HUMAN_NOISE)}"
            ) from None
        return cls(kind, rate, ":".join(rest[1:]) or None)

    def for_classes(self, num_classes: int) -> Self:
        """The same noise with the mapping that is the default for this number of classes.

        Raises
        ------
        ValueError
            If there is no default.
        """
        if self.kind != "asymmetric" or self.mapping is not None:
            return self
        if num_classes not in _DEFAULT_MAPPING:
            made_for = ", ".join(f"{name} ({n} classes)" for name, n in ASYMMETRIC_VARIANTS.items())
            raise ValueError(f"no mapping of {num_classes} classes; there are {made_for}")
        return replace(self, mapping=_DEFAULT_MAPPING[num_classes])

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self | None:
        """The noise that run.json describes (see `NoisyLabels.arguments`); None for unknown noise.

        Raises
        ------
        ValueError
            If it describes none of the kinds.
        """
        kind, rate = arguments.get("noise_type"), arguments.get("noise")
        if kind in (None, *SYNTHETIC_NOISE) and rate is None:
            return None
        return cls(str(kind), rate, arguments.get("mapping"))


def check_mapping(name: str) -> None:
    """Raise ValueError if asymmetric noise has no mapping of this name."""
    if check_type("mapping", name, str) not in ASYMMETRIC_VARIANTS:
        close = difflib.get_close_matches(name, ASYMMETRIC_VARIANTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"unknown mapping {name!r}: use one of {', '.join(ASYMMETRIC_VARIANTS)}{hint}"
        )
