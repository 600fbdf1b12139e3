"""Optimizers of the network, their learning rates over the steps, and the precision of a step."""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

from overparam.checks import check_count, check_real
from overparam.devices import fastest_precision
from overparam.muon import ConvolutionMuon

__all__ = ["ConstantRate", "DecayingRate", "Rates", "optimizers_for", "precision"]


@dataclass(frozen=True, kw_only=True)
class ConstantRate:
    """The published learning rate: the same at every step."""

    def factor(self, number: int, steps: int, *, clean_pixels: float) -> float:
        """Return 1; see `DecayingRate.factor`."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class DecayingRate:
    """Warm-up, a constant rate, then linear decay; and a bound on how far the weights can move.

    Attributes
    ----------
    warm_up : int
        Steps over which the rate rises from 0.
    constant : float
        Fraction of the steps before the linear decay begins.
    final : float
        Rate at the end, as a fraction of the full one.
    bounded : bool
        Whether the rate also falls like 1/step³ after a number of steps, the reach. The distance
        that the weights can still move is then bounded, however many steps follow, and so is
        overfitting. With less clean data a network overfits sooner, so the reach is the square root
        of twice the number of clean pixels: the image's side if half of it is clean.
    min_reach : float
        Smallest reach: even for one pixel the network needs that many steps to fit anything.

    Raises
    ------
    TypeError
        If a number has another type.
    ValueError
        If a number is out of range.
    """

    warm_up: int = 20
    constant: float = 0.5
    final: float = 0.02
    bounded: bool = True
    min_reach: float = 64.0

    def __post_init__(self) -> None:
        check_count("warm_up", self.warm_up, least=1)
        check_real("min_reach", self.min_reach, above=0)
        for name in ("constant", "final"):
            check_real(name, getattr(self, name), least=0, most=1)

    def factor(self, number: int, steps: int, *, clean_pixels: float) -> float:
        """Compute the rate of a step as a fraction of the full one.

        Parameters
        ----------
        number, steps : int
            Number of this step, counted from 1, and of the last step.
        clean_pixels : float
            Number of pixels that count as clean at present.

        Returns
        -------
        float
            In [0, 1].
        """
        left = min(1.0, (1 - number / steps) / (1 - self.constant)) if self.constant < 1 else 1.0
        reach = max(self.min_reach, math.sqrt(2 * clean_pixels)) if self.bounded else math.inf
        bound = (reach / number) ** 3
        return (self.final + (1 - self.final) * left) * min(1.0, number / self.warm_up, bound)


class Rates:
    """Sets the learning rates of several optimizers to a fraction of their initial values.

    Parameters
    ----------
    optimizers : list of Optimizer
        Their present rates are the full ones.
    """

    def __init__(self, optimizers: list[Optimizer]) -> None:
        self._groups = list(chain.from_iterable(o.param_groups for o in optimizers))
        self._full = [group["lr"] for group in self._groups]

    def set(self, factor: float) -> None:
        """Set each rate to `factor` times its full value.

        Parameters
        ----------
        factor : float
        """
        for group, full in zip(self._groups, self._full, strict=True):
            group["lr"] = full * factor


def optimizers_for(
    network: nn.Module, kind: Literal["sgd", "adam", "muon"], *, lr: float
) -> list[Optimizer]:
    """Make the optimizers of a network.

    Parameters
    ----------
    network : Module
        In channels_last memory for "muon".
    kind : {"sgd", "adam", "muon"}
        "muon" is Muon for the larger convolutions and Adam for the other parameters.
    lr : float
        Full learning rate; Adam beside Muon has half of it.

    Returns
    -------
    list of Optimizer
    """
    if kind == "sgd":
        return [torch.optim.SGD(network.parameters(), lr=lr)]
    if kind == "adam":
        return [torch.optim.Adam(network.parameters(), lr=lr)]
    # Muon orthogonalises the update of a matrix; a convolution is the matrix (out, kh·kw·in). Batch
    # normalisation follows each one, or the next one where a 1x1 convolution makes a tensor
    # narrower, so that the scale of its weights, and hence its rate, has little effect. Matrices
    # with a side below 16 are too small to gain from Muon.
    matrices = [p for p in network.parameters() if p.ndim == 4 and min(len(p), p[0].numel()) >= 16]
    others = [p for p in network.parameters() if all(p is not m for m in matrices)]
    return [
        ConvolutionMuon(matrices, lr=lr),
        torch.optim.Adam(others, lr=lr / 2, betas=(0.9, 0.99)),
    ]


def precision(device: torch.device, *, published: bool) -> torch.dtype:
    """Choose the precision in which the network computes.

    Parameters
    ----------
    device : torch.device
    published : bool
        Whether the network is the published one, which computes in float32.

    Returns
    -------
    torch.dtype
    """
    return torch.float32 if published else fastest_precision(device)
