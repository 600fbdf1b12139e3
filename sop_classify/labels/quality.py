"""How good the labels of each class are, and which classes are mistaken for each other.

The tables have the names and the meaning of cleanlab's `rank_classes_by_label_quality` and
`find_overlapping_classes` (cleanlab.dataset).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sop_classify.labels.issues import LabelIssues

__all__ = ["RARE", "ClassQuality", "OverlappingPair", "class_quality", "overlapping_classes"]

RARE = 6
"""A class with fewer examples is too rare to judge its labels: a network hardly learns it, and so
contradicts right labels too."""


@dataclass(frozen=True)
class ClassQuality:
    """The labels of one class.

    Attributes
    ----------
    label : int
    examples : int
        Labels of this class.
    issues : int
        Those of them for which another class is more probable.
    inverse_issues : int
        Labels of other classes for which this class is the most probable.
    noise, inverse_noise : float
        `issues` as a fraction of the labels of this class, and `inverse_issues` of the examples
        that are predicted to be of this class; 0 if there are none.
    too_rare : bool
        Fewer than `RARE` examples.
    """

    label: int
    examples: int
    issues: int
    inverse_issues: int
    noise: float
    inverse_noise: float
    too_rare: bool

    @property
    def quality(self) -> float:
        """1 − `noise`."""
        return 1 - self.noise


@dataclass(frozen=True)
class OverlappingPair:
    """Two classes, a < b, and how many labels are of one where the other is more probable."""

    a: int
    b: int
    examples: int
    joint: float


def class_quality(issues: LabelIssues) -> list[ClassQuality]:
    """All classes, that with the largest fraction of issues first."""
    joint = _joint(issues)
    given, predicted, right = joint.sum(axis=1), joint.sum(axis=0), np.diag(joint)
    classes = [
        ClassQuality(
            label=label,
            examples=int(given[label]),
            issues=int(given[label] - right[label]),
            inverse_issues=int(predicted[label] - right[label]),
            noise=float((given[label] - right[label]) / max(given[label], 1)),
            inverse_noise=float((predicted[label] - right[label]) / max(predicted[label], 1)),
            too_rare=bool(given[label] < RARE),
        )
        for label in range(len(joint))
    ]
    return sorted(classes, key=lambda each: (-each.noise, each.label))


def overlapping_classes(issues: LabelIssues) -> list[OverlappingPair]:
    """All pairs with an issue between them, that with most issues first."""
    joint = _joint(issues)
    both = joint + joint.T
    pairs = [
        OverlappingPair(a, b, int(both[a, b]), float(both[a, b] / joint.sum()))
        for a, b in zip(*np.nonzero(np.triu(both, 1)), strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-pair.examples, pair.a, pair.b))


def _joint(issues: LabelIssues) -> NDArray[np.int64]:
    """The number of examples of each given class (rows) and each predicted class (columns)."""
    classes = len(issues.transition_matrix)
    cells = issues.given_label * classes + issues.predicted_label
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
