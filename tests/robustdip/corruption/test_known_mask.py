"""Promise: with a mask of the corruption, only clean elements are read, and they do not change."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from robustdip import RECIPES, corrupt, denoise, fit
from robustdip.corruption.channels import BLOCK, ChannelCovariance
from robustdip.corruption.known_mask import KnownMask
from tests.helpers.images import array, problem, tensor

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    name: replace(RECIPES[name], width=16, steps=12, known_mask=KnownMask(refresh=0.05))
    for name in ("default", "dip-l1", "dip-l2", "dip-es-wmv")
}
DEFAULT = SMALL["default"]
PARTS = ("image", "corruption", "corrupted", "uncertainty")


def scene(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth image, the same with 40 % random values, and where these are."""
    ramps = np.add.outer(np.linspace(0, 2, shape[0]), np.linspace(0, 3, shape[1]))
    smooth = 0.5 + 0.3 * np.sin(ramps[..., None] + np.arange(shape[2] if shape[2:] else 1))
    clean = smooth.reshape(shape).astype(np.float32)
    rng = np.random.default_rng(seed)
    noisy, mask = corrupt(clean, "random-valued", 0.4, rng=rng)
    return clean, noisy.astype(np.float32), mask


def with_mask(noisy: np.ndarray, mask: np.ndarray):
    """The model of s for a known mask."""
    return DEFAULT.known_mask.start(problem(tensor(noisy), recipe=DEFAULT), tensor(mask))


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
    one = denoise(noisy, mask=mask, method=SMALL[name])
    for value in (0.0, 1.0, np.random.default_rng(5).random(noisy.shape)):
        other = np.where(mask, value, noisy).astype(np.float32)
        result = denoise(other, mask=mask, method=SMALL[name])
        np.testing.assert_array_equal(result.image, one.image)
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_allclose(other - result.corruption, noisy - one.corruption, atol=1e-6)
        assert [record["loss"] for record in result.history] == [
            record["loss"] for record in one.history
        ]


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f2", "f4", ">f4", "f8"])
def test_type_and_shape_are_kept(dtype):
    clean, noisy, mask = scene(11, 13)
    dtype = np.dtype(dtype)
    image = noisy.astype(dtype)
    if np.issubdtype(dtype, np.integer):
        image = np.rint(noisy * np.iinfo(dtype).max).astype(dtype)
    result = denoise(image, mask=mask, method=DEFAULT)
    assert result.image.dtype == dtype
    assert result.image.shape == result.mask.shape == clean.shape
    np.testing.assert_array_equal(result.image[~mask], image[~mask])
    np.testing.assert_array_equal(result.mask, mask)


def test_a_mask_of_pixels_serves_all_channels():
    _, noisy, _ = scene(14, 15, 3)
    pixels = np.random.default_rng(2).random((14, 15)) < 0.3
    whole = np.repeat(pixels[..., None], 3, axis=2)
    one, other = (denoise(noisy, mask=mask, method=DEFAULT) for mask in (pixels, whole))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.mask, whole)
    listed = denoise(noisy, mask=pixels.tolist(), method=DEFAULT)
    np.testing.assert_array_equal(listed.image, one.image)


def test_nothing_masked_returns_the_image():
    _, noisy, _ = scene(12, 10, 3)
    result = denoise(noisy, mask=np.zeros((12, 10), bool), method=DEFAULT)
    np.testing.assert_array_equal(result.image, noisy)
    assert not result.mask.any()
    assert not result.corruption.any()


def test_the_last_clean_element_is_enough():
    _, noisy, mask = scene(6, 5, 3)
    mask[:] = True
    mask[3, 2, 1] = False
    result = denoise(noisy, mask=mask, method=DEFAULT)
    assert np.isfinite(result.image).all()
    assert result.image[3, 2, 1] == noisy[3, 2, 1]


