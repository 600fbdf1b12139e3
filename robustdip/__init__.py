"""Recover one image whose corruption is sparse: deep image prior plus a sparse term s.

>>> from robustdip import denoise
>>> result = denoise(corrupted)            # (H, W[, C]) in [0, 1], uint8 or uint16
>>> result.image, result.corruption, result.mask
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustdip.fitting import Step, fit
    from robustdip.images import Picture, read_image, write_image
    from robustdip.noise import corrupt
    from robustdip.recipes import RECIPES, Recipe
    from robustdip.recovery import (
        Denoised,
        DivergedError,
        NotEnoughMemoryError,
        denoise,
        restore,
    )

__version__ = "0.1.0"

_HOME = {
    "Denoised": "recovery",
    "DivergedError": "recovery",
    "NotEnoughMemoryError": "recovery",
    "Picture": "images",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "Step": "fitting",
    "corrupt": "noise",
    "denoise": "recovery",
    "fit": "fitting",
    "read_image": "images",
    "restore": "recovery",
    "write_image": "images",
}
__all__ = [
    "RECIPES",
    "Denoised",
    "DivergedError",
    "NotEnoughMemoryError",
    "Picture",
    "Recipe",
    "Step",
    "corrupt",
    "denoise",
    "fit",
    "read_image",
    "restore",
    "write_image",
]


def __getattr__(name: str) -> Any:
    # PEP 562: `import robustdip` and `--help` stay free of torch (seconds to import).
    if name not in _HOME:
        raise AttributeError(f"module 'robustdip' has no attribute {name!r}")
    return getattr(importlib.import_module(f"robustdip.{_HOME[name]}"), name)
