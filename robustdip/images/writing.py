"""`Picture`s to an image file, with depth, alpha, profile and units, or a reason why not."""

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from overparam.files import FileError, check_target, file_errors, replace_file
from overparam.image_files import LARGEST_PNG_PROFILE
from robustdip.images import numeric, sixteen_bit, tiff_pages
from robustdip.images.picture import Picture

__all__ = [
    "SUFFIXES",
    "check_output",
    "image_bytes",
    "natural_suffix",
    "pages_bytes",
    "write_image",
]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class _Format:
    name: str  # Pillow's
    deep: bool = False  # holds 16 bits a sample
    alpha: bool = False
    profile: bool = True
    grey: bool = True  # holds grey as grey, and so the profile of a grey picture
    largest_profile: int = 2**31 - 1  # bytes
    max_side: int = 2**31 - 1  # pixels
    options: tuple[tuple[str, Any], ...] = ()
    measured: bool = False  # holds floats and whole numbers of any depth, in any units
    pages: bool = False  # holds several


_TIFF = _Format(
    "TIFF",
    deep=True,
    alpha=True,
    measured=True,
    pages=True,
    options=(("compression", "tiff_adobe_deflate"),),
)
# Chroma at full resolution, because details are what was restored. The side is libjpeg's limit. A
# profile is in 255 markers, each with two bytes that say how long it is, and a header of 14.
_JPEG = _Format(
    "JPEG",
    largest_profile=255 * (65535 - 2 - 14),
    max_side=65500,
    options=(("quality", 95), ("subsampling", 0)),
)
# exact: keep the colour under transparent pixels.
_WEBP = _Format(
    "WEBP",
    alpha=True,
    grey=False,
    max_side=16383,
    options=(("lossless", True), ("exact", True)),
)
_MOST_DPI_OF_JPEG = 65535  # it has 16 bits for it
_NPY = _Format("NPY", deep=True, profile=False, measured=True, pages=True)
_FITS = _Format("FITS", deep=True, profile=False, measured=True, pages=True)
_FORMATS = {
    ".png": _Format("PNG", deep=True, alpha=True, largest_profile=LARGEST_PNG_PROFILE),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".bmp": _Format("BMP", profile=False),
    ".ppm": _Format("PPM", profile=False),
    **dict.fromkeys(numeric.NPY, _NPY),
    **dict.fromkeys(numeric.FITS, _FITS),
}
SUFFIXES = (*_FORMATS, ".jpe", ".jfif", ".pgm", ".pbm", ".pnm")
"""What the names of files that are read end in, in small letters; some formats have further names.

A ``.jfif`` is what browsers call a JPEG on Windows.
"""


def write_image(path: StrPath, image: Picture | NDArray[Any]) -> None:
    """Write an image in the format its suffix names, replacing what is there, or leave no trace.

    The bit depth, alpha and colour profile are kept, and the resolution where the format has one.
    JPEG is saved at quality 95; WebP, which has no grey, is lossless RGB; all others are lossless.

    Parameters
    ----------
    path : str or PathLike
        Ends in .png, .tif, .tiff, .jpg, .jpeg, .webp, .bmp, .ppm, .npy, .fits, .fit or .fts. A
        link is replaced, not followed.
    image : Picture or ndarray
        An array is pixels alone: (H, W) or (H, W, 3), uint8 or uint16.

    Raises
    ------
    TypeError, ValueError
        If an array is none of a `Picture`.
    FileError
        If the format cannot hold the image, or the file cannot be written; a file already
        there is then unchanged.
    """
    replace_file(path, image_bytes(path, image))


def image_bytes(path: StrPath, image: Picture | NDArray[Any]) -> bytes:
    """The contents of the file that `write_image` writes to `path`.

    Raises
    ------
    TypeError, ValueError
        If an array is none of a `Picture`.
    FileError
        If the format that the suffix names cannot hold the image.
    """
    if isinstance(image, np.ndarray):
        # FITS is big-endian, and `denoise` gives back the byte order that it was given.
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
    return pages_bytes(path, [image if isinstance(image, Picture) else Picture(image)])


