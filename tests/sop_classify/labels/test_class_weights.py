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


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), number=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_four_rounds_by_the_rule_of_bayes(seed, classes, number):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), number)
    labels = rng.integers(classes, size=number)
    weights, rate = np.ones(classes), 0.1
    for _ in range(4):
        said, share, wrong = np.zeros(classes), np.zeros(classes), 0.0
        for row, label in zip(p, labels, strict=True):
            q = row * weights / (row * weights).sum()
            said += q / number
            given_true = np.full(classes, rate / (classes - 1))
            given_true[label] = 1 - rate
            belief = q * given_true / (q * given_true).sum()
            share += belief / number
            wrong += (1 - belief[label]) / number
        weights, rate = weights * (share + 1e-4) / (said + 1e-4), wrong
    assert class_weights(labels, p) == pytest.approx(weights / weights.mean(), rel=1e-3)


def test_a_rare_class_is_not_given_the_share_of_its_wrong_labels():
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], [1900, 1080, 20])
    q = np.full((3000, 3), 0.01) + 0.97 * np.eye(3)[true]
    labels = np.where(rng.random(3000) < 0.2, (true + rng.integers(1, 3, 3000)) % 3, true)
    assert (labels == 2).mean() > 0.1
    assert weighted(q, class_weights(labels, q)).mean(axis=0)[2] < 0.02


def test_neglected_classes_are_made_up_for():
    for seed in range(3):
        labels, p, q, wrong = drawn(seed)
        found = weighted(p, class_weights(labels, p))
        # Ten seeds: 0.007 to 0.015, of 0.062 to 0.064 without weights.
        assert abs(found - q).mean() < 0.3 * abs(p - q).mean()
        before, after = (auroc(self_confidence(labels, each), wrong) or 0 for each in (p, found))
        assert after > before + 0.01  # ten seeds: 0.022 to 0.037


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
