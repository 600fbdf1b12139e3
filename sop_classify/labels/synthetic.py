"""Wrong labels made on purpose: symmetric, asymmetric and instance-dependent noise.

Labels are integers of shape (N,) in [0, C). The functions return new int64 labels and leave the
given ones as they are. `rate` is a fraction in [0, 1); what part of the labels ends up wrong
depends on the definition, which differs between papers under one name, so measure it:
`noise_rate(clean, noisy)`.

They raise TypeError if the labels are not integers, and ValueError if there are none, if they have
another shape, lie outside [0, C), or if C < 2 or the rate is outside [0, 1).
"""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.data.image_data import channel_statistics

__all__ = [
    "ASYMMETRIC_VARIANTS",
    "SYNTHETIC_NOISE",
    "asymmetric_noise",
    "check_labels",
    "instance_noise",
    "noise_rate",
    "symmetric_noise",
    "transition_matrix",
]

SYNTHETIC_NOISE = ("symmetric", "asymmetric", "instance")

# Name -> the number of classes that it is made for.
ASYMMETRIC_VARIANTS = {
    "cifar10": 10,
    "cifar10-all": 10,
    "cifar100-cyclic": 100,
    "cifar100-pairs": 100,
}

Labels = NDArray[np.int64]


def symmetric_noise(
    labels: ArrayLike,
    rate: float,
    num_classes: int,
    *,
    rng: np.random.Generator,
    include_true: bool = False,
) -> Labels:
    """Give a random part of the examples a class drawn uniformly.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    rate : float
        In [0, 1): round(rate * N) examples are drawn.
    num_classes : int
        C, at least 2.
    rng : numpy.random.Generator
    include_true : bool
        False: one of the C - 1 other classes, so that all the drawn are wrong. True: one of all C,
        as in the code of SOP, ELR and DivideMix; about rate * (C - 1) / C of the labels are wrong.

    Returns
    -------
    ndarray of int64, shape (N,)

    Examples
    --------
    >>> clean = np.zeros(10, int)
    >>> noise_rate(clean, symmetric_noise(clean, 0.4, 3, rng=np.random.default_rng(0)))
    0.4
    """
    noisy = _check(labels, rate, num_classes)
    drawn = _part(np.arange(noisy.size), rate, rng)
    if include_true:
        noisy[drawn] = rng.integers(num_classes, size=drawn.size)
    else:
        # A shift by 1 to C - 1, round the circle of classes, reaches each other class once.
        noisy[drawn] += rng.integers(1, num_classes, drawn.size)
        noisy %= num_classes
    return noisy


def asymmetric_noise(
    labels: ArrayLike,
    rate: float,
    num_classes: int,
    *,
    mapping: str | Mapping[int, int],
    rng: np.random.Generator,
) -> Labels:
    """Turn classes into those that they are mistaken for.

    Of each class that the mapping names, round(rate * its size) random examples turn. The named
    mappings, with the part of a balanced data set that they leave wrong:

    - ``"cifar10"``: truck → automobile, bird → airplane, deer → horse, cat ↔ dog, as in the code of
      ELR and SOP; rate / 2.
    - ``"cifar10-all"``: the same classes as in the code of DivideMix: round(rate * N) examples of
      all classes are drawn, and those of the five classes turn; about rate / 2.
    - ``"cifar100-cyclic"``: each class turns into the next within blocks of five consecutive ids,
      round a circle, as in the code of ELR (which draws each example by itself); rate.
    - ``"cifar100-pairs"``: in each such block two random classes turn into one another, as in the
      code of SOP; 0.4 * rate, that is 16 % wrong labels for a rate of 0.4.

    The blocks are of ids in alphabetical order, not CIFAR-100's superclasses.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    rate : float
        In [0, 1).
    num_classes : int
        C, at least 2; of a named mapping 10 or 100, as its name says.
    mapping : str or mapping of int to int
        A key of `ASYMMETRIC_VARIANTS`, or {class: what it turns into} for other data.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    ValueError
        Also if the name is unknown or is of another number of classes, or the mapping is empty or
        names a class outside [0, C).

    Examples
    --------
    >>> noisy = asymmetric_noise(
    ...     [0, 0, 1, 1, 2, 2], 0.5, 3, mapping={0: 1}, rng=np.random.default_rng(0)
    ... )
    >>> sorted(noisy.tolist())
    [0, 1, 1, 1, 2, 2]
    """
    noisy = _check(labels, rate, num_classes)
    pairs = _named(mapping, num_classes, rng) if isinstance(mapping, str) else mapping
    if not pairs:
        raise ValueError("the mapping is empty; give it a class and what it turns into")
    check_labels([*pairs.keys(), *pairs.values()], num_classes, name="classes of the mapping")
    target = np.arange(num_classes)
    target[list(pairs.keys())] = list(pairs.values())
    if mapping == "cifar10-all":
        drawn = _part(np.arange(noisy.size), rate, rng)
    else:
        sources = (np.flatnonzero(noisy == source) for source in pairs)
        drawn = np.concatenate([_part(source, rate, rng) for source in sources])
    noisy[drawn] = target[noisy[drawn]]
    return noisy


