"""Streaks: straight lines along rows or columns that are brighter or darker than both sides.

Dust on the glass of a sheet-fed scanner, a dirty print head and an amplifier that drifts add a
little to a whole row or column, or to a long part of it. One pixel hardly shows it. But of the
pixels along a streak nearly all differ in the same direction from both sides, while where there is
none a third does. So a streak is the part of a row or column, at least half of its length, in which
most pixels do; it begins and ends where that raises its likelihood most.

A picture has straight lines of its own, such as the frame of a window, and drawings and bar codes
consist of them. So this detector is for callers who say that there are lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustdip.corruption.base import ShapeDetector, real_size

__all__ = ["Streaks"]

_BESIDE = 2  # pixels from a streak to the sides, so that soft edges do not count
# Probability that a pixel differs in one direction from both sides, in a streak and elsewhere.
_IN_STREAK, _ELSEWHERE = 0.9, 1 / 3
_FOR = float(np.log(_IN_STREAK / _ELSEWHERE))
_AGAINST = float(np.log((1 - _IN_STREAK) / (1 - _ELSEWHERE)))


class _Streak(NamedTuple):
    contrast: float
    left: int
    right: int
    top: int
    bottom: int

    def touches(self, other: "_Streak") -> bool:
        """Whether they have rows in common, and columns that are less than two apart."""
        beside = self.left < other.right + _BESIDE and other.left < self.right + _BESIDE
        return beside and self.top < other.bottom and other.top < self.bottom

    def extended(self, other: "_Streak") -> "_Streak":
        """With the rows of another: noise ends a streak elsewhere in each channel."""
        top, bottom = min(self.top, other.top), max(self.bottom, other.bottom)
        return self._replace(top=top, bottom=bottom)


@dataclass(frozen=True, kw_only=True)
class Streaks(ShapeDetector):
    """Detector of streaks.

    Attributes
    ----------
    prior : float
        Log odds that a straight line is damage, added to those of its pixels.
    odds : float
        Log odds of a pixel in a streak.
    only : {"bright", "dark"} or None
        See `robustdip.corruption.base.ShapeDetector`.
    max_width : float
        Width in pixels of the widest streak.
    least_length : float
        Of a streak, as a share of the side.
    least_share : float
        Share of the pixels of a streak that differ from both sides, at even odds.
    least_step : float
        Median difference of a streak from its nearer side.
    max_share : float
        If more than this share of all rows or columns are streaks, they are the picture.
    """

    # A network learns straight lines first.
    hidden: ClassVar[bool] = True

    prior: float = 0.0
    odds: float = 5.0
    only: Literal["bright", "dark"] | None = None
    max_width: float = 3.0
    least_length: float = 0.5
    least_share: float = 0.7
    least_step: float = 2 / 255
    max_share: float = 0.1

    def shape_odds(self, y: Tensor, valid: Tensor) -> Tensor | None:
        """See `robustdip.corruption.base.ShapeDetector.shape_odds`; any number of channels."""
        height, width = real_size(valid)
        picture = y[0, :3, :height, :width].float().cpu().numpy()
        found = self.streaks(picture) | self.streaks(picture.swapaxes(1, 2)).T
        if not found.any():
            return None
        odds = y.new_zeros(1, 1, *y.shape[2:])
        # Compression and a change of size spread a streak over the pixels beside it.
        beside = 0.5 * ndimage.binary_dilation(found, np.ones((3, 3), bool))
        odds[0, 0, :height, :width] = self.odds * torch.from_numpy(np.where(found, 1, beside))
        return odds

    def streaks(self, picture: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Find streaks along columns.

        Parameters
        ----------
        picture : ndarray, shape (C, H, W)

        Returns
        -------
        ndarray of bool, shape (H, W)
        """
        kept: list[_Streak] = []
        # First the place and the width at which a streak stands out most; others show parts of it.
        for each in sorted(self._candidates(picture), key=lambda each: -each.contrast):
            at = next((at for at, other in enumerate(kept) if each.touches(other)), None)
            if at is None:
                kept.append(each)
            else:
                kept[at] = kept[at].extended(each)
        found = np.zeros(picture.shape[1:], bool)
        for streak in kept:
            rows, columns = slice(streak.top, streak.bottom), slice(streak.left, streak.right)
            found[rows, columns] = True
        return found & (found.any(axis=0).mean() <= self.max_share)

    def _candidates(self, picture: NDArray[np.float32]) -> Iterator["_Streak"]:
        for channel in (*picture, picture.mean(axis=0)):
            for width in self._widths(picture.shape[2]):
                for step in _steps(channel, width, self.only):
                    for column, top, bottom in self._along(step):
                        # A mean of several columns has less noise.
                        contrast = float(np.median(step[top:bottom, column])) * width**0.5
                        left = column + _BESIDE
                        yield _Streak(contrast, left, left + width, top, bottom)

    def _widths(self, across: int) -> Iterator[int]:
        """All up to 6, then in steps of a third: a streak covers most of a slightly wider one."""
        width = 1
        while width <= min(self.max_width, across - 2 * _BESIDE - 1):
            yield width
            width += max(1, width // 3)

    def _along(self, step: NDArray[np.float32]) -> Iterator[tuple[int, int, int]]:
        """The columns of steps (H, W) along which there is a streak, its top and its bottom."""
        first, last = _best_part(step > 0)
        long = np.flatnonzero(last - first >= max(2, self.least_length * len(step)))
        for column in long:
            part = step[first[column] : last[column], column]
            # 20: a tenth more of the pixels is e² times the odds.
            log_odds = self.prior + 20 * (float((part > 0).mean()) - self.least_share)
            if log_odds > 0 and float(np.median(part)) >= self.least_step:
                yield int(column), int(first[column]), int(last[column])


def _steps(
    channel: NDArray[np.float32], width: int, only: Literal["bright", "dark"] | None
) -> Iterator[NDArray[np.float32]]:
    """How much the mean of so many columns of (H, W) is above, and below, both sides."""
    places = channel.shape[1] - width - 2 * _BESIDE + 1
    inside = [channel[:, _BESIDE + at : _BESIDE + at + places] for at in range(width)]
    mean = sum(inside) / np.float32(width)
    left, right = channel[:, :places], channel[:, -places:]
    if only != "dark":
        yield mean - np.maximum(left, right)
    if only != "bright":
        yield np.minimum(left, right) - mean


def _best_part(differs: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row, and the row behind the last, of the likeliest streak in each column of (H, W)."""
    columns = differs.shape[1]
    total, begin = np.zeros(columns), np.zeros(columns, np.intp)
    best, first, last = np.zeros(columns), np.zeros(columns, np.intp), np.zeros(columns, np.intp)
    for row, each in enumerate(differs):
        restart = total <= 0
        total = np.where(restart, 0, total) + np.where(each, _FOR, _AGAINST)
        begin = np.where(restart, row, begin)
        better = total > best
        best = np.where(better, total, best)
        first, last = np.where(better, begin, first), np.where(better, row + 1, last)
    return first, last
