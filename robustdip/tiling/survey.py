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
from robustdip.tiling.close_ups import close_ups
from robustdip.tiling.detection import detect, has_shape
from robustdip.tiling.plan import Tile
from robustdip.tiling.surprise import surprising
from robustdip.tiling.suspicion import specks, suspects

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of a picture before the first of its tiles is fitted.

    Attributes
    ----------
    fits : list of Tile
        What is to be fitted, from top to bottom: tiles, and close-ups of tiles.
    found : ndarray of bool, shape (H, W, C), or None
        What detectors found; None if the recipe has none.
    """

    fits: list[Tile]
    found: NDArray[np.bool_] | None


def survey(
    given: Given, tiles: list[Tile], recipe: Recipe, *, every_tile: bool, named: bool = False
) -> Survey:
    """Look over a picture.

    Parameters
    ----------
    given : Given
        The picture. With a mask that is wrong which it marks; else what `add_mask` marks, what a
        detector has found, and what looks wrong.
    tiles : list of Tile
    recipe : Recipe
        Only a model of s that leaves clean elements as they are can leave out a tile.
    every_tile : bool
        No tile is left out.
    named : bool
        The caller has named the kinds of damage that are there, so the detectors of their shapes
        are asked too. They are too expensive, and too bold, to be asked otherwise.

    Returns
    -------
    Survey

    Raises
    ------
    ValueError
        If the caller's masks leave no clean element in a window.
    """
    marked = given.add_mask if given.mask is None else given.mask
    if every_tile:
        _require_clean(marked, tiles)
    if given.mask is not None:
        fits = tiles if every_tile else close_ups(tiles, _of_pixels(given.mask))
        _require_clean(marked, fits)
        return Survey(fits, None)
    model: Any = recipe.corruption_model
    if not getattr(model, "keeps_clean", False):
        return Survey(tiles, None)
    found = detect(given.values, tiles, getattr(model, "detectors", ()))
    if given.protect is not None:
        found &= ~given.protect
    if every_tile:
        return Survey(tiles, found)
    wrong = _of_pixels(found)
    if given.add_mask is not None:
        wrong |= _of_pixels(given.add_mask)
    surprise = surprising(given)
    if surprise is not None:
        wrong |= surprise | specks(given)
    else:
        for tile in tiles:
            # What is seen in one of two windows that overlap counts in both: the end of a scratch
            # is found with the rest of it.
            wrong[tile.window] |= suspects(given.part(tile.window))
    for shape in getattr(model, "shapes", ()) if named else ():
        for tile in tiles:
            shaped = has_shape(given.values[tile.window], shape)
            if given.protect is not None:
                shaped &= ~given.protect[tile.window].all(axis=2)
            wrong[tile.window] |= shaped
    fits = close_ups(tiles, wrong)
    _require_clean(marked, fits)
    return Survey(fits, found)


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
