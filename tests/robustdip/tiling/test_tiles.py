"""`denoise` in tiles: the same as a fit of each window, blended; what is clean stays as it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

import robustdip.recovery
from robustdip import RECIPES, damage, denoise, fit, read_image, write_image
from robustdip.corruption.base import odds_of_shapes
from robustdip.corruption.missing_lines import MissingLines
from robustdip.corruption.printed_text import PrintedText
from robustdip.fitting.memory import memory_needed
from robustdip.inputs import check_image
from robustdip.recovery import NotEnoughMemoryError
from robustdip.tiling.canvas import Canvas
from robustdip.tiling.detection import ShapeOdds, detect
from robustdip.tiling.plan import plan
from robustdip.tiling.quality import TiledQuality
from tests.helpers.command_line import done
from tests.helpers.images import small

DEFAULT, PAPER = (replace(small(name), steps=2) for name in ("default", "paper"))


def picture(height, width, channels=3, *, seed=0, dtype=np.float32):
    """A smooth picture with a tenth of its elements random."""
    ramps = np.add.outer(np.linspace(0, 2, height), np.linspace(0, 3, width))
    smooth = 0.5 + 0.3 * np.sin(ramps[..., None] + np.arange(channels))
    rng = np.random.default_rng(seed)
    bad = np.where(rng.random(smooth.shape) < 0.1, rng.random(smooth.shape), smooth)
    if np.issubdtype(dtype, np.floating):
        return bad.astype(dtype)
    return np.rint(bad * np.iinfo(dtype).max).astype(dtype)


def constant_fits(monkeypatch, *values):
    """Let the fits give constant images, of these values in turn. Returns a list of the values."""
    given = []

    def stand_in(image, recipe, **arguments):
        given.append(values[len(given) % len(values)])
        for step in fit(image, replace(recipe, steps=1), **arguments):
            zero = torch.zeros_like(step._estimate.image)
            estimate = Constant(zero + given[-1], zero, zero > 0, zero + 0.125)
            yield replace(step, _estimate=estimate)

    monkeypatch.setattr(robustdip.recovery, "fit", stand_in)
    return given


class Constant:
    def __init__(self, image, corruption, corrupted, uncertainty):
        self.image, self.corruption = image, corruption
        self.corrupted, self.uncertainty = corrupted, uncertainty


# --- what is joined ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(90, 75), (64, 131)])
def test_equal_tiles_join_without_a_trace(monkeypatch, size):
    calls = constant_fits(monkeypatch, 0.25)
    result = denoise(picture(*size), method=DEFAULT, tile=64, every_tile=True)
    assert len(calls) == result.tiles == result.fitted > 1
    np.testing.assert_allclose(result.image, 0.25, atol=2e-7)
    np.testing.assert_allclose(result.uncertainty, 0.125, atol=1e-7)
    assert result.disagreement < 1e-6


def test_the_disagreement_is_that_of_neighbours_where_both_count(monkeypatch):
    constant_fits(monkeypatch, 0.25, 0.5)
    result = denoise(picture(64, 100), method=DEFAULT, tile=64, every_tile=True)
    assert result.tiles == 2
    assert result.disagreement == pytest.approx(0.25, abs=1e-6)
    assert np.all(np.diff(result.image, axis=1) >= -1e-6)  # from one to the other, no step back
    assert np.abs(np.diff(result.image, axis=1)).max() < 0.25 / 4


def test_the_mask_is_that_of_the_tile_with_more_weight():
    values = np.full((64, 100, 1), 0.5, np.float32)
    first, second = tiles = plan((64, 100), side=64)
    assert first.columns == (0, 50)
    canvas = Canvas(check_image(values), tiles)
    for tile in tiles:
        window = values[tile.window]
        wrong = np.full(window.shape, tile is second)
        canvas.add(tile, image=window, corruption=0 * window, mask=wrong, uncertainty=None)
    canvas.finish()
    assert not canvas.mask[:, :50].any()
    assert canvas.mask[:, 50:].all()


def test_a_blend_stays_in_the_range_of_floats():
    rng = np.random.default_rng(0)
    values = rng.random((90, 100, 3), np.float32)
    tiles = plan((90, 100), side=64)
    canvas = Canvas(check_image(values), tiles)
    for tile in tiles:
        made = (rng.random(values[tile.window].shape) < 0.5).astype(np.float32)  # 0 or 1
        canvas.add(tile, image=made, corruption=0 * made, mask=made > 2, uncertainty=None)
    canvas.finish()
    assert canvas.image.min() == 0
    assert canvas.image.max() == 1


def test_each_tile_is_the_fit_of_its_window():
    image = picture(80, 140)
    result = denoise(image, method=DEFAULT, tile=64, seed=3, every_tile=True)
    found = np.zeros(image.shape, bool)
    for tile in plan((80, 140), side=64):
        alone = tile.weights() == 1
        *_, last = fit(image[tile.window], DEFAULT, seed=tile.seed(3), found=found[tile.window])
        np.testing.assert_allclose(result.image[tile.window][alone], last.image[alone], atol=2e-7)
        assert np.array_equal(result.mask[tile.window][alone], last.mask[alone])
        assert np.array_equal(result.uncertainty[tile.window][alone], last.uncertainty[alone])


def test_a_picture_that_is_not_larger_is_one_fit():
    image = picture(40, 64)
    one, other = (denoise(image, method=DEFAULT, tile=tile) for tile in (None, 64))
    assert (one.tiles, one.fitted, one.disagreement) == (1, 1, None)
    for name in ("image", "corruption", "mask", "uncertainty"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.history == other.history


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_types_and_shapes_come_back_as_they_came(dtype, channels):
    image = picture(70, 70, channels, dtype=np.dtype(dtype).newbyteorder("=")).astype(dtype)
    image = image[..., 0] if channels == 1 else image
    image.flags.writeable = False
    result = denoise(image, method=DEFAULT, tile=64, every_tile=True)
    assert result.tiles == 4
    assert result.image.dtype == image.dtype
    assert result.image.shape == result.mask.shape == result.corruption.shape == image.shape
    assert result.uncertainty.shape == image.shape


def test_other_models_of_s_are_fitted_everywhere():
    result = denoise(picture(70, 64), method=PAPER, tile=64)
    assert (result.tiles, result.fitted, result.steps) == (2, 2, 4)
    assert result.uncertainty is None


# --- masks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_only_tiles_with_a_marked_element_are_fitted(dtype):
    image = picture(64, 300, dtype=dtype)
    mask = np.zeros(image.shape[:2], bool)
    mask[10:14, 20:30] = True
    result = denoise(image, method=DEFAULT, mask=mask, tile=64)
    assert result.fitted == 1 < result.tiles
    assert np.array_equal(result.image[~mask], image[~mask])
    assert not np.array_equal(result.image[mask], image[mask])
    assert np.array_equal(result.mask[..., 0], mask)
    none = denoise(image, method=DEFAULT, mask=np.zeros_like(mask), tile=64)
    assert (none.fitted, none.steps, none.history) == (0, 0, [])
    assert np.array_equal(none.image, image)
    assert not none.uncertainty.any()


def test_what_is_certain_stays_certain():
    image = picture(100, 100, dtype=np.uint8)
    add_mask, protect = np.zeros((2, 100, 100), bool)
    add_mask[40:60, 40:60], protect[50:, :] = True, True
    result = denoise(image, method=DEFAULT, add_mask=add_mask, protect=protect, tile=64)
    assert np.array_equal(result.image[protect], image[protect])
    assert not result.corruption[protect].any()
    assert not result.mask[protect].any()
    assert result.mask[add_mask & ~protect].all()


def test_a_window_without_a_clean_element_is_refused():
    mask = np.zeros((64, 200), bool)
    mask[:, :80] = True
    with pytest.raises(ValueError, match=r"columns 0 to 64.*a tile of more than 64 pixels"):
        denoise(picture(64, 200), method=DEFAULT, mask=mask, tile=64)


# --- detectors -----------------------------------------------------------------------------


def test_a_line_is_found_from_end_to_end_of_the_picture():
    image = picture(100, 200)
    image[60, :] = 0
    image[60, 100:140] = image[61, 100:140]  # most of the width of some windows
    found = detect(image, plan((100, 200), side=64), (MissingLines(),))
    assert found[60, :100].all()
    assert found[60, 140:].all()
    assert not found[:60].any()
    assert not found[61:].any()
    result = denoise(image, method=DEFAULT, tile=64, steps=1)
    assert result.mask[found].all()


def test_letters_are_found_in_every_window_that_sees_them():
    rng = np.random.default_rng(0)
    image = rng.random((100, 160, 3)).astype(np.float32)
    image[40:44, 20:150] = (0.2, 0.9, 0.4)
    tiles = plan((100, 160), side=64)
    found = detect(image, tiles, (PrintedText(),))
    assert found[40:44, 20:150].all()
    assert found.sum() == 4 * 130 * 3


def test_a_fit_that_is_told_what_it_would_find_is_the_same():
    """Words in approximate colours: their odds count as if the fit had asked for them itself."""
    clean = np.asarray(data.astronaut()[:128, 160:288], np.float32) / 255
    bad = damage(clean, "text", amount=0.15, then=["jpeg:85"], seed=1).image
    recipe = replace(RECIPES["default"], steps=20)
    y = torch.from_numpy(bad).permute(2, 0, 1)[None]
    shapes = recipe.corruption_model.shapes
    odds = odds_of_shapes(shapes, y, torch.ones_like(y))[0].permute(1, 2, 0).numpy()
    told = {"found": np.zeros(bad.shape, bool), "shape_odds": odds}
    *_, alone = fit(bad, recipe)
    *_, same = fit(bad, recipe, **told)
    *_, other = fit(bad, recipe, found=told["found"])
    assert np.array_equal(alone.image, same.image)
    assert np.array_equal(alone.mask, same.mask)
    assert not np.array_equal(alone.mask, other.mask)
    with pytest.raises(ValueError, match="shape_odds come with found"):
        fit(bad, recipe, shape_odds=odds)
    with pytest.raises(ValueError, match=r"shape \(128, 64, 2\); \(H, W, 2\)"):
        fit(bad, recipe, found=told["found"], shape_odds=odds[:, :64])


# --- while it runs -------------------------------------------------------------------------


def test_steps_and_history_count_all_tiles():
    clean = np.full((64, 150, 3), 0.5, np.float32)
    steps = []
    result = denoise(
        picture(64, 150), method=DEFAULT, tile=64, reference=clean, on_step=steps.append
    )
    assert result.fitted == result.tiles == 3
    assert [(step.tile, step.number) for step in steps] == [
        (tile, number) for tile in (1, 2, 3) for number in (1, 2)
    ]
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.total for step in steps} == {6}
    assert [record["step"] for record in result.history] == [2, 4, 6] == [2, 4, result.steps]
    error = np.mean((result.image.astype(np.float64) - clean) ** 2)
    assert result.history[-1]["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-6)


def test_finished_tiles_are_kept_when_it_is_interrupted():
    image = picture(64, 150)

    def stop(step):
        if step.done == 3:
            raise KeyboardInterrupt

    whole = denoise(image, method=DEFAULT, tile=64)
    part = denoise(image, method=DEFAULT, tile=64, on_step=stop)
    assert (part.status, part.fitted, part.tiles, part.steps) == ("interrupted", 1, 3, 3)
    first, second, _ = plan((64, 150), side=64)
    before = slice(0, second.reach[1].start)  # the second tile has no weight there
    assert np.array_equal(part.image[:, before], whole.image[:, before])
    after = slice(first.reach[1].stop, None)
    assert np.array_equal(part.image[:, after], image[:, after])
    with pytest.raises(KeyboardInterrupt):
        denoise(image, method=DEFAULT, tile=64, on_step=_interrupt)


def test_finished_tiles_are_kept_when_it_is_interrupted_between_two_fits(monkeypatch):
    image = picture(64, 150)
    asked = []

    def interrupted(odds, part):
        asked.append(part)
        if len(asked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShapeOdds, "within", interrupted)
    part = denoise(image, method=DEFAULT, tile=64, every_tile=True)
    assert (part.status, part.fitted, part.steps) == ("interrupted", 1, 2)


@pytest.mark.parametrize("height", [64, 600])
def test_the_history_of_tiles_that_overlap(height):
    clean = np.full((height, 150, 3), 0.5, np.float32)
    noisy = picture(height, 150)
    quality = TiledQuality(noisy, clean)
    left, right = (slice(None), slice(0, 90)), (slice(None), slice(60, 150))
    quality.update(left, clean[left])
    error = np.mean(np.where(np.arange(150)[:, None] < 90, 0, noisy - clean) ** 2)
    assert quality.psnr == pytest.approx(-10 * np.log10(error), abs=1e-4)
    quality.update(right, clean[right])
    assert quality.psnr == np.inf


def test_a_default_device_of_the_caller_changes_nothing():
    image = picture(64, 150)
    plain = denoise(image, method=DEFAULT, tile=64, device="cpu").image
    with torch.device("meta"):
        assert np.array_equal(denoise(image, method=DEFAULT, tile=64, device="cpu").image, plain)


def test_an_interrupted_run_may_leave_values_that_were_never_read():
    clean = picture(64, 150)
    mask = np.zeros(clean.shape[:2], bool)
    mask[20:44, 10:30] = mask[20:44, 120:140] = True
    image = np.where(mask[..., None], np.nan, clean)

    def stop(step):
        if step.tile == 2:
            raise KeyboardInterrupt

    part = denoise(image, mask=mask, reference=clean, tile=64, steps=2, on_step=stop)
    assert (part.status, part.fitted) == ("interrupted", 1)
    assert np.isfinite(part.history[-1]["psnr"])
    assert np.isnan(part.image[20:44, 120:140]).all()


def _interrupt(step):
    raise KeyboardInterrupt


def test_memory_follows_the_tile(monkeypatch):
    image = picture(64, 600)
    enough = memory_needed((64, 64, 3), DEFAULT) + 30 * image.size
    assert enough < memory_needed(image.shape, DEFAULT)
    monkeypatch.setattr(robustdip.recovery, "memory_free", lambda device: enough)
    with pytest.raises(NotEnoughMemoryError, match="make the image or the tile smaller"):
        denoise(image, method=DEFAULT, tile=600)
    mask = image[..., 0] < 0
    assert denoise(image, method=DEFAULT, tile=64, mask=mask).tiles > 1
    monkeypatch.setattr(robustdip.recovery, "memory_free", lambda device: 1000)
    with pytest.raises(NotEnoughMemoryError, match="600x64 in tiles of 64x64"):
        denoise(image, method=DEFAULT, tile=64, steps=1)


# --- what is left out ----------------------------------------------------------------------


def landscape(height, width, *, seed=0):
    """Smooth shades, an edge, and the noise of a camera; 8 bits."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width]
    shades = 0.5 + 0.2 * np.sin(down / 40)[..., None] * np.cos(
        across[..., None] / 60 + np.arange(3)
    )
    shades += 0.2 * (across > width // 2 + down / 4)[..., None]
    return np.rint(255 * (shades + rng.normal(0, 0.01, shades.shape)).clip(0, 1)).astype(np.uint8)


DAMAGES = {
    "scratch": lambda image: np.fill_diagonal(image[100:140, 20:60, 0], 255),
    "hair": lambda image: image[110, 20:60].fill(30),
    "dust": lambda image: image[100:109, 25:34].fill(250),
    "letters": lambda image: image[110:114, 20:60].__setitem__(..., (10, 200, 90)),
    "impulses": lambda image: image[96:160:8, 0:64:8, 1].fill(255),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tile_is_fitted_and_the_others_are_kept_bit_for_bit(damage):
    image = landscape(192, 256)
    bad = image.copy()
    DAMAGES[damage](bad)
    result = denoise(bad, method=DEFAULT, tile=64, steps=1)
    around = np.zeros(image.shape[:2], bool)
    for tile in plan((192, 256), side=64):
        if (image != bad)[tile.core].any():
            around[tile.core] = True
    assert 0 < result.fitted < result.tiles / 2
    assert np.array_equal(result.image[~around], bad[~around])
    changed = (result.image != bad).any(axis=2)
    assert changed[around].any()
    # All tiles that the damage reaches were fitted: one step changes most of a tile.
    for tile in plan((192, 256), side=64):
        assert changed[tile.core].any() == around[tile.core].any()


def test_nothing_is_fitted_where_nothing_is_wrong():
    image = landscape(200, 150)
    result = denoise(image, method=DEFAULT, tile=64)
    assert (result.fitted, result.steps, result.status) == (0, 0, "completed")
    assert result.tiles > 1
    assert np.array_equal(result.image, image)
    assert not result.mask.any()
    assert not result.uncertainty.any()
    assert denoise(image[:64, :64], method=DEFAULT).fitted == 1  # one tile is always fitted


def test_what_is_protected_does_not_look_wrong():
    image = landscape(64, 192)
    image[20:50, 30] = 255
    protect = np.zeros(image.shape[:2], bool)
    protect[15:55, 25:35] = True
    assert denoise(image, method=DEFAULT, tile=64, steps=1).fitted >= 1
    assert denoise(image, method=DEFAULT, tile=64, protect=protect).fitted == 0


def test_the_command_says_what_it_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "default", DEFAULT)
    image = landscape(64, 192)
    image[20:50, 30] = 255
    source, result = tmp_path / "in.png", tmp_path / "out.png"
    write_image(source, image)
    told = done("denoise", source, "-o", result, "--tile", "64", "--json")
    record = json.loads(told.stdout)
    assert (record["tiles"], record["fitted_tiles"], record["disagreement"]) == (4, 1, None)
    assert "1 of 4 tiles were fitted; nothing wrong was seen in the others" in told.stderr
    assert np.array_equal(read_image(result).pixels[:, 96:], image[:, 96:])
    every = done(
        "denoise", source, "-o", result, "--tile", "64", "--every-tile", "--force", "--json"
    )
    assert json.loads(every.stdout)["fitted_tiles"] == 4
    assert "where they overlap they differ by" in every.stderr
