"""Promise: pure black and white do not change where they belong to the picture."""

from dataclasses import replace

import numpy as np
import pytest

from robustdip import corrupt, denoise
from robustdip.recipes import RECIPES

RECIPE = replace(RECIPES["default"], width=16, steps=120)
SIDE = 56

pytestmark = pytest.mark.usefixtures("one_thread")


def picture(share: float, value: float) -> np.ndarray:
    """Waves, and below them a share of one value."""
    down, across = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = 0.5 + 0.4 * np.sin(9 * across + 5 * down)
    image = waves[..., None] * np.array([1, 0.9, 0.7])
    image[round((1 - share) * SIDE) :] = value
    return image.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_a_clean_picture_stays(share, value):
    """Without the rule all of a constant picture is called corrupted, and a third of the others."""
    clean = picture(share, value)
    result = denoise(clean, method=RECIPE)
    flat = clean == value
    np.testing.assert_array_equal(result.image[flat], clean[flat])
    assert result.mask.mean() < 0.01


@pytest.mark.slow
def test_salt_and_pepper_on_it_are_still_found():
    clean = picture(0.5, 1.0)
    noisy, _ = corrupt(clean, "salt-and-pepper", 0.3, rng=np.random.default_rng(0))
    result = denoise(noisy, method=RECIPE)
    assert result.mask[noisy != clean].mean() > 0.98
    # White salt on white paper is no error.
    assert result.mask[(noisy == clean) & (clean < 1)].mean() < 0.02
