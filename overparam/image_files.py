"""Image files opened by Pillow: known formats only, checked for size and damage."""

import io
import mmap
import os
import random
import re
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from PIL import (
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from overparam.files import FileError, one_line, require_regular_file

__all__ = ["FORMATS", "LARGEST_PNG_PROFILE", "TIFF_SIGNATURES", "open_image"]

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")
"""Names of the formats that are read. Pillow knows some forty, most of them little tested."""

LARGEST_PNG_PROFILE = 2**26
"""Bytes of a colour profile in a PNG, which is compressed there; those of scanners have 2**21."""

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF and BigTIFF files begin, of either byte order."""


@contextmanager
def open_image(
    path: str | os.PathLike[str], *, header_only: bool = False
) -> Generator[ImageFile.ImageFile, None, None]:
    """Open an image; any error of Pillow, also while the image is decoded, becomes a FileError.

    Parameters
    ----------
    path : str or PathLike
        A regular file in one of the `FORMATS`.
    header_only : bool
        Do not look for damage among the pixels, because they will not be decoded.

    Yields
    ------
    PIL.ImageFile.ImageFile
        The header is read, the pixels are not.

    Raises
    ------
    FileError
        If the file is missing, is no regular file, has another format, is damaged (checksums of a
        PNG, tags of a TIFF and the end of a JPEG included), or claims more than
        ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (89 million). The message does not name the file.

    Notes
    -----
    Pillow's remarks on odd tags are Python warnings. They are not suppressed: that would change the
    filters of the whole process, other threads included.
    """
    source = Path(path)
    try:
        require_regular_file(source.stat().st_mode)
        with _opened(source) as image:
            _refuse_bomb(image)
            if not header_only:
                _check_damage(source, image)
            yield image
    except FileError:
        raise
    except UnidentifiedImageError as error:
        raise FileError(_why_unread(source)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's first words name the size, its next ones a limit that is twice ours.
        size = str(error).partition(" exceeds")[0]
        raise FileError(
            f"{size} exceeds limit of {Image.MAX_IMAGE_PIXELS} pixels; crop or downscale it first"
        ) from error
    except Exception as error:
        if getattr(error, "errno", None):
            raise FileError(one_line(error)) from error  # the operating system's, not the image's
        if "MAX_TEXT" in str(error):  # the names of Pillow's limits, against bombs
            raise FileError(
                "it holds a text of more than a megabyte; save it without that"
            ) from error
        # Malformed bytes make the decoders raise nearly anything: OSError, SyntaxError,
        # struct.error, zlib.error, KeyError, IndexError, OverflowError, MemoryError...
        raise FileError(f"damaged or cut short ({one_line(error)})") from error


# What to do with pictures of other formats, by how their files begin.
_CONVERT = "convert it to PNG or TIFF"
_UNREAD = (
    (b"GIF8", "GIF", "save it as PNG, which holds the same colours, each frame as its own file"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", _CONVERT),
    (b"\xff\x4f\xff\x51", "JPEG 2000", _CONVERT),
    (b"\0\0\0\x0cJXL ", "JPEG XL", _CONVERT),
    (b"\xff\x0a", "JPEG XL", _CONVERT),
    (b"8BPS", "Photoshop", "save it as PNG or TIFF"),
    (b"%PDF", "PDF", "save the pictures in it as PNG or TIFF"),
)
# Those of files that begin with a box "ftyp".
_BRANDS = (
    *((brand, "AVIF") for brand in (b"avif", b"avis")),
    *((brand, "HEIC") for brand in (b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis")),
    *((brand, "HEIC") for brand in (b"hevc", b"hevx")),
    (b"crx ", "CR3"),
)


def _why_unread(path: Path) -> str:
    """What to say of a file that Pillow does not open as one of our formats."""
    head = b""
    with suppress(OSError), path.open("rb") as stream:
        head = stream.read(64)
    for start, name, advice in _UNREAD:
        if head.startswith(start):
            return f"it is a file of the format {name}, which is not read; {advice}"
    if head[4:8] == b"ftyp":
        # The brand, the number of its version, and those that the file agrees with.
        end = min(len(head), int.from_bytes(head[:4]))
        brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
        for brand, name in _BRANDS:
            if brand in brands:
                return f"it is a file of the format {name}, which is not read; {_CONVERT}"
    if head.startswith(TIFF_SIGNATURES):
        return (
            "a TIFF with samples of a kind that is not read, or a damaged one; save it as grey or "
            "RGB, with 8 or 16 bits a sample"
        )
    return "not an image, or a damaged one (PNG, JPEG, TIFF, WebP, BMP, PPM are read)"


def _opened(path: Path) -> ImageFile.ImageFile:
    """Open a file of the known formats, with the profile of a PNG of any size up to our limit.

    Pillow's own limit of a megabyte is a variable of its module, and so one of the whole process.
    """
    with path.open("rb") as stream:
        places, profile = _png_profiles(stream)
        if not places or 0 < len(profile) <= PngImagePlugin.MAX_TEXT_CHUNK:
            return Image.open(path, formats=FORMATS)
        if len(profile) > LARGEST_PNG_PROFILE:
            raise FileError(
                f"it holds a colour profile of more than {LARGEST_PNG_PROFILE} bytes; "
                "save it without that"
            )
        stream.seek(0)
        data = bytearray(stream.read())
    for start, end in reversed(places):
        del data[start:end]
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    image.info["icc_profile"] = profile or None
    return image


def _png_profiles(stream: BinaryIO) -> tuple[list[tuple[int, int]], bytes]:
    """Find the colour profiles of a file that may be a PNG.

    Returns
    -------
    places : list of (int, int)
        From which byte to which they are; one, in sound files.
    profile : bytes
        The largest, cut a byte beyond the limit; empty if there is none or it is damaged.
    """
    places: list[tuple[int, int]] = []
    profile = b""
    size = os.fstat(stream.fileno()).st_size
    if stream.read(8) != _PNG_SIGNATURE:
        return places, profile
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        start = stream.tell() - 8
        # After these kinds there is no profile; a length that is made up would take memory.
        if kind in (b"IDAT", b"IEND") or start + length > size:
            break
        if kind == b"iCCP":
            compressed = stream.read(length).partition(b"\0")[2][1:]
            with suppress(zlib.error):
                found = zlib.decompressobj().decompress(compressed, LARGEST_PNG_PROFILE + 1)
                profile = max(profile, found, key=len)
            places.append((start, start + length + 12))
        stream.seek(start + length + 12)
    return places, profile


def _refuse_bomb(image: ImageFile.ImageFile) -> None:
    # Pillow refuses twice the limit, and only warns of what is between.
    limit, pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit is not None and pixels > limit:
        raise FileError(
            f"Image size ({pixels} pixels) exceeds limit of {limit} pixels; "
            "crop or downscale it first"
        )


def _check_damage(path: Path, image: ImageFile.ImageFile) -> None:
    """Refuse what Pillow passes over: it would read another picture without a word."""
    if image.format == "PNG":
        _check_png(path)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(path, samples=image.tag_v2.get(277, 1))
    elif isinstance(image, JpegImagePlugin.JpegImageFile):
        _check_jpeg(path, progressive="progressive" in image.info)


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _check_png(path: Path) -> None:
    """Compare every checksum and count the pixels; Pillow fills missing ones with black."""
    inflate, inflated, needed = zlib.decompressobj(), 0, 0
    with path.open("rb") as stream:
        stream.seek(len(_PNG_SIGNATURE))
        kind = b""
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", _exactly(stream, 8))
            checksum = zlib.crc32(kind)
            while length:
                block = _exactly(stream, min(length, 2**20))
                checksum = zlib.crc32(block, checksum)
                length -= len(block)
                if kind == b"IHDR":
                    needed = _png_size(block)
                while kind == b"IDAT" and block and inflated < needed and not inflate.eof:
                    inflated += len(inflate.decompress(block, 2**20))
                    block = inflate.unconsumed_tail
            if checksum != int.from_bytes(_exactly(stream, 4)):
                name = ascii(kind.decode("latin-1"))  # damaged bytes may be a line break
                raise FileError(f"damaged: the checksum of its {name} differs")
    if inflated < needed:
        raise FileError(f"damaged: it has {inflated} of {needed} bytes of pixels")


# Adam7, the interlacing of PNG: first column, first row, step of columns, step of rows.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip


def _png_size(header: bytes) -> int:
    """Bytes of the rows of a PNG, each with its filter's byte, from its first chunk."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    size = 0
    for column, row, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - column) // across), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + -(-columns * bits // 8))
    return size


