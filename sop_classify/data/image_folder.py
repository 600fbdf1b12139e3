"""Labelled images from a folder with ``train/<class>/*`` and ``test/<class>/*``."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from overparam.files import FileError, one_line, require_regular
from sop_classify.data.image_data import ImageData

__all__ = ["is_image_folder", "read_image_folder"]

# Pillow reads some forty formats, most of which are rarely used and little tested.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")
# Pillow's modes of 8 bits or less a sample.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_CIFAR_SIDE, _LARGEST_KEPT = 32, 64  # pixels


def is_image_folder(root: Path) -> bool:
    """Whether a folder holds ``train`` and ``test``."""
    return all((root / split).is_dir() for split in ("train", "test"))


def read_image_folder(root: Path, image_size: int | None) -> ImageData:
    """Read ``train/<class>/*`` and ``test/<class>/*``; see `sop_classify.load_data`.

    Raises
    ------
    FileError
        If a class is in one part only or has no image, or an image cannot be read.
    """
    train, test = _classes(root / "train"), _classes(root / "test")
    for name in sorted(train.keys() ^ test.keys()):
        only, other = ("train", "test") if name in train else ("test", "train")
        raise FileError(f"class {name!r} is in {only}/ and not in {other}/")

    files = [[file for listed in split.values() for file in listed] for split in (train, test)]
    labels = [
        np.arange(len(split), dtype=np.int64).repeat([*map(len, split.values())])
        for split in (train, test)
    ]
    with warnings.catch_warnings():
        # Warnings about odd tags and transparency do not concern the pixels; those about a
        # decompression bomb do.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        side = image_size or _common_side([*files[0], *files[1]])
        images = [_decode(listed, side) for listed in files]
    name = root.resolve().name
    return ImageData(images[0], labels[0], images[1], labels[1], tuple(train), name)


def _classes(folder: Path) -> dict[str, list[Path]]:
    """The images of every class, in the order of their names."""
    classes = {entry.name: _visible(entry) for entry in _visible(folder) if entry.is_dir()}
    if len(classes) < 2:
        raise FileError(f"{folder.name}/ has {len(classes)} class folders; 2 or more are needed")
    for name, files in classes.items():
        if not files:
            raise FileError(f"class {name!r} has no image in {folder.name}/")
    return classes


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _common_side(files: list[Path]) -> int:
    sizes: set[tuple[int, int]] = set()
    for file in files:
        with _opened(file) as image:  # reads the header alone
            sizes.add(image.size)
        if len(sizes) > 1:
            return _CIFAR_SIDE
    width, height = sizes.pop()
    return width if width == height <= _LARGEST_KEPT else _CIFAR_SIDE


def _decode(files: list[Path], side: int) -> NDArray[np.uint8]:
    images = np.empty((len(files), side, side, 3), np.uint8)
    for place, file in enumerate(files):
        with _opened(file) as image:
            if image.mode not in _MODES:
                raise FileError(f"its pixels are {image.mode}; save it with 8 bits a sample")
            # A large JPEG decodes many times faster at reduced size. Four times the final side is
            # enough for the filter.
            image.draft(None, (4 * side, 4 * side))
            resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            images[place] = np.asarray(resized)
    return images


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image; everything that Pillow raises becomes a FileError that names the file."""
    try:
        require_regular(file.stat().st_mode)
        with Image.open(file, formats=_FORMATS) as image:
            yield image
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            reason = f"not an image, or a damaged one ({', '.join(_FORMATS)} are read); remove it"
        elif isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            # Pillow's first clause names the size and the limit.
            reason = f"{str(error).partition(',')[0]}; downscale it first"
        elif isinstance(error, FileError) or getattr(error, "errno", None):
            reason = one_line(error)
        else:  # malformed bytes make the decoders raise nearly anything
            reason = f"damaged or cut short ({one_line(error)})"
        raise FileError(f"{'/'.join(file.parts[-3:])!r}: {reason}") from error
