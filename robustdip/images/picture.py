"""What is kept of an image file, and its samples: to floats in [0, 1] and back, and strips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from robustdip.images.units import Numbers

__all__ = [
    "Picture",
    "eight_bit",
    "from_float",
    "side_by_side",
    "to_float",
    "upright",
    "with_alpha",
]

# Orientation of EXIF and TIFF -> (transpose, then flip up-down, then flip left-right) to stand
# upright.
_UPRIGHT = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of an image file.

    Attributes
    ----------
    pixels : ndarray, shape (H, W) or (H, W, 3), uint8 or uint16; with `numbers` also float32
        Grey or RGB, upright, at the file's own bit depth. Floats are in [0, 1].
    alpha : ndarray, shape (H, W), dtype of `pixels`, or None
        Opacity, 0 is transparent; None when the file has none.
    icc_profile : bytes or None
        The embedded colour profile. The pixels are never converted with it.
    path : Path or None
        Where it was read from.
    numbers : Numbers or None
        The values in the units of the file, of which float pixels are a linear map. `pixels` may be
        newer.

    Raises
    ------
    TypeError
        If the arrays are not as above, or alpha has another dtype than the pixels.
    ValueError
        If a shape is none of the above, or the image is empty.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    icc_profile: bytes | None = None
    path: Path | None = None
    numbers: Numbers | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):  # a Denoised, say, whose image is meant
            raise TypeError(f"pixels are a {type(self.pixels).__name__}; an array is needed")
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype not in (np.uint8, np.uint16) and not (self.measured and dtype == np.float32):
            raise TypeError(f"pixels are {dtype}; uint8 or uint16 is needed, see from_float")
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise ValueError(f"pixels have shape {shape}; (H, W) or (H, W, 3) is needed")
        if self.alpha is not None:
            if self.alpha.dtype != dtype:
                raise TypeError(f"alpha is {self.alpha.dtype} and pixels are {dtype}; use one")
            if self.alpha.shape != shape[:2]:
                raise ValueError(f"alpha has shape {self.alpha.shape}; {shape[:2]} is needed")

    @property
    def measured(self) -> bool:
        """Whether the file has units of its own."""
        return self.numbers is not None and self.numbers.values.dtype.newbyteorder("=") not in (
            np.uint8,
            np.uint16,
        )

    @property
    def unit(self) -> float:
        """What 1 of the floats is in an array that is saved beside the result.

        A file of numbers has units, also if its samples are 8 or 16 bits; in an image file a sample
        is a fraction of its range.
        """
        if self.numbers is None:
            return 1.0
        return self.numbers.units.span if self.measured else float(np.iinfo(self.pixels.dtype).max)

    def values(self) -> NDArray[Any]:
        """The pixels in the units of the file: what is written."""
        if self.numbers is None or self.pixels.dtype != np.float32:
            return self.pixels
        return self.numbers.restored(self.pixels)


def to_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Map uint8 or uint16 samples of any shape to float32 in [0, 1]; float32 stays as it is.

    Raises
    ------
    TypeError
        If `pixels` has another dtype.

    Examples
    --------
    >>> to_float(np.array([0, 255], np.uint8))
    array([0., 1.], dtype=float32)
    """
    if pixels.dtype == np.float32:
        return pixels
    return pixels.astype(np.float32) / np.float32(_white(pixels.dtype))


def from_float(array: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Map floats to uint8 or uint16: clipped to [0, 1], scaled, rounded; to float32: clipped.

    ``from_float(to_float(pixels), pixels.dtype)`` is `pixels`, exactly.

    Raises
    ------
    TypeError
        If `dtype` is not uint8, uint16 or float32, or `array` is not floating point.
    ValueError
        If `array` holds a NaN or an infinity.

    Examples
    --------
    >>> from_float([-0.1, 0.5, 2.0], np.uint8)
    array([  0, 128, 255], dtype=uint8)
    """
    white = 1 if np.dtype(dtype) == np.float32 else _white(np.dtype(dtype))
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"the array is {values.dtype}; floating point in [0, 1] is needed")
    if not np.isfinite(values).all():
        raise ValueError("the array holds NaN or infinite values; an image needs finite ones")
    # float32 at least: half precision has too few digits for 65535.
    values = values.astype(np.promote_types(values.dtype, np.float32))
    values = values.clip(0, 1)
    return (values if white == 1 else np.rint(values * white)).astype(dtype)


def upright(samples: NDArray[Any], orientation: Any) -> NDArray[Any]:
    """Turn samples (H, W, ...) as the orientation tag of their file says; None says nothing."""
    transpose, flip_rows, flip_columns = _UPRIGHT.get(orientation, (False, False, False))
    if transpose:
        samples = samples.swapaxes(0, 1)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


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


def eight_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of any kind that a `Picture` has, with 8 bits: what a screen shows."""
    if pixels.dtype == np.float32:
        return from_float(pixels, np.uint8)
    return pixels if pixels.dtype == np.uint8 else (pixels // 257).astype(np.uint8)


def with_alpha(pixels: NDArray[np.uint8], alpha: NDArray[Any] | None) -> NDArray[np.uint8]:
    """Grey or RGB, (H, W) or (H, W, 3), as RGBA, (H, W, 4); as it is if there is no alpha."""
    if alpha is None:
        return pixels
    colours = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    return np.dstack([colours, eight_bit(alpha)])


def _white(dtype: np.dtype[Any]) -> int:
    if dtype not in (np.uint8, np.uint16):
        raise TypeError(f"dtype is {dtype}; uint8 or uint16 is needed")
    return int(np.iinfo(dtype).max)