def instance_noise(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    rate: float,
    num_classes: int,
    *,
    rng: np.random.Generator,
) -> Labels:
    """Draw wrong labels that depend on what the image shows (PDN).

    Algorithm 2 of Xia et al., *Part-dependent label noise*, NeurIPS 2020 (arXiv 2006.07836): an
    image x of class y turns with a probability q of its own, drawn from N(rate, 0.1²) truncated to
    [0, 1], and then into class j ≠ y with probability softmax(x W_y)_j. W_y (features by classes,
    one for each y) is standard normal; x is the image, flattened, its channels standardised over
    the data set. So similar images of one class tend to get the same wrong label.

    The fraction of wrong labels is the mean of that truncated normal in expectation: 0.101 for a
    rate of 0.05, 0.129 for 0.1, 0.206 for 0.2, the rate itself from 0.3 to 0.7. At 0 none is wrong.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, channels)
    labels : array_like of int, shape (N,)
    rate : float
        In [0, 1).
    num_classes : int
        C, at least 2.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    TypeError, ValueError
        Also if the images are not uint8, or have another shape or number.
    """
    noisy = _check(labels, rate, num_classes)
    if images.dtype != np.uint8:
        raise TypeError(f"the images are {images.dtype}; uint8 is needed")
    if images.ndim != 4 or images.shape[0] != noisy.size or images.size == 0:
        raise ValueError(
            f"the images have shape {images.shape}; ({noisy.size}, H, W, channels) is needed, "
            "one for each label"
        )
    if rate == 0:  # where the truncated normal has mean 0.08
        return noisy
    # The label is drawn in two parts of one categorical draw: first whether it turns, so that the
    # costly scores are computed only for images that do.
    turns = rng.random(noisy.size) < _flip_rates(rate, noisy.size, rng)
    turning = [np.flatnonzero(turns & (noisy == y)) for y in range(num_classes)]
    features = images[0].size
    chunk = max(1, 2**21 // features)  # images in 16 MB of float64
    mean, std = channel_statistics(images)
    for y, index in enumerate(turning):
        weight = rng.standard_normal((features, num_classes))
        for rows in np.split(index, range(chunk, index.size, chunk)):
            # float64, so that no label hangs on how a machine rounds.
            pixels = images[rows] - mean
            pixels /= std
            scores = pixels.reshape(rows.size, features) @ weight
            scores[:, y] = -np.inf
            # Gumbel's trick: the largest of score + Gumbel noise is distributed as the softmax.
            noisy[rows] = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return noisy


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
    truth, given = np.asarray(clean), np.asarray(noisy)
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


def check_labels(labels: ArrayLike, num_classes: int, *, name: str = "labels") -> Labels:
    """A copy of the labels as int64, once they are known to be what this module describes.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    num_classes : int
        C, at least 2.
    name : str
        What to call them in a message.

    Raises
    ------
    TypeError, ValueError
        As the module says.
    """
    array = np.asarray(labels)
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; at least 2 are needed")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"the {name} have shape {array.shape}; (N,) with N > 0 is needed")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"the {name} are {array.dtype}; integers are needed")
    low, high = array.min(), array.max()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"the {name} go from {low} to {high}; with {num_classes} classes 0 to "
            f"{num_classes - 1} are possible"
        )
    return array.astype(np.int64)


def _check(labels: ArrayLike, rate: float, num_classes: int) -> Labels:
    if not 0 <= rate < 1:  # written so that NaN fails
        raise ValueError(f"rate is {rate}; a fraction in [0, 1) is needed")
    return check_labels(labels, num_classes)


def _check_pair(clean: NDArray[Any], noisy: NDArray[Any]) -> None:
    if clean.shape != noisy.shape or clean.ndim != 1 or clean.size == 0:
        raise ValueError(
            f"the labels have shapes {clean.shape} and {noisy.shape}; (N,) with N > 0 is needed, "
            "the same for both"
        )


def _part(pool: NDArray[np.intp], rate: float, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.choice(pool, round(rate * pool.size), replace=False)


def _named(name: str, num_classes: int, rng: np.random.Generator) -> Mapping[int, int]:
    if name not in ASYMMETRIC_VARIANTS:
        close = difflib.get_close_matches(name, ASYMMETRIC_VARIANTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"unknown mapping {name!r}: use one of {', '.join(ASYMMETRIC_VARIANTS)}{hint}"
        )
    if num_classes != ASYMMETRIC_VARIANTS[name]:
        raise ValueError(
            f"the mapping {name!r} is for {ASYMMETRIC_VARIANTS[name]} classes, not {num_classes}; "
            "give your own, {class: what it turns into}"
        )
    if name in ("cifar10", "cifar10-all"):
        # truck → automobile, bird → airplane, deer → horse, cat ↔ dog
        return {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
    blocks = np.arange(100).reshape(20, 5)
    if name == "cifar100-cyclic":
        following = np.roll(blocks, -1, axis=1)
        return dict(zip(blocks.ravel().tolist(), following.ravel().tolist(), strict=True))
    pairs = [rng.choice(block, 2, replace=False).tolist() for block in blocks]
    return {source: target for a, b in pairs for source, target in ((a, b), (b, a))}


def _flip_rates(rate: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """N(rate, 0.1²) truncated to [0, 1]: what falls outside is drawn again."""
    rates = rng.normal(rate, 0.1, count)
    while (outside := (rates < 0) | (rates > 1)).any():
        rates[outside] = rng.normal(rate, 0.1, int(outside.sum()))
    return rates
