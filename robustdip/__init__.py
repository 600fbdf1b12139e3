"""Recover one image whose corruption is sparse: deep image prior plus a sparse term s.

>>> import numpy as np
>>> from robustdip import denoise
>>> image = np.full((16, 16), 0.5)  # or uint8, uint16, and (H, W, C)
>>> image[3, 4] = 1.0
>>> result = denoise(image, steps=2)
>>> result.image.shape, result.corruption.shape, result.mask.shape
((16, 16), (16, 16), (16, 16))
"""

from typing import Any

import lazy_loader

from overparam import __version__ as __version__

_lazy_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "restore":
        raise AttributeError("robustdip.restore is now robustdip.denoise(image, method=...)")
    return _lazy_name(name)
