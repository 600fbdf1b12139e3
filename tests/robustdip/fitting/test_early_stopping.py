"""Promise: a fit with early stopping ends with the output whose window varied least, as published.

The oracle is the published rule written out on numpy arrays: the variance of the last `window`
outputs by its definition, in float64, and a loop that waits for a lower one.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustdip import RECIPES, denoise, fit
from robustdip.corruption.mixture import Mixture
from robustdip.fitting.early_stopping import EarlyStopping
from robustdip.fitting.memory import memory_needed
from robustdip.fitting.network import SkipUNet
from robustdip.fitting.optimizers import Rates, optimizers_for

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = replace(RECIPES["dip-es-wmv"], width=16)


def variances(outputs: np.ndarray, window: int) -> np.ndarray:
    """Of the window that ends at each output; NaN where there is none."""
    ends = range(1, len(outputs) + 1)
    windows = [outputs[end - window : end] if end >= window else None for end in ends]
    return np.array([np.nan if w is None else w.astype(float).var(axis=0).mean() for w in windows])


def published(values: np.ndarray, patience: int) -> tuple[int, int | None]:
    """Number of the detected output, and of the one at which the search is over (None: never)."""
    best, least, waited = 0, np.inf, 0
    for number, value in enumerate(values, start=1):
        if np.isnan(value):
            continue
        if value < least:
            best, least, waited = number, value, 0
        else:
            waited += 1
            if waited >= patience:
                return best, number
    return best, None


def spread(values: list[float]) -> np.ndarray:
    """Outputs of two elements whose variance over a window of 2 is as told, from the second on.

    Element k moves at step k alone, by d: its variance there is d²/4, of two elements d²/8.
    """
    steps = [0.0, *np.sqrt(8 * np.array(values))]
    outputs = np.zeros((len(steps), 2))
    for number in range(1, len(steps)):
        outputs[number] = outputs[number - 1]
        sign = -1 if outputs[number, number % 2] > 0 else 1
        outputs[number, number % 2] += sign * steps[number]
    return outputs


def search(outputs: np.ndarray, window: int, patience: int) -> tuple[EarlyStopping, int | None]:
    """The search after all outputs, and at which of them it was over."""
    stopping, ended = EarlyStopping(window, patience), None
    for number, output in enumerate(torch.from_numpy(outputs.astype(np.float32)), start=1):
        stopping.push(output)
        if stopping.finished and ended is None:
            ended = number
    return stopping, ended


# --- the variance --------------------------------------------------------------------------


@given(
    window=st.integers(2, 9),
    count=st.integers(1, 60),
    size=st.integers(1, 6),
    noise=st.sampled_from([1e-4, 1e-2, 1.0]),
    seed=st.integers(0, 2**31),
)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_variance_is_that_of_the_window(window, count, size, noise, seed):
    """Small around 0.5 and after a jump too: float32 keeps it to 1 % of a standard deviation."""
    rng = np.random.default_rng(seed)
    outputs = (0.5 + noise * rng.normal(size=(count, 1, size, 3, 2))).astype(np.float32)
    outputs[: count // 2] += rng.normal(size=outputs.shape[1:]).astype(np.float32)
    stopping = EarlyStopping(window, patience=3)
    for output, expected in zip(outputs, variances(outputs, window), strict=True):
        stopping.push(torch.from_numpy(output))
        assert stopping.variance.dtype == torch.float32
        np.testing.assert_allclose(float(stopping.variance), expected, rtol=1e-3, atol=1e-7)


def test_rounding_errors_do_not_add_up():
    """Two thousand outputs that vary by a grey level; the first ones by a thousand times that."""
    rng = np.random.default_rng(0)
    outputs = 0.5 + rng.normal(size=(2000, 40)) * np.geomspace(4, 4e-3, 2000)[:, None]
    outputs = outputs.astype(np.float32)
    stopping = EarlyStopping(30, patience=5000)
    for output in outputs:
        stopping.push(torch.from_numpy(output))
    expected = variances(outputs[-40:], 30)[-1]
    assert float(stopping.variance) == pytest.approx(expected, rel=1e-4)


def test_outputs_that_stand_still_have_no_variance():
    stopping, ended = search(np.full((20, 5), 0.3), window=4, patience=6)
    assert float(stopping.variance) == 0
    assert int(stopping.best_number) == 4  # the first; the others are no lower
    assert ended == 10


# --- the detection -------------------------------------------------------------------------


@given(
    window=st.integers(2, 5),
    patience=st.integers(1, 12),
    seed=st.integers(0, 2**31),
    u=st.booleans(),
)
@settings(derandomize=True, max_examples=30, deadline=None)
def test_detected_as_published(window, patience, seed, u):
    rng = np.random.default_rng(seed)
    trend = np.abs(np.linspace(-1, 1, 50)) + 0.1 if u else np.ones(50)
    outputs = (0.5 + trend[:, None] * rng.normal(size=(50, 7))).astype(np.float32)
    best, over = published(variances(outputs, window), patience)
    stopping, ended = search(outputs, window, patience)
    assert (int(stopping.best_number), ended) == (best, over)
    np.testing.assert_array_equal(stopping.best.numpy(), outputs[best - 1])


def test_a_valley_is_found_and_a_deeper_one_after_the_patience_is_not():
    curve = [9, 7, 5, 3, 1, 2, 3, 4, 5, 0.5, 0.1]
    outputs = spread([value * 1e-3 for value in curve])
    np.testing.assert_allclose(variances(outputs, 2)[1:], np.array(curve) * 1e-3)
    stopping, ended = search(outputs, window=2, patience=4)
    assert (int(stopping.best_number), ended) == (6, 10)  # the variance 1 is that of output 6
    np.testing.assert_allclose(stopping.best.numpy(), outputs[5], rtol=1e-6)
    stopping, ended = search(outputs, window=2, patience=5)
    assert (int(stopping.best_number), ended) == (12, None)


def test_it_never_ends_while_the_variance_falls():
    stopping, ended = search(spread(list(np.geomspace(1, 1e-3, 200))), window=2, patience=1)
    assert ended is None
    assert int(stopping.best_number) == 201


def test_before_the_first_window_the_latest_output_is_the_best():
    stopping = EarlyStopping(4, patience=1)
    assert not stopping.finished
    for number in range(1, 4):
        output = torch.full((3,), float(number))
        stopping.push(output)
        assert torch.equal(stopping.best, output)
        assert int(stopping.best_number) == number
        assert torch.isnan(stopping.variance)
        assert not stopping.finished


def test_outputs_that_are_not_finite_are_never_the_best():
    outputs = np.random.default_rng(0).normal(size=(40, 3))
    outputs[10:] = np.nan
    stopping, ended = search(outputs, window=3, patience=5)
    assert np.isfinite(stopping.best.numpy()).all()
    assert ended is not None


def test_half_precision_is_measured_in_float32():
    stopping = EarlyStopping(2, patience=1)
    for value in (0.25, 0.5):
        stopping.push(torch.full((2,), value, dtype=torch.bfloat16, requires_grad=True))
    assert float(stopping.variance) == 0.125**2
    assert (stopping.best.dtype, stopping.best.requires_grad) == (torch.float32, False)


@pytest.mark.parametrize(
    ("window", "patience", "message"),
    [
        (1, 1, "window is 1; a whole number from 2"),
        (-3, 1, "window is -3; a whole number from 2"),
        (2, 0, "patience is 0; a whole number from 1"),
    ],
)
def test_too_small_is_refused(window, patience, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(window, patience)


# --- in the fit ----------------------------------------------------------------------------


def scene(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", [(20, 33, 3), (9, 7, 1)])
def test_the_last_step_carries_the_detected_image(shape):
    recipe = replace(RECIPE, window=4, patience=6, steps=300)
    image = scene(*shape)
    # With this seed the end is seen before the step that asks for it.
    steps = [(step.number, step.steps, step.image) for step in fit(image, recipe, seed=2)]
    images = np.array([shown for *_, shown in steps])
    # The last image is the detected one, so the output of the last step is not among them.
    best, over = published(variances(images[:-1], 4), patience=6)
    assert over is not None
    assert len(steps) == -(-over // 20) * 20 < 300  # asked every 20 steps
    np.testing.assert_array_equal(images[-1], images[best - 1])
    assert [number for number, *_ in steps] == list(range(1, len(steps) + 1))
    assert [total for _, total, _ in steps] == [300] * (len(steps) - 1) + [len(steps)]

    result = denoise(image, method=recipe, seed=2)
    np.testing.assert_array_equal(result.image, images[-1])
    assert (result.steps, result.status, result.recipe) == (len(steps), "completed", recipe)
    assert result.history[-1]["step"] == len(steps)
    assert not result.mask.any()


def test_without_an_end_the_least_so_far_is_the_result():
    recipe = replace(RECIPE, window=3, patience=100, steps=12)
    images = np.array([step.image for step in fit(scene(16, 16, 3), recipe)])
    assert len(images) == 12
    full = [step.image for step in fit(scene(16, 16, 3), replace(recipe, steps=13))]
    best, _ = published(variances(np.array(full[:12]), 3), patience=100)
    np.testing.assert_array_equal(images[-1], full[best - 1])
    for few in (1, 2):  # not one window: the last output
        last = [step.image for step in fit(scene(16, 16, 3), replace(recipe, steps=few))][-1]
        np.testing.assert_array_equal(last, full[few - 1])


def test_the_recipe_is_the_published_one_on_the_network_of_dip_l2():
    recipe = RECIPES["dip-es-wmv"]
    assert (recipe.window, recipe.patience, recipe.steps) == (100, 1000, 5000)
    assert (recipe.optimizer, recipe.lr, recipe.average) == ("adam", 0.01, 0)
    other = RECIPES["dip-l2"]
    for name in ("width", "scales", "skip", "published_net", "code_scale", "jitter", "loss"):
        assert getattr(recipe, name) == getattr(other, name)


def test_adam_has_all_weights_and_a_constant_rate():
    net = SkipUNet(4, 3, width=16)
    (adam,) = optimizers = optimizers_for(net, RECIPE.optimizer, lr=RECIPE.lr)
    rates = Rates(optimizers)
    assert type(adam) is torch.optim.Adam
    assert sum(len(group["params"]) for group in adam.param_groups) == len(list(net.parameters()))
    for number in (1, 10, 3000, 5000):
        rates.set(RECIPE.rate.factor(number, RECIPE.steps, clean_pixels=2048))
        assert [group["lr"] for group in adam.param_groups] == [0.01]


def test_memory_counts_the_window():
    def extra(shape, **changes):
        recipe = replace(RECIPES["dip-es-wmv"], **changes)
        without = replace(recipe, window=0, patience=0)
        return memory_needed(shape, recipe) - memory_needed(shape, without)

    image = 4 * 256 * 256 * 3
    assert 100 * image < extra((256, 256, 3)) < 104 * image
    assert extra((256, 256, 3)) == pytest.approx(3 * extra((256, 256)), abs=3)
    assert extra((256, 256, 3), steps=10) < 13 * image


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window": 0}, "window is 0 and patience 1000"),
        ({"patience": 0}, "window is 100 and patience 0"),
        ({"window": 1}, "window is 1 and"),
        ({"patience": -1}, "patience -1"),
        ({"corruption_model": Mixture()}, "window is 100 and the corruption model Mixture"),
    ],
)
def test_recipes_refuse_half_an_early_stopping(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPES["dip-es-wmv"], **wrong)
