"""What is looked at once on the whole of a large picture: what is certain, which tiles are wrong.

The network is by far the most expensive part of a fit, so tiles in which there is nothing to mend
are left out.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustdip.corruption.pages import papers_of
from robustdip.inputs import Given
from robustdip.recipes import Recipe
from robustdip.tiling.close_ups import close_ups
from robustdip.tiling.detection import detect, has_shape
from robustdip.tiling.isolated import Filled, fill
from robustdip.tiling.plan import Tile
from robustdip.tiling.surprise import luma_of, surprising
from robustdip.tiling.suspicion import specks, suspects

__all__ = ["Survey", "survey"]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of a picture before the first of its tiles is fitted.

    Attributes
    ----------
    recipe : Recipe
        How tiles are fitted: the recipe, told what the whole picture shows and a tile does not.
    fits : list of Tile
        What is to be fitted, from top to bottom: tiles, and close-ups of tiles.
    found : ndarray of bool, shape (H, W, C), or None
        What detectors found; None if the recipe has none.
    filled : Filled or None
        What is known to be wrong and stands alone, filled without a fit. Tiles that are fitted have
        it in them too.
    """

    recipe: Recipe
    fits: list[Tile]
    found: NDArray[np.bool_] | None
    filled: Filled | None = None


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
        if every_tile:
            return Survey(recipe, tiles, None)
        filled = fill(given.values, given.mask)
        fits = close_ups(tiles, _left(given.mask, filled))
        _require_clean(marked, fits)
        return Survey(recipe, fits, None, filled)
    recipe = _told_papers(given, recipe)
    model: Any = recipe.corruption_model
    if not getattr(model, "keeps_clean", False):
        return Survey(recipe, tiles, None)
    filled = None
    if given.add_mask is not None and not every_tile:
        filled = fill(given.values, given.add_mask)
        if filled is not None:
            given = replace(given, values=filled.applied(given.values))
    found = detect(given.values, tiles, getattr(model, "detectors", ()))
    if given.protect is not None:
        found &= ~given.protect
    if every_tile:
        return Survey(recipe, tiles, found)
    wrong = _of_pixels(found)
    if given.add_mask is not None:
        wrong |= _left(given.add_mask, filled)
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
    return Survey(recipe, fits, found, filled)


def _told_papers(given: Given, recipe: Recipe) -> Recipe:
    """The recipe, with the papers of the whole picture if its model of s asks for them."""
    model: Any = recipe.corruption_model
    if getattr(model, "pages", None) is None:
        return recipe
    pages = replace(model.pages, papers=papers_of(luma_of(given.values)))
    return replace(recipe, corruption_model=replace(model, pages=pages))


def _left(wrong: NDArray[np.bool_], filled: Filled | None) -> NDArray[np.bool_]:
    """The pixels that are wrong, without those that are filled."""
    left = _of_pixels(wrong)
    if filled is not None:
        left[filled.rows, filled.columns] = False
    return left


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
