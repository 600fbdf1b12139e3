"""TIFF files that Pillow reads in part or not at all: several pages, floats, 32 bits.

Single pages of 8 and 16 bits are read by Pillow, see `robustdip.images.reading`.
"""

import io
import logging
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from overparam.files import FileError, one_line
from overparam.image_files import TIFF_SIGNATURES, open_image
from robustdip.images.numeric import pictures_of
from robustdip.images.picture import Picture, profile_of, resolution, upright
from robustdip.images.sixteen_bit import inverted

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = [
    "has_pages",
    "page_sizes",
    "read_tiff",
    "refuse_others",
    "refuse_unknown_channels",
    "tiff_bytes",
]

# Photometric interpretations.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_RESOLUTION, _UNIT = (282, 283), 296  # tags
_ORIENTATION, _SAMPLE_FORMAT, _PROFILE = 274, 339, 34675
_SIGNED = 2  # a sample format
_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_REDUCED = 1  # a bit of a kind of subfile
_DESCRIPTION, _SIZES = 270, 279
_EXTRA_CHANNELS, _UNKNOWN = 338, 0  # a tag, and what it says of a channel that is no alpha
_IMAGEJ_STACK = re.compile(r"ImageJ=[^\n]*\nimages=(\d{1,9})\n")


def has_pages(path: Path) -> bool:
    """Whether a file is a TIFF that `read_tiff` is for; damaged files are not."""
    with path.open("rb") as stream:
        if stream.read(4) not in TIFF_SIGNATURES:
            return False
    try:
        with open_image(path, header_only=True) as image:
            # Pillow takes grey of 8 bits with a sign for grey without.
            signed = _SIGNED in getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ())
            return signed or getattr(image, "n_frames", 1) > 1 or image.mode in ("F", "I")
    except Exception:  # Pillow knows no floats in colour, nor 64 bits
        return _holds_numbers(path)


def refuse_others(tags: Mapping[int, Any], *, pages: int, size: int) -> None:
    """Raise FileError for files that hold other pictures than their pages.

    The first page of the raw file of a camera is a small preview. ImageJ writes stacks of more than
    4 GB as one page, after which the pixels of the others follow.

    Parameters
    ----------
    tags : mapping of int to value
        Those of the first page.
    pages : int
        How many there are.
    size : int
        Bytes of the file.
    """
    preview = int(tags.get(_SUBFILE, 0)) & _REDUCED and _SUB_IFDS in tags
    if preview or _DNG_VERSION in tags:
        raise FileError(
            "it is the raw file of a camera, of which only a preview could be read; convert it to "
            "TIFF or PNG first"
        )
    stack = _IMAGEJ_STACK.match(str(tags.get(_DESCRIPTION, "")))
    # A page that another program took out of a stack has its description too.
    if stack and int(stack[1]) > pages and size > int(stack[1]) * np.sum(tags.get(_SIZES, 0)):
        raise FileError(
            f"it is a stack of {stack[1]} images of ImageJ, of which only {pages} could be read; "
            "save them in parts of less than 4 GB"
        )


def refuse_unknown_channels(path: Path, tags: Mapping[int, Any]) -> None:
    """Raise FileError for channels beside colour and alpha, which would be lost.

    Film scanners write infrared so, and image editors saved selections. A channel of one value is
    padding.

    Parameters
    ----------
    path : Path
        A file of one page.
    tags : mapping of int to value
        Those of the page.
    """
    import tifffile

    if _UNKNOWN not in _extra_channels(tags.get(_EXTRA_CHANNELS)):
        return
    with _without_log(), tifffile.TiffFile(path) as file:
        page = file.pages[0].aspage()
        _padding(page, _upright(page, path) if _is_decoded(page) else None)


def _extra_channels(said: Any) -> tuple[int, ...]:
    return () if said is None else tuple(np.atleast_1d(said))


def _padding(page: "TiffPage", samples: NDArray[Any] | None) -> list[int]:
    """Which channels of (H, W, channels) are padding; refused if one that is unknown may be more.

    Without samples, which could not be read, it may be.
    """
    extra = _extra_channels(_tag(page, _EXTRA_CHANNELS))
    first = page.samplesperpixel - len(extra)
    unknown = [channel for channel, kind in enumerate(extra, start=first) if kind == _UNKNOWN]
    for channel in unknown:
        if samples is None or np.ptp(samples[..., channel]) > 0:
            raise FileError(
                f"its channel {channel + 1} is neither colour nor alpha (infrared, or a selection) "
                "and would be lost; save it without that"
            )
    return unknown


def _without_padding(page: "TiffPage", samples: NDArray[Any]) -> NDArray[Any]:
    padding = _padding(page, samples)
    return np.delete(samples, padding, axis=2) if padding else samples


