"""What is kept of an image file, and its samples: to floats in [0, 1] and back, and strips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from overparam.checks import check_real, check_type
from robustdip.images.units import Numbers

__all__ = [
    "Picture",
    "eight_bit",
    "from_float",
    "profile_of",
    "resolution",
    "side_by_side",
    "to_float",
    "upright",
    "white_of",
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


_MOST_DPI = 1e6  # a microscope has 254,000 at 0.1 µm a pixel
_MOST_BITS = 14  # of a picture that uses a part of 16
_MARK, _MOST_MARKS = 65535, 0.1  # the sample that means "saturated" or "no data", its largest share


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
    dpi : tuple of float, or None
        Pixels an inch, across and down; above 0 and below a million.
    numbers : Numbers or None
        The values in the units of the file, of which float pixels are a linear map. `pixels` may be
        newer.

    Raises
    ------
    TypeError
        If something is not as above, an array has masked values, or alpha has another dtype than
        the pixels.
    ValueError
        If a shape or the resolution is none of the above, or the image is empty.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    icc_profile: bytes | None = None
    path: Path | None = None
    numbers: Numbers | None = None
    dpi: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _require_array(self.pixels, "pixels are")  # not a Denoised, say, whose image is meant
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype not in (np.uint8, np.uint16) and not (self.measured and dtype == np.float32):
            wanted = "float32 as in the file" if self.measured else "uint8 or uint16"
            raise TypeError(f"pixels are {dtype}; {wanted} is needed, see from_float")
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            hint = "; alpha is apart, Picture(pixels, alpha)" if shape[2:] in ((2,), (4,)) else ""
            raise ValueError(f"pixels have shape {shape}; (H, W) or (H, W, 3) is needed{hint}")
        if self.alpha is not None:
            _require_array(self.alpha, "alpha is")
            if self.alpha.dtype != dtype:
                raise TypeError(f"alpha is {self.alpha.dtype} and pixels are {dtype}; use one")
            if self.alpha.shape != shape[:2]:
                raise ValueError(f"alpha has shape {self.alpha.shape}; {shape[:2]} is needed")
        if self.icc_profile is not None:
            check_type("icc_profile", self.icc_profile, bytes)
        if self.dpi is not None:
            if len(check_type("dpi", self.dpi, tuple)) != 2:
                raise ValueError(f"dpi is {self.dpi}; (across, down) is needed")
            for one in self.dpi:
                check_real("dpi", one, above=0, below=_MOST_DPI)

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
        return self.numbers.units.span if self.measured else float(self.white)

    @property
    def bad(self) -> NDArray[np.bool_] | None:
        """Where values are missing or not finite, in the shape of `pixels`; None if none is."""
        return None if self.numbers is None else self.numbers.bad

    def with_pixels(self, pixels: NDArray[Any]) -> "Picture":
        """The picture with other pixels: what a result is written with, as the file was.

        Parameters
        ----------
        pixels : ndarray
            As `pixels`; the size may be another if there is no alpha.
        """
        return replace(self, pixels=pixels)

    @property
    def white(self) -> int:
        """The value of the pixels that is 1 of the floats; see `white_of`."""
        return white_of(self.pixels)

    def values(self) -> NDArray[Any]:
        """The pixels in the units of the file: what is written."""
        if self.numbers is None or self.pixels.dtype != np.float32:
            return self.pixels
        return self.numbers.restored(self.pixels)


def _require_array(values: object, what: str) -> None:
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{what} a {type(values).__name__}; an array is needed")
    if np.ma.is_masked(values):
        raise TypeError(f"{what} masked in places; no file keeps that, so give them values first")


def white_of(pixels: NDArray[Any]) -> int:
    """The range of samples: 255 of uint8, 1 of floats, and of uint16 that of the bits in use.

    Cameras, microscopes and scanners keep 10, 12 or 14 bits in files of 16. Of the range of 16 such
    a picture fills a small part, in which damage is too small to be told from detail.

    Parameters
    ----------
    pixels : ndarray of any shape, uint8, uint16 or float32

    Returns
    -------
    int
        Of uint16 the largest number of as many bits as all samples need, 8 at least; if these are
        more than 14, as of no common sensor, 65535. If a tenth of the samples or less are 65535,
        which stands for "saturated" and "no data", and all others have 9 to 14 bits, they do not
        count.

    Raises
    ------
    TypeError
        If `pixels` has another dtype.

    Examples
    --------
    >>> white_of(np.array([0, 1000], np.uint16)), white_of(np.array([0, 40000], np.uint16))
    (1023, 65535)
    """
    if pixels.dtype == np.float32:
        return 1
    white = _white(pixels.dtype)
    if white == 255 or pixels.size == 0:
        return white
    bits = _bits(pixels)
    if bits == 16:
        marks = pixels == _MARK
        if 0 < marks.mean() <= _MOST_MARKS and (others := _bits(pixels[~marks])) > 8:
            bits = others
    return 2**bits - 1 if bits <= _MOST_BITS else white


def _bits(samples: NDArray[Any]) -> int:
    return max(8, int(samples.max()).bit_length())


def to_float(pixels: NDArray[Any], *, white: int | None = None) -> NDArray[np.float32]:
    """Map uint8 or uint16 samples of any shape to float32 in [0, 1]; float32 stays as it is.

    Parameters
    ----------
    pixels : ndarray
    white : int, optional
        The value that becomes 1 (see `white_of`); by default the largest of the dtype.

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
    return pixels.astype(np.float32) / np.float32(white or _white(pixels.dtype))


