"""Which training labels are probably wrong, how many, and which class is mistaken for which.

The evidence comes from the training itself: the probabilities p̄ that the network gave to each
training example, averaged over the epochs (`TrainingLoop.probability`). No second training is
needed, and the fraction of wrong labels need not be known.

A label is an issue if another class has a higher p̄. Published thresholds that adapt to the noise,
such as the class-wise mean of p̄ in confident learning (Northcutt, Jiang and Chuang, *Confident
learning*, JAIR 2021, arXiv 1911.00068, equation 2), are made for probabilities from
cross-validation. A network favours the labels that it was trained on, which raises these means, so
that most labels that it contradicts with less confidence are missed. A mixture of two components
fitted to the scores (DivideMix, arXiv 2002.07394) always finds two, even if all labels are right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_choice
from sop_classify.data.label_arrays import check_labels, not_masked, transition_matrix

__all__ = [
    "SCORES",
    "LabelIssues",
    "auroc",
    "check_probabilities",
    "f1",
    "label_issues",
    "normalized_margin",
    "self_confidence",
]

Scores = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """A judgement of each of N training labels, in the order of the examples.

    Attributes
    ----------
    is_label_issue : ndarray of bool, shape (N,)
        Another class is more probable than the given one.
    label_score : ndarray of float32, shape (N,)
        In [0, 1]; low where the label is probably wrong.
    given_label, predicted_label : ndarray of int64, shape (N,)
        They differ exactly where `is_label_issue`.
    transition_matrix : ndarray of float64, shape (C, C)
        Estimate of P(given label j | true label i) in row i, column j, with `predicted_label` in
        place of the true label. Rows sum to 1. A class that is never predicted gets a 1 on the
        diagonal.
    """

    is_label_issue: NDArray[np.bool_]
    label_score: Scores
    given_label: NDArray[np.int64]
    predicted_label: NDArray[np.int64]
    transition_matrix: NDArray[np.float64]

    @property
    def noise_rate(self) -> float:
        """Estimate of the fraction of wrong labels: the fraction of issues.

        It is too high if the network misclassifies rightly labelled examples, and too low if it has
        memorised wrong labels.
        """
        return float(self.is_label_issue.mean())

    @property
    def worst_first(self) -> NDArray[np.int64]:
        """All N indices by rising `label_score`; equal scores in the order of the examples."""
        return np.argsort(self.label_score, kind="stable").astype(np.int64)


def self_confidence(given: NDArray[np.int64], probability: Scores) -> Scores:
    """The probability of the given label, in [0, 1], shape (N,)."""
    return np.take_along_axis(probability, given[:, None], axis=1)[:, 0].clip(0, 1)


def normalized_margin(given: NDArray[np.int64], probability: Scores) -> Scores:
    """Margin of the given label over the best other one: (p_given − max p_other + 1) / 2.

    In [0, 1], shape (N,); below 1/2 where another class is more probable.
    """
    other = np.arange(probability.shape[1]) != given[:, None]
    best_other = probability.max(axis=1, where=other, initial=0)
    return ((self_confidence(given, probability) - best_other + 1) / 2).clip(0, 1)


# The names are those of cleanlab.
SCORES: Mapping[str, Callable[[NDArray[np.int64], Scores], Scores]] = {
    "normalized_margin": normalized_margin,
    "self_confidence": self_confidence,
}


def label_issues(
    given_labels: ArrayLike, probability: ArrayLike, *, score: str = "normalized_margin"
) -> LabelIssues:
    """Judge each label by the probabilities that the network gave its example.

    Parameters
    ----------
    given_labels : array_like of int, shape (N,)
        The labels of the training, in [0, C).
    probability : array_like of float, shape (N, C)
        Rows sum to 1. Averages over the epochs find more wrong labels than the probabilities at the
        end, when wrong labels may have been memorised.
    score : str
        How to compute `label_score`, a key of `SCORES`. With the default exactly the issues have a
        score below 1/2, so that they come first when sorted.

    Returns
    -------
    LabelIssues

    Raises
    ------
    TypeError
        If the labels are not integers or the probabilities not floats.
    ValueError
        If a shape is another, a label outside [0, C), a row no probabilities, or the score unknown.

    Examples
    --------
    >>> issues = label_issues([0, 1, 1], [[0.75, 0.25], [0.75, 0.25], [0.25, 0.75]])
    >>> issues.is_label_issue
    array([False,  True, False])
    >>> issues.transition_matrix
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    check_choice("score", score, SCORES)
    p = check_probabilities(probability)
    given = check_labels(given_labels, p.shape[1], name="the given labels")
    if given.size != len(p):
        raise ValueError(
            f"there are {given.size} given labels and {len(p)} rows of probabilities; "
            "one row for each label is needed"
        )
    # Not argmax != given: in a tie the label stands, whatever the order of the classes.
    is_issue = normalized_margin(given, p) < 0.5
    predicted = np.where(is_issue, p.argmax(axis=1), given)
    return LabelIssues(
        is_label_issue=is_issue,
        label_score=SCORES[score](given, p),
        given_label=given,
        predicted_label=predicted,
        transition_matrix=transition_matrix(predicted, given, p.shape[1]),
    )


