"""What is fitted of a picture in which something is wrong at some places: tiles and close-ups.

A close-up is a small tile around one defect. It has what is wrong, what is near, and around this
what the network sees. A tile is fitted as a whole where close-ups would be more work.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robustdip.tiling.plan import Tile

__all__ = ["close_ups"]

Box = tuple[slice, slice]  # rows and columns

# Side in pixels of the squares in which wrong pixels are counted; the number of squares around one
# that has any in which there may be more, unseen; and pixels beyond these that the network sees.
_SQUARE = 8
_NEAR = 3
_SEEN = 64
# Sides of a window are multiples of the first, the grid of the deepest scale. The second is the
# smallest: fits of 128x128 and of 160x160 pixels left faint words that one of 192x192 mended, and
# 256 is the side at which the default recipe is measured.
_MULTIPLE, _SMALLEST = 32, 256


def close_ups(tiles: list[Tile], wrong: NDArray[np.bool_]) -> list[Tile]:
    """Choose what is fitted.

    Parameters
    ----------
    tiles : list of Tile
        All tiles of the picture.
    wrong : ndarray of bool, shape (H, W)

    Returns
    -------
    list of Tile
        From top to bottom. Their cores have all that is wrong, and may overlap.
    """
    parts: dict[Tile, list[Tile]] = {tile: [] for tile in tiles}
    for box in _groups(wrong):
        part = _close_up(box, tiles[0], largest=tiles[0].size)
        if _fits(part, tiles[0]):
            parts[next(tile for tile in tiles if tile.holds(part.middle))].append(part)
            continue
        for tile in tiles:
            inside = _common(box, tile.core)
            if inside is not None and wrong[inside].any():
                parts[tile].append(_close_up(inside, tile, largest=_size(tile)))
    full = [tile for tile, inside in parts.items() if sum(map(_area, inside)) >= _area(tile)]
    left = [
        part
        for inside in parts.values()
        for part in inside
        if not any(part.lies_in(tile) for tile in full)
    ]
    return sorted(full + left, key=lambda tile: (tile.window_rows[0], tile.window_columns[0]))


def _groups(wrong: NDArray[np.bool_]) -> list[Box]:
    """Boxes around pixels that are wrong and near each other, and around what is near."""
    scipy: Any = ndimage  # its results depend on its arguments, which types do not say
    padding = [(0, -side % _SQUARE) for side in wrong.shape]
    height, width = (side + more for side, (_, more) in zip(wrong.shape, padding, strict=True))
    squares = np.pad(wrong, padding).reshape(height // _SQUARE, _SQUARE, width // _SQUARE, _SQUARE)
    near = scipy.maximum_filter(squares.any(axis=(1, 3)), 2 * _NEAR + 1)
    labelled, _ = scipy.label(near, np.ones((3, 3)))
    return [
        (
            slice(_SQUARE * down.start, min(wrong.shape[0], _SQUARE * down.stop)),
            slice(_SQUARE * across.start, min(wrong.shape[1], _SQUARE * across.stop)),
        )
        for down, across in scipy.find_objects(labelled)
    ]


def _close_up(box: Box, tile: Tile, *, largest: tuple[int, int]) -> Tile:
    """A tile of the same picture as another whose core is a box."""
    windows: list[tuple[int, int]] = []
    for part, end, most in zip(box, tile.size, largest, strict=True):
        side = part.stop - part.start + 2 * _SEEN
        side = min(most, max(_SMALLEST, -(-side // _MULTIPLE) * _MULTIPLE))
        start = min(max(0, (part.start + part.stop - side) // 2), end - side)
        windows.append((start, start + side))
    rows, columns = ((part.start, part.stop) for part in box)
    return Tile(rows, columns, windows[0], windows[1], min(tile.margin, _SEEN), tile.size)


def _fits(part: Tile, tile: Tile) -> bool:
    """Whether a window is no higher and no wider than another."""
    return all(own <= their for own, their in zip(_size(part), _size(tile), strict=True))


def _common(box: Box, core: Box) -> Box | None:
    """What two boxes have in common; None if nothing."""
    rows, columns = (
        slice(max(one.start, other.start), min(one.stop, other.stop))
        for one, other in zip(box, core, strict=True)
    )
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _size(tile: Tile) -> tuple[int, int]:
    """Height and width of a tile's window."""
    down, across = tile.window
    return down.stop - down.start, across.stop - across.start


def _area(tile: Tile) -> int:
    height, width = _size(tile)
    return height * width
