"""Which pixels are printed over a photograph: one exact colour, many times, in thin strokes.

Letters are no noise: within a stroke all pixels agree, so a network learns them as it learns edges,
and their residual tells nothing. What gives them away is their colour. In a photograph a colour
comes back exactly a few times, and if more often, then its neighbours in colour space do as well; a
printed one comes back hundreds of times and has no neighbours. In the terms of
`robustdip.corruption.mixture`: the density p_c of the whole colour has a spike there, higher than any
residual could weigh against.

Drawings and scanned pages are made of such colours, ink and paper alike, and must stay as they are.
So a colour counts as printed only if it comes in strokes, thin ones, and what lies around them is
photograph.
Smooth edges are blends of the colour and of the picture beside it, and printed as well.
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
_LEAST_PART = 0.15  # of the colour in a blend; less is hardly seen
_ASIDE = 0.05  # that a blend may be off the line between the two, as the picture varies beneath
# Share of the border that is blended. For words on four photographs, ten seeds each, it was 0.43 or
# more where edges are smooth, and 0.14 or less where they are hard.
_MOSTLY = 0.3
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
    pixels_far, pixels_near = (around_each(real, size).clamp(min=1) for size in (_WINDOW, 3))

    def in_strokes(candidate: int) -> bool:
        own = index == candidate
        far = (around_each(own, _WINDOW) / pixels_far)[own]
        near = (around_each(own, 3) / pixels_near)[own]
        thin = (far < _FULL).float().mean() > 0.9
        return bool(thin and near.mean() > _SOLID * far.mean())

    def on_a_photograph(candidate: int, drawn: Tensor) -> bool:
        own = index == candidate
        count = around_each(own, _WINDOW)
        others = (drawn - count) / (pixels_far - count).clamp(min=1)
        return bool(others[own].mean() < _PLAIN)

    border, smooth = torch.zeros_like(real), torch.zeros_like(real)
    waiting = {candidate for candidate in candidates.tolist() if in_strokes(candidate)}
    while waiting:
        # Letters cross letters: those already found make no drawing of what is around them.
        drawn = around_each((index >= 0) & ~found[0, 0], _WINDOW)
        printed = {candidate for candidate in waiting if on_a_photograph(candidate, drawn)}
        if not printed:
            break
        waiting -= printed
        for candidate in printed:
            own = index == candidate
            found[0, 0] |= own
            beside, blended = _border(y[0, :3], own, real, colour=values[candidate] / 65535)
            border |= beside
            smooth |= blended
    # Where edges are hard, detail of the picture lies between by chance, and rarely.
    if smooth.sum() > _MOSTLY * border.sum():
        found[0, 0] |= smooth
    return found


def _border(y: Tensor, stroke: Tensor, real: Tensor, *, colour: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels beside strokes, and those of them that a smooth edge blends with the picture.

    A blended pixel lies between one of the stroke and, on the other side, one of the picture, and
    its colour lies between theirs: y = a · colour + (1 − a) · picture.

    Parameters
    ----------
    y : Tensor, shape (3, H, W)
    stroke, real : Tensor, bool, shape (H, W)
    colour : Tensor, shape (3,)

    Returns
    -------
    border, blended : Tensor, bool, shape (H, W)
    """
    height, width = stroke.shape
    reach = 2  # pixels to the picture: a slanting edge is blended in two
    padded = F.pad(y, (reach,) * 4)
    inside = F.pad(stroke, (reach,) * 4)
    picture = F.pad(real & ~stroke, (reach,) * 4)

    def seen(image: Tensor, down: int, across: int) -> Tensor:
        rows = slice(reach + down, reach + down + height)
        return image[..., rows, reach + across : reach + across + width]

    border, blended = torch.zeros_like(stroke), torch.zeros_like(stroke)
    directions = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    for down, across in directions:
        between = real & ~stroke & seen(inside, -down, -across)
        between &= seen(picture, reach * down, reach * across)
        far = seen(padded, reach * down, reach * across)
        way = colour.to(y)[:, None, None] - far
        part = ((y - far) * way).sum(dim=0) / (way**2).sum(dim=0).clamp(min=1e-6)
        aside = (y - far - part * way).abs().amax(dim=0)
        border |= between
        blended |= between & (part > _LEAST_PART) & (part < 1) & (aside < _ASIDE)
    return border, blended
