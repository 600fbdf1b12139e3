"""Missing lines: rows or columns that have one exact value along most of their length.

A broken read-out loses whole lines. A network learns straight lines first, so the residual does not
show them. Their values do: a missing line has one value from end to end, while the lines beside it
vary everywhere. Each channel is examined separately, because only one of three sensors may be
broken.

Drawings and frames have lines of one value too. In a drawing, the lines beside them have few values
as well; a frame has several along the edge of the picture. Such lines are not reported.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["MissingLines"]


@dataclass(frozen=True, kw_only=True)
class MissingLines:
    """Detector of missing rows and columns.

    A *good* line here is one in which no value has more than `min_share`.

    Attributes
    ----------
    min_length : int
        Smallest number of elements in a line; in shorter lines a value repeats by chance.
    min_share : float
        A missing line has its value in more than this share of its elements; the others may have
        other noise.
    max_plain_share : float
        The most frequent value of the nearest good lines has less than this share of them.
    max_same_share : float
        The value of the missing line has less than this share of the nearest good lines.
    max_thickness : float
        Largest number of adjacent missing lines, as a share of the side.
    max_step, max_step_share : float
        A line whose value is this close to the nearest good line on one side, also relative to the
        other side, is the border of an area that is clipped, such as a window on white.
    """

    whole_picture: ClassVar[bool] = True

    min_length: int = 32
    min_share: float = 0.75
    max_plain_share: float = 0.5
    max_same_share: float = 0.25
    max_thickness: float = 1 / 16
    max_step: float = 0.1
    max_step_share: float = 0.25

    @torch.no_grad()
    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """Find the elements that have the value of their missing row or column.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)
            In [0, 1].
        valid : Tensor, shape (1, C, H, W)
            1 for real elements, 0 for padding, which is at the bottom and on the right.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        device = y.device
        y, valid = y.cpu(), valid.cpu()  # once for each fit; not every device has `mode`
        found = torch.zeros_like(y, dtype=torch.bool)
        height, width = (int(valid[0, 0].any(dim=dim).sum()) for dim in (1, 0))
        image = y[0, :, :height, :width]
        columns = self._lost_rows(image.transpose(1, 2)).transpose(1, 2)
        found[0, :, :height, :width] = self._lost_rows(image) | columns
        return found.to(device)

    def _lost_rows(self, image: Tensor) -> Tensor:
        """The elements of an image (C, H, W) that have the value of their missing row."""
        count, length = image.shape[1:]
        if length < self.min_length:
            return torch.zeros_like(image, dtype=torch.bool)
        value = image.mode(dim=2).values
        share = (image == value[:, :, None]).float().mean(dim=2)
        alike = share > self.min_share
        # The nearest good row before and after each row; −1 and `count` if there is none.
        place = torch.arange(count, device=image.device).expand_as(share)
        before = torch.where(alike, -1, place).cummax(dim=1).values
        after = torch.where(alike, count, place).flip(1).cummin(dim=1).values.flip(1)
        run = after - before - 1
        lost = alike & (run <= max(1, round(self.max_thickness * count)))
        steps = []
        for beside in (before, after):
            there = (beside >= 0) & (beside < count)
            beside = beside.clamp(0, count - 1)
            row = image.gather(1, beside[:, :, None].expand_as(image))
            same = (row == value[:, :, None]).float().mean(dim=2)
            plain = share.gather(1, beside) >= self.max_plain_share
            lost &= ~there | (~plain & (same < self.max_same_share))
            step = (row - value[:, :, None]).abs().median(dim=2).values
            steps.append(torch.where(there, step, torch.inf))
        near, far = torch.minimum(*steps), torch.maximum(*steps)
        lost &= (near > self.max_step) | (near > self.max_step_share * far) | far.isinf()
        frame = alike[:, :1] & alike[:, -1:] & (value[:, :1] == value[:, -1:])
        lost &= ~((frame | (run > 1)) & ((before < 0) | (after == count)))
        return lost[:, :, None] & (image == value[:, :, None])
