"""Thin lines that are brighter or darker than both sides: soft scratches, hair, fibres.

A soft line of a tenth of the range is hardly seen in one pixel, but along its length it is. So the
response of a direction is measured on three parts of a line, each the mean of five pixels in that
direction, minus the larger mean of the two sides; the middle one of the three counts, so that a
line may end and a dot is none. The response is compared with the mean response around it: where
there is fur or grass, a line must be stronger.

A picture has thin lines of its own. Damage is longer, and crosses what is smooth: the log odds that
a line is damage are those of a logistic regression on its length, and on its response relative to
the slopes of the picture beside it. It was fitted to eight photographs with scratches and hair,
compressed, and weighted by the squared response, which is what a mistake costs.
benchmarks/images/line_odds.py measures whether these odds are right. Half of what is found is still
detail, so this detector is for callers who say that there are scratches, and the mixture decides.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustdip.corruption.base import ShapeDetector, real_size
from robustdip.corruption.pieces import Pieces

__all__ = ["ThinLines"]

_DIRECTIONS = 16
_PART = 5  # pixels of each of the three parts
_NOISE = 0.01  # response of a picture without any detail
_LEVEL = 0.001  # a quarter of a grey level; what is smooth has no slope
_AROUND = 31  # side in pixels of the window whose mean response is compared


@dataclass(frozen=True, kw_only=True)
class ThinLines(ShapeDetector):
    """Detector of thin lines.

    Attributes
    ----------
    prior : float
        Log odds that a line is damage, added to those of its length and contrast, which are of
        pictures with lines over 5 % of their area.
    only : {"bright", "dark"} or None
        See `robustdip.corruption.base.ShapeDetector`.
    max_width : float
        Width in pixels of the widest line.
    least_response : float
        Response of a pixel in a line, relative to the mean around it.
    least_odds : float
        Log odds below which a line counts like any other place.
    """

    # In 600 steps a network learns faint lines whose odds are even.
    hidden: ClassVar[bool] = True

    prior: float = 1.0
    only: Literal["bright", "dark"] | None = None
    max_width: float = 3.0
    least_response: float = 1.7
    least_odds: float = -1.0

    def shape_odds(self, y: Tensor, valid: Tensor) -> Tensor | None:
        """See `robustdip.corruption.base.ShapeDetector.shape_odds`; any number of channels."""
        height, width = real_size(valid)
        luma = y[0, :3, :height, :width].mean(dim=0).float().cpu()
        of_lines = self.log_odds(luma)
        found = of_lines > self.least_odds
        if not found.any():
            return None
        scipy: Any = ndimage
        away, nearest = scipy.distance_transform_edt(~found, return_indices=True)
        # The pixels beside a line have a part of it.
        beside = of_lines[tuple(nearest)] * np.select([away == 0, away < 1.5], [1, 0.5])
        odds = y.new_zeros(1, 1, *y.shape[2:])
        odds[0, 0, :height, :width] = torch.from_numpy(beside).to(odds)
        return odds

    def log_odds(self, luma: Tensor) -> NDArray[np.float64]:
        """Log odds that the line through a pixel is damage; -inf outside lines.

        Parameters
        ----------
        luma : Tensor, float32, shape (H, W)

        Returns
        -------
        ndarray, shape (H, W)
        """
        bright, dark = (side.numpy() for side in self._responses(luma))
        around = _NOISE + ndimage.uniform_filter(np.maximum(bright, dark), _AROUND)
        slope = ndimage.gaussian_gradient_magnitude(luma.numpy(), 1)
        odds = np.full(luma.shape, -np.inf)
        for side, response in (("bright", bright), ("dark", dark)):
            if self.only in (None, side):
                pieces = Pieces(response > self.least_response * around)
                of_pieces = self.prior + _log_odds(pieces, response, slope)
                odds = np.maximum(odds, np.append(of_pieces, -np.inf)[pieces.labels])
        return odds

    def _responses(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """How much brighter, and darker, a line through each pixel is than its sides, (H, W)."""
        kernels = _kernels(self.max_width / 2 + 1)
        margin = kernels.shape[-1] // 2
        # Mirrored borders need more pixels than the margin; small pictures repeat their edge.
        padded = F.pad(luma[None, None], (margin,) * 4, mode="replicate")
        means = F.conv2d(padded, kernels)[0].view(_DIRECTIONS, 3, 3, *luma.shape)
        line, left, right = means.unbind(dim=2)
        above = torch.minimum(line - left, line - right).median(dim=1).values
        below = torch.minimum(left - line, right - line).median(dim=1).values
        return above.amax(dim=0).clamp(min=0), below.amax(dim=0).clamp(min=0)


def _log_odds(pieces: Pieces, response: NDArray[Any], slope: NDArray[Any]) -> NDArray[np.float64]:
    """The logistic regression in the module's docstring, for each piece."""
    top, bottom, left, right = pieces.boxes().T
    length = np.hypot(bottom - top, right - left)
    beside = np.sqrt(pieces.mean_beside(slope**2, nearest=3, farthest=8))
    contrast = (pieces.mean(response) + _LEVEL) / (beside + _LEVEL)
    return 1.19 * np.log(length) + 1.41 * np.log(contrast) - 6.78


def _kernels(aside: float) -> Tensor:
    """Kernels of the means of a line's parts and of both sides, at a distance of `aside` pixels.

    Returns
    -------
    Tensor, float32, shape (directions · 3 parts · 3 places, 1, K, K)
        The places are the line, its left and its right.
    """
    reach = int(np.ceil(np.hypot(1.5 * _PART, aside + 1)))
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(float)
    kernels: list[NDArray[np.float64]] = []
    for turn in range(_DIRECTIONS):
        angle = np.pi * turn / _DIRECTIONS
        along = down * np.sin(angle) + across * np.cos(angle)
        beside = down * np.cos(angle) - across * np.sin(angle)
        for part in (-_PART, 0, _PART):
            within = (_PART / 2 + 0.5 - np.abs(along - part)).clip(0, 1)
            for place in (0.0, -aside, aside):
                kernel = within * (1 - np.abs(beside - place)).clip(0, 1)
                kernels.append(kernel / kernel.sum())
    return torch.from_numpy(np.stack(kernels)[:, np.newaxis]).float()
