"""What a caller is certain about: corrupted elements count as found, protected ones as clean."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robustdip import RECIPES, denoise, fit
from robustdip.synthetic import corrupt
from tests.helpers.images import RECIPE, array, corrupted, problem, scene, small, tensor

pytestmark = pytest.mark.usefixtures("one_thread")


def told(noisy, guess, *, added=None, kept=None):
    """The mixture after four estimates on a network's guess, told what is certain."""
    known = {
        name: None if mask is None else tensor(mask) > 0
        for name, mask in (("corrupted", added), ("clean", kept))
    }
    model = RECIPE.corruption_model.start(replace(problem(tensor(noisy)), **known))
    for _ in range(4):
        model.reestimate(tensor(guess))
    return model


def elements(shape, fraction, seed):
    return np.random.default_rng(seed).random(shape) < fraction


@pytest.mark.parametrize("channels", [1, 3])
def test_certain_elements_are_certain_in_every_estimate(channels):
    clean, guess = scene(channels)
    noisy, _ = corrupt(clean, "random-valued", 0.3, rng=np.random.default_rng(1))
    kept = elements(noisy.shape, 0.2, 2)
    added = elements(noisy.shape, 0.2, 3) & ~kept
    model = told(noisy, guess, added=added, kept=kept)
    probability = array(model.corrupted_probability)
    assert (probability[kept] == 0).all()
    np.testing.assert_allclose(probability[added], 1, atol=1e-6)
    weight = array(model.weight)
    assert (weight[kept] == 1).all()
    np.testing.assert_allclose(weight[added], 0, atol=1e-6)
    deviation = array(model.estimate(tensor(guess)).uncertainty)
    assert (deviation[kept] == 0).all()
    assert (deviation[added] > 0).all()
    assert np.isfinite(deviation).all()


def test_protected_elements_are_spared_by_detectors():
    clean, guess = scene()
    noisy = clean.copy()
    noisy[:, 30] = 0.0  # a missing column, which a detector finds
    kept = np.zeros(noisy.shape, bool)
    kept[20:40, 30] = True
    found = array(corrupted(told(noisy, guess, kept=kept)))
    assert found[:20, 30].all()
    assert found[40:, 30].all()
    assert not found[20:40, 30].any()


