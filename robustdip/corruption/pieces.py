"""How large and how thick are the connected pieces of a mask, and what is beside them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Pieces", "distance_to"]


class Pieces:
    """The 8-connected pieces of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)

    Attributes
    ----------
    labels : ndarray of int, shape (H, W)
        Number of each pixel's piece from 0; -1 outside the mask.
    area : ndarray of int, shape (pieces,)
        Number of pixels of each piece.
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        scipy: Any = ndimage  # its results depend on its arguments, which types do not say
        numbered, count = scipy.label(mask, np.ones((3, 3)))
        self.labels: NDArray[np.intp] = numbered - 1
        self.area = np.bincount(self.labels[mask], minlength=count)
        self._mask = mask

    def widths(self) -> NDArray[np.float64]:
        """Side in pixels of the largest square that fits into each piece, rounded up to odd."""
        scipy: Any = ndimage
        depth = scipy.distance_transform_cdt(np.pad(self._mask, 1), "chessboard")[1:-1, 1:-1]
        deepest = np.zeros(len(self.area))
        np.maximum.at(deepest, self.labels[self._mask], depth[self._mask])
        return 2 * deepest - 1

    def boxes(self) -> NDArray[np.intp]:
        """First row, row after the last, first column and column after the last, (pieces, 4)."""
        scipy: Any = ndimage
        places = scipy.find_objects(self.labels + 1)
        return np.array([(r.start, r.stop, c.start, c.stop) for r, c in places]).reshape(-1, 4)

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of values (H, W) over each piece."""
        sums = np.bincount(self.labels[self._mask], values[self._mask], len(self.area))
        return sums / np.maximum(self.area, 1)

    def mean_beside(
        self, values: NDArray[Any], *, nearest: float, farthest: float
    ) -> NDArray[np.float64]:
        """Mean of values (H, W) over the pixels near each piece and nearer to no other.

        Parameters
        ----------
        values : ndarray, shape (H, W)
        nearest, farthest : float
            Distance of these pixels from the piece: from `nearest` on, less than `farthest`.

        Returns
        -------
        ndarray, shape (pieces,)
            0 for a piece without such pixels.
        """
        if not len(self.area):
            return np.zeros(0)
        scipy: Any = ndimage
        away, place = scipy.distance_transform_edt(~self._mask, return_indices=True)
        beside = (away >= nearest) & (away < farthest)
        whose = self.labels[tuple(place)][beside]
        sums = np.bincount(whose, values[beside], len(self.area))
        return sums / np.maximum(np.bincount(whose, minlength=len(self.area)), 1)

    def those(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pixels, shape (H, W), of the pieces that are chosen, shape (pieces,)."""
        return np.append(chosen, False)[self.labels]


def distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in pixels of each pixel from the nearest one of a mask (H, W) that is not empty."""
    return np.asarray(ndimage.distance_transform_edt(~mask))
