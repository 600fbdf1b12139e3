"""The plan of tiles: every pixel belongs to one core, and the weights of all tiles add up to 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustdip.tiling.plan import plan

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))
SIDES = st.integers(64, 200)


@settings(deadline=None)
@given(SIZES, SIDES)
def test_cores_divide_the_picture_and_weights_add_up_to_one(size, side):
    total, owners = np.zeros(size), np.zeros(size, int)
    for tile in plan(size, side=side):
        weights = tile.weights()
        assert weights.shape == tuple(min(side, length) for length in size)
        assert weights.min() >= 0
        total[tile.window] += weights
        owners[tile.core] += 1
        (rows, columns), (down, across) = tile.reach, tile.window
        inside = np.zeros(weights.shape, bool)
        inside[
            rows.start - down.start : rows.stop - down.start,
            columns.start - across.start : columns.stop - across.start,
        ] = True
        assert not weights[~inside].any()
        assert weights[tile.core_in_window].shape == total[tile.core].shape
        assert weights[tile.core_in_window].all()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert (owners == 1).all()


@settings(deadline=None)
@given(SIZES, SIDES, st.integers(0, 2**63 - 1))
def test_every_tile_has_a_seed_of_its_own(size, side, seed):
    tiles = plan(size, side=side)
    seeds = [tile.seed(seed) for tile in tiles]
    assert len(set(seeds)) == len(tiles)
    assert all(0 <= one < 2**63 for one in seeds)
    assert seeds == [tile.seed(seed) for tile in tiles]
    assert seeds != [tile.seed(seed ^ 1) for tile in tiles]


def test_up_to_a_megapixel_is_one_tile():
    for size in ((1024, 1024), (1, 2**14), (512, 2048), (1, 1)):
        (tile,) = plan(size)
        assert tile.window == tile.core == (slice(0, size[0]), slice(0, size[1]))
        assert (tile.weights() == 1).all()
    assert len(plan((1024, 1025))) == 9
    assert len(plan((3024, 4032))) == 7 * 9


@pytest.mark.parametrize(
    ("size", "count", "window"),
    [((383, 383), 1, 383), ((512, 512), 4, 288), ((1024, 1024), 16, 288), ((384, 384), 4, 224)],
)
def test_cores_have_about_the_side_that_is_asked_for(size, count, window):
    tiles = plan(size, core=256)
    assert len(tiles) == count
    assert {tile.weights().shape for tile in tiles} == {(window, window)}


@settings(deadline=None)
@given(st.tuples(st.integers(1, 1500), st.integers(1, 1500)), st.integers(64, 400))
def test_cores_are_about_as_large_as_they_should_be(size, core):
    tiles = plan(size, core=core)
    total = np.zeros(size, np.float32)
    for tile in tiles:
        total[tile.window] += tile.weights()
        for own, window, length in zip(
            (tile.rows, tile.columns), (tile.window_rows, tile.window_columns), size, strict=True
        ):
            side = own[1] - own[0]
            assert side == length or core / 2 <= side <= 1.5 * core + 1
            # What a window sees beyond its core, but for the picture's own border.
            assert window[0] == 0 or own[0] - window[0] >= tile.margin
            assert window[1] == length or window[1] - own[1] >= tile.margin
            # No more than two margins, and what a fit would pad.
            assert window[1] - window[0] < side + 1 + 2 * tile.margin + 32
            assert (window[1] - window[0]) % 32 == 0 or window == (0, length)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert len({tile.weights().shape for tile in tiles}) == 1


@pytest.mark.parametrize("size", [(1, 16385), (131072, 8), (63, 17000)])
def test_a_thin_strip_counts_the_memory_of_its_fit(size):
    """Every side is padded to 64 pixels, so a strip of a pixel takes as much as one of 64."""
    tiles = plan(size)
    assert len(tiles) > 1
    for tile in tiles:
        assert tile.window_rows[1] - tile.window_rows[0] <= 512
        assert tile.window_columns[1] - tile.window_columns[0] <= 512


def test_a_window_is_as_large_as_it_was_asked_to_be():
    assert len(plan((128, 128), side=128)) == 1
    assert len(plan((128, 129), side=128)) == 2
    for tile in plan((1000, 130), side=100):
        rows, columns = tile.window
        assert (rows.stop - rows.start, columns.stop - columns.start) == (100, 100)


@pytest.mark.parametrize(
    ("side", "error"), [(63, ValueError), (64.5, TypeError), (True, TypeError)]
)
def test_a_wrong_side_is_refused(side, error):
    with pytest.raises(error, match=r"tile is .*; a whole number"):
        plan((100, 100), side=side)
