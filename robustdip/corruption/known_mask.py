"""The model of s for a known mask: clean elements stay exact, the other values are not read.

The places of corruption are given. The model estimates only how a pixel's corrupted channels follow
from its clean ones (`robustdip.corruption.channels`), and β for the uncertainty.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustdip.corruption.base import Problem, data_loss, steps_per_side
from robustdip.corruption.channels import ChannelCovariance, ChannelModel, Covariance, LocalScale
from robustdip.corruption.mixture_estimate import MixtureEstimate

__all__ = ["KnownMask"]


@dataclass(frozen=True, kw_only=True)
class KnownMask:
    """Settings of the model for a given mask.

    Attributes
    ----------
    refresh : float
        Number of steps between two estimates of R and β, per pixel of the image's side.
    covariance : Covariance
        Covariance of the channels of a pixel.
    scale : LocalScale
        Smoothing of β.
    """

    refresh: float = 0.1
    covariance: Covariance = ChannelCovariance()
    scale: LocalScale = LocalScale()

    def start(self, problem: Problem, corrupted: Tensor) -> "_KnownMask":
        """Make the model for one image, before the first step.

        Parameters
        ----------
        problem : Problem
        corrupted : Tensor, float32, shape (1, C, H, W)
            1 for elements known to be corrupted, else 0.

        Returns
        -------
        CorruptionModel
        """
        return _KnownMask(self, problem, corrupted)


class _KnownMask:
    """See `robustdip.corruption.base.CorruptionModel`."""

    def __init__(self, settings: KnownMask, problem: Problem, corrupted: Tensor) -> None:
        self.settings, self.problem = settings, problem
        y, valid = problem.y, problem.valid
        refresh = steps_per_side(settings.refresh, valid, at_most=problem.steps // 10)
        self.refresh = max(1, refresh)
        self.corrupted = corrupted * valid
        self.weight = valid - self.corrupted
        self.clean_fraction = float(self.weight.sum() / valid.sum())
        self.channels = ChannelModel(y.shape[1], settings.covariance, device=y.device)
        # Numbers of patterns are binary; the first channel is the highest digit.
        places = 2 ** torch.arange(y.shape[1] - 1, -1, -1, device=y.device)
        pattern = (self.corrupted.long() * places[:, None, None]).sum(dim=1)
        one_hot = F.one_hot(pattern, len(self.channels.patterns))
        self.posterior = one_hot.movedim(-1, 1).to(y)
        self.gain = self.channels.no_gain(y)
        self.scale = y.new_zeros(())

    def loss(self, x: Tensor) -> Tensor:
        problem = self.problem
        return data_loss(x - problem.y, self.weight, problem.valid, problem.penalty)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        # Not at the first multiple, when the outputs are still a blur; but always at the end.
        due = number % self.refresh == 0 and number != self.refresh
        if due or number == self.problem.steps:
            self.reestimate(average)

    @torch.no_grad()
    def reestimate(self, x: Tensor) -> None:
        """Estimate R and β on the residual of x, shape (1, C, H, W)."""
        valid = self.problem.valid
        residual = (self.problem.y - x) * valid
        length, _, self.gain = self.channels.lengths(x, residual, valid)
        self.scale = self.channels.local_scale(
            self.posterior, length, smoothing=self.settings.scale
        )

    def estimate(self, average: Tensor) -> "_KnownMaskEstimate":
        return _KnownMaskEstimate(
            y=self.problem.y,
            average=average,
            posterior=self.posterior,
            gain=self.gain,
            corrupted_probability=self.corrupted,
            scale=self.scale,
            overconfidence=0.0,  # b is 0 or 1, so that b(1 − b) = 0
        )


@dataclass(frozen=True, eq=False)
class _KnownMaskEstimate(MixtureEstimate):
    @property
    def image(self) -> Tensor:
        # Clean elements are copied: average + (y − average) would round them.
        return torch.where(self.corrupted_probability > 0, super().image, self.y)
