"""Neural collapse: how far a classifier's last layer is from its terminal geometry.

Trained long after it fits every label, a network's features h_i of class c contract to their mean
μ_c, the centred means m_c = μ_c − μ (μ their mean) become the corners of a simplex, the weights w_c
of the last layer turn into the same simplex, and the network decides for the nearest mean (Papyan,
Han and Donoho, PNAS 2020, arXiv 2008.08186). A network that memorises wrong labels collapses
towards the wrong labels, so these distances show memorisation in the last layer.
"""

# numpy declares no type for the result of `pinv`, nor for an operation on two arrays of any dtype.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Collapse", "neural_collapse"]


class Collapse(NamedTuple):
    """Four distances from complete collapse, where each is 0.

    Attributes
    ----------
    nc1 : float
        Variability within classes over that between them, tr(Σ_W Σ_B⁺)/C.
    nc2 : float
        ‖G/‖G‖ − E‖, Frobenius norms, of the means' inner products G_cd = m_cᵀm_d from those of a
        simplex, E = (I − 11ᵀ/C)/√(C−1).
    nc3 : float
        ‖W/‖W‖ − M/‖M‖‖: the last layer against the means, both centred over the classes.
    nc4 : float
        Fraction of the examples whose predicted class is not the class with the nearest mean.
    """

    nc1: float
    nc2: float
    nc3: float
    nc4: float


def neural_collapse(
    features: ArrayLike, labels: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None
) -> Collapse:
    """Compute NC1 to NC4 of features with respect to labels, which may be right or wrong.

    Parameters
    ----------
    features : array, shape (N, d)
        Inputs of the last layer.
    labels : array of int, shape (N,)
        Classes in [0, C), each at least once. All classes have equal weight, whatever their size.
    weight : array, shape (C, d)
        Weight of the last layer.
    bias : array, shape (C,), optional
        Bias of the last layer; 0 if None.

    Returns
    -------
    Collapse

    Raises
    ------
    ValueError
        If shapes do not fit, there are fewer than two classes, a class has no example, a number is
        not finite, or all class means or all rows of the weight coincide.

    References
    ----------
    Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep
    learning training", PNAS 2020, arXiv 2008.08186: NC1, NC3 (not squared here) and NC4. NC2 is
    that of Zhu et al., NeurIPS 2021, arXiv 2105.02375, with the class means in place of W.
    """
    h, w = np.asarray(features, np.float64), np.asarray(weight, np.float64)
    y = np.asarray(labels)
    classes = len(w)
    b = np.zeros(classes) if bias is None else np.asarray(bias, np.float64)
    _check(h, y, w, b)
    means = np.stack([h[y == c].mean(0) for c in range(classes)])
    centred = means - means.mean(0)
    if not centred.any() or not (w - w.mean(0)).any():
        raise ValueError("all class means, or all rows of weight, coincide; there is no geometry")

    # Σ_B = MᵀM/C, so Σ_B⁺ = C P Pᵀ with P = M⁺, and no d x d matrix is needed. M has rank C − 1 at
    # most. Features come from float32, so singular values below its rounding are dropped.
    inverse = np.linalg.pinv(centred, rcond=1e-7)
    spread = np.square((h - means[y]) @ inverse).sum(1)
    nc1 = np.mean([spread[y == c].mean() for c in range(classes)])

    gram = centred @ centred.T
    simplex = (np.eye(classes) - 1 / classes) / np.sqrt(classes - 1)
    nc2 = np.linalg.norm(_unit(gram) - simplex)
    nc3 = np.linalg.norm(_unit(w - w.mean(0)) - _unit(centred))
    nearest = (h @ means.T - np.square(means).sum(1) / 2).argmax(1)
    nc4 = np.mean((h @ w.T + b).argmax(1) != nearest)
    return Collapse(float(nc1), float(nc2), float(nc3), float(nc4))


def _unit(a: np.ndarray) -> np.ndarray:
    return a / np.linalg.norm(a)


def _check(h: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> None:
    if h.ndim != 2 or w.ndim != 2 or h.shape[1] != w.shape[1] or b.shape != (len(w),):
        raise ValueError(
            f"features {h.shape}, weight {w.shape}, bias {b.shape}: expected (N, d), (C, d), (C,)"
        )
    if y.shape != (len(h),) or y.dtype.kind not in "iu":
        raise ValueError(
            f"labels have shape {y.shape} and dtype {y.dtype}; integers of shape ({len(h)},) are "
            "needed"
        )
    if len(w) < 2:
        raise ValueError("weight has one row; two classes are needed at least")
    if not all(np.isfinite(a).all() for a in (h, w, b)):
        raise ValueError("features, weight or bias hold numbers that are not finite")
    found = np.unique(y)
    if not np.array_equal(found, np.arange(len(w))):
        raise ValueError(
            f"labels hold the classes {found.tolist()}; each of 0 to {len(w) - 1} needs an example"
        )
