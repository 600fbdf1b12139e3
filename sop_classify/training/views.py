"""Random views of images on the device: crop, flip and cutout of a whole batch at once.

The data set is one uint8 tensor (N, H, W, 3). The few random numbers that a view needs are drawn on
the CPU for a whole epoch, so that a seed has the same meaning on every device and the loop never
waits for the device.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Views", "as_tensor", "crop", "cutout", "draw_views", "normalise", "shrink"]


@dataclass(frozen=True)
class Views:
    """Where to crop each image, whether to mirror it, and where to cut a hole.

    Attributes
    ----------
    offset : Tensor, int64, shape (N, 2)
        Shift of the crop in rows and columns, in [-pad, pad].
    flip : Tensor, bool, shape (N,)
    centre : Tensor, float32, shape (N, 2)
        Centre of the square that `cutout` blackens, as a fraction of height and width, in [0, 1).
    """

    offset: Tensor
    flip: Tensor
    centre: Tensor

    def __getitem__(self, index: Tensor) -> "Views":
        return Views(self.offset[index], self.flip[index], self.centre[index])

    def to(self, device: torch.device) -> "Views":
        """The same views on a device."""
        return Views(*(part.to(device) for part in (self.offset, self.flip, self.centre)))


def as_tensor(array: NDArray[Any] | Tensor) -> Tensor:
    """An array as a tensor: their own memory, a copy if it is read-only or not contiguous."""
    if isinstance(array, Tensor):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def draw_views(number: int, *, pad: int, generator: torch.Generator) -> Views:
    """Random views of `number` images, on the CPU: uniform offsets and centres, flips with 1/2."""
    return Views(
        torch.randint(-pad, pad + 1, (number, 2), generator=generator),
        torch.rand(number, generator=generator, dtype=torch.float32) < 0.5,
        torch.rand(number, 2, generator=generator, dtype=torch.float32),
    )


def crop(images: Tensor, index: Tensor, views: Views, *, fill: str = "reflect") -> Tensor:
    """Images `index`, each shifted by its offset and mirrored if its view says so.

    Parameters
    ----------
    images : Tensor, uint8, shape (N, H, W, 3)
    index : Tensor, int64, shape (B,)
    views : Views
        Those of the B images.
    fill : {"reflect", "black"}
        What is shown beyond the border; the random crop of the papers pads with black.

    Returns
    -------
    Tensor, uint8, shape (B, H, W, 3)
    """
    if fill not in ("reflect", "black"):
        raise ValueError(f"fill is {fill!r}; choose 'reflect' or 'black'")
    height, width = images.shape[1:3]
    row = views.offset[:, :1] + torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    column = torch.where(views.flip[:, None], width - 1 - column, column) + views.offset[:, 1:]
    # One gather with computed coordinates, without a padded copy of the images.
    inside = images[
        index[:, None, None], _fold(row, height)[:, :, None], _fold(column, width)[:, None]
    ]
    if fill == "reflect":
        return inside
    known = _within(row, height)[:, :, None] & _within(column, width)[:, None]
    return inside * known[..., None]


def cutout(images: Tensor, views: Views, *, size: int) -> Tensor:
    """Black squares of `size` pixels, centred anywhere and clipped (DeVries and Taylor, 2017).

    Parameters
    ----------
    images : Tensor, uint8, shape (B, H, W, 3)
    views : Views
        Those of the B images.
    size : int
        Side in pixels; 16 in the papers' strong view.
    """
    height, width = images.shape[1:3]
    top = (views.centre[:, :1] * height).long() - size // 2
    left = (views.centre[:, 1:] * width).long() - size // 2
    row = torch.arange(height, device=images.device) - top
    column = torch.arange(width, device=images.device) - left
    hole = _within(row, size)[:, :, None] & _within(column, size)[:, None]
    return images * ~hole[..., None]


def shrink(images: Tensor, *, scale: float) -> Tensor:
    """Images with `scale` times the height and width, antialiased, in multiples of 4 pixels.

    Multiples of 4, because the kernels have to be prepared for every new size. At least 12 pixels,
    which the networks need, unless the images are smaller.

    Parameters
    ----------
    images : Tensor, uint8, shape (B, H, W, 3)
    scale : float
        In (0, 1]; 1 returns the images as they are.
    """
    if scale >= 1:
        return images
    from torchvision.transforms.v2.functional import resize  # takes a second to import

    size = [min(side, max(12, int(side * scale) // 4 * 4)) for side in images.shape[1:3]]
    return resize(images.permute(0, 3, 1, 2), size, antialias=True).permute(0, 2, 3, 1)


def normalise(images: Tensor, mean: Tensor, std: Tensor, *, dtype: torch.dtype) -> Tensor:
    """uint8 (B, H, W, 3) to `dtype` (B, 3, H, W), channels last in memory; statistics in [0, 1]."""
    scale, shift = 1 / (255 * std), -mean / std
    return torch.addcmul(shift, images.float(), scale).to(dtype).permute(0, 3, 1, 2)


def _fold(at: Tensor, length: int) -> Tensor:
    # Mirror coordinates at both ends without repeating the edge, as reflection padding does.
    at = at.abs()
    return torch.minimum(at, 2 * (length - 1) - at).clamp(min=0)


def _within(at: Tensor, length: int) -> Tensor:
    return (at >= 0) & (at < length)
