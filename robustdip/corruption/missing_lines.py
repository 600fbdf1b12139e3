"""Which elements belong to a lost line: a row or column with one exact value along most of it.

A broken read-out loses whole lines. Straight lines are what a network learns first, so their
residual tells nothing. What gives them away is the value, the same from end to end where the lines
beside it have a different one everywhere. Each channel is looked at alone, for one sensor of three
may be the broken one.

Drawings have such lines too, and frames: there the lines beside them are of few values as well, or
several run along the picture's edge. They stay.
"""

import torch
from torch import Tensor

__all__ = ["lost_lines"]

_LEAST = 32  # elements in a line; in shorter ones the same value comes back by chance
_MOST = 0.75  # share of a lost line that has its value: other noise may lie over it
_PLAIN = 0.5  # share of the nearest good lines that one value may have
_RARE = 0.25  # and that the value of the lost line may have
_THICK = 1 / 16  # of the side: at most so many lines are lost together


@torch.no_grad()
def lost_lines(y: Tensor, inside: Tensor) -> Tensor:
    """Find the elements of rows and columns that have lost their picture.

    Parameters
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        In [0, 1].
    inside : Tensor, shape (1, C, H, W)
        1 for real elements, 0 for padding, which comes last.

    Returns
    -------
    Tensor, bool, shape (1, C, H, W)
    """
    device = y.device
    y, inside = y.cpu(), inside.cpu()  # once a fit; and not every device counts values
    found = torch.zeros_like(y, dtype=torch.bool)
    height, width = (int(inside[0, 0].any(dim=dim).sum()) for dim in (1, 0))
    image = y[0, :, :height, :width]
    rows = _lost_rows(image)
    columns = _lost_rows(image.transpose(1, 2)).transpose(1, 2)
    found[0, :, :height, :width] = rows | columns
    return found.to(device)


def _lost_rows(image: Tensor) -> Tensor:
    """Of an image (C, H, W), the elements that have the value of their lost row."""
    count, length = image.shape[1:]
    if length < _LEAST:
        return torch.zeros_like(image, dtype=torch.bool)
    value = image.mode(dim=2).values
    share = (image == value[:, :, None]).float().mean(dim=2)
    alike = share > _MOST
    # The nearest good row before and after each, −1 and `count` where there is none.
    place = torch.arange(count, device=image.device).expand_as(share)
    before = torch.where(alike, -1, place).cummax(dim=1).values
    after = torch.where(alike, count, place).flip(1).cummin(dim=1).values.flip(1)
    run = after - before - 1
    lost = alike & (run <= max(1, round(_THICK * count)))
    for beside in (before, after):
        there = (beside >= 0) & (beside < count)
        beside = beside.clamp(0, count - 1)
        row = image.gather(1, beside[:, :, None].expand_as(image))
        same = (row == value[:, :, None]).float().mean(dim=2)
        lost &= ~there | ((share.gather(1, beside) < _PLAIN) & (same < _RARE))
    frame = alike[:, :1] & alike[:, -1:] & (value[:, :1] == value[:, -1:])
    lost &= ~((frame | (run > 1)) & ((before < 0) | (after == count)))
    return lost[:, :, None] & (image == value[:, :, None])
