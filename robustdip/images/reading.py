"""Image file to `Picture`s: grey or RGB of any depth, with alpha, colour profile and units.

The resolution is kept too. Everything else a file may carry (EXIF with its GPS position, XMP,
comments) is dropped.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from overparam.files import FileError, file_errors, require_regular_file
from overparam.image_files import open_image
from robustdip.images import sixteen_bit
from robustdip.images.numeric import FITS, NPY, read_fits, read_npy
from robustdip.images.picture import Picture, profile_of, resolution, upright
from robustdip.images.tiff_pages import has_pages, read_tiff, refuse_others, refuse_unknown_channels

__all__ = ["read_image", "read_pages"]

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_GREY_SCALES = {"L;2": 85, "L;4": 17}
_GREY16_MODES = ("I;16", "I;16B", "I;16L")

_ORIENTATION, _ACROSS = 274, 282  # tags of EXIF
_COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".fz", ".z")
_KNOWN_BY_NAME = {b"SIMPLE  =": ".fits", b"\x93NUMPY": ".npy"}


def read_image(path: str | os.PathLike[str], *, extension: int | str | None = None) -> Picture:
    """Read a file of one picture: PNG, JPEG, TIFF, WebP, BMP, PPM, NumPy (.npy) or FITS.

    See `read_pages`, which reads files of several too, for the parameters.

    Raises
    ------
    FileError
        As of `read_pages`, and if there are several pages.
    """
    pages = read_pages(path, extension=extension)
    with file_errors("read", path):
        if len(pages) > 1:
            raise FileError(
                f"it has {len(pages)} frames or pages; save the one wanted as its own file"
            )
    return pages[0]


def read_pages(
    path: str | os.PathLike[str], *, extension: int | str | None = None
) -> list[Picture]:
    """Read all pages of a file of 1x1 pixels or more.

    Bilevel and grey images stay grey, palettes become RGB, 16-bit samples stay 16-bit, and the EXIF
    orientation is applied. From a camera's multi-picture JPEG the first picture is read, because
    the others are previews. Floats, and whole numbers with sign or of 32 bits and more (.npy, FITS,
    TIFF), keep their units, see `robustdip.images.units`.

    Parameters
    ----------
    path : str or PathLike
        A regular file; a pipe or a device is refused unopened, so the call never hangs. ``.npy``
        and ``.fits``, ``.fit`` or ``.fts`` are known by their names, all others by their contents.
    extension : int, str or None
        Of a FITS file: the number or name of the extension; None takes the first with an image.

    Returns
    -------
    list of Picture
        One for each page of a TIFF, plane of a FITS cube, or array in a stack (N, H, W) of a .npy.

    Raises
    ------
    FileError
        If the file is missing, unreadable, not an image, damaged, animated, in CMYK or LAB, the raw
        file of a camera, or claims more pixels than Pillow's safety limit
        (``PIL.Image.MAX_IMAGE_PIXELS``, 89 million), which is checked before decoding. If it is a
        FITS file and astropy is not installed, or `extension` is given and it is none.
    """
    source = Path(path)
    suffix = source.suffix.lower()
    with file_errors("read", path):
        require_regular_file(source.stat().st_mode)
        if suffix in FITS:
            return read_fits(source, extension)
        if extension is not None:
            raise FileError("it is no FITS file, which alone has extensions")
        if suffix in NPY:
            return read_npy(source)
        _refuse_other_names(source, suffix)
        if has_pages(source):
            return read_tiff(source)
        return [_read_by_pillow(source)]


def _refuse_other_names(source: Path, suffix: str) -> None:
    """Say of files that are known by their names what is to be done with another one."""
    if suffix in _COMPRESSED:
        raise FileError(f"it is compressed ({suffix}); unpack it first")
    with source.open("rb") as stream:
        head = stream.read(max(map(len, _KNOWN_BY_NAME)))
    for signature, name in _KNOWN_BY_NAME.items():
        if head.startswith(signature):
            raise FileError(f"it is a {name} file by another name; let its name end in {name}")


def _read_by_pillow(source: Path) -> Picture:
    with open_image(source) as image:
        _refuse_unsupported(image, source)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            refuse_unknown_channels(source, image.tag_v2)
        layout, largest = sixteen_bit.sample_layout(image), sixteen_bit.largest_sample(image)
        turned = image.getexif().get(_ORIENTATION)
        image.load()
        samples = sixteen_bit.read_samples(image, layout, source)
        if samples is None:
            samples = _eight_bit(image, layout)
        elif largest < 65535:
            samples = np.rint(samples * (largest / 65535)).astype(np.uint16)
        # After load: Pillow turns a TIFF upright itself and then removes the tag.
        samples = upright(samples, image.getexif().get(_ORIENTATION))
        icc_profile = profile_of(image.info.get("icc_profile"))
        dpi = resolution(*_said_dpi(image), orientation=turned)
    colours = 1 if samples.shape[2] < 3 else 3
    pixels = np.ascontiguousarray(samples[..., :colours])
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    return Picture(pixels[..., 0] if colours == 1 else pixels, alpha, icc_profile, source, dpi=dpi)


def _said_dpi(image: ImageFile.ImageFile) -> tuple[Any, Any]:
    """Pixels an inch as the file says; Pillow makes 72 of a JPEG that says nothing."""
    jpeg = image.format in ("JPEG", "MPO")
    if jpeg and image.info.get("jfif_unit") not in (1, 2) and _ACROSS not in image.getexif():
        return None, None
    across, down = image.info.get("dpi", (None, None))
    return across, down


def _refuse_unsupported(image: ImageFile.ImageFile, source: Path) -> None:
    frames = getattr(image, "n_frames", 1)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        refuse_others(image.tag_v2, pages=frames, size=source.stat().st_size)
    if frames > 1 and image.format != "MPO":
        raise FileError(f"it has {frames} frames or pages; save the one wanted as its own file")
    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES, *_GREY16_MODES) and not (
        image.format == "PPM" and image.mode == "I"  # 16-bit grey, scaled by Pillow to 0..65535
    ):
        raise FileError(
            f"its pixels are {image.mode}; save it as grey or RGB with 8 or 16 bits a sample"
        )
    sixteen_bit.refuse_unreadable(image)


def _eight_bit(image: Image.Image, layout: str | None) -> NDArray[Any]:
    """An image of at most 8 bits a sample as (H, W, 1 to 4) uint8."""
    # Pillow scales grey of 2 and 4 bits to 0..255, and leaves its transparent value as it was.
    scale, key = _GREY_SCALES.get(layout or ""), image.info.get("transparency")
    if scale is not None and isinstance(key, int):
        image.info["transparency"] = scale * key
    bands = "L" if image.mode in _GREY_MODES else "RGB"
    if image.has_transparency_data:
        bands += "A"
    samples = np.asarray(image.convert(bands))
    return samples[..., np.newaxis] if samples.ndim == 2 else samples
