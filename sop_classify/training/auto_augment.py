"""The strong view: AutoAugment's CIFAR-10 policy for a whole batch of images, on any device.

Every image draws one of 25 sub-policies: two operations, one after the other, each with its
probability and its magnitude on a scale of 0 to 9. The draws are made on the host; images that
share an operation and a signed magnitude then form one group and one call of torchvision. Each
of the two rounds has about thirty groups whatever the size of the batch, so an image costs less
the larger its batch is.

Source: Cubuk, Zoph, Mané, Vasudevan and Le, "AutoAugment: Learning Augmentation Strategies from
Data", CVPR 2019, arXiv 1805.09501, table 7. What a magnitude means, and every rounding, is as in
`torchvision.transforms.v2.AutoAugment`.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

__all__ = ["POLICY", "apply_operations", "auto_augment", "draw_operations"]

# (operation, probability, magnitude). The published table also numbers the magnitudes of Invert,
# AutoContrast and Equalize, which have none: here they are 0.
POLICY: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)

_UNSIGNED = {"AutoContrast", "Equalize", "Invert", "Posterize", "Solarize"}


def _variants() -> tuple[list[tuple[str, int]], Tensor]:
    """The distinct (operation, signed magnitude), and which it is for (sub-policy, round, sign)."""
    signed = [
        [[(name, level), (name, level if name in _UNSIGNED else -level)] for name, _, level in pair]
        for pair in POLICY
    ]
    distinct = sorted({variant for pair in signed for both in pair for variant in both})
    number = [[[distinct.index(variant) for variant in both] for both in pair] for pair in signed]
    return distinct, torch.tensor(number, device="cpu")


_VARIANTS, _VARIANT_OF = _variants()
_NONE = len(_VARIANTS)  # the number of "not applied", after all the others
_PROBABILITY = torch.tensor(
    [[probability for _, probability, _ in pair] for pair in POLICY],
    dtype=torch.float32,
    device="cpu",
)


def auto_augment(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Apply to every image a random sub-policy of AutoAugment for CIFAR-10.

    Each image of the result is what `torchvision.transforms.v2.AutoAugment` with the CIFAR-10
    policy, nearest neighbours and black borders makes of this image alone if it draws the same.
    The host reads no pixel back. On CUDA torchvision still waits for the current stream when it
    sends the constants of a geometric operation or a sharpening (up to 26 groups): give thousands
    of images a call, or call on a stream of its own.

    Parameters
    ----------
    images : Tensor, shape (B, 3, H, W), uint8
        RGB on any device, in any memory format; left as they are. B may be 0.
    generator : torch.Generator
        On the CPU. Draws for every image the sub-policy (1 in 25), whether each of its operations
        is applied, and the signs (equal chances). The draws do not depend on the pixels.

    Returns
    -------
    Tensor, shape (B, 3, H, W), uint8
        On the device of `images`; shares no memory with them.

    Raises
    ------
    TypeError
        If `images` are not uint8.
    ValueError
        If their shape is not (B, 3, H, W).

    Examples
    --------
    >>> images = torch.arange(3072, dtype=torch.int32).to(torch.uint8).reshape(1, 3, 32, 32)
    >>> auto_augment(images, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([1, 3, 32, 32])
    """
    return apply_operations(images, draw_operations(len(images), generator=generator))


def apply_operations(images: Tensor, drawn: Tensor) -> Tensor:
    """Apply what `draw_operations` drew for each of the images; see `auto_augment`."""
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}: give uint8, before any normalisation")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}, expected (B, 3, H, W)")
    # Sorted by variant, groups are slices of the batch. Three gathers of everything (into the
    # order of the first round, of the second, and back) take the place of two copies a group.
    first = drawn[:, 0].argsort()
    second = drawn[first, 1].argsort()
    orders = torch.stack([first, second, first[second].argsort()])
    if images.is_cuda:
        orders = orders.pin_memory()  # else the copy waits for all that was queued before it
    *rounds, back = orders.to(images.device, non_blocking=True)
    for order, variant in zip(rounds, drawn.T, strict=True):
        images = images.index_select(0, order)
        *groups, _ = images.split(variant.bincount(minlength=_NONE + 1).tolist())
        for (operation, level), group in zip(_VARIANTS, groups, strict=True):
            if len(group):
                group.copy_(_transformed(group, operation, level))
    return images.index_select(0, back)


