"""When to stop a network that would learn the noise: windowed moving variance (ES-WMV).

H. Wang, T. Li, Z. Zhuang, T. Chen, H. Liang, J. Sun, *Early stopping for deep image prior*, TMLR
2023 (arXiv 2112.06074). While the network learns the image its outputs settle, so they vary less
and less from step to step; when it turns to the noise they vary more again. The first minimum that
`patience` further steps do not undercut is taken for the best moment.
"""

import math
from collections import deque

import torch
from torch import Tensor

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Detects the output at which the windowed moving variance is least.

    Parameters
    ----------
    window : int
        Number of the latest outputs whose variance is taken, at least 2. As many outputs are kept
        in float32 on their device: 100 of a 512x512 colour image are 315 MB.
    patience : int
        Windows without a new minimum after which the search is over, at least 1.

    Attributes
    ----------
    variance : Tensor
        Mean over the elements of the variance of the latest `window` outputs; NaN before there are
        as many.
    best : Tensor
        The detected output: the last one of the window of least variance, as in ES_WMV.ipynb of
        sun-umn/Early_Stopping_for_DIP at 83d03a4. Before the first whole window, the latest output.
    best_number : Tensor
        Which output that is, counted from 1.

    Raises
    ------
    ValueError
        If `window` or `patience` is too small.

    Notes
    -----
    `push` waits for no device; reading `finished` does. Once the search is over, `best` stays.
    """

    def __init__(self, window: int, patience: int) -> None:
        for name, value, least in (("window", window, 2), ("patience", patience, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}; at least {least} is needed")
        self.window, self.patience = window, patience
        self.number = 0
        self._outputs: deque[Tensor] = deque(maxlen=window)

    @torch.no_grad()
    def push(self, output: Tensor) -> None:
        """Take the next output, any shape but the same each time. It is kept, not copied."""
        output = output.detach().float()
        self.number += 1
        if self.number == 1:
            self._begin(output)
        oldest = self._outputs[0] if self._outputs else output  # falls out of a full window now
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
        """Whether `patience` windows in a row have brought no new minimum."""
        return self.number >= self.window and bool(self._waited >= self.patience)

    def _begin(self, output: Tensor) -> None:
        self.best = output
        self.variance = torch.full((), math.nan, device=output.device)
        self._least = torch.full((), math.inf, device=output.device)
        self._waited = torch.zeros((), dtype=torch.long, device=output.device)
        self.best_number = torch.zeros_like(self._waited)

    def _measure(self) -> None:
        """The variance by its definition. Once in a window: rounding errors grow no older."""
        self._mean = sum(self._outputs, torch.zeros_like(self.best)) / self.window
        squares = [(output - self._mean).square().mean() for output in self._outputs]
        self.variance = torch.stack(squares).mean()

    def _slide(self, oldest: Tensor, newest: Tensor) -> None:
        """The same, from the last one.

        With d = newest − oldest the mean m grows by d/W to m', and the sum of the squared distances
        from it by d·(newest − m' + oldest − m). Only distances from the mean occur, which are small
        where the variance is: the difference of two sums of squares would lose it in float32.
        """
        change = newest - oldest
        mean = self._mean + change / self.window
        growth = (change * ((newest - mean) + (oldest - self._mean))).mean() / self.window
        self.variance = (self.variance + growth).clamp(min=0)
        self._mean = mean
