"""Promise: told which elements are corrupted, the fit reads the others alone and returns them."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

import robustdip.fitting.loop
from robustdip import RECIPES, corrupt, denoise, fit
from robustdip.corruption.mixture import BLOCK, Evidence, KnownMask, _covariance
from robustdip.fitting.loop import separation_for

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    name: replace(RECIPES[name], width=16, steps=12, onset=0.8, refresh=0.05)
    for name in ("default", "dip-l1", "dip-l2", "dip-es-wmv")
}
DEFAULT = SMALL["default"]


def scene(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth image, the same with 40 % random values, and where these are."""
    ramps = np.add.outer(np.linspace(0, 2, shape[0]), np.linspace(0, 3, shape[1]))
    smooth = 0.5 + 0.3 * np.sin(ramps[..., None] + np.arange(shape[2] if shape[2:] else 1))
    clean = smooth.reshape(shape).astype(np.float32)
    rng = np.random.default_rng(seed)
    noisy, mask = corrupt(clean, "random-valued", 0.4, rng=rng)
    return clean, noisy.astype(np.float32), mask


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None].contiguous()


def told(noisy: np.ndarray, mask: np.ndarray) -> KnownMask:
    y, bad = tensor(noisy), tensor(mask)
    generator = torch.Generator().manual_seed(0)
    model = separation_for(DEFAULT, y, torch.ones_like(y), generator=generator, bad=bad)
    assert type(model) is KnownMask
    return model


# --- what comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 2, 3), (17, 33, 3), (40, 31, 2), (9, 70, 1), (5, 6, 4)])
def test_clean_elements_come_back_bit_for_bit_at_every_step(name, shape):
    _, noisy, mask = scene(*shape)
    assert mask.any()
    assert not mask.all()
    for step in fit(noisy, replace(SMALL[name], steps=4), mask=mask):
        assert step.image.shape == step.corruption.shape == shape
        np.testing.assert_array_equal(step.image[~mask], noisy[~mask])
        np.testing.assert_array_equal(step.mask, mask)
        assert not step.corruption[~mask].any()
        # s is what was taken off; only the image is clipped, and the network's guess may be beyond.
        beyond = (step.image == 0) | (step.image == 1)
        off = np.abs(noisy - step.corruption - step.image)
        assert off[~beyond].max() < 1e-6
    assert (step.image[mask] != noisy[mask]).mean() > 0.9


@pytest.mark.parametrize("name", SMALL)
def test_masked_values_are_never_read(name):
    _, noisy, mask = scene(20, 45, 3)
    one = denoise(noisy, mask=mask, recipe=SMALL[name])
    for value in (0.0, 1.0, np.random.default_rng(5).random(noisy.shape)):
        other = np.where(mask, value, noisy).astype(np.float32)
        result = denoise(other, mask=mask, recipe=SMALL[name])
        np.testing.assert_array_equal(result.image, one.image)
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_allclose(other - result.corruption, noisy - one.corruption, atol=1e-6)
        assert [record["loss"] for record in result.history] == [
            record["loss"] for record in one.history
        ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_type_and_shape_are_kept(dtype):
    clean, noisy, mask = scene(11, 13)
    image = noisy.astype(dtype)
    if np.issubdtype(dtype, np.integer):
        image = np.rint(noisy * np.iinfo(dtype).max).astype(dtype)
    result = denoise(image, mask=mask, recipe=DEFAULT)
    assert result.image.dtype == (np.float32 if dtype == np.float64 else dtype)
    assert result.image.shape == result.mask.shape == clean.shape
    np.testing.assert_array_equal(result.image[~mask], image.astype(result.image.dtype)[~mask])
    np.testing.assert_array_equal(result.mask, mask)


def test_a_mask_of_pixels_serves_all_channels():
    _, noisy, _ = scene(14, 15, 3)
    pixels = np.random.default_rng(2).random((14, 15)) < 0.3
    whole = np.repeat(pixels[..., None], 3, axis=2)
    one, other = (denoise(noisy, mask=mask, recipe=DEFAULT) for mask in (pixels, whole))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.mask, whole)
    listed = denoise(noisy, mask=pixels.tolist(), recipe=DEFAULT)
    np.testing.assert_array_equal(listed.image, one.image)


def test_nothing_masked_returns_the_image():
    _, noisy, _ = scene(12, 10, 3)
    result = denoise(noisy, mask=np.zeros((12, 10), bool), recipe=DEFAULT)
    np.testing.assert_array_equal(result.image, noisy)
    assert not result.mask.any()
    assert not result.corruption.any()


def test_the_last_clean_element_is_enough():
    _, noisy, mask = scene(6, 5, 3)
    mask[:] = True
    mask[3, 2, 1] = False
    result = denoise(noisy, mask=mask, recipe=DEFAULT)
    assert np.isfinite(result.image).all()
    assert result.image[3, 2, 1] == noisy[3, 2, 1]


@pytest.mark.parametrize("name", ["default", "dip-l2"])
def test_the_padding_cannot_be_seen(name, monkeypatch):
    _, noisy, mask = scene(21, 67, 3)
    expected = denoise(noisy, mask=mask, recipe=SMALL[name])
    padded = robustdip.fitting.loop._padded
    calls = []

    def fill(*args, **options):
        values, inside = padded(*args, **options)
        noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(len(calls)))
        calls.append(int((inside == 0).sum()))
        return torch.where(inside > 0, values, noise), inside

    monkeypatch.setattr(robustdip.fitting.loop, "_padded", fill)
    result = denoise(noisy, mask=mask, recipe=SMALL[name])
    assert calls == [3 * (64 * 96 - 21 * 67)] * 2  # the image's padding and the mask's
    for part in ("image", "corruption", "mask"):
        np.testing.assert_array_equal(getattr(result, part), getattr(expected, part))


