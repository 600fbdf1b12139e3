"""Mixup: convex combinations of examples and of their labels (Zhang et al., ICLR 2018)."""

import torch
from torch import Tensor

__all__ = ["mixing_weight", "partners"]


def mixing_weight(parameter: int, *, generator: torch.Generator) -> float:
    """L = max(z, 1 − z) with z ~ Beta(parameter, parameter), so in [1/2, 1]; 1 for parameter 0.

    The maximum is as in MixMatch (Berthelot et al., NeurIPS 2019): a mixture is closer to its own
    label than to its partner's.
    """
    if parameter == 0:
        return 1.0
    # The k-th smallest of 2k − 1 uniform numbers has the distribution Beta(k, k).
    uniform = torch.rand(2 * parameter - 1, generator=generator, dtype=torch.float32)
    z = float(uniform.sort().values[parameter - 1])
    return max(z, 1 - z)


def partners(number: int, *, generator: torch.Generator, device: torch.device) -> Tensor:
    """The partner that each of `number` examples is mixed with: a permutation."""
    return torch.randperm(number, generator=generator).to(device)
