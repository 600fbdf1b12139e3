"""Labelled images from an .npz file, which need not be trusted."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, one_line, require_regular
from sop_classify.data.image_data import ImageData, absent_class

__all__ = ["LARGEST_ARRAY", "REQUIRED_ARRAYS", "read_npz"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

REQUIRED_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
LARGEST_ARRAY = 2**34
"""Bytes of the largest array that is read: five million images of CIFAR's size."""


def read_npz(path: Path) -> ImageData:
    """Read the arrays that `sop_classify.load_data` describes, without unpickling anything.

    Raises
    ------
    FileError
        If the file is damaged, or an array is missing, too large or of another kind.
    ValueError
        If the arrays do not fit together.
    """
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
        if absent < largest:  # refused before two billion classes get a name
            raise FileError(f"class {absent} has no training example; labels go up to {largest}")
        names = tuple(str(label) for label in range(largest + 1))
    sets = {
        key: values.astype(np.int64)
        for key, values in sorted(arrays.items())
        if values.min(initial=0) >= 0 and values.max(initial=0) < len(names)
    }
    try:
        return ImageData(images[0], labels[0], images[1], labels[1], names, path.stem, sets)
    except TypeError as error:  # a wrong dtype is a fault of the file
        raise FileError(str(error)) from error


def _arrays(archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    """The required arrays, ``class_names``, and what is shaped like a set of training labels."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    headers = {name.removesuffix(".npy"): _header(archive, name) for name in names}
    missing = [key for key in REQUIRED_ARRAYS if key not in headers]
    if missing:
        raise FileError(f"it has no {missing[0]}; {', '.join(REQUIRED_ARRAYS)} are needed")
    arrays = {}
    for key, (shape, dtype) in headers.items():
        like_labels = dtype.kind in "iu" and shape == headers["train_labels"][0]
        if key in (*REQUIRED_ARRAYS, "class_names") or like_labels:
            if dtype.hasobject:
                raise FileError(
                    f"{key} holds pickled objects, which are not read; use a plain dtype"
                )
            with archive.open(f"{key}.npy") as stream:
                # Reads to the end of the member, where zipfile compares the checksum.
                arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array, if the file holds as many bytes as they need.

    This is checked before memory is allocated for them.
    """
    with archive.open(name) as stream:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        promised, held = math.prod(shape) * dtype.itemsize, archive.getinfo(name).file_size
        if not dtype.hasobject and stream.tell() + promised != held:
            raise FileError(f"{name} is damaged: it declares {dtype} of shape {shape}")
    if promised > LARGEST_ARRAY:
        raise FileError(f"{name} has {promised} bytes; {LARGEST_ARRAY} at most are read")
    return shape, dtype


def _rgb(images: NDArray[Any]) -> NDArray[Any]:
    """Grey images (N, H, W) get three channels; copied only if necessary."""
    return np.ascontiguousarray(np.stack([images] * 3, axis=-1) if images.ndim == 3 else images)


def _whole(what: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iuf":
        raise FileError(f"{what} are {labels.dtype}; whole numbers are needed")
    with np.errstate(invalid="ignore"):  # NaN becomes some whole number, which does not equal it
        whole = labels.astype(np.int64)
    wrong = labels[(whole != labels) | (whole < 0)]
    if wrong.size:
        raise FileError(f"{what} hold {wrong[0]}; labels are whole numbers from 0")
    return whole
