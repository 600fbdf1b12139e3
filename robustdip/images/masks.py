"""Masks as people keep them: files of any mode to an array of bool, and a picture of a mask."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, file_errors
from overparam.image_files import open_image
from robustdip.images.numeric import load_array
from robustdip.images.picture import from_float, to_float
from robustdip.images.reading import read_image

__all__ = ["MaskFile", "overlay", "read_defects", "read_mask"]

_MARK = (255, 0, 255)  # magenta, which no grey resembles


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask that was read from an image file.

    Attributes
    ----------
    marked : ndarray of bool, shape (H, W) or (H, W, 3)
        True where marked. In an RGB file each channel marks its own elements.
    rule : str
        What counts as marked, in words.
    """

    marked: NDArray[np.bool_]
    rule: str


def read_mask(path: str | os.PathLike[str]) -> MaskFile:
    """Read a mask from an image file of any mode: white on black, or opaque on transparent.

    Marked is what is not black; in a JPEG or WebP what is brighter than half, because compression
    makes black a little grey. If the file has alpha, transparent pixels are not marked; if alpha
    varies and all that is not transparent has one colour, alpha alone is the mask, whatever the
    colour: what a paint program keeps under transparent pixels is not seen.

    Parameters
    ----------
    path : str or PathLike
        A file that `robustdip.images.read_image` reads.

    Returns
    -------
    MaskFile

    Raises
    ------
    FileError
        See `robustdip.images.read_image`.
    """
    picture = read_image(path)
    if picture.numbers is not None and picture.numbers.bad is not None:
        with file_errors("read", path):
            raise FileError("a mask needs numbers, and some of its values are not finite")
    compressed = False
    if picture.numbers is None:
        with file_errors("read", path), open_image(Path(path)) as image:
            compressed = image.format in ("JPEG", "MPO", "WEBP")
    pixels, alpha = picture.values(), picture.alpha
    if alpha is not None and np.ptp(alpha) and not np.ptp(pixels[alpha > 0], axis=0).any():
        return MaskFile(alpha > 0, "what is not transparent")
    if compressed:
        marked, rule = pixels > np.iinfo(pixels.dtype).max // 2, "what is brighter than half"
    else:
        marked, rule = pixels > 0, "what is not black"
    if alpha is not None and not alpha.all():
        opaque = (alpha > 0).reshape(*alpha.shape, *(1 for _ in pixels.shape[2:]))
        return MaskFile(marked & opaque, f"{rule} and not transparent")
    return MaskFile(marked, rule)


def read_defects(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Read a map of defects: a mask file, or the .npy of `robustdip.shared_defects`.

    Parameters
    ----------
    path : str or PathLike

    Returns
    -------
    ndarray of bool, shape (H, W)
        True for defects: in an array, where the probability is above 1/2; in an image, where any
        channel is marked, see `read_mask`.

    Raises
    ------
    FileError
        If the file cannot be read, or the array is not (H, W) of bool or of floats in [0, 1].
    """
    if Path(path).suffix.lower() != ".npy":
        marked = read_mask(path).marked
        return np.asarray(np.atleast_3d(marked).any(axis=2))
    with file_errors("read", path):
        values = load_array(Path(path))
        if values.ndim != 2 or 0 in values.shape:
            raise FileError(f"its shape is {np.shape(values)}; (H, W) is needed")
        if values.dtype != np.bool_ and not np.issubdtype(values.dtype, np.floating):
            raise FileError(f"it holds {values.dtype}; bool or probabilities are needed")
        if not ((values >= 0) & (values <= 1)).all():
            raise FileError("it holds values outside [0, 1]; probabilities are needed")
    return values > 0.5


def overlay(
    pixels: NDArray[Any], mask: NDArray[np.bool_], *, white: int | None = None
) -> NDArray[np.uint8]:
    """Draw a mask over a picture: the picture in grey, what is marked in magenta.

    Parameters
    ----------
    pixels : ndarray, shape (H, W) or (H, W, C), uint8 or uint16
    mask : ndarray of bool, shape (H, W) or (H, W, C)
        A pixel is drawn in magenta if any of its channels is marked.
    white : int, optional
        The value of uint16 that is white; by default the largest of the dtype.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
    """
    values = to_float(pixels, white=white).reshape(*pixels.shape[:2], -1)
    grey = from_float(values.mean(axis=2), np.uint8)
    marked = mask.reshape(*mask.shape[:2], -1).any(axis=2, keepdims=True)
    return np.where(marked, np.array(_MARK, np.uint8), grey[..., np.newaxis])
