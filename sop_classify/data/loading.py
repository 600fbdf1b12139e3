"""Labelled images to train and to test on: CIFAR-10, CIFAR-100, a folder or table, or an .npz file.

Folders are read as `sop_classify.data.images` reads them.
"""

import os
import warnings
from pathlib import Path

from overparam.checks import check_choice, check_count, check_type
from overparam.files import FileError, file_errors
from overparam.words import counted
from sop_classify.data.cifar import CIFAR, ELSEWHERE, read_cifar
from sop_classify.data.image_data import ImageData
from sop_classify.data.images import read_files
from sop_classify.data.listing import HIDDEN, list_images
from sop_classify.data.npz import read_npz
from sop_classify.data.pixels import cache_folder, rows

__all__ = ["load_data"]

StrPath = str | os.PathLike[str]


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
        - a folder or table of image files, with training and test images, as `read_images` reads
          it: ``train/<class>/*`` and ``test/<class>/*``, say. The names of the training classes,
          sorted, are the classes. Images of a "val" are not used;
        - an .npz file: ``train_images`` (N, H, W, 3), or grey (N, H, W) or (N, H, W, 1), uint8;
          ``train_labels`` (N,) or (N, 1), whole numbers from 0; ``test_images``; ``test_labels``;
          optionally ``class_names`` (C,). ``val_images`` and ``val_labels`` are not used. Other
          arrays of N integers in [0, C) become `ImageData.label_sets`.

        Without it, torchvision's files in ``$XDG_CACHE_HOME/robustdip`` (``~/.cache/robustdip``).
    download : bool
        Without a `path`, download what is missing: 170 MB.
    image_size : int, optional
        Side in pixels to which image files are resized and cropped. By default their own if they
        are squares of one size up to 64 pixels (at least 16), otherwise 32, as in CIFAR. Other data
        is not resized: it must have this size.

    Returns
    -------
    ImageData

    Raises
    ------
    FileError
        If something cannot be downloaded, read or understood, or a class has no training image.
    TypeError, ValueError
        If a parameter is none of the above.

    Warns
    -----
    UserWarning
        If a test image is also a training image, byte for byte (not looked for in the official
        CIFAR files), if validation images are left unused, and if files are left out that are no
        images, or damaged.
    """
    try:
        check_choice("dataset", dataset, CIFAR)
    except ValueError as error:  # the name of a file, say
        raise ValueError(f"{error}, or path= for data of your own") from None
    check_type("download", download, bool)
    if image_size is not None:
        image_size = check_count("image_size", image_size, least=1, most=2**15)
    if path is None:
        cache = cache_folder()
        with file_errors(f"{'download' if download else 'find'} {dataset} in", cache):
            data = read_cifar(dataset, cache, download=download)
    else:
        with file_errors("read", path):
            data = _read_path(dataset, Path(os.fspath(path)), image_size)
    height, width = data.train_images.shape[1:3]
    if image_size is not None and (height, width) != (image_size, image_size):
        raise ValueError(
            f"image_size is {image_size} and the images are {height}x{width}; only image files are "
            "resized"
        )
    return data


def _read_path(dataset: str, path: Path, image_size: int | None) -> ImageData:
    present = [name for name, folder in CIFAR.items() if (path / folder).is_dir()]
    if dataset in present:
        return read_cifar(dataset, path, download=False)
    if present:
        raise FileError(f"it holds {present[0]}; choose that dataset instead of {dataset}")
    data = read_npz(path) if _is_npz(path) else _of_files(path, image_size)
    _check_overlap(data)
    return data


def _is_npz(path: Path) -> bool:
    """Whether it is to be read as an .npz: any file but a table."""
    return not path.is_dir() and path.suffix.lower() not in (".csv", ".tsv")


def _of_files(path: Path, image_size: int | None) -> ImageData:
    read = read_files(list_images(path), image_size)
    train, test = read.index("train"), read.index("test")
    if not test.size:
        holders = " nor ".join(CIFAR.values())
        raise FileError(f"it holds neither {holders} nor test images; give {ELSEWHERE}")
    if unused := read.index("val").size:
        warnings.warn(
            f"{read.name}: {counted(unused, 'validation image')} left unused; accuracies are those "
            "on the test images",
            stacklevel=4,  # load_data's caller
        )
    left_out = [each for each in read.skipped if each.reason != HIDDEN]
    if left_out:
        first = left_out[0]
        warnings.warn(
            f"{read.name}: {counted(len(left_out), 'file')} left out, first {first.path!r}: "
            f"{first.reason}",
            stacklevel=4,  # load_data's caller
        )
    return ImageData(
        rows(read.images, train),
        read.labels[train],
        rows(read.images, test),
        read.labels[test],
        read.class_names,
        read.name,
        train_files=tuple(read.paths[at] for at in train),
        sample_bits=read.sample_bits,
    )


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
    # Published data sets have some too: 10 of 10,000 in CIFAR-100 (lists of ciFAIR, arXiv
    # 1902.00423) and in Fashion-MNIST.
    warnings.warn(
        f"{data.name}: {len(shared)} of {len(test_images)} test images are also training images "
        f"(test image {shared[0]} is training image {places[test_images[shared[0]]]}); the "
        "accuracy on the test images is too high",
        stacklevel=4,  # load_data's caller
    )
