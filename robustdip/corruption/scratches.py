"""Damage that runs on: a scratch, a hair or a lost line, whose colour changes slowly along its way.

One pixel of a scratch could be detail. What gives it away is that it continues the damage on both
its sides. So the colour y of a pixel that is bad in all its channels has, beside the density of the
whole image (`robustdip.corruption.mixture`), a density given the bad pixels around it: for every pair of
them that lie opposite each other, a Laplace density of scale h around both, and of all pairs the
mean, weighted by the probability that both are bad,

    p_c(y) = Σ b₊b₋ · exp(−(‖y − y₊‖₁ + ‖y − y₋‖₁) / 2h) / (2h)^C  /  Σ b₊b₋.

One like neighbour is not enough: pixels of fine detail, taken for bad while the network has not
learned it yet, have neighbours of their colour too and would vouch for each other.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Streaks"]

_SIDE = 5  # pixels a side: over a crossing scratch, which hides the nearest neighbours, and no more
_PAIRS = _SIDE**2 // 2
_SCALE = 0.005  # h, 1.3 of 255 grey levels: rounding and a slow change of colour


class Streaks:
    """The density of each pixel's colour between pairs of bad pixels.

    Parameters
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        In [0, 1].
    """

    def __init__(self, y: Tensor) -> None:
        channels, height, width = y.shape[1:]
        half = _SIDE // 2
        # Nothing beyond the border is alike: 2 is further from any colour than the range is wide.
        padded = F.pad(y[0], (half,) * 4, value=2.0)
        alike = y.new_empty(_PAIRS, height, width)
        for pair in range(_PAIRS):
            row, column = divmod(pair, _SIDE)
            apart = y.new_zeros(height, width)
            for down, across in ((row, column), (_SIDE - 1 - row, _SIDE - 1 - column)):
                other = padded[:, down : down + height, across : across + width]
                apart += (y[0] - other).abs().sum(dim=0)
            alike[pair] = torch.exp(-apart / (2 * _SCALE)) / (2 * _SCALE) ** channels
        self.alike = alike

    def density(self, bad: Tensor) -> Tensor:
        """Of each pixel's colour, given the probability of every pixel to be bad.

        Parameters
        ----------
        bad : Tensor, shape (1, 1, H, W)

        Returns
        -------
        Tensor, shape (1, 1, H, W)
            Zero where there is no pair of bad pixels.
        """
        around = F.unfold(bad, _SIDE, padding=_SIDE // 2)[0]
        # Counted from the first and from the last, the places lie opposite each other.
        both = (around[:_PAIRS] * around.flip(0)[:_PAIRS]).view_as(self.alike)
        # Less than one pair counts for less.
        return ((both * self.alike).sum(dim=0) / both.sum(dim=0).clamp(min=1))[None, None]
