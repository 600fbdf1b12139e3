"""Promise: s is estimated by the mathematics that the module states, and finds what is planted."""

import math

import numpy as np
import pytest
import torch

from overparam import SparseCorruption
from robustdip.corruption.channels import BLOCK, ChannelCovariance, conditionals
from robustdip.synthetic import corrupt
from tests.helpers.images import array, corrupted, estimated, model_of, scene, tensor


def test_one_channel_is_the_gradient_flow_of_u_and_v():
    """b of every element equals s/r of u, v descending from the start and for the time stated."""
    clean, guess = scene(channels=1)
    noisy, _ = corrupt(clean, "random-valued", 0.1, rng=np.random.default_rng(1))
    model = estimated(noisy, guess)
    # One more expectation: its b comes from these estimates (and R = 1 for one channel).
    scale, density, prior = model.scale, model.value_density, model.prior
    model.reestimate(tensor(guess), sweeps=1)
    residual = (model.problem.y - tensor(guess)).double()
    density = density[model.level]  # for large residuals only
    density = torch.where(residual.abs() > model.settings.evident, density, density.clamp(max=1))
    start = 2 * scale * density * prior[1] / prior[0]  # γ²/|r|

    s = SparseCorruption(residual.shape, init=1.0, dtype=torch.float64)
    with torch.no_grad():
        for factor in (s.u, s.v):
            factor.copy_((start * residual.abs()).sqrt())
    steps = 4000
    # 4·η·steps = 1/β differs between elements; η is their own rate, folded into the gradient.
    rate = 1 / (4 * scale * steps)
    for _ in range(steps):
        s.step((s().detach() - residual) * rate, lr=1.0)
    decided = start < 0.02  # the closed form needs γ² ≪ |r|
    assert decided.float().mean() > 0.5
    torch.testing.assert_close(
        (s().detach() / residual)[decided],
        model.corrupted_probability.double()[decided],
        atol=0.02,
        rtol=0,
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_volume_is_the_integral_of_the_density(channels: int):
    """Importance sampling with a wide normal, R of any sign: within 2 % of log ∫ exp(−length)."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(channels, channels, generator=generator) * 0.4 + torch.eye(channels)
    covariance = root @ root.T
    patterns = torch.zeros(1, channels)
    precision, gain, log_volume = (
        values[:, 0, 0] for values in conditionals(patterns, covariance[None, None])
    )
    torch.testing.assert_close(precision[0] @ covariance, torch.eye(channels), atol=1e-4, rtol=0)
    assert torch.equal(gain[0], torch.eye(channels))
    points = torch.randn(400_000, channels, generator=generator) * 4
    log_proposal = -0.5 * (points / 4).square().sum(1) - channels * math.log(
        4 * math.sqrt(2 * math.pi)
    )
    length = torch.einsum("ni,ij,nj->n", points, precision[0], points).sqrt()
    integral = torch.exp(-length - log_proposal).mean()
    assert math.log(integral) == pytest.approx(float(log_volume[0]), abs=0.02)


def test_gain_is_the_regression_on_the_clean_channels():
    first = torch.tensor([[1.0, 0.8, 0.3], [0.8, 2.0, 0.5], [0.3, 0.5, 0.7]])
    covariance = torch.stack([first, first.flip(0, 1)])[:, None]
    patterns = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    precision, gain, log_volume = conditionals(patterns, covariance)
    assert gain.shape == precision.shape == (2, 2, 1, 3, 3)
    for place in range(2):
        block, across = (covariance[place, 0][[0, 2]][:, columns] for columns in ([0, 2], 1))
        expected = torch.linalg.solve(block, across)
        torch.testing.assert_close(gain[0, place, 0, 1, [0, 2]], expected)
        assert torch.equal(gain[0, place, 0][[0, 2]], torch.eye(3)[[0, 2]])
        assert gain[0, place, 0, 1, 1] == 0
        # Two clean channels: 2π Γ(2)/Γ(1) √|R|.
        volume = math.log(2 * math.pi) + 0.5 * float(torch.logdet(block))
        assert float(log_volume[0, place, 0]) == pytest.approx(volume, rel=1e-5)
    assert not gain[1].any()
    assert not precision[1].any()
    assert not log_volume[1].any()


@pytest.mark.parametrize("kind", ["salt-and-pepper", "random-valued"])
@pytest.mark.parametrize("per_pixel", [False, True])
@pytest.mark.parametrize("amount", [0.1, 0.5, 0.7])
def test_amount_and_places_are_found(kind: str, per_pixel: bool, amount: float):
    clean, guess = scene()
    rng = np.random.default_rng(2)
    noisy, mask = corrupt(clean, kind, amount, rng=rng, per_pixel=per_pixel)
    model = estimated(noisy, guess)
    wrong = np.abs(noisy - clean) > 0.15  # nobody can see, nor needs to, a smaller change
    found = array(corrupted(model))
    assert found[wrong].mean() > 0.95
    assert mask[found].mean() > 0.93
    assert float(model.corrupted_probability.mean()) == pytest.approx(amount, abs=0.06)
    together = float(model.prior[0] + model.prior[-1])
    assert together > 0.93 if per_pixel else together < 0.8


def test_nothing_is_found_where_nothing_is_wrong():
    clean, guess = scene()
    model = estimated(clean, guess)
    assert corrupted(model).float().mean() < 0.01
    assert model.estimate(tensor(guess)).corruption.abs().mean() < 2e-3


@pytest.mark.parametrize("amount", [0.0, 0.2])
@pytest.mark.parametrize("picture", ["constant", "half white", "four levels"])
def test_a_frequent_value_is_no_proof_of_corruption(picture: str, amount: float):
    """White paper, a flat sky, a graphic: most of the image has one value, and it is right."""
    clean = np.full((64, 64, 3), 0.5)
    if picture == "half white":
        clean = scene()[0]
        clean[:32] = 1.0
    elif picture == "four levels":
        clean = np.repeat(np.floor(4 * scene(channels=1)[0]) / 4, 3, axis=2)
    rng = np.random.default_rng(6)
    guess = clean + rng.laplace(0, 0.01, (64, 64, 1)) + rng.laplace(0, 0.003, clean.shape)
    noisy, mask = corrupt(clean, "random-valued", amount, rng=rng)
    model = estimated(noisy, guess)
    found = array(corrupted(model))
    assert found[~mask].mean() < 0.04
    restored = array(model.estimate(tensor(guess)).image)
    assert np.abs(restored - clean).max() < 0.2


def test_salt_and_pepper_are_known_by_their_values():
    """Where only 0 and 1 are bad values, a detail that the network misses is not flagged."""
    clean, guess = scene()
    guess[20:24, 20:24] += 0.1
    noisy, mask = corrupt(clean, "salt-and-pepper", 0.3, rng=np.random.default_rng(3))
    found = array(corrupted(estimated(noisy, guess)))
    assert not (found & ~mask)[18:26, 18:26].any()
    assert (found & ~mask).mean() < 0.002


def test_the_density_of_values_has_spikes_and_is_even_between_them():
    """What the residuals find of random values depends on the picture; their density does not."""
    clean, _ = scene()
    model = model_of(tensor(clean), torch.ones_like(tensor(clean)))
    counts = torch.rand(256, generator=torch.Generator().manual_seed(0))
    even = model.density_of(counts)
    torch.testing.assert_close(even, torch.ones(256))
    counts[[0, 255]] = 40.0
    density = model.density_of(counts)
    torch.testing.assert_close(density.mean(), torch.tensor(1.0))
    assert density[1:255].unique().numel() == 1
    # As many times the density between them as in the histogram, but for the 2 % of all values.
    ratio = 40 / counts[1:255].mean()
    assert 0.9 * ratio < density[0] / density[1] < ratio
    assert density[0] == density[255]


def test_a_very_uneven_density_of_values_is_kept():
    """Dark detail without damage: half of skimage's coffee was taken for random values."""
    model = model_of(torch.full((1, 3, 64, 64), 0.5))
    counts = torch.linspace(1, 0, 256) ** 5
    density = model.density_of(counts)
    torch.testing.assert_close(density.mean(), torch.tensor(1.0))
    assert (density.diff() < 0)[counts[1:] > 1e-4].all()  # it falls as the counts do
    assert density.min() == pytest.approx(0.02)  # a value that has not occurred may be corrupted


def test_detail_missed_in_all_channels_is_kept_and_carried_over():
    """Two clean channels agree that the network is wrong; the third, corrupted one follows."""
    rng = np.random.default_rng(4)
    clean = np.repeat(rng.uniform(0.3, 0.7, (64, 64, 1)), 3, axis=2)
    missed = np.zeros((64, 64, 1))
    missed[16:48, 16:48] = rng.normal(0, 0.1, (32, 32, 1))
    guess = clean - missed + rng.laplace(0, 0.005, clean.shape)
    noisy, mask = corrupt(clean, "random-valued", 0.3, rng=rng)
    model = estimated(noisy, guess)
    restored = array(model.estimate(tensor(guess)).image)
    only_one = mask & (mask.sum(axis=2, keepdims=True) == 1) & (np.abs(missed) > 0.05)
    assert np.abs(restored - clean)[only_one].mean() < 0.4 * np.abs(guess - clean)[only_one].mean()


def test_the_padding_says_nothing():
    clean, guess = scene(side=40)
    noisy, _ = corrupt(clean, "random-valued", 0.4, rng=np.random.default_rng(5))
    shares = []
    for filling in (0.0, 1.0):
        y, x = (torch.full((1, 3, 64, 64), filling) for _ in range(2))
        y[..., :40, :40], x[..., :40, :40] = tensor(noisy), tensor(guess)
        valid = torch.zeros_like(y)
        valid[..., :40, :40] = 1
        model = model_of(y, valid)
        model.reestimate(x)
        assert not model.corrupted_probability[..., 40:, :].any()
        assert not model.corrupted_probability[..., 40:].any()
        shares.append(model.corrupted_probability)
    torch.testing.assert_close(shares[0], shares[1], atol=2e-3, rtol=0)


def test_covariance_is_that_of_the_differences_around_each_block():
    """Against sums over windows, in float64, of an image with padding."""
    x = torch.rand(1, 3, 32, 36, generator=torch.Generator().manual_seed(0))
    valid = torch.zeros_like(x)
    valid[..., :29, :34] = 1
    found = ChannelCovariance().around(x, valid)
    assert found.shape == (32 // BLOCK, 36 // BLOCK, 3, 3)
    image = x[0].double().numpy()[:, :29, :34]
    products = np.zeros((32, 36, 3, 3))
    for row, column in np.ndindex(29, 34):
        for next_row, next_column in ((row + 1, column), (row, column + 1)):
            if next_row < 29 and next_column < 34:
                step = image[:, next_row, next_column] - image[:, row, column]
                products[row, column] += np.outer(step, step)
    everywhere = products.sum(axis=(0, 1)) / (29 * 34)
    for i, j in np.ndindex(32 // BLOCK, 36 // BLOCK):
        top, left = BLOCK * i - 4, BLOCK * j - 4  # 12 pixels around a block of 4
        window = products[max(0, top) : top + 12, max(0, left) : left + 12]
        moments = window.sum(axis=(0, 1)) / 144 + 0.5 * everywhere
        expected = 0.95 * moments / np.mean(np.diag(moments)) + 0.05 * np.eye(3)
        np.testing.assert_allclose(found[i, j].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_covariance_without_differences_or_colour(value: float):
    flat = torch.full((1, 3, 64, 64), value)
    unit = torch.eye(3).expand(16, 16, 3, 3)
    torch.testing.assert_close(ChannelCovariance().around(flat, torch.ones_like(flat)), unit)
    one = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    grey = ChannelCovariance().around(one.expand(1, 3, 64, 64), torch.ones(1, 3, 64, 64))
    torch.testing.assert_close(grey, 0.95 + 0.05 * unit, atol=1e-5, rtol=0)
