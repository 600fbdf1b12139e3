"""p_c: which values corrupted elements have, and what such values cost the network on average.

Salt and pepper make two spikes in the histogram of corrupted values, and a scratch one at its
colour; random values make none.
"""

import torch
from torch import Tensor

from robustdip.corruption.base import Penalty

__all__ = ["density_of_values", "mean_cost"]

_PARTS = 16  # of the range of values, in which a histogram is even or not


def density_of_values(counts: Tensor, *, spike: float, uneven: float) -> Tensor:
    """Compute p_c, relative to a uniform density, from a histogram of corrupted values.

    2 % are spread evenly, because an element whose value has not occurred yet may be corrupted.
    Between the spikes it is the mean if the histogram is nearly even there. What is uneven in it
    follows the picture, since corrupted elements with values that are frequent in the picture are
    missed, and would be missed again. A very uneven one is kept: in a picture without damage it is
    that of the detail that the network has not learned, and if any value could be corrupted, half
    of a dark picture could be.

    Parameters
    ----------
    counts : Tensor, shape (levels,)
        Sums of the probabilities of the corrupted elements with each value.
    spike, uneven : float
        See `robustdip.corruption.mixture.Mixture`.

    Returns
    -------
    Tensor, shape (levels,)
    """
    levels = len(counts)
    density = 0.98 * levels * counts / counts.sum().clamp(min=1e-6) + 0.02
    # There is always a value between spikes, because spikes are above the mean density.
    spikes = density > spike
    mean = density[~spikes].mean()
    part = torch.arange(levels, device=counts.device) * _PARTS // levels
    width, total = density.new_zeros(2, _PARTS)
    width = width.index_add(0, part, (~spikes).to(density))
    total = total.index_add(0, part, density.masked_fill(spikes, 0))
    share = width / width.sum()
    variance = (share * (total / width.clamp(min=1) - mean) ** 2).sum()
    even = ~spikes & (variance.sqrt() < uneven * mean)
    return torch.where(even, mean, density)


def mean_cost(density: Tensor, weight: Tensor, *, penalty: Penalty) -> Tensor:
    """Compute E w(c) ρ(x − c) of corrupted values c from p_c, for each level of x.

    Parameters
    ----------
    density, weight : Tensor, shape (levels,)
        p_c, relative to a uniform density, and w of each value.
    penalty : Penalty
        ρ.

    Returns
    -------
    Tensor, shape (levels,)
    """
    levels = len(density)
    values = torch.linspace(0, 1, levels, device=density.device, dtype=density.dtype)
    return penalty(values[:, None] - values) @ (density * weight) / levels
