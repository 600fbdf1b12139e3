"""Promise: synthetic label noise is the noise it is called, at the rate it says."""

import copy
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import softmax

from sop_classify.data.label_arrays import check_labels, noise_rate, transition_matrix
from sop_classify.labels.label_noise import ASYMMETRIC_VARIANTS, SYNTHETIC_NOISE
from sop_classify.labels.synthetic import asymmetric_noise, instance_noise, symmetric_noise

INTEGERS = ["int8", "uint8", "int16", "int64", "uint64"]
CIFAR10 = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def rng(seed=0):
    return np.random.default_rng(seed)


def balanced(num_classes, each=100, seed=1):
    return rng(seed).permutation(np.arange(num_classes).repeat(each))


def pictures(count, height=4, width=3, channels=3, seed=2):
    return rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def make(kind, labels, rate, num_classes, generator):
    """Noise of any kind, for what holds of all of them."""
    if kind == "symmetric":
        return symmetric_noise(labels, rate, num_classes, rng=generator)
    if kind == "include_true":
        return symmetric_noise(labels, rate, num_classes, rng=generator, include_true=True)
    if kind == "asymmetric":
        return asymmetric_noise(labels, rate, num_classes, mapping={0: 1, 1: 0}, rng=generator)
    return instance_noise(pictures(len(labels)), labels, rate, num_classes, rng=generator)


KINDS = ["symmetric", "include_true", "asymmetric", "instance"]


def assert_binomial(count, total, probability):
    # 5 standard deviations: by luck once in two million.
    allowed = 5 * np.sqrt(total * probability * (1 - probability))
    assert abs(count - total * probability) <= allowed


def assert_distributed(observed, probabilities):
    """A chi-square test that chance fails once in a million."""
    expected = np.sum(observed) * np.asarray(probabilities)
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_names():
    assert SYNTHETIC_NOISE == ("symmetric", "asymmetric", "instance")
    assert set(ASYMMETRIC_VARIANTS.values()) == {10, 100}


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(2, 7),
    st.integers(1, 60),
    st.floats(0, 0.99),
    st.sampled_from(INTEGERS),
    st.integers(0, 5),
)
def test_labels_of_any_integer_type_stay_as_they_were(kind, classes, count, rate, dtype, seed):
    labels = rng(seed).integers(classes, size=count).astype(dtype)
    before = labels.copy()
    labels.flags.writeable = False
    noisy = make(kind, labels, rate, classes, rng(seed))
    np.testing.assert_array_equal(labels, before, strict=True)
    assert noisy.dtype == np.int64
    assert noisy.shape == labels.shape
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert not np.shares_memory(noisy, labels)
    if kind == "symmetric":
        assert (noisy != labels).sum() == round(rate * count)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rate_no_noise_and_a_copy(kind):
    labels = balanced(3)
    noisy = make(kind, labels, 0, 3, rng())
    np.testing.assert_array_equal(noisy, labels)
    noisy[:] = 0
    np.testing.assert_array_equal(labels, balanced(3))


