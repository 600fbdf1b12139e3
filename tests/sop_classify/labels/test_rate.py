"""The estimated fraction of wrong labels, and the quality of classes."""

import numpy as np
import pytest

from sop_classify.labels.class_weights import weighted
from sop_classify.labels.issues import label_issues
from sop_classify.labels.quality import class_quality, overlapping_classes
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.labels.synthetic import second_choice_noise


def drawn(rate, seed, *, number=3000, classes=10):
    """Labels by the model itself: true classes drawn from q, then symmetric errors."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((number, classes))
    logits[np.arange(number), rng.integers(classes, size=number)] += 8
    q = np.exp(logits - logits.max(1, keepdims=True))
    q /= q.sum(1, keepdims=True)
    true = (q.cumsum(1) > rng.random((number, 1))).argmax(1)
    given = true.copy()
    wrong = rng.permutation(number)[: round(rate * number)]
    given[wrong] = (given[wrong] + rng.integers(1, classes, wrong.size)) % classes
    return given, q.astype(np.float32), true


def memorised(given, classes=10):
    """What a network says of labels that it has learned by heart."""
    return np.full((len(given), classes), 0.01, np.float32) + 0.9 * np.eye(classes)[given].astype(
        np.float32
    )


def estimate(given, p, trained=None, **options):
    """With training labels (and what is said of them) of no use, if none are given."""
    labels, said = (given, memorised(given)) if trained is None else trained
    return estimate_noise_rate(
        given, p, training_labels=labels, training_probability=said, **options
    )


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.4])
def test_within_two_points_where_the_model_holds(rate):
    given, p, _ = drawn(rate, seed=0)
    labels, said, _ = drawn(rate, seed=1)
    found = estimate(given, p, (labels, said))
    assert abs(found.estimate - rate) < 0.015  # ten seeds: 0.006 at most
    assert found.low <= rate <= found.high


def test_mistakes_between_two_classes():
    """They are not explained as the network's uncertainty, nor spread over all classes."""
    rng = np.random.default_rng(0)
    _, p, true = drawn(0, seed=0)
    given = np.where((true == 3) & (rng.random(true.size) < 0.6), 5, true)
    rate = (given != true).mean()  # 0.06
    found = estimate(given[:1500], p[:1500], (given[1500:], p[1500:]))
    assert abs(found.estimate - rate) < 0.02  # ten seeds: 0.013 at most


def test_a_network_that_is_less_sure_than_it_could_be():
    """It is always right and does not change its mind: what it contradicts is wrong."""
    rng = np.random.default_rng(0)
    true = rng.integers(10, size=2000)
    given = np.where(rng.random(true.size) < 0.2, (true + 1) % 10, true)
    p = np.full((true.size, 10), 0.05)
    p[np.arange(true.size), true] = 0.55
    soft = estimate(given[:200], p[:200], (given, p))
    bounded = estimate(given[:200], p[:200], (given, p), averaged_probability=p)
    wrong = (given != true).mean()
    assert soft.estimate < wrong - 0.1
    assert bounded.estimate == pytest.approx(wrong)


def test_a_network_that_changes_its_mind_bounds_nothing():
    given, p, _ = drawn(0.05, 0)
    labels, said, _ = drawn(0.05, 1)
    averaged = np.roll(said, 1, axis=1)
    found = estimate(given, p, (labels, said), averaged_probability=averaged)
    assert abs(found.estimate - 0.05) < 0.015  # ten seeds: 0.005 at most


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_memorised_labels_hardly_count(rate):
    given, p, _ = drawn(rate, seed=0)
    found = estimate(given, p)
    assert abs(found.estimate - rate) < 0.02  # ten seeds: 0.015 at most
    assert found.low <= rate <= found.high


def test_contradiction_by_an_unsure_network_is_no_noise():
    given, p, true = drawn(0.05, 0)
    contradicted = (p.argmax(1) != given).mean()
    error = (p.argmax(1) != true).mean()
    assert error > 0.03  # which the fraction of contradicted labels counts as noise
    labels, said, _ = drawn(0.05, 1)
    found = estimate(given, p, (labels, said))
    assert abs(found.estimate - 0.05) < abs(contradicted - 0.05)


