"""Blobs that are light or dark in all channels: dust and specks on a print, a slide or a scanner.

A blob is a connected piece of what is lighter than a level in all channels, or darker, at one of
several levels. Dust is compact: its piece fills the box around it, which is nearly square. And it
ends all around, within four pixels, while pieces of the picture fade on some side. The log odds of
a piece are those of a logistic regression on eight photographs, with dust and without, compressed:
fitted to seven of them, it ranks the pieces of the eighth with an area under the curve of 0.90. At
these odds nine tenths of what is found on a dusty picture is dust. Clean photographs have such
pieces too, in half a per cent of their area, eyes and buttons. So this detector is for callers who
say that there is dust.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustdip.corruption.base import ShapeDetector, real_size
from robustdip.corruption.pieces import Pieces, distance_to

__all__ = ["Blobs"]

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
_FALL = 0.15  # below the level, where a blob has ended
_SMALLEST = 7  # pixels
_SLIMMEST = 3.0  # times as long as wide


@dataclass(frozen=True, kw_only=True)
class Blobs(ShapeDetector):
    """Detector of light and dark blobs.

    Attributes
    ----------
    prior : float
        Log odds that a blob is damage, added to those of its shape.
    odds : float
        Log odds of a pixel in a blob that is probably damage.
    only : {"bright", "dark"} or None
        See `robustdip.corruption.base.ShapeDetector`.
    max_width : float
        Width in pixels of the largest blob.
    """

    # A network learns a blob of many pixels from its edges inwards.
    hidden: ClassVar[bool] = True

    prior: float = 0.5
    odds: float = 5.0
    only: Literal["bright", "dark"] | None = None
    max_width: float = 60.0

    def shape_odds(self, y: Tensor, valid: Tensor) -> Tensor | None:
        """See `robustdip.corruption.base.ShapeDetector.shape_odds`; any number of channels."""
        height, width = real_size(valid)
        # MPS has no float64.
        found = self.blobs(y[0, :3, :height, :width].permute(1, 2, 0).cpu().double().numpy())
        if not found.any():
            return None
        away = distance_to(found)
        odds = y.new_zeros(1, 1, *y.shape[2:])
        # Their edges are soft, so they go beyond the level.
        soft = self.odds * np.select([away == 0, away < 1.5, away < 3], [1, 0.8, 0.4])
        odds[0, 0, :height, :width] = torch.from_numpy(soft).to(odds)
        return odds

    def blobs(self, image: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Find the pixels of blobs that are probably damage.

        Parameters
        ----------
        image : ndarray, shape (H, W, C)

        Returns
        -------
        ndarray of bool, shape (H, W)
        """
        light, dark = image.min(axis=2), 1 - image.max(axis=2)
        found = np.zeros(light.shape, bool)
        for side, tone in (("bright", light), ("dark", dark)):
            if self.only in (None, side):
                for level in _LEVELS:
                    found |= self._above(tone, level)
        return found

    def _above(self, tone: NDArray[np.float64], level: float) -> NDArray[np.bool_]:
        pieces = Pieces(tone > level)
        top, bottom, left, right = pieces.boxes().T
        sides = np.stack([bottom - top, right - left])
        shorter, longer = sides.min(axis=0), sides.max(axis=0)
        ends = pieces.mean_beside(tone < level - _FALL, nearest=2, farthest=4.1)
        score = (
            0.83 * np.log(pieces.area)
            + 3.71 * np.log(pieces.area / (shorter * longer))
            - 3.97 * np.log(longer / shorter)
            + 1.72 * ends
            - 3.07
        )
        possible = (pieces.area >= _SMALLEST) & (longer <= self.max_width)
        possible &= longer <= _SLIMMEST * shorter
        return pieces.those(possible & (score + self.prior > 0))
