"""Labelled images from files: CIFAR-10 and CIFAR-100, a folder of images, or an .npz file.

Nothing is unpickled but CIFAR files whose md5 sums are the published ones.
"""

import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from overparam.files import FileError, naming, one_line, require_regular
from sop_classify.data.image_data import ImageData, absent_class

__all__ = ["load_data"]

StrPath = str | os.PathLike[str]

_CIFAR = {  # name -> torchvision's reader, and its folder
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
_REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
_ELSEWHERE = (
    f"an image folder (train/<class>/* and test/<class>/*) or an .npz file ({', '.join(_REQUIRED)})"
)


def load_data(
    dataset: str = "cifar10",
    *,
    path: StrPath | None = None,
    download: bool = True,
    image_size: int | None = None,
) -> ImageData:
    """Read a data set whole into memory.

    Parameters
    ----------
    dataset : str
        ``cifar10`` or ``cifar100``: which one to read without a `path`, or from a `path` that
        holds both. An image folder or an .npz file is what it is.
    path : str or PathLike, optional
        One of

        - a folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``;
        - an image folder: ``train/<class>/*`` and ``test/<class>/*`` in PNG, JPEG, TIFF, WebP, BMP
          or PPM of 8 bits. The folders' sorted names are the classes. Grey and palettes become
          RGB; alpha, EXIF and names that begin with a dot are ignored; of an animation the first
          frame is read;
        - an .npz file: ``train_images`` (N, H, W, 3), or grey (N, H, W), uint8; ``train_labels``
          (N,), whole numbers from 0; ``test_images``; ``test_labels``; optionally ``class_names``
          (C,). Other arrays of N integers in [0, C) become `ImageData.label_sets`.

        Without it, torchvision's files in ``$XDG_CACHE_HOME/robustdip`` (``~/.cache/robustdip``).
    download : bool
        Without a `path`, download what is missing: 170 MB.
    image_size : int, optional
        Side in pixels to which the images of an image folder are stretched. By default their own
        if they are squares of one size up to 64 pixels, otherwise 32, as in CIFAR. Other data is
        not resized: it must have this size.

    Returns
    -------
    ImageData

    Raises
    ------
    FileError
        If something cannot be downloaded, read or understood, a class has no image, or more than
        0.2 % of the test images are also training images, byte for byte (not looked for in the
        official CIFAR files).
    ValueError
        If `dataset` or `image_size` is none of the above.

    Warns
    -----
    UserWarning
        If a test image is also a training image, up to those 0.2 %.
    """
    if dataset not in _CIFAR:
        raise ValueError(f"unknown dataset {dataset!r}; use one of {', '.join(_CIFAR)}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size is {image_size}; a side in pixels, 1 or more, is needed")
    if path is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "robustdip"
        with naming(f"{'download' if download else 'find'} {dataset} in", cache):
            data = _read_cifar(dataset, cache, download=download)
    else:
        with naming("read", path):
            data = _read_path(dataset, Path(path), image_size)
    height, width = data.train_images.shape[1:3]
    if image_size is not None and (height, width) != (image_size, image_size):
        raise ValueError(
            f"image_size is {image_size} and the images are {height}x{width}; only those of an "
            "image folder are resized"
        )
    return data


def _read_path(dataset: str, path: Path, image_size: int | None) -> ImageData:
    present = [key for key, (_, folder) in _CIFAR.items() if (path / folder).is_dir()]
    if dataset in present:
        return _read_cifar(dataset, path, download=False)
    if present:
        raise FileError(f"it holds {present[0]}; choose that dataset instead of {dataset}")
    data = _read_folder(path, image_size) if path.is_dir() else _read_npz(path)
    _check_overlap(data)
    return data


def _check_overlap(data: ImageData) -> None:
    test_images = [image.tobytes() for image in data.test_images]
    wanted = set(test_images)
    places: dict[bytes, int] = {}  # image in both sets -> its first place in the training set
    for place, image in enumerate(data.train_images):
        if (pixels := image.tobytes()) in wanted:
            places.setdefault(pixels, place)
    shared = [place for place, pixels in enumerate(test_images) if pixels in places]
    if not shared:
        return
    message = (
        f"{len(shared)} of {len(test_images)} test images are also training images (test image "
        f"{shared[0]} is training image {places[test_images[shared[0]]]})"
    )
    # Published sets have up to 0.1 %: 10 of 10,000 in CIFAR-100 (the lists of ciFAIR, arXiv
    # 1902.00423) and in Fashion-MNIST. Twice that moves an accuracy by 0.2 points at most.
    if len(shared) > 0.002 * len(test_images):
        raise FileError(f"{message}; use a test set of other images")
    warnings.warn(f"{data.name}: {message}", stacklevel=4)  # load_data's caller


def _read_cifar(dataset: str, root: Path, *, download: bool) -> ImageData:
    from torchvision import datasets  # seconds to import

    reader_name, folder = _CIFAR[dataset]
    reader = getattr(datasets, reader_name)
    try:
        # Compares the md5 sum of every file with the published one before it unpickles any.
        train, test = reader(root, train=True, download=download), reader(root, train=False)
    except (OSError, RuntimeError, HTTPException) as error:
        # torchvision's own RuntimeError advises an argument that is not ours.
        reason = "" if isinstance(error, RuntimeError) else f" ({one_line(error)})"
        raise FileError(
            f"{folder} is missing, incomplete or corrupt{reason}; as data give a folder that holds "
            f"it intact, {_ELSEWHERE}"
        ) from error
    return ImageData(
        np.ascontiguousarray(train.data),
        np.asarray(train.targets, np.int64),
        np.ascontiguousarray(test.data),
        np.asarray(test.targets, np.int64),
        tuple(train.classes),
        dataset,
    )


# --- image folder --------------------------------------------------------------------------

# An allow-list: Pillow knows some forty formats, most of them little used and little tested.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # 8 bits at most
_CIFAR_SIDE, _LARGEST_KEPT = 32, 64  # pixels


def _read_folder(root: Path, image_size: int | None) -> ImageData:
    if not all((root / split).is_dir() for split in ("train", "test")):
        holders = " nor ".join(folder for _, folder in _CIFAR.values())
        raise FileError(f"it holds neither {holders} nor train/ and test/; give {_ELSEWHERE}")
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
        # Remarks on odd tags and transparency do not concern the pixels; a bomb does.
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
            # A large JPEG decodes many times faster at a fraction of its size; four times the
            # side leaves the filter enough.
            image.draft(None, (4 * side, 4 * side))
            resized = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            images[place] = np.asarray(resized)
    return images


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """An image of the folder; whatever Pillow raises comes out as a FileError that names it."""
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


# --- .npz file -----------------------------------------------------------------------------

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_LARGEST_ARRAY = 2**34  # bytes: five million images of CIFAR's size


def _read_npz(path: Path) -> ImageData:
    require_regular(path.stat().st_mode)
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(archive)
    except (FileError, OSError):
        raise
    except Exception as error:  # malformed bytes make zipfile and numpy raise nearly anything
        raise FileError(f"not an .npz file, or a damaged one ({one_line(error)})") from error

    images = [_rgb(arrays.pop(key)) for key in ("train_images", "test_images")]
    labels = [_whole(key, arrays.pop(key)) for key in ("train_labels", "test_labels")]
    if "class_names" in arrays:
        names = tuple(arrays.pop("class_names").astype(str).ravel().tolist())
    else:
        largest = max(int(split.max(initial=0)) for split in labels)
        absent = absent_class(labels[0])
        if absent < largest:  # said before two billion classes get a name
            raise FileError(f"class {absent} has no training example; labels go up to {largest}")
        names = tuple(str(label) for label in range(largest + 1))
    sets = {
        key: values.astype(np.int64)
        for key, values in sorted(arrays.items())
        if values.min(initial=0) >= 0 and values.max(initial=0) < len(names)
    }
    try:
        return ImageData(images[0], labels[0], images[1], labels[1], names, path.stem, sets)
    except TypeError as error:  # a dtype: of a file it is the file's fault
        raise FileError(str(error)) from error


def _arrays(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """The required arrays, ``class_names``, and what is shaped like a set of training labels."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    headers = {name.removesuffix(".npy"): _header(archive, name) for name in names}
    missing = [key for key in _REQUIRED if key not in headers]
    if missing:
        raise FileError(f"it has no {missing[0]}; {', '.join(_REQUIRED)} are needed")
    arrays = {}
    for key, (shape, dtype) in headers.items():
        like_labels = dtype.kind in "iu" and shape == headers["train_labels"][0]
        if key in (*_REQUIRED, "class_names") or like_labels:
            if dtype.hasobject:
                raise FileError(
                    f"{key} holds pickled objects, which are not read; use a plain dtype"
                )
            with archive.open(f"{key}.npy") as stream:
                # To the end of the member, where the zip compares its checksum.
                arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype; what they promise must be there before memory is set aside for it."""
    with archive.open(name) as stream:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        promised, held = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size
        if not dtype.hasobject and stream.tell() + promised != held:
            raise FileError(f"{name} is damaged: it declares {dtype} of shape {shape}")
    if promised > _LARGEST_ARRAY:
        raise FileError(f"{name} has {promised} bytes; {_LARGEST_ARRAY} at most are read")
    return shape, dtype


def _rgb(images: NDArray[Any]) -> NDArray[Any]:
    """Grey (N, H, W) in three channels; a copy only where one is needed."""
    return np.ascontiguousarray(np.stack([images] * 3, axis=-1) if images.ndim == 3 else images)


def _whole(what: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iuf":
        raise FileError(f"{what} are {labels.dtype}; whole numbers are needed")
    with np.errstate(invalid="ignore"):  # NaN becomes a whole number, which it does not equal
        whole = labels.astype(np.int64)
    wrong = labels[(whole != labels) | (whole < 0)]
    if wrong.size:
        raise FileError(f"{what} hold {wrong[0]}; labels are whole numbers from 0")
    return whole
