"""Pieces of a mask against what one counts by hand."""

import numpy as np

from robustdip.corruption.pieces import Pieces, distance_to


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


MASK = mask_of(
    "........",
    ".##...#.",
    ".##....#",
    ".##.....",
    "........",
)


def test_pieces_touch_at_corners_and_are_counted():
    pieces = Pieces(MASK)
    assert pieces.area.tolist() == [6, 2]
    assert pieces.widths().tolist() == [1, 1]  # a 3x3 square fits into neither
    assert (pieces.those(np.array([False, True])).nonzero()[1] == [6, 7]).all()


def test_widths_are_those_of_the_largest_square():
    assert Pieces(np.ones((5, 9), bool)).widths().tolist() == [5]
    assert Pieces(np.ones((6, 9), bool)).widths().tolist() == [5]
    assert Pieces(np.zeros((3, 3), bool)).widths().tolist() == []


def test_means_over_a_piece_and_beside_it():
    values = np.arange(40.0).reshape(5, 8)
    pieces = Pieces(MASK)
    assert pieces.mean(values).tolist() == [np.mean([9, 10, 17, 18, 25, 26]), np.mean([14, 23])]
    # One pixel beside, and nearer than the diagonal: 3 rows left and right, 2 columns up and down.
    beside = [1, 2, 8, 11, 16, 19, 24, 27, 33, 34]
    assert pieces.mean_beside(values, nearest=1, farthest=1.2)[0] == np.mean(beside)


def test_distance_is_that_to_the_nearest_pixel_of_the_mask():
    away = distance_to(MASK)
    assert away[1, 1] == 0
    assert away[0, 0] == np.sqrt(2)
    assert away[4, 4] == np.sqrt(5)