def test_the_fraction_of_damage_is_not_taken_from_chosen_places():
    # The caller marks the left half, of which only a tenth is damaged like the rest.
    clean, guess = scene()
    noisy, bad = corrupt(clean, "random-valued", 0.1, rng=np.random.default_rng(1))
    half = np.zeros(noisy.shape, bool)
    half[:, :32] = True
    plain, marked, spared = (
        told(noisy, guess),
        told(noisy, guess, added=half),
        told(noisy, guess, kept=half),
    )
    clean_pattern = [float(model.prior[0]) for model in (plain, marked, spared)]
    # 0.9**3 = 0.73 of the pixels have no bad channel.
    assert np.ptp(clean_pattern) < 0.05
    for model in (marked, spared):
        found = array(corrupted(model))[:, 32:]
        wrong = found != bad[:, 32:]
        assert wrong.mean() < 1.3 * (array(corrupted(plain))[:, 32:] != bad[:, 32:]).mean() + 0.002


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mask_of_nothing_is_no_mask(channels):
    clean, _ = scene(channels, 32)
    noisy, _ = corrupt(clean, "salt-and-pepper", 0.3, rng=np.random.default_rng(0))
    none = np.zeros((32, 32), bool)
    plain = denoise(noisy, method=small(steps=12), device="cpu")
    told_nothing = denoise(noisy, method=small(steps=12), device="cpu", add_mask=none, protect=none)
    for name in ("image", "corruption", "mask", "uncertainty"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(told_nothing, name))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((24, 33, 3), name) for name in ("uint8", "uint16", "float16", "float32", "float64", ">f4")]
    + [((24, 33), "uint8"), ((24, 33), "float64")],
)
def test_protected_is_kept_bit_for_bit_and_added_is_replaced(shape, dtype):
    rng = np.random.default_rng(0)
    values = rng.random(shape)
    scale = np.iinfo(dtype).max if dtype.startswith("uint") else 1
    image = (values * scale).astype(dtype)
    protect, add = elements(shape, 0.5, 1), elements(shape, 0.3, 2)
    before = image.copy(), protect.copy(), add.copy()
    result = denoise(image, method=small(steps=12), device="cpu", add_mask=add, protect=protect)
    assert result.image.dtype == image.dtype
    np.testing.assert_array_equal(result.image[protect], image[protect])
    assert (result.corruption[protect] == 0).all()
    assert (result.uncertainty[protect] == 0).all()
    assert not result.mask[protect].any()
    assert result.mask[add & ~protect].all()
    assert (result.image[add & ~protect] != image[add & ~protect]).mean() > 0.95
    for now, then in zip((image, protect, add), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_value_of_an_added_element_may_be_anything():
    clean, _ = scene(3, 32)
    add = elements((32, 32), 0.1, 0)
    image = clean.copy()
    image[add] = np.nan
    result = denoise(image, method=small(steps=12), device="cpu", add_mask=add)
    assert np.isfinite(result.image).all()
    with pytest.raises(ValueError, match="not finite"):
        denoise(image, method=small(), device="cpu", add_mask=add, protect=add)


@pytest.mark.parametrize("shape", [(1, 2), (2, 2, 3)])
def test_tiny_images(shape):
    image = np.full(shape, 0.5)
    first = np.zeros(shape, bool)
    first.flat[0] = True
    for masks in ({"add_mask": first}, {"protect": first}, {"add_mask": ~first, "protect": first}):
        result = denoise(image, method=small(steps=3), device="cpu", **masks)
        assert np.isfinite(result.image).all()


def test_a_fit_takes_them_too():
    clean, _ = scene(3, 32)
    kept = elements(clean.shape, 0.3, 0)
    added = elements(clean.shape, 0.3, 1) & ~kept
    *_, last = fit(clean.astype(np.float32), small(steps=12), add_mask=added, protect=kept)
    np.testing.assert_allclose(last.image[kept], clean[kept], atol=1e-6)
    assert last.mask[added].all()
    assert not last.mask[kept].any()


IMAGE = np.full((4, 5, 3), 0.5)
SOME = np.eye(4, 5, dtype=bool)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"add_mask": SOME.astype(int)}, TypeError, "add_mask is int64; bool is needed, True whe"),
        ({"protect": [1.0]}, TypeError, "protect is float64; bool is needed, True where clean"),
        ({"add_mask": SOME.T}, ValueError, r"add_mask has shape \(5, 4\); \(4, 5\) or"),
        ({"protect": SOME[:2]}, ValueError, r"protect has shape \(2, 5\)"),
        ({"add_mask": SOME | True}, ValueError, "add_mask marks every element as corrupted"),
        ({"protect": SOME | True}, ValueError, "protect marks every element; nothing is left"),
        ({"add_mask": SOME, "mask": SOME}, ValueError, "without add_mask and protect"),
        ({"protect": SOME, "mask": SOME}, ValueError, "without add_mask and protect"),
        ({"protect": SOME, "method": "median"}, ValueError, "'median' takes no add-mask and no"),
        ({"add_mask": SOME, "method": "paper"}, ValueError, "'paper' takes no add-mask.*; default"),
        ({"add_mask": SOME, "method": RECIPES["dip-l2"]}, ValueError, "'dip-l2' takes no add_mask"),
    ],
)
def test_bad_masks_are_refused_in_one_line(options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        denoise(IMAGE, **{"steps": 2, "device": "cpu"} | options)
    assert "\n" not in str(caught.value)


def test_no_gradient_is_kept():
    clean, guess = scene(3, 32)
    model = told(clean, guess, kept=elements(clean.shape, 0.1, 0))
    x = tensor(guess).requires_grad_()
    model.loss(x).backward()
    assert torch.isfinite(x.grad).all()
