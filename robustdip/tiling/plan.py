"""How a picture is cut into tiles: windows that overlap, and the weights that join them.

The *cores* of the tiles divide the picture. A tile is fitted in its *window*, which is larger, so
that the network sees the true neighbours of the core and no padding. Around the border between two
cores both tiles count: the weight of one falls from 1 to 0 as a raised cosine over two margins,
that of the other rises, and their sum is 1.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.checks import LARGEST_SEED, check_count

__all__ = ["SMALLEST_SIDE", "Tile", "plan"]

SMALLEST_SIDE = 64
"""Smallest side of a window in pixels: the smallest grid of a network with five scales."""

# A picture of up to this many pixels, 1024x1024, is one tile: the fit of it takes 2.1 GB.
_ONE_TILE = 2**20
# Side of a window where there are several, in pixels: a fit of it takes 0.6 GB.
_SIDE = 512
# Share of the side that a window reaches beyond the core: 32 pixels at 512.
_MARGIN = 1 / 16
# The same in pixels, where the side of a core is given.
_PIXELS = 16
_MULTIPLE = 32  # to which a fit pads its sides


@dataclass(frozen=True)
class Tile:
    """One tile of a picture. Ranges are (first, one after the last) pixel.

    Attributes
    ----------
    rows, columns : tuple of int
        The core: the part of the picture that is this tile's own.
    window_rows, window_columns : tuple of int
        The window that is fitted, with the core inside.
    margin : int
        The weight falls to 0 over twice this width around the border of the core.
    size : tuple of int
        Height and width of the picture.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    window_rows: tuple[int, int]
    window_columns: tuple[int, int]
    margin: int
    size: tuple[int, int]

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns of the core in the picture."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the picture."""
        return slice(*self.window_rows), slice(*self.window_columns)

    @property
    def core_in_window(self) -> tuple[slice, slice]:
        """Rows and columns of the core in the window."""
        ranges = ((self.rows, self.window_rows), (self.columns, self.window_columns))
        down, across = (slice(c[0] - w[0], c[1] - w[0]) for c, w in ranges)
        return down, across

    @property
    def reach(self) -> tuple[slice, slice]:
        """Rows and columns in the picture in which the tile has a weight."""
        ranges = zip((self.rows, self.columns), self.size, strict=True)
        down, across = (
            slice(max(0, first - self.margin), min(end, last + self.margin))
            for (first, last), end in ranges
        )
        return down, across

    @property
    def middle(self) -> tuple[int, int]:
        """Row and column of the pixel in the middle of the core."""
        return sum(self.rows) // 2, sum(self.columns) // 2

    def holds(self, pixel: tuple[int, int]) -> bool:
        """Whether a pixel, a row and a column of the picture, is in the core."""
        ranges = zip((self.rows, self.columns), pixel, strict=True)
        return all(first <= place < end for (first, end), place in ranges)

    def lies_in(self, other: "Tile") -> bool:
        """Whether the core lies in that of another tile, or is the same."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(theirs[0] <= own[0] and own[1] <= theirs[1] for own, theirs in pairs)

    def meets(self, other: "Tile") -> bool:
        """Whether the core has a pixel in common with that of another tile."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(own[0] < theirs[1] and theirs[0] < own[1] for own, theirs in pairs)

    def weights(self) -> NDArray[np.float32]:
        """Compute the weight of each pixel of the window.

        Returns
        -------
        ndarray, float32, shape of the window
            In [0, 1]. Over all tiles of a plan the weights of a pixel add up to 1, up to rounding.
        """
        down, across = (
            _ramps(window, core, margin=self.margin, end=end)
            for window, core, end in (
                (self.window_rows, self.rows, self.size[0]),
                (self.window_columns, self.columns, self.size[1]),
            )
        )
        return np.outer(down, across).astype(np.float32)

    def seed(self, seed: int) -> int:
        """Derive the seed of this tile from that of the picture and the place of the core.

        It depends on nothing else, so the order in which tiles are fitted does not matter.
        """
        place = (self.rows[0], self.columns[0])
        state = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)
        return int(state[0]) & LARGEST_SEED


def plan(size: tuple[int, int], *, side: int | None = None, core: int | None = None) -> list[Tile]:
    """Cut a picture into tiles, row by row.

    Parameters
    ----------
    size : tuple of int
        Height and width of the picture in pixels.
    side : int, optional
        Largest side of a window in pixels, at least 64. None chooses: one tile up to 1024x1024
        pixels, whatever their shape (a side below 64 counts as 64), else windows of 512x512.
    core : int, optional
        Side of a core in pixels, about, instead of `side`. Then windows are a little larger.

    Returns
    -------
    list of Tile
        All windows have one size, in each direction at most the picture's.

    Raises
    ------
    TypeError
        If `side` is not a whole number.
    ValueError
        If `side` is below 64.

    Examples
    --------
    >>> [tile.rows for tile in plan((300, 128), side=128)]
    [(0, 100), (100, 200), (200, 300)]
    >>> [tile.window_columns for tile in plan((256, 768), core=256)]
    [(0, 288), (240, 528), (480, 768)]
    """
    if core is not None:
        margin = _PIXELS
        counts = [max(1, round(length / core)) for length in size]
        # What would be padding sees neighbours instead.
        sides = [
            min(length, -(-_side(length, count, margin) // _MULTIPLE) * _MULTIPLE)
            for length, count in zip(size, counts, strict=True)
        ]
    else:
        if side is None:
            # A fit takes the memory of at least SMALLEST_SIDE pixels in each direction.
            height, width = (max(length, SMALLEST_SIDE) for length in size)
            side = max(size) if height * width <= _ONE_TILE else _SIDE
        else:
            side = check_count("tile", side, least=SMALLEST_SIDE)
        margin = round(side * _MARGIN)
        counts = [_count(length, side, margin) for length in size]
        sides = [min(side, length) for length in size]
    down, across = (_divided(*each) for each in zip(size, counts, sides, strict=True))
    return [
        Tile(rows, columns, window_rows, window_columns, margin, size)
        for rows, window_rows in down
        for columns, window_columns in across
    ]


def _side(length: int, count: int, margin: int) -> int:
    """The side of a window that holds the longest of so many cores, and its margins."""
    # The two at the ends have a margin on one side only.
    return -(-length // count) + margin * min(2, count - 1)


def _count(length: int, side: int, margin: int) -> int:
    """The smallest number of cores whose windows are no longer than this side."""
    count = 1 if length <= side else max(2, -(-(length - 2 * margin) // (side - 2 * margin)))
    while _side(length, count, margin) > side:
        count += 1
    return count


def _divided(length: int, count: int, side: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Cores of nearly equal length, each with its window of `side` around its middle."""
    edges = [length * i // count for i in range(count + 1)]
    made: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for first, last in pairwise(edges):
        start = min(max(0, (first + last - side) // 2), length - side)
        made.append(((first, last), (start, start + side)))
    return made


def _ramps(
    window: tuple[int, int], core: tuple[int, int], *, margin: int, end: int
) -> NDArray[Any]:
    """Weights along one axis of a window; 1 up to the picture's own border."""
    middles = np.arange(*window) + 0.5
    weights = np.ones(middles.size)
    for border, inward in ((core[0], middles - core[0]), (core[1], core[1] - middles)):
        if 0 < border < end:
            part = (inward / (2 * margin) + 0.5).clip(0, 1)  # 0 a margin outside, 1 one inside
            weights *= np.sin(np.pi / 2 * part) ** 2
    return weights