def test_dead_pixels_are_recovered():
    clean, noisy, mask = scene(40, 44, 3)
    recipe = replace(RECIPES["default"], width=16, steps=150)
    result = denoise(np.where(mask, 1.0, noisy), mask=mask, method=recipe)
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
    model = with_mask(noisy, mask)
    model.reestimate(tensor(average))
    ones = torch.ones(1, channels, 16, 16)
    covariances = ChannelCovariance().around(tensor(average), ones).double().numpy()
    expected = noisy.copy()
    for row, column in np.ndindex(16, 16):
        bad, residual = mask[row, column], noisy[row, column] - average[row, column]
        covariance = covariances[row // BLOCK, column // BLOCK]
        gain = covariance[np.ix_(bad, ~bad)] @ np.linalg.inv(covariance[np.ix_(~bad, ~bad)])
        expected[row, column, bad] = average[row, column, bad] + gain @ residual[~bad]
    restored = array(model.estimate(tensor(average)).image)
    np.testing.assert_allclose(restored, expected, atol=2e-5)
    np.testing.assert_array_equal(array(model.estimate(tensor(average)).corrupted), mask)


def test_nothing_but_the_gains_and_the_scale_is_estimated():
    _, noisy, mask = scene(64, 64, 3)
    model = with_mask(noisy, mask)
    fixed = {name: value.clone() for name, value in vars(model).items() if torch.is_tensor(value)}
    clean = model.clean_fraction
    assert clean == pytest.approx(1 - mask.mean())
    x = tensor(np.random.default_rng(7).random(noisy.shape))
    for number in range(1, DEFAULT.steps + 1):
        model.step(x, x, number)
    assert model.clean_fraction == clean
    changed = [
        name for name, value in fixed.items() if not torch.equal(value, getattr(model, name))
    ]
    assert sorted(changed) == ["gain", "scale"]
    weight = array(model.weight)
    np.testing.assert_array_equal(weight, 1 - mask.astype(np.float32))
    one_hot = model.posterior
    assert set(one_hot.unique().tolist()) == {0, 1}
    assert torch.equal(one_hot.sum(dim=1), torch.ones(1, 64, 64))


def test_the_loss_is_the_mean_over_the_image_of_the_clean_residuals():
    _, noisy, mask = scene(64, 64, 3)
    x = np.random.default_rng(7).random(noisy.shape).astype(np.float32)
    residual = np.where(mask, 0, x.astype(float) - noisy)
    expected = np.where(mask, 0, np.sqrt(residual**2 + 1e-4)).mean()
    assert float(with_mask(noisy, mask).loss(tensor(x))) == pytest.approx(expected, rel=1e-5)


# --- what is refused -----------------------------------------------------------------------


IMAGE = scene(4, 5, 3)[1]


@pytest.mark.parametrize(
    ("mask", "recipe", "error", "message"),
    [
        (np.zeros((4, 5), bool), "paper", ValueError, "'paper' (always estimates s|takes no mask)"),
        (np.ones((4, 5), bool), "default", ValueError, "marks every element as corrupted"),
        (np.ones((4, 5, 3), bool), "dip-l1", ValueError, "marks every element as corrupted"),
        (np.zeros((5, 4), bool), "default", ValueError, r"mask has shape \(5, 4\); \(4, 5\) or"),
        (np.zeros((4, 5, 2), bool), "default", ValueError, r"\(4, 5\) or \(4, 5, 3\) is needed"),
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
        denoise(IMAGE, mask=mask, method=recipe, on_step=fail)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 7.5])
def test_any_value_may_stand_under_the_mask(value):
    _, noisy, mask = scene(20, 45, 3)
    expected = denoise(noisy, mask=mask, method=DEFAULT)
    holed = np.where(mask, np.float32(value), noisy)
    result = denoise(holed, mask=mask, method=DEFAULT)
    np.testing.assert_array_equal(result.image, expected.image)
    steps = list(fit(holed, DEFAULT, mask=mask))
    np.testing.assert_array_equal(steps[-1].image, expected.image)
    missing = denoise(np.ma.masked_array(holed, mask), method=DEFAULT)
    np.testing.assert_array_equal(missing.image, expected.image)
    with pytest.raises(ValueError, match=r"values that are not finite|ranges from"):
        denoise(holed, mask=mask & (np.arange(3) > 0), method=DEFAULT)
    with pytest.raises(ValueError, match="a masked array and a mask"):
        denoise(np.ma.masked_array(holed, mask), mask=mask)


@pytest.mark.parametrize("name", ["default", "dip-l2"])
def test_the_padding_does_not_matter(name):
    """What stands in the padding of y changes nothing, whatever it is."""
    _, noisy, mask = scene(21, 67, 3)
    y = torch.zeros(1, 3, 64, 96)
    valid, bad = torch.zeros_like(y), torch.zeros_like(y)
    valid[..., :21, :67] = 1
    y[..., :21, :67], bad[..., :21, :67] = tensor(noisy), tensor(mask)
    x = torch.rand(y.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for filling in (0.0, 0.7):
        filled = torch.where(valid > 0, y, filling)
        recipe = SMALL[name]
        model = recipe.known_mask.start(
            problem(filled, valid, recipe=recipe), torch.where(valid > 0, bad, filling)
        )
        model.step(x, x, recipe.steps)
        estimate = model.estimate(x)
        found.append([model.loss(x), *(getattr(estimate, n)[..., :21, :67] for n in PARTS)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
