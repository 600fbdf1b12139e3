"""Image file to `Picture`: 8- and 16-bit grey or RGB, with alpha and colour profile.

Everything else a file may carry (EXIF with its GPS position, XMP, comments) is dropped.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from overparam.files import FileError, file_errors
from overparam.image_files import open_image
from robustdip.images import sixteen_bit
from robustdip.images.picture import Picture

__all__ = ["read_image"]

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_GREY_SCALES = {"L;2": 85, "L;4": 17}
_GREY16_MODES = ("I;16", "I;16B", "I;16L")

_ORIENTATION = 274  # tag of EXIF and TIFF
# Orientation -> (transpose, then flip up-down, then flip left-right) to stand upright.
_UPRIGHT = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def read_image(path: str | os.PathLike[str]) -> Picture:
    """Read a PNG, JPEG, TIFF, WebP, BMP or PPM file of 1x1 pixels or more.

    Bilevel and grey images stay grey, palettes become RGB, 16-bit samples stay 16-bit, and the EXIF
    orientation is applied. From a camera's multi-picture JPEG the first picture is read, because
    the others are previews.

    Parameters
    ----------
    path : str or PathLike
        A regular file; a pipe or a device is refused unopened, so the call never hangs.

    Returns
    -------
    Picture
        Pixels, alpha and colour profile.

    Raises
    ------
    FileError
        If the file is missing, unreadable, not an image, damaged, animated, of several pages,
        in CMYK, LAB or floating point, or claims more pixels than Pillow's safety limit
        (``PIL.Image.MAX_IMAGE_PIXELS``, 89 million), which is checked before decoding.
    """
    source = Path(path)
    with file_errors("read", path), open_image(source) as image:
        _refuse_unsupported(image)
        layout = sixteen_bit.sample_layout(image)
        image.load()
        samples = sixteen_bit.read_samples(image, layout, source)
        if samples is None:
            samples = _eight_bit(image, layout)
        # After load: Pillow turns a TIFF upright itself and then removes the tag.
        samples = _upright(samples, image.getexif().get(_ORIENTATION))
        icc_profile = image.info.get("icc_profile") or None
    colours = 1 if samples.shape[2] < 3 else 3
    pixels = np.ascontiguousarray(samples[..., :colours])
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    return Picture(pixels[..., 0] if colours == 1 else pixels, alpha, icc_profile, source)


def _refuse_unsupported(image: ImageFile.ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
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


def _upright(samples: NDArray[Any], orientation: Any) -> NDArray[Any]:
    transpose, flip_rows, flip_columns = _UPRIGHT.get(orientation, (False, False, False))
    if transpose:
        samples = samples.swapaxes(0, 1)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
