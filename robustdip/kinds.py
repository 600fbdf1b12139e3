"""The kinds of corruption that `corrupt` knows, each declared once.

This module does not import numpy, so that the command line can list the kinds quickly. Each entry
names the place of its implementation.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of corruption.

    Attributes
    ----------
    where : str
        "module:function". ``function(image, amount, *, rng)`` returns the corrupted image and the
        mask, like the functions of `robustdip.synthetic`.
    by_element : bool
        Whether elements are corrupted independently. If so, the function also takes `per_pixel`,
        which corrupts all channels of a pixel together. Otherwise all channels of a pixel are
        corrupted together, except by hot pixels, of which each has one colour.
    """

    where: str
    by_element: bool = False

    def load(self) -> Callable[..., tuple[Any, Any]]:
        """Import the module of `where`, and return the function.

        Returns
        -------
        callable
        """
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)


KINDS: dict[str, Kind] = {
    "salt-and-pepper": Kind("robustdip.synthetic:salt_and_pepper", by_element=True),
    "random-valued": Kind("robustdip.synthetic:random_valued", by_element=True),
    "text": Kind("robustdip.synthetic:text"),
    "scratches": Kind("robustdip.synthetic:scratches"),
    "missing-lines": Kind("robustdip.synthetic:missing_lines"),
    "blocks": Kind("robustdip.synthetic:blocks"),
    "hot-pixels": Kind("robustdip.synthetic:hot_pixels"),
    "soft-text": Kind("robustdip.soft_damage:soft_text"),
    "watermark": Kind("robustdip.soft_damage:watermark"),
    "soft-scratches": Kind("robustdip.soft_damage:soft_scratches"),
    "hair": Kind("robustdip.soft_damage:hair"),
    "dust": Kind("robustdip.soft_damage:dust"),
    "streaks": Kind("robustdip.soft_damage:streaks"),
}
"""All kinds by name. Add an entry for a kind of your own."""