@pytest.mark.parametrize("kind", KINDS)
def test_same_generator_same_labels_and_no_global_state(kind):
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    state = copy.deepcopy(np.random.get_state()[1]), random.getstate()  # noqa: NPY002
    first, second, other = (make(kind, balanced(4), 0.3, 4, rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002
    assert random.getstate() == state[1]


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("classes", [3, 10])
def test_symmetric_is_uniform_over_the_other_classes(classes, rate):
    clean = balanced(classes, 3000)
    noisy = symmetric_noise(clean, rate, classes, rng=rng())
    wrong = noisy != clean
    assert noise_rate(clean, noisy) == round(rate * clean.size) / clean.size
    for c in range(classes):  # the drawn come from all classes and all places
        assert_binomial(wrong[clean == c].sum(), 3000, rate)
    assert_binomial(wrong[: clean.size // 2].sum(), clean.size // 2, rate)
    shift = (noisy - clean)[wrong] % classes
    assert_distributed(
        np.bincount(shift, minlength=classes)[1:], np.full(classes - 1, 1) / (classes - 1)
    )
    # ... whatever the class, not only on average over them
    counts = np.bincount(noisy[wrong & (clean == 0)], minlength=classes)[1:]
    assert_distributed(counts, np.full(classes - 1, 1) / (classes - 1))


def test_symmetric_with_the_true_class_leaves_a_share_right():
    clean = balanced(10, 5000)
    noisy = symmetric_noise(clean, 0.5, 10, rng=rng(), include_true=True)
    assert_binomial((noisy != clean).sum(), clean.size, 0.45)
    counts = np.bincount(noisy[noisy != clean], minlength=10)
    assert_distributed(counts, np.full(10, 0.1))


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 200), st.floats(0, 0.99), st.data())
def test_a_mapping_turns_an_exact_part_of_each_class(classes, count, rate, data):
    ids = st.integers(0, classes - 1)
    mapping = data.draw(st.dictionaries(ids, ids, min_size=1))
    mapping = {source: target for source, target in mapping.items() if source != target} or {0: 1}
    clean = rng(count).integers(classes, size=count)
    noisy = asymmetric_noise(clean, rate, classes, mapping=mapping, rng=rng())
    for c in range(classes):
        given_labels = noisy[clean == c]
        turned = round(rate * given_labels.size) if c in mapping else 0
        assert (given_labels == mapping.get(c, -1)).sum() == turned
        assert (given_labels == c).sum() == given_labels.size - turned


def test_cifar10_variants():
    clean = balanced(10, 1000)
    expected = np.eye(10)
    for source, target in CIFAR10.items():
        expected[source, source], expected[source, target] = 0.6, 0.4
    noisy = asymmetric_noise(clean, 0.4, 10, mapping="cifar10", rng=rng())
    np.testing.assert_allclose(transition_matrix(clean, noisy, 10), expected, atol=1e-12)
    assert noise_rate(clean, noisy) == 0.2

    noisy = asymmetric_noise(clean, 0.4, 10, mapping="cifar10-all", rng=rng())
    wrong = noisy != clean
    assert {(int(a), int(b)) for a, b in zip(clean[wrong], noisy[wrong], strict=True)} == set(
        CIFAR10.items()
    )
    sizes = [wrong[clean == source].sum() for source in CIFAR10]
    assert len(set(sizes)) > 1  # drawn from all examples, not class by class
    for size in sizes:
        assert_binomial(size, 1000, 0.4)


def test_all_examples_are_drawn_from_exactly():
    # Where every class has a target, the rate is met over the whole.
    clean = np.repeat([3, 5], [3, 8])
    noisy = asymmetric_noise(clean, 0.4, 10, mapping="cifar10-all", rng=rng())
    assert (noisy != clean).sum() == round(0.4 * 11)


def test_cifar100_cyclic():
    clean = balanced(100, 50)
    noisy = asymmetric_noise(clean, 0.4, 100, mapping="cifar100-cyclic", rng=rng())
    matrix = transition_matrix(clean, noisy, 100)
    for c in range(100):
        following = c - 4 if c % 5 == 4 else c + 1
        assert matrix[c, following] == pytest.approx(0.4)
        assert matrix[c, c] == pytest.approx(0.6)
    assert noise_rate(clean, noisy) == 0.4


def test_cifar100_pairs():
    clean = balanced(100, 50)
    partners = []
    for seed in range(60):
        noisy = asymmetric_noise(clean, 0.4, 100, mapping="cifar100-pairs", rng=rng(seed))
        assert noise_rate(clean, noisy) == 0.16
        matrix = transition_matrix(clean, noisy, 100)
        sources, targets = np.nonzero(matrix - np.diag(np.diag(matrix)))
        np.testing.assert_allclose(matrix[sources, targets], 0.4)
        np.testing.assert_array_equal(sources // 5, np.arange(20).repeat(2))
        np.testing.assert_array_equal(sources // 5, targets // 5)
        np.testing.assert_array_equal(targets.reshape(20, 2)[:, ::-1], sources.reshape(20, 2))
        partners.append(sources.reshape(20, 2) % 5)
    first, second = np.concatenate(partners).T
    pairs = np.bincount(5 * first + second, minlength=25).reshape(5, 5)[np.triu_indices(5, 1)]
    assert_distributed(pairs, np.full(10, 0.1))


def test_bad_mappings_are_named():
    clean = balanced(10)

    def noisy(mapping, classes=10):
        return asymmetric_noise(clean, 0.2, classes, mapping=mapping, rng=rng())

    with pytest.raises(ValueError, match=r"cifar100-pairs; did you mean 'cifar10-all'\?"):
        noisy("cifar10_all")
    with pytest.raises(ValueError, match=r"unknown mapping 'zzz'.*pairs$"):
        noisy("zzz")
    with pytest.raises(ValueError, match="'cifar10' is for 10 classes, not 100"):
        noisy("cifar10", 100)
    with pytest.raises(ValueError, match="mapping is empty"):
        noisy({})
    for wrong in ({0: 10}, {10: 0}, {-1: 0}, {0: -1}):
        with pytest.raises(ValueError, match="the classes of the mapping go from"):
            noisy(wrong)
    for wrong in ({0: 1.5}, {"cat": "dog"}):
        with pytest.raises(TypeError, match="classes of the mapping are"):
            noisy(wrong)


class Recording(np.random.Generator):
    """A generator that keeps the projections it draws, scaled so that no class takes all."""

    def __init__(self, seed, scale=1.0):
        super().__init__(np.random.PCG64(seed))
        self.scale, self.weights = scale, []

    def standard_normal(self, *args, **kwargs):
        self.weights.append(super().standard_normal(*args, **kwargs) * self.scale)
        return self.weights[-1]


def test_instance_noise_is_algorithm_2():
    # Six pictures, each 20,000 times: the frequencies of their labels against the matrix of
    # Algorithm 2, made image by image.
    classes, copies, rate = 4, 20_000, 0.3
    few = pictures(6)
    truth = np.array([0, 0, 1, 1, 3, 3])  # none of class 2
    order = rng(8).permutation(6 * copies) % 6
    generator = Recording(0, scale=0.1)
    noisy = instance_noise(few[order], truth[order], rate, classes, rng=generator)

    floats = few.astype(np.float64)
    features = (floats - floats.mean(axis=(0, 1, 2))) / floats.std(axis=(0, 1, 2))
    q = stats.truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1)
    assert [weight.shape for weight in generator.weights] == [(36, classes)] * classes
    for i, y in enumerate(truth):
        scores = features[i].ravel() @ generator.weights[y]
        scores[y] = -np.inf
        row = q * softmax(scores)
        row[y] = 1 - q
        assert row.min() > 0.01  # no class so rare that the test would not miss it
        assert_distributed(np.bincount(noisy[order == i], minlength=classes), row)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.9])
def test_instance_noise_rate_is_the_mean_of_the_truncated_normal(rate):
    clean = balanced(5, 8000)
    noisy = instance_noise(pictures(clean.size), clean, rate, 5, rng=rng())
    mean = stats.truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1)
    assert_binomial((noisy != clean).sum(), clean.size, mean)


