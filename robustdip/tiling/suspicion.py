"""What looks wrong in a part of a picture by its shape: a cheap test, without a network.

Three things are looked for. Each stands out from its surroundings by more than the surroundings
vary, so texture is not mistaken for damage:

- *Impulses*: elements beyond all eight neighbours by more than twice the range of these.
- *Spots*, such as dust: pixels beyond all of the ring of 16 pixels at a distance of two, likewise.
- *Lines*, such as scratches, hairs and letters: pixels beyond the two sides of this ring, five of
  its pixels each, where the three at either end are left out, joined to a line.

Spots are looked for in the picture and in copies at a half, a quarter and an eighth of its size,
lines in the first two: wider ones are frequent in photographs. A photograph has thin lines and
bright spots of its own; a part that has them is fitted for nothing. But damage that is not seen is
not mended, so the thresholds are low. `robustdip.tiling.surprise` knows better, where it can judge;
then impulses are looked for, which often surprise nobody, and soft *specks*, spots of strong
contrast in copies down to a sixteenth of the size.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robustdip.inputs import Given

__all__ = ["halved", "specks", "suspects"]

# Smallest contrast: 15 of 255 levels. Weaker damage is hardly seen.
_FLOOR = 0.06
# Contrast in units of the range of the surroundings.
_FACTOR = 2.0
# Impulses, as a share of the elements. On 9 photographs clean tiles have up to 15e-5 (old scans)
# and 0 where a camera of 12 megapixels is imitated; 0.1 % random values are found as 22e-5 or more.
_IMPULSES = 2e-5
# Spots that stand out so far that one is enough.
_CERTAIN_FLOOR = 0.15
_CERTAIN_FACTOR = 6.0
# By the number of halvings: other spots, and pixels that a line extends over. Fine lines are
# interrupted by noise, so that gaps of two pixels are closed, and a pixel is added at either end.
_SPOTS = (8, 3, 4, 2)
_LENGTHS = (28, 24)
_SPECK_FLOOR = 0.2
_SPECK_FACTOR = 6.0
_SPECK_HALVINGS = (2, 4)  # small specks surprise
_BAND = 512  # rows of a whole picture that are worked on at a time
# The ring of pixels around a pixel at a distance of two, in order; (rows, columns).
_RING = (
    *((-2, column) for column in range(-2, 2)),
    *((row, 2) for row in range(-2, 2)),
    *((2, -column) for column in range(-2, 2)),
    *((-row, -2) for row in range(-2, 2)),
)
_SIDE = 5  # pixels of the ring on one side of a line


def suspects(given: Given) -> NDArray[np.bool_]:
    """Find what stands out in a part of a picture, if it is enough to be damage.

    Parameters
    ----------
    given : Given
        The part. What stands out does not count where `protect` holds.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    values = given.values
    size = values.shape[:2]
    judged = np.ones(values.shape, bool) if given.protect is None else ~given.protect
    found = _impulses(values) & judged
    found = found.any(axis=2) & (found.sum() > _IMPULSES * values.size)
    judged = np.asarray(judged.any(axis=2))
    for halvings, most in enumerate(_SPOTS):
        if min(values.shape[:2]) < len(_RING):
            break
        ring = _ring(values)
        spots = _beyond(values, ring) & judged
        certain = judged & _beyond(values, ring, _CERTAIN_FLOOR, _CERTAIN_FACTOR)
        here = certain | (spots & (spots.sum() > most))
        if halvings < len(_LENGTHS):
            lines = (spots | _lines(values, ring)) & judged
            joined = lines
            if halvings == 0:
                joined = np.asarray(ndimage.binary_dilation(lines, np.ones((3, 3)))) > 0
            here |= _long(joined, _LENGTHS[halvings]) & lines
        found |= _enlarged(here, 2**halvings, size)
        values, judged = halved(values), halved(judged) > 0
    return found


