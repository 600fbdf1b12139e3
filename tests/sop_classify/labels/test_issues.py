"""Promise: labels that the network contradicts are named, counted and put in a table."""

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import mannwhitneyu

from sop_classify.data.label_arrays import noise_rate, transition_matrix
from sop_classify.labels.issues import SCORES, auroc, f1, label_issues
from sop_classify.labels.synthetic import asymmetric_noise, symmetric_noise
from sop_classify.reports.issues_table import issues_csv

COLUMNS = ["index", "is_label_issue", "label_score", "given_label", "predicted_label"]
PROMISED = settings(derandomize=True, max_examples=50, deadline=None)


def rng(seed=0):
    return np.random.default_rng(seed)


def random_case(number, classes, seed):
    """Labels and probabilities without ties, float32 as training has them."""
    generator = rng(seed)
    probability = generator.dirichlet(np.full(classes, 0.3), number).astype(np.float32)
    return generator.integers(classes, size=number), probability


def network(true, labels, classes, *, error, confidence, leaning, seed=0):
    """Probabilities of a network with a known error rate.

    A fraction `error` of predictions is one of the other classes. The predicted class has
    probability `confidence` (with a little scatter), the rest share what is left; then a part
    `leaning` of the probability moves to the given label, as of a network that has begun to
    memorise.
    """
    generator = rng(seed)
    predicted = symmetric_noise(true, error, classes, rng=generator)
    sure = confidence - 0.05 * generator.random(true.size)
    p = np.repeat((1 - sure)[:, None] / (classes - 1), classes, axis=1)
    p[np.arange(true.size), predicted] = sure
    p *= 1 - leaning
    p[np.arange(true.size), labels] += leaning
    return p.astype(np.float32), predicted


# What an issue is


def test_by_hand():
    probability = [
        [0.70, 0.20, 0.10],  # right
        [0.70, 0.20, 0.10],  # 0 → 1
        [0.10, 0.45, 0.45],  # a tie with the given label: no evidence
        [0.10, 0.45, 0.45],  # a tie of others: the first
        [0.00, 0.00, 1.00],  # 2 → 1, surely
        [0.34, 0.33, 0.33],  # barely right
    ]
    issues = label_issues([0, 1, 2, 0, 1, 0], probability)
    assert issues.is_label_issue.tolist() == [False, True, False, True, True, False]
    assert issues.given_label.tolist() == [0, 1, 2, 0, 1, 0]
    assert issues.predicted_label.tolist() == [0, 0, 2, 1, 2, 0]
    np.testing.assert_allclose(issues.label_score, [0.75, 0.25, 0.5, 0.325, 0, 0.505], rtol=1e-6)
    assert issues.worst_first.tolist() == [4, 1, 3, 2, 5, 0]
    assert issues.noise_rate == 0.5
    # Rows: predicted 0 has labels 0, 1, 0; predicted 1 has label 0; predicted 2 has labels 2, 1.
    expected = [[2 / 3, 1 / 3, 0], [1, 0, 0], [0, 1 / 2, 1 / 2]]
    np.testing.assert_allclose(issues.transition_matrix, expected)
    confidence = label_issues([0, 1, 2, 0, 1, 0], probability, score="self_confidence")
    np.testing.assert_allclose(confidence.label_score, [0.7, 0.2, 0.45, 0.1, 0, 0.34], rtol=1e-6)
    assert confidence.is_label_issue.tolist() == issues.is_label_issue.tolist()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_a_tie_keeps_the_label_whatever_the_order_of_the_classes(order):
    probability = np.array([[0.4, 0.4, 0.2]])[:, order]
    for label in (order.index(0), order.index(1)):
        assert not label_issues([label], probability).is_label_issue.any()
    assert label_issues([order.index(2)], probability).is_label_issue.all()


