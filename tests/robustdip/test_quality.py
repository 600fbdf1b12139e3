"""Promise: PSNR and SSIM are those of their definitions."""

import math

import numpy as np
import pytest
import torch
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


WRONG = {
    "is uint8; floats in .0, 1. are needed, see to_float": np.zeros((20, 20), np.uint8),
    "is bool; floats": np.zeros((20, 20), bool),
    "is a list; an array is needed": [[0.5] * 20] * 20,
    "has masked values; leave them out": np.ma.array(np.ones((20, 20)), mask=np.eye(20) > 0),
}


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize("match", WRONG)
def test_other_values_than_floats_are_refused(measure, match):
    """Of whole numbers the range is not 1: PSNR was a negative number of decibels."""
    floats = np.full((20, 20), 0.5)
    with pytest.raises(TypeError, match=f"^clean {match}"):
        measure(WRONG[match], floats)
    with pytest.raises(TypeError, match=f"^image {match}"):
        measure(floats, WRONG[match])


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_tensors_are_images(measure):
    clean, image = pair(20, 20, 3)
    tensors = torch.from_numpy(clean).requires_grad_(), torch.from_numpy(image)
    assert measure(*tensors) == measure(clean, image)


def test_nothing_has_no_quality():
    for measure in (psnr, ssim):
        with pytest.raises(ValueError, match=r"shape \(0, 20\); there is nothing to compare"):
            measure(np.zeros((0, 20)), np.zeros((0, 20)))


def test_ssim_is_of_an_area():
    for shape in ((), (20,), (20, 20, 20, 3)):
        with pytest.raises(ValueError, match=r"\(H, W\) or \(H, W, C\) is needed"):
            ssim(np.ones(shape), np.ones(shape))
