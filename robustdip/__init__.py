"""Recover one image whose corruption is sparse: deep image prior plus a sparse term s.

>>> from robustdip import denoise
>>> result = denoise(corrupted)            # (H, W[, C]) in [0, 1], uint8 or uint16
>>> result.image, result.corruption, result.mask
"""

from typing import Any

import lazy_loader

from overparam import __version__ as __version__

_lazy_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "restore":
        raise AttributeError("robustdip.restore is now robustdip.denoise(image, method=...)")
    return _lazy_name(name)
