"""Recover one image whose corruption is sparse: deep image prior plus a sparse term s.

>>> from robustdip import denoise
>>> result = denoise(corrupted)            # (H, W[, C]) in [0, 1], uint8 or uint16
>>> result.image, result.corruption, result.mask
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
