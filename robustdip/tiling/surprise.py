"""Which pixels of a large picture surprise: the first test for damage, cheap and without a network.

A pixel follows from the pixels around it, the better the softer a lens and the larger a picture is.
How it does is learned from the picture itself: a linear prediction from the 24 pixels around, and
the error that it usually has where the surroundings vary as much. The *surprise* of a pixel is its
error in units of this usual one. Scratches, hairs, letters and specks have edges of a pixel; so
they surprise in a picture whose own detail is softer. Wide damage with soft edges surprises in
copies at a half, a quarter and an eighth of the size.

What is surprising enough is decided by the picture as well. Of squares of it the largest surprises
have an extreme-value (Gumbel) distribution. Its middle, which damage at a few places hardly
changes, says which surprise no square should have. A picture of which this is no less than the
surprise of damage is as sharp as its pixels, or damaged all over. It is not judged here.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robustdip.corruption.compression import LUMA_CHROMA, compression_spread
from robustdip.inputs import Given
from robustdip.tiling.suspicion import halved

__all__ = ["luma_of", "surprising"]

_LUMA = LUMA_CHROMA[0].astype(np.float32)
_COPIES = 4  # the picture, and copies down to an eighth of its size
_BLOCK = 8  # side of the squares, in pixels of the picture, of which the largest surprise is kept
_SQUARE = 128  # side of those whose largest surprises are compared
_FEWEST = 24  # of these squares; fewer do not show a distribution
# Squares that would be taken for damaged in a picture without damage.
_FALSE = 0.5
# The least surprise that is enough; and the most that may be needed in the picture itself, if it is
# to be judged. Without damage the largest surprise of 30 tiles was 5 in an enlarged photograph and
# 9 where photographs were enlarged twofold, with the damage that benchmarks.images.large draws 7 or
# more, and 15 or more.
_LOW, _HIGH = 7.0, 14.0
# Of the threshold: blocks beside suspicious ones are suspicious from here on.
_BESIDE = 0.5
_PLACES = 60_000  # pixels from which the prediction is learned
_ACTIVITIES = 24  # classes of how much the surroundings vary
_LEAST_ERROR = 1 / 255
# The smallest usual error in a JPEG file, in deviations of the error of its compression. Where this
# has left nothing but the mean of a block, the usual error is 0, and edges of blocks surprise: at
# quality 90 a mosaic of photographs was not judged, and 45 of its 60 clean tiles were fitted.
_COMPRESSED = 1.5
_BAND = 512  # rows that are worked on at a time
# Strips of rows, and one pixel of so many, from which the usual errors are learned.
_STRIPS, _STRIP, _EVERY = 24, 16, 7
_AROUND = [place for place in product(range(-2, 3), repeat=2) if place != (0, 0)]


def surprising(given: Given) -> NDArray[np.bool_] | None:
    """Find where a picture surprises more than it should.

    Parameters
    ----------
    given : Given
        The picture. What surprises does not count where `protect` holds for all channels.

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        True in blocks of 8x8 pixels. None if the picture cannot be judged in this way.
    """
    luma = luma_of(given.values)
    judged = None if given.protect is None else np.asarray(~given.protect.all(axis=2))
    height, width = luma.shape
    found = np.zeros((-(-height // _BLOCK), -(-width // _BLOCK)), bool)
    if found.size < _FEWEST * (_SQUARE // _BLOCK) ** 2 or min(luma.shape) < _SQUARE:
        return None
    least = max(_LEAST_ERROR, _COMPRESSED * (compression_spread(luma) or 0))
    for halvings in range(_COPIES):
        surprises = _surprises(luma, judged, block=_BLOCK >> halvings, least=least)
        enough = max(_LOW, _threshold(_largest(surprises, _SQUARE // _BLOCK)))
        if halvings == 0 and enough > _HIGH:
            return None
        marked = _joined(surprises, enough)
        found[: marked.shape[0], : marked.shape[1]] |= marked
        luma = halved(luma)
        judged = None if judged is None else halved(judged) == 1
    return found.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[:height, :width]


def luma_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Luma, shape (H, W), of a picture (H, W, C)."""
    if values.shape[2] < 3:
        return values[..., 0].copy()
    return np.asarray(values[..., :3] @ _LUMA)


# --- surprises -----------------------------------------------------------------------------


def _surprises(
    luma: NDArray[np.float32], judged: NDArray[np.bool_] | None, *, block: int, least: float
) -> NDArray[np.float32]:
    """The largest surprise in each block of a picture (H, W); 0 where none is judged."""
    kernel = _prediction(luma)
    activities, errors = _usual_errors(luma, kernel)
    made: list[NDArray[np.float32]] = []
    for first in range(0, luma.shape[0], _BAND):
        rows = slice(first, first + _BAND)
        error, activity = _band(luma, kernel, rows)
        usual = np.interp(activity, activities, errors)
        surprise = np.abs(error) / np.maximum(usual, least)
        if judged is not None:
            surprise = np.where(judged[rows], surprise, 0)
        made.append(_largest(surprise.astype(np.float32), block))
    return np.concatenate(made)


