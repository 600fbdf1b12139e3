"""Scratches, hairs and lost lines: damage whose colour changes slowly along its way.

One pixel of a scratch could be detail. What gives it away is that it continues the damage on both
of its sides. So the colour y of a pixel that is corrupted in all channels has, beside the density
of the whole image (`robustdip.corruption.mixture`), a density given the corrupted pixels around it:
for every pair of them that lie opposite each other a Laplace density of scale h around both, and
the mean over all pairs, weighted by the probability that both are corrupted,

    p_c(y) = Σ b₊b₋ · exp(−(‖y − y₊‖₁ + ‖y − y₋‖₁) / 2h) / (2h)^C  /  Σ b₊b₋.

One similar neighbour is not enough: pixels of fine detail that the network has not learned yet look
corrupted, have neighbours of their colour too, and would confirm each other.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ScratchDensity", "Scratches"]


@dataclass(frozen=True, kw_only=True)
class Scratches:
    """Settings of the density along scratches.

    Attributes
    ----------
    window : int
        Pixels a side, odd, within which pairs lie: enough to look over a crossing scratch that
        hides the nearest neighbours.
    scale : float
        h, 1.3 of 255 grey levels: rounding and a slow change of colour.
    """

    window: int = 5
    scale: float = 0.005

    def start(self, y: Tensor) -> "ScratchDensity":
        """The density for one image y, float32 of shape (1, C, H, W)."""
        return ScratchDensity(self, y)


class ScratchDensity:
    """Density of each pixel's colour between pairs of corrupted pixels.

    Attributes
    ----------
    alike : Tensor, shape (pairs, H, W)
        Laplace density of each pixel's colour given both pixels of each pair.
    """

    def __init__(self, settings: Scratches, y: Tensor) -> None:
        self.window = settings.window
        self.pairs = settings.window**2 // 2
        h = settings.scale
        channels, height, width = y.shape[1:]
        half, last = self.window // 2, self.window - 1
        # Nothing beyond the border is similar: 2 is farther from any colour than the range is wide.
        padded = F.pad(y[0], (half,) * 4, value=2.0)
        alike = y.new_empty(self.pairs, height, width)
        for pair in range(self.pairs):
            row, column = divmod(pair, self.window)
            distance = y.new_zeros(height, width)
            for down, across in ((row, column), (last - row, last - column)):
                other = padded[:, down : down + height, across : across + width]
                distance += (y[0] - other).abs().sum(dim=0)
            alike[pair] = torch.exp(-distance / (2 * h)) / (2 * h) ** channels
        self.alike = alike

    def density(self, corrupted: Tensor) -> Tensor:
        """p_c of each pixel's colour, given each pixel's probability of being corrupted.

        Parameters
        ----------
        corrupted : Tensor, shape (1, 1, H, W)

        Returns
        -------
        Tensor, shape (1, 1, H, W)
            0 where there is no pair of corrupted pixels.
        """
        around = F.unfold(corrupted, self.window, padding=self.window // 2)[0]
        # Places counted from the first and from the last lie opposite each other.
        both = (around[: self.pairs] * around.flip(0)[: self.pairs]).view_as(self.alike)
        # The sum of less than one pair is not scaled up to a whole one.
        return ((both * self.alike).sum(dim=0) / both.sum(dim=0).clamp(min=1))[None, None]
