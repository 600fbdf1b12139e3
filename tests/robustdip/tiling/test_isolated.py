"""Promise: wrong pixels that stand alone are filled from those around them, without a fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustdip import RECIPES, denoise, read_image, write_image
from robustdip.tiling.isolated import fill
from tests.helpers.command_line import done
from tests.helpers.images import small

DEFAULT = replace(small("default"), steps=1)


def waves(height=80, width=90, channels=3):
    """A sum of two waves, each of which follows exactly from the pixels around a pixel."""
    down, across = np.mgrid[:height, :width, :channels][:2]
    shift = np.arange(channels)
    made = np.cos(0.3 * down + shift) + np.cos(0.4 * across - 0.2 * down + 2 * shift)
    return (0.5 + 0.2 * made).astype(np.float32)


def lone(shape, *, count=40, seed=0, step=6):
    """One channel or all of some pixels on a grid that is wider than what is predicted from."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros(shape, bool)
    grid = [(r, c) for r in range(3, shape[0] - 2, step) for c in range(3, shape[1] - 2, step)]
    for place in rng.permutation(grid)[:count]:
        channel = slice(None) if rng.random() < 0.5 else rng.integers(shape[2])
        wrong[(*place, channel)] = True
    return wrong


def filled(values, wrong):
    found = fill(values, wrong)
    return found, found.applied(values)


# --- what is filled ------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_waves_are_continued(channels):
    clean = waves(channels=channels)
    wrong = lone(clean.shape)
    found, made = filled(np.where(wrong, 0, clean), wrong)
    assert np.abs(made - clean).max() < 0.01
    assert np.array_equal(made[~wrong], clean[~wrong])
    assert len(found.values) == wrong.sum()
    assert found.pixels == wrong.any(axis=2).sum() == 40


def test_a_channel_follows_from_the_clean_channels_of_its_pixel():
    rng = np.random.default_rng(0)
    grain = rng.uniform(0.2, 0.8, (80, 90))  # which the pixels around say nothing of
    clean = np.stack([grain, 1 - grain, 0.1 + 0.5 * grain], axis=2).astype(np.float32)
    wrong = np.zeros(clean.shape, bool)
    wrong[3::9, 4::9, 1] = True
    _, made = filled(np.where(wrong, 1, clean), wrong)
    assert np.abs(made - clean).max() < 0.01


def test_the_uncertainty_is_the_error():
    rng = np.random.default_rng(0)
    clean = (waves(200, 200, 1) + rng.normal(0, 0.03, (200, 200, 1))).clip(0, 1)
    clean = clean.astype(np.float32)
    wrong = lone(clean.shape, count=900)
    found, made = filled(np.where(wrong, 0, clean), wrong)
    error = np.sqrt(np.mean((made - clean)[wrong] ** 2))
    assert error == pytest.approx(np.sqrt(np.mean(found.uncertainty**2)), rel=0.15)
    assert 0.03 < error < 0.04  # the noise itself cannot be predicted


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0005, 0.003, 0.02]))
def test_a_pixel_is_filled_if_no_other_of_the_25_is_wrong(seed, share):
    rng = np.random.default_rng(seed)
    wrong = rng.random((60, 70, 2)) < share
    found = fill(rng.random(wrong.shape, dtype=np.float32), wrong)
    pixels = np.pad(wrong.any(axis=2), 2)
    expected = {
        (row, column)
        for row, column in np.argwhere(wrong.any(axis=2))
        if pixels[row : row + 5, column : column + 5].sum() == 1
    }
    places = set() if found is None else set(zip(found.rows, found.columns, strict=True))
    assert places == expected
    if found is not None:
        assert wrong[found.rows, found.columns, found.channels].all()
        assert ((found.values >= 0) & (found.values <= 1)).all()


@pytest.mark.parametrize("border", [0, 1, 2])
def test_wrong_values_are_not_read(border):
    clean = waves()
    wrong = lone(clean.shape)
    inside = np.s_[border : 80 - border, border : 90 - border]
    clean, wrong = clean[inside], wrong[inside].copy()
    wrong[0, 40] = wrong[1, 50] = wrong[30, 0] = wrong[-1, 45] = wrong[-1, -1] = True
    one, other = (fill(np.where(wrong, value, clean), wrong) for value in (0, 1))
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.uncertainty, other.uncertainty)


