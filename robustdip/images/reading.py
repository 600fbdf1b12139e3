"""Files to arrays and back: 8- and 16-bit grey or RGB images, their alpha and colour profile.

Everything else a file may carry (EXIF with its GPS position, XMP, comments) is dropped.
"""

import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from overparam.files import (
    FileError,
    check_target,
    naming,
    one_line,
    replace_file,
    require_regular,
)

__all__ = [
    "Picture",
    "check_output",
    "read_image",
    "write_image",
]

StrPath = str | os.PathLike[str]


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


# --- reading -------------------------------------------------------------------------------

# An allow-list: Pillow knows some forty formats, most of them little used and little tested.
_READ_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")

_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr")
_GREY16_MODES = ("I;16", "I;16B", "I;16L")

# EXIF orientation -> (transpose, then flip up-down, then flip left-right) to stand upright.
_UPRIGHT = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}

# TIFF tags; the orientation is EXIF's too.
_BITS, _PHOTOMETRIC, _ORIENTATION, _PLANES = 258, 262, 274, 284

# Pillow unpacks 16-bit colour to 8 bits: of each sample it keeps the first byte when told big
# endian (B), the second when told little endian (L); N is the machine's own order. Told the
# opposite order, it keeps the byte it would have dropped.
_OPPOSITE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_OTHER_BYTE = {
    f"{bands};16{order}": f"{bands};16{opposite}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order, opposite in _OPPOSITE.items()
}
_GREY_ALPHA_16 = "LA;16B"  # has no little-endian twin: its four bytes are read as RGBA instead


def read_image(path: StrPath) -> Picture:
    """Read a PNG, JPEG, TIFF, WebP, BMP or PPM file of 1x1 pixels or more.

    Bilevel and grey stay grey, palettes become RGB, 16-bit samples stay 16-bit, and the EXIF
    orientation is applied. Of a camera's multi-picture JPEG the first picture is read, the
    others being previews.

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
    with naming("read", path):
        require_regular(source.stat().st_mode)
        pixels, alpha, icc_profile = _decode(source)
    return Picture(pixels, alpha, icc_profile, source)


def _decode(source: Path) -> tuple[NDArray[Any], NDArray[Any] | None, bytes | None]:
    """Pixels, alpha and profile; whatever Pillow raises comes out as an FileError."""
    with source.open("rb") as stream, warnings.catch_warnings():
        # Remarks on odd tags and transparency do not concern the pixels; a bomb does.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(stream, formats=_READ_FORMATS) as image:
                _refuse_unsupported(image)
                raw_mode = _layout(image)[0]
                image.load()
                if raw_mode in _OTHER_BYTE or raw_mode == _GREY_ALPHA_16:
                    samples = _colour16(image, raw_mode, source)
                elif image.mode.startswith("I"):
                    samples = _grey16(image)
                else:
                    samples = _samples8(image)
                # After load: Pillow turns a TIFF upright itself and then removes the tag.
                samples = _upright(samples, image.getexif().get(_ORIENTATION))
                icc_profile = image.info.get("icc_profile") or None
        except FileError:
            raise
        except UnidentifiedImageError as error:
            raise FileError(
                "not an image, or a damaged one (PNG, JPEG, TIFF, WebP, BMP, PPM are read)"
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            # Pillow's first clause names the size and the limit.
            claim = str(error).partition(",")[0]
            raise FileError(f"{claim}; crop or downscale it first") from error
        except Exception as error:
            # Malformed bytes make the decoders raise nearly anything: OSError, SyntaxError,
            # struct.error, zlib.error, KeyError, IndexError, OverflowError, MemoryError...
            raise FileError(f"damaged or cut short ({one_line(error)})") from error
    colours = 1 if samples.shape[2] < 3 else 3
    pixels = np.ascontiguousarray(samples[..., :colours])
    alpha = np.ascontiguousarray(samples[..., colours]) if samples.shape[2] > colours else None
    return pixels[..., 0] if colours == 1 else pixels, alpha, icc_profile


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
    # What Pillow would cut to 8 bits, and no second pass can complete.
    raw_mode, *rest = _layout(image)
    if image.format == "PPM" and image.mode == "RGB" and rest and rest[0] > 255:  # maxval
        raise FileError("16-bit colour PPM is not read; save it as PNG or TIFF")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in _COLOUR_MODES:
        interleaved = image.tag_v2.get(_PLANES, 1) == 1 and raw_mode in _OTHER_BYTE
        if 16 in image.tag_v2.get(_BITS, ()) and not interleaved:
            raise FileError(
                "16-bit TIFF in separate planes or with premultiplied alpha is not read; "
                "save it interleaved, or as PNG"
            )


def _layout(image: ImageFile.ImageFile) -> tuple[Any, ...]:
    """Pillow's name for how the file lays out its samples, then the decoder's settings."""
    args = image.tile[0].args if image.tile else None  # WebP has no tile before it is loaded
    return args if isinstance(args, tuple) else (args,)


def _samples8(image: Image.Image) -> NDArray[Any]:
    """An image of at most 8 bits as (H, W, 1 to 4) uint8."""
    bands = "L" if image.mode in _GREY_MODES else "RGB"
    if image.has_transparency_data:
        bands += "A"
    samples = np.asarray(image.convert(bands))
    return samples[..., np.newaxis] if samples.ndim == 2 else samples


def _grey16(image: Image.Image) -> NDArray[Any]:
    """A 16-bit grey image as (H, W, 1 or 2) uint16."""
    samples = np.asarray(image).astype(np.uint16)[..., np.newaxis]
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:  # white is zero
        samples = 65535 - samples
    return _with_key(samples, image.info.get("transparency"))


def _colour16(image: Image.Image, raw_mode: str, source: Path) -> NDArray[Any]:
    """A 16-bit image of several bands as (H, W, 2 to 4) uint16, by a second pass over the file."""
    other = _OTHER_BYTE.get(raw_mode, "RGBA")
    with Image.open(source, formats=_READ_FORMATS) as again:
        again.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in again.tile
        ]
        dropped = np.asarray(again)
    if raw_mode == _GREY_ALPHA_16:
        return dropped.view(">u2").astype(np.uint16)
    samples = np.asarray(image).astype(np.uint16) * np.uint16(256) + dropped
    return _with_key(samples, image.info.get("transparency"))


def _with_key(samples: NDArray[Any], key: Any) -> NDArray[Any]:
    """Add the alpha of a PNG's transparent colour, which Pillow would match in 8 bits."""
    if key is None:
        return samples
    opaque = (samples != np.asarray(key)).any(axis=2, keepdims=True)
    return np.concatenate([samples, opaque * np.uint16(65535)], axis=2)


