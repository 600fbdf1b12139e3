"""Promise: what is wrong is in a core, its window is small where little is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustdip.tiling.close_ups import close_ups
from robustdip.tiling.plan import plan

SIZES = st.tuples(st.integers(64, 500), st.integers(64, 500))
PLACES = st.lists(
    st.tuples(st.floats(0, 0.999), st.floats(0, 0.999), st.integers(1, 90), st.integers(1, 90)),
    max_size=6,
)


@given(size=SIZES, side=st.integers(64, 260), places=PLACES)
def test_what_is_wrong_is_in_a_core(size, side, places):
    wrong = np.zeros(size, bool)
    for down, across, height, width in places:
        top, left = int(down * size[0]), int(across * size[1])
        wrong[top : top + height, left : left + width] = True
    tiles = plan(size, side=side)
    chosen = close_ups(tiles, wrong)
    covered = np.zeros(size, bool)
    for part in chosen:
        covered[part.core] = True
        for core, window, end in zip(part.core, part.window, size, strict=True):
            assert 0 <= window.start <= core.start < core.stop <= window.stop <= end
            assert window.stop - window.start <= min(side, end)
        assert part.weights()[part.core_in_window].min() > 0
    assert not (wrong & ~covered).any()
    tops = [part.window_rows[0] for part in chosen]
    assert tops == sorted(tops)
    # A set of close-ups is never more work than the tiles that the defects lie in.
    work = sum(part.weights().size for part in chosen)
    met = [tile for tile in tiles if any(part.meets(tile) for part in chosen)]
    assert work <= 2 * sum(tile.weights().size for tile in met)


@pytest.mark.parametrize("place", [(5, 9), (700, 440), (900, 1900), (1199, 1999)])
def test_one_defect_is_fitted_closely(place):
    tiles = plan((1200, 2000))
    wrong = np.zeros((1200, 2000), bool)
    wrong[place] = True
    (part,) = close_ups(tiles, wrong)
    assert part.weights().shape == (256, 256)
    assert part.holds(place)


def test_a_long_scratch_is_cut_by_the_tiles_and_many_defects_are_one_tile():
    tiles = plan((1200, 2000))
    wrong = np.zeros((1200, 2000), bool)
    wrong[600, 100:1900] = True
    parts = close_ups(tiles, wrong)
    assert {part.weights().shape[0] for part in parts} == {256}
    assert sum(part.weights().size for part in parts) < 0.6 * 5 * 512 * 512
    wrong[:] = False
    wrong[tiles[0].core][40::90, 40::90] = True
    assert close_ups(tiles, wrong) == [tiles[0]]


def test_nothing_is_fitted_where_nothing_is_wrong():
    assert close_ups(plan((300, 300), side=128), np.zeros((300, 300), bool)) == []
