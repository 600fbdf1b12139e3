"""What fraction of the labels is wrong, with an interval: from one training.

A network says q(x) = P(class | x), with `class_weights`. Labels are taken to be drawn from q T with
a transition matrix T, which is fitted by maximum likelihood (EM over the unknown true classes). The
rate is the mean probability that a label is wrong. Neither truth nor clean labels are needed. An
image of which the network is not sure hardly counts as a wrong label, as it does in the fraction of
contradicted labels. q is taken at its word: a fitted temperature would explain labels of people,
who are mistaken where an image is unclear, as uncertainty of the network. T has a prior by which
all mistakes are about equally frequent, or it would take classes that the network confuses for
wrong labels.

There are two such fits. That of the training images hardly varies, and is too low as far as wrong
labels were memorised, and more are memorised when more are wrong. That of held-out images is a
little too high, because a network is too sure of what it has not seen, and varies with the few
images that there are. They are weighted by what each may be wrong by.

A network that is trained for a short time on few images is less sure than it could be, and both
fits are too low. Then it hardly changes its mind, either, which bounds the rate from below: labels
are wrong where they are contradicted, unless the network is wrong, and it is wrong about three
times as often as its averages over the epochs and its last word disagree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sop_classify.data.label_arrays import check_labels
from sop_classify.labels.class_weights import class_weights, weighted
from sop_classify.labels.issues import check_probabilities

__all__ = ["NoiseRate", "estimate_noise_rate"]

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]

_MOST_ROUNDS, _ENOUGH = 100, 1e-5  # EM ends when the rate moves less
_BOOTSTRAP, _BOOTSTRAP_ROUNDS = 40, 15
# The prior of T: so many more mistakes of each kind were seen, all equally often.
_MISTAKES = 5
_MOST_TRAINED = 10_000  # training images that are looked at: enough for a deviation of 0.005
# Deviations because the model is only a model, from trainings on 5,000 and 10,000 images of
# CIFAR-10: on held-out images; on training images, and what is memorised there, times rate².
_BIAS_HELD_OUT, _BIAS, _MEMORISED = 0.03, 0.012, 0.2
# Errors of a network in units of the disagreement of averages and end: 1 to 4.3 in trainings on
# digits and CIFAR-10. With 3 the bound exceeded the truth by 0.8 points at most.
_ERRORS_PER_DISAGREEMENT = 3
# Parts of the error rate of the network by which the estimate may be too high, and too low: the
# network is unsure where people are mistaken, too.
_TOO_HIGH, _TOO_LOW = 0.15, 0.3


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
    averaged_probability: ArrayLike | None = None,
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
        What the network says of their images.
    averaged_probability : array_like of float, shape (N, C), optional
        What it said of them during the training, averaged over the epochs. Without it the rate is
        underestimated if the network is less sure than it could be.
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
    held_out, given = _checked("held_out_labels", held_out_labels, held_out_probability)
    trained, labels = _checked("training_labels", training_labels, training_probability)
    averaged = trained
    if averaged_probability is not None:
        averaged, _ = _checked("training_labels", labels, averaged_probability)
    weights = class_weights(labels, averaged)
    held_out, trained, averaged = (weighted(p, weights) for p in (held_out, trained, averaged))
    rng = np.random.default_rng(seed)

    predicted = averaged.argmax(axis=1)
    disagreement = float((predicted != trained.argmax(axis=1)).mean())
    contradicted = float((predicted != labels).mean())
    # Contradicted labels, of the images that were trained on relative to those that were held out:
    # 0.75 to 1 as a rule. Below a half, the network has memorised labels; `memorised` is then above
    # 0, up to 1 if it contradicts none, and widens the deviation of the estimate from training.
    contradicted_held_out = max(float((held_out.argmax(axis=1) != given).mean()), 1 / len(given))
    memorised = max(0.0, 1 - 2 * contradicted / contradicted_held_out)
    if len(labels) > _MOST_TRAINED:
        some = rng.choice(len(labels), _MOST_TRAINED, replace=False)
        trained, labels = trained[some], labels[some]
    first, second = _fit(held_out, given), _fit(trained, labels)
    drawn = [
        _fit(held_out[at], given[at], start=first, rounds=_BOOTSTRAP_ROUNDS).rate
        for at in (rng.integers(len(given), size=len(given)) for _ in range(_BOOTSTRAP))
    ]
    # A bootstrap of few images may not know all that can happen.
    variance = max(float(np.var(drawn)), _binomial(first.rate, len(given))) + _BIAS_HELD_OUT**2
    bias = _BIAS**2 + (_MEMORISED * first.rate**2) ** 2 + (memorised * first.rate) ** 2
    bias += _binomial(second.rate, len(labels))
    weight = variance / (variance + bias)  # of the training images
    estimate = (1 - weight) * first.rate + weight * second.rate
    deviation = float(np.sqrt(weight * bias))
    if averaged_probability is not None:
        estimate = max(estimate, contradicted - _ERRORS_PER_DISAGREEMENT * disagreement)

    errors = 1 - float(held_out.max(axis=1).mean())
    too_high, too_low = (
        1.96 * float(np.hypot(deviation, part * errors)) for part in (_TOO_HIGH, _TOO_LOW)
    )
    return NoiseRate(estimate, max(0.0, estimate - too_high), min(1.0, estimate + too_low))


def _binomial(rate: float, number: int) -> float:
    """The variance of a rate in so many labels, to which one wrong and one right one are added."""
    added = (number * rate + 1) / (number + 2)
    return added * (1 - added) / number


def _checked(name: str, labels: ArrayLike, probability: ArrayLike) -> tuple[Probabilities, Labels]:
    p = check_probabilities(probability)
    # 1e-6: a probability of 0 would make a label impossible that is there.
    return p.clip(1e-6), check_labels(labels, p.shape[1], number=len(p), name=name)


@dataclass(frozen=True, eq=False)
class _Fit:
    rate: float
    transitions: NDArray[np.float64]  # (C, C), rows sum to 1


def _fit(
    q: Probabilities, given: Labels, *, start: _Fit | None = None, rounds: int = _MOST_ROUNDS
) -> _Fit:
    classes = q.shape[1]
    one_hot = np.eye(classes)[given]
    rate = 0.1 if start is None else start.rate
    transitions = _uniform(rate, classes) if start is None else start.transitions
    for _ in range(rounds):
        belief = q * transitions[:, given].T
        belief /= belief.sum(axis=1, keepdims=True)
        counts = belief.T @ one_hot
        old, rate = rate, 1 - float(np.trace(counts)) / len(given)
        # The examples among which there are _MISTAKES of each kind. 1e-3: without mistakes there
        # would be infinitely many.
        prior = _MISTAKES * (classes - 1) / max(rate, 1e-3)
        transitions = counts + prior * _uniform(rate, classes)
        transitions /= transitions.sum(axis=1, keepdims=True)
        if abs(rate - old) < _ENOUGH:
            break
    return _Fit(rate, transitions)


def _uniform(rate: float, classes: int) -> NDArray[np.float64]:
    """A transition matrix with all mistakes equally frequent."""
    matrix = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(matrix, 1 - rate)
    return matrix
