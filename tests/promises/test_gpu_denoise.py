"""Promise: CUDA runs the same fit, in the memory foretold, without nondeterministic layers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from robustdip import RECIPES, corrupt, denoise, fit
from robustdip.fitting.memory import memory_needed
from robustdip.quality import psnr
from tests.helpers.images import with_mixture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    clean = data.astronaut()[:128, 150:278].astype(np.float32) / 255
    noisy, _ = corrupt(clean, "random-valued", 0.5, rng=np.random.default_rng(0))
    return clean, noisy


def test_quality_is_the_cpus(scene):
    clean, noisy = scene
    values = [psnr(clean, denoise(noisy, device=device).image) for device in ("cpu", "cuda")]
    assert values[1] == pytest.approx(values[0], abs=1.0)  # other jitter, other rounding


def test_the_start_is_the_cpus(scene):
    """Float32 and the same draws: the first loss agrees before rounding can grow."""
    recipe = replace(RECIPES["default"], published_net=True, jitter=0.0, steps=1)
    losses = [next(fit(scene[1], recipe, device=d)).loss for d in ("cpu", "cuda")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_deterministic_algorithms_do_not_raise_and_repeat(scene):
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        recipe = with_mixture(replace(RECIPES["default"], steps=20), onset=0, refresh=0.05)
        runs = [[s.loss for s in fit(scene[1], recipe, device="cuda")] for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", ["default", "paper"])
def test_memory_is_foretold_within_a_factor_of_two(name):
    noisy = np.random.default_rng(0).random((512, 512, 3), dtype=np.float32)
    torch.cuda.reset_peak_memory_stats()
    for _ in fit(noisy, replace(RECIPES[name], steps=3, refresh=0), device="cuda"):
        pass
    used = torch.cuda.max_memory_allocated()
    assert used / 2 < memory_needed(noisy.shape, RECIPES[name], device="cuda") < 2 * used