def specks(given: Given) -> NDArray[np.bool_]:
    """Find impulses, if there are enough, and soft specks, with two pixels of a copy around them.

    Parameters
    ----------
    given : Given
        A whole picture. What stands out does not count where `protect` holds.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    size = given.values.shape[:2]
    found, count = np.zeros(size, bool), 0
    for first in range(0, size[0], _BAND):
        top, last = max(0, first - 1), min(size[0], first + _BAND)
        impulses = _impulses(given.values[top : last + 1])[first - top :][: last - first]
        if given.protect is not None:
            impulses &= ~given.protect[first:last]
        found[first:last] = impulses.any(axis=2)
        count += int(impulses.sum())
    found &= count > _IMPULSES * given.values.size
    grey = given.values.mean(axis=2, keepdims=True)
    judged = np.ones(size, bool)
    if given.protect is not None:
        judged = np.asarray(~given.protect.all(axis=2))
    first, last = _SPECK_HALVINGS
    for halvings in range(1, last + 1):
        grey, judged = halved(grey), halved(judged) > 0
        if halvings < first:
            continue
        if min(grey.shape[:2]) < len(_RING):
            break
        here = judged & _beyond(grey, _ring(grey), _SPECK_FLOOR, _SPECK_FACTOR)
        here = np.asarray(ndimage.maximum_filter(here, 5), bool)
        found |= _enlarged(here, 2**halvings, size)
    return found


def _impulses(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    height, width = values.shape[:2]
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
    moves = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    around = [padded[i : i + height, j : j + width] for i, j in moves]
    high, low = np.maximum.reduce(around), np.minimum.reduce(around)
    return _outside(values, high, low)


def _outside(
    values: NDArray[Any],
    high: NDArray[Any],
    low: NDArray[Any],
    floor: float = _FLOOR,
    factor: float = _FACTOR,
) -> NDArray[np.bool_]:
    """Elements beyond the range of their surroundings by far."""
    contrast = np.maximum(values - high, low - values)
    return (contrast > floor) & (contrast > factor * (high - low))


def _ring(values: NDArray[Any]) -> list[NDArray[Any]]:
    """The picture, shifted to each place of the ring."""
    height, width = values.shape[:2]
    padded = np.pad(values, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    return [padded[2 + i : 2 + i + height, 2 + j : 2 + j + width] for i, j in _RING]


def _beyond(
    values: NDArray[Any],
    ring: list[NDArray[Any]],
    floor: float = _FLOOR,
    factor: float = _FACTOR,
) -> NDArray[np.bool_]:
    """Pixels (H, W) of which a channel is beyond all these."""
    high, low = np.maximum.reduce(ring), np.minimum.reduce(ring)
    return np.asarray(_outside(values, high, low, floor, factor).any(axis=2))


def _lines(values: NDArray[Any], ring: list[NDArray[Any]]) -> NDArray[np.bool_]:
    """Pixels (H, W) of lines in any of 8 directions."""
    sides = list(_sides(ring))
    half = len(ring) // 2
    found = np.zeros(values.shape[:2], bool)
    for (high, low), (other_high, other_low) in zip(sides[:half], sides[half:], strict=True):
        high, low = np.maximum(high, other_high), np.minimum(low, other_low)
        found |= _outside(values, high, low).any(axis=2)
    return found


def _sides(ring: list[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Largest and smallest value of each arc of the ring."""
    for first in range(len(ring)):
        arc = [ring[(first + i) % len(ring)] for i in range(_SIDE)]
        yield np.maximum.reduce(arc), np.minimum.reduce(arc)


def _long(marked: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """The groups of touching pixels that extend over this many rows or columns."""
    labelled: Any = ndimage.label(marked, np.ones((3, 3)))
    groups: NDArray[np.int32] = labelled[0]
    boxes: Any = ndimage.find_objects(groups)
    sizes = [max(s.stop - s.start for s in box) for box in boxes]
    return np.array([False, *(size >= length for size in sizes)])[groups]


def _enlarged(marked: NDArray[np.bool_], factor: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Each pixel as a square; False in what is missing at the end of the picture."""
    large = marked.repeat(factor, axis=0).repeat(factor, axis=1)
    missing = [(0, side - given) for side, given in zip(size, large.shape, strict=True)]
    return np.pad(large, missing)


def halved(values: NDArray[Any]) -> NDArray[np.float32]:
    """Means of 2x2 pixels, of an image (H, W) or (H, W, C); what is left over is left out."""
    height, width = (side // 2 for side in values.shape[:2])
    values = values[: 2 * height, : 2 * width]
    squares = values.reshape(height, 2, width, 2, *values.shape[2:])
    return squares.mean(axis=(1, 3), dtype=np.float32)
