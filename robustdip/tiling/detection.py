"""What detectors find in a large picture, before a tile of it is fitted.

A lost line has one value from end to end of the picture, so its detector sees the whole of it.
Others see one window after the other; what is found in one of two windows that overlap counts in
both, so that neighbouring tiles agree.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overparam.modes import own_modes
from robustdip.corruption.base import Detector, ShapeDetector, odds_of_shapes
from robustdip.tiling.plan import Tile

__all__ = ["ShapeOdds", "detect"]


def detect(
    values: NDArray[np.float32], tiles: Iterable[Tile], detectors: Sequence[Detector]
) -> NDArray[np.bool_]:
    """Find elements of a picture that are certainly corrupted.

    Parameters
    ----------
    values : ndarray, float32, shape (H, W, C)
        In [0, 1].
    tiles : iterable of Tile
        Their windows are examined.
    detectors : sequence of Detector

    Returns
    -------
    ndarray of bool, shape (H, W, C)
    """
    found = np.zeros(values.shape, bool)
    local: list[Detector] = []
    for detector in detectors:
        if detector.whole_picture:
            found |= _found(detector, values)
        else:
            local.append(detector)
    for tile in tiles:
        for detector in local:
            found[tile.window] |= _found(detector, values[tile.window])
    return found


class ShapeOdds:
    """What detectors of shapes say of a picture, one window after the other, each asked once.

    A window is examined when a tile in it is fitted: it takes seconds.

    Parameters
    ----------
    values : ndarray, float32, shape (H, W, C)
        In [0, 1].
    windows : list of Tile
        They are examined.
    shapes : sequence of ShapeDetector
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        windows: list[Tile],
        shapes: Sequence[ShapeDetector],
    ) -> None:
        self._values, self._shapes = values, shapes
        self._windows = windows if shapes else []
        self._said: dict[Tile, NDArray[np.float32] | None] = {}

    def within(self, part: Tile) -> NDArray[np.float32] | None:
        """Log odds in the window of a tile, from all windows whose core meets its core.

        Where two of them say something, the larger odds count.

        Returns
        -------
        ndarray, float32, shape (h, w, 2), or None
            See `robustdip.corruption.base.odds_of_shapes`.
        """
        told: NDArray[np.float32] | None = None
        for window in self._windows:
            if not window.meets(part) or (odds := self._of(window)) is None:
                continue
            if told is None:
                told = np.zeros((*part.weights().shape, 2), np.float32)
            both = _overlap(window, part)
            here, there = told[_inside(both, part)], odds[_inside(both, window)]
            here[...] = np.where((here == 0) | (there == 0), here + there, np.maximum(here, there))
        return told

    def _of(self, window: Tile) -> NDArray[np.float32] | None:
        if window not in self._said:
            with own_modes(torch.device("cpu")):
                odds = odds_of_shapes(self._shapes, *_tensors(self._values[window.window]))
            self._said[window] = None if odds is None else odds[0].permute(1, 2, 0).numpy()
        return self._said[window]


def _overlap(one: Tile, other: Tile) -> tuple[slice, slice]:
    """Rows and columns that the windows of two tiles whose cores meet have in common."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one.window, other.window, strict=True)
    )
    return rows, columns


def _inside(place: tuple[slice, slice], tile: Tile) -> tuple[slice, slice]:
    """Rows and columns of a picture, as rows and columns of the window of a tile."""
    rows, columns = (
        slice(part.start - window.start, part.stop - window.start)
        for part, window in zip(place, tile.window, strict=True)
    )
    return rows, columns


def _found(detector: Detector, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    with own_modes(torch.device("cpu")):
        return detector.find(*_tensors(values))[0].permute(1, 2, 0).numpy()


def _tensors(values: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """The values as (1, C, H, W), and that all of them are valid."""
    y = torch.from_numpy(values).permute(2, 0, 1)[None]
    return y, torch.ones_like(y[:1, :1, :1, :1]).expand_as(y)  # takes no memory
