"""The pixels of image files at one size, in a file that is mapped into memory.

The file lies in the user's cache and is made once for each state of the data: its name holds a sum
over the paths, sizes and times of all image files. When they change it is made again, and the old
one is removed. So 100,000 images of 224x224 need 15 GB of disk and no memory to speak of.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, ImageOps

from overparam.files import FileError, file_errors, unfinished
from overparam.image_files import open_image

__all__ = [
    "LARGEST",
    "SMALLEST",
    "Pixels",
    "bits_in_use",
    "cache_folder",
    "common_side",
    "decode",
    "read_pixels",
    "rows",
    "upright",
]

SMALLEST, LARGEST = 16, 224
"""Sides in pixels that images are resized to: from what the networks need to what is usual."""

_USUAL, _LARGEST_KEPT = 32, 64
_LOOKED_AT = 100  # files, to see whether all have one size
_IN_MEMORY = 2**30  # bytes that may be copied in memory
_VERSION = 4  # of what `decode` does
# Of 16-bit samples, so many may be larger than the bits in use hold: a hot pixel in a thousand.
_STRAY = 0.001
_PIXELS, _FACTS = "pixels", "facts.json"
# Pillow's modes of 16 bits; those of 8 bits or less.
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_EIGHT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa")


Bits = int | Callable[[], int | None] | None
"""Bits in use of 16: their number, a function that tells it, or None for those of each image."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images of one size.

    Attributes
    ----------
    images : ndarray, shape (n, side, side, 3), uint8
        Those that could be read, in the order of the files. Mapped from `path`, to be read only:
        what is written into it may be forgotten.
    unreadable : mapping of int to str
        Position of each file that could not be read, and why.
    path : Path
        The file in the cache.
    bits : int or None
        In use in files of 16 bits, see `bits_in_use`; None if there are none.
    """

    images: NDArray[np.uint8]
    unreadable: Mapping[int, str]
    path: Path
    bits: int | None = None


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/robustdip``, or ``~/.cache/robustdip``.

    Raises
    ------
    FileError
        If there is no home folder.
    """
    try:
        if folder := os.environ.get("XDG_CACHE_HOME"):
            return Path(folder).expanduser() / "robustdip"
        return Path.home() / ".cache" / "robustdip"
    except RuntimeError as error:  # no HOME and a user without an entry, as in containers
        raise FileError(
            "there is no home folder to keep data sets in; set HOME or XDG_CACHE_HOME, or say "
            "where the images are (path, --data)"
        ) from error