def pages_bytes(path: StrPath, pages: Sequence[Picture]) -> bytes:
    """The contents of a file of one or several pages.

    Raises
    ------
    FileError
        If the format that the suffix of `path` names cannot hold them, or there is none.
    """
    with file_errors("write", path):  # and Pillow's own errors, for a profile or size too big
        if not pages:
            raise FileError("there are no pages; give one at least")
        form = _format_for(Path(path), pages)
        if form is _NPY:
            return numeric.npy_bytes(pages)
        if form is _FITS:
            return numeric.fits_bytes(pages)
        if form is _TIFF and (len(pages) > 1 or pages[0].measured):
            return tiff_pages.tiff_bytes(pages)
        return _encode(pages[0], form)


def natural_suffix(path: StrPath) -> str:
    """What the name of a result ends in if none is given.

    It is that of the file where only this format holds what is in it: for .npy, FITS, and TIFF
    files of several pages or of values in their own units. For all others it is .png.
    """
    suffix = Path(path).suffix
    if suffix.lower() in (*numeric.NPY, *numeric.FITS):
        return suffix
    try:
        # To open a pipe could wait for ever.
        tiff = suffix.lower() in (".tif", ".tiff") and os.path.isfile(path)
        own = tiff and tiff_pages.has_pages(Path(path))
    except OSError:  # whoever reads it will say so
        own = False
    return suffix if own else ".png"


def check_output(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool = False,
    image: Picture | Sequence[Picture] | None = None,
) -> None:
    """Raise FileError now for what would stop `write_image` after a long computation.

    As `overparam.files.check_target` for image formats, and with an `image`, or its pages, also if
    `path` cannot hold its bit depth, alpha, profile, units, size or number of pages.
    """
    check_target(path, inputs=inputs, force=force, suffixes=_FORMATS)
    if image is not None:
        with file_errors("write", path):
            _format_for(Path(path), [image] if isinstance(image, Picture) else image)


def _format_for(target: Path, pages: Sequence[Picture]) -> _Format:
    picture = pages[0]
    form = _FORMATS.get(target.suffix.lower())
    if form is None:
        raise FileError(f"unknown suffix {target.suffix!r}; use one of {', '.join(_FORMATS)}")
    if form is _FITS:
        numeric.require_astropy()
    if len(pages) > 1 and not form.pages:
        raise FileError(f"{form.name} holds one picture and there are {len(pages)}; use .tif")
    if picture.measured and not form.measured:
        raise FileError(f"{form.name} cannot hold the image's units; use .npy, .fits or .tif")
    if form is not _TIFF and len({(page.pixels.shape, page.pixels.dtype) for page in pages}) > 1:
        raise FileError(
            f"{form.name} holds pages of one size and depth, and these differ; use .tif"
        )
    deep = picture.pixels.dtype == np.uint16
    if deep and not form.deep:
        raise FileError(f"{form.name} holds 8 bits a sample and the image has 16; use .png")
    if any(page.alpha is not None for page in pages) and not form.alpha:
        raise FileError(f"{form.name} cannot hold the image's alpha; use .png")
    if picture.alpha is not None and form is _TIFF and deep and picture.pixels.ndim == 2:
        # No common reader, read_image included, opens it.
        raise FileError("TIFF cannot hold 16-bit grey with alpha; use .png")
    holds_profile = form.profile and (form.grey or picture.pixels.ndim == 3)
    if any(page.icc_profile is not None for page in pages) and not holds_profile:
        other = ".tif" if picture.measured else ".png"
        raise FileError(f"{form.name} cannot hold the image's colour profile; use {other}")
    if any(len(page.icc_profile or b"") > form.largest_profile for page in pages):
        raise FileError(
            f"{form.name} holds a colour profile of at most {form.largest_profile} bytes; use .tif"
        )
    if max(picture.pixels.shape[:2]) > form.max_side:
        raise FileError(f"{form.name} holds at most {form.max_side} pixels a side; use .png")
    return form


def _encode(picture: Picture, form: _Format) -> bytes:
    bands = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    samples = np.dstack(bands)  # (H, W, 1 to 4)
    if samples.dtype == np.uint16:
        encode = sixteen_bit.png_bytes if form.name == "PNG" else sixteen_bit.tiff_bytes
        return encode(samples, picture.icc_profile, dpi=picture.dpi)
    options = dict(form.options)
    if picture.dpi is not None and (form is not _JPEG or max(picture.dpi) <= _MOST_DPI_OF_JPEG):
        options["dpi"] = picture.dpi  # formats without it ignore it
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    buffer = io.BytesIO()
    image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    image.save(buffer, form.name, **options)
    return buffer.getvalue()
