"""What fraction of the labels is wrong, with an interval: from one training.

A network says q(x) = P(class | x). Labels are taken to be drawn from q^(1/τ) T, with a temperature
τ, because a network that is trained on wrong labels is not as sure as it could be, and a transition
matrix T. Both are fitted by maximum likelihood (EM over the unknown true classes; T has a prior of
one example a cell that all mistakes are equally frequent). The rate is the mean probability that a
label is wrong. Neither truth nor clean labels are needed. An image of which the network is not sure
hardly counts as a wrong label, as it does in the fraction of contradicted labels.

There are two such fits. That of held-out images is a little too high, because mistakes of which the
network is sure count as wrong labels, and varies with the few images that there are. That of the
training images, by probabilities averaged over the epochs, hardly varies, and is too low as far as
wrong labels were memorised. The two are weighted: the fewer held-out images, and the better both
agree, the more counts the second.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.labels.arrays import check_labels
from sop_classify.labels.issues import check_probabilities

__all__ = ["NoiseRate", "estimate_noise_rate"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_MOST_ROUNDS, _ENOUGH = 300, 1e-5  # EM ends when no entry of T moves more
_BOOTSTRAP, _BOOTSTRAP_ROUNDS = 40, 30
# Deviations because the model is only a model: on held-out images, 0.012 to 0.019 too high in five
# trainings on CIFAR-10 that were right about 70 to 89 % of the images; on training images of which
# no more was memorised than the other fit shows.
_BIAS_HELD_OUT, _BIAS = 0.015, 0.02
_MOST_TRAINED = 10_000  # training images that are looked at: enough for a deviation of 0.005
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
    training_labels: ArrayLike,
    training_probability: ArrayLike,
    seed: int = 0,
) -> NoiseRate:
    """Estimate the fraction of wrong labels.

    Parameters
    ----------
    held_out_labels : array_like of int, shape (n,)
        Given labels, in [0, C), that were not trained on.
    held_out_probability : array_like of float, shape (n, C)
        What the network says of their images.
    training_labels : array_like of int, shape (N,)
        Given labels that were trained on.
    training_probability : array_like of float, shape (N, C)
        What the network said of their images, averaged over the epochs.
    seed : int
        Seeds the bootstrap, and which training images are looked at.

    Returns
    -------
    NoiseRate

    Raises
    ------
    TypeError, ValueError
        As `sop_classify.label_issues` does.
    """
    logs, given = _checked("held_out_labels", held_out_labels, held_out_probability)
    rng = np.random.default_rng(seed)
    fit = _fit(logs, given)
    trained, labels = _checked("training_labels", training_labels, training_probability)
    if len(labels) > _MOST_TRAINED:
        some = rng.choice(len(labels), _MOST_TRAINED, replace=False)
        trained, labels = trained[some], labels[some]
    second = _fit(trained, labels).rate
    drawn = [
        _fit(logs[at], given[at], start=fit, rounds=_BOOTSTRAP_ROUNDS).rate
        for at in (rng.integers(len(given), size=len(given)) for _ in range(_BOOTSTRAP))
    ]
    # A bootstrap of few images may not know all that can happen; a binomial deviation, of one more
    # wrong and one more right label, is the least.
    at_least = (len(given) * fit.rate + 1) / (len(given) + 2)
    variance = max(float(np.var(drawn)), at_least * (1 - at_least) / len(given))
    variance += _BIAS_HELD_OUT**2
    # Memorised labels show where the two differ by more than chance makes likely.
    bias = _BIAS**2 + max(0.0, (fit.rate - second) ** 2 - 4 * variance)
    weight = variance / (variance + bias)  # of the training images
    estimate = (1 - weight) * fit.rate + weight * second
    errors = 1 - float(_at(logs, fit.temperature).max(axis=1).mean())
    half = 1.96 * float(np.sqrt(weight * bias + (_MODEL + _OF_ERRORS * errors) ** 2))
    return NoiseRate(estimate, max(0.0, estimate - half), min(1.0, estimate + half))


def _checked(name: str, labels: ArrayLike, probability: ArrayLike) -> tuple[Floats, Labels]:
    """Logarithms of the probabilities, and the labels."""
    p = check_probabilities(probability)
    given = check_labels(labels, p.shape[1], number=len(p), name=name)
    # 1e-6: a probability of 0 would make a label impossible that is there.
    return np.log(np.clip(p, 1e-6, None).astype(np.float64)), given


@dataclass(frozen=True, eq=False)
class _Fit:
    rate: float
    temperature: float
    transitions: Floats  # (C, C), rows sum to 1


def _fit(
    logs: Floats,
    given: Labels,
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


def _better(logs: Floats, given: Labels, temperature: float, transitions: Floats) -> float:
    """The likeliest of the temperature and its neighbours, within [0.2, 20]."""
    near = np.clip(temperature * np.array([0.85, 0.95, 1, 1.05, 1.18]), 0.2, 20)
    columns = transitions[:, given].T
    likely = [float(np.log((_at(logs, each) * columns).sum(axis=1)).sum()) for each in near]
    return float(near[int(np.argmax(likely))])
