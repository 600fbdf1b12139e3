"""Sparse over-parameterization: the core that image recovery and label-noise training share."""

from overparam.corruption import SparseCorruption, activation_steps

__all__ = ["SparseCorruption", "activation_steps"]
