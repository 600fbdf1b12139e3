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

from robustdip.corruption.base import Detector, ShapeDetector
from robustdip.tiling.plan import Tile

__all__ = ["detect", "has_shape"]


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


def has_shape(values: NDArray[np.float32], shape: ShapeDetector) -> NDArray[np.bool_]:
    """Find pixels that have the shape of damage.

    Parameters
    ----------
    values : ndarray, float32, shape (H, W, C)
        A part of a picture, in [0, 1].
    shape : ShapeDetector

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    odds = shape.shape_odds(*_tensors(values))
    if odds is None:
        return np.zeros(values.shape[:2], bool)
    return odds[0, 0].numpy() > 0


def _found(detector: Detector, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    y, valid = _tensors(values)
    return detector.find(y, valid)[0].permute(1, 2, 0).numpy()


def _tensors(values: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """The values as (1, C, H, W), and that all of them are valid."""
    y = torch.from_numpy(values).permute(2, 0, 1)[None]
    return y, torch.ones(1, 1, 1, 1).expand_as(y)  # takes no memory
