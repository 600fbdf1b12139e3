"""Labelled images from files: CIFAR-10 and CIFAR-100, a folder of images, or an .npz file.

Only CIFAR files are unpickled, and only if their md5 sums are the published ones.
"""

import os
import warnings
from http.client import HTTPException
from pathlib import Path

import numpy as np

from overparam.checks import check_choice, check_count, check_type
from overparam.files import FileError, file_errors, one_line
from sop_classify.data.image_data import ImageData
from sop_classify.data.image_folder import is_image_folder, read_image_folder
from sop_classify.data.npz import REQUIRED_ARRAYS, read_npz
from sop_classify.data.pixels import cache_folder

__all__ = ["load_data"]

StrPath = str | os.PathLike[str]

_CIFAR = {  # name -> torchvision's reader, and its folder
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
_ELSEWHERE = (
    "an image folder (train/<class>/* and test/<class>/*) or an .npz file "
    f"({', '.join(REQUIRED_ARRAYS)})"
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
        holds both. It has no meaning for an image folder or an .npz file.
    path : str or PathLike, optional
        One of

        - a folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``;
        - an image folder: ``train/<class>/*`` and ``test/<class>/*`` in PNG, JPEG, TIFF, WebP, BMP
          or PPM of 8 bits. The folders' sorted names are the classes. Grey and palettes become
          RGB; alpha, EXIF and names that begin with a dot are ignored; of an animation the first
          frame is read;
        - an .npz file: ``train_images`` (N, H, W, 3), or grey (N, H, W) or (N, H, W, 1), uint8;
          ``train_labels`` (N,) or (N, 1), whole numbers from 0; ``test_images``; ``test_labels``;
          optionally ``class_names`` (C,). Other arrays of N integers in [0, C) become
          `ImageData.label_sets`.

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
    TypeError, ValueError
        If a parameter is none of the above.

    Warns
    -----
    UserWarning
        If a test image is also a training image, up to those 0.2 %.
    """
    check_choice("dataset", dataset, _CIFAR)
    check_type("download", download, bool)
    if image_size is not None:
        image_size = check_count("image_size", image_size, least=1, most=2**15)
    if path is None:
        cache = cache_folder()
        with file_errors(f"{'download' if download else 'find'} {dataset} in", cache):
            data = _read_cifar(dataset, cache, download=download)
    else:
        with file_errors("read", path):
            data = _read_path(dataset, Path(os.fspath(path)), image_size)
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
    if path.is_dir() and not is_image_folder(path):
        holders = " nor ".join(folder for _, folder in _CIFAR.values())
        raise FileError(f"it holds neither {holders} nor train/ and test/; give {_ELSEWHERE}")
    data = read_image_folder(path, image_size) if path.is_dir() else read_npz(path)
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
    # Published data sets have up to 0.1 % of them: 10 of 10,000 in CIFAR-100 (lists of ciFAIR,
    # arXiv 1902.00423) and in Fashion-MNIST. Twice as many change an accuracy by 0.2 points.
    if len(shared) > 0.002 * len(test_images):
        raise FileError(f"{message}; use a test set of other images")
    warnings.warn(f"{data.name}: {message}", stacklevel=4)  # load_data's caller


def _read_cifar(dataset: str, root: Path, *, download: bool) -> ImageData:
    from torchvision import datasets  # seconds to import

    reader_name, folder = _CIFAR[dataset]
    reader = getattr(datasets, reader_name)
    try:
        # torchvision compares the md5 sum of every file with the published one before it unpickles.
        train, test = reader(root, train=True, download=download), reader(root, train=False)
    except (OSError, RuntimeError, HTTPException) as error:
        # torchvision's own RuntimeError recommends an argument that this function does not have.
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
