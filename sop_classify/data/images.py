"""Your own labelled images, of any kind: a place on disk in, images with labels and splits out.

`read_images` reads folders, tables, arrays and the data sets of torchvision. Where there is no
hold-out it chooses one, without copying a file.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.checks import LARGEST_SEED, check_count, check_real
from overparam.files import FileError, file_errors
from overparam.words import counted
from sop_classify.data.cifar import CIFAR, read_cifar
from sop_classify.data.image_data import ImageData
from sop_classify.data.listing import (
    HIDDEN,
    SPLITS,
    Listing,
    Skipped,
    list_images,
    natural_order,
    shown,
)
from sop_classify.data.npz import read_arrays, whole_labels
from sop_classify.data.pixels import LARGEST, SMALLEST, common_side, read_pixels, rows
from sop_classify.data.tables import csv_bytes

__all__ = ["LabelledImages", "data_set_in", "hold_out", "read_files", "read_images", "split_csv"]

StrPath = str | os.PathLike[str]

_LEAST_TO_SHARE = 5  # examples of a class: of fewer, none is held out
# Data sets of torchvision in the format of MNIST: the name of the folder is that of the reader.
_LIKE_MNIST = ("MNIST", "FashionMNIST", "KMNIST")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """N images of one size, with a label, a split and a name each.

    Attributes
    ----------
    name : str
        Of the folder or file, without its suffix.
    images : ndarray, shape (N, H, W, 3), uint8
        Those of files are mapped from the cache.
    labels : ndarray, shape (N,), int64
        In [0, C).
    class_names : tuple of str
        The C classes of the training images, sorted.
    paths : tuple of str
        N different names: a file's below the folder, or ``train_images[17]``.
    splits : tuple of str
        N of "train", "val" and "test".
    files : tuple of Path
        N places of the images; empty for arrays.
    skipped : tuple of Skipped
        What was left out.
    lost : tuple of str
        Classes of which no file could be read.
    holdout : float or None
        The fraction of the training images that was made "val"; None if the data had a "val".
    cache : Path or None
        Where the pixels are kept.
    sample_bits : int or None
        See `sop_classify.data.image_data.ImageData`.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    files: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    lost: tuple[str, ...] = ()
    holdout: float | None = None
    cache: Path | None = None
    sample_bits: int | None = None

    def index(self, *splits: str) -> NDArray[np.int64]:
        """Positions of the images of these splits, increasing."""
        return np.flatnonzero(np.isin(self.splits, splits)).astype(np.int64)

    def image_data(self) -> ImageData:
        """The images of "train" to train on, and those of "val" to test on.

        Raises
        ------
        ValueError
            If one of them is empty.
        """
        train, val = self.index("train"), self.index("val")
        return ImageData(
            rows(self.images, train),
            self.labels[train],
            rows(self.images, val),
            self.labels[val],
            self.class_names,
            self.name,
            train_files=tuple(self.paths[i] for i in train),
            sample_bits=self.sample_bits,
        )


def read_images(
    place: StrPath,
    *,
    size: int | None = None,
    holdout: float = 0.1,
    seed: int = 0,
    on_image: Callable[[float, float], None] | None = None,
) -> LabelledImages:
    """Read labelled images of any kind.

    Parameters
    ----------
    place : str or PathLike
        One of

        - a folder or a table of image files, see `sop_classify.data.listing.list_images`. Files
          that are no images, or damaged, are left out and listed;
        - an .npz file with ``train_images`` (N, H, W, 3) or grey (N, H, W), uint8, and
          ``train_labels`` (N,); if wanted the same for ``val`` and ``test``, and ``class_names``;
        - a folder with torchvision's files of CIFAR-10, CIFAR-100, MNIST, FashionMNIST or KMNIST.
    size : int, optional
        Side in pixels, 16 to 224, to which image files are resized and cropped. By default their
        own, if all are squares of one size up to 64 pixels (at least 16), otherwise 32. Arrays are
        not resized.
    holdout : float
        Fraction of the training images, in (0, 1), that becomes "val" if there is none; see
        `hold_out`.
    seed : int
        Seeds the hold-out.
    on_image : callable, optional
        Called with (images done, all images) while image files are decoded.

    Returns
    -------
    LabelledImages

    Raises
    ------
    FileError
        If nothing can be read, there are fewer than two classes, or "val" or "test" has a class
        that the training images do not have.
    TypeError, ValueError
        If a parameter is none of the above.
    """
    path = Path(os.fspath(place))
    holdout = check_real("holdout", holdout, above=0, below=1)
    check_count("seed", seed, most=LARGEST_SEED)
    if size is not None:
        size = check_count("size", size, least=SMALLEST, most=LARGEST)
    with file_errors("read", path):
        read = _of_arrays(path)
        if read is None:
            read = read_files(list_images(path), size, on_image)
        elif size not in (None, *read.images.shape[1:3]):
            height, width = read.images.shape[1:3]
            raise FileError(
                f"size is {size} and the images are {height}x{width}; only image files are resized"
            )
        if "train" not in read.splits:
            raise FileError("it has no training images")
        if "val" in read.splits:
            return read
        return hold_out(read, holdout, seed=seed)


