"""The kinds of corruption that `corrupt` knows, each declared once.

This module imports no numpy, so that the command line can list the kinds at once. They are
implemented where their entries say.
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
        mask, as those of `robustdip.synthetic` do.
    by_element : bool
        It hits each element alone, and the function takes `per_pixel` too, to hit all channels of a
        pixel together. Otherwise it never splits a pixel.
    """

    where: str
    by_element: bool = False

    def load(self) -> Callable[..., tuple[Any, Any]]:
        """The function; imports its module."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)


KINDS: dict[str, Kind] = {
    "salt-and-pepper": Kind("robustdip.synthetic:salt_and_pepper", by_element=True),
    "random-valued": Kind("robustdip.synthetic:random_valued", by_element=True),
    "text": Kind("robustdip.synthetic:text"),
    "scratches": Kind("robustdip.synthetic:scratches"),
    "missing-lines": Kind("robustdip.synthetic:missing_lines"),
}
"""All kinds by name; a kind of your own is one more entry."""
