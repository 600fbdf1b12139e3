"""A labelled data set: arrays of uint8 pixels, which fit on the device as one tensor."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_count, check_type
from sop_classify.data.label_arrays import check_labels, not_masked

__all__ = [
    "ImageData",
    "Indexed",
    "absent_class",
    "channel_statistics",
    "check_image_shape",
    "subset",
]

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
        RGB, C-contiguous. Grey images, (N, H, W) or (N, H, W, 1), become RGB; other strides are
        copied. Read-only arrays are kept.
    train_labels, test_labels : ndarray, shape (N,), int64
        In [0, C). Other integers, and (N, 1), are converted. Every class has a training example; it
        need not have a test example.
    class_names : tuple of str
        C different names, 2 or more.
    name : str
        ``cifar10``, ``cifar100``, or the name of the file or folder without its suffix.
    label_sets : mapping of str to ndarray, shape (N,), int64
        Other labels of the training examples, in [0, C), for example labels that people gave.
    train_files : tuple of str
        N paths of the training images below the folder that they were read from; empty for data
        from elsewhere.
    sample_bits : int or None
        Bits in use of the files of 16 bits that the images were read from
        (`sop_classify.data.pixels.bits_in_use`), so that others can be read alike; None if there
        were none.

    Raises
    ------
    TypeError
        If an array has another dtype, or is masked.
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
    train_files: tuple[str, ...] = ()
    sample_bits: int | None = None

    def __post_init__(self) -> None:
        names = tuple(check_type("a class name", name, str) for name in self.class_names)
        check_type("name", self.name, str)
        train, test = (_rgb(what, getattr(self, what)) for what in ("train_images", "test_images"))
        if train.shape[1:] != test.shape[1:]:
            sizes = " and ".join(f"{images.shape[1]}x{images.shape[2]}" for images in (train, test))
            raise ValueError(f"training and test images are {sizes}; one size is needed")
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"class_names are {names}; 2 or more different ones are needed")
        train_labels = _column("train_labels", self.train_labels, len(train), len(names))
        test_labels = _column("test_labels", self.test_labels, len(test), len(names))
        sets = {
            key: _column(key, labels, len(train), len(names))
            for key, labels in self.label_sets.items()
        }
        absent = absent_class(train_labels)
        if absent < len(names):
            raise ValueError(f"class {names[absent]!r} has no training example")
        if len(self.train_files) not in (0, len(train)):
            raise ValueError(
                f"there are {len(self.train_files)} train_files and {len(train)} training images"
            )
        for key, value in {
            "train_images": train,
            "test_images": test,
            "train_labels": train_labels,
            "test_labels": test_labels,
            "class_names": names,
            "label_sets": sets,
            "train_files": tuple(self.train_files),
        }.items():
            object.__setattr__(self, key, value)


def _rgb(what: str, images: ArrayLike) -> NDArray[np.uint8]:
    """Images as they are kept; a copy only of grey or strided ones."""
    array = not_masked(what, images)
    if array.dtype != np.uint8:
        raise TypeError(f"{what} are {array.dtype}; uint8, 0 to 255, is needed")
    check_image_shape(what, array.shape)
    if array.ndim == 3 or array.shape[3] == 1:
        array = np.repeat(array.reshape(*array.shape[:3], 1), 3, axis=3)
    return np.ascontiguousarray(array)


def check_image_shape(what: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless it is (N, H, W, 3), (N, H, W, 1) or (N, H, W), and none is 0."""
    if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or 0 in shape:
        raise ValueError(
            f"{what} have shape {shape}; (N, H, W, 3), or (N, H, W) for grey, is needed"
        )


def _column(what: str, labels: ArrayLike, number: int, classes: int) -> NDArray[np.int64]:
    """Labels as they are kept: no copy if they are int64 already."""
    array = not_masked(what, labels)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    checked = check_labels(array, classes, number=number, name=what)
    return array if array.dtype == np.int64 else checked


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
    TypeError
        If a parameter has another type.
    """
    check_type("data", data, ImageData)
    check_type("rng", rng, np.random.Generator)
    number = check_count("number", number)
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
        train_files=tuple(data.train_files[i] for i in index) if data.train_files else (),
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
