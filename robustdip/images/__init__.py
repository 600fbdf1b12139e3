"""Image files: file -> `Picture` -> file, with bit depth, alpha and colour profile."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
