"""Missing lines: rows or columns that have one exact value along most of their length.

A broken read-out loses whole lines. A network learns straight lines first, so the residual does not
show them. Their values do: a missing line has one value from end to end, while the lines beside it
vary everywhere. Each channel is examined separately, because only one of three sensors may be
broken.

Drawings and frames have lines of one value too. In a drawing, the lines beside them have few values
as well; a frame has several along the edge of the picture. Such lines are not reported.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustdip.corruption.base import Detector, real_size

__all__ = ["MissingLines"]

_ROWS = 64  # that are sorted at a time


@dataclass(frozen=True, kw_only=True)
class MissingLines(Detector):
    """Detector of missing rows and columns.

    A *good* line here is one in which no value has more than `min_share`.

    Attributes
    ----------
    min_length : int
        Smallest number of elements in a line; in shorter lines a value repeats by chance.
    min_share : float
        A missing line has its value in more than this share of its elements; the others may have
        other noise.
    max_plain_share : float
        The most frequent value of the nearest good lines has less than this share of them.
    max_same_share : float
        The value of the missing line has less than this share of the nearest good lines.
    max_thickness : float
        Largest number of adjacent missing lines, as a share of the side.
    max_step, max_step_share : float
        A line whose value is this close to the nearest good line on one side, also relative to the
        other side, is the border of an area that is clipped, such as a window on white.
    """

    whole_picture: ClassVar[bool] = True

    min_length: int = 32
    min_share: float = 0.75
    max_plain_share: float = 0.5
    max_same_share: float = 0.25
    max_thickness: float = 1 / 16
    max_step: float = 0.1
    max_step_share: float = 0.25

    @torch.no_grad()
    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """Find the elements that have the value of their missing row or column.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)
            In [0, 1].
        valid : Tensor, shape (1, C, H, W)
            1 for real elements, 0 for padding, which is at the bottom and on the right.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        height, width = real_size(valid)
        found = np.zeros(y.shape[1:], bool)
        for channel, marked in zip(y[0].cpu().numpy(), found, strict=True):
            image, marked = channel[:height, :width], marked[:height, :width]
            self._mark_lost_rows(image, marked)
            self._mark_lost_rows(image.T, marked.T)
        return torch.from_numpy(found)[None].to(y.device)

    def _mark_lost_rows(self, image: NDArray[np.float32], marked: NDArray[np.bool_]) -> None:
        """Mark the elements of an image (H, W) that have the value of their missing row."""
        count, length = image.shape
        if length < self.min_length:
            return
        value, share = _majorities(image)
        alike = share > self.min_share
        # The nearest good row before and after each row; -1 and `count` if there is none.
        place = np.arange(count)
        before = np.maximum.accumulate(np.where(alike, -1, place))
        after = np.minimum.accumulate(np.where(alike, count, place)[::-1])[::-1]
        run = after - before - 1
        thin = run <= max(1, round(self.max_thickness * count))
        frame = alike[0] and alike[-1] and value[0] == value[-1]
        for row in np.flatnonzero(alike & thin):
            sides = [beside for beside in (before[row], after[row]) if 0 <= beside < count]
            if (frame or run[row] > 1) and len(sides) < 2:
                continue
            if any(share[beside] >= self.max_plain_share for beside in sides):
                continue
            same = [(image[beside] == value[row]).mean() for beside in sides]
            if any(each >= self.max_same_share for each in same):
                continue
            if self._stands_apart([_median_step(image[beside], value[row]) for beside in sides]):
                marked[row] |= image[row] == value[row]

    def _stands_apart(self, steps: list[float]) -> bool:
        """Whether a row differs from both good rows beside it, by these steps."""
        if len(steps) < 2:
            return True
        near, far = sorted(steps)
        return near > self.max_step or near > self.max_step_share * far


def _majorities(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The value that has at least half of each row of an image (H, W), and its share.

    A value with half of the elements is one of the two medians; where none has, the share is that
    of a median, which is less.
    """
    count, length = image.shape
    value, share = np.zeros(count, np.float32), np.zeros(count)
    middle = ((length - 1) // 2, length // 2)
    # Rows of an image that is turned lie scattered in memory, so few are sorted at a time.
    for first in range(0, count, _ROWS):
        rows = np.ascontiguousarray(image[first : first + _ROWS])
        medians = np.partition(rows, middle, axis=1)[:, middle]
        shares = np.stack([(rows == each[:, None]).mean(axis=1) for each in medians.T], axis=1)
        better = shares.argmax(axis=1)[:, None]
        value[first : first + _ROWS] = np.take_along_axis(medians, better, 1)[:, 0]
        share[first : first + _ROWS] = np.take_along_axis(shares, better, 1)[:, 0]
    return value, share


def _median_step(row: NDArray[np.float32], value: np.float32) -> float:
    """The median distance of a row's elements from a value; the lower one of an even number."""
    distances = np.abs(row - value)
    middle = (distances.size - 1) // 2
    return float(np.partition(distances, middle)[middle])
