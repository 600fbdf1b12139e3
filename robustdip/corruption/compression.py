"""Did a picture come from a JPEG file, and how far did that spread its values.

JPEG rounds the discrete cosine transform of each block of 8x8 pixels to multiples of steps that
depend on the frequency. So on the grid of its blocks, and on no other one, most coefficients of
high frequencies are 0, and the others of a frequency are at least a step. What rounding to a step q
does to a coefficient has the standard deviation q/√12, and the transform keeps it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

__all__ = ["compression_spread"]

_SIDE = 512  # pixels of the middle of a larger picture that are looked at
_ZERO = 1.0  # grey levels: coefficients of 0 after the rounding of pixels, whose deviation is 0.3
_LEAST = 1.3  # the smallest coefficient that is not 0
_FEWEST = 20  # coefficients of a frequency that show its step


def compression_spread(luma: NDArray[np.float64]) -> float | None:
    """Estimate the standard deviation of a JPEG compression's error.

    Parameters
    ----------
    luma : ndarray, shape (H, W)
        In [0, 1].

    Returns
    -------
    float or None
        In units of the range; about 0.007 at quality 95, 0.018 at 85 and 0.025 at 75. None if the
        picture was not compressed, if it was changed afterwards, as by a change of size, or if it
        has fewer than 8x8 blocks.
    """
    top, left = (max(0, (side - _SIDE) // 2) for side in luma.shape)
    part = 255 * luma[top : top + _SIDE, left : left + _SIDE]
    if min(part.shape) < 9 * 8:
        return None
    zeros = np.array([[_zeros(_transformed(part, (i, j))) for j in range(8)] for i in range(8)])
    grid = np.unravel_index(zeros.argmax(), zeros.shape)
    if zeros[grid] < 1.15 * np.median(zeros) + 0.02:
        return None
    sizes = np.abs(_transformed(part, (int(grid[0]), int(grid[1]))).reshape(-1, 64)[:, 1:])
    # Most of those that are not 0 are one step; some are less, where pixels were clipped.
    steps = [
        np.quantile(size[size > _LEAST], 0.25)
        for size in sizes.T
        if (size > _LEAST).sum() >= _FEWEST
    ]
    if not steps:
        return None
    spread = float(np.sqrt(np.mean(np.square(steps)) / 12))
    return spread / 255 if spread > 0.7 else None


def _transformed(part: NDArray[np.float64], corner: tuple[int, int]) -> NDArray[np.float64]:
    """The transform of all blocks of the grid that has a corner there, shape (h, w, 8, 8)."""
    part = part[corner[0] :, corner[1] :]
    height, width = (side // 8 for side in part.shape)
    blocks = part[: 8 * height, : 8 * width].reshape(height, 8, width, 8).swapaxes(1, 2)
    return np.asarray(dctn(blocks, axes=(2, 3), norm="ortho"))


def _zeros(transformed: NDArray[np.float64]) -> float:
    """The share of coefficients that are 0, of frequencies in both directions."""
    return float((np.abs(transformed[..., 1:, 1:]) < _ZERO).mean())
