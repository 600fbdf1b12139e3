"""Sparse over-parameterization: the core that image recovery and label-noise training share."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overparam.corruption import SparseCorruption, activation_steps

__all__ = ["SparseCorruption", "activation_steps"]


def __getattr__(name: str) -> Any:
    # PEP 562: `overparam.files` must not wait for torch (seconds to import).
    if name not in __all__:
        raise AttributeError(f"module 'overparam' has no attribute {name!r}")
    return getattr(importlib.import_module("overparam.corruption"), name)
