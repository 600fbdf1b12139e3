"""Labelled images from an .npz file, which need not be trusted."""

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, one_line, require_regular_file
from overparam.memory import memory_free
from sop_classify.data.image_data import ImageData, absent_class, check_image_shape

__all__ = ["REQUIRED_ARRAYS", "Header", "read_arrays", "read_npz", "whole_labels"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

REQUIRED_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_UNUSED = ("val_images", "val_labels")
_LONGEST_HEADER = 2**16  # bytes; numpy itself refuses more than 10,000 unless told


@dataclass(frozen=True)
class Header:
    """What an array in an .npz file says about itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(path: Path) -> ImageData:
    """Read the arrays that `sop_classify.load_data` describes, without unpickling anything.

    Raises
    ------
    FileError
        If the file is damaged, or an array is missing, too large or of another kind.
    ValueError
        If the arrays do not fit together.

    Warns
    -----
    UserWarning
        If there are validation images, which are not read.
    """
    unused: list[str] = []

    def wanted(headers: Mapping[str, Header]) -> list[str]:
        unused.extend(key for key in _UNUSED if key in headers)
        return _wanted(headers)

    arrays = read_arrays(path, wanted)
    if unused:
        warnings.warn(
            f"{path.stem}: {' and '.join(unused)} left unused; accuracies are those on the test "
            "images",
            stacklevel=4,  # load_data's caller
        )
    images = [arrays.pop(key) for key in ("train_images", "test_images")]
    labels = [whole_labels(key, arrays.pop(key)) for key in ("train_labels", "test_labels")]
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


def read_arrays(
    path: Path, wanted: Callable[[Mapping[str, Header]], Collection[str]]
) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file that need not be trusted.

    Only the headers are decompressed before it is known that the arrays fit into memory.

    Parameters
    ----------
    path : Path
    wanted : callable
        From the header of every array, by name, to the names of those to read; or raises FileError.

    Raises
    ------
    FileError
        If the file is damaged, or an array holds Python objects, or all together need more memory
        than is free.
    """
    require_regular_file(path.stat().st_mode)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            headers = {name.removesuffix(".npy"): _header(archive, name) for name in names}
            chosen = {key: headers[key] for key in wanted(headers)}
            for key, header in chosen.items():
                if header.dtype.hasobject:
                    raise FileError(
                        f"{key} holds pickled objects, which are not read; use a plain dtype"
                    )
            total, free = sum(header.size for header in chosen.values()), memory_free()
            if free is not None and total > free:
                raise FileError(f"its arrays need {total} bytes of memory, and {free} are free")
            arrays = {}
            for key in chosen:
                with archive.open(f"{key}.npy") as stream:
                    # Reads to the end of the member, where zipfile compares the checksum.
                    arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
            return arrays
    except (FileError, OSError):
        raise
    except Exception as error:  # malformed bytes make zipfile and numpy raise nearly anything
        raise FileError(f"not an .npz file, or a damaged one ({one_line(error)})") from error


def _wanted(headers: Mapping[str, Header]) -> list[str]:
    """The required arrays, ``class_names``, and what is shaped like a set of training labels."""
    missing = [key for key in REQUIRED_ARRAYS if key not in headers]
    if missing:
        raise FileError(f"it has no {missing[0]}; {', '.join(REQUIRED_ARRAYS)} are needed")
    for split in ("train", "test"):
        images, labels = headers[f"{split}_images"], headers[f"{split}_labels"]
        if images.dtype.hasobject or labels.dtype.hasobject:
            continue  # refused for that
        if images.dtype != np.uint8:
            raise FileError(f"{split}_images are {images.dtype}; uint8, 0 to 255, is needed")
        try:
            check_image_shape(f"{split}_images", images.shape)
        except ValueError as error:
            raise FileError(str(error)) from error
        if labels.shape not in (images.shape[:1], (images.shape[0], 1)):
            raise FileError(
                f"{split}_labels have shape {labels.shape}; {images.shape[:1]} is needed"
            )
    like = headers["train_labels"].shape
    return [
        key
        for key, header in headers.items()
        if key in (*REQUIRED_ARRAYS, "class_names")
        or (key not in _UNUSED and header.dtype.kind in "iu" and header.shape == like)
    ]


def _header(archive: zipfile.ZipFile, name: str) -> Header:
    """Shape and dtype of an array, if the file holds as many bytes as they need."""
    with archive.open(name) as stream:
        start = io.BytesIO(stream.read(_LONGEST_HEADER))
    shape, _, dtype = _HEADERS[np.lib.format.read_magic(start)](start)
    header, held = Header(shape, dtype), archive.getinfo(name).file_size
    if not dtype.hasobject and start.tell() + header.size != held:
        raise FileError(f"{name} is damaged: it declares {dtype} of shape {shape}")
    return header


def whole_labels(what: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels as whole numbers; those that are stored as floats too.

    Parameters
    ----------
    what : str
        Name of the array, for the message.
    labels : ndarray of any shape

    Raises
    ------
    FileError
        If one is no whole number from 0.
    """
    if labels.dtype.kind not in "iuf":
        names = ", and their names in class_names" if labels.dtype.kind in "US" else ""
        raise FileError(f"{what} are {labels.dtype}; whole numbers are needed{names}")
    with np.errstate(invalid="ignore"):  # NaN becomes some whole number, which does not equal it
        whole = labels.astype(np.int64)
    wrong = labels[(whole != labels) | (whole < 0)]
    if wrong.size:
        raise FileError(f"{what} hold {wrong[0]}; labels are whole numbers from 0")
    return whole