@PROMISED
@given(
    st.integers(1, 40), st.integers(2, 12), st.sampled_from(sorted(SCORES)), st.integers(0, 1000)
)
def test_shapes_types_and_ranges(number, classes, score, seed):
    labels, probability = random_case(number, classes, seed)
    before = labels.copy(), probability.copy()
    labels.flags.writeable = probability.flags.writeable = False
    issues = label_issues(labels, probability, score=score)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(probability, before[1])
    for name, dtype in {
        "is_label_issue": np.bool_,
        "label_score": np.float32,
        "given_label": np.int64,
        "predicted_label": np.int64,
        "worst_first": np.int64,
    }.items():
        array = getattr(issues, name)
        assert array.shape == (number,)
        assert array.dtype == dtype
    assert issues.label_score.min() >= 0
    assert issues.label_score.max() <= 1
    np.testing.assert_array_equal(issues.predicted_label, probability.argmax(1))
    np.testing.assert_array_equal(issues.is_label_issue, issues.predicted_label != labels)
    if score == "normalized_margin":
        np.testing.assert_array_equal(issues.is_label_issue, issues.label_score < 0.5)
    assert sorted(issues.worst_first) == list(range(number))
    assert (np.diff(issues.label_score[issues.worst_first]) >= 0).all()
    assert issues.transition_matrix.dtype == np.float64
    assert issues.transition_matrix.shape == (classes, classes)
    np.testing.assert_allclose(issues.transition_matrix.sum(1), 1)
    assert issues.transition_matrix.min() >= 0
    unseen = np.setdiff1d(np.arange(classes), issues.predicted_label)
    np.testing.assert_array_equal(issues.transition_matrix[unseen], np.eye(classes)[unseen])


@PROMISED
@given(
    st.integers(1, 40), st.integers(2, 12), st.sampled_from(sorted(SCORES)), st.integers(0, 1000)
)
def test_order_of_examples_and_names_of_classes_do_not_matter(number, classes, score, seed):
    labels, probability = random_case(number, classes, seed)
    generator = rng(seed + 1)
    examples, kinds = generator.permutation(number), generator.permutation(classes)
    issues = label_issues(labels, probability, score=score)
    # Class c is now called kinds[c].
    renamed = np.empty_like(probability)
    renamed[:, kinds] = probability
    other = label_issues(kinds[labels][examples], renamed[examples], score=score)
    np.testing.assert_array_equal(other.is_label_issue, issues.is_label_issue[examples])
    np.testing.assert_array_equal(other.label_score, issues.label_score[examples])
    np.testing.assert_array_equal(other.predicted_label, kinds[issues.predicted_label][examples])
    np.testing.assert_allclose(
        other.transition_matrix[np.ix_(kinds, kinds)], issues.transition_matrix
    )
    assert other.noise_rate == issues.noise_rate


def test_equal_scores_stay_in_the_order_of_the_examples():
    sure, unsure = np.eye(2)[0], np.full(2, 0.5)
    issues = label_issues(np.zeros(200, int), np.array([sure, unsure] * 100))
    np.testing.assert_array_equal(issues.worst_first, [*range(1, 200, 2), *range(0, 200, 2)])


@PROMISED
@given(st.integers(2, 12), st.integers(0, 1000), st.floats(-7, -1))
def test_scores_near_a_tie_stay_on_their_side(classes, seed, exponent):
    # The promise that a score below 1/2 is an issue holds to the last digit of float32.
    labels, probability = random_case(30, classes, seed)
    lead = probability.argmax(1)
    p = np.full_like(probability, 0.2 / max(classes - 2, 1))
    p[np.arange(30), labels] = p[np.arange(30), (labels + 1) % classes] = 0.5 - 0.1 * (classes > 2)
    p[np.arange(30), lead] += np.float32(10**exponent) * 0.01
    issues = label_issues(labels, p)
    np.testing.assert_array_equal(issues.is_label_issue, issues.label_score < 0.5)
    np.testing.assert_array_equal(issues.is_label_issue, issues.predicted_label != labels)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_float_type_and_rounding(dtype):
    labels, probability = random_case(200, 100, 0)
    issues = label_issues(labels.astype("uint8"), probability.astype(dtype))
    np.testing.assert_allclose(
        issues.label_score, label_issues(labels, probability).label_score, atol=1e-3
    )
    above = np.array([[1 + 1e-6, -1e-7]])  # an average may leave [0, 1] by a rounding
    for score in SCORES:
        for label, expected in (0, 1), (1, 0):
            assert label_issues([label], above, score=score).label_score == expected


def test_takes_what_training_holds():
    labels, probability = random_case(20, 4, 0)
    tensors = label_issues(torch.from_numpy(labels), torch.from_numpy(probability))
    np.testing.assert_array_equal(
        tensors.label_score, label_issues(labels, probability).label_score
    )


# How many, and from which class to which


def noisy(kind, true, classes):
    if kind == "clean":
        return true
    if kind == "asymmetric":
        return asymmetric_noise(true, 0.3, classes, mapping={0: 1, 2: 3, 3: 2}, rng=rng(5))
    return symmetric_noise(true, 0.2 if kind == "symmetric 20" else 0.4, classes, rng=rng(5))


