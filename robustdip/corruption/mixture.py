"""s from the evidence: the residual y − x, weighed against what the network still misses.

The published descent of u and v (`robustdip.corruption.base.Descent`) is used in closed form. For a
residual r held fixed, the gradient flow of ½(s − r)² from u = v = γ ends, once γ² ≪ |r|, at

    s(t) = r · b,      b = 1 / (1 + (|r| / γ²) · exp(−4ηt|r|)),

the logistic growth of `overparam.SparseCorruption` (u², in units of r, is multiplied by
exp(4ηt|r|) until it reaches 1). This b is also the posterior probability of corruption in the
mixture "with probability π the element was replaced by a value of density p_c, else its residual
is Laplace distributed with scale β":

    4ηt = 1/β        and        γ²/|r| = 2β · p_c(y) · π / (1 − π).

So a tiny start is a prior odds of corruption, and rate × time is the precision of the network. The
published method fixes both by hand. Here they are estimated from the data, by expectation
maximisation:

- β from the residuals around each pixel: what the network has not learned yet (edges, texture)
  needs more evidence before it counts as corruption;
- p_c from the values that corrupted elements have: two spikes for salt-and-pepper, the colour of a
  scratch, flat for random values;
- p_c is of one channel's values; where a whole colour has a spike (`robustdip.corruption.printed_text`), as under
  printed letters, or a value a whole line (`robustdip.corruption.missing_lines`), the odds are beyond any residual:
  those elements are corrupted, b = 1;
- λ, the share of the pixels bad in all channels that continue the damage around them, with a p_c of
  their own (`robustdip.corruption.scratches`);
- π for each of the 2^C ways in which the C channels of a pixel can be bad together, so that damage
  of single elements and of whole pixels are both seen for what they are.

The channels of a pixel are judged jointly: a network misses edges in all of them at once, impulse
noise does not. The residual of the clean channels is Laplace distributed in the Mahalanobis length
√(rᵀR⁻¹r), an elliptical density that is the one above for a single channel; R is the covariance of
the differences between neighbouring pixels of x in the neighbourhood, of mean variance 1, for what
a network misses looks like what it has. The same R carries the detail that a pixel's clean channels
show over to its corrupted ones.

s is grown anew every few steps on the residual of the averaged output, so it also shrinks back
where the network has come to explain the data. Theta descends on |(1 − b)(y − x)|, what s leaves;
before the onset, while most of what looks corrupted may be detail, on |y − x| less the mean of what
corruption costs (`Evidence._admit`).

The same mixture says how far an element may be off. If it was corrupted its value is the network's,
which errs by (C + 1)β² in the mean square, the variance of a channel under the density above; if
not it is y. The element is returned as x + (1 − b)r, so its expected square error is

    b · (C + 1)β²  +  b(1 − b) · r².

`KnownMask` is told b, 0 or 1, and estimates R and β alone.
"""

import math
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from robustdip.corruption.base import data_loss, penalty
from robustdip.corruption.missing_lines import lost_lines
from robustdip.corruption.printed_text import overlays
from robustdip.corruption.scratches import Streaks
from robustdip.recipes import Recipe

__all__ = ["BLOCK", "Evidence", "KnownMask"]

BLOCK = 4  # pixels a side that share one R
_AROUND = 12  # pixels a side over which their R is taken
_EVERYWHERE = 0.5  # weight of the whole image's R beside it, which alone speaks in flat regions


