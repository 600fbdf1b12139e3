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

from robustdip.corruption.base import Detector
from robustdip.tiling.plan import Tile

__all__ = ["detect"]


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
        if getattr(detector, "whole_picture", False):
            found |= _found(detector, values)
        else:
            local.append(detector)
    for tile in tiles:
        for detector in local:
            found[tile.window] |= _found(detector, values[tile.window])
    return found


def _found(detector: Detector, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    y = torch.from_numpy(values).permute(2, 0, 1)[None]
    valid: Tensor = torch.ones(1, 1, 1, 1).expand_as(y)  # takes no memory
    return detector.find(y, valid)[0].permute(1, 2, 0).numpy()
