"""Which class is predicted as which: a matrix of counts, its file, and what follows from it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sop_classify.reports.issues_table import matrix_csv

__all__ = ["CONFUSION", "balanced_accuracy", "confusion_csv", "confusion_matrix"]

CONFUSION = "confusion_matrix.csv"


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """How many images of each class are predicted as each.

    Parameters
    ----------
    labels, predicted : ndarray of int64, shape (n,)
        In [0, C).
    classes : int
        C.

    Returns
    -------
    ndarray of int64, shape (C, C)
        A row for each label, a column for each prediction.
    """
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    """Mean over the classes with images of the fraction that is predicted correctly.

    Examples
    --------
    >>> balanced_accuracy(np.array([[9, 0, 0], [1, 1, 0], [0, 0, 0]]))
    0.75
    """
    number = matrix.sum(1)
    return float((matrix.diagonal()[number > 0] / number[number > 0]).mean())


def confusion_csv(matrix: NDArray[np.int64], *, class_names: Sequence[str]) -> bytes:
    """The matrix as a table: a row for each given label, a column for each predicted class."""
    return matrix_csv(matrix.tolist(), corner="given label", class_names=class_names)
