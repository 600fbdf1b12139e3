"""When to stop a network before it learns the noise: windowed moving variance (ES-WMV).

H. Wang, T. Li, Z. Zhuang, T. Chen, H. Liang, J. Sun, *Early stopping for deep image prior*, TMLR
2023 (arXiv 2112.06074). While the network learns the image, its outputs vary less and less from
step to step; when it begins to learn the noise, they vary more again. The best step is taken to be
the first minimum of the variance that `patience` further steps do not fall below.
"""

import math
from collections import deque

import torch
from torch import Tensor

from overparam.checks import check_count

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Detect the output at which the windowed moving variance is smallest.

    Parameters
    ----------
    window : int
        Number of the latest outputs whose variance is computed, at least 2. So many outputs are
        kept in float32 on their device: 100 of a 512x512 colour image are 315 MB.
    patience : int
        Number of windows without a new minimum after which the search ends, at least 1.

    Attributes
    ----------
    variance : Tensor
        Mean over the elements of the variance of the latest `window` outputs; NaN until there are
        that many.
    best : Tensor
        The detected output: the last one of the window with the smallest variance, as in
        ES_WMV.ipynb of sun-umn/Early_Stopping_for_DIP at 83d03a4. Before the first full window, the
        latest output.
    best_number : Tensor, int64, shape ()
        The number of that output, counted from 1.

    Raises
    ------
    TypeError
        If `window` or `patience` is not a whole number.
    ValueError
        If `window` or `patience` is too small.

    Notes
    -----
    Only reading `finished` waits for the device. When the search has ended, `best` does not change.
    """

    def __init__(self, window: int, patience: int) -> None:
        self.window = check_count("window", window, least=2)
        self.patience = check_count("patience", patience, least=1)
        self.number = 0
        self._outputs: deque[Tensor] = deque(maxlen=window)

    @torch.no_grad()
    def push(self, output: Tensor) -> None:
        """Add the next output.

        Parameters
        ----------
        output : Tensor
            Any shape, the same for all outputs. It is kept without a copy.
        """
        output = output.detach().float()
        self.number += 1
        if self.number == 1:
            self._begin(output)
        oldest = self._outputs[0] if self._outputs else output  # leaves a full window now
        self._outputs.append(output)
        if self.number < self.window:
            self.best, self.best_number = output, torch.full_like(self.best_number, self.number)
            return
        if self.number % self.window == 0:
            self._measure()
        else:
            self._slide(oldest, output)
        searching = self._waited < self.patience
        better = searching & (self.variance < self._least)
        self._least = torch.where(better, self.variance, self._least)
        self._waited = torch.where(better, 0, self._waited + 1)
        self.best = torch.where(better, output, self.best)
        self.best_number = torch.where(better, self.number, self.best_number)

    @property
    def finished(self) -> bool:
        """Whether `patience` windows in a row had no new minimum."""
        return self.number >= self.window and bool(self._waited >= self.patience)

    def _begin(self, output: Tensor) -> None:
        self.best = output
        self.variance = torch.full((), math.nan, device=output.device)
        self._least = torch.full((), math.inf, device=output.device)
        self._waited = torch.zeros((), dtype=torch.long, device=output.device)
        self.best_number = torch.zeros_like(self._waited)

    def _measure(self) -> None:
        """Compute the variance by its definition.

        This is done once for each window length, so that rounding errors do not accumulate.
        """
        self._mean = sum(self._outputs, torch.zeros_like(self.best)) / self.window
        squares = [(output - self._mean).square().mean() for output in self._outputs]
        self.variance = torch.stack(squares).mean()

    def _slide(self, oldest: Tensor, newest: Tensor) -> None:
        """Update the variance from the previous one.

        With d = newest − oldest, the mean m grows by d/W to m', and the sum of squared distances
        from it grows by d·(newest − m' + oldest − m). All terms are distances from the mean, which
        are small if the variance is small. The difference of two sums of squares would lose a small
        variance in float32.
        """
        change = newest - oldest
        mean = self._mean + change / self.window
        growth = (change * ((newest - mean) + (oldest - self._mean))).mean() / self.window
        self.variance = (self.variance + growth).clamp(min=0)
        self._mean = mean
