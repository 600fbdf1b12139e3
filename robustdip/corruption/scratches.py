"""Scratches, hairs and missing lines: damage whose colour changes slowly along a line.

One pixel of a scratch could be detail. It is recognised because it continues the damage on both of
its sides. So the colour y of a pixel that is corrupted in all channels has two densities: that of
the whole image (`robustdip.corruption.mixture`), and one given the corrupted pixels around it. The
latter is a Laplace density of scale h around both pixels of a pair that lie opposite each other,
averaged over all pairs with the probability that both are corrupted as weight,

    p_c(y) = Σ b₊b₋ · exp(−(‖y − y₊‖₁ + ‖y − y₋‖₁) / 2h) / (2h)^C  /  Σ b₊b₋.

One similar neighbour is not enough: pixels of fine detail that the network has not learned yet look
corrupted too and have neighbours of a similar colour, so they would confirm each other.
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
        Side in pixels, odd, of the window that contains the pairs. It is large enough to reach
        beyond a crossing scratch that covers the nearest neighbours.
    scale : float
        h, 1.3 of 255 grey levels, for rounding and a slow change of colour.
    """

    window: int = 5
    scale: float = 0.005

    def start(self, y: Tensor) -> "ScratchDensity":
        """Make the density for one image.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)

        Returns
        -------
        ScratchDensity
        """
        return ScratchDensity(self, y)


class ScratchDensity:
    """Density of each pixel's colour given pairs of corrupted pixels around it.

    Parameters
    ----------
    settings : Scratches
    y : Tensor, float32, shape (1, C, H, W)

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
        # Nothing beyond the border is similar: 2 is farther than 1 from every value in [0, 1].
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
        """Compute p_c of each pixel's colour, given the probability that each is corrupted.

        Parameters
        ----------
        corrupted : Tensor, shape (1, 1, H, W)

        Returns
        -------
        Tensor, shape (1, 1, H, W)
            0 if there is no pair of corrupted pixels.
        """
        around = F.unfold(corrupted, self.window, padding=self.window // 2)[0]
        # The i-th place from the start of the window lies opposite the i-th from its end.
        both = (around[: self.pairs] * around.flip(0)[: self.pairs]).view_as(self.alike)
        # A total weight below one pair is not scaled up to one.
        return ((both * self.alike).sum(dim=0) / both.sum(dim=0).clamp(min=1))[None, None]
