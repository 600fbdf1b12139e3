"""What is looked at once on the whole of a large picture: what is certain, which tiles are wrong.

The network is by far the most expensive part of a fit, so tiles in which there is nothing to mend
are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustdip.inputs import Given
from robustdip.recipes import Recipe
from robustdip.tiling.detection import detect
from robustdip.tiling.plan import Tile
from robustdip.tiling.suspicion import suspects

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of a picture before the first of its tiles is fitted.

    Attributes
    ----------
    wrong : list of Tile
        The tiles that need a fit.
    found : ndarray of bool, shape (H, W, C), or None
        What detectors found; None if the recipe has none.
    """

    wrong: list[Tile]
    found: NDArray[np.bool_] | None


def survey(given: Given, tiles: list[Tile], recipe: Recipe, *, every_tile: bool) -> Survey:
    """Look over a picture.

    Parameters
    ----------
    given : Given
        The picture. With a mask the tiles are wrong in which it marks an element; else those that
        `add_mask` marks, in which a detector has found something, or that look wrong.
    tiles : list of Tile
    recipe : Recipe
        Only a model of s that leaves clean elements as they are can leave out a tile.
    every_tile : bool
        No tile is left out.

    Returns
    -------
    Survey

    Raises
    ------
    ValueError
        If the caller's masks leave no clean element in a window.
    """
    marked = given.add_mask if given.mask is None else given.mask
    _require_clean(marked, tiles)
    found: NDArray[np.bool_] | None = None
    if given.mask is not None:
        wrong = [tile for tile in tiles if given.mask[tile.reach].any()]
        return Survey(tiles if every_tile else wrong, None)
    if not getattr(recipe.corruption_model, "keeps_clean", False):
        return Survey(tiles, None)
    detectors: Any = getattr(recipe.corruption_model, "detectors", ())
    found = detect(given.values, tiles, detectors)
    if given.protect is not None:
        found &= ~given.protect
    if every_tile:
        return Survey(tiles, found)
    wrong = _of_pixels(found)
    if given.add_mask is not None:
        wrong |= _of_pixels(given.add_mask)
    # What is seen in one of two windows that overlap counts in both: the end of a scratch is found
    # with the rest of it.
    for tile in tiles:
        wrong[tile.window] |= suspects(given.part(tile.window))
    return Survey([tile for tile in tiles if wrong[tile.reach].any()], found)


def _of_pixels(elements: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(elements.any(axis=2))


def _require_clean(marked: NDArray[np.bool_] | None, tiles: list[Tile]) -> None:
    for tile in tiles:
        if marked is not None and marked[tile.window].all():
            (top, bottom), (left, right) = tile.window_rows, tile.window_columns
            raise ValueError(
                f"the mask marks all of rows {top} to {bottom} and columns {left} to {right}, "
                f"which are fitted at once; give a tile of more than {bottom - top} pixels"
            )
