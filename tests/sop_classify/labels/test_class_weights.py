"""Weights that make up for neglected classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sop_classify.labels.class_weights import class_weights, weighted
from sop_classify.labels.issues import auroc, self_confidence


def drawn(seed, *, number=2000, classes=6, factors=None):
    """Labels of which a fifth is wrong, and probabilities that neglect classes by `factors`."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((number, classes))
    q = np.exp(logits)
    q /= q.sum(1, keepdims=True)
    true = (q.cumsum(1) > rng.random((number, 1))).argmax(1)
    wrong = rng.random(number) < 0.2
    labels = np.where(wrong, (true + rng.integers(1, classes, number)) % classes, true)
    factors = np.linspace(0.2, 2, classes) if factors is None else factors
    return labels, weighted(q, factors), q, wrong


@given(
    share=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    said=st.lists(st.floats(0.05, 1), min_size=5, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_equal_rows_get_the_shares_of_the_labels(share, said):
    classes = len(share)
    labels = np.repeat(np.arange(classes), share)
    row = np.array(said[:classes]) / sum(said[:classes])
    p = np.tile(row, (len(labels), 1))
    found = weighted(p, class_weights(labels, p))[0]
    assert found == pytest.approx(np.array(share) / sum(share), abs=1e-3)


def test_neglected_classes_are_made_up_for():
    for seed in range(3):
        labels, p, q, wrong = drawn(seed)
        found = weighted(p, class_weights(labels, p))
        # Ten seeds: 0.004 to 0.010, of 0.062 to 0.064 without weights.
        assert abs(found - q).mean() < 0.2 * abs(p - q).mean()
        before, after = (auroc(self_confidence(labels, each), wrong) for each in (p, found))
        assert after > before + 0.01  # ten seeds: 0.021 to 0.038


def test_sure_probabilities_keep_their_order():
    labels = np.repeat([0, 1], [500, 510])
    p = np.full((1010, 2), 1e-4, np.float32)
    p[np.arange(1010), np.roll(labels, 40)] = 1 - 1e-4
    found = weighted(p, class_weights(labels, p))
    assert (found.argmax(1) == p.argmax(1)).all()


def test_a_class_that_nothing_speaks_of():
    p = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    assert np.isfinite(weighted(p, class_weights([0, 1], p))).all()


def test_labels_and_probabilities_must_fit():
    with pytest.raises(ValueError, match="given labels"):
        class_weights([0, 1, 0], [[0.5, 0.5]])
