"""Did a picture come from a JPEG file, and how far did that spread its values.

JPEG rounds the discrete cosine transform of each block of 8x8 pixels to multiples of steps that
depend on the frequency. So on the grid of its blocks, and on no other one, most coefficients of
high frequencies are 0, and those of a frequency are multiples of one step. What rounding to a step
q does to a coefficient has the standard deviation q/√12, and the transform keeps it.

Coefficients c that are multiples of q, up to the rounding of pixels, have a mean of cos(2πc/q) near
1; others have one near 0. The largest q for which it is large is the step. This holds for blocks
full of damage too, if the damage was there before the compression, and for no others: so it tells
whether the damage was compressed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

__all__ = [
    "LUMA_CHROMA",
    "CompressedBlocks",
    "compressed_blocks",
    "compression_spread",
    "was_compressed",
]

# Rows: luma and the two colour differences of ITU-R BT.601, which JPEG uses.
LUMA_CHROMA = np.array([
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
])  # fmt: skip

_SIDE = 512  # pixels of the middle of a larger picture that are looked at
_ZERO = 1.0  # grey levels: coefficients of 0 after the rounding of pixels, whose deviation is 0.3
_LEAST = 1.3  # the smallest coefficient that is not 0
_FEWEST = 20  # coefficients of a frequency that show its step
_STEPS = np.arange(1, 100)  # that tables of quality 50 and more have
_CLEAR = 4.0  # mean cosine, in standard deviations of a mean of that many
# Coefficients that are not 0 on the grid of a compression, relative to others, at the most: 0.79 or
# less in pages and screens, and 0.85 or more in pictures that were not compressed.
_EDGES = 0.8
_FREQUENCIES = 16  # of 63, whose steps have to be clear


@dataclass(frozen=True, eq=False)
class CompressedBlocks:
    """The blocks of a picture that may have been compressed as JPEG.

    Attributes
    ----------
    corner : tuple of int
        Row and column, below 8, at which a block begins.
    coefficients : ndarray, shape (C, h, w, 63)
        The transform of each channel's blocks without their means, in grey levels.
    """

    corner: tuple[int, int]
    coefficients: NDArray[np.float64]

    def spread(self, where: NDArray[np.bool_] | None = None) -> list[float | None]:
        """Estimate the standard deviation of the compression's error in each channel.

        Parameters
        ----------
        where : ndarray of bool, shape (H, W), optional
            Only blocks with such a pixel are looked at.

        Returns
        -------
        list of C floats or None
            In units of the range. None for a channel that was not compressed, or not at this
            resolution, or of which too few blocks are looked at.
        """
        _, height, width, _ = self.coefficients.shape
        chosen = np.ones((height, width), bool)
        if where is not None:
            top, left = self.corner
            part = where[top : top + 8 * height, left : left + 8 * width]
            chosen = part.reshape(height, 8, width, 8).any(axis=(1, 3))
        picked = np.flatnonzero(chosen)
        picked = picked[:: max(1, len(picked) // 1024)]
        return [_spread(channel.reshape(-1, 63)[picked]) for channel in self.coefficients]


def compressed_blocks(planes: NDArray[np.float64]) -> CompressedBlocks | None:
    """Cut a picture into the blocks of its compression.

    Parameters
    ----------
    planes : ndarray, shape (C, H, W)
        Luma first, in [0, 1].

    Returns
    -------
    CompressedBlocks or None
        On the grid that its luma fits best, whether it was compressed or not. None if it has fewer
        than 9x9 blocks.
    """
    if min(planes.shape[1:]) < 9 * 8:
        return None
    corner, _ = _grid(planes[0])
    transformed = [_transformed(255 * plane, corner) for plane in planes]
    height, width = transformed[0].shape[:2]
    coefficients = np.stack(transformed).reshape(len(planes), height, width, 64)[..., 1:]
    return CompressedBlocks(corner, coefficients)


def compression_spread(luma: NDArray[np.floating]) -> float | None:
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
        has fewer than 9x9 blocks.
    """
    if min(luma.shape) < 9 * 8:
        return None
    corner, zeros = _grid(luma)
    if zeros[corner] < _more_than(float(np.median(zeros))):
        return None
    part = _middle(luma)
    sizes = np.abs(_transformed(255 * part, corner).reshape(-1, 64)[:, 1:])
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


def was_compressed(luma: NDArray[np.floating]) -> bool:
    """Whether a picture came from a JPEG file, and was not changed since, as by a change of size.

    Parameters
    ----------
    luma : ndarray, shape (H, W)
        In [0, 1].

    Returns
    -------
    bool
        False if it has fewer than 9x9 blocks.
    """
    if min(luma.shape) < 9 * 8:
        return False
    corner, zeros = _grid(luma)
    usual = float(np.median(zeros))
    # On a screenshot most are 0 on any grid; where it has edges, fewer are on the others.
    return bool(zeros[corner] >= _more_than(usual) or 1 - zeros[corner] < _EDGES * (1 - usual))


def _spread(coefficients: NDArray[np.float64]) -> float | None:
    """The standard deviation that steps of coefficients (N, 63) make; None if there are none."""
    steps = [_step(values) for values in coefficients.T]
    found = [step for step in steps if step is not None]
    if len(found) < _FREQUENCIES:
        return None
    return float(np.sqrt(np.mean(np.square(found)) / 12)) / 255


def _step(values: NDArray[np.float64]) -> int | None:
    """The step of which the coefficients (N,) of one frequency are multiples."""
    if len(values) < _FEWEST:
        return None
    phases = np.cos(2 * np.pi * values[:, None] / _STEPS)
    seen = np.abs(values)[:, None] > _STEPS / 2  # 0 is a multiple of every step
    count = seen.sum(axis=0)
    clear = (phases * seen).sum(axis=0) / np.sqrt(np.maximum(count, 1))
    clear[count < _FEWEST] = 0
    # Its divisors are as clear; multiples are less so.
    return None if clear.max() < _CLEAR else int(_STEPS[clear > 0.7 * clear.max()][-1])


def _middle(plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """At most _SIDE x _SIDE pixels from the middle of a plane, from a multiple of 8 on."""
    top, left = (max(0, (side - _SIDE) // 2) // 8 * 8 for side in plane.shape)
    return np.asarray(plane[top : top + _SIDE, left : left + _SIDE], np.float64)


def _grid(luma: NDArray[np.floating]) -> tuple[tuple[int, int], NDArray[np.float64]]:
    """The corner of the grid with most coefficients of 0, and their share on each grid (8, 8)."""
    part = 255 * _middle(luma)
    zeros = np.array([[_zeros(_transformed(part, (i, j))) for j in range(8)] for i in range(8)])
    row, column = np.unravel_index(zeros.argmax(), zeros.shape)
    return (int(row), int(column)), zeros


def _more_than(share: float) -> float:
    """The share of zeros on the grid of a compression, given that on others, at the least."""
    return 1.15 * share + 0.02


def _transformed(part: NDArray[np.float64], corner: tuple[int, int]) -> NDArray[np.float64]:
    """The transform of all blocks of the grid that has a corner there, shape (h, w, 8, 8)."""
    part = part[corner[0] :, corner[1] :]
    height, width = (side // 8 for side in part.shape)
    blocks = part[: 8 * height, : 8 * width].reshape(height, 8, width, 8).swapaxes(1, 2)
    return np.asarray(dctn(blocks, axes=(2, 3), norm="ortho"))


def _zeros(transformed: NDArray[np.float64]) -> float:
    """The share of coefficients that are 0, of frequencies in both directions."""
    return float((np.abs(transformed[..., 1:, 1:]) < _ZERO).mean())
