"""Promise: a seed gives the labels that `train-cifar` trains on, and noise has one name."""

import dataclasses
import hashlib

import numpy as np
import pytest

from overparam.files import FileError
from sop_classify import LabelNoise, noisy_labels
from sop_classify.labels.label_noise import ASYMMETRIC_VARIANTS, SYNTHETIC_NOISE
from tests.helpers.labels import noisy, small_data

DATA = small_data(number=120, classes=10)


@pytest.mark.parametrize(
    ("text", "noise", "name"),
    [
        ("0.2", LabelNoise("symmetric", 0.2), "symmetric-0.2"),
        ("0", LabelNoise("symmetric", 0.0), "symmetric-0"),
        ("1e-3", LabelNoise("symmetric", 0.001), "symmetric-0.001"),
        ("symmetric:0.4", LabelNoise("symmetric", 0.4), "symmetric-0.4"),
        ("instance:0.4", LabelNoise("instance", 0.4), "instance-0.4"),
        ("asymmetric:0.4", LabelNoise("asymmetric", 0.4), "asymmetric-0.4"),
        (
            "asymmetric:0.4:cifar10-all",
            LabelNoise("asymmetric", 0.4, "cifar10-all"),
            "asymmetric-0.4-cifar10-all",
        ),
        ("worst", LabelNoise("worst"), "worst"),
    ],
)
def test_noise_is_read_and_named(text, noise, name):
    assert LabelNoise.parse(text) == noise
    assert str(noise) == name


@pytest.mark.parametrize("classes", [10, 100])
def test_the_default_mapping_does_not_change_the_name(classes):
    noise = LabelNoise("asymmetric", 0.4)
    full = noise.for_classes(classes)
    assert str(full) == str(noise)
    assert ASYMMETRIC_VARIANTS[full.mapping] == classes
    assert full.for_classes(classes) == full
    with pytest.raises(ValueError, match=r"no mapping of 3 classes; there are cifar10 \("):
        noise.for_classes(3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heavy", "noise is 'heavy'; use a rate such as 0.2"),
        ("", "noise is ''; use a rate"),
        ("heavy:0.2", "no noise 'heavy'; there are symmetric, asymmetric, instance, aggre"),
        ("symmetric:x", "noise is 'symmetric:x'; use"),
        ("symmetric:", "noise is 'symmetric:'; use"),
        ("symmetric", "noise 'symmetric' needs a rate"),
        ("asymmetric", "noise 'asymmetric' needs a rate"),
        ("worst:0.2", "noise 'worst' are labels of people; it has no rate"),
        ("1", r"the noise rate is 1\.0; a finite number at least 0 and below 1 is needed"),
        ("-0.1", r"the noise rate is -0\.1"),
        ("nan", "the noise rate is nan"),
        ("symmetric:0.2:cifar10", "mapping 'cifar10' is for asymmetric noise, not symmetric"),
        ("asymmetric:0.2:cifar10_all", r"unknown mapping .*; did you mean 'cifar10-all'\?"),
    ],
)
def test_other_noise_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        LabelNoise.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", SYNTHETIC_NOISE)
def test_a_run_says_how_its_labels_were_made(kind):
    found = noisy_labels(DATA, LabelNoise(kind, 0.3), seed=0, limit=50)
    assert LabelNoise.from_arguments(found.arguments) == found.noise
    assert found.arguments["limit"] == 50
    assert found.noise == LabelNoise(kind, 0.3).for_classes(10)


def test_arguments_of_earlier_runs_are_understood():
    for arguments in ({}, {"noise": None, "noise_type": "symmetric", "mapping": None}):
        assert LabelNoise.from_arguments(arguments) is None
    assert LabelNoise.from_arguments({"noise_type": "worst"}) == LabelNoise("worst")
    with pytest.raises(ValueError, match="no noise 'heavy'"):
        LabelNoise.from_arguments({"noise_type": "heavy", "noise": 0.2})


# Computed by the command line at commit bb547a2: the random numbers must stay the same.
LABELS = {
    ("symmetric:0.3", None): "b4fbe23344b27cc1",
    ("symmetric:0.3", 60): "234b00fdcb4915e4",
    ("asymmetric:0.4", None): "cf13177cf6705082",
    ("instance:0.4", 60): "84c4b88820696c7d",
}


@pytest.mark.parametrize(("text", "limit"), LABELS)
def test_the_labels_of_a_seed_stay_the_same(text, limit):
    found = noisy_labels(DATA, LabelNoise.parse(text), seed=3, limit=limit)
    digest = hashlib.sha256(found.given_labels.tobytes() + found.data.train_images.tobytes())
    assert digest.hexdigest()[:16] == LABELS[text, limit]


def test_what_is_returned():
    found = noisy_labels(DATA, LabelNoise("symmetric", 0.5), seed=1, limit=60)
    np.testing.assert_array_equal(found.data.train_images, DATA.train_images[found.index])
    np.testing.assert_array_equal(found.true_labels, DATA.train_labels[found.index])
    assert found.data.test_images is DATA.test_images
    assert found.noise_rate == (found.given_labels != found.true_labels).mean() == 0.5
    assert (found.limit, len(found.index)) == (60, 60)
    again, other = (
        noisy_labels(DATA, LabelNoise("symmetric", 0.5), seed=seed, limit=60) for seed in (1, 2)
    )
    np.testing.assert_array_equal(found.given_labels, again.given_labels)
    assert (found.index != other.index).any()


def test_without_noise_nobody_knows_the_truth():
    found = noisy_labels(DATA, None, seed=1)
    assert found.data is DATA
    assert found.given_labels is DATA.train_labels
    assert found.true_labels is found.noise_rate is found.noise is None
    np.testing.assert_array_equal(found.index, np.arange(120))


def test_the_labels_of_people_are_cut_with_the_images(tmp_path):
    people = noisy(DATA.train_labels, 40, classes=10)
    np.savez(tmp_path / "people.npz", worse_label=people, clean_label=DATA.train_labels)
    worst = LabelNoise("worst")
    found = noisy_labels(DATA, worst, seed=0, limit=50, human_labels=tmp_path / "people.npz")
    np.testing.assert_array_equal(found.given_labels, people[found.index])
    with pytest.raises(ValueError, match="noise 'worst' needs human labels"):
        noisy_labels(DATA, worst, seed=0)
    with pytest.raises(ValueError, match=r"the noise is symmetric-0\.2; they are for aggre"):
        noisy_labels(DATA, LabelNoise("symmetric", 0.2), seed=0, human_labels="x")
    other = dataclasses.replace(DATA, train_labels=np.roll(DATA.train_labels, 1))
    with pytest.raises(FileError, match="its clean labels differ"):
        noisy_labels(other, worst, seed=0, human_labels=tmp_path / "people.npz")
