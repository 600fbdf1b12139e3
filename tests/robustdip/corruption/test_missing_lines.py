"""Promise: all elements of missing lines are found, and none in drawings, frames and photos."""

import numpy as np
import pytest
import torch
from skimage import data

from robustdip import corrupt
from robustdip.corruption.missing_lines import MissingLines
from tests.helpers.images import model_of, tensor

pytestmark = pytest.mark.usefixtures("one_thread")

PHOTOS = ["coffee", "chelsea", "rocket", "camera", "coins", "moon"]


def photo(name: str) -> np.ndarray:
    image = np.asarray(getattr(data, name)(), np.float32) / 255
    return np.atleast_3d(image)[:256, :320]


def found(image: np.ndarray) -> np.ndarray:
    y = tensor(image)
    return MissingLines().find(y, torch.ones_like(y))[0].permute(1, 2, 0).numpy()


def lost(clean: np.ndarray, amount: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return corrupt(clean, "missing-lines", amount, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("amount", [0.005, 0.1, 0.4])
def test_lost_lines_are_found_and_nothing_else(name, amount):
    for seed in range(3):
        noisy, mask = lost(photo(name), amount, seed=seed)
        detected = found(noisy)
        assert not (detected & ~mask).any()
        # Exactly, unless more of them lie together than a sixteenth of the side, or both ends of
        # the picture have the same value and pass for a frame.
        assert detected.sum() > (0.999 if amount < 0.2 else 0.9) * mask.sum()


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photograph_has_none(name):
    assert not found(photo(name)).any()


def test_one_channel_of_a_sensor_may_be_the_broken_one():
    noisy = photo("coffee")
    noisy[40, :, 2] = 0.5
    noisy[:, 70, 0] = 1
    mask = np.zeros(noisy.shape, bool)
    mask[40, :, 2] = mask[:, 70, 0] = True
    np.testing.assert_array_equal(found(noisy), mask)


def test_other_noise_may_lie_over_lost_lines():
    noisy, mask = lost(photo("coffee"), 0.1, seed=0)
    above, covered = corrupt(noisy, "random-valued", 0.1, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(found(above), mask & ~covered)


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("salt-and-pepper", 0.7), ("random-valued", 0.7), ("scratches", 0.4), ("text", 0.4)],
)
def test_other_corruption_is_left_to_the_rest(kind, amount):
    noisy, _ = corrupt(photo("coffee"), kind, amount, rng=np.random.default_rng(0))
    assert not found(noisy).any()


def frame(width: int) -> np.ndarray:
    framed = photo("coffee")
    framed[:width] = framed[-width:] = framed[:, :width] = framed[:, -width:] = 0.2
    return framed


def bar() -> np.ndarray:
    barred = photo("coffee")
    barred[-8:] = 0.0
    return barred


def form() -> np.ndarray:
    """A page with rules: thin, straight and alone, but on paper."""
    page = np.ones((128, 160, 3), np.float32)
    page[10:30, 12:140:3] = 0.1  # print
    page[40], page[80], page[:, 50] = 0.3, 0.3, 0.3
    return page


def ramp() -> np.ndarray:
    """Every row of the lower half has one value: a chart's background."""
    image = photo("coffee")
    image[128:] = np.linspace(0.1, 0.9, 128, dtype=np.float32)[:, None, None]
    return image


@pytest.mark.parametrize(
    "image",
    [
        frame(1),
        frame(4),
        bar(),
        form(),
        ramp(),
        np.atleast_3d(np.float32(data.page() / 255)),
        np.atleast_3d(np.float32(data.checkerboard() / 255)),
        np.atleast_3d(np.float32(data.binary_blobs(128, rng=0))),
        np.full((64, 64, 3), 0.5, np.float32),
    ],
    ids=["thin frame", "frame", "bar", "form", "ramp", "page", "checkerboard", "blobs", "flat"],
)
def test_drawings_pages_and_frames_stay(image):
    assert not found(image).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (31, 31), (33, 7)])
def test_any_size_is_taken(shape):
    noise = np.random.default_rng(0).random((*shape, 3), np.float32)
    assert not found(noise).any()


def test_padding_changes_nothing():
    noisy, _ = lost(photo("chelsea")[:70, :100], 0.1, seed=0)
    y, inside = torch.zeros(2, 1, 3, 96, 128)
    y[:, :, :70, :100], inside[:, :, :70, :100] = tensor(noisy), 1
    padded = MissingLines().find(y, inside)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(padded[:70, :100], found(noisy))
    assert padded.sum() == found(noisy).sum() > 0


def test_a_lost_element_is_corrupted_however_well_the_network_fits_it():
    noisy = photo("coffee")[:64, :96]
    noisy[20, :, 1] = 0.8
    noisy[:, 30] = 0
    y = tensor(noisy)
    evidence = model_of(y)
    known = torch.from_numpy(found(noisy)).permute(2, 0, 1)
    assert known.sum() == 95 + 3 * 64  # where they cross only the column is found
    assert not evidence.weight[0, known].any()
    evidence.reestimate(y)  # a network that has learned the lines
    assert (evidence.corrupted_probability[0, known] == 1).all()
    assert (evidence.corrupted_probability[0, [0, 2], 20] < 0.5).float().mean() > 0.9
