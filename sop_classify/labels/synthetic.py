"""Wrong labels made on purpose: symmetric, asymmetric and instance-dependent noise.

Labels are integers of shape (N,) in [0, C). The functions return new int64 labels and do not change
those that they are given. `rate` is a fraction in [0, 1). Papers define it differently, so the
fraction of labels that become wrong depends on the kind; `sop_classify.labels.arrays.noise_rate`
measures it.

All functions raise TypeError if the labels are not integers, and ValueError if there are no labels,
if the shape is another, if a label is outside [0, C), if C < 2, or if the rate is outside [0, 1).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.data.image_data import channel_statistics
from sop_classify.labels.arrays import check_labels
from sop_classify.labels.label_noise import ASYMMETRIC_VARIANTS, check_mapping

__all__ = ["asymmetric_noise", "instance_noise", "symmetric_noise"]

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
    >>> noisy = symmetric_noise(np.zeros(10, int), 0.4, 3, rng=np.random.default_rng(0))
    >>> (noisy != 0).mean()
    np.float64(0.4)
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
    check_labels([*pairs.keys(), *pairs.values()], num_classes, name="the classes of the mapping")
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


def _check(labels: ArrayLike, rate: float, num_classes: int) -> Labels:
    if not 0 <= rate < 1:  # written so that NaN fails
        raise ValueError(f"rate is {rate}; a fraction in [0, 1) is needed")
    return check_labels(labels, num_classes)


def _part(pool: NDArray[np.intp], rate: float, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.choice(pool, round(rate * pool.size), replace=False)


def _named(name: str, num_classes: int, rng: np.random.Generator) -> Mapping[int, int]:
    check_mapping(name)
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
