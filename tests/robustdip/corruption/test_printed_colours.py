"""Promise: words are found after a compression or a change of size; clean pictures stay alone."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from robustdip import RECIPES, corrupt, damage
from robustdip.corruption.printed_colours import PrintedColours
from robustdip.images import from_float, to_float
from robustdip.processing import Jpeg
from robustdip.told import Told
from tests.helpers.images import model_of, tensor

pytestmark = pytest.mark.usefixtures("one_thread")

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")


@cache
def photo(name: str) -> np.ndarray:
    """A photograph of 384x400 pixels, so that half of it is about 200x200."""
    return np.asarray(getattr(data, name)()[-384:, :400, :3], np.float32) / 255


def odds(image: np.ndarray, detector: PrintedColours) -> np.ndarray | None:
    y = tensor(to_float(from_float(image, np.uint8)))
    found = detector.shape_odds(y, torch.ones_like(y))
    return None if found is None else found[0, 0].numpy()


def flagged(image: np.ndarray, detector: PrintedColours) -> np.ndarray:
    found = odds(image, detector)
    return np.zeros(image.shape[:2], bool) if found is None else found == detector.odds


@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
def test_named_words_are_found_after_compression(name):
    clean = photo(name)[:256, :256]
    (bold,) = Told(damage="text").applied(RECIPES["default"]).corruption_model.shapes
    made = damage(clean, "soft-text", amount=0.1, then=["jpeg:85"], seed=0)
    error = ((made.image - made.clean) ** 2).sum(axis=2)
    found = flagged(made.image, bold)
    assert error[found].sum() > 0.3 * error.sum()
    assert (error[found] > 0.06**2).mean() > 0.7


def test_wide_parts_of_a_picture_are_no_letters_where_words_have_their_colour():
    colour = np.float32((0.95, 0.9, 0.2))
    image = photo("astronaut")[:256, :256].copy()
    image[150:157, 150:230] = image[158:161, 20:100] = colour  # a wing, and a shadow of it
    drawn = Image.new("L", (256, 256))
    font, draw = ImageFont.load_default(size=22), ImageDraw.Draw(drawn)
    for row, text in ((20, "Letters on"), (60, "a picture of"), (100, "someone")):
        draw.text((8, row), text, 255, font)
    words = np.asarray(drawn) > 127
    (bold,) = Told(damage="text").applied(RECIPES["default"]).corruption_model.shapes
    found = flagged(Jpeg(85).apply(np.where(words[..., np.newaxis], colour, image)), bold)
    assert found[words].mean() > 0.9
    assert not found[150:157, 150:230].any()
    assert not found[158:161, 20:100].any()


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("then", ["jpeg:75", "jpeg:85", "jpeg:95", "resize:0.5"])
def test_clean_photographs_stay_alone(name, then):
    clean = damage(photo(name)[:256, :256], "text", amount=0, then=[then]).image
    assert odds(clean, PrintedColours()) is None


@pytest.mark.parametrize("name", ["page", "text"])
def test_words_on_paper_stay_alone(name):
    page = getattr(data, name)()[:172, :256].astype(np.float32) / 255
    page = Jpeg(85).apply(np.repeat(page[..., np.newaxis], 3, axis=2))
    assert odds(page, PrintedColours()) is None


@pytest.mark.parametrize(
    ("kind", "amount"),
    # Missing lines are left out: they are found by their exact values, and then nobody looks.
    [("salt-and-pepper", 0.3), ("random-valued", 0.5), ("scratches", 0.1)],
)
def test_exact_damage_of_other_kinds_is_no_printing(kind, amount):
    noisy, _ = corrupt(photo("chelsea")[:160, :160], kind, amount, rng=np.random.default_rng(0))
    assert odds(noisy, PrintedColours()) is None


def test_exact_colours_make_approximate_ones_superfluous():
    printed, _ = corrupt(photo("coffee")[:128, :128], "text", 0.1, rng=np.random.default_rng(0))
    assert model_of(tensor(printed)).shape_odds is None


def test_grey_pictures_and_tiny_ones_have_none():
    grey = np.random.default_rng(0).random((40, 40, 1))
    assert odds(grey, PrintedColours()) is None
    for side in (1, 2, 5):
        assert odds(np.random.default_rng(0).random((side, side, 3)), PrintedColours()) is None
