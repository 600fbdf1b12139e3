"""Wrong labels made on purpose: symmetric, asymmetric and instance-dependent noise.

Labels are integers of shape (N,) in [0, C). The functions return new int64 labels and do not change
those that they are given. `rate` is a fraction in [0, 1). Papers define it differently, so the
fraction of labels that become wrong depends on the kind;
`sop_classify.data.label_arrays.noise_rate` measures it.

All functions raise TypeError if the labels are not integers or another parameter has another type,
and ValueError if there are no labels, if the shape is another, if a label is outside [0, C), if
C < 2, or if the rate is outside [0, 1).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_real, check_type
from sop_classify.data.image_data import channel_statistics
from sop_classify.data.label_arrays import check_labels, not_masked
from sop_classify.labels.label_noise import ASYMMETRIC_VARIANTS, check_mapping

__all__ = ["asymmetric_noise", "instance_noise", "second_choice_noise", "symmetric_noise"]

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
        False: draw one of the C - 1 other classes, so that every drawn label is wrong. True: draw
        one of all C classes, as in the code of SOP, ELR and DivideMix, so that about
        rate * (C - 1) / C of the labels are wrong.

    Returns
    -------
    ndarray of int64, shape (N,)

    Examples
    --------
    >>> noisy = symmetric_noise(np.zeros(10, int), 0.4, 3, rng=np.random.default_rng(0))
    >>> (noisy != 0).mean()
    np.float64(0.4)
    """
    noisy = _check(labels, rate, num_classes, rng)
    check_type("include_true", include_true, bool)
    drawn = _part(np.arange(noisy.size), rate, rng)
    if include_true:
        noisy[drawn] = rng.integers(num_classes, size=drawn.size)
    else:
        # A cyclic shift by 1 to C - 1 reaches each other class exactly once.
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
    """Give examples of some classes the label of a class that they are mistaken for.

    In each class that the mapping names, round(rate * its size) random examples change. The named
    mappings, and the fraction of wrong labels that each gives on balanced data:

    - ``"cifar10"``: truck → automobile, bird → airplane, deer → horse, cat ↔ dog, as in the code of
      ELR and SOP; rate / 2.
    - ``"cifar10-all"``: the same classes, as in the code of DivideMix: round(rate * N) examples of
      all classes are drawn, and those of the five classes change; about rate / 2.
    - ``"cifar100-cyclic"``: each class becomes the next in its block of five consecutive ids, and
      the last becomes the first, as in the code of ELR (which draws each example independently);
      rate.
    - ``"cifar100-pairs"``: in each block two random classes are exchanged, as in the code of SOP;
      0.4 * rate, that is 16 % wrong labels for a rate of 0.4.

    Blocks are formed from the ids in alphabetical order of the names; they are not the superclasses
    of CIFAR-100.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
    rate : float
        In [0, 1).
    num_classes : int
        C, at least 2; 10 or 100 for a named mapping.
    mapping : str or mapping of int to int
        A key of `ASYMMETRIC_VARIANTS`, or {class: what it becomes} for other data.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (N,)

    Raises
    ------
    ValueError
        Also if the name is unknown or made for another number of classes, or the mapping is empty
        or names a class outside [0, C).

    Examples
    --------
    >>> noisy = asymmetric_noise(
    ...     [0, 0, 1, 1, 2, 2], 0.5, 3, mapping={0: 1}, rng=np.random.default_rng(0)
    ... )
    >>> sorted(noisy.tolist())
    [0, 1, 1, 1, 2, 2]
    """
    noisy = _check(labels, rate, num_classes, rng)
    if isinstance(mapping, str):
        pairs = _named(mapping, num_classes, rng)
    else:
        pairs = check_type("mapping", mapping, Mapping)
    if not pairs:
        raise ValueError("the mapping is empty; give it a class and what it becomes")
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
    """Draw wrong labels that depend on the image (PDN).

    Algorithm 2 of Xia et al., *Part-dependent label noise*, NeurIPS 2020 (arXiv 2006.07836): an
    image x of class y gets a wrong label with its own probability q, drawn from N(rate, 0.1²)
    truncated to [0, 1]. The wrong label is class j ≠ y with probability softmax(x W_y)_j. W_y
    (features by classes, one for each y) is standard normal; x is the flattened image with channels
    standardised over the data set. Similar images of one class therefore tend to get the same wrong
    label.

    The expected fraction of wrong labels is the mean of the truncated normal distribution: 0.101
    for a rate of 0.05, 0.129 for 0.1, 0.206 for 0.2, and the rate itself from 0.3 to 0.7. A rate of
    0 changes nothing.

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
    noisy = _check(labels, rate, num_classes, rng)
    images = _check_images(images, noisy.size)
    if rate == 0:  # the truncated normal distribution has mean 0.08
        return noisy
    # The categorical draw is split in two: first whether the label changes, so that the expensive
    # scores are computed only for images whose label does.
    turns = rng.random(noisy.size) < _flip_rates(rate, noisy.size, rng)
    turning = [np.flatnonzero(turns & (noisy == y)) for y in range(num_classes)]
    features = images[0].size
    chunk = max(1, 2**21 // features)  # images in 16 MB of float64
    mean, std = channel_statistics(images)
    for y, index in enumerate(turning):
        weight = rng.standard_normal((features, num_classes))
        for rows in np.split(index, range(chunk, index.size, chunk)):
            # float64, so that no label depends on how a machine rounds.
            pixels = images[rows] - mean
            pixels /= std
            scores = pixels.reshape(rows.size, features) @ weight
            scores[:, y] = -np.inf
            # Gumbel's trick: the argmax of score + Gumbel noise has the softmax's distribution.
            noisy[rows] = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return noisy


def second_choice_noise(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    rate: float,
    num_classes: int,
    *,
    rng: np.random.Generator,
) -> Labels:
    """Give a part of the examples the class that a weak classifier mistakes them for.

    The classifier is ridge regression of the classes on the pixels, fitted to the true labels. An
    example's new label is the most probable of the other classes. Which examples get one is random,
    but those that the classifier finds hard get one more often: round(rate * N) of the largest
    values of Gumbel noise minus margin, the margin in units of its standard deviation. Such errors
    resemble those of people, and are the hardest to find: similar images are mistaken alike.

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
    noisy = _check(labels, rate, num_classes, rng)
    images = _check_images(images, noisy.size)
    # Every n-th row and column: at most 16 of each keep the equations small.
    steps = [-(-side // 16) for side in images.shape[1:3]]
    x = images[:, :: steps[0], :: steps[1]].reshape(noisy.size, -1) / 255 - 0.5
    x = np.column_stack([x, np.ones(noisy.size)])
    ridge = 0.01 * noisy.size * np.eye(x.shape[1])
    scores = x @ np.linalg.solve(x.T @ x + ridge, x.T @ np.eye(num_classes)[noisy])
    own = np.take_along_axis(scores, noisy[:, None], axis=1)[:, 0]
    np.put_along_axis(scores, noisy[:, None], -np.inf, axis=1)
    margin = own - scores.max(axis=1)
    hardness = rng.gumbel(size=noisy.size) - margin / max(margin.std(), 1e-12)
    turned = np.argsort(-hardness, kind="stable")[: round(rate * noisy.size)]
    noisy[turned] = scores[turned].argmax(axis=1)
    return noisy


def _check_images(images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    images = not_masked("the images", images)
    if images.dtype != np.uint8:
        raise TypeError(f"the images are {images.dtype}; uint8 is needed")
    if images.ndim != 4 or images.shape[0] != number or images.size == 0:
        raise ValueError(
            f"the images have shape {images.shape}; ({number}, H, W, channels) is needed, "
            "one for each label"
        )
    return images


def _check(labels: ArrayLike, rate: float, num_classes: int, rng: np.random.Generator) -> Labels:
    check_real("rate", rate, least=0, below=1)
    check_type("rng", rng, np.random.Generator)
    return check_labels(labels, num_classes)


def _part(pool: NDArray[np.intp], rate: float, rng: np.random.Generator) -> NDArray[np.intp]:
    return rng.choice(pool, round(rate * pool.size), replace=False)


def _named(name: str, num_classes: int, rng: np.random.Generator) -> Mapping[int, int]:
    check_mapping(name)
    if num_classes != ASYMMETRIC_VARIANTS[name]:
        raise ValueError(
            f"the mapping {name!r} is for {ASYMMETRIC_VARIANTS[name]} classes, not {num_classes}; "
            "give your own, {class: what it becomes}"
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
    """Draw from N(rate, 0.1²) truncated to [0, 1]: values outside are drawn again."""
    rates = rng.normal(rate, 0.1, count)
    while (outside := (rates < 0) | (rates > 1)).any():
        rates[outside] = rng.normal(rate, 0.1, int(outside.sum()))
    return rates