# Bytes of a value, by TIFF's number of its type.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_MOST_TAGS = 1000  # a file has some 20; those of one maker's camera may be a hundred
# Width, height, compression, photometric interpretation, fill order, orientation, samples per
# pixel, rows per strip, planes and predictor have one value.
_TIFF_SINGLE = (256, 257, 259, 262, 266, 274, 277, 278, 284, 317)
_BITS, _STRIP_OFFSETS, _STRIP_SIZES = 258, 273, 279


def _check_tiff(path: Path, samples: int) -> None:
    """Look whether the tags of the first page have possible counts; Pillow skips those that do not.

    Parameters
    ----------
    path : Path
    samples : int
        Samples per pixel.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = _exactly(stream, 8)
        order = "<" if header[:2] == b"II" else ">"
        big = 43 in header[2:4]  # BigTIFF has numbers of 8 bytes, and begins with their size
        word, count = ("Q", "Q") if big else ("I", "H")

        def numbers(form: str) -> tuple[int, ...]:
            return struct.unpack(order + form, _exactly(stream, struct.calcsize(order + form)))

        stream.seek(8 if big else 4)
        stream.seek(*numbers(word))
        (tags,) = numbers(count)
        if tags > _MOST_TAGS:
            raise FileError(f"damaged: it claims {tags} tags")
        found: dict[int, int] = {}
        for _ in range(tags):
            tag, kind, values, offset = numbers("HH" + 2 * word)
            needed = values * _TIFF_SIZES.get(kind, 0)
            beyond = needed > struct.calcsize(order + word) and offset + needed > size
            if beyond or (tag in _TIFF_SINGLE and values != 1):
                raise FileError(f"damaged: its tag {tag} claims {values} values")
            found[tag] = values
        if found.get(_BITS, 1) not in (1, samples):
            raise FileError(f"damaged: it has {samples} samples of {found[_BITS]} depths")
        strips = found.get(_STRIP_OFFSETS)
        if found.get(_STRIP_SIZES, strips) != strips:
            raise FileError(f"damaged: it claims {strips} strips of {found[_STRIP_SIZES]} sizes")


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
# In the data of a scan: no restart, which is a part of them.
_JPEG_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # frames in which zeros at the end are left out


def _jpeg_padding(filling: bytes) -> bytes:
    restarts = [bytes([0xFF, 0xD0 + number]) + filling for number in range(8)]
    return filling + b"".join(restarts) + bytes([0xFF, _END])


# Without 255, which would begin a marker, and 0, which could follow a real 255. In tests the first
# told of all cuts in baseline files; of those in progressive ones the second missed the fewest.
_PADDING = _jpeg_padding(bytes(random.Random(1).choices(range(1, 255), k=64)))  # noqa: S311
_PROGRESSIVE_PADDING = _jpeg_padding(b"\xaa" * 64)
_LARGE = 2**16  # pixels, above which an eighth of the size is enough to see what is missing


def _check_jpeg(path: Path, *, progressive: bool) -> None:
    """Look whether the last scan is complete; libjpeg fills up what is missing with grey.

    It does that when it meets the marker of the end too early. So other bytes are put before that
    marker: they change the picture if, and only if, something was missing. Of a progressive JPEG
    that ends between two scans nothing is missing but sharpness.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = _end_of_jpeg(data)
        if end is None:
            return
        sound = data[:end].rstrip(b"\xff")  # bytes 255 before a marker mean nothing
    padding = _PROGRESSIVE_PADDING if progressive else _PADDING
    pixels = _jpeg_pixels(sound + bytes([0xFF, _END]), progressive=progressive)
    try:
        padded = _jpeg_pixels(sound + padding, progressive=progressive)
    except OSError:  # bytes that mean nothing in the place of some that are missing
        padded = b""
    if padded != pixels:
        raise FileError("damaged or cut short (its last rows are missing)")


def _jpeg_pixels(data: bytes, *, progressive: bool) -> bytes:
    # Not Image.open, which would look for the further pictures of a camera's file.
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if image.width * image.height > _LARGE and not progressive:
        # The last scan of a progressive file has details alone, which would not be seen.
        image.draft(None, (image.width // 8, image.height // 8))
    return image.tobytes()


def _end_of_jpeg(data: mmap.mmap) -> int | None:
    """Where the marker of the end is; None if there is none, or if it may come early."""
    place = 2
    while marker := _JPEG_MARKER.search(data, place):
        kind, place = marker[1][0], marker.end()
        if kind == _END:
            return marker.start()
        if kind in _ARITHMETIC:
            return None
        if kind in _ALONE:
            continue
        place += int.from_bytes(data[place : place + 2])
        if kind == _SCAN:
            end = _JPEG_END_OF_SCAN.search(data, place)
            if end is None:
                return None
            place = end.start()
    return None


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise FileError("damaged or cut short (it ends too early)")
    return data