KINDS = ["clean", "symmetric 20", "symmetric 40", "asymmetric"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("confidence", [0.99, 0.55], ids=["sure", "underconfident"])
@pytest.mark.parametrize("leaning", [0, 0.2], ids=["", "leaning"])
def test_a_network_that_knows_the_truth_gives_it_exactly(kind, confidence, leaning):
    classes = 6
    true = np.arange(classes).repeat(200)
    labels = noisy(kind, true, classes)
    p, _ = network(true, labels, classes, error=0, confidence=confidence, leaning=leaning)
    issues = label_issues(labels, p)
    wrong = labels != true
    np.testing.assert_array_equal(issues.is_label_issue, wrong)
    np.testing.assert_array_equal(issues.predicted_label, true)
    assert issues.noise_rate == noise_rate(true, labels)
    np.testing.assert_array_equal(
        issues.transition_matrix, transition_matrix(true, labels, classes)
    )
    perfect = None if kind == "clean" else 1.0
    assert auroc(issues.label_score, wrong) == perfect
    assert f1(issues.is_label_issue, wrong) == perfect


@pytest.mark.parametrize("rate", [0, 0.2, 0.4])
@pytest.mark.parametrize("confidence", [0.99, 0.55], ids=["sure", "underconfident"])
def test_the_bias_of_the_estimate_is_that_of_the_networks_errors(rate, confidence):
    """Closed forms for errors that know nothing of the labels, both uniform over other classes.

    A right label is an issue with probability e; a wrong one is none where the error hits just it.
    """
    classes, error = 5, 0.06
    true = np.arange(classes).repeat(4000)
    labels = symmetric_noise(true, rate, classes, rng=rng(5))
    p, _ = network(true, labels, classes, error=error, confidence=confidence, leaning=0.05)
    issues = label_issues(labels, p)
    expected = (1 - rate) * error + rate * (1 - error / (classes - 1))
    # 5 standard deviations of a binomial: by luck once in two million.
    allowed = 5 * np.sqrt(expected * (1 - expected) / true.size)
    assert abs(issues.noise_rate - expected) < allowed
    off = issues.transition_matrix[~np.eye(classes, dtype=bool)]
    allowed *= np.sqrt(classes)
    np.testing.assert_allclose(off, expected / (classes - 1), atol=allowed)


# Against the truth


@PROMISED
@given(
    hnp.arrays(np.float32, st.integers(1, 25), elements=st.sampled_from([0, 0.25, 0.5, 0.75, 1])),
    st.integers(0, 1000),
)
def test_auroc_is_the_part_of_pairs_in_order(score, seed):
    wrong = rng(seed).random(score.size) < 0.5
    pairs = [(a < b) + (a == b) / 2 for a in score[wrong] for b in score[~wrong]]
    if not pairs:
        assert auroc(score, wrong) is None
        return
    assert auroc(score, wrong) == pytest.approx(np.mean(pairs), abs=1e-12)
    # Turned round, and squeezed with the order kept
    assert auroc(-score, wrong) == pytest.approx(1 - np.mean(pairs), abs=1e-12)
    assert auroc(score**3 + 7, wrong) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auroc_agrees_with_scipy_on_many():
    wrong = rng().random(20_000) < 0.1
    score = (rng(1).normal(size=wrong.size) - wrong).round(2)
    statistic = mannwhitneyu(score[~wrong], score[wrong]).statistic
    expected = statistic / wrong.sum() / (~wrong).sum()
    assert auroc(score, wrong) == pytest.approx(expected, abs=1e-12)
    assert 0.7 < expected < 0.8


@PROMISED
@given(hnp.arrays(bool, st.tuples(st.just(2), st.integers(0, 12))))
def test_f1_is_the_harmonic_mean(flags):
    issue, wrong = flags
    hits = int((issue & wrong).sum())
    if not issue.any() and not wrong.any():
        assert f1(issue, wrong) is None
    elif hits == 0:
        assert f1(issue, wrong) == 0
    else:
        precision, recall = hits / issue.sum(), hits / wrong.sum()
        assert f1(issue, wrong) == pytest.approx(2 / (1 / precision + 1 / recall))
        assert f1(issue, wrong) == f1(wrong, issue)


# The table


def rows(data):
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def test_csv_by_hand():
    issues = label_issues([0, 1, 1], [[0.75, 0.25], [1, 0], [0.375, 0.625]])
    assert issues_csv(issues) == (
        b"index,is_label_issue,label_score,given_label,predicted_label\n"
        b"1,True,0.0,1,0\n"
        b"2,False,0.625,1,1\n"
        b"0,False,0.75,0,0\n"
    )


def test_csv_holds_every_example_and_every_digit():
    labels, probability = random_case(300, 7, 0)
    issues = label_issues(labels, probability)
    header, *body = rows(issues_csv(issues))
    assert header == COLUMNS
    order = issues.worst_first
    index, issue, score, label, predicted = zip(*body, strict=True)
    np.testing.assert_array_equal(np.array(index, int), order)
    np.testing.assert_array_equal(np.array(issue) == "True", issues.is_label_issue[order])
    assert set(issue) == {"True", "False"}
    np.testing.assert_array_equal(np.array(score, np.float32), issues.label_score[order])
    assert max(map(len, score)) < 16  # no digits of a float64
    np.testing.assert_array_equal(np.array(label, int), labels[order])
    np.testing.assert_array_equal(np.array(predicted, int), issues.predicted_label[order])


@PROMISED
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3))
def test_names_of_classes_survive_whatever_they_are(names):
    labels = np.array([0, 1, 2, 2])
    issues = label_issues(labels, np.eye(3)[[1, 1, 2, 0]])
    body = rows(issues_csv(issues, class_names=names))[1:]
    assert [(int(row[0]), row[3], row[4]) for row in body] == [
        (0, names[0], names[1]),
        (3, names[2], names[0]),
        (1, names[1], names[1]),
        (2, names[2], names[2]),
    ]


