"""How close a picture in tiles is to a clean one, while its tiles are fitted one by one."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["TiledQuality"]

_ROWS = 256  # whose errors are computed at once, which saves memory


class TiledQuality:
    """The squared errors of a picture, parts of which are replaced.

    Parameters
    ----------
    values, clean : ndarray, float32, shape (H, W, C)
        The picture as it is at first, and the clean one.
    """

    def __init__(self, values: NDArray[np.float32], clean: NDArray[np.float32]) -> None:
        self.values, self.clean = values, clean
        self._squares = sum(
            _squares(values[row : row + _ROWS], clean[row : row + _ROWS])
            for row in range(0, len(values), _ROWS)
        )
        self._replaced = np.zeros(values.shape[:2], bool)

    def update(self, place: tuple[slice, slice], part: NDArray[np.float32]) -> None:
        """Replace the values, (h, w, C), of a place; what was replaced before stays."""
        new = ~self._replaced[place]
        clean = self.clean[place][new]
        self._squares += _squares(part[new], clean) - _squares(self.values[place][new], clean)
        self._replaced[place] = True

    @property
    def psnr(self) -> float:
        """PSNR of the whole picture in dB; infinite if it is the clean one."""
        mean = max(0.0, self._squares) / self.clean.size
        return math.inf if mean == 0 else -10 * math.log10(mean)


def _squares(values: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    return float(((values.astype(np.float64) - clean) ** 2).sum())
