"""Promise: NC1 to NC4 are the published measures of neural collapse, 0 when it is complete."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.theory.neural_collapse import neural_collapse


def simplex(classes, dimensions, rng):
    """Corners of a regular simplex, (C, d), in a random orientation."""
    corners = np.eye(classes) - 1 / classes
    basis = np.linalg.qr(rng.normal(size=(dimensions, classes)))[0]
    return corners @ basis.T


def literal(h, y, w, b):
    """The definitions word by word, with loops and the full covariance matrices."""
    classes, d = w.shape
    means = [np.mean([h[i] for i in range(len(h)) if y[i] == c], axis=0) for c in range(classes)]
    middle = sum(means) / classes
    within = np.zeros((d, d))
    between = np.zeros((d, d))
    for c in range(classes):
        own = h[y == c]
        within += sum(np.outer(x - means[c], x - means[c]) for x in own) / len(own) / classes
        between += np.outer(means[c] - middle, means[c] - middle) / classes
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / classes
    gram = np.array([[(a - middle) @ (e - middle) for a in means] for e in means])
    target = np.where(np.eye(classes) == 1, 1 - 1 / classes, -1 / classes) / np.sqrt(classes - 1)
    nc2 = np.sqrt(np.sum((gram / np.sqrt(np.sum(gram**2)) - target) ** 2))
    m = np.array(means) - middle
    v = w - w.mean(0)
    nc3 = np.sqrt(np.sum((v / np.sqrt(np.sum(v**2)) - m / np.sqrt(np.sum(m**2))) ** 2))
    wrong = 0
    for x in h:
        nearest = min(range(classes), key=lambda c: np.sum((x - means[c]) ** 2))
        wrong += nearest != max(range(classes), key=lambda c: w[c] @ x + b[c])
    return nc1, nc2, nc3, wrong / len(h)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    classes=st.integers(2, 6),
    dimensions=st.integers(2, 9),
    extra=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_equals_the_definitions_word_by_word(classes, dimensions, extra, seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.concatenate([np.arange(classes), rng.integers(classes, size=extra)]))
    h = rng.normal(size=(len(y), dimensions)) + 3 * rng.normal(size=(classes, dimensions))[y]
    w, b = rng.normal(size=(classes, dimensions)), rng.normal(size=classes)
    np.testing.assert_allclose(
        neural_collapse(h, y, w, b), literal(h, y, w, b), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(("classes", "dimensions"), [(2, 2), (3, 7), (10, 32)])
def test_all_are_zero_on_a_collapsed_network_wherever_it_lies(classes, dimensions):
    rng = np.random.default_rng(0)
    corners = simplex(classes, dimensions, rng)
    y = np.repeat(np.arange(classes), 5)
    middle = rng.normal(size=dimensions)
    # Scales differ; the bias undoes the shift of the middle, so that decisions are by distance.
    w = 7 * corners
    found = neural_collapse(3 * corners[y] + middle, y, w, -w @ middle)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_each_measure_sees_its_own_break():
    rng = np.random.default_rng(0)
    corners = simplex(4, 6, rng)
    y = np.repeat(np.arange(4), 50)
    spread = neural_collapse(corners[y] + 0.1 * rng.normal(size=(200, 6)), y, corners)
    assert spread.nc1 > 0.01
    longer = corners * np.array([[2], [1], [1], [1]])
    assert neural_collapse(longer[y], y, longer).nc2 > 0.1
    turned = np.roll(corners, 1, axis=0)
    other = neural_collapse(corners[y], y, turned)
    assert other.nc2 < 1e-12
    assert other.nc3 > 1
    assert other.nc4 == 1


def test_wrong_labels_undo_the_collapse_of_a_network_that_learned_the_right_ones():
    rng = np.random.default_rng(0)
    corners = simplex(5, 8, rng)
    y = np.repeat(np.arange(5), 40)
    h = corners[y] + 0.01 * rng.normal(size=(200, 8))
    given_labels = np.where(rng.random(200) < 0.3, rng.integers(5, size=200), y)
    assert neural_collapse(h, y, corners).nc1 < 1e-3
    assert neural_collapse(h, given_labels, corners).nc1 > 0.1


def test_units_of_the_features_do_not_matter():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    h, w = rng.normal(size=(60, 4)) + 2 * rng.normal(size=(3, 4))[y], rng.normal(size=(3, 4))
    np.testing.assert_allclose(neural_collapse(1e-3 * h, y, w), neural_collapse(h, y, w), rtol=1e-9)


BAD = {
    "features of another width": ({"features": np.zeros((4, 3))}, "expected"),
    "bias of another length": ({"bias": np.zeros(3)}, "expected"),
    "labels of another length": ({"labels": np.array([0, 1])}, "shape"),
    "labels that are no integers": ({"labels": np.array([0.0, 1, 0, 1])}, "integers"),
    "an empty class": ({"labels": np.array([0, 0, 0, 0])}, r"classes \[0\]"),
    "a class too many": ({"labels": np.array([0, 1, 2, 1])}, r"\[0, 1, 2\]"),
    "one class": ({"weight": np.ones((1, 2)), "labels": np.zeros(4, int)}, "two classes"),
    "not a number": ({"features": np.full((4, 2), np.nan)}, "finite"),
    "means that coincide": ({"features": np.ones((4, 2))}, "coincide"),
    "rows that coincide": ({"weight": np.ones((2, 2))}, "coincide"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_measured_is_refused(case):
    fine = {
        "features": np.array([[0.0, 1], [1, 0], [0, 2], [2, 0]]),
        "labels": np.array([0, 1, 0, 1]),
        "weight": np.array([[0.0, 1], [1, 0]]),
    }
    neural_collapse(**fine)
    change, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        neural_collapse(**{**fine, **change})
