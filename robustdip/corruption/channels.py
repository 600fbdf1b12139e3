"""What the clean channels of a pixel tell about its other channels.

A network misses an edge in all channels at once, so the residuals of a pixel's clean channels are
correlated. Their covariance R, up to scale, is taken from the image itself: what a network still
misses around a pixel looks like the differences between neighbouring pixels there.

The residual r of k clean channels has an elliptical Laplace density,

    p(r) = exp(−√(rᵀ R⁻¹ r) / β) / (βᵏ V),      V = √|R| · 2π^(k/2) Γ(k) / Γ(k/2),

which is the ordinary Laplace density exp(−|r|/β) / 2β for one channel with R = 1. R also carries
detail from the clean channels to the corrupted ones: the best linear guess of all residuals is
R[:, clean] R[clean, clean]⁻¹ r[clean].
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "BLOCK",
    "ChannelCovariance",
    "ChannelModel",
    "Covariance",
    "LocalScale",
    "conditionals",
    "in_blocks",
]

BLOCK = 4  # pixels a side that share one R; the padded image is a whole number of blocks


class Covariance(Protocol):
    """Where R comes from; see `ChannelCovariance`."""

    def around(self, x: Tensor, valid: Tensor) -> Tensor:
        """R around each block of x, shape (H/BLOCK, W/BLOCK, C, C)."""
        ...


@dataclass(frozen=True, kw_only=True)
class ChannelCovariance:
    """Local covariance of the differences between neighbouring pixels.

    Attributes
    ----------
    window : int
        Pixels a side over which R is taken, a multiple of 4 that is an odd number of blocks.
    global_weight : float
        Weight of the whole image beside the window. Flat regions have no differences of their own,
        so there the whole image decides.
    ridge : float
        Share of the identity in R: grey pictures stored as RGB have R = 1 everywhere, which has no
        inverse.
    """

    window: int = 12
    global_weight: float = 0.5
    ridge: float = 0.05

    def around(self, x: Tensor, valid: Tensor) -> Tensor:
        """R around each block of pixels, with a mean variance of 1.

        Parameters
        ----------
        x, valid : Tensor, float32, shape (1, C, H, W)
            The network's image; 1 for real elements and 0 for padding.

        Returns
        -------
        Tensor, shape (H/BLOCK, W/BLOCK, C, C)
        """
        channels = x.shape[1]
        products = x.new_zeros(1, channels, channels, *x.shape[2:])
        for dim in (2, 3):
            both_valid = valid.narrow(dim, 1, x.shape[dim] - 1)  # padding comes last
            step = x.diff(dim=dim) * both_valid
            products.narrow(dim + 1, 0, step.shape[dim]).add_(step[:, :, None] * step[:, None])
        products = products.flatten(1, 2)
        everywhere = products.sum(dim=(2, 3), keepdim=True) / valid[:, :1].sum()
        # Beyond the border the products are 0, so that there the whole image counts for more.
        padding = (self.window - BLOCK) // 2
        near = F.avg_pool2d(products, self.window, stride=BLOCK, padding=padding)
        moments = (near + self.global_weight * everywhere)[0].unflatten(0, (channels, channels))
        moments = moments.permute(2, 3, 0, 1)
        unit = torch.eye(channels, device=x.device, dtype=x.dtype)
        moments = moments + 1e-8 * unit  # a constant image has no differences at all
        variance = moments.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
        return (1 - self.ridge) * moments / variance + self.ridge * unit


class ChannelModel:
    """The 2^C ways in which the channels of a pixel can be corrupted together.

    Attributes
    ----------
    patterns : Tensor, shape (P, C) with P = 2^C
        Row p is 1 for the channels that pattern p calls corrupted. Row 0 calls none corrupted, the
        last row all; rows count in binary, the first channel being the highest digit.
    clean_count : Tensor, shape (P,)
        Number of channels that each pattern calls clean.
    """

    def __init__(self, channels: int, covariance: Covariance, *, device: torch.device) -> None:
        rows = list(product((0.0, 1.0), repeat=channels))
        self.patterns = torch.tensor(rows, device=device, dtype=torch.float32)
        self.clean_count = (1 - self.patterns).sum(dim=1)
        self.covariance = covariance

    def no_gain(self, y: Tensor) -> Tensor:
        """A gain of 0, shape (P, H/BLOCK, W/BLOCK, C, C): clean channels tell nothing yet."""
        channels = y.shape[1]
        blocks = (side // BLOCK for side in y.shape[2:])
        return y.new_zeros(len(self.patterns), *blocks, channels, channels)

    def lengths(self, x: Tensor, residual: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mahalanobis length of each pattern's clean residual.

        Parameters
        ----------
        x, residual, valid : Tensor, float32, shape (1, C, H, W)

        Returns
        -------
        length : Tensor, shape (1, P, H, W)
            √(rᵀ R⁻¹ r) over the clean channels.
        log_volume : Tensor, shape (P, H, W)
            log V of the density in the module's text.
        gain : Tensor, shape (P, H/BLOCK, W/BLOCK, C, C)
            See `conditionals`.
        """
        covariance = self.covariance.around(x, valid)
        # Not every release has these small inverses and determinants on MPS.
        place = "cpu" if x.device.type == "mps" else x.device
        precision, gain, log_volume = (
            values.to(x.device)
            for values in conditionals(self.patterns.to(place), covariance.to(place))
        )
        # p pattern; h, w block; a, b pixel in the block; i, j channel.
        r = in_blocks(residual)
        whitened = torch.einsum("phwij,jhawb->pihawb", precision, r)
        squared = torch.einsum("ihawb,pihawb->phawb", r, whitened)
        length = squared.clamp(min=1e-12).sqrt().reshape(1, len(self.patterns), *x.shape[2:])
        for dim in (1, 2):
            log_volume = log_volume.repeat_interleave(BLOCK, dim=dim)
        return length, log_volume, gain

    def local_scale(self, posterior: Tensor, length: Tensor, *, smoothing: "LocalScale") -> Tensor:
        """β around each pixel, shape (1, 1, H, W): mean length per clean channel.

        Parameters
        ----------
        posterior, length : Tensor, shape (1, P, H, W)
        smoothing : LocalScale
        """
        # The mean of |r|ᴿ/β is the number of clean channels, whatever that number.
        total = (posterior * length).sum(dim=1, keepdim=True)
        count = torch.einsum("bphw,p->bhw", posterior, self.clean_count)[:, None]
        return smoothing.ratio(total, count)


