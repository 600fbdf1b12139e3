"""Images with 16 bits a sample in several bands, which Pillow cuts to 8 bits or does not write."""

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from overparam.files import FileError
from overparam.image_files import open_image
from robustdip.images.picture import white_of

__all__ = [
    "inverted",
    "largest_sample",
    "png_bytes",
    "read_samples",
    "refuse_unreadable",
    "sample_layout",
    "tiff_bytes",
]

# TIFF tags.
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284

# Pillow unpacks 16-bit colour to 8 bits: of each sample it keeps the first byte when told big
# endian (B), the second when told little endian (L); N is the machine's own order. Told the
# opposite order, it keeps the byte it would have dropped.
_OPPOSITE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_OTHER_BYTE = {
    f"{bands};16{order}": f"{bands};16{opposite}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order, opposite in _OPPOSITE.items()
}
_GREY_ALPHA = "LA;16B"  # has no little-endian twin: its four bytes are read as RGBA instead


# --- reading -------------------------------------------------------------------------------


def sample_layout(image: ImageFile.ImageFile) -> str | None:
    """Pillow's name for how the file lays out its samples; ask before the pixels are loaded."""
    return _decoder_settings(image)[0]


def refuse_unreadable(image: ImageFile.ImageFile) -> None:
    """Raise FileError for 16-bit images that Pillow would cut to 8 bits without a remedy."""
    layout, *rest = _decoder_settings(image)
    if image.format == "PPM" and image.mode == "RGB" and rest and rest[0] > 255:  # maxval
        raise FileError("16-bit colour PPM is not read; save it as PNG or TIFF")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not image.mode.startswith("I"):
        interleaved = image.tag_v2.get(_PLANES, 1) == 1 and layout in _OTHER_BYTE
        if 16 in image.tag_v2.get(_BITS, ()) and not interleaved:
            raise FileError(
                "16-bit TIFF in separate planes or with premultiplied alpha is not read; "
                "save it interleaved, or as PNG"
            )


def largest_sample(image: ImageFile.ImageFile) -> int:
    """What a PPM file says is white, and Pillow maps to 65535; ask before the pixels are loaded."""
    _, *rest = _decoder_settings(image)
    return int(rest[0]) if image.format == "PPM" and image.mode == "I" and rest else 65535


def read_samples(
    image: ImageFile.ImageFile, layout: str | None, path: Path
) -> NDArray[np.uint16] | None:
    """All 16 bits of a loaded image as (H, W, 1 to 4), or None if its samples have 8 bits.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
        With its pixels loaded.
    layout : str or None
        Its `sample_layout`.
    path : Path
        Where it was opened: colour is decoded a second time, for the bytes that Pillow dropped.
    """
    if layout in _OTHER_BYTE or layout == _GREY_ALPHA:
        return _colour(image, layout, path)
    return _grey(image) if image.mode.startswith("I") else None


def _decoder_settings(image: ImageFile.ImageFile) -> tuple[Any, ...]:
    args = image.tile[0].args if image.tile else None  # WebP has no tile before it is loaded
    return args if isinstance(args, tuple) else (args,)


def _grey(image: Image.Image) -> NDArray[np.uint16]:
    samples = np.asarray(image).astype(np.uint16)[..., np.newaxis]
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero
        samples = inverted(samples)
    return _with_key(samples, image.info.get("transparency"))


def _colour(image: Image.Image, layout: str, path: Path) -> NDArray[np.uint16]:
    other = _OTHER_BYTE.get(layout, "RGBA")
    with open_image(path) as again:
        again.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in again.tile
        ]
        dropped = np.asarray(again)
    if layout == _GREY_ALPHA:
        return dropped.view(">u2").astype(np.uint16)
    samples = np.asarray(image).astype(np.uint16) * np.uint16(256) + dropped
    return _with_key(samples, image.info.get("transparency"))


def _with_key(samples: NDArray[np.uint16], key: Any) -> NDArray[np.uint16]:
    """Add the alpha of a PNG's transparent colour, which Pillow would match in 8 bits."""
    if key is None:
        return samples
    opaque = (samples != np.asarray(key)).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque * np.uint16(65535)], axis=2)


def inverted(samples: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Samples whose white is zero, with black at zero: in the range of the bits in use."""
    white = np.uint16(white_of(samples))
    return white - samples.clip(max=white)


# --- writing -------------------------------------------------------------------------------


def png_bytes(
    samples: NDArray[np.uint16],
    icc_profile: bytes | None,
    *,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """A PNG file of (H, W, 1 to 4) samples; Pillow writes 16 bits for grey only."""
    height, width, bands = samples.shape
    colour_type = (0, 4, 2, 6)[bands - 1]
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 2, "up": each byte less the one above it, modulo 256.
    filtered = np.insert(np.diff(rows, axis=0, prepend=np.uint8(0)), 0, 2, axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if icc_profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile)))
    if dpi is not None:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(each / 0.0254) for each in dpi), 1)))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def tiff_bytes(
    samples: NDArray[np.uint16],
    icc_profile: bytes | None,
    *,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """A TIFF file of (H, W, 1, 3 or 4) samples, compressed without loss."""
    import tifffile  # takes a quarter of a second to import, and nothing else needs it

    buffer = io.BytesIO()
    bands = samples.shape[2]
    tifffile.imwrite(
        buffer,
        samples.squeeze(2) if bands == 1 else samples,
        photometric="minisblack" if bands == 1 else "rgb",
        extrasamples=["unassalpha"] if bands == 4 else None,
        compression="zlib",
        iccprofile=icc_profile,
        resolution=dpi,
        resolutionunit=None if dpi is None else "INCH",
        metadata=None,
    )
    return buffer.getvalue()
