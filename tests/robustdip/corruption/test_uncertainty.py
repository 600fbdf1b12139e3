"""Promise: the uncertainty follows from the mixture, ranks the errors and has the right size."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from robustdip import RECIPES, corrupt, denoise
from tests.helpers.images import array, estimated, scene, tensor

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = replace(RECIPES["default"], width=16, steps=6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_is_the_formula_of_the_module(channels):
    clean, guess = scene(channels=channels)
    noisy, _ = corrupt(clean, "random-valued", 0.4, rng=np.random.default_rng(0))
    model = estimated(noisy, guess)
    share, scale = array(model.corrupted_probability), array(model.scale)
    residual = noisy - guess
    square = share * (channels + 1) * scale**2 + 3 * share * (1 - share) * residual**2
    found = array(model.estimate(tensor(guess)).uncertainty)
    np.testing.assert_allclose(found, np.sqrt(square), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["salt-and-pepper", "random-valued"])
@pytest.mark.parametrize("amount", [0.1, 0.5])
def test_the_errors_of_a_known_network_are_ranked_and_covered(kind, amount):
    clean, guess = scene()
    noisy, mask = corrupt(clean, kind, amount, rng=np.random.default_rng(1))
    model = estimated(noisy, guess)
    error = np.abs(array(model.estimate(tensor(guess)).image) - clean)
    uncertainty = array(model.estimate(tensor(guess)).uncertainty)
    # Ranges over ten seeds: rank correlation .70 to .85; within two standard deviations .976 to 1;
    # ratio .34 to .69 (clean channels predict more than the formula assumes); mean uncertainty of
    # corrupted over that of clean elements 2.6 to 55.
    assert spearmanr(error, uncertainty, axis=None)[0] > 0.65
    assert (error <= 2 * uncertainty + 1e-6).mean() > 0.96
    assert 0.3 < np.sqrt((error**2).mean() / (uncertainty**2).mean()) < 0.8
    assert uncertainty[mask].mean() > 2.3 * uncertainty[~mask].mean()


def test_a_result_has_it_if_its_recipe_has_a_model_of_it():
    _, guess = scene(side=40)
    noisy, mask = corrupt(guess.clip(0, 1), "random-valued", 0.3, rng=np.random.default_rng(2))
    for shape in ((40, 40, 3), (40, 40)):
        image = noisy if len(shape) == 3 else noisy[..., 0]
        result = denoise(image, method=SMALL)
        assert result.uncertainty.shape == shape
        assert result.uncertainty.dtype == np.float32
        assert np.isfinite(result.uncertainty).all()
        assert (result.uncertainty >= 0).all()
    for name in ("dip-l1", "dip-l2", "paper"):
        assert denoise(noisy, method=replace(RECIPES[name], width=16, steps=2)).uncertainty is None
    assert denoise(noisy, method="median").uncertainty is None
    with_mask = denoise(noisy, method=SMALL, mask=mask).uncertainty
    assert (with_mask[mask] > 0).all()
    assert not with_mask[~mask].any()


def test_more_of_the_same_noise_is_less_certain():
    clean, guess = scene()
    means = []
    for amount in (0.1, 0.3, 0.6):
        noisy, _ = corrupt(clean, "random-valued", amount, rng=np.random.default_rng(3))
        means.append(array(estimated(noisy, guess).estimate(tensor(guess)).uncertainty).mean())
    assert means == sorted(means)
