"""`Picture` to image file, with bit depth, alpha and colour profile, or a reason why not."""

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from overparam.files import FileError, check_target, file_errors, replace_file
from robustdip.images import sixteen_bit
from robustdip.images.picture import Picture

__all__ = ["SUFFIXES", "check_output", "image_bytes", "write_image"]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class _Format:
    name: str  # Pillow's
    deep: bool = False  # holds 16 bits a sample
    alpha: bool = False
    profile: bool = True
    max_side: int = 2**31 - 1  # pixels
    options: tuple[tuple[str, Any], ...] = ()


_TIFF = _Format("TIFF", deep=True, alpha=True, options=(("compression", "tiff_adobe_deflate"),))
# Chroma at full resolution, because details are what was restored. The side is libjpeg's limit.
_JPEG = _Format("JPEG", max_side=65500, options=(("quality", 95), ("subsampling", 0)))
# exact: keep the colour under transparent pixels.
_WEBP = _Format("WEBP", alpha=True, max_side=16383, options=(("lossless", True), ("exact", True)))
_FORMATS = {
    ".png": _Format("PNG", deep=True, alpha=True),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".bmp": _Format("BMP", profile=False),
    ".ppm": _Format("PPM", profile=False),
}
SUFFIXES = (*_FORMATS, ".pgm", ".pbm")
"""What the names of files that are read end in, in small letters; PPM has further names."""


def write_image(path: StrPath, image: Picture | NDArray[Any]) -> None:
    """Write an image in the format its suffix names, replacing what is there, or leave no trace.

    The bit depth, alpha and colour profile are kept. JPEG is saved at quality 95; WebP, which
    has no grey, is lossless RGB; all others are lossless.

    Parameters
    ----------
    path : str or PathLike
        Ends in .png, .tif, .tiff, .jpg, .jpeg, .webp, .bmp or .ppm. A link is replaced, not
        followed.
    image : Picture or ndarray
        An array is pixels alone: (H, W) or (H, W, 3), uint8 or uint16.

    Raises
    ------
    FileError
        If the format cannot hold the image, or the file cannot be written; a file already
        there is then unchanged.
    """
    replace_file(path, image_bytes(path, image))


def image_bytes(path: StrPath, image: Picture | NDArray[Any]) -> bytes:
    """The contents of the file that `write_image` writes to `path`.

    Raises
    ------
    FileError
        If the format that the suffix names cannot hold the image.
    """
    picture = image if isinstance(image, Picture) else Picture(image)
    with file_errors("write", path):  # and Pillow's own errors, for a profile or size too big
        return _encode(picture, _format_for(Path(path), picture))


def check_output(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool = False,
    image: Picture | None = None,
) -> None:
    """Raise FileError now for what would stop `write_image` after a long computation.

    As `overparam.files.check_target` for image formats, and with an `image` also if `path` cannot
    hold its bit depth, alpha, profile or size.
    """
    check_target(path, inputs=inputs, force=force, suffixes=_FORMATS)
    if image is not None:
        with file_errors("write", path):
            _format_for(Path(path), image)


def _format_for(target: Path, picture: Picture) -> _Format:
    form = _FORMATS.get(target.suffix.lower())
    if form is None:
        raise FileError(f"unknown suffix {target.suffix!r}; use one of {', '.join(_FORMATS)}")
    deep = picture.pixels.dtype == np.uint16
    if deep and not form.deep:
        raise FileError(f"{form.name} holds 8 bits a sample and the image has 16; use .png")
    if picture.alpha is not None and not form.alpha:
        raise FileError(f"{form.name} cannot hold the image's alpha; use .png")
    if picture.alpha is not None and form is _TIFF and deep and picture.pixels.ndim == 2:
        # No common reader, read_image included, opens it.
        raise FileError("TIFF cannot hold 16-bit grey with alpha; use .png")
    if picture.icc_profile is not None and not form.profile:
        raise FileError(f"{form.name} cannot hold the image's colour profile; use .png")
    if max(picture.pixels.shape[:2]) > form.max_side:
        raise FileError(f"{form.name} holds at most {form.max_side} pixels a side; use .png")
    return form


def _encode(picture: Picture, form: _Format) -> bytes:
    bands = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    samples = np.dstack(bands)  # (H, W, 1 to 4)
    if samples.dtype == np.uint16:
        encode = sixteen_bit.png_bytes if form.name == "PNG" else sixteen_bit.tiff_bytes
        return encode(samples, picture.icc_profile)
    options = dict(form.options)
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    buffer = io.BytesIO()
    image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    image.save(buffer, form.name, **options)
    return buffer.getvalue()