@dataclass(frozen=True, kw_only=True)
class LocalScale:
    """How β is smoothed over the image.

    Attributes
    ----------
    window : int
        Pixels a side over which β is estimated, odd.
    global_weight : float
        Weight of the whole image's β in each window, in elements.
    smallest : float
        β is never smaller than this, 1.3 of 255 grey levels. It is estimated on elements that the
        network was fitted to, so it shrinks as the fit goes on; without a bound, rounding errors
        would count as corruption.
    """

    window: int = 5
    global_weight: float = 1.0
    smallest: float = 0.005

    def ratio(self, total: Tensor, count: Tensor) -> Tensor:
        """Smoothed total / count, both of shape (1, 1, H, W)."""
        mean = total.sum() / count.sum().clamp(min=1e-6)

        def around(values: Tensor) -> Tensor:
            size = self.window
            return F.avg_pool2d(values, size, stride=1, padding=size // 2) * size**2

        local = (around(total) + self.global_weight * mean) / (around(count) + self.global_weight)
        return local.clamp(min=self.smallest)


def in_blocks(values: Tensor) -> Tensor:
    """(1, C, H, W) as (C, H/BLOCK, BLOCK, W/BLOCK, BLOCK)."""
    return values[0].unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))


def conditionals(patterns: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What each pattern's clean channels say, given R.

    Parameters
    ----------
    patterns : Tensor, shape (P, C)
        1 for a corrupted channel.
    covariance : Tensor, shape (h, w, C, C)
        R of each block.

    Returns
    -------
    precision : Tensor, shape (P, h, w, C, C)
        R⁻¹ of the clean channels, 0 elsewhere: their length is √(rᵀ · precision · r).
    gain : Tensor, shape (P, h, w, C, C)
        Best linear guess of all residuals from the clean ones; a clean channel is its own guess.
    log_volume : Tensor, shape (P, h, w)
        log ∫ exp(−length) over the clean channels; 0 if there is none.
    """
    bad = patterns[:, None, None, :]
    good = 1 - bad
    both_good = good[..., :, None] * good[..., None, :]
    # The identity on the corrupted channels changes neither the inverse nor the determinant.
    block = both_good * covariance + torch.diag_embed(bad)
    precision = both_good * torch.linalg.inv_ex(block).inverse  # `inv` would wait for a GPU
    gain = bad[..., :, None] * (covariance @ precision) + torch.diag_embed(good)
    spheres = [_log_sphere(k) for k in range(patterns.shape[1] + 1)]
    counts = (1 - patterns).sum(dim=1).long()
    log_spheres = torch.tensor(spheres, dtype=torch.float32).to(covariance)[counts]
    log_volume = log_spheres[:, None, None] + 0.5 * torch.logdet(block)
    return precision, gain, log_volume


def _log_sphere(k: int) -> float:
    """Logarithm of 2π^(k/2) Γ(k)/Γ(k/2), the volume under exp(−|r|) in k dimensions; 0 in none."""
    if k == 0:
        return 0.0
    return math.log(2) + k / 2 * math.log(math.pi) + math.lgamma(k) - math.lgamma(k / 2)