def common_side(files: Sequence[Path]) -> int:
    """The side of images that are squares of one size up to 64 pixels, 16 at least; 32 for others.

    A hundred of the files are looked at.
    """
    sizes: set[tuple[int, int]] = set()
    for file in files[:: -(-len(files) // _LOOKED_AT)]:
        with suppress(FileError), open_image(file) as image:
            sizes.add(image.size)
        if len(sizes) > 1:
            return _USUAL
    width, height = sizes.pop() if sizes else (0, 1)
    return max(width, SMALLEST) if width == height <= _LARGEST_KEPT else _USUAL


def decode(
    file: Path, height: int, width: int | None = None, *, bits: Bits = None
) -> NDArray[np.uint8]:
    """Read an image as `upright` does, the short side resized, the rest cut off.

    Parameters
    ----------
    file : Path
    height, width : int
        In pixels; by default a square.
    bits : int or callable, optional
        See `upright`.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8

    Raises
    ------
    FileError
        If it is no image, damaged, or has other samples than 8 or 16 bits.
    """
    width = height if width is None else width
    picture = upright(file, max(height, width), bits=bits)
    fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def upright(file: Path, side: int, *, bits: Bits = None) -> Image.Image:
    """Read an image as RGB: upright by its EXIF tag; a large JPEG reduced, not below twice `side`.

    Transparent parts become white. Of an animation the first frame is read.

    Parameters
    ----------
    file : Path
    side : int
        In pixels.
    bits : int or callable, optional
        Bits in use of samples of 16 bits, of which the upper eight are kept, or a function that
        tells it, which is called for such a file only. By default those of this image; but images
        that are compared must not differ in scale.

    Raises
    ------
    FileError
        As `decode`.
    """
    with open_image(file) as image:
        # A large JPEG decodes many times faster at reduced size. Twice the final side is enough for
        # the filter.
        image.draft(None, (2 * side, 2 * side))
        picture: Image.Image = ImageOps.exif_transpose(image)
        if _is_deep(picture):
            values = _samples(picture)
            told = bits() if callable(bits) else bits
            unused = (_bits_of(values) if told is None else told) - 8
            picture = Image.fromarray((values >> unused).clip(max=255).astype(np.uint8))
        elif picture.mode not in _EIGHT:
            raise FileError(f"its pixels are {picture.mode}; save it with 8 or 16 bits a sample")
        if picture.has_transparency_data:
            opaque = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
        return picture.convert("RGB")


def bits_in_use(files: Sequence[Path]) -> int | None:
    """Bits that the samples of files of 16 bits take up: 8 to 16, the same for all of them.

    A sensor has 10 to 14, which 16 store. One sample in a thousand of an image may be larger.

    Parameters
    ----------
    files : sequence of Path
        Those that cannot be read, and those of 8 bits, do not count.

    Returns
    -------
    int or None
        None if no file has 16 bits.
    """
    found = None
    for file in files:
        with suppress(FileError), open_image(file) as image:
            if _is_deep(image):
                found = max(found or 0, _bits_of(_samples(image)))
    return found


def _is_deep(image: Image.Image) -> bool:
    return image.mode in _SIXTEEN or image.mode == "I"


def _samples(image: Image.Image) -> NDArray[Any]:
    values = np.asarray(image)
    if values.min() < 0:
        raise FileError("it has samples below 0; save it with values from 0 to 65535")
    if values.max() > 65535:
        raise FileError("its samples have more than 16 bits; save it with 8 or 16")
    return values


def _bits_of(values: NDArray[Any]) -> int:
    last = values.size - 1 - int(_STRAY * values.size)
    return max(8, int(np.partition(values, last, axis=None)[last]).bit_length())


class _SharedBits:
    """`bits_in_use` of files, looked for when the first of 16 bits is read."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.found: int | None = None
        self._files = files

    def __call__(self) -> int | None:
        if self.found is None:
            self.found = bits_in_use(self._files)
        return self.found


def read_pixels(
    place: Path,
    files: Sequence[Path],
    side: int,
    *,
    cache: Path | None = None,
    on_image: Callable[[float, float], None] | None = None,
) -> Pixels:
    """The images of all files that can be read, from the cache if they are there.

    Parameters
    ----------
    place : Path
        What the files belong to. The cache keeps one state of each place and size.
    files : sequence of Path
    side : int
        In pixels.
    cache : Path, optional
        Folder to keep the pixels in; by default `cache_folder`.
    on_image : callable, optional
        Called with (images done, all images) while files are decoded.

    Raises
    ------
    FileError
        If the cache cannot be written or has too little space.
    """
    folder = cache_folder() / "pixels" if cache is None else cache
    with file_errors("keep the pixels in", folder):
        folder.mkdir(parents=True, exist_ok=True)
        prefix = f"{_sum([str(place.resolve())])[:16]}-{side}px"
        kept = folder / f"{prefix}-{_state(files)[:16]}"
        # One process makes them; another that wants the same waits, and finds them.
        with FileLock(folder / f"{prefix}.lock"):
            found = _open(kept, side)
            # What could not be read may be readable now, and as old as before: with other
            # permissions, say, or on a drive that has come back.
            if found is not None and not any(_decodes(files[at], side) for at in found.unreadable):
                return found
            part = Path(tempfile.mkdtemp(prefix=f"{prefix}-part-", dir=folder))
            try:
                # A signal that ends the program at once removes what is named here.
                with unfinished(part, part / _PIXELS, part / _FACTS):
                    _fill(part, files, side, on_image)
                    for old in folder.glob(f"{prefix}-*"):
                        if old != part:
                            shutil.rmtree(old, ignore_errors=True)
                    part.replace(kept)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        found = _open(kept, side)
        if found is None:
            raise FileError(f"{kept.name} was removed or changed at once; try again")
        return found


def rows(images: NDArray[np.uint8], index: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some of the images: a view of neighbours, else a copy, which lies on disk if it is large.

    Parameters
    ----------
    images : ndarray, shape (N, H, W, 3), uint8
    index : ndarray, shape (n,), int64
        Increasing.
    """
    if index.size and index[-1] - index[0] + 1 == index.size:
        return images[index[0] : index[-1] + 1]
    shape = (index.size, *images.shape[1:])
    if index.size * images[0].nbytes <= _IN_MEMORY:
        copied = images[index]
        _release(images)
        return copied
    folder = cache_folder() / "pixels"
    with file_errors("keep the pixels in", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as nameless:  # its space is free after the last use
            part = np.memmap(nameless, np.uint8, "w+", shape=shape)
    for start in range(0, index.size, 128):
        part[start : start + 128] = images[index[start : start + 128]]
        for mapped in (images, part):
            _release(mapped)
    return part


def _release(mapped: NDArray[np.uint8]) -> None:
    """Let the memory of a mapped file go; what is read again comes from the file."""
    base: Any = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows lacks it
        base.madvise(mmap.MADV_DONTNEED)


def _sum(words: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for word in words:
        digest.update(os.fsencode(word) + b"\0")
    return digest.hexdigest()


def _state(files: Sequence[Path]) -> str:
    """A sum that changes with every change of the files, as far as sizes and times show it."""
    words = [f"version {_VERSION}"]
    for file in files:
        try:
            status = file.stat()
            words.append(f"{file} {status.st_size} {status.st_mtime_ns}")
        except OSError:
            words.append(f"{file} is missing")
    return _sum(words)


def _open(folder: Path, side: int) -> Pixels | None:
    """What the cache holds, unless it is missing or damaged."""
    path = folder / _PIXELS
    try:
        files, pairs, bits = json.loads((folder / _FACTS).read_text())
        bits = None if bits is None else int(bits)
        unreadable = {int(at): str(reason) for at, reason in pairs}
        shape = (files - len(unreadable), side, side, 3)
        if path.stat().st_size != math.prod(shape):
            return None
        if not shape[0]:  # an empty file cannot be mapped
            return Pixels(np.empty(shape, np.uint8), unreadable, path, bits)
        # "c": a tensor can share the memory, and the file stays as it is.
        return Pixels(np.memmap(path, np.uint8, "c", shape=shape), unreadable, path, bits)
    except (OSError, ValueError, TypeError):
        return None


def _decodes(file: Path, side: int) -> bool:
    with suppress(FileError):
        decode(file, side)
        return True
    return False


def _fill(
    folder: Path,
    files: Sequence[Path],
    side: int,
    on_image: Callable[[float, float], None] | None,
) -> None:
    needed, free = len(files) * side * side * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise FileError(
            f"{len(files)} images of {side}x{side} need {needed} bytes, and {free} are free; "
            "choose a smaller size, or another XDG_CACHE_HOME"
        )
    unreadable: dict[int, str] = {}
    bits = _SharedBits(files)
    with (folder / _PIXELS).open("xb") as stream:
        for at, file in enumerate(files):
            if on_image is not None:
                on_image(at, len(files))
            try:
                stream.write(decode(file, side, bits=bits).tobytes())
            except FileError as error:
                unreadable[at] = str(error)
    if on_image is not None and files:  # of none there is no part that is done
        on_image(len(files), len(files))
    facts = [len(files), list(unreadable.items()), bits.found]
    (folder / _FACTS).write_text(json.dumps(facts))
