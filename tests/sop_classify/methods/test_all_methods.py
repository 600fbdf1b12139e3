"""Promise: every method trains on the same terms, and sees no true label."""

import dataclasses
import pkgutil

import numpy as np
import pytest
import torch
from torch import nn

from sop_classify.labels.label_noise import LabelNoise
from sop_classify.methods.build import loss_for, training_for
from sop_classify.methods.catalogue import METHODS, NoiseRateRecipe, recipe_for
from sop_classify.recipes import resized, with_settings
from sop_classify.training.loss import Loss
from sop_classify.training.single import Training
from tests.helpers.labels import noisy, run, small_data

pytestmark = pytest.mark.usefixtures("one_thread")


def small(method, *settings, epochs=2):
    recipe = resized(recipe_for("cpu", method), epochs)
    rate = ["noise_rate=0.3"] if METHODS[method].needs_noise_rate else []
    return with_settings(recipe, ["batch_size=32", *rate, *settings])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_training_and_reports_alike(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    training = training_for(data, given, small(method), device="cpu")
    kind = pkgutil.resolve_name(METHODS[method].implementation)
    assert type(training) is (Training if issubclass(kind, Loss) else kind)
    epochs = run(training, data, data.train_labels)
    assert epochs[-1].test_accuracy > 0.6
    several = training.num_networks == 2
    assert len(training.networks) == training.num_networks
    assert (epochs[-1].test_accuracy_ensemble is not None) == several
    assert all(0 <= e.memorized + e.recovered <= 1 for e in epochs)
    assert all(e.backward_passes >= 1 for e in epochs)
    assert all(e.forward_passes >= e.backward_passes for e in epochs)
    torch.testing.assert_close(training.probability.sum(1), torch.ones(96))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_continues_bit_for_bit(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    recipe = small(method, "ema=0.9", epochs=4)
    whole, first, second = (
        training_for(data, given, recipe, seed=seed, device="cpu") for seed in (0, 0, 5)
    )
    list(whole.epochs())
    epochs = first.epochs()
    next(epochs), next(epochs)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    list(second.epochs())
    theirs = second.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_no_method_sees_the_truth(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    known, unknown = (training_for(data, given, small(method), device="cpu") for _ in range(2))
    for a, b in zip(run(known, data, data.train_labels), run(unknown, data), strict=True):
        assert (a.train_loss, a.test_accuracy) == (b.train_loss, b.test_accuracy)
        assert b.memorized is None


def test_passes_are_what_the_methods_need():
    data = small_data()
    passes = {}
    for method in ("ce", "sop", "sop+", "elr", "elr+", "coteaching+"):
        *_, last = training_for(data, data.train_labels, small(method), device="cpu").epochs()
        passes[method] = (last.forward_passes, last.backward_passes)
    assert passes == {
        "ce": (1, 1),
        "sop": (1, 1),
        "sop+": (1.5, 1.5),  # half of the images have a strong view
        "elr": (1, 1),
        "elr+": (4, 2),
        "coteaching+": (2, 2),
    }


def test_a_method_of_two_networks_needs_two_objects():
    data, lone = small_data(), nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    for networks in (lone, [lone], [lone, lone]):
        with pytest.raises(ValueError, match="needs 2, each an object of its own"):
            training_for(data, data.train_labels, small("elr+"), network=networks, device="cpu")


def test_a_method_of_two_networks_is_no_loss():
    with pytest.raises(ValueError, match="'dividemix' is more than a loss of one network"):
        loss_for(recipe_for("cpu", "dividemix"), 9, 3)


def test_two_networks_start_apart():
    data = small_data()
    training = training_for(data, data.train_labels, small("elr+"), device="cpu")
    first, second = training.networks
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_published_numbers_are_of_noise_that_a_table_can_have():
    """Or they would never be shown. By hand from SOP, Tables 1 and 3, and ELR, Table 1."""
    names = {str(LabelNoise.parse(text)) for text in ("0.2", "0.4", "0.5", "worst")}
    assert {noise for m in METHODS.values() for noise in m.published_accuracy} == names
    rows = {
        "symmetric-0.2": [86.98, 93.18, 96.3, 91.16, 95.8, 89.5, 96.1],
        "symmetric-0.5": [79.4, None, 95.5, None, 94.8, 85.7, 94.6],
        "worst": [77.69, None, 93.24, 83.58, 91.09, 83.26, 92.56],
    }
    for noise, accuracies in rows.items():
        assert [m.published_accuracy.get(noise) for m in METHODS.values()] == accuracies


def test_published_recipes_can_be_built_small():
    data = small_data(number=40, side=32)
    for method in ("coteaching+", "elr"):
        recipe = resized(recipe_for("paper", method), 1)
        recipe = dataclasses.replace(recipe, network="small-cnn")
        if isinstance(recipe, NoiseRateRecipe):
            recipe = dataclasses.replace(recipe, noise_rate=0.2)
        (epoch,) = training_for(data, data.train_labels, recipe, device="cpu").epochs()
        assert np.isfinite(epoch.loss)