def test_dead_pixels_are_recovered():
    clean, noisy, mask = scene(40, 44, 3)
    recipe = replace(RECIPES["default"], width=16, steps=150)
    result = denoise(np.where(mask, 1.0, noisy), mask=mask, recipe=recipe)
    error = np.abs(result.image - clean)[mask]
    assert error.mean() < 0.03 < 0.15 < np.abs(noisy - clean)[mask].mean()


# --- how it is done ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_masked_elements_follow_the_clean_channels_of_their_pixel(channels):
    """Against the regression of each pixel's bad channels on its clean ones, in float64."""
    rng = np.random.default_rng(3)
    noisy, average = rng.random((2, 16, 16, channels))
    average = 0.5 + 0.2 * (average + rng.random((16, 16, 1)))
    patterns = np.array(list(product((False, True), repeat=channels)))
    mask = patterns[rng.integers(len(patterns), size=(16, 16))]
    model = told(noisy, mask)
    model.grow(tensor(average))
    ones = torch.ones(1, channels, 16, 16)
    covariances = _covariance(tensor(average), ones).double().numpy()
    expected = noisy.copy()
    for row, column in np.ndindex(16, 16):
        bad, residual = mask[row, column], noisy[row, column] - average[row, column]
        covariance = covariances[row // BLOCK, column // BLOCK]
        gain = covariance[np.ix_(bad, ~bad)] @ np.linalg.inv(covariance[np.ix_(~bad, ~bad)])
        expected[row, column, bad] = average[row, column, bad] + gain @ residual[~bad]
    restored = model.restored(tensor(average))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(restored, expected, atol=2e-5)
    np.testing.assert_array_equal(model.corrupted()[0].permute(1, 2, 0).numpy(), mask)


def test_nothing_but_the_gains_and_the_scale_is_estimated():
    _, noisy, mask = scene(64, 64, 3)
    model = told(noisy, mask)
    fixed = {name: value.clone() for name, value in vars(model).items() if torch.is_tensor(value)}
    clean = model.clean
    assert clean == pytest.approx(1 - mask.mean())
    x = tensor(np.random.default_rng(7).random(noisy.shape))
    for number in range(1, DEFAULT.steps + 1):
        model.step(x, x, number)
    assert model.clean == clean
    changed = [
        name for name, value in fixed.items() if not torch.equal(value, getattr(model, name))
    ]
    assert sorted(changed) == ["gain", "scale"]
    weight = model.weight[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(weight, 1 - mask.astype(np.float32))
    one_hot = model.posterior
    assert set(one_hot.unique().tolist()) == {0, 1}
    assert torch.equal(one_hot.sum(dim=1), torch.ones(1, 64, 64))


def test_the_loss_is_the_mean_over_the_image_of_the_clean_residuals():
    _, noisy, mask = scene(64, 64, 3)
    x = np.random.default_rng(7).random(noisy.shape).astype(np.float32)
    residual = np.where(mask, 0, x.astype(float) - noisy)
    expected = np.where(mask, 0, np.sqrt(residual**2 + 1e-4)).mean()
    assert float(told(noisy, mask).loss(tensor(x))) == pytest.approx(expected, rel=1e-5)


def test_without_a_mask_nothing_is_different():
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = separation_for(DEFAULT, y, torch.ones_like(y), generator=torch.Generator())
    assert type(model) is Evidence


# --- what is refused -----------------------------------------------------------------------


IMAGE = scene(4, 5, 3)[1]


@pytest.mark.parametrize(
    ("mask", "recipe", "error", "message"),
    [
        (np.zeros((4, 5), bool), "paper", ValueError, "recipe 'paper' always estimates s"),
        (np.ones((4, 5), bool), "default", ValueError, "marks every element as corrupted"),
        (np.ones((4, 5, 3), bool), "dip-l1", ValueError, "marks every element as corrupted"),
        (np.zeros((5, 4), bool), "default", ValueError, r"mask has shape \(5, 4\); \(4, 5\) or"),
        (np.zeros((4, 5, 1), bool), "default", ValueError, r"\(4, 5\) or \(4, 5, 3\) is needed"),
        (np.zeros(20, bool), "default", ValueError, r"mask has shape \(20,\)"),
        (np.zeros((4, 5)), "default", TypeError, "mask is float64; bool is needed"),
        (np.full((4, 5), 255, np.uint8), "default", TypeError, "mask is uint8; bool is needed"),
    ],
)
def test_refused_at_the_call(mask, recipe, error, message):
    with pytest.raises(error, match=message) as caught:
        fit(IMAGE, RECIPES[recipe], mask=mask)
    assert "\n" not in str(caught.value)

    def fail(step):
        pytest.fail("the fit was started")

    with pytest.raises(error, match=message):
        denoise(IMAGE, mask=mask, recipe=recipe, on_step=fail)


def test_a_mask_does_not_allow_what_is_no_image():
    holed = IMAGE.copy()
    holed[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 values that are not finite"):
        denoise(holed, mask=np.isnan(holed))
