"""Drawings: pictures whose letters and lines are no damage.

What a program has drawn has no noise: areas of one exact colour, and changes of colour that are
smooth up to rounding. A photograph has neither, beside the few places where it is clipped. So a
picture is *drawn* if most of its smooth pixels are smooth to the last level, and then an exact
colour or a line of one value is no evidence of damage: text on a page is the page.
"""

import torch
from torch import Tensor

__all__ = ["is_drawn"]

_LEVEL = 1 / 255
_ROUNDED = 1.01 * _LEVEL
"""Second difference that rounding alone makes of a slow change of colour."""
_SMOOTH = 12.01 * _LEVEL
"""Second difference above which a pixel is an edge, or has other noise, and does not count."""
_MOST = 0.6
"""Share of the smooth pixels: 0.5 or less in photographs, 0.85 or more in drawings."""
_LEAST = 0.05
"""Share of all pixels that are smooth. In dense salt-and-pepper noise those are few, and noise."""
_INNER = slice(1, -1)
_BESIDE = (
    (_INNER, slice(None, -2)),
    (_INNER, slice(2, None)),
    (slice(None, -2), _INNER),
    (slice(2, None), _INNER),
)


def is_drawn(y: Tensor, valid: Tensor) -> bool:
    """Whether most smooth pixels of a picture have no noise at all.

    Parameters
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        In [0, 1].
    valid : Tensor, shape (1, C, H, W)
        1 for elements that count, 0 for others, such as padding.

    Returns
    -------
    bool
        False if too few pixels are smooth to tell.
    """
    around = ((_INNER, _INNER), *_BESIDE)
    here, left, right, above, below = (y[..., rows, columns] for rows, columns in around)
    bend = torch.maximum((left - 2 * here + right).abs(), (above - 2 * here + below).abs())
    bend = bend.amax(dim=1)
    real = torch.stack([valid[:, 0, rows, columns] > 0 for rows, columns in around]).all(dim=0)
    smooth = real & (bend < _SMOOTH)
    enough = smooth.sum() > _LEAST * real.sum()
    return bool(enough & ((smooth & (bend < _ROUNDED)).sum() > _MOST * smooth.sum()))