def hold_out(data: LabelledImages, fraction: float, *, seed: int) -> LabelledImages:
    """Make a random part of the training images "val": the same part of every class.

    Parameters
    ----------
    data : LabelledImages
    fraction : float
        In (0, 1). Rounded for each class; of one with fewer than five training images none is
        taken. If that is less than half of the fraction of all, single images of random classes
        are taken too. One image is always taken, and one of every class stays.
    seed : int
    """
    rng = np.random.default_rng(seed)
    train = data.index("train")
    splits = np.array(data.splits)
    given = data.labels[train]
    for label in range(len(data.class_names)):
        of_class = train[given == label]
        number = round(fraction * of_class.size) if of_class.size >= _LEAST_TO_SHARE else 0
        splits[rng.choice(of_class, min(number, of_class.size - 1), replace=False)] = "val"
    sizes = np.bincount(given)
    if sizes.max() < 2:
        raise FileError("no class has two images; more are needed")
    wanted = max(1, round(fraction * int(sizes[sizes > 1].sum())))
    held = int((splits[train] == "val").sum())
    if held < wanted / 2:
        # A class that has given none, and can, gives one.
        lacking = [
            each
            for each in np.flatnonzero(sizes > 1)
            if not (splits[train[given == each]] == "val").any()
        ]
        for label in rng.permutation(np.array(lacking, np.int64))[: wanted - held]:
            splits[rng.choice(train[given == label])] = "val"
    changes: dict[str, Any] = {"splits": tuple(splits.tolist()), "holdout": fraction}
    return LabelledImages(**{**vars(data), **changes})


def split_csv(data: LabelledImages) -> bytes:
    """The split of every image as a table with the columns path, label and split."""
    names = (data.class_names[label] for label in data.labels)
    rows = zip(data.paths, names, data.splits, strict=True)
    return csv_bytes([("path", "label", "split"), *rows])


# --- files -----------------------------------------------------------------------------------


def read_files(
    listing: Listing,
    size: int | None = None,
    on_image: Callable[[float, float], None] | None = None,
) -> LabelledImages:
    """Read the images that `list_images` has found; `read_images` says what the rest means.

    Images of which nothing says the split are "train".
    """
    side = size or common_side(listing.files)
    pixels = read_pixels(listing.place, listing.files, side, on_image=on_image)
    skipped = [
        *listing.skipped,
        *(Skipped(listing.entries[at].path, why) for at, why in pixels.unreadable.items()),
    ]
    readable = [at for at in range(len(listing.entries)) if at not in pixels.unreadable]
    entries = [listing.entries[at] for at in readable]
    if not entries:
        raise FileError(f"none of its {len(listing.entries)} files is an image")
    splits = tuple(entry.split or "train" for entry in entries)
    try:
        names, labels = _numbered([entry.label for entry in entries], splits)
    except FileError as error:  # the class that it lacks may be among what was left out
        told = [each for each in skipped if each.reason != HIDDEN]
        if not told:
            raise
        number, first = counted(len(told), "row or file", "rows or files"), told[0]
        raise FileError(
            f"{error} ({number} left out, first {first.path!r}: {first.reason})"
        ) from error
    unread = {listing.entries[at].label for at in pixels.unreadable}
    place = listing.place.resolve()
    return LabelledImages(
        name=shown(place.name if place.is_dir() else place.stem),
        images=pixels.images,
        labels=labels,
        class_names=names,
        paths=tuple(entry.path for entry in entries),
        splits=splits,
        files=tuple(listing.files[at] for at in readable),
        skipped=tuple(skipped),
        lost=tuple(natural_order([label for label in unread if label not in names])),
        cache=pixels.path,
        sample_bits=pixels.bits,
    )


