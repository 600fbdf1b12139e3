"""Promise: PSNR and SSIM are those of their definitions."""

import math

import numpy as np
import pytest
from scipy import ndimage

from robustdip.quality import psnr, ssim


def pair(*shape):
    rng = np.random.default_rng(0)
    clean = rng.random(shape)
    return clean, (clean + rng.normal(0, 0.1, shape)).clip(0, 1)


def similarity(clean, image):
    """SSIM of one channel, as in Wang et al.: a Gaussian window of 11 pixels, σ = 1.5."""

    def mean(values):
        return ndimage.gaussian_filter(values, 1.5, truncate=3.5)

    x, y = mean(clean), mean(image)
    covariance = mean(clean * image) - x * y
    variances = mean(clean**2) - x**2 + mean(image**2) - y**2
    c, d = 0.01**2, 0.03**2
    values = (2 * x * y + c) * (2 * covariance + d) / ((x**2 + y**2 + c) * (variances + d))
    return values[5:-5, 5:-5].mean()  # where the whole window is in the picture


def test_psnr_by_hand():
    clean, image = pair(7, 9, 3)
    assert psnr(clean, image) == pytest.approx(-10 * math.log10(np.mean((clean - image) ** 2)))
    assert psnr(clean, clean) == math.inf
    assert psnr(np.zeros((4, 5)), np.full((4, 5), 0.1)) == pytest.approx(20)


@pytest.mark.parametrize("shape", [(11, 30), (20, 17, 1), (24, 19, 3)])
def test_ssim_by_its_formula(shape):
    clean, image = pair(*shape)
    channels = (each.reshape(*shape[:2], -1).transpose(2, 0, 1) for each in (clean, image))
    expected = np.mean([similarity(x, y) for x, y in zip(*channels, strict=True)])
    assert 0.5 < expected < 0.99
    assert ssim(clean, image) == pytest.approx(expected, abs=1e-9)
    assert ssim(clean, clean) == pytest.approx(1)


def test_a_picture_smaller_than_the_window_has_no_ssim():
    for shape in ((10, 30), (30, 10, 3)):
        assert ssim(*pair(*shape)) is None


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"shapes \(20, 20, 3\) and \(20, 20\) differ"):
        measure(np.zeros((20, 20, 3)), np.zeros((20, 20)))
