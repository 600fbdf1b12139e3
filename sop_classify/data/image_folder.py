"""Labelled images from a folder with ``train/<class>/*`` and ``test/<class>/*``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from overparam.files import FileError
from overparam.image_files import open_image
from sop_classify.data.image_data import ImageData

__all__ = ["is_image_folder", "read_image_folder"]

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
    side = image_size or _common_side([*files[0], *files[1]])
    images = [_decode(listed, side) for listed in files]
    name = root.resolve().name
    paths = tuple(file.relative_to(root).as_posix() for file in files[0])
    return ImageData(
        images[0], labels[0], images[1], labels[1], tuple(train), name, train_files=paths
    )


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
        with _opened(file, header_only=True) as image:
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
def _opened(file: Path, *, header_only: bool = False) -> Iterator[ImageFile.ImageFile]:
    """Open an image; a FileError names the file."""
    try:
        with open_image(file, header_only=header_only) as image:
            yield image
    except FileError as error:
        raise FileError(f"{'/'.join(file.parts[-3:])!r}: {error}") from error