def _numbered(
    labels: Sequence[str], splits: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes of the training images, and all labels as numbers of them."""
    names = natural_order(
        list({label for label, split in zip(labels, splits, strict=True) if split == "train"})
    )
    _require_classes(names)
    numbers = {name: number for number, name in enumerate(names)}
    for label, split in zip(labels, splits, strict=True):
        if label not in numbers:
            raise FileError(f"class {label!r} is in {split} and has no training image")
    return tuple(names), np.array([numbers[label] for label in labels], np.int64)


def _require_classes(names: Sequence[str]) -> None:
    if len(names) < 2:
        said = f"one class of training images, {names[0]!r}" if names else "no training images"
        raise FileError(f"it has {said}; 2 or more classes are needed")


# --- arrays ----------------------------------------------------------------------------------


def data_set_in(folder: Path) -> str | None:
    """The name of the data set that torchvision keeps in a folder, such as "cifar10"; or None."""
    here = [name for name, files in CIFAR.items() if (folder / files).is_dir()]
    here += [name for name in _LIKE_MNIST if (folder / name / "raw").is_dir()]
    return here[0] if here else None


def _of_arrays(place: Path) -> LabelledImages | None:
    """The images of an .npz or of a data set of torchvision; None for anything else."""
    if place.suffix.lower() == ".npz":
        return _of_npz(place)
    name = data_set_in(place)
    if name is None:
        return None
    if name in CIFAR:
        data = read_cifar(name, place, download=False)
        parts = {
            "train": (data.train_images, data.train_labels),
            "test": (data.test_images, data.test_labels),
        }
        return _joined(name, parts, data.class_names)
    from torchvision import datasets  # seconds to import

    try:
        sets = [getattr(datasets, name)(place, train=train) for train in (True, False)]
    except (OSError, RuntimeError, ValueError) as error:
        raise FileError(f"{name}/raw is incomplete or damaged") from error
    parts = {
        split: (each.data.numpy(), each.targets.numpy())
        for split, each in zip(("train", "test"), sets, strict=True)
    }
    return _joined(name, parts, sets[0].classes)


def _of_npz(place: Path) -> LabelledImages:
    def wanted(headers: Mapping[str, Any]) -> list[str]:
        keys = [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]
        if missing := [key for key in keys[:2] if key not in headers]:
            raise FileError(f"it has no {missing[0]}; {' and '.join(keys[:2])} are needed")
        return [key for key in (*keys, "class_names") if key in headers]

    arrays = read_arrays(place, wanted)
    parts = {
        split: (arrays[f"{split}_images"], arrays.get(f"{split}_labels"))
        for split in SPLITS
        if f"{split}_images" in arrays
    }
    names = arrays.get("class_names")
    return _joined(place.stem, parts, None if names is None else names.astype(str).ravel().tolist())


def _joined(
    name: str, parts: Mapping[str, tuple[NDArray[Any], Any]], names: Sequence[str] | None
) -> LabelledImages:
    """Arrays of images and labels, one pair a split, as one; classes are those of "train"."""
    images, labels, paths, splits = [], [], [], []
    for split, (part, given) in parts.items():
        if part.dtype != np.uint8 or part.ndim not in (3, 4) or part.shape[3:] not in (
            (), (1,), (3,)
        ):  # fmt: skip
            raise FileError(
                f"the images of {split} are {part.dtype} of shape {part.shape}; uint8 of shape "
                "(N, H, W, 3), or (N, H, W) for grey, is needed"
            )
        if given is None or given.reshape(-1).shape != part.shape[:1]:
            found = "missing" if given is None else f"of shape {given.shape}"
            raise FileError(f"the labels of {split} are {found}; {part.shape[:1]} is needed")
        if 0 in part.shape:
            raise FileError(f"the images of {split} have shape {part.shape}; there is none in it")
        if part.ndim == 3 or part.shape[3] == 1:
            part = np.repeat(part.reshape(*part.shape[:3], 1), 3, axis=3)
        images.append(part)
        labels.append(whole_labels(f"the labels of {split}", given.reshape(-1)))
        paths += [f"{split}_images[{at}]" for at in range(len(part))]
        splits += [split] * len(part)
    sizes = {part.shape[1:3] for part in images}
    if len(sizes) > 1:
        raise FileError(f"its images have different sizes: {sorted(sizes)}")
    present = np.unique(labels[0])
    largest = int(max(part.max() for part in labels))
    named = names is not None
    if names is None:
        names = [str(label) for label in range(min(largest, present.size) + 1)]
    _require_classes(names)
    if largest >= len(names) and named:
        raise FileError(
            f"labels go up to {largest}, and there are {len(names)} class_names, from 0"
        )
    # Without names there are at most as many as labels, and one more, so that one is absent.
    if absent := sorted(set(range(len(names))) - set(present.tolist())):
        called = repr(shown(names[absent[0]])) if named else absent[0]
        raise FileError(f"class {called} has no training example; labels go up to {largest}")
    if len(set(names)) < len(names):
        raise FileError(f"two of its {len(names)} class_names are the same")
    return LabelledImages(
        name=shown(name),
        images=np.concatenate(images) if len(images) > 1 else images[0],
        labels=np.concatenate(labels),
        class_names=tuple(shown(each) for each in names),
        paths=tuple(paths),
        splits=tuple(splits),
    )
