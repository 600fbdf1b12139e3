"""The published model of s, u∘u − v∘v by gradient descent, and the model without s."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from overparam.sparse_corruption import SparseCorruption
from robustdip.corruption.base import CorruptionSettings, Problem, data_loss

__all__ = ["Descent", "NoCorruption"]


@dataclass(frozen=True, kw_only=True)
class NoCorruption(CorruptionSettings):
    """Settings of s = 0: the plain deep image prior."""

    def start(self, problem: Problem) -> "_NoCorruption":
        """See `robustdip.corruption.base.CorruptionSettings.start`."""
        return _NoCorruption(problem)


@dataclass(frozen=True, kw_only=True)
class Descent(CorruptionSettings):
    """Settings of s = u∘u − v∘v by gradient descent beside the network.

    You et al., NeurIPS 2020 (arXiv 2006.08857), equation 4.

    Attributes
    ----------
    lr : float
        η, per element of the summed squared loss.
    init : float
        Standard deviation of the random start of u and v.
    corrupted_above : float
        An element counts as corrupted if |s| is above this; 0.1 is 25 of 255 grey levels.
    """

    squared_loss_only: ClassVar[bool] = True
    one_network_only: ClassVar[bool] = True

    lr: float
    init: float = 1e-5
    corrupted_above: float = 0.1

    def start(self, problem: Problem) -> "_Descent":
        """See `robustdip.corruption.base.CorruptionSettings.start`."""
        return _Descent(self, problem)


@dataclass(frozen=True, eq=False)
class _NetworkImage:
    """An estimate whose image is the network's output; s is kept beside it."""

    image: Tensor
    corruption: Tensor
    corrupted_above: float
    uncertainty: None = None

    @property
    def corrupted(self) -> Tensor:
        return self.corruption.abs() > self.corrupted_above


class _NoCorruption:
    clean_fraction = 1.0

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.zero = torch.zeros_like(problem.y)

    def loss(self, x: Tensor) -> Tensor:
        problem = self.problem
        return data_loss(x - problem.y, problem.valid, problem.valid, problem.penalty)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        pass

    def estimate(self, average: Tensor) -> _NetworkImage:
        return _NetworkImage(average, self.zero, corrupted_above=0.0)


class _Descent:
    clean_fraction = 1.0  # not estimated: the published rates are constant

    def __init__(self, settings: Descent, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        y = problem.y
        self.factors = SparseCorruption(
            y.shape, init=settings.init, generator=problem.generator, device=y.device
        )
        self.s = self.factors().detach()

    def loss(self, x: Tensor) -> Tensor:
        problem = self.problem
        return data_loss(x + self.s - problem.y, problem.valid, problem.valid, problem.penalty)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        # The gradient of Σ(x + s − y)² at the s of this step's loss: network and s move together.
        residual = x + self.s - self.problem.y
        self.factors.step(2 * residual * self.problem.valid, lr=self.settings.lr)
        self.s = self.factors().detach()

    def estimate(self, average: Tensor) -> _NetworkImage:
        return _NetworkImage(average, self.s, corrupted_above=self.settings.corrupted_above)
