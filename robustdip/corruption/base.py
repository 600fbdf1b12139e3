"""Which part of the residual y − x is corruption: what every model of s offers, and two of them.

`Descent` is the published method: u and v descend at every step, with the network. `NoCorruption`
is the plain deep image prior. What the default does is `robustdip.corruption.mixture`.
"""

from typing import Protocol

import torch
from torch import Tensor

from overparam import SparseCorruption
from robustdip.recipes import Recipe

__all__ = ["Descent", "NoCorruption", "Separation", "data_loss", "penalty"]

_JUDGED = 0.1  # |s| from which "descent" calls an element corrupted: 25 of 255 grey levels


class Separation(Protocol):
    """What `fit` asks of a model of s. All tensors are (1, C, H, W), float32 if not said.

    `clean` is the fraction of the elements that it takes for clean at present.
    """

    clean: float

    def loss(self, x: Tensor) -> Tensor:
        """Mean loss of the network's output."""
        ...

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        """Update s after step `number`, given the output and its running average."""
        ...

    def restored(self, average: Tensor) -> Tensor:
        """The recovered image."""
        ...

    def corruption(self, average: Tensor) -> Tensor:
        """s."""
        ...

    def corrupted(self) -> Tensor:
        """The elements judged corrupted, bool."""
        ...

    def deviation(self, average: Tensor) -> Tensor | None:
        """Standard deviation of the error of `restored`; None without a model of it."""
        ...


def data_loss(residual: Tensor, weight: Tensor, inside: Tensor, kind: str) -> Tensor:
    """Mean over the real elements of weight · ρ(residual), in float32."""
    return (weight * penalty(residual, kind)).sum() / inside.sum()


def penalty(residual: Tensor, kind: str) -> Tensor:
    """ρ: the square, or the absolute value rounded off."""
    # 0.01 = 2.5 grey levels: below it the absolute value is rounded off, for a smooth descent.
    return residual**2 if kind == "l2" else (residual**2 + 1e-4).sqrt()


class NoCorruption:
    """s = 0: the plain deep image prior."""

    clean = 1.0

    def __init__(self, recipe: Recipe, y: Tensor, inside: Tensor) -> None:
        self.y, self.inside, self.kind = y, inside, recipe.loss

    def loss(self, x: Tensor) -> Tensor:
        return data_loss(x - self.y, self.inside, self.inside, self.kind)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        pass

    def restored(self, average: Tensor) -> Tensor:
        return average

    def corruption(self, average: Tensor) -> Tensor:
        return torch.zeros_like(self.y)

    def corrupted(self) -> Tensor:
        return torch.zeros_like(self.y, dtype=torch.bool)

    def deviation(self, average: Tensor) -> None:
        return None


class Descent:
    """s = u∘u − v∘v by gradient descent beside the network (arXiv 2006.08857, equation 4)."""

    clean = 1.0  # not estimated: the published rates are constant

    def __init__(
        self, recipe: Recipe, y: Tensor, inside: Tensor, *, generator: torch.Generator
    ) -> None:
        self.y, self.inside, self.kind = y, inside, recipe.loss
        self.lr = recipe.corruption_lr
        self.s = SparseCorruption(
            y.shape, init=recipe.corruption_init, generator=generator, device=y.device
        )
        self.value = self.s().detach()

    def loss(self, x: Tensor) -> Tensor:
        return data_loss(x + self.value - self.y, self.inside, self.inside, self.kind)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        # The gradient of Σ(x + s − y)² with the s of this step's loss: both descend together.
        self.s.step(2 * (x + self.value - self.y) * self.inside, lr=self.lr)
        self.value = self.s().detach()

    def restored(self, average: Tensor) -> Tensor:
        return average

    def corruption(self, average: Tensor) -> Tensor:
        return self.value

    def corrupted(self) -> Tensor:
        return self.value.abs() > _JUDGED

    def deviation(self, average: Tensor) -> None:
        return None
