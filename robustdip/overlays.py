"""Which pixels are printed over a photograph: one exact colour, many times, in thin strokes.

Letters are no noise: within a stroke all pixels agree, so a network learns them as it learns edges,
and their residual tells nothing. What gives them away is their colour. In a photograph a colour
comes back exactly a few times, and if more often, then its neighbours in colour space do as well; a
printed one comes back hundreds of times and has no neighbours. In the terms of
`robustdip.evidence`: the density p_c of the whole colour has a spike there, higher than any
residual could weigh against.

Drawings and scanned pages are made of such colours, ink and paper alike, and must stay as they are.
So a colour counts as printed only if it comes in strokes, thin ones, and what lies around them is
photograph.
Pure black and white are left to the residuals: highlights and shadows are clipped to them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["overlays"]

_REPEATS = 24  # times that a colour has to be there: some letters of 8 pixels height
_CONTRAST = 3.0  # and that many times as often as all colours around it together
_NEIGHBOURS = 2 * 257  # of 65535: colours within two levels of 255 are around it
_PALETTE = 256  # the most frequent are looked at, each with a pass over the image
_WINDOW = 9  # pixels a side; strokes of half as many are thin
_FULL = 0.75  # share of the window that a thin stroke does not exceed
# Next to a pixel of a stroke its colour is so many times as frequent as in the window; where noise
# has left some pixels of a flat area it is as frequent near as far.
_SOLID = 1.3
_PLAIN = 0.25  # share of the rest of the window that may be of other repeated colours


@torch.no_grad()
def overlays(y: Tensor, inside: Tensor) -> Tensor:
    """Find the pixels of repeated, thin, isolated colours.

    Parameters
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        In [0, 1]. With one channel nothing is found: 256 greys repeat in any picture.
    inside : Tensor, shape (1, C, H, W)
        1 for real elements, 0 for padding.

    Returns
    -------
    Tensor, bool, shape (1, 1, H, W)
    """
    height, width = y.shape[2:]
    found = torch.zeros(1, 1, height, width, dtype=torch.bool, device=y.device)
    real = inside[0, 0] > 0
    if y.shape[1] < 3:
        return found
    pixels = (y[0, :3, real].T * 65535).round().long()
    exact = (pixels[:, 0] << 32) + (pixels[:, 1] << 16) + pixels[:, 2]
    _, colour, counts = exact.unique(return_inverse=True, return_counts=True)
    clipped = ((pixels == 0) | (pixels == 65535)).all(dim=1)
    candidates = colour[(counts[colour] >= _REPEATS) & ~clipped].unique()
    if len(candidates) > _PALETTE:
        candidates = candidates[counts[candidates].argsort(descending=True)[:_PALETTE]]
    values = torch.zeros(len(counts), 3, dtype=pixels.dtype, device=y.device)
    values[colour] = pixels
    if len(candidates) == 0:
        return found
    around = torch.stack(
        [((pixels - value).abs() <= _NEIGHBOURS).all(dim=1).sum() for value in values[candidates]]
    )
    candidates = candidates[counts[candidates] > _CONTRAST * (around - counts[candidates])]

    def around_each(mask: Tensor, size: int) -> Tensor:
        """How many pixels of a window are in the mask, its centre apart."""
        ones = mask.float()
        mean = F.avg_pool2d(ones[None, None], size, stride=1, padding=size // 2)[0, 0]
        return (mean * size**2).round() - ones

    index = torch.full((height, width), -1, dtype=torch.long, device=y.device)
    index[real] = torch.where(torch.isin(colour, candidates), colour, -1)
    repeated = around_each(index >= 0, _WINDOW)
    pixels_far, pixels_near = (around_each(real, size).clamp(min=1) for size in (_WINDOW, 3))
    for candidate in candidates:
        own = index == candidate
        count = around_each(own, _WINDOW)
        far = (count / pixels_far)[own]
        near = (around_each(own, 3) / pixels_near)[own]
        others = ((repeated - count) / (pixels_far - count).clamp(min=1))[own]
        thin = (far < _FULL).float().mean() > 0.9
        if thin and near.mean() > _SOLID * far.mean() and others.mean() < _PLAIN:
            found[0, 0] |= own
    return found