def _prediction(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel, 5x5 and 0 in the middle, that predicts a pixel; by least squares."""
    padded = np.pad(luma, 2, mode="reflect")
    place = np.linspace(0, luma.size - 1, min(luma.size, _PLACES)).astype(np.intp)
    row, column = np.divmod(place, luma.shape[1])
    around = np.stack([padded[row + 2 + i, column + 2 + j] for i, j in _AROUND], axis=1)
    mean = around.mean(axis=1, dtype=np.float64)
    around, value = around - mean[:, None], luma[row, column] - mean
    weights = np.zeros(len(_AROUND))
    kept = np.ones(len(value), bool)
    for _ in range(3):  # without what is predicted worst, which may be damage
        normal = around[kept].T @ around[kept] + 1e-5 * kept.sum() * np.eye(len(_AROUND))
        weights = np.linalg.solve(normal, around[kept].T @ value[kept])
        wrong = np.abs(value - around @ weights)
        kept = wrong <= np.quantile(wrong, 0.98)
    weights += (1 - weights.sum()) / len(_AROUND)  # they apply to values less the mean
    kernel = np.zeros((5, 5), np.float32)
    for (i, j), weight in zip(_AROUND, weights, strict=True):
        kernel[i + 2, j + 2] = weight
    return kernel


def _usual_errors(
    luma: NDArray[np.float32], kernel: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much the surroundings vary, in classes, and the usual error in each; both rise."""
    seen: list[NDArray[np.float32]] = []
    for first in np.linspace(0, max(0, luma.shape[0] - _STRIP), _STRIPS).astype(int):
        error, activity = _band(luma, kernel, slice(first, first + _STRIP))
        seen.append(np.stack([activity.ravel()[::_EVERY], np.abs(error).ravel()[::_EVERY]]))
    activity, error = np.concatenate(seen, axis=1)
    order = np.argsort(activity)
    classes = np.array_split(order, min(_ACTIVITIES, len(order)))
    middles = np.array([activity[each].mean(dtype=np.float64) for each in classes])
    # Of a normal distribution the deviation is 1.4826 times the median size.
    usual = np.maximum.accumulate([1.4826 * float(np.median(error[each])) for each in classes])
    # Beyond the last class errors grow as they do up to it.
    slope = (usual[-1] - usual[0]) / max(1e-9, middles[-1] - middles[0])
    return np.append(middles, middles[-1] + 1), np.append(usual, usual[-1] + slope)


def _band(
    luma: NDArray[np.float32], kernel: NDArray[np.float32], rows: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The errors of the prediction in some rows, and how much the surroundings vary.

    The latter is the standard deviation of 7x7 pixels.
    """
    top = max(0, rows.start - 3)
    part = luma[top : rows.stop + 3]
    inner = slice(rows.start - top, rows.stop - top)
    error = part - np.asarray(ndimage.correlate(part, kernel, mode="reflect"), np.float32)
    mean = np.asarray(ndimage.uniform_filter(part, 7), np.float32)
    square = np.asarray(ndimage.uniform_filter(part * part, 7), np.float32)
    return error[inner], np.sqrt(np.maximum(square - mean * mean, 0))[inner]


def _threshold(largest: NDArray[np.float32]) -> float:
    """The surprise that squares hardly have without damage, given the largest of each."""
    middle, high = np.quantile(np.log(np.maximum(largest, 1)), (0.5, 0.8))
    # Of a Gumbel distribution of mode m and scale s the quantile of p is m - s log(-log p).
    scale = (high - middle) / (np.log(-np.log(0.5)) - np.log(-np.log(0.8)))
    mode = middle + scale * np.log(-np.log(0.5))
    return float(np.exp(mode - scale * np.log(_FALSE / largest.size)))


def _joined(surprises: NDArray[np.float32], enough: float) -> NDArray[np.bool_]:
    """The blocks that surprise enough, with those beside them that surprise half as much."""
    scipy: Any = ndimage  # its results depend on its arguments, which types do not say
    beside = surprises > _BESIDE * enough
    return scipy.binary_propagation(surprises > enough, np.ones((3, 3)), mask=beside)


# --- blocks --------------------------------------------------------------------------------


def _largest(values: NDArray[Any], side: int) -> NDArray[Any]:
    """The largest value, none below 0, of each square of this side; the last may be cut off."""
    height, width = (-(-length // side) for length in values.shape)
    missing = [(0, -length % side) for length in values.shape]
    squares = np.pad(values, missing).reshape(height, side, width, side)
    return squares.max(axis=(1, 3))