def draw_operations(count: int, *, generator: torch.Generator) -> Tensor:
    """Draw for each of `count` images what `apply_operations` does: int64, shape (count, 2).

    They are the numbers of the operations of both rounds, 0 to `_NONE`.
    """
    policy = torch.randint(len(POLICY), (count,), generator=generator)
    applied = torch.rand(count, 2, generator=generator, dtype=torch.float32) < _PROBABILITY[policy]
    sign = torch.randint(2, (count, 2), generator=generator)
    return _VARIANT_OF[policy[:, None], torch.arange(2), sign].where(applied, _NONE)


def _transformed(images: Tensor, operation: str, level: int) -> Tensor:
    """One operation on (B, 3, H, W) uint8 images; `level` is -9 to 9, its sign the direction."""

    def magnitude(last: float, *, first: float = 0.0) -> float:
        # Rounded to float32 as in torchvision: the pixels are truncated, so that a factor of 1.7
        # and its neighbour differ by a whole grey level.
        return math.copysign(
            torch.linspace(first, last, 10, dtype=torch.float32)[abs(level)].item(), level
        )

    def affine(*, translate: tuple[int, int] = (0, 0), shear: float = 0.0) -> Tensor:
        # The published code shears about the top left corner. A shift does not care.
        return F.affine(
            images, angle=0, translate=list(translate), scale=1, shear=[0, shear], center=[0, 0]
        )

    height, width = images.shape[2:]
    match operation:
        case "ShearY":
            return affine(shear=math.degrees(math.atan(magnitude(0.3))))
        case "TranslateX":
            return affine(translate=(int(magnitude(150 / 331 * width)), 0))
        case "TranslateY":
            return affine(translate=(0, int(magnitude(150 / 331 * height))))
        case "Rotate":
            return F.rotate(images, magnitude(30))
        case "Brightness":
            return _blended(images, None, 1 + magnitude(0.9))
        case "Color":
            return _blended(images, _grey(images), 1 + magnitude(0.9))
        case "Contrast":
            mean = _grey(images).mean((1, 2, 3), keepdim=True)
            return _blended(images, mean, 1 + magnitude(0.9))
        case "Sharpness":
            return F.adjust_sharpness(images, 1 + magnitude(0.9))
        case "Posterize":
            return F.posterize(images, round(magnitude(4, first=8)))
        case "Solarize":
            threshold = torch.tensor(255 * magnitude(0, first=1), dtype=torch.float32)
            return F.solarize(images, math.ceil(threshold))  # whole numbers compare exactly
        case "AutoContrast":
            return F.autocontrast(images)
        case "Equalize":
            return F.equalize(images)
        case _:  # Invert
            return F.invert(images)


# Brightness, saturation and contrast as in torchvision, whose own multiply uint8 by a number: the
# result has the caller's default dtype, and other roundings.


def _grey(images: Tensor) -> Tensor:
    """Luma of (B, 3, H, W) uint8 images, whole numbers in float32, shape (B, 1, H, W)."""
    red, green, blue = images.float().unbind(1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()[:, None]


def _blended(images: Tensor, other: Tensor | None, share: float) -> Tensor:
    """share * images + (1 - share) * other, clamped to uint8; without `other` the first term."""
    output = images.float().mul_(share)
    if other is not None:
        output.add_(other, alpha=1 - share)
    return output.clamp_(0, 255).to(torch.uint8)
