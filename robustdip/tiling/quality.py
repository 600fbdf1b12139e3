"""How close a picture in tiles is to a clean one, while its tiles are fitted one by one."""

import math

import numpy as np
from numpy.typing import NDArray

from robustdip.tiling.plan import Tile

__all__ = ["TiledQuality"]


class TiledQuality:
    """The squared errors of the cores, which are replaced tile by tile.

    Parameters
    ----------
    values, clean : ndarray, float32, shape (H, W, C)
        The picture as it is at first, and the clean one.
    tiles : list of Tile
        All of them.
    """

    def __init__(
        self, values: NDArray[np.float32], clean: NDArray[np.float32], tiles: list[Tile]
    ) -> None:
        self.clean = clean
        self._squares: dict[Tile, float] = {}
        for tile in tiles:
            self.update(tile, values[tile.core])

    def update(self, tile: Tile, core: NDArray[np.float32]) -> None:
        """Replace the values of a tile's core, (h, w, C)."""
        error = core.astype(np.float64) - self.clean[tile.core]
        self._squares[tile] = float((error**2).sum())

    @property
    def psnr(self) -> float:
        """PSNR of the whole picture in dB; infinite if it is the clean one."""
        mean = sum(self._squares.values()) / self.clean.size
        return math.inf if mean == 0 else -10 * math.log10(mean)