@pytest.mark.parametrize("name", ["a,b", 'say "cat"', "two\nlines", "a\r\nb", "\r", "", "猫"])
def test_awkward_names(name):
    issues = label_issues([0, 1], np.eye(2))
    assert [r[3] for r in rows(issues_csv(issues, class_names=[name, "b"]))[1:]] == [name, "b"]


def test_a_name_that_utf8_does_not_have_is_escaped():
    issues = label_issues([0, 1], np.eye(2))
    text = issues_csv(issues, class_names=["\udcff", "b"]).decode()
    assert text.splitlines()[1] == '0,False,1.0,"\\udcff","\\udcff"'


# Bad input

GOOD = np.array([[0.5, 0.5], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("labels", "probability", "options", "error", "message"),
    [
        ([0, 1, 1], GOOD, {}, ValueError, "3 given labels and 2 rows"),
        ([0], GOOD, {}, ValueError, "1 given labels and 2 rows"),
        ([0, 2], GOOD, {}, ValueError, "given labels go from 0 to 2"),
        ([-1, 0], GOOD, {}, ValueError, "go from -1"),
        ([0.0, 1.0], GOOD, {}, TypeError, "given labels are float64"),
        ([[0], [1]], GOOD, {}, ValueError, r"shape \(2, 1\)"),
        ([0, 1], GOOD[0], {}, ValueError, r"shape \(2,\)"),
        ([0, 0], np.ones((2, 1)), {}, ValueError, r"shape \(2, 1\)"),
        ([], np.ones((0, 3)), {}, ValueError, r"shape \(0, 3\)"),
        ([0, 1], np.eye(2, dtype=int), {}, TypeError, "int64; floats"),
        ([0, 1], np.zeros((2, 2)), {}, ValueError, "row 0 .* sum 0; .*one epoch"),
        ([0, 1], GOOD * [[1], [np.nan]], {}, ValueError, "row 1 .* nan"),
        ([0, 1], GOOD * [[1], [np.inf]], {}, ValueError, "row 1 .* inf"),
        ([0, 1], np.log(GOOD), {}, ValueError, "row 0 .* minimum -0.69"),
        ([0, 1], [[0.5, 0.5], [-0.5, 1.5]], {}, ValueError, "row 1 .* minimum -0.5"),
        (
            [0, 1],
            GOOD,
            {"score": "margin"},
            ValueError,
            "score is 'margin'; use one of normalized_margin",
        ),
    ],
)
def test_bad_input_is_named(labels, probability, options, error, message):
    with pytest.raises(error, match=message) as caught:
        label_issues(labels, probability, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_one_name_for_each_class(names):
    with pytest.raises(ValueError, match=f"{len(names)} class names and 2 classes"):
        issues_csv(label_issues([0, 1], GOOD), class_names=names)


def test_bad_truth_is_named():
    with pytest.raises(ValueError, match=r"is_wrong has shape \(2,\)"):
        auroc([0.1, 0.2, 0.3], [True, False])
    with pytest.raises(ValueError, match="dtype int64"):
        auroc([0.1, 0.2], [1, 0])
    with pytest.raises(ValueError, match="NaN"):
        auroc([0.1, np.nan], [True, False])
    with pytest.raises(ValueError, match="is_wrong has shape"):
        f1([True], [True, False])
    with pytest.raises(ValueError, match=r"is_label_issue .* dtype float64"):
        f1([0.3], [True])


def test_needs_numpy_alone():
    code = "import sys, sop_classify.labels.issues; print({'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
