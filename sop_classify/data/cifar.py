"""CIFAR-10 and CIFAR-100 from torchvision's files.

They are unpickled only if their md5 sums are the published ones.
"""

from http.client import HTTPException
from pathlib import Path

import numpy as np

from overparam.files import FileError, one_line
from sop_classify.data.image_data import ImageData
from sop_classify.data.npz import REQUIRED_ARRAYS

__all__ = ["CIFAR", "ELSEWHERE", "read_cifar"]

CIFAR = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
"""The data sets, and the folders of their files."""

ELSEWHERE = (
    "an image folder (train/<class>/* and test/<class>/*) or an .npz file "
    f"({', '.join(REQUIRED_ARRAYS)})"
)
"""What else to give as data."""

_READERS = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}  # of torchvision


def read_cifar(dataset: str, root: Path, *, download: bool) -> ImageData:
    """Read a key of `CIFAR` from a folder that holds its folder.

    Raises
    ------
    FileError
        If it is not there, damaged, or cannot be downloaded.
    """
    from torchvision import datasets  # seconds to import

    reader = getattr(datasets, _READERS[dataset])
    try:
        # torchvision compares the md5 sum of every file with the published one before it unpickles.
        train, test = reader(root, train=True, download=download), reader(root, train=False)
    except (OSError, RuntimeError, HTTPException) as error:
        # torchvision's own RuntimeError recommends an argument that this function does not have.
        reason = "" if isinstance(error, RuntimeError) else f" ({one_line(error)})"
        raise FileError(
            f"{CIFAR[dataset]} is missing, incomplete or corrupt{reason}; as data give a folder "
            f"that holds it intact, {ELSEWHERE}"
        ) from error
    return ImageData(
        np.ascontiguousarray(train.data),
        np.asarray(train.targets, np.int64),
        np.ascontiguousarray(test.data),
        np.asarray(test.targets, np.int64),
        tuple(train.classes),
        dataset,
    )
