"""Arrays of labels: the check that every part of the package uses, and what two of them differ in.

Labels are integers of shape (N,) in [0, C).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_count
from overparam.files import one_line

__all__ = ["check_labels", "noise_rate", "not_masked", "transition_matrix"]


def check_labels(
    labels: ArrayLike, num_classes: int, *, number: int | None = None, name: str = "the labels"
) -> NDArray[np.int64]:
    """A copy of the labels as int64, if they are labels.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        N > 0.
    num_classes : int
        C, at least 2.
    number : int, optional
        N, if it is known.
    name : str
        What an error message calls them.

    Raises
    ------
    TypeError
        If they are not integers, or masked.
    ValueError
        If there are none, if the shape is another, if one is outside [0, C), or if C < 2.
    """
    array = not_masked(name, labels)
    num_classes = check_count("num_classes", num_classes, least=2)
    if array.ndim != 1 or array.size == 0 or number not in (None, array.size):
        wanted = "(N,) with N > 0" if number is None else f"({number},)"
        raise ValueError(f"{name} have shape {array.shape}; {wanted} is needed")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} are {array.dtype}; integers are needed")
    low, high = array.min(), array.max()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} go from {low} to {high}; with {num_classes} classes 0 to {num_classes - 1} "
            "are possible"
        )
    return array.astype(np.int64)


def not_masked(name: str, values: ArrayLike) -> NDArray[Any]:
    """The values as an array.

    Raises
    ------
    TypeError
        If they are a masked array, whose mask would be lost, or no array at all.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} are a masked array; leave the masked values out")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of lists, a tensor on a GPU
        raise TypeError(f"{name} are no array ({one_line(error)})") from error
    if array.dtype.hasobject:
        raise TypeError(f"{name} are a {type(values).__name__}; an array of numbers is needed")
    return array


def noise_rate(clean: ArrayLike, noisy: ArrayLike) -> float:
    """The fraction of labels, in [0, 1], that differ.

    Parameters
    ----------
    clean, noisy : array_like of int, shape (N,)

    Raises
    ------
    ValueError
        If the shapes differ or there are no labels.
    """
    truth, given = not_masked("clean", clean), not_masked("noisy", noisy)
    _check_pair(truth, given)
    return float((truth != given).mean())


def transition_matrix(clean: ArrayLike, noisy: ArrayLike, num_classes: int) -> NDArray[np.float64]:
    """T[i, j], the fraction of the examples of class i whose label is j.

    Parameters
    ----------
    clean, noisy : array_like of int, shape (N,)
    num_classes : int
        C, at least 2.

    Returns
    -------
    ndarray of float64, shape (C, C)
        Each row sums to 1. A class without examples is taken to keep its label: T[i, i] = 1.

    Examples
    --------
    >>> transition_matrix([0, 0, 1], [0, 1, 1], 3)
    array([[0.5, 0.5, 0. ],
           [0. , 1. , 0. ],
           [0. , 0. , 1. ]])
    """
    truth, given = check_labels(clean, num_classes), check_labels(noisy, num_classes)
    _check_pair(truth, given)
    cells = np.bincount(truth * num_classes + given, minlength=num_classes**2)
    counts = cells.reshape(num_classes, num_classes)
    absent = np.flatnonzero(counts.sum(axis=1) == 0)
    counts[absent, absent] = 1
    return counts / counts.sum(axis=1, keepdims=True)


def _check_pair(clean: NDArray[Any], noisy: NDArray[Any]) -> None:
    if clean.shape != noisy.shape or clean.ndim != 1 or clean.size == 0:
        raise ValueError(
            f"the labels have shapes {clean.shape} and {noisy.shape}; (N,) with N > 0 is needed, "
            "the same for both"
        )
