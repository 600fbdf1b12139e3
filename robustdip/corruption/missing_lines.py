"""Lost lines: a row or column with one exact value along most of it.

A broken read-out loses whole lines. Straight lines are what a network learns first, so their
residual shows nothing. Their value does: it is the same from end to end, where the lines beside it
vary everywhere. Each channel is looked at alone, for one of three sensors may be broken.

Drawings have such lines too, and frames. There the lines beside them have few values as well, or
several run along the picture's edge. They are left alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MissingLines"]


@dataclass(frozen=True, kw_only=True)
class MissingLines:
    """Detector of rows and columns that have lost their picture.

    Attributes
    ----------
    min_length : int
        Elements in a line; in shorter ones a value repeats by chance.
    min_share : float
        Share of a lost line that has its value; other noise may lie over the rest.
    max_plain_share : float
        Largest share of the nearest good lines that one value may have.
    max_same_share : float
        Largest share of the nearest good lines that the lost line's value may have.
    max_thickness : float
        Largest share of the side that is lost in one piece.
    """

    min_length: int = 32
    min_share: float = 0.75
    max_plain_share: float = 0.5
    max_same_share: float = 0.25
    max_thickness: float = 1 / 16

    @torch.no_grad()
    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """The elements that have the value of their lost row or column.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)
            In [0, 1].
        valid : Tensor, shape (1, C, H, W)
            1 for real elements, 0 for padding, which comes last.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        device = y.device
        y, valid = y.cpu(), valid.cpu()  # once a fit, and not every device can take a mode
        found = torch.zeros_like(y, dtype=torch.bool)
        height, width = (int(valid[0, 0].any(dim=dim).sum()) for dim in (1, 0))
        image = y[0, :, :height, :width]
        columns = self._lost_rows(image.transpose(1, 2)).transpose(1, 2)
        found[0, :, :height, :width] = self._lost_rows(image) | columns
        return found.to(device)

    def _lost_rows(self, image: Tensor) -> Tensor:
        """The elements of an image (C, H, W) that have the value of their lost row."""
        count, length = image.shape[1:]
        if length < self.min_length:
            return torch.zeros_like(image, dtype=torch.bool)
        value = image.mode(dim=2).values
        share = (image == value[:, :, None]).float().mean(dim=2)
        alike = share > self.min_share
        # The nearest good row before and after each, −1 and `count` where there is none.
        place = torch.arange(count, device=image.device).expand_as(share)
        before = torch.where(alike, -1, place).cummax(dim=1).values
        after = torch.where(alike, count, place).flip(1).cummin(dim=1).values.flip(1)
        run = after - before - 1
        lost = alike & (run <= max(1, round(self.max_thickness * count)))
        for beside in (before, after):
            there = (beside >= 0) & (beside < count)
            beside = beside.clamp(0, count - 1)
            row = image.gather(1, beside[:, :, None].expand_as(image))
            same = (row == value[:, :, None]).float().mean(dim=2)
            plain = share.gather(1, beside) >= self.max_plain_share
            lost &= ~there | (~plain & (same < self.max_same_share))
        frame = alike[:, :1] & alike[:, -1:] & (value[:, :1] == value[:, -1:])
        lost &= ~((frame | (run > 1)) & ((before < 0) | (after == count)))
        return lost[:, :, None] & (image == value[:, :, None])
