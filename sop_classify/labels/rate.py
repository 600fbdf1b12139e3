"""What fraction of the labels is wrong, with an interval: from images that were not trained on.

A network says q(x) = P(class | x) of the held-out images. Their labels are taken to be drawn from
q^(1/τ) T, with a temperature τ, because a network that is trained on wrong labels is not as sure as
it could be, and a transition matrix T. Both are fitted by maximum likelihood (EM over the
unknown true classes; T has a prior of one example a cell that all mistakes are equally frequent).
The rate is the mean probability that a held-out label is wrong. Neither truth nor clean labels are
needed. An image of which the network is not sure hardly counts as a wrong label, as it does in the
fraction of contradicted labels; mistakes of which it is sure still do, so that the estimate is too
high by a part of the network's own error rate. The interval has room for that.

On the training images the network agrees with wrong labels that it has memorised, so the fraction
of contradicted labels is biased. But it has little variance. The two are weighted: the fewer
held-out images, and the better both agree, the more counts the second.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.labels.arrays import check_labels
from sop_classify.labels.issues import check_probabilities

__all__ = ["NoiseRate", "estimate_noise_rate"]

Floats = NDArray[np.float64]

_MOST_ROUNDS, _ENOUGH = 300, 1e-5  # EM ends when no entry of T moves more
_BOOTSTRAP, _BOOTSTRAP_ROUNDS = 40, 30
# The deviation of the fraction of contradicted labels where nothing was memorised.
_BIAS = 0.02
# The deviation of the estimate because the model is only a model: so much, and this part of the
# error rate of the network. On 5,000 images of CIFAR-10 with 40 % wrong labels, networks that were
# wrong about 31 to 46 % of the images gave 3 to 11 points too much.
_MODEL, _OF_ERRORS = 0.005, 0.15


@dataclass(frozen=True)
class NoiseRate:
    """An estimate of the fraction of wrong labels, and an interval of 95 %."""

    estimate: float
    low: float
    high: float


def estimate_noise_rate(
    held_out_labels: ArrayLike,
    held_out_probability: ArrayLike,
    *,
    contradicted: float,
    seed: int = 0,
) -> NoiseRate:
    """Estimate the fraction of wrong labels.

    Parameters
    ----------
    held_out_labels : array_like of int, shape (n,)
        Given labels, in [0, C), that were not trained on.
    held_out_probability : array_like of float, shape (n, C)
        What the network says of their images.
    contradicted : float
        Fraction of the training labels, in [0, 1], that are not the most probable class, by the
        probabilities averaged over the epochs.
    seed : int
        Seeds the bootstrap.

    Returns
    -------
    NoiseRate

    Raises
    ------
    TypeError, ValueError
        As `sop_classify.label_issues` does.
    """
    p = check_probabilities(held_out_probability)
    given = check_labels(held_out_labels, p.shape[1], number=len(p), name="held_out_labels")
    # 1e-6: a probability of 0 would make a label impossible that is there.
    logs = np.log(np.clip(p, 1e-6, None).astype(np.float64))
    fit = _fit(logs, given)
    rng = np.random.default_rng(seed)
    drawn = [
        _fit(logs[at], given[at], start=fit, rounds=_BOOTSTRAP_ROUNDS).rate
        for at in (rng.integers(len(p), size=len(p)) for _ in range(_BOOTSTRAP))
    ]
    # A bootstrap of few images may not know all that can happen; a binomial deviation, of one more
    # wrong and one more right label, is the least.
    at_least = (len(p) * fit.rate + 1) / (len(p) + 2)
    variance = max(float(np.var(drawn)), at_least * (1 - at_least) / len(p))
    gap = float((p.argmax(axis=1) != given).mean()) - contradicted
    # Memorised labels show where the two differ by more than chance makes likely.
    bias = _BIAS**2 + max(0.0, gap**2 - 4 * variance)
    weight = variance / (variance + bias)  # of the training labels
    estimate = (1 - weight) * fit.rate + weight * contradicted
    errors = 1 - float(_at(logs, fit.temperature).max(axis=1).mean())
    half = 1.96 * float(np.sqrt(weight * bias + (_MODEL + _OF_ERRORS * errors) ** 2))
    return NoiseRate(estimate, max(0.0, estimate - half), min(1.0, estimate + half))


@dataclass(frozen=True, eq=False)
class _Fit:
    rate: float
    temperature: float
    transitions: Floats  # (C, C), rows sum to 1


def _fit(
    logs: Floats,
    given: NDArray[np.int64],
    *,
    start: _Fit | None = None,
    rounds: int = _MOST_ROUNDS,
) -> _Fit:
    classes = logs.shape[1]
    transitions = _uniform(0.1, classes) if start is None else start.transitions
    temperature = 1.0 if start is None else start.temperature
    one_hot = np.eye(classes)[given]
    rate = 0.0
    for at in range(rounds):
        belief = _at(logs, temperature) * transitions[:, given].T
        belief /= belief.sum(axis=1, keepdims=True)
        rate = 1 - float((belief * one_hot).sum(axis=1).mean())
        counts = belief.T @ one_hot
        new = counts + classes * _uniform(rate, classes)
        new /= new.sum(axis=1, keepdims=True)
        moved, transitions = float(abs(new - transitions).max()), new
        if start is None and at % 2 == 0:
            temperature = _better(logs, given, temperature, transitions)
        elif moved < _ENOUGH:
            break
    return _Fit(rate, temperature, transitions)


def _uniform(rate: float, classes: int) -> Floats:
    """A transition matrix with all mistakes equally frequent."""
    matrix = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix


def _at(logs: Floats, temperature: float) -> Floats:
    q = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    return q / q.sum(axis=1, keepdims=True)


def _better(
    logs: Floats, given: NDArray[np.int64], temperature: float, transitions: Floats
) -> float:
    """The likeliest of the temperature and its neighbours, within [0.2, 20]."""
    near = np.clip(temperature * np.array([0.85, 0.95, 1, 1.05, 1.18]), 0.2, 20)
    columns = transitions[:, given].T
    likely = [float(np.log((_at(logs, each) * columns).sum(axis=1)).sum()) for each in near]
    return float(near[int(np.argmax(likely))])
