"""Promise: detectors of shapes are asked in all tiles where the damage is named, and not else."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from skimage import data

from benchmarks.images.harmless import PICTURES
from robustdip import RECIPES, damage, denoise
from robustdip.corruption.base import ShapeDetector
from robustdip.corruption.missing_lines import MissingLines
from robustdip.corruption.mixture import Mixture
from robustdip.inputs import check_image
from robustdip.tiling.detection import ShapeOdds
from robustdip.tiling.plan import Tile, plan
from robustdip.tiling.survey import core_side, survey


@dataclass(frozen=True)
class Marked(ShapeDetector):
    """What is exactly half is damage, for this detector."""

    asked: ClassVar[list[tuple[int, ...]]] = []
    prior: float = 0.0
    only: None = None
    max_width: float = 1.0

    def shape_odds(self, y, valid):
        self.asked.append(tuple(y.shape))
        here = (y == 0.5).all(dim=1, keepdim=True)
        return torch.where(here, 3.0, 0.0) if here.any() else None


RECIPE = replace(RECIPES["default"], corruption_model=Mixture(detectors=(), shapes=(Marked(),)))


def picture():
    image = np.full((100, 200, 3), 0.49, np.float32)
    image[70:75, 150:160] = 0.5
    return image


def test_shapes_are_looked_for_where_damage_is_named():
    tiles = plan((100, 200), side=64)
    Marked.asked.clear()
    assert survey(check_image(picture()), tiles, RECIPE, every_tile=False).fits == []
    assert Marked.asked == []
    found = survey(check_image(picture()), tiles, RECIPE, every_tile=False, named=True).fits
    assert Marked.asked == [(1, 3, 100, 200)]  # windows of 512x512, whatever the tiles are
    assert any(part.holds((72, 155)) for part in found)
    assert len(found) < len(tiles)


def test_what_a_shape_says_in_a_window_is_told_to_each_tile_that_sees_it():
    """A tile may see too little of it: one letter of a word, of which the picture has many."""
    tiles = plan((100, 200), side=64)
    Marked.asked.clear()
    surveyed = survey(check_image(picture()), tiles, RECIPE, every_tile=True)
    assert Marked.asked == []  # until a tile is fitted
    marked = (picture() == 0.5).all(axis=2)
    for tile in tiles:
        odds = surveyed.shapes.within(tile)
        assert odds.shape == (*tile.weights().shape, 2)
        assert np.array_equal(odds[..., 0], np.where(marked[tile.window], 3.0, 0.0))
        assert not odds[..., 1].any()  # these are not hidden from the network
    assert len(Marked.asked) == 1
    lines = Mixture(detectors=(MissingLines(),), shapes=(Marked(),))
    exact = replace(RECIPE, corruption_model=lines)
    image = picture()
    image[..., 1] += np.random.default_rng(0).normal(0, 0.01, (100, 200))
    image[70:75, 150:160] = 0.5
    assert survey(check_image(image), tiles, exact, every_tile=True).shapes.within(tiles[-1]).any()
    image[20] = 1.0  # a lost line is exact, so nothing approximate is sought
    assert (
        survey(check_image(image), tiles, exact, every_tile=True).shapes.within(tiles[-1]) is None
    )


def test_of_two_windows_the_larger_odds_count():
    values = np.full((64, 100, 1), 0.5, np.float32)

    @dataclass(frozen=True)
    class Growing(Marked):
        hidden: ClassVar[bool] = True

        def shape_odds(self, y, valid):
            self.asked.append(0)
            odds = torch.full_like(y, float(len(self.asked)))
            odds[..., :10] = 0.0
            return odds

    Marked.asked.clear()
    first, second = plan((64, 100), side=64)
    shapes = ShapeOdds(values, [first, second], (Growing(),))
    assert (first.window_columns, second.window_columns) == ((0, 64), (36, 100))
    odds = shapes.within(Tile((0, 64), (0, 100), (0, 64), (0, 100), 0, (64, 100)))
    expected = np.concatenate([np.zeros(10), np.full(36, 1.0), np.full(54, 2.0)])
    assert np.array_equal(odds, np.broadcast_to(expected[None, :, None], (64, 100, 2)))


def test_protected_pixels_have_no_shape():
    protect = np.zeros((100, 200), bool)
    protect[60:80, 140:170] = True
    given, tiles = check_image(picture(), protect=protect), plan((100, 200), side=64)
    assert survey(given, tiles, RECIPE, every_tile=False, named=True).fits == []


def test_a_protected_line_is_not_lost():
    rng = np.random.default_rng(0)
    image = (0.5 + rng.normal(0, 0.004, (100, 200, 3))).astype(np.float32)
    image[20] = 1.0
    tiles, recipe = plan((100, 200), side=64), RECIPES["default"]
    seen = survey(check_image(image), tiles, recipe, every_tile=False)
    assert seen.fits
    assert seen.found[20].all()
    protect = np.zeros(image.shape[:2], bool)
    protect[14:27] = True
    seen = survey(check_image(image, protect=protect), tiles, recipe, every_tile=False)
    assert seen.fits == []
    assert not seen.found.any()


def test_a_faint_scratch_that_is_named_is_fitted():
    rng = np.random.default_rng(0)
    image = (0.5 + 0.2 * np.sin(np.arange(200) / 30)[None, :, None]).repeat(100, axis=0)
    image = (image + rng.normal(0, 0.004, (100, 200, 3))).astype(np.float32)
    image[40:43, 20:60] += 0.05  # fainter than what is looked for without a word
    recipe = replace(RECIPES["default"], steps=1)
    assert denoise(image, method=recipe, tile=64).fitted == 0
    assert denoise(image, method=recipe, tile=64, damage="scratches").fitted > 0


# --- how large tiles are -------------------------------------------------------------------


def photo(height, width):
    """A photograph with fine texture in its middle."""
    return np.asarray(data.astronaut()[:height, :width], np.float32) / 255


@pytest.mark.parametrize("kind", ["random-valued", "salt-and-pepper"])
def test_tiles_are_small_where_damage_is_dense(kind):
    bad = damage(photo(400, 500), kind, amount=0.35, seed=0).image
    recipe = replace(RECIPES["default"], steps=1, width=16)
    result = denoise(bad, method=recipe)
    assert result.tiles == result.fitted == 4
    assert denoise(bad, method=recipe, tile=512).tiles == 1
    mask = np.zeros(bad.shape[:2], bool)
    mask[100:110, 30:40] = True
    assert denoise(bad, method=recipe, mask=mask).tiles == 1


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("random-valued", 0.1), ("text", 0.2), ("scratches", 0.2), ("hair", 0.2), ("text", 0)],
)
def test_tiles_are_not_small_for_wide_or_sparse_damage(kind, amount):
    """A small network would learn a scratch of three pixels."""
    bad = damage(photo(400, 500), kind, amount=amount, seed=0).image
    assert core_side(check_image(bad), RECIPES["default"]) is None
    assert core_side(check_image(bad), RECIPES["paper"]) is None


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_without_damage_are_not_cut(name):
    clean = PICTURES[name](400, np.random.default_rng(0))
    assert core_side(check_image(clean), RECIPES["default"]) is None


def test_published_methods_are_for_whole_pictures():
    noise = np.random.default_rng(0).random((400, 500, 3), np.float32)
    assert core_side(check_image(noise), RECIPES["default"]) == 256
    for name in ("paper", "dip-l1", "dip-l2", "dip-es-wmv"):
        assert core_side(check_image(noise), RECIPES[name]) is None


@pytest.mark.parametrize("way", ["mask", "add_mask"])
def test_a_hole_that_is_wider_than_a_tile_is_fitted_with_what_is_around_it(way):
    image = np.full((1100, 1200, 3), 0.5, np.float32)
    hole = np.zeros(image.shape[:2], bool)
    hole[:, :520] = True
    image[hole] = 1.0
    recipe = replace(RECIPES["default"], steps=1, width=16)
    assert core_side(check_image(image, **{way: hole}), recipe) == 4 * 520
    result = denoise(image, method=recipe, **{way: hole})
    assert result.fitted == result.tiles == 1
    assert result.mask[hole].all()
    with pytest.raises(ValueError, match="the mask marks all of rows 0 to 512"):
        denoise(image, method=recipe, tile=512, **{way: hole})
    hole[:, 255:] = False  # half of a window
    assert core_side(check_image(image, **{way: hole}), recipe) == 4 * 255
    hole[:, 127:] = False
    assert core_side(check_image(image, **{way: hole}), recipe) is None


@pytest.mark.parametrize("way", ["mask", "add_mask"])
def test_a_hole_of_one_colour_is_none(way):
    """The other colours of its pixels are seen."""
    image = np.full((1100, 1200, 3), 0.5, np.float32)
    hole = np.zeros(image.shape, bool)
    hole[:, :520, 1] = True
    recipe = replace(RECIPES["default"], steps=1, width=16)
    assert core_side(check_image(image, **{way: hole}), recipe) is None
    hole[:, :520] = True
    assert core_side(check_image(image, **{way: hole}), recipe) == 4 * 520


@pytest.mark.parametrize("size", [(20, 200), (200, 20)])
def test_the_tile_that_is_advised_is_larger(size):
    """Than the longer side of the window in which nothing is clean."""
    mask = np.zeros(size, bool)
    mask[:150, :150] = True
    with pytest.raises(ValueError, match="more than 64 pixels"):
        denoise(np.zeros(size, np.uint8), mask=mask, tile=64, steps=1)