def test_few_held_out_images_rely_on_the_training_images():
    given, p, _ = drawn(0.2, 3, number=60)
    alone = estimate(given, p).estimate
    labels, said, _ = drawn(0.2, 4)
    both = estimate(given, p, (labels, said)).estimate
    assert abs(both - 0.2) < abs(alone - 0.2)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_the_interval_of_some_tens_of_images_holds_the_rate(rate):
    held = 0
    for seed in range(40):
        given, p, true = drawn(rate, seed, number=40, classes=4)
        found = estimate(given[:4], p[:4], (given[4:], p[4:]), seed=seed)
        held += found.low <= (given != true).mean() <= found.high
    assert held >= 37  # 38 to 40; 35 without the deviation that few labels have


def test_classes_that_the_network_neglects_are_no_wrong_labels():
    given, p, _ = drawn(0.05, 0)
    labels, said, _ = drawn(0.05, 1)
    neglected = np.array([0.01] * 3 + [1] * 7)
    p, said = (weighted(each, neglected) for each in (p, said))
    found = estimate(given, p, (labels, said))
    assert abs(found.estimate - 0.05) < 0.02  # two seeds: 0.008; without weights 0.07


def test_of_many_training_images_any_may_be_looked_at():
    """Not the first ones, which may all be of classes without wrong labels."""
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], 5000)
    wrong = (true == 2) & (rng.random(true.size) < 0.3)
    given = np.where(wrong, rng.integers(2, size=true.size), true)
    p = 0.02 + 0.94 * np.eye(3)[true]
    held_out = rng.permutation(true.size)[:60]
    found = estimate(given[held_out], p[held_out], (given, p))
    assert found.low <= wrong.mean() <= found.high


def test_the_same_by_seed():
    given, p, _ = drawn(0.2, 0, number=300)
    labels, said, _ = drawn(0.2, 1)
    one, same, other = (estimate(given, p, (labels, said), seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_quality_by_hand():
    p = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.2, 0.8, 0], [0, 0.3, 0.7]], np.float32)
    issues = label_issues([0, 0, 1, 2], p)
    worst, *others = class_quality(issues)
    assert (worst.label, worst.examples, worst.issues, worst.noise) == (0, 2, 1, 0.5)
    assert worst.quality == 0.5
    assert worst.too_rare
    first = next(each for each in others if each.label == 1)
    assert (first.issues, first.inverse_issues, first.inverse_noise) == (0, 1, 0.5)
    (pair,) = overlapping_classes(issues)
    assert (pair.a, pair.b, pair.examples, pair.joint) == (0, 1, 1, 0.25)


def test_a_class_of_fewer_than_six_examples_is_too_rare():
    given = np.repeat([0, 1], [6, 5])
    issues = label_issues(given, np.eye(2, dtype=np.float32)[given])
    assert {each.label: each.too_rare for each in class_quality(issues)} == {0: False, 1: True}


def test_pairs_and_classes_with_most_issues_come_first():
    # 1 and 2 are mistaken for each other three times, 0 and 1 once, 0 and 2 once.
    given = np.array([2, 1, 1, 2, 0, 0, 1, 2, 2])
    predicted = np.array([0, 2, 2, 1, 1, 0, 1, 2, 2])
    issues = label_issues(given, np.eye(3, dtype=np.float32)[predicted])
    pairs = [(pair.a, pair.b, pair.examples) for pair in overlapping_classes(issues)]
    assert pairs == [(1, 2, 3), (0, 1, 1), (0, 2, 1)]
    noise = [(each.label, each.issues, each.examples) for each in class_quality(issues)]
    assert noise == [(1, 2, 3), (0, 1, 2), (2, 2, 4)]


def test_an_interval_is_one_of_fractions():
    rng = np.random.default_rng(0)
    given = rng.integers(4, size=12)
    for said in (given, (given + 1) % 4):  # all labels right, all wrong
        p = 0.1 + 0.6 * np.eye(4)[said]
        found = estimate(given[:4], p[:4], (given[4:], p[4:]), averaged_probability=p[4:])
        assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_second_choice_noise_is_the_choice_of_a_weak_classifier():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    images = rng.integers(0, 20, (300, 16, 16, 1), dtype=np.uint8)
    # Class 0 is dark, 1 a little brighter, 2 much brighter: 0 and 2 are taken for 1.
    images += (np.array([0, 30, 60])[labels])[:, None, None, None].astype(np.uint8)
    noisy = second_choice_noise(images, labels, 0.2, 3, rng=np.random.default_rng(0))
    assert (noisy != labels).sum() == 60
    changed = noisy[(noisy != labels) & (labels != 1)]
    assert (changed == 1).mean() > 0.9
    again = second_choice_noise(images, labels, 0.2, 3, rng=np.random.default_rng(0))
    assert (noisy == again).all()
    assert (second_choice_noise(images, labels, 0, 3, rng=rng) == labels).all()
