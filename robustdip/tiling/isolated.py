"""Wrong pixels that stand alone, filled from the clean ones around them: no fit is needed.

A pixel follows from the 24 pixels around it, and from those of its own channels that are clean. How
it does is learned by least squares: on clean pixels all over the picture, then on those near the
pixel, which correct it there (ridge regression towards the coefficients of the whole picture).
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Filled", "fill"]

_REACH = 2  # pixels from which a pixel is predicted, in each direction
_AROUND = np.array([p for p in product(range(-_REACH, _REACH + 1), repeat=2) if p != (0, 0)])
_PLACES = 60_000  # clean pixels of the whole picture that are learned from
_FEWEST = 1000  # of these
_NEAR = 16  # pixels that the window reaches in each direction whose pixels correct them
# Of these. There may be none: wrong pixels that are 3 to 5 apart leave no 5x5 clean.
_FEWEST_NEAR = 50
# Penalty on coefficients, and on their correction: in units of the mean square of the predictors.
_RIDGE, _CORRECTION = 1e-3, 0.05


@dataclass(frozen=True, eq=False)
class Filled:
    """Elements of a picture, N in all, and what they were filled with.

    Attributes
    ----------
    rows, columns, channels : ndarray of int, shape (N,)
    values : ndarray, float32, shape (N,)
        In [0, 1].
    uncertainty : ndarray, float32, shape (N,)
        Root mean square error of the same prediction of the pixels near by.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    channels: NDArray[np.intp]
    values: NDArray[np.float32]
    uncertainty: NDArray[np.float32]

    @property
    def pixels(self) -> int:
        """Number of pixels that these elements are of."""
        return np.unique(np.stack([self.rows, self.columns]), axis=1).shape[1]

    def applied(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy of the picture (H, W, C) with these elements filled."""
        made = values.copy()
        made[self.rows, self.columns, self.channels] = self.values
        return made


def fill(values: NDArray[np.float32], wrong: NDArray[np.bool_]) -> Filled | None:
    """Fill the pixels of a picture that are wrong, and no other of the 5x5 around them.

    Parameters
    ----------
    values : ndarray, float32, shape (H, W, C)
        In [0, 1].
    wrong : ndarray of bool, shape (H, W, C)
        Where the values are not read.

    Returns
    -------
    Filled or None
        None if no pixel stands alone, or too few have only clean ones around to learn from.
    """
    pixels = np.asarray(wrong.any(axis=2))
    count = _count(pixels)
    row, column = np.nonzero(pixels & (count == 1))
    clean = count == 0
    places = np.flatnonzero(clean)
    if not len(row) or len(places) < _FEWEST:
        return None
    chosen = places[np.linspace(0, len(places) - 1, min(len(places), _PLACES)).astype(np.intp)]
    patterns = wrong[row, column]
    parts: list[Filled] = []
    for pattern in np.unique(patterns, axis=0):
        here = (patterns == pattern).all(axis=1)
        learned = _Prediction(values, clean, pattern, *np.divmod(chosen, values.shape[1]))
        parts.append(_filled(learned, row[here], column[here]))
    names = ("rows", "columns", "channels", "values", "uncertainty")
    return Filled(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class _Prediction:
    """How the wrong channels of a pixel follow from the rest, for one pattern of wrong channels."""

    def __init__(
        self,
        values: NDArray[np.float32],
        clean: NDArray[np.bool_],
        pattern: NDArray[np.bool_],
        row: NDArray[np.intp],
        column: NDArray[np.intp],
    ) -> None:
        self.values, self.clean, self.pattern = values, clean, pattern
        known, asked, _ = self._sides(row, column)
        penalty = _RIDGE * np.square(known).mean() + 1e-9  # of a picture of one value it is 0
        self.weights = _solved(known, asked, penalty)
        self.error = np.sqrt(np.square(asked - known @ self.weights).mean(axis=0))

    def at(self, row: int, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The wrong channels of a pixel, and their usual errors near it."""
        top, left = max(0, row - _NEAR), max(0, column - _NEAR)
        near = np.argwhere(self.clean[top : row + _NEAR + 1, left : column + _NEAR + 1])
        weights, error = self.weights, self.error
        if len(near) >= _FEWEST_NEAR:
            known, asked, _ = self._sides(near[:, 0] + top, near[:, 1] + left)
            left_over = asked - known @ self.weights
            penalty = _CORRECTION * np.square(known).mean() + 1e-9
            weights = self.weights + _solved(known, left_over, penalty)
            error = np.sqrt(np.square(asked - known @ weights).mean(axis=0))
        own, _, mean = self._sides(np.array([row]), np.array([column]))
        return (mean + own @ weights)[0], error

    def _sides(
        self, row: NDArray[np.intp], column: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """What is known of N pixels, (N, 24 C + clean channels), and what is asked, (N, wrong).

        Both less the mean of each channel around the pixel; those of what is asked come last.
        """
        rows, columns = (
            _mirrored(at[:, None], away, size)
            for at, away, size in zip((row, column), _AROUND.T, self.clean.shape, strict=True)
        )
        around = self.values[rows, columns].astype(np.float64)
        mean = around.mean(axis=1)
        own = self.values[row, column] - mean
        around = (around - mean[:, None]).reshape(len(row), -1)
        known = np.concatenate([around, own[:, ~self.pattern]], axis=1)
        return known, own[:, self.pattern], mean[:, self.pattern]


def _mirrored(at: NDArray[np.intp], away: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Places away from a pixel; those beyond the border at the pixel's other side, never at it."""
    inside = (at + away >= 0) & (at + away < size)
    return np.where(inside, at + away, at - away).clip(0, size - 1)


def _filled(prediction: _Prediction, row: NDArray[np.intp], column: NDArray[np.intp]) -> Filled:
    made = [prediction.at(int(r), int(c)) for r, c in zip(row, column, strict=True)]
    channels = np.flatnonzero(prediction.pattern)
    return Filled(
        row.repeat(len(channels)),
        column.repeat(len(channels)),
        np.tile(channels, len(row)),
        np.concatenate([values for values, _ in made]).clip(0, 1).astype(np.float32),
        np.concatenate([errors for _, errors in made]).astype(np.float32),
    )


def _solved(known: NDArray[np.float64], asked: NDArray[np.float64], penalty: float) -> NDArray[Any]:
    """Coefficients by ridge regression; the penalty is that of one sample."""
    normal = known.T @ known + penalty * max(1, len(known)) * np.eye(known.shape[1])
    return np.linalg.solve(normal, known.T @ asked)


def _count(wrong: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many of the 5x5 pixels around each, (H, W), are wrong."""
    scipy: Any = ndimage  # its results depend on its arguments, which types do not say
    ones = np.ones(2 * _REACH + 1)
    rows = scipy.correlate1d(wrong.astype(np.uint8), ones, axis=0, mode="constant")
    return scipy.correlate1d(rows, ones, axis=1, mode="constant")
