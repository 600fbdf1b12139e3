"""Correlation between the channels of a pixel, and how it predicts corrupted channels.

A network misses an edge in all channels at once, so the residuals of a pixel's clean channels are
correlated. Their covariance R, up to scale, is estimated from the image itself, because what the
network still misses around a pixel resembles the differences between neighbouring pixels there.

The residual r of k clean channels has an elliptical Laplace density,

    p(r) = exp(−√(rᵀ R⁻¹ r) / β) / (βᵏ V),      V = √|R| · 2π^(k/2) Γ(k) / Γ(k/2),

which is the ordinary Laplace density exp(−|r|/β) / 2β for one channel with R = 1. R also carries
detail from the clean channels to the corrupted ones: the best linear prediction of all residuals is
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
    "Noise",
    "conditionals",
    "in_blocks",
]

BLOCK = 4
"""Side of the square of pixels that share one R; the padded image is a whole number of blocks."""


class Covariance(Protocol):
    """Estimator of R; see `ChannelCovariance`."""

    def around(self, x: Tensor, valid: Tensor) -> Tensor:
        """Estimate R around each block of pixels; see `ChannelCovariance.around`."""
        ...


@dataclass(frozen=True, kw_only=True)
class ChannelCovariance:
    """Local covariance of the differences between neighbouring pixels.

    Attributes
    ----------
    window : int
        Side in pixels of the window over which R is estimated: an odd number of blocks.
    global_weight : float
        Weight of the whole image relative to the window. In flat regions, which have no differences
        of their own, the whole image decides.
    ridge : float
        Share of the identity in R. Without it R has no inverse in grey pictures stored as RGB,
        where all its entries are equal.
    """

    window: int = 12
    global_weight: float = 0.5
    ridge: float = 0.05

    def around(self, x: Tensor, valid: Tensor) -> Tensor:
        """Estimate R around each block of pixels, with a mean variance of 1.

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
            both_valid = valid.narrow(dim, 1, x.shape[dim] - 1)  # padding is at the end
            step = x.diff(dim=dim) * both_valid
            products.narrow(dim + 1, 0, step.shape[dim]).add_(step[:, :, None] * step[:, None])
        products = products.flatten(1, 2)
        everywhere = products.sum(dim=(2, 3), keepdim=True) / valid[:, :1].sum()
        # Beyond the border the products are 0, so the whole image has more weight near it.
        padding = (self.window - BLOCK) // 2
        near = F.avg_pool2d(products, self.window, stride=BLOCK, padding=padding)
        moments = (near + self.global_weight * everywhere)[0].unflatten(0, (channels, channels))
        moments = moments.permute(2, 3, 0, 1)
        unit = torch.eye(channels, device=x.device, dtype=x.dtype)
        moments = moments + 1e-8 * unit  # a constant image has no differences at all
        variance = moments.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
        return (1 - self.ridge) * moments / variance + self.ridge * unit


