"""Promise: of damage that was compressed, the noise of all elements is known and taken away."""

import numpy as np
import pytest
import torch
from skimage import data

from robustdip.corruption.channels import conditionals
from robustdip.corruption.compression import LUMA_CHROMA, compressed_blocks
from robustdip.corruption.compression_noise import CompressionNoise
from robustdip.processing import Jpeg
from robustdip.synthetic import corrupt
from tests.helpers.images import array, corrupted, model_of, tensor


def damaged(*, part: int = 160, amount: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """A photograph, and the same with random values in its left part."""
    clean = data.coffee()[100:260, 100:260] / 255
    noisy = clean.copy()
    rng = np.random.default_rng(0)
    noisy[:, :part] = corrupt(clean[:, :part], "random-valued", amount, rng=rng)[0]
    return clean, noisy


@pytest.mark.parametrize("quality", [75, 85, 95])
def test_the_spread_of_compressed_damage_is_that_of_the_error(quality: int):
    noisy = damaged()[1] @ LUMA_CHROMA[0]
    made = Jpeg(quality).apply(noisy)
    for cut in (0, 3):
        blocks = compressed_blocks(made[None, cut:, cut:])
        assert blocks is not None
        assert blocks.spread() == [pytest.approx((made - noisy).std(), rel=0.15)]


def test_damage_that_came_later_has_none():
    clean, noisy = damaged(part=60)
    photo = np.round(255 * Jpeg(85).apply(clean[..., 0])) / 255
    later = photo.copy()
    later[:, :60] = noisy[:, :60, 0]
    blocks = compressed_blocks(later[None])
    assert blocks is not None
    left = np.arange(160) < 56
    assert blocks.spread(np.broadcast_to(left, (160, 160))) == [None]
    assert blocks.spread(np.broadcast_to(~left, (160, 160))) != [None]
    noise = CompressionNoise().start(tensor(later[..., None]), torch.ones(1, 1, 160, 160))
    assert noise is not None
    residual, bad = torch.zeros(2, 1, 1, 160, 160)
    bad[..., :56] = 1
    assert noise.covariance(residual, bad > 0) is None
    assert noise.covariance(residual, bad == 0) is not None
    few = torch.zeros_like(bad, dtype=torch.bool)
    few[..., 100:110, 100:150] = True  # 0.02 of the elements are needed
    assert noise.covariance(residual, few) is None


def test_exact_or_tiny_pictures_have_none():
    noisy = np.round(255 * damaged()[1]) / 255
    y = tensor(noisy)
    assert CompressionNoise().start(y, torch.ones_like(y)) is None
    assert compressed_blocks(np.zeros((1, 71, 200))) is None


def test_gain_is_the_regression_of_the_signal():
    """Against the normal equations with signal and noise apart."""
    signal = torch.tensor([[1.0, 0.8, 0.3], [0.8, 2.0, 0.5], [0.3, 0.5, 0.7]])
    total = signal + torch.diag(torch.tensor([0.5, 0.2, 0.1]))
    patterns = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    _, gain, _ = conditionals(patterns, total[None, None], signal=signal[None, None])
    expected = torch.linalg.solve(total[[0, 2]][:, [0, 2]], signal[[0, 2]]).T
    torch.testing.assert_close(gain[0, 0, 0][:, [0, 2]], expected)
    assert not gain[0, 0, 0][:, 1].any()
    torch.testing.assert_close(gain[1, 0, 0], signal @ torch.linalg.inv(total))
    assert not gain[2].any()


def test_clean_elements_near_damage_lose_the_noise_and_others_are_kept():
    clean, noisy = damaged(part=64)
    made = np.stack([Jpeg(85).apply(noisy @ LUMA_CHROMA[0])] * 3, axis=2)
    clean = np.stack([clean @ LUMA_CHROMA[0]] * 3, axis=2)
    guess = clean + np.random.default_rng(1).laplace(0, 0.004, (*clean.shape[:2], 1))
    model = model_of(tensor(made))
    for _ in range(4):
        model.reestimate(tensor(guess))
    bad = array(corrupted(model))
    image = array(model.estimate(tensor(guess)).image)
    # Truly clean elements; undetected damage is another matter.
    unhurt = np.abs(noisy @ LUMA_CHROMA[0] - clean[..., 0]) < 1e-9
    left = ~bad & unhurt[..., None]
    left[:, 64:] = False
    assert bad[:, :64].mean() > 0.1
    assert (image - clean)[left].std() < 0.6 * (made - clean)[left].std()
    np.testing.assert_allclose(image[:, 80:], made[:, 80:], atol=1e-6)
