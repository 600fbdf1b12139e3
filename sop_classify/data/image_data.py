"""A labelled data set: arrays of uint8 pixels, which fit on the device as one tensor."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sop_classify.labels.arrays import check_labels

__all__ = ["ImageData", "Indexed", "absent_class", "channel_statistics", "subset"]

if TYPE_CHECKING:
    from torch.utils.data import Dataset as _Dataset
else:
    _Dataset = object  # enough for a DataLoader, and torch takes seconds to import


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training and a test set of labelled images of one size, in C classes.

    Attributes
    ----------
    train_images, test_images : ndarray, shape (N, H, W, 3), uint8
        RGB, C-contiguous.
    train_labels, test_labels : ndarray, shape (N,), int64
        In [0, C). Every class has a training example; it need not have a test example.
    class_names : tuple of str
        C different names, 2 or more.
    name : str
        ``cifar10``, ``cifar100``, or the name of the file or folder without its suffix.
    label_sets : mapping of str to ndarray, shape (N,), int64
        Other labels of the training examples, in [0, C), for example labels that people gave.

    Raises
    ------
    TypeError
        If an array has another dtype.
    ValueError
        If a shape, a label or a class is none of the above, or a class has no training example.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    name: str
    label_sets: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train, test, names = self.train_images, self.test_images, self.class_names
        _check_images("train_images", train)
        _check_images("test_images", test)
        if train.shape[1:] != test.shape[1:]:
            sizes = " and ".join(f"{images.shape[1]}x{images.shape[2]}" for images in (train, test))
            raise ValueError(f"training and test images are {sizes}; one size is needed")
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"class_names are {names}; 2 or more different ones are needed")
        _check_labels("train_labels", self.train_labels, len(train), len(names))
        _check_labels("test_labels", self.test_labels, len(test), len(names))
        for key, labels in self.label_sets.items():
            _check_labels(key, labels, len(train), len(names))
        absent = absent_class(self.train_labels)
        if absent < len(names):
            raise ValueError(f"class {names[absent]!r} has no training example")


def _check_images(what: str, images: NDArray[Any]) -> None:
    if images.dtype != np.uint8:
        raise TypeError(f"{what} are {images.dtype}; uint8, 0 to 255, is needed")
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ValueError(f"{what} have shape {images.shape}; (N, H, W, 3) is needed")
    if not images.flags.c_contiguous:
        raise ValueError(f"{what} are not contiguous; use numpy.ascontiguousarray")


def _check_labels(what: str, labels: NDArray[Any], number: int, classes: int) -> None:
    check_labels(labels, classes, number=number, name=what)
    if labels.dtype != np.int64:  # they are kept as they are, not converted
        raise TypeError(f"{what} are {labels.dtype}; int64 is needed")


def absent_class(labels: NDArray[np.int64]) -> int:
    """The smallest class without an example. Needs little memory, however large the labels are."""
    present = np.unique(labels)
    gaps = np.flatnonzero(present != np.arange(present.size))
    return int(gaps[0]) if gaps.size else present.size


def subset(
    data: ImageData, number: int, *, rng: np.random.Generator
) -> tuple[ImageData, NDArray[np.int64]]:
    """Keep a random, stratified part of the training examples, and the whole test set.

    Every class keeps at least one example and otherwise the same share of its examples, as nearly
    as whole numbers allow (Adams' apportionment): classes of equal size differ by one at most.

    Parameters
    ----------
    data : ImageData
    number : int
        Training examples to keep, from C to N.
    rng : numpy.random.Generator

    Returns
    -------
    part : ImageData
        With the training examples in their old order, and the same part of all label sets.
    index : ndarray, shape (number,), int64
        Positions of the kept examples in `data`, increasing.

    Raises
    ------
    ValueError
        If `number` is outside [C, N].
    """
    total, classes = len(data.train_labels), len(data.class_names)
    if not classes <= number <= total:
        raise ValueError(
            f"cannot keep {number} training examples; choose {classes}, one a class, to {total}"
        )
    order = rng.permutation(total)
    labels = data.train_labels[order]
    sizes = np.bincount(labels)
    rank = np.empty(total)  # 0, 1, ... within each class
    rank[np.argsort(labels, kind="stable")] = np.concatenate([np.arange(size) for size in sizes])
    # Sort by the share of its class that comes before an example; equal shares are in random order.
    kept = np.argsort(rank / sizes[labels], kind="stable")[:number]
    index = np.sort(order[kept])
    part = dataclasses.replace(
        data,
        train_images=data.train_images[index],
        train_labels=data.train_labels[index],
        label_sets={key: values[index] for key, values in data.label_sets.items()},
    )
    return part, index


class Indexed(_Dataset):
    """A map-style data set whose examples end with their index: ``(image, label, index)``.

    Parameters
    ----------
    dataset : map-style data set
        Has a length, and a tuple or list at every index from 0; `torch.utils.data.DataLoader`
        takes the result as it takes this.

    Raises
    ------
    TypeError
        If `dataset` has no length or no items, or an item is neither a tuple nor a list.
    IndexError
        If an index is outside the data set; a negative one counts from the end.
    """

    def __init__(self, dataset: Any) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(f"{type(dataset).__name__} has no length or no items; is it a stream?")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        place = range(len(self))[index]
        item = self.dataset[place]
        if not isinstance(item, tuple | list):
            raise TypeError(f"an example is a {type(item).__name__}; (image, label) is needed")
        return (*item, place)


def channel_statistics(
    images: NDArray[np.uint8],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of (N, H, W, 3) uint8 images, in 0 to 255.

    The deviation of a constant channel is 1, so that one can divide by it.
    """
    # Sums of integers are exact, and need no copy of the images as floats.
    count = images.size // images.shape[-1]
    total = images.sum(axis=(0, 1, 2), dtype=np.int64)
    squares = np.einsum("nhwc,nhwc->c", images, images, dtype=np.int64)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean, np.where(std > 0, std, 1.0)