def test_instance_noise_depends_on_the_image():
    # 32x32 colour images have scores far apart: the wrong label of an image is always the same.
    few = pictures(40, 32, 32)
    order = np.arange(40).repeat(100)
    noisy = instance_noise(few[order], np.zeros(4000, int), 0.4, 10, rng=rng())
    wrong = [np.bincount(noisy[order == i], minlength=10)[1:] for i in range(40)]
    assert np.mean([counts.max() / counts.sum() for counts in wrong]) > 0.95
    assert len({int(counts.argmax()) for counts in wrong}) > 5


def test_instance_noise_of_blank_images_is_symmetric():
    # All features are 0, and softmax is uniform over the other classes.
    clean = balanced(4, 5000)
    noisy = instance_noise(np.full((20_000, 2, 2, 1), 7, np.uint8), clean, 0.4, 4, rng=rng())
    wrong = noisy[(noisy != clean) & (clean == 2)]
    assert_distributed(np.bincount(wrong, minlength=4)[[0, 1, 3]], np.full(3, 1 / 3))


def test_instance_noise_of_images_larger_than_a_chunk():
    # Two pictures, one the negative of the other, so large that each is a chunk of its own: the
    # projections are opposite, and so are the wrong labels of class 0.
    first = pictures(1, 1024, 2049, 1)[0]
    images = np.stack([first, 255 - first] * 4)
    noisy = instance_noise(images, np.zeros(8, int), 0.9, 3, rng=rng())
    even, odd = (set(noisy[start::2].tolist()) - {0} for start in (0, 1))
    assert len(even) == len(odd) == 1
    assert even != odd


