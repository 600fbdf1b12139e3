"""One look at a whole picture before its tiles: what is certainly damaged, which need a fit.

The network is by far the most expensive part of a fit, so tiles in which there is nothing to mend
are left out.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robustdip.corruption.pages import papers_of
from robustdip.inputs import Given
from robustdip.recipes import Recipe
from robustdip.tiling.close_ups import close_ups
from robustdip.tiling.detection import ShapeOdds, detect
from robustdip.tiling.isolated import Filled, fill
from robustdip.tiling.plan import Tile, plan
from robustdip.tiling.surprise import luma_of, surprising
from robustdip.tiling.suspicion import specks, suspects

__all__ = ["ALWAYS_FITTED", "Survey", "core_side", "survey"]

ALWAYS_FITTED = 2**20
"""In a picture of up to this many pixels the look, which misses faint damage, is not trusted: every
tile is fitted."""

# Side of the windows in which damage is looked for, in pixels.
_LOOK = 512
# Damage is dense where this share of the elements stands alone: more than a tenth of the range from
# each of the four neighbours, and from the median of 3x3. In four photographs of 512x512 it was
# 0.15 and more with 30 to 70 % wrong values, up to 0.017 without damage, with letters, and with
# scratches; 0.063 in a page of small print.
_DENSE, _ALONE = 0.1, 0.1
# Side of a core then, in pixels.
_DENSE_CORE = 256
# Strips of rows in which this is counted, and rows of a strip.
_STRIPS, _STRIP = 16, 64
_NEIGHBOURS = ((0, 1), (1, 0), (1, 2), (2, 1))  # above, left, right, below; in a frame of one pixel
# A hole in a mask whose middle is this many pixels from its border needs larger tiles than 512x512,
# so large that every window sees what is around it: sides of so many times these pixels.
_DEEP, _DEPTHS = 128, 4


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
    shapes : ShapeOdds or None
        What detectors of shapes say; they are asked as far as tiles are fitted.
    filled : Filled or None
        What is known to be wrong and stands alone, filled without a fit. Tiles that are fitted have
        it in them too.
    """

    recipe: Recipe
    fits: list[Tile]
    found: NDArray[np.bool_] | None = None
    shapes: ShapeOdds | None = None
    filled: Filled | None = None


def core_side(given: Given, recipe: Recipe) -> int | None:
    """Choose how large tiles should be, where the usual ones are not best.

    With dense damage small ones are: each has a network of its own, and as many steps as a larger
    one, and the network of a small part still learns no noise of single elements. What is wide,
    such as a scratch of three pixels, it would learn.

    Parameters
    ----------
    given : Given
        The picture. Tiles are larger where a fit could not look out of a hole in its mask.
    recipe : Recipe
        The choice is for models of s that leave clean elements as they are. Others are published
        methods, for whole pictures.

    Returns
    -------
    int or None
        See `robustdip.tiling.plan.plan`; None for the usual ones.
    """
    if not recipe.corruption_model.keeps_clean:
        return None
    marked = given.add_mask if given.mask is None else given.mask
    if marked is not None and math.prod(marked.shape[:2]) > ALWAYS_FITTED:
        hole = np.asarray(marked.all(axis=2))
        scipy: Any = ndimage  # its results depend on its arguments, which types do not say
        depth = int(scipy.distance_transform_cdt(hole).max()) if hole.any() else 0
        if depth >= _DEEP:
            return _DEPTHS * depth
    return _DENSE_CORE if given.mask is None and _is_dense(given.values) else None


def _is_dense(values: NDArray[np.float32]) -> bool:
    """Whether many elements of a picture stand alone."""
    last = max(0, values.shape[0] - _STRIP)
    alone = total = 0
    for first in sorted({round(row) for row in np.linspace(0, last, _STRIPS)}):
        strip = values[first : first + _STRIP]
        height, width = strip.shape[:2]
        padded = np.pad(strip, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
        around = [padded[i : i + height, j : j + width] for i, j in _NEIGHBOURS]
        around.append(np.asarray(ndimage.median_filter(strip, (3, 3, 1))))
        alone += int(np.all([np.abs(strip - other) > _ALONE for other in around], axis=0).sum())
        total += strip.size
    return alone > _DENSE * total


def survey(
    given: Given, tiles: list[Tile], recipe: Recipe, *, every_tile: bool, named: bool = False
) -> Survey:
    """Look over a picture.

    Parameters
    ----------
    given : Given
        The picture. If there is a mask, the elements that it marks are wrong; else those that
        `add_mask` marks, that a detector has found, and that look wrong.
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
            return Survey(recipe, tiles)
        filled = fill(given.values, given.mask)
        fits = close_ups(tiles, _left(given.mask, filled))
        _require_clean(marked, fits)
        return Survey(recipe, fits, filled=filled)
    recipe = _told_papers(given, recipe)
    if not recipe.corruption_model.keeps_clean:
        return Survey(recipe, tiles)
    model = recipe.corruption_model
    windows = plan(given.values.shape[:2], side=_LOOK)
    filled = None
    if given.add_mask is not None and not every_tile:
        filled = fill(given.values, given.add_mask)
        if filled is not None:
            given = replace(given, values=filled.applied(given.values))
    found = detect(given.values, windows, model.detectors)
    if given.protect is not None:
        found &= ~given.protect
    # A file that has kept exact colours has no approximate ones.
    inexact = [look for look in windows if not found[look.window].any()]
    shapes = ShapeOdds(given.values, inexact, model.shapes)
    if every_tile:
        return Survey(recipe, tiles, found, shapes)
    wrong = _of_pixels(found)
    if given.add_mask is not None:
        wrong |= _left(given.add_mask, filled)
    surprise = surprising(given)
    if surprise is not None:
        wrong |= surprise | specks(given)
    else:
        for look in windows:
            # What is seen in one of two windows that overlap counts in both: the end of a scratch
            # is found with the rest of it.
            wrong[look.window] |= suspects(given.part(look.window))
    for look in windows if named else ():
        odds = shapes.within(look)
        if odds is not None:
            shaped = odds[..., 0] > 0
            if given.protect is not None:
                shaped &= ~given.protect[look.window].all(axis=2)
            wrong[look.window] |= shaped
    fits = close_ups(tiles, wrong)
    _require_clean(marked, fits)
    return Survey(recipe, fits, found, shapes, filled)


def _told_papers(given: Given, recipe: Recipe) -> Recipe:
    """The recipe, with the papers of the whole picture if its model of s asks for them."""
    model: Any = recipe.corruption_model  # the protocol does not say that it is a dataclass
    if model.pages is None:
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
                "which are fitted at once; give a tile of more than "
                f"{max(bottom - top, right - left)} pixels"
            )