def auroc(label_score: ArrayLike, is_wrong: ArrayLike) -> float | None:
    """The probability that a wrong label scores lower than a right one; a tie counts half.

    That is the area under the ROC curve of finding wrong labels by low scores (Mann and Whitney's
    U, divided by the number of pairs).

    Parameters
    ----------
    label_score : array_like of float, shape (N,)
    is_wrong : array_like of bool, shape (N,)
        The truth.

    Returns
    -------
    float or None
        In [0, 1]; None if there are no wrong labels, or no right ones.

    Raises
    ------
    ValueError
        If the shapes differ, `is_wrong` is not bool or a score is NaN.

    Examples
    --------
    >>> auroc([0.1, 0.4, 0.4, 0.9], [True, True, False, False])
    0.875
    """
    score = np.asarray(label_score)
    wrong = _flags("is_wrong", is_wrong, score.shape)
    if np.isnan(score).any():
        raise ValueError("a label_score is NaN; scores must have an order")
    right = np.sort(score[~wrong])
    if right.size in (0, score.size):
        return None
    # Each wrong label's rank among the right ones, in the middle of those with the same score.
    rank = sum(np.searchsorted(right, score[wrong], side) for side in ("left", "right")) / 2
    return float(1 - np.mean(rank) / right.size)


def f1(is_label_issue: ArrayLike, is_wrong: ArrayLike) -> float | None:
    """The harmonic mean of precision and recall of the issues.

    Parameters
    ----------
    is_label_issue : array_like of bool, shape (N,)
    is_wrong : array_like of bool, shape (N,)
        The truth.

    Returns
    -------
    float or None
        In [0, 1]; None if no label is an issue and none wrong.

    Raises
    ------
    ValueError
        If the shapes differ or one is not bool.
    """
    issue = _flags("is_label_issue", is_label_issue, np.shape(is_label_issue))
    wrong = _flags("is_wrong", is_wrong, issue.shape)
    named = int(issue.sum()) + int(wrong.sum())
    return 2 * int((issue & wrong).sum()) / named if named else None


def check_probabilities(probability: ArrayLike) -> Scores:
    """The probabilities as float32, shape (N, C), if they are probabilities.

    Raises
    ------
    TypeError
        If they are not floats.
    ValueError
        If the shape is another, or a row has a value below 0 or another sum than 1.
    """
    p = not_masked("the probabilities", probability)
    if p.ndim != 2 or p.shape[0] == 0 or p.shape[1] < 2:
        raise ValueError(
            f"the probabilities have shape {p.shape}; (N, C) with N > 0 and C > 1 is needed"
        )
    if not np.issubdtype(p.dtype, np.floating):
        raise TypeError(f"the probabilities are {p.dtype}; floats are needed")
    p = p.astype(np.float32, copy=False)
    total = p.sum(axis=1)
    # 1e-2: room for half precision. Written so that NaN fails.
    bad = np.flatnonzero(~((p.min(axis=1) >= -1e-6) & (abs(total - 1) < 1e-2)))
    if bad.size:
        raise ValueError(
            f"row {bad[0]} of the probabilities has minimum {p[bad[0]].min():g} and sum "
            f"{total[bad[0]]:g}; none below 0 and a sum of 1 are needed (one epoch at least)"
        )
    return p


def _flags(name: str, flags: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(flags)
    if array.dtype != bool or array.ndim != 1 or array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; bool of shape (N,) is "
            f"needed, as many as the others: {shape}"
        )
    return array
