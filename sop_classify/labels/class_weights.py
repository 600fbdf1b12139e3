"""Which classes a network neglects, and how much.

A network that is trained on wrong labels by a robust method learns some classes late. Early on it
contradicts their labels, and so takes many right ones of them for wrong. Weights of the classes
make up for that, by the EM of Saerens, Latinne and Decaestecker (*Adjusting the outputs of a
classifier to new a priori probabilities*, Neural Computation 14, 2002, equation 9): with them the
probabilities of a class are on average what its share of the true labels is. Their beliefs know the
given labels too, of which a fraction, estimated at the same time, is replaced by any other class.
The shares of the given labels would not do: of a rare class they are mostly wrong labels.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.data.label_arrays import check_labels
from sop_classify.labels.issues import check_probabilities

__all__ = ["class_weights", "weighted"]

# Not until the shares agree: where a network is sure of almost all images, shares that differ by
# chance would need weights of any size.
_ROUNDS = 4
_RATE = 0.1  # fraction of wrong labels, at the start
# A class without labels, or without probability, keeps a weight that is neither 0 nor infinite.
_LEAST_SHARE = 1e-4


def class_weights(given_labels: ArrayLike, probability: ArrayLike) -> NDArray[np.float32]:
    """Factors by which the shares of the classes become those of the true labels, nearly.

    Parameters
    ----------
    given_labels : array_like of int, shape (N,)
        In [0, C).
    probability : array_like of float, shape (N, C)
        What a network says of their images; rows sum to 1.

    Returns
    -------
    ndarray of float32, shape (C,)
        Positive; 1 on average.

    Raises
    ------
    TypeError, ValueError
        As `sop_classify.label_issues` does.

    Examples
    --------
    >>> p = [[0.75, 0.25]] * 4
    >>> bool(weighted(p, class_weights([0, 1, 1, 0], p))[0, 1] > 0.35)
    True
    """
    p = check_probabilities(probability)
    classes = p.shape[1]
    given = check_labels(given_labels, classes, number=len(p), name="the given labels")
    rows, rate, weights = np.arange(len(p)), _RATE, np.ones(classes, np.float32)
    for _ in range(_ROUNDS):
        q = weighted(p, weights)
        right = q[rows, given]
        wrong = rate / (classes - 1) * (1 - right)
        wrong = wrong / ((1 - rate) * right + wrong + 1e-12)  # probability that the label is
        rate = float(wrong.mean())
        belief = q * (wrong / np.maximum(1 - right, 1e-12))[:, None]
        belief[rows, given] = 1 - wrong
        share, said = (each.mean(axis=0, dtype=np.float64) for each in (belief, q))
        weights *= ((share + _LEAST_SHARE) / (said + _LEAST_SHARE)).astype(np.float32)
    weights /= weights.mean()
    return weights


def weighted(probability: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
    """Probabilities times the weights of their classes, divided by their sums.

    Parameters
    ----------
    probability : array_like of float, shape (n, C)
    weights : array_like of float, shape (C,)

    Returns
    -------
    ndarray of float32, shape (n, C)
    """
    product = np.asarray(probability, np.float32) * np.asarray(weights, np.float32)
    return product / product.sum(axis=1, keepdims=True)