def test_instance_noise_needs_little_memory():
    clean = balanced(2, 5000)
    images = pictures(clean.size, 32, 32)  # 31 MB; 246 MB as float64
    tracemalloc.start()
    try:
        instance_noise(images, clean, 0.6, 2, rng=rng())
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_bad_images_are_named():
    clean = balanced(2, 4)
    with pytest.raises(TypeError, match="images are float32; uint8"):
        instance_noise(np.zeros((8, 2, 2, 3), np.float32), clean, 0.2, 2, rng=rng())  # type: ignore
    for shape in [(7, 2, 2, 3), (8, 2, 2), (8, 0, 2, 3), (8,)]:
        with pytest.raises(ValueError, match=r"; \(8, H, W, channels\) is needed"):
            instance_noise(np.zeros(shape, np.uint8), clean, 0.2, 2, rng=rng())


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(2, 6), st.integers(1, 80), st.integers(0, 100))
def test_transition_matrix_counts(classes, count, seed):
    clean, noisy = rng(seed).integers(classes, size=(2, count))
    matrix = transition_matrix(clean, noisy, classes)
    slow = np.zeros((classes, classes))
    for a, b in zip(clean, noisy, strict=True):
        slow[a, b] += 1
    for row in range(classes):
        if slow[row].sum() == 0:
            slow[row, row] = 1
        slow[row] /= slow[row].sum()
    np.testing.assert_allclose(matrix, slow, rtol=1e-12)
    share = np.bincount(clean, minlength=classes) / count
    assert noise_rate(clean, noisy) == pytest.approx(1 - share @ np.diag(matrix))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_are_named(kind):
    labels = np.array([0, 1, 2])
    for rate in (-0.1, 1, 1.5, np.nan, np.inf):
        with pytest.raises(
            ValueError, match=rf"rate is {rate}; a finite number at least 0 and below 1"
        ):
            make(kind, labels, rate, 3, rng())
    for classes in (1, 0, -3):
        with pytest.raises(ValueError, match=f"num_classes is {classes}; a whole number from 2"):
            make(kind, labels, 0.2, classes, rng())
    with pytest.raises(ValueError, match="labels go from 0 to 2; with 2 classes 0 to 1"):
        make(kind, labels, 0.2, 2, rng())
    with pytest.raises(ValueError, match="labels go from -1 to 2"):
        make(kind, [-1, 2], 0.2, 3, rng())
    for wrong in (labels / 1, labels > 0, ["a"]):
        with pytest.raises(TypeError, match=r"the labels are .*; integers are needed"):
            make(kind, wrong, 0.2, 3, rng())
    for wrong in (np.zeros((2, 3), int), np.zeros(0, int)):
        with pytest.raises(ValueError, match=r"shape \(.*\); \(N,\) with N > 0"):
            make(kind, wrong, 0.2, 3, rng())


def test_labels_that_do_not_belong_together_are_named():
    for clean, noisy in [([0, 1], [0, 1, 1]), ([], []), ([[0]], [[0]]), ([0], [[0]])]:
        with pytest.raises(ValueError, match="N > 0"):
            noise_rate(clean, noisy)
        with pytest.raises(ValueError, match="N > 0"):
            transition_matrix(np.array(clean, int), np.array(noisy, int), 2)
    with pytest.raises(ValueError, match="the labels go from 0 to 2"):
        transition_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="guesses go from 5 to 5"):
        check_labels([5], 3, name="guesses")