class Evidence:
    """s in closed form, its start and rate estimated from the data. See the module's text."""

    levels = 256  # bins of the histogram p_c
    window = 5  # pixels a side over which β is estimated
    prior = 1.0  # weight of the whole image's β in each window, in elements
    # β is no finer than this, 1.3 of 255 grey levels. It is estimated on elements that the network
    # was fitted to, so it shrinks as the fit goes on; without a bound, rounding becomes suspect.
    least_scale = 0.005
    # b is nearer to 0 or 1 than it should: neighbours that err alike count as so many witnesses.
    # benchmarks/images/quality.py records how often the error is within one and two deviations.
    overconfidence = 3.0
    # p_c from which a value gives its element away, in times that of an even spread: detail that
    # the network has not learned yet makes values up to four times as frequent.
    spike = 8.0
    evident = 0.1  # |r| from which the value of an element is evidence: a tenth of the range

    def __init__(self, recipe: Recipe, y: Tensor, inside: Tensor) -> None:
        self.y, self.inside, self.kind = y, inside, recipe.loss
        # In proportion to the side, for so fast are detail and noise learned; and of a short run
        # the onset is two fifths at the most, for s must have time to grow in any.
        side = max(64.0, math.sqrt(float(inside[0, 0].sum())))
        self.onset = min(round(recipe.onset * side), 2 * recipe.steps // 5)
        self.refresh = max(1, min(round(recipe.refresh * side), recipe.steps // 10))
        self.last = recipe.steps
        self.level = (y * (self.levels - 1)).round().long()
        # Row p tells which channels pattern p calls bad; all 2^C are at first equally likely.
        patterns = list(product((0.0, 1.0), repeat=y.shape[1]))
        self.patterns = torch.tensor(patterns, device=y.device)
        self.clean_count = (1 - self.patterns).sum(dim=1)
        self.odds = torch.full_like(self.clean_count, 1 / len(patterns))  # π
        self.density = torch.ones(self.levels, device=y.device)  # p_c, 1 is uniform
        self.streaks = Streaks(y)
        self.continued = torch.full((), 0.5, device=y.device)  # λ
        self.scale = torch.zeros((), device=y.device)  # β; zero: not estimated yet
        self.posterior = torch.zeros(1, len(patterns), *y.shape[2:], device=y.device)
        self.posterior[:, -1] = 1  # nothing is known to be clean: the network's output is the image
        blocks = (side // BLOCK for side in y.shape[2:])
        self.gain = torch.zeros(len(patterns), *blocks, y.shape[1], y.shape[1], device=y.device)
        self.share = torch.zeros_like(y)  # b
        known = lost_lines(y, inside)
        known[:, :3] |= overlays(y, inside)  # which has no say about a fourth channel
        self.open = inside * ~known
        calls_it_clean = torch.einsum("pc,bchw->bphw", 1 - self.patterns, known.to(y))
        self.impossible = calls_it_clean > 0
        self.flat = _flat(y) & ~known
        self.weight = self.open
        self.expected: Tensor | None = None  # mean cost of corruption for each level of x
        self.clean = 0.5  # not estimated yet

    def loss(self, x: Tensor) -> Tensor:
        loss = data_loss(x - self.y, self.weight, self.inside, self.kind)
        if self.expected is None:
            return loss
        place = x.float() * (self.levels - 1)
        low = place.detach().long().clamp(0, self.levels - 2)
        expected = torch.lerp(self.expected[low], self.expected[low + 1], place - low)
        return loss - (self.open * expected).sum() / self.inside.sum()

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        # Not the first time: the outputs are a mere blur then. But always at the end.
        if number != self.last and (number % self.refresh or number == self.refresh):
            return
        self.grow(average)
        # The slope of what clean elements say is in proportion to their share and the noise of all
        # is not: the fewer they are the sooner noise is learned, by the square.
        clean = float(self.weight.sum() / self.open.sum().clamp(min=1))
        if number < self.onset * min(1.0, 2 * clean) ** 2:
            self._admit(1 - clean)
        else:
            self.expected = None

    def _admit(self, share: float) -> None:
        """Let the elements that look corrupted count too, less what that share costs on average.

        The network has no detail yet, and detail once taken for corruption is not learned. But
        corrupted elements pull, and where they are the majority they decide. What they cost is
        known, without knowing which they are: for a weight w of the value alone,

            E w(y) ρ(x − y)  =  (1 − π) E[w(y) ρ(x − y) | clean]  +  π E[w(c) ρ(x − c)], c from p_c,

        so the last term is subtracted. What the clean ones say remains, however few they are, with
        the noise of the others; w spares that of values that give themselves away (salt, pepper).
        """
        # But for such spikes p_c is taken as even: it has the detail missed so far in it as well,
        # which would be subtracted too.
        spikes = self.density > self.spike
        even = self.density[~spikes].mean()  # 2 % are spread over all: there is always some
        density = torch.where(spikes, self.density, even)
        weight = self.spike / self.density.clamp(min=self.spike)
        alone = torch.where(self.flat, 1, weight[self.level])
        self.weight = torch.maximum(self.weight, self.open * alone)
        values = torch.linspace(0, 1, self.levels, device=self.y.device)
        cost = penalty(values[:, None] - values, self.kind) @ (density * weight)
        self.expected = share * cost / self.levels

    def restored(self, average: Tensor) -> Tensor:
        # Clean elements as they came; the others from the network and the pixel's clean channels.
        residual = _blocks(self.y - average)
        guess = torch.einsum("phwij,jhawb->pihawb", self.gain, residual)
        expected = torch.einsum("phawb,pihawb->ihawb", _blocks(self.posterior), guess)
        return average + expected.reshape(average.shape)

    def corruption(self, average: Tensor) -> Tensor:
        return self.y - self.restored(average)

    def corrupted(self) -> Tensor:
        return self.share > 0.5

    def deviation(self, average: Tensor) -> Tensor:
        network = (self.y.shape[1] + 1) * self.scale**2
        doubt = self.overconfidence * (1 - self.share) * (self.y - average) ** 2
        return (self.share * (network + doubt)).sqrt()

    @torch.no_grad()
    def grow(self, x: Tensor, *, sweeps: int = 5) -> None:
        """Re-estimate β, p_c and π on the residual of x, and grow s from its start."""
        residual = (self.y - x) * self.inside
        size = residual.abs()
        if self.scale.ndim == 0:
            # Before anything is known the better half counts as clean; EM forgets this quickly.
            real = size[self.inside > 0]
            self.scale = real[real <= real.median()].mean().clamp(min=self.least_scale)
            self.posterior[:, -1] = 0  # nor is anything known to be bad
        length, log_volume = self._lengths(x, residual)
        evident = (size > self.evident) & ~self.flat
        for _ in range(sweeps):
            # A frequent value is no proof of corruption where the network all but explains it
            # (white paper, a flat sky): there it counts for no more than any other.
            log_bad = torch.log(self.density)[self.level]
            log_bad = torch.where(evident, log_bad, log_bad.clamp(max=0))
            log_joint = torch.einsum("pc,bchw->bphw", self.patterns, log_bad)
            log_run = torch.log(self.continued * self.streaks.density(self.posterior[:, -1:]))
            log_run = torch.where(evident.any(dim=1, keepdim=True), log_run, log_run.clamp(max=0))
            log_alone = log_joint[:, -1:] + torch.log1p(-self.continued)
            log_joint[:, -1:] = torch.logaddexp(log_alone, log_run)
            log_joint = log_joint + torch.log(self.odds)[:, None, None] - log_volume
            log_joint = log_joint - self.clean_count[:, None, None] * torch.log(self.scale)
            log_joint = (log_joint - length / self.scale).masked_fill(self.impossible, -torch.inf)
            posterior = torch.softmax(log_joint, dim=1)
            self.posterior = posterior * self.inside[:, :1]
            all_bad = self.posterior[:, -1:]
            continued = (all_bad * torch.sigmoid(log_run - log_alone)).sum()
            self.continued = (continued / all_bad.sum().clamp(min=1e-6)).clamp(1e-6, 0.99)
            self._estimate(length, evident)
        self.weight = (1 - self.share) * self.inside
        self.clean = float(self.weight.sum() / self.inside.sum())

    def _lengths(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Length of each pattern's clean channels, and its log volume. The gains are set too."""
        covariance = _covariance(x, self.inside)
        # Not every release has these small inverses and determinants on MPS.
        place = "cpu" if x.device.type == "mps" else x.device
        precision, self.gain, log_volume = (
            values.to(x.device)
            for values in _clean_channels(self.patterns.to(place), covariance.to(place))
        )
        r = _blocks(residual)
        whitened = torch.einsum("phwij,jhawb->pihawb", precision, r)
        squared = torch.einsum("ihawb,pihawb->phawb", r, whitened)
        length = squared.clamp(min=1e-12).sqrt().reshape(self.posterior.shape)
        for dim in (1, 2):
            log_volume = log_volume.repeat_interleave(BLOCK, dim=dim)
        return length, log_volume

    def _estimate(self, length: Tensor, evident: Tensor) -> None:
        """The maximisation: π, b, p_c and β from the posterior of the patterns."""
        totals = self.posterior.sum(dim=(0, 2, 3))
        self.odds = totals / totals.sum() + 1e-6
        self.share = torch.einsum("pc,bphw->bchw", self.patterns, self.posterior)
        # 2 % of p_c is spread evenly: a value not seen yet is no proof of a clean element.
        counts = torch.zeros_like(self.density)
        counts.index_add_(0, self.level.flatten(), (self.share * evident).flatten())
        self.density = 0.98 * self.levels * counts / counts.sum().clamp(min=1e-6) + 0.02
        self.scale = self._local_scale(length)

    def _local_scale(self, length: Tensor) -> Tensor:
        # The mean of |r|ᴿ/β is the number of clean channels, whatever that number.
        total = (self.posterior * length).sum(dim=1, keepdim=True)
        count = torch.einsum("bphw,p->bhw", self.posterior, self.clean_count)[:, None]
        mean = total.sum() / count.sum().clamp(min=1e-6)

        def near(values: Tensor) -> Tensor:
            window, half = self.window, self.window // 2
            return F.avg_pool2d(values, window, stride=1, padding=half) * window**2

        local = (near(total) + self.prior * mean) / (near(count) + self.prior)
        return local.clamp(min=self.least_scale)


class KnownMask(Evidence):
    """s where it is known to be: clean elements stay exact, the values of others weigh nothing."""

    def __init__(self, recipe: Recipe, y: Tensor, inside: Tensor, bad: Tensor) -> None:
        super().__init__(recipe, y, inside)
        self.share = bad * inside
        self.weight = inside - self.share
        self.clean = float(self.weight.sum() / inside.sum())
        self.onset = 0  # nothing to wait for: detail cannot be taken for corruption
        # The patterns count in binary, the first channel first.
        places = 2 ** torch.arange(y.shape[1] - 1, -1, -1, device=y.device)
        pattern = (self.share.long() * places[:, None, None]).sum(dim=1)
        self.posterior = F.one_hot(pattern, len(self.patterns)).movedim(-1, 1).to(y)

    def restored(self, average: Tensor) -> Tensor:
        # Not average + (y − average), which rounds: clean elements are returned bit for bit.
        return torch.where(self.share > 0, super().restored(average), self.y)

    @torch.no_grad()
    def grow(self, x: Tensor, *, sweeps: int = 0) -> None:
        """Re-estimate R on x: what the clean channels of a pixel say about its corrupted ones."""
        length, _ = self._lengths(x, (self.y - x) * self.inside)
        self.scale = self._local_scale(length)


def _flat(y: Tensor) -> Tensor:
    """The elements of any square of 4x4 that have one exact value: paper, a clipped sky.

    There a frequent value is the picture's. Of salt and pepper over 70 % one square in ten million
    is so.
    """
    side = 4
    same = F.max_pool2d(y, side, stride=1) == -F.max_pool2d(-y, side, stride=1)
    return F.max_pool2d(F.pad(same.float(), (side - 1,) * 4), side, stride=1) > 0


def _blocks(values: Tensor) -> Tensor:
    """(1, C, H, W) as (C, H/BLOCK, BLOCK, W/BLOCK, BLOCK)."""
    return values[0].unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))


def _covariance(x: Tensor, inside: Tensor) -> Tensor:
    """R around each block of pixels, (H/BLOCK, W/BLOCK, C, C), with a mean variance of 1."""
    channels = x.shape[1]
    products = x.new_zeros(1, channels, channels, *x.shape[2:])
    for dim in (2, 3):
        both_inside = inside.narrow(dim, 1, x.shape[dim] - 1)  # the padding comes last
        step = x.diff(dim=dim) * both_inside
        products.narrow(dim + 1, 0, step.shape[dim]).add_(step[:, :, None] * step[:, None])
    products = products.flatten(1, 2)
    everywhere = products.sum(dim=(2, 3), keepdim=True) / inside[:, :1].sum()
    # Beyond the border it is zero as in the padding, and the whole image counts for more.
    near = F.avg_pool2d(products, _AROUND, stride=BLOCK, padding=(_AROUND - BLOCK) // 2)
    moments = (near + _EVERYWHERE * everywhere)[0].unflatten(0, (channels, channels))
    moments = moments.permute(2, 3, 0, 1)
    unit = torch.eye(channels, device=x.device)
    moments = moments + 1e-8 * unit  # a constant image has no differences
    variance = moments.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
    # Grey pictures have R = 1 everywhere, which cannot be inverted.
    return 0.95 * moments / variance + 0.05 * unit


def _clean_channels(patterns: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What each pattern's clean channels say, given R.

    Parameters
    ----------
    patterns : Tensor, shape (P, C)
        1 for a bad channel.
    covariance : Tensor, shape (h, w, C, C)

    Returns
    -------
    precision : Tensor, shape (P, h, w, C, C)
        R⁻¹ of the clean channels, zero elsewhere: their length is √(rᵀ · precision · r).
    gain : Tensor, shape (P, h, w, C, C)
        Best linear guess of all residuals from the clean ones: itself where clean.
    log_volume : Tensor, shape (P, h, w)
        log ∫ exp(−length) over the clean channels: √|R| · 2π^(k/2) Γ(k)/Γ(k/2) for k of them, and
        volume 1 if there is none.
    """
    bad = patterns[:, None, None, :]
    good = 1 - bad
    both_good = good[..., :, None] * good[..., None, :]
    # The identity on the bad channels: neither the inverse nor the determinant notices them.
    block = both_good * covariance + torch.diag_embed(bad)
    precision = both_good * torch.linalg.inv_ex(block).inverse  # inv would wait for a GPU
    gain = bad[..., :, None] * (covariance @ precision) + torch.diag_embed(good)
    spheres = torch.tensor([_log_sphere(k) for k in range(patterns.shape[1] + 1)])
    counts = (1 - patterns).sum(dim=1).long()
    log_volume = spheres.to(covariance)[counts][:, None, None] + 0.5 * torch.logdet(block)
    return precision, gain, log_volume


def _log_sphere(k: int) -> float:
    """log of 2π^(k/2) Γ(k)/Γ(k/2), the volume under exp(−|r|) in k dimensions; 0 in none."""
    if k == 0:
        return 0.0
    return math.log(2) + k / 2 * math.log(math.pi) + math.lgamma(k) - math.lgamma(k / 2)