def _upright(samples: NDArray[Any], orientation: Any) -> NDArray[Any]:
    transpose, flip_rows, flip_columns = _UPRIGHT.get(orientation, (False, False, False))
    if transpose:
        samples = samples.swapaxes(0, 1)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


# --- writing -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    name: str  # Pillow's
    deep: bool = False  # holds 16 bits a sample
    alpha: bool = False
    profile: bool = True
    max_side: int = 2**31 - 1  # pixels
    options: tuple[tuple[str, Any], ...] = ()


_TIFF = _Format("TIFF", deep=True, alpha=True, options=(("compression", "tiff_adobe_deflate"),))
# Chroma at full resolution: detail is what the image was restored for. libjpeg's own limit.
_JPEG = _Format("JPEG", max_side=65500, options=(("quality", 95), ("subsampling", 0)))
# exact: keep the colour under transparent pixels.
_WEBP = _Format("WEBP", alpha=True, max_side=16383, options=(("lossless", True), ("exact", True)))
_WRITE_FORMATS = {
    ".png": _Format("PNG", deep=True, alpha=True),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _WEBP,
    ".bmp": _Format("BMP", profile=False),
    ".ppm": _Format("PPM", profile=False),
}


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
    target = Path(path)
    picture = image if isinstance(image, Picture) else Picture(image)
    with naming("write", path):  # and Pillow's own, for a profile or size too big
        _refuse_unheld(target, picture)
        data = _encode(picture, _format_of(target))
    replace_file(path, data)


def check_output(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool = False,
    image: Picture | None = None,
) -> None:
    """Raise now what would stop `write_image` after a long computation.

    As `overparam.files.check_target` for image formats, and with an `image` also if `path` cannot
    hold its bit depth, alpha, profile or size.
    """
    check_target(path, inputs=inputs, force=force, suffixes=_WRITE_FORMATS)
    if image is not None:
        with naming("write", path):
            _refuse_unheld(Path(path), image)


def _format_of(target: Path) -> _Format:
    try:
        return _WRITE_FORMATS[target.suffix.lower()]
    except KeyError:
        raise FileError(
            f"unknown suffix {target.suffix!r}; use one of {', '.join(_WRITE_FORMATS)}"
        ) from None


def _refuse_unheld(target: Path, picture: Picture) -> None:
    form = _format_of(target)
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


def _encode(picture: Picture, form: _Format) -> bytes:
    bands = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
    samples = np.dstack(bands)  # (H, W, 1 to 4)
    buffer = io.BytesIO()
    if samples.dtype == np.uint16 and form.name == "PNG":
        return _png16(samples, picture.icc_profile)
    if samples.dtype == np.uint16:
        import tifffile  # needed here alone

        tifffile.imwrite(
            buffer,
            samples.squeeze(2) if samples.shape[2] == 1 else samples,
            photometric="minisblack" if samples.shape[2] == 1 else "rgb",
            extrasamples=["unassalpha"] if picture.alpha is not None else None,
            compression="zlib",
            iccprofile=picture.icc_profile,
            metadata=None,
        )
        return buffer.getvalue()
    options = dict(form.options)
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    image.save(buffer, form.name, **options)
    return buffer.getvalue()


def _png16(samples: NDArray[np.uint16], icc_profile: bytes | None) -> bytes:
    """A 16-bit PNG of (H, W, 1 to 4) samples, which Pillow writes for grey only."""
    height, width, bands = samples.shape
    colour_type = (0, 4, 2, 6)[bands - 1]
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    # Filter 2, "up": each byte less the one above it, modulo 256.
    filtered = np.insert(np.diff(rows, axis=0, prepend=np.uint8(0)), 0, 2, axis=1)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    if icc_profile is not None:
        chunks.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile)))
    chunks += [(b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