def test_where_there_is_nothing_to_learn_from_nothing_is_filled():
    wrong = np.zeros((60, 60, 3), bool)
    assert fill(waves(60, 60), wrong) is None
    wrong[::3, ::3] = True
    assert fill(waves(60, 60), wrong) is None
    flat = np.full((60, 60, 3), 0.25, np.float32)
    wrong = lone(flat.shape, count=5)
    assert np.array_equal(filled(np.where(wrong, 1, flat), wrong)[1], flat)


# --- in a picture --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.float64])
@pytest.mark.parametrize("way", ["mask", "add_mask"])
def test_lone_pixels_of_a_large_picture_need_no_fit(dtype, way):
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    clean = (scale * waves(150, 150)).astype(dtype)
    wrong = lone(clean.shape)
    bad = np.where(wrong, scale, clean).astype(dtype)
    result = denoise(bad, method=DEFAULT, tile=64, **{way: wrong})
    assert (result.fitted, result.filled, result.steps) == (0, 40, 0)
    assert result.image.dtype == bad.dtype
    assert np.array_equal(result.image[~wrong], bad[~wrong])
    assert np.abs(result.image.astype(float) - clean)[wrong].max() < 0.02 * scale
    assert np.array_equal(result.mask, wrong)
    assert np.array_equal(result.uncertainty > 0, wrong)
    change = (bad.astype(float) - result.image.astype(float)) / scale
    np.testing.assert_allclose(result.corruption, change, atol=0.003)


@pytest.mark.parametrize("pitch", [3, 4, 5])
def test_a_dense_grid_beside_a_clean_half_is_filled(pitch):
    # As the pixels that focus a camera lie: around each of them no 5x5 pixels are clean.
    clean = waves(96, 240)
    wrong = np.zeros(clean.shape[:2], bool)
    wrong[::pitch, :120:pitch] = True
    result = denoise(np.where(wrong[..., None], 1, clean), method=DEFAULT, tile=96, mask=wrong)
    assert np.isfinite(result.uncertainty).all()
    assert np.isfinite(result.image).all()
    if pitch > 3:
        assert result.filled == wrong.sum()
        inside = np.zeros_like(wrong)
        inside[2:-2, 2:] = True
        assert np.abs(result.image - clean)[wrong & inside].max() < 0.01


def test_what_does_not_stand_alone_is_fitted():
    image = waves(64, 300)
    wrong = np.zeros(image.shape[:2], bool)
    wrong[10:12, 30:34] = wrong[20, 250] = True
    result = denoise(image, method=DEFAULT, tile=64, mask=wrong)
    assert (result.fitted, result.filled) == (1, 1)
    assert result.mask[wrong].all()
    assert np.array_equal(result.image[~wrong], image[~wrong])
    every = denoise(image, method=DEFAULT, tile=64, mask=wrong, every_tile=True)
    assert (every.fitted, every.filled) == (every.tiles, 0)


def test_a_picture_of_one_tile_is_fitted():
    image = waves(64, 64)
    result = denoise(image, method=DEFAULT, mask=lone(image.shape, count=3))
    assert (result.fitted, result.filled, result.steps) == (1, 0, 1)


@pytest.mark.parametrize(
    ("count", "said"), [(7, "7 pixels that stand alone were"), (1, "1 pixel that stands alone was")]
)
def test_the_command_says_what_it_filled(tmp_path, monkeypatch, count, said):
    monkeypatch.setitem(RECIPES, "default", DEFAULT)
    image = np.rint(255 * waves(64, 192)).astype(np.uint8)
    wrong = lone(image.shape, count=count).any(axis=2)
    source, mask, result = (tmp_path / name for name in ("in.png", "mask.png", "out.png"))
    write_image(source, image)
    write_image(mask, 255 * wrong.astype(np.uint8))
    told = done("denoise", source, "-o", result, "--mask", mask, "--tile", "64", "--json")
    record = json.loads(told.stdout)
    assert (record["fitted_tiles"], record["filled_pixels"]) == (0, count)
    assert f"{said} filled from those around;" in told.stderr
    assert "nothing else wrong was seen" in told.stderr
    assert np.array_equal(read_image(result).pixels[~wrong], image[~wrong])