@contextmanager
def _without_log() -> Iterator[None]:
    """Nothing on standard error: tifffile logs what is odd in a file before it raises."""
    log = logging.getLogger("tifffile")
    log.addFilter(_drop)
    try:
        yield
    finally:
        log.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False


def _holds_numbers(path: Path) -> bool:
    import tifffile

    try:
        with _without_log(), tifffile.TiffFile(path) as file:
            dtype = file.pages[0].dtype
            return dtype is not None and (dtype.kind in "if" or dtype.itemsize > 2)
    except Exception:  # damaged: Pillow's words say why
        return False


def page_sizes(path: Path) -> list[tuple[int, int]]:
    """The (H, W) of all pages that `read_tiff` reads, from their headers; none if it is damaged."""
    import tifffile

    try:
        with _without_log(), tifffile.TiffFile(path) as file:
            return [(page.imagelength, page.imagewidth) for page in _wanted(file)]
    except Exception:  # whoever reads it will say so
        return []


def _wanted(file: "TiffFile") -> "list[TiffPage]":
    """The pages, without reduced copies and masks of others."""
    pages = [page.aspage() for page in file.pages]
    return [page for page in pages if not (page.is_reduced or page.is_mask)]


def read_tiff(path: Path) -> list[Picture]:
    """Read all pages, without reduced copies and masks of others.

    Raises
    ------
    FileError
        If the file is damaged, or a page has colours that are not read, or too many pixels.
    """
    import tifffile  # takes a quarter of a second to import, and nothing else needs it

    try:
        with _without_log(), tifffile.TiffFile(path) as file:
            tags = {tag.code: tag.value for tag in file.pages[0].aspage().tags}
            refuse_others(tags, pages=len(file.pages), size=path.stat().st_size)
            _require_last(file, file.pages[-1].aspage())
            pages = _wanted(file)
            if not pages:
                raise FileError("all of its pages are reduced copies or masks of others")
            for page in pages:
                _refuse(page)
            # The pixels of all of them, because all are held at once.
            _refuse_bomb(sum(page.imagewidth * page.imagelength for page in pages))
            arrays = [_without_padding(page, _upright(page, path)) for page in pages]
            profiles = [profile_of(_tag(page, _PROFILE)) for page in pages]
            # Pillow turns white that is zero in pages of few bits.
            white_is_zero = [
                page.photometric == _WHITE_IS_ZERO and not _is_small(page) for page in pages
            ]
            dpi = [_resolution(page) for page in pages]
    except FileError:
        raise
    except Exception as error:  # damaged bytes make the decoders raise nearly anything
        if getattr(error, "errno", None):
            raise
        raise FileError(f"damaged or cut short ({one_line(error)})") from error
    dtypes = {array.dtype.newbyteorder("=") for array in arrays}
    if dtypes <= {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return [
            replace(_picture(_black_at_zero(array) if white else array, profile, path), dpi=each)
            for array, profile, white, each in zip(
                arrays, profiles, white_is_zero, dpi, strict=True
            )
        ]
    if len(dtypes) > 1 or any(array.shape[2] not in (1, 3) for array in arrays):
        raise FileError("its pages have alpha or differ in their kind of numbers; save them apart")
    values = [array[..., 0] if array.shape[2] == 1 else array for array in arrays]
    pictures = pictures_of(values, path, shape=(len(values), *values[0].shape))
    return [
        replace(picture, icc_profile=profile, dpi=each)
        for picture, profile, each in zip(pictures, profiles, dpi, strict=True)
    ]


def _require_last(file: "TiffFile", page: "TiffPage") -> None:
    """Refuse a file that names a further page than this one; tifffile passes over what is cut."""
    form, stream = file.tiff, file.filehandle
    stream.seek(page.offset)
    (tags,) = struct.unpack(form.tagnoformat, stream.read(form.tagnosize))
    stream.seek(tags * form.tagsize, os.SEEK_CUR)
    if stream.read(form.offsetsize) != bytes(form.offsetsize):
        raise FileError(f"damaged or cut short (what follows page {len(file.pages)} is missing)")


def _black_at_zero(array: NDArray[Any]) -> NDArray[Any]:
    return ~array if array.dtype == np.uint8 else inverted(array.astype(np.uint16))


def tiff_bytes(pages: Sequence[Picture]) -> bytes:
    """A TIFF file of all pages, compressed without loss."""
    import tifffile

    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for page in pages:
            values = page.values()
            bands = [values] if page.alpha is None else [values, page.alpha]
            samples = np.dstack(bands)
            file.write(
                samples.squeeze(2) if samples.shape[2] == 1 else samples,
                photometric="rgb" if samples.shape[2] > 2 else "minisblack",
                extrasamples=None if page.alpha is None else ["unassalpha"],
                compression="zlib",
                iccprofile=page.icc_profile,
                resolution=page.dpi,
                resolutionunit=None if page.dpi is None else "INCH",
                metadata=None,
            )
    return buffer.getvalue()


def _is_small(page: "TiffPage") -> bool:
    """Whether a page has samples of less than 8 bits, or numbers of colours."""
    return page.bitspersample < 8 or page.photometric == _PALETTE


def _resolution(page: "TiffPage") -> tuple[float, float] | None:
    inches = {2: 1.0, 3: 1 / 2.54}.get(_tag(page, _UNIT))  # of the unit: inch, centimetre
    across, down = (_tag(page, number) for number in _RESOLUTION)
    if inches is None or not (isinstance(across, tuple) and isinstance(down, tuple)):
        return None
    if not across[1] or not down[1]:
        return None
    sides = (number / below / inches for number, below in (across, down))
    return resolution(*sides, orientation=_tag(page, _ORIENTATION))


def _refuse(page: "TiffPage") -> None:
    if _is_small(page) and page.samplesperpixel == 1 and page.imagedepth == 1:
        return
    if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        name = getattr(page.photometric, "name", page.photometric)
        raise FileError(f"a page has {name} colours; save it as grey or RGB")
    if page.imagedepth != 1 or page.samplesperpixel > 4 or page.bitspersample < 8:
        raise FileError(
            f"a page has {page.samplesperpixel} samples of {page.bitspersample} bits a pixel; "
            "save it as grey or RGB with 8 bits or more"
        )


def _refuse_bomb(pixels: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise FileError(f"its pages have {pixels} pixels, the limit is {limit}; save them apart")


def _upright(page: "TiffPage", path: Path) -> NDArray[Any]:
    """The samples of a page as (H, W, 1 to 4)."""
    if _is_small(page):
        return _in_eight_bits(page, path)
    if not _is_decoded(page):
        return np.atleast_3d(_by_pillow(page, path))  # turned by Pillow
    samples = page.asarray()
    if samples.ndim == 2:
        samples = samples[..., np.newaxis]
    elif page.planarconfig == 2:  # one plane a colour
        samples = np.moveaxis(samples, 0, 2)
    return np.ascontiguousarray(upright(samples, _tag(page, _ORIENTATION)))


def _in_eight_bits(page: "TiffPage", path: Path) -> NDArray[np.uint8]:
    """Bilevel and grey pages of few bits as grey, palettes as RGB, turned upright by Pillow."""
    with open_image(path) as image:
        image.seek(page.index)
        bands = "RGB" if page.photometric == _PALETTE else "L"
        return np.atleast_3d(np.asarray(image.convert(bands)))


def _is_decoded(page: "TiffPage") -> bool:
    """Whether tifffile decodes a page; for LZW and others it needs a large package."""
    from tifffile import TIFF

    return page.compression in TIFF.DECOMPRESSORS and page.predictor in TIFF.UNPREDICTORS


def _by_pillow(page: "TiffPage", path: Path) -> NDArray[Any]:
    """The samples of a page as in the file, turned upright."""
    dtype, bands = np.dtype(page.dtype), page.samplesperpixel
    name = getattr(page.compression, "name", page.compression)
    unread = FileError(
        f"a page of {bands} x {page.bitspersample} bits a pixel in {name} compression is not read, "
        "or is damaged; save it without compression, or with that of zip"
    )
    try:
        with open_image(path) as image:
            image.seek(page.index)
            samples = np.asarray(image)
    except FileError as error:
        raise unread from error
    # Pillow shortens colour of 16 bits and floats of 64.
    if samples.dtype.itemsize < dtype.itemsize or np.atleast_3d(samples).shape[2] != bands:
        raise unread
    # It turns white that is zero, of 8 bits alone.
    turned = page.photometric == _WHITE_IS_ZERO and samples.dtype == np.uint8
    return (~samples if turned else samples).astype(dtype)


def _tag(page: "TiffPage", number: int) -> Any:
    tag = page.tags.get(number)
    return None if tag is None else tag.value


def _picture(samples: NDArray[Any], profile: bytes | None, path: Path) -> Picture:
    native = samples.astype(samples.dtype.newbyteorder("="))
    colours = 1 if native.shape[2] < 3 else 3
    pixels = native[..., 0] if colours == 1 else np.ascontiguousarray(native[..., :3])
    alpha = native[..., colours] if native.shape[2] > colours else None
    return Picture(pixels, alpha, profile, path)
