"""How the results of tiles become one picture, in memory that hardly exceeds the results.

Only a band of rows, as high as a window, is held as weighted sums. Its upper part is finished when
no later tile reaches it.

What a tile gives is added as a difference from the input. So an element that no tile changes is
returned as it came, and a picture in which nothing is fitted is a copy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustdip.inputs import Given
from robustdip.tiling.isolated import Filled
from robustdip.tiling.plan import Tile

__all__ = ["Canvas"]


class Canvas:
    """The results of the tiles of a picture, which come in the order of `plan`.

    Parameters
    ----------
    given : Given
        The picture.
    fitted : list of Tile
        The tiles that will be added. The others are copied from the picture: tiles have no weight
        in their cores, so that these stay as they are.
    filled : Filled, optional
        What is filled without a fit, where no tile is added.

    Attributes
    ----------
    image : ndarray, shape and dtype of the picture
    corruption : ndarray, float32, shape (H, W, C)
        0 where nothing is fitted or filled.
    mask : ndarray of bool, shape (H, W, C)
    uncertainty : ndarray, float32, shape (H, W, C), or None
        The weighted mean of the standard deviations: the errors of two tiles are much the same,
        because they have the same neighbours. None if no tile gave one.
    """

    def __init__(self, given: Given, fitted: list[Tile], filled: Filled | None = None) -> None:
        shape = given.values.shape
        self.given = given
        self.image = given.original.copy()
        self.corruption = np.zeros(shape, np.float32)
        self.mask = np.zeros(shape, bool)
        self.uncertainty: NDArray[np.float32] | None = None
        self._fitted = np.zeros(shape[:2], bool)
        for tile in fitted:
            self._fitted[tile.core] = True
        height = max((tile.window_rows[1] - tile.window_rows[0] for tile in fitted), default=0)
        self._top = 0  # row of the picture at which the band begins
        self._weight = np.zeros((height, shape[1], 1), np.float32)
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._squares = self._pairs = 0.0
        if filled is not None:
            self._fill(filled)

    def add(
        self,
        tile: Tile,
        *,
        image: NDArray[np.float32],
        corruption: NDArray[np.float32],
        mask: NDArray[np.bool_],
        uncertainty: NDArray[np.float32] | None,
    ) -> None:
        """Add the result of a tile: arrays of its window, (h, w, C).

        Raises
        ------
        ValueError
            If the tile begins above one that was added before.
        """
        if tile.window_rows[0] < self._top:
            raise ValueError(f"rows up to {self._top} are finished; add tiles from top to bottom")
        self._finish(tile.window_rows[0])
        weight = (tile.weights() * self._fitted[tile.window])[..., None]
        first, last = (row - self._top for row in tile.window_rows)
        place = np.s_[first:last, tile.window[1]]
        change = image - self.given.values[tile.window]
        parts = {"image": change, "corruption": corruption, "mask": mask}
        if uncertainty is not None:
            parts["uncertainty"] = uncertainty
            if self.uncertainty is None:
                self.uncertainty = np.zeros_like(self.corruption)
        if not self._sums:
            shape = (self._weight.shape[0], *self.corruption.shape[1:])
            self._sums = {name: np.zeros(shape, np.float32) for name in parts}
        self._compare(self._sums["image"][place], self._weight[place], change, weight)
        for name, values in parts.items():
            self._sums[name][place] += weight * values
        self._weight[place] += weight

    def finish(self) -> None:
        """Finish all rows, after the last tile. What was not added is left as in the picture."""
        self._finish(self.given.shape[0])

    @property
    def disagreement(self) -> float | None:
        """Root mean square difference of two tiles where both count, in units of the range.

        Weighted by the product of their weights, as the difference is seen in the blend. A third
        and fourth tile at a corner are compared with the blend of those before. None if no tiles
        meet.
        """
        return float(np.sqrt(self._squares / self._pairs)) if self._pairs > 0 else None

    def _compare(
        self,
        sums: NDArray[np.float32],
        before: NDArray[np.float32],
        change: NDArray[np.float32],
        weight: NDArray[np.float32],
    ) -> None:
        both = (before * weight)[..., 0]
        meet = both > 0
        if not meet.any():
            return
        difference = sums[meet] / before[meet] - change[meet]
        self._squares += float((both[meet] @ difference.astype(np.float64) ** 2).mean())
        self._pairs += float(both[meet].sum(dtype=np.float64))

    def _fill(self, filled: Filled) -> None:
        place = (filled.rows, filled.columns, filled.channels)
        self.corruption[place] = self.given.values[place] - filled.values
        self.mask[place] = True
        self.uncertainty = np.zeros_like(self.corruption)
        self.uncertainty[place] = filled.uncertainty
        self.image.reshape(self.mask.shape)[place] = self.given.of_its_type(filled.values)

    def _finish(self, row: int) -> None:
        """Finish the rows of the picture before this one, and move the band down to it."""
        count = min(row - self._top, self._weight.shape[0])
        if count > 0:
            self._write(slice(self._top, self._top + count))
            for band in (*self._sums.values(), self._weight):
                band[:-count] = band[count:]
                band[-count:] = 0
        self._top = row

    def _write(self, rows: slice) -> None:
        rows = slice(rows.start, min(rows.stop, self.given.shape[0]))
        count = rows.stop - rows.start
        weight = self._weight[:count]
        reached = weight[..., 0] > 0
        if not reached.any():
            return
        blend: dict[str, NDArray[Any]] = {
            name: sums[:count] / np.where(weight > 0, weight, 1)
            for name, sums in self._sums.items()
        }
        part = self.given.part((rows, slice(None)))
        restored = part.as_given((part.values + blend["image"]).clip(0, 1))
        self.image[rows][reached] = restored[reached]
        self.corruption[rows][reached] = blend["corruption"][reached]
        self.mask[rows][reached] = blend["mask"][reached] > 0.5
        if self.uncertainty is not None and "uncertainty" in blend:
            self.uncertainty[rows][reached] = blend["uncertainty"][reached]
