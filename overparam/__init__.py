"""Sparse over-parameterization: what image recovery and label-noise training share."""

# lazy_loader has no type stubs; the names and their types are declared in __init__.pyi.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
