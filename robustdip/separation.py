"""Which part of the residual y − x is corruption: three ways to find s.

`Descent` is the published method: u and v descend at every step, with the network.

`Evidence` (the default) uses what that descent does in closed form. For a residual r held fixed,
the gradient flow of ½(s − r)² from u = v = γ ends, once γ² ≪ |r|, at

    s(t) = r · b,      b = 1 / (1 + (|r| / γ²) · exp(−4ηt|r|)),

the logistic growth of `overparam.SparseCorruption` (u², in units of r, is multiplied by
exp(4ηt|r|) until it reaches 1). But this b is also the posterior probability of corruption in the
mixture "with odds π/(1−π) the element was replaced by a value of density p_c, else its residual is
Laplace distributed with scale β":

    4ηt = 1/β        and        γ²/|r| = 2β · p_c(y) · π / (1−π).

So a tiny start is a prior odds of corruption and rate × time is the precision of the network. The
published method fixes both by hand. Here they are estimated from the data by expectation
maximisation, for every element: β from the residuals around it, p_c from the values that corrupted
elements have (two spikes for salt-and-pepper, the colour of a text, flat for random values), π
jointly for the channels of a pixel, so that damage of whole pixels and of single elements are both
seen for what they are. s is grown anew from its start every few steps on the residual of the
averaged output, and therefore also shrinks back where the network has come to explain the data.

Theta then descends on the smooth absolute value of (1 − b)(y − x): what s leaves of the residual.
"""

from itertools import product
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from overparam import SparseCorruption
from robustdip.recipes import Recipe

__all__ = ["Descent", "Evidence", "NoCorruption", "Separation", "separation_for"]

_JUDGED = 0.1  # |s| from which "descent" calls an element corrupted: 25 of 255 grey levels


class Separation(Protocol):
    """What `fit` asks of a model of s. All tensors are (1, C, H, W) float32."""

    def loss(self, x: Tensor) -> Tensor:
        """Mean loss of the network's output."""
        ...

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        """Update s after step `number`, given the output and its running average."""
        ...

    def corruption(self, average: Tensor) -> Tensor:
        """s."""
        ...

    def corrupted(self) -> Tensor:
        """The elements judged corrupted, bool."""
        ...

    def restored(self, average: Tensor) -> Tensor:
        """The recovered image."""
        ...


def separation_for(
    recipe: Recipe, y: Tensor, inside: Tensor, *, generator: torch.Generator
) -> Separation:
    """The model of s that a recipe names, for y and the mask (1.0 or 0.0) of its real elements."""
    if recipe.separation == "descent":
        return Descent(recipe, y, inside, generator=generator)
    if recipe.separation == "evidence":
        return Evidence(recipe, y, inside)
    return NoCorruption(recipe, y, inside)


def _data_loss(residual: Tensor, weight: Tensor, inside: Tensor, kind: str) -> Tensor:
    """Mean over the real elements of weight · ρ(residual), in float32."""
    # 0.01 = 2.5 grey levels: below it the absolute value is rounded off, for a smooth descent.
    value = residual**2 if kind == "l2" else (residual**2 + 1e-4).sqrt()
    return (weight * value).sum() / inside.sum()


class NoCorruption:
    """s = 0: the plain deep image prior."""

    def __init__(self, recipe: Recipe, y: Tensor, inside: Tensor) -> None:
        self.y, self.inside, self.kind = y, inside, recipe.loss

    def loss(self, x: Tensor) -> Tensor:
        return _data_loss(x - self.y, self.inside, self.inside, self.kind)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        pass

    def corruption(self, average: Tensor) -> Tensor:
        return torch.zeros_like(self.y)

    def corrupted(self) -> Tensor:
        return torch.zeros_like(self.y, dtype=torch.bool)

    def restored(self, average: Tensor) -> Tensor:
        return average


class Descent:
    """s = u∘u − v∘v by gradient descent beside the network (arXiv 2006.08857, equation 4)."""

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
        return _data_loss(x + self.value - self.y, self.inside, self.inside, self.kind)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        # The gradient of Σ(x + s − y)² with the s of this step's loss: both descend together.
        self.s.step(2 * (x + self.value - self.y) * self.inside, lr=self.lr)
        self.value = self.s().detach()

    def corruption(self, average: Tensor) -> Tensor:
        return self.value

    def corrupted(self) -> Tensor:
        return self.value.abs() > _JUDGED

    def restored(self, average: Tensor) -> Tensor:
        return average