class ChannelModel:
    """The 2^C patterns in which the channels of a pixel can be corrupted, and their residuals.

    Parameters
    ----------
    channels : int
        C.
    covariance : Covariance
        Estimator of R.
    device : torch.device
        Device of the tensors below.

    Attributes
    ----------
    patterns : Tensor, shape (P, C) with P = 2^C
        Row p is 1 for the channels that are corrupted in pattern p. In row 0 no channel is
        corrupted, in the last row all are. Rows are numbered in binary; the first channel is the
        highest digit.
    clean_count : Tensor, shape (P,)
        Number of clean channels in each pattern.
    """

    def __init__(self, channels: int, covariance: Covariance, *, device: torch.device) -> None:
        rows = list(product((0.0, 1.0), repeat=channels))
        self.patterns = torch.tensor(rows, device=device, dtype=torch.float32)
        self.clean_count = (1 - self.patterns).sum(dim=1)
        self.covariance = covariance

    def no_gain(self, y: Tensor) -> Tensor:
        """Make a gain of 0, by which clean channels predict nothing.

        Parameters
        ----------
        y : Tensor, shape (1, C, H, W)

        Returns
        -------
        Tensor, shape (P, H/BLOCK, W/BLOCK, C, C)
        """
        channels = y.shape[1]
        blocks = (side // BLOCK for side in y.shape[2:])
        return y.new_zeros(len(self.patterns), *blocks, channels, channels)

    def lengths(
        self, x: Tensor, residual: Tensor, valid: Tensor, *, noise: "Noise | None" = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the Mahalanobis length of the clean residual under each pattern.

        Parameters
        ----------
        x, residual, valid : Tensor, float32, shape (1, C, H, W)
            The network's image, y − x, and 1 for real elements and 0 for padding.
        noise : Noise, optional
            What was added to all elements, if it is known.

        Returns
        -------
        length : Tensor, shape (1, P, H, W)
            √(rᵀ R⁻¹ r) over the clean channels.
        log_volume : Tensor, shape (P, H, W)
            log V of the density in the module's docstring.
        gain : Tensor, shape (P, H/BLOCK, W/BLOCK, C, C)
            See `conditionals`.
        """
        covariance = self.covariance.around(x, valid)
        signal = None
        if noise is not None:
            signal = (1 - noise.share) * covariance
            covariance = signal + noise.share * noise.unit
        # Not every release of torch has these inverses and determinants on MPS.
        place = "cpu" if x.device.type == "mps" else x.device
        precision, gain, log_volume = (
            values.to(x.device)
            for values in conditionals(
                self.patterns.to(place),
                covariance.to(place),
                signal=None if signal is None else signal.to(place),
            )
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
        """Estimate β around each pixel: the mean length per clean channel.

        Parameters
        ----------
        posterior, length : Tensor, shape (1, P, H, W)
            Probability of each pattern, and length of its clean residual.
        smoothing : LocalScale

        Returns
        -------
        Tensor, shape (1, 1, H, W)
        """
        # For k clean channels the expectation of √(rᵀ R⁻¹ r) / β is k.
        total = (posterior * length).sum(dim=1, keepdim=True)
        count = torch.einsum("bphw,p->bhw", posterior, self.clean_count)[:, None]
        return smoothing.ratio(total, count)


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of all elements, such as the error of a compression.

    Attributes
    ----------
    share : Tensor, shape (H/BLOCK, W/BLOCK, 1, 1)
        Share of the residuals' variance that is noise.
    unit : Tensor, shape (C, C)
        Covariance of the channels' noise, with a mean variance of 1.
    """

    share: Tensor
    unit: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalScale:
    """Smoothing of β over the image.

    Attributes
    ----------
    window : int
        Side in pixels, odd, of the window over which β is estimated.
    global_weight : float
        Weight of the whole image's β in each window, as a number of elements.
    smallest : float
        Smallest value of β, 1.3 of 255 grey levels. β is estimated on elements that the network was
        fitted to, so it shrinks during the fit; without a bound, rounding errors would count as
        corruption.
    """

    window: int = 5
    global_weight: float = 1.0
    smallest: float = 0.005

    def ratio(self, total: Tensor, count: Tensor) -> Tensor:
        """Compute total / count, both summed over a window around each pixel.

        Parameters
        ----------
        total, count : Tensor, shape (1, 1, H, W)

        Returns
        -------
        Tensor, shape (1, 1, H, W)
            At least `smallest`.
        """
        mean = total.sum() / count.sum().clamp(min=1e-6)

        def around(values: Tensor) -> Tensor:
            size = self.window
            return F.avg_pool2d(values, size, stride=1, padding=size // 2) * size**2

        local = (around(total) + self.global_weight * mean) / (around(count) + self.global_weight)
        return local.clamp(min=self.smallest)


def in_blocks(values: Tensor) -> Tensor:
    """View an image as blocks of pixels.

    Parameters
    ----------
    values : Tensor, shape (1, C, H, W)

    Returns
    -------
    Tensor, shape (C, H/BLOCK, BLOCK, W/BLOCK, BLOCK)
    """
    return values[0].unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))


def conditionals(
    patterns: Tensor, covariance: Tensor, *, signal: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Density of the clean channels under each pattern, and their prediction of all channels.

    Parameters
    ----------
    patterns : Tensor, shape (P, C)
        1 for a corrupted channel.
    covariance : Tensor, shape (h, w, C, C)
        R of each block.
    signal : Tensor, shape (h, w, C, C), optional
        The part of R that is not noise, which is to be predicted; all of it by default.

    Returns
    -------
    precision : Tensor, shape (P, h, w, C, C)
        R⁻¹ of the clean channels, 0 elsewhere: their length is √(rᵀ · precision · r).
    gain : Tensor, shape (P, h, w, C, C)
        Best linear prediction of all residuals from the clean ones; it returns clean channels
        unchanged. With `signal`, prediction of the part without noise, in clean channels too.
    log_volume : Tensor, shape (P, h, w)
        log ∫ exp(−length) over the clean channels; 0 if no channel is clean.
    """
    bad = patterns[:, None, None, :]
    good = 1 - bad
    both_good = good[..., :, None] * good[..., None, :]
    # The identity on the corrupted channels changes neither the inverse nor the determinant.
    block = both_good * covariance + torch.diag_embed(bad)
    precision = both_good * torch.linalg.inv_ex(block).inverse  # `inv` waits for a GPU
    if signal is None:
        gain = bad[..., :, None] * (covariance @ precision) + torch.diag_embed(good)
    else:
        gain = signal @ precision
    spheres = [_log_sphere(k) for k in range(patterns.shape[1] + 1)]
    counts = (1 - patterns).sum(dim=1).long()
    log_spheres = torch.tensor(spheres, dtype=torch.float32).to(covariance)[counts]
    log_volume = log_spheres[:, None, None] + 0.5 * torch.logdet(block)
    return precision, gain, log_volume


def _log_sphere(k: int) -> float:
    """log(2π^(k/2) Γ(k)/Γ(k/2)), the log integral of exp(−|r|) over k dimensions; 0 for k = 0."""
    if k == 0:
        return 0.0
    return math.log(2) + k / 2 * math.log(math.pi) + math.lgamma(k) - math.lgamma(k / 2)
