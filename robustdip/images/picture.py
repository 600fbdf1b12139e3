"""What is kept of an image file, and its samples: to floats in [0, 1] and back, and strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["Picture", "from_float", "side_by_side", "to_float"]


@dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of an image file.

    Attributes
    ----------
    pixels : ndarray, shape (H, W) or (H, W, 3), uint8 or uint16
        Grey or RGB, upright, at the file's own bit depth.
    alpha : ndarray, shape (H, W), dtype of `pixels`, or None
        Opacity, 0 is transparent; None when the file has none.
    icc_profile : bytes or None
        The embedded colour profile. The pixels are never converted with it.
    path : Path or None
        Where it was read from.

    Raises
    ------
    TypeError
        If the arrays are not uint8 or uint16, or alpha has another dtype than the pixels.
    ValueError
        If a shape is none of the above, or the image is empty.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    icc_profile: bytes | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype not in (np.uint8, np.uint16):
            raise TypeError(f"pixels are {dtype}; uint8 or uint16 is needed, see from_float")
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise ValueError(f"pixels have shape {shape}; (H, W) or (H, W, 3) is needed")
        if self.alpha is not None:
            if self.alpha.dtype != dtype:
                raise TypeError(f"alpha is {self.alpha.dtype} and pixels are {dtype}; use one")
            if self.alpha.shape != shape[:2]:
                raise ValueError(f"alpha has shape {self.alpha.shape}; {shape[:2]} is needed")


def to_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Map uint8 or uint16 samples of any shape to float32 in [0, 1].

    Raises
    ------
    TypeError
        If `pixels` has another dtype.

    Examples
    --------
    >>> to_float(np.array([0, 255], np.uint8))
    array([0., 1.], dtype=float32)
    """
    return pixels.astype(np.float32) / np.float32(_white(pixels.dtype))


def from_float(array: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Map floats to uint8 or uint16: clipped to [0, 1], scaled, rounded to the nearest.

    ``from_float(to_float(pixels), pixels.dtype)`` is `pixels`, exactly.

    Raises
    ------
    TypeError
        If `dtype` is not uint8 or uint16, or `array` is not floating point.
    ValueError
        If `array` holds a NaN or an infinity.

    Examples
    --------
    >>> from_float([-0.1, 0.5, 2.0], np.uint8)
    array([  0, 128, 255], dtype=uint8)
    """
    white = _white(np.dtype(dtype))
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"the array is {values.dtype}; floating point in [0, 1] is needed")
    if not np.isfinite(values).all():
        raise ValueError("the array holds NaN or infinite values; an image needs finite ones")
    # float32 at least: half precision has too few digits for 65535.
    values = values.astype(np.promote_types(values.dtype, np.float32))
    return np.rint(values.clip(0, 1) * white).astype(dtype)


def side_by_side(images: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Join images of one height into a strip, left to right, 4 white pixels between them.

    Parameters
    ----------
    images : sequence of ndarray
        Each (H, W) or (H, W, 3): uint8, uint16, or floating point in [0, 1].

    Returns
    -------
    ndarray, shape (H, sum of widths and gaps, 3), uint8

    Raises
    ------
    ValueError
        If there are no images, or their heights differ.
    """
    heights = sorted({image.shape[0] for image in images})
    if len(heights) != 1:
        raise ValueError(f"the images have heights {heights}; one common height is needed")
    gap = np.full((heights[0], 4, 3), 255, np.uint8)
    strip: list[NDArray[np.uint8]] = []
    for image in images:
        floats = image if np.issubdtype(image.dtype, np.floating) else to_float(image)
        view = from_float(floats, np.uint8)
        strip += [gap, np.dstack([view] * 3) if view.ndim == 2 else view]
    return np.concatenate(strip[1:], axis=1)


def _white(dtype: np.dtype[Any]) -> int:
    if dtype not in (np.uint8, np.uint16):
        raise TypeError(f"dtype is {dtype}; uint8 or uint16 is needed")
    return int(np.iinfo(dtype).max)