class Evidence:
    """s in closed form, its start and rate estimated from the data. See the module's text."""

    levels = 256  # of the histogram p_c
    window = 7  # pixels a side over which β is estimated
    prior = 10.0  # β's own prior, worth so many elements of the whole image's mean
    least_scale = 0.006  # β is no finer than 1.5 of 255 grey levels: 8-bit data has no finer truth

    def __init__(self, recipe: Recipe, y: Tensor, inside: Tensor) -> None:
        self.y, self.inside, self.kind = y, inside, recipe.loss
        self.onset = round(recipe.onset * recipe.steps)
        self.refresh = recipe.refresh
        channels = y.shape[1]
        self.share = torch.zeros_like(y)  # b, the part of the residual that s explains
        self.weight = inside
        self.level = (y * (self.levels - 1)).round().long()
        self.density = torch.ones(self.levels, device=y.device)  # p_c
        # All 2^C ways in which the channels of a pixel may be bad, at first equally likely.
        self.patterns = torch.tensor(list(product((0.0, 1.0), repeat=channels)), device=y.device)
        self.prior_odds = torch.full((len(self.patterns),), 1 / len(self.patterns)).to(y.device)
        self.woken = False

    def loss(self, x: Tensor) -> Tensor:
        return _data_loss(x - self.y, self.weight, self.inside, self.kind)

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        if number >= self.onset and number % self.refresh == 0:
            self.grow(average)

    @torch.no_grad()
    def grow(self, x: Tensor, *, sweeps: int = 3) -> None:
        """Re-estimate β, p_c and π on the residual of x, and grow s from its start."""
        residual = (self.y - x).abs()
        if not self.woken:
            # Before anything is known the better half counts as clean; EM forgets this quickly.
            median = residual[self.inside > 0].median()
            self.share = (residual > median).float() * self.inside
            self.woken = True
        for _ in range(sweeps):
            scale = self._scale(residual)
            log_clean = -residual / scale - torch.log(2 * scale)
            log_bad = torch.log(self.density)[self.level]
            self.share = self._posterior(log_bad - log_clean)
            self._estimate_density()
        self.weight = (1 - self.share) * self.inside

    def _scale(self, residual: Tensor) -> Tensor:
        """β: mean absolute residual of the elements believed clean, near each pixel."""
        clean = (1 - self.share) * self.inside
        mean = (clean * residual).sum() / clean.sum().clamp(min=1e-6)
        size, half = self.window**2, self.window // 2

        def near(values: Tensor) -> Tensor:
            total = values.sum(dim=1, keepdim=True)
            return F.avg_pool2d(total, self.window, stride=1, padding=half) * size

        local = (near(clean * residual) + self.prior * mean) / (near(clean) + self.prior)
        return local.clamp(min=self.least_scale)

    def _posterior(self, log_odds: Tensor) -> Tensor:
        """b, marginal over the joint patterns of a pixel's channels; updates their prior π."""
        joint = torch.einsum("pc,bchw->bphw", self.patterns, log_odds)
        joint = torch.softmax(joint + torch.log(self.prior_odds)[None, :, None, None], dim=1)
        real = self.inside[:, :1]
        share = (joint * real).sum(dim=(0, 2, 3)) / real.sum()
        self.prior_odds = (share + 1e-6) / (share + 1e-6).sum()
        return torch.einsum("pc,bphw->bchw", self.patterns, joint) * self.inside

    def _estimate_density(self) -> None:
        """p_c: histogram of the values that corrupted elements have, 2 % of it spread evenly."""
        counts = torch.zeros(self.levels, device=self.y.device)
        counts.index_add_(0, self.level.flatten(), self.share.flatten())
        self.density = 0.98 * self.levels * counts / counts.sum().clamp(min=1e-6) + 0.02

    def corruption(self, average: Tensor) -> Tensor:
        return self.share * (self.y - average)

    def corrupted(self) -> Tensor:
        return self.share > 0.5

    def restored(self, average: Tensor) -> Tensor:
        # y − s: an element that s does not touch is kept as it came.
        return self.y - self.corruption(average)
