"""What the networks see of the training images: views of a batch, in the form of their inputs.

The images live on the device as one uint8 tensor, and every view of a batch is made there at once
(`sop_classify.training.views`). Of large images no more than a batch becomes floats.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sop_classify.recipes import Recipe
from sop_classify.training.optimizers import image_scale
from sop_classify.training.views import (
    Views,
    as_tensor,
    crop,
    cutout,
    draw_views,
    normalise,
    shrink,
)

__all__ = ["Viewer", "fewer"]

# Counts of images were chosen at 32x32. Of larger ones there are fewer, so that memory stays.
_USUAL_PIXELS = 32 * 32
# Images of a batch without a gradient.
_AT_ONCE = {"cpu": 512, "gpu": 2500}
_STRONG_CUTOUT = 16  # pixels, as in the released SOP+


def fewer(number: int, images: Tensor) -> int:
    """As many images of this size as take the memory of `number` of 32x32; at least one.

    Parameters
    ----------
    number : int
    images : Tensor, shape (N, H, W, 3)
    """
    height, width = images.shape[1:3]
    return max(1, min(number, number * _USUAL_PIXELS // (height * width)))


class Viewer:
    """Views of training images, and networks' inputs.

    Parameters
    ----------
    images : Tensor, uint8, shape (N, H, W, 3)
    recipe : Recipe
        Says how images are cropped, mirrored, cut out and shrunk.
    mean, std : Tensor, float32, shape (3,)
        What images are normalised by, of values in [0, 1].
    precision : torch.dtype
        Of the networks' inputs.
    generator : torch.Generator
        On the CPU; source of all random numbers.

    Attributes
    ----------
    precision : torch.dtype
    mirrored : Tensor, bool, shape (N,)
        Which images are mirrored in even epochs if the recipe's flips alternate. Others are then
        mirrored in odd ones.
    """

    def __init__(
        self,
        images: Tensor,
        recipe: Recipe,
        *,
        mean: Tensor,
        std: Tensor,
        precision: torch.dtype,
        generator: torch.Generator,
    ) -> None:
        self._images, self._recipe, self._generator = images, recipe, generator
        self._mean, self._std, self.precision = mean, std, precision
        self.mirrored = torch.rand(len(images), generator=generator, dtype=torch.float32) < 0.5

    def draw(self, *, alternating_in: int | None = None) -> Views:
        """Draw views of all images for an epoch; they reach the device in one transfer.

        Parameters
        ----------
        alternating_in : int, optional
            Number of the epoch, from 0. The images are mirrored that were not in the epoch before.
        """
        recipe = self._recipe
        views = draw_views(len(self._images), pad=recipe.pad, generator=self._generator)
        if alternating_in is not None:
            views = replace(views, flip=self.mirrored ^ bool(alternating_in % 2))
        elif recipe.flip == "none":
            views = replace(views, flip=torch.zeros_like(views.flip))
        return views.to(self._images.device)

    def weak(self, index: Tensor, views: Views) -> Tensor:
        """Crop, flip and the recipe's cutout of the images `index`, uint8 (B, H, W, 3)."""
        views = views[index]
        images = crop(self._images, index, views, fill=self._recipe.fill)
        return cutout(images, views, size=self._recipe.cutout) if self._recipe.cutout else images

    def strong(self, index: Tensor, views: Views, owned: Tensor) -> Tensor:
        """Crop, flip, AutoAugment's policy and cutout of 16 pixels, as in the released SOP+.

        Its operations are drawn for the images of all processes; `owned` says for which of them
        `index` is.
        """
        # torchvision takes a second to import.
        from sop_classify.training.auto_augment import apply_operations, draw_operations

        drawn = draw_operations(len(owned), generator=self._generator)[owned]
        views = views[index]
        images = crop(self._images, index, views, fill=self._recipe.fill).permute(0, 3, 1, 2)
        images = apply_operations(images, drawn).permute(0, 2, 3, 1)
        return cutout(images, views, size=_STRONG_CUTOUT)

    def inputs(self, images: Tensor, *, epoch: int) -> Tensor:
        """Views, uint8 (B, H, W, 3), as a network needs them: normalised, of this epoch's size."""
        images = shrink(images, scale=image_scale(self._recipe, epoch))
        return normalise(images, self._mean, self._std, dtype=self.precision)

    def plain_inputs(self, images: NDArray[np.uint8] | Tensor) -> Iterator[Tensor]:
        """Images, uint8 (n, H, W, 3), as a network needs them, in batches and of full size."""
        device = self._images.device
        size = fewer(_AT_ONCE["cpu" if device.type == "cpu" else "gpu"], self._images)
        for start in range(0, len(images), size):
            part = as_tensor(images[start : start + size]).to(device)
            yield normalise(part, self._mean, self._std, dtype=self.precision)
