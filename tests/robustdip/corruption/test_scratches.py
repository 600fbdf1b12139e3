"""Promise: a scratch is recognised because it continues damage; detail is not taken for one."""

import math

import numpy as np
import pytest
import torch

from robustdip import corrupt
from robustdip.corruption.scratches import Scratches
from tests.helpers.images import corrupted, estimated, scene, tensor

pytestmark = pytest.mark.usefixtures("one_thread")
SCALE = Scratches().scale


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 9), (3, 7, 5), (2, 6, 6)])
def test_density_is_the_formula(shape):
    """Element by element in float64, borders included."""
    channels, height, width = shape
    rng = np.random.default_rng(0)
    y = rng.uniform(0.4, 0.43, (height, width, channels)).astype(np.float32)
    bad = rng.random((height, width))
    expected = np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        total = weight = 0.0
        # Every pair once: the places after the centre in reading order, and their opposites.
        for down, across in [(0, 1), (0, 2), *((d, a) for d in (1, 2) for a in range(-2, 3))]:
            ends = [(row + down, column + across), (row - down, column - across)]
            if not all(0 <= r < height and 0 <= c < width for r, c in ends):
                continue
            both = math.prod(float(bad[end]) for end in ends)
            apart = sum(np.abs(y[row, column].astype(float) - y[end]).sum() for end in ends)
            total += both * math.exp(-apart / (2 * SCALE)) / (2 * SCALE) ** channels
            weight += both
        expected[row, column] = total / max(1.0, weight)
    density = (
        Scratches().start(tensor(y)).density(torch.tensor(bad, dtype=torch.float32)[None, None])
    )
    np.testing.assert_allclose(density[0, 0].numpy(), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("colour", [(0.9, 0.2, 0.4), (0.2, 0.6, 0.3)])
def test_a_scratch_that_the_network_has_half_learned_is_found_whole(colour):
    """The residual alone does not tell: scattered pixels of the same residuals are left alone."""
    rng = np.random.default_rng(3)
    clean, guess = scene(side=96)
    # The noise of a camera: on a drawing, lines of one colour belong to the picture.
    clean = clean + np.random.default_rng(4).normal(0, 2 / 255, clean.shape)
    scratch = np.zeros(clean.shape[:2], bool)
    for row in range(6, 90, 12):
        scratch[row, 8:88] = True
    noisy = np.where(scratch[..., None], colour, clean)
    # At every second pixel of the line the network has learned most of it.
    learned = scratch & (np.arange(96) % 2 == 0)
    guess = np.where(learned[..., None], noisy + 0.22 * (guess - noisy), guess)
    model = estimated(noisy, guess)
    assert corrupted(model)[0].all(dim=0).numpy()[scratch].mean() > 0.97
    assert corrupted(model)[0].any(dim=0).numpy()[~scratch].mean() < 0.01
    assert model.continued_fraction > 0.7

    places = rng.permutation(clean[..., 0].size)[: int(scratch.sum())]
    scattered = np.zeros(scratch.size, bool)
    scattered[places] = True
    scattered = scattered.reshape(scratch.shape)
    _, guess = scene(side=96)
    noisy = np.where(scattered[..., None], colour, clean)
    half = scattered & (rng.random(scattered.shape) < 0.5)
    guess = np.where(half[..., None], noisy + 0.22 * (guess - noisy), guess)
    alone = estimated(noisy, guess)
    assert corrupted(alone)[0].all(dim=0).numpy()[half].mean() < 0.4
    assert alone.continued_fraction < 0.1


@pytest.mark.parametrize("kind", ["random-valued", "salt-and-pepper"])
@pytest.mark.parametrize("amount", [0.1, 0.5])
def test_noise_does_not_count_as_a_scratch(kind, amount):
    clean, guess = scene(side=96)
    noisy, _ = corrupt(clean, kind, amount, rng=np.random.default_rng(0))
    assert estimated(noisy, guess).continued_fraction < 1e-3