def from_float(array: ArrayLike, dtype: DTypeLike, *, white: int | None = None) -> NDArray[Any]:
    """Map floats to uint8 or uint16: clipped to [0, 1], scaled, rounded; to float32: clipped.

    ``from_float(to_float(pixels), pixels.dtype)`` is `pixels`, exactly.

    Parameters
    ----------
    array : array_like of float
    dtype : dtype_like
    white : int, optional
        What 1 becomes in whole numbers; by default the largest value of the dtype.

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
    scale = 1 if np.dtype(dtype) == np.float32 else white or _white(np.dtype(dtype))
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"the array is {values.dtype}; floating point in [0, 1] is needed")
    if not np.isfinite(values).all():
        raise ValueError("the array holds NaN or infinite values; an image needs finite ones")
    # float32 at least: half precision has too few digits for 65535.
    values = values.astype(np.promote_types(values.dtype, np.float32))
    values = values.clip(0, 1)
    return (values if scale == 1 else np.rint(values * scale)).astype(dtype)


def profile_of(value: Any) -> bytes | None:
    """The colour profile that a file gives; None if it is empty, or numbers of another type."""
    return value if value and isinstance(value, bytes) else None


def resolution(across: Any, down: Any, *, orientation: Any = None) -> tuple[float, float] | None:
    """Pixels an inch of a picture that was turned upright; None if a file says nonsense.

    Parameters
    ----------
    across, down : number
        As in the file.
    orientation
        As in `upright`.
    """
    try:
        x, y = float(across), float(down)
    except (TypeError, ValueError, ZeroDivisionError):  # a rational with 0 below the line
        return None
    if not (1 < x < _MOST_DPI and 1 < y < _MOST_DPI):  # 1 stands for none
        return None
    return (y, x) if _UPRIGHT.get(orientation, (False,))[0] else (x, y)


def upright(samples: NDArray[Any], orientation: Any) -> NDArray[Any]:
    """Turn samples (H, W, ...) as the orientation tag of their file says; None says nothing."""
    transpose, flip_rows, flip_columns = _UPRIGHT.get(orientation, (False, False, False))
    if transpose:
        samples = samples.swapaxes(0, 1)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def side_by_side(images: Sequence[NDArray[Any]], *, white: int | None = None) -> NDArray[np.uint8]:
    """Join images of one height into a strip, left to right, 4 white pixels between them.

    Parameters
    ----------
    images : sequence of ndarray
        Each (H, W) or (H, W, 3): uint8, uint16, or floating point in [0, 1].
    white : int, optional
        The value of uint16 that is white; by default the largest of the dtype.

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
        view = eight_bit(image, white=white)
        strip += [gap, np.dstack([view] * 3) if view.ndim == 2 else view]
    return np.concatenate(strip[1:], axis=1)


def eight_bit(pixels: NDArray[Any], *, white: int | None = None) -> NDArray[np.uint8]:
    """Floats in [0, 1] or whole samples with 8 bits: what a screen shows.

    Parameters
    ----------
    pixels : ndarray of uint8, uint16 or floats
    white : int, optional
        The value of uint16 that is white; by default the largest of the dtype.
    """
    if pixels.dtype == np.uint8:
        return pixels
    floats = pixels.dtype.kind == "f"
    return from_float(pixels if floats else to_float(pixels, white=white), np.uint8)


def with_alpha(pixels: NDArray[np.uint8], alpha: NDArray[Any] | None) -> NDArray[np.uint8]:
    """Grey or RGB, (H, W) or (H, W, 3), as RGBA, (H, W, 4); as it is if there is no alpha."""
    if alpha is None:
        return pixels
    colours = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    return np.dstack([colours, eight_bit(alpha)])


def _white(dtype: np.dtype[Any]) -> int:
    if dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise TypeError(f"dtype is {dtype}; uint8 or uint16 is needed")
    return int(np.iinfo(dtype).max)
