"""The default model of s: the posterior of a mixture, estimated from the image itself.

The published descent of u and v (`robustdip.corruption.descent.Descent`) is used in closed form.
For a fixed residual r, the gradient flow of ½(s − r)² from u = v = γ with γ² ≪ |r| is

    s(t) = r · b,      b = 1 / (1 + (|r| / γ²) · exp(−4ηt|r|)),

the logistic growth of `overparam.SparseCorruption` (u², in units of r, is multiplied by
exp(4ηt|r|) until it reaches 1). This b is also the posterior probability of corruption in a
mixture: with probability π the element was replaced by a value of density p_c; otherwise its
residual has a Laplace distribution of scale β. The two agree for

    4ηt = 1/β        and        γ²/|r| = 2β · p_c(y) · π / (1 − π).

So the tiny start gives the prior odds of corruption, and rate × time is the precision of the
network. The published method sets both by hand. Here they are estimated by expectation
maximisation:

- β, from the residuals around each pixel. Where the network has not learned edges and texture yet,
  an element needs a larger residual to count as corrupted.
- p_c, from the values of corrupted elements. It has two spikes for salt-and-pepper noise and one at
  the colour of a scratch, and is flat for random values. Between the spikes it is one number, if
  the histogram is nearly even there.
- λ, the fraction of the pixels corrupted in all channels that continue the damage around them;
  these have a density of their own (`robustdip.corruption.scratches`).
- δ, the share of what looks corrupted that is detail (`robustdip.corruption.detail`); it counts as
  clean.
- π, for each of the 2^C patterns in which the C channels of a pixel can be corrupted together, so
  that damage of single elements and of whole pixels are both recognised.

p_c is a density of the values of one channel. If a whole colour is very frequent, as in printed
text, or a whole line has one value, this is stronger evidence than any residual. Detectors find
these elements before the first step, and b = 1 there. So it is where a caller is certain of the
corruption; where a caller is certain that an element is clean, b = 0.

Shapes are weaker evidence: strokes of approximately one colour, lines, blobs. Detectors of shapes
give log odds ℓ for some pixels: there the pattern of all channels has the prior probability e^ℓ
times that of no channel, instead of its π. The residual decides as elsewhere, so an element that
the network predicts from its surroundings is clean in spite of ℓ. Until the first
estimate the network descends with the weight min(1, e^−ℓ), so that it does not learn the damage. Of
shapes whose odds are calibrated, as those of blobs and thin lines are, it has this factor in all
steps, because in a long run it would learn them. Those of strokes are not calibrated, and the
network would lack the detail among them.

The channels of a pixel have a joint density, with the covariance R of
`robustdip.corruption.channels`.

s is re-estimated every few steps from the residual of the averaged output, so it also shrinks where
the network explains the data by now. The network descends on |(1 − b)(y − x)|, which s does not
explain. Before the onset most of what looks corrupted may be detail, so the network descends on
|y − x| minus the mean cost of corruption (`MixtureModel.expect_cost`).

The image and its uncertainty follow from the same posterior
(`robustdip.corruption.mixture_estimate`), p_c from the histogram of corrupted values
(`robustdip.corruption.value_density`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from robustdip.corruption.base import (
    CorruptionSettings,
    Detector,
    Problem,
    ShapeDetector,
    data_loss,
    odds_of_shapes,
    steps_per_side,
)
from robustdip.corruption.channels import (
    BLOCK,
    ChannelCovariance,
    ChannelModel,
    Covariance,
    LocalScale,
    Noise,
)
from robustdip.corruption.compression_noise import CompressionNoise, NoiseModel
from robustdip.corruption.detail import Detail, DetailModel
from robustdip.corruption.missing_lines import MissingLines
from robustdip.corruption.mixture_estimate import MixtureEstimate
from robustdip.corruption.pages import Pages
from robustdip.corruption.printed_colours import PrintedColours
from robustdip.corruption.printed_text import PrintedText
from robustdip.corruption.scratches import Scratches
from robustdip.corruption.value_density import density_of_values, mean_cost

__all__ = ["Mixture", "MixtureModel"]

_EXCLUDED = -1e4  # log density of a value that the caller excludes


@dataclass(frozen=True, kw_only=True)
class Mixture(CorruptionSettings):
    """Settings of the mixture model.

    Attributes
    ----------
    onset : float
        Number of steps, per pixel of the image's side, in which the network learns detail before s
        counts. It is not a fraction of the run, because in a longer run the network would begin to
        learn the noise. The onset is earlier if most elements are found corrupted.
    refresh : float
        Number of steps between two estimates of s, per pixel of the side.
    detectors : tuple of Detector
        They find elements that are certainly corrupted.
    shapes : tuple of ShapeDetector
        They find what is probably corrupted, by its shape.
    scratches : Scratches or None
        The density along scratches; None leaves it out.
    bias : float
        Log odds that are added to those of corruption, but where a shape was found. The priors of
        `shapes` are to have it too.
    only : {"bright", "dark"} or None
        Corrupted elements are only brighter, or only darker, than the image.
    pages : Pages
        What tells a page from a photograph.
    detail : Detail or None
        What tells detail with a large residual from corruption; None leaves it out.
    compression : CompressionNoise or None
        What tells whether the damage was compressed; None leaves it out.
    covariance : Covariance
        Covariance of the channels of a pixel.
    scale : LocalScale
        Smoothing of β.
    levels : int
        Number of bins of the histogram p_c.
    sweeps : int
        Iterations of expectation maximisation at each estimate.
    spike : float
        Value of p_c, relative to a uniform density, above which a value alone shows that an element
        is corrupted. Detail that the network has not learned yet makes values up to four times as
        frequent.
    uneven : float
        Largest deviation of the histogram between the spikes, in sixteenths of the range and
        relative to its mean, that counts as even. It was up to 0.65 with random values and with
        salt and pepper, and 1.3 in a picture without damage (skimage's coffee).
    evident : float
        |r|, a tenth of the range, above which the frequency of an element's value is evidence.
    overconfidence : float
        Factor of b(1 − b)r² in the uncertainty. b is closer to 0 or 1 than it should be, because
        errors of neighbours are correlated and are treated as independent.
        benchmarks/images/quality.py records how often the error is within one and two standard
        deviations.
    """

    takes_certain: ClassVar[bool] = True
    keeps_clean: ClassVar[bool] = True

    onset: float = 0.8  # 205 steps at 256x256
    refresh: float = 0.1
    detectors: tuple[Detector, ...] = (MissingLines(), PrintedText())
    shapes: tuple[ShapeDetector, ...] = (PrintedColours(),)
    scratches: Scratches | None = Scratches()
    bias: float = 0.0
    only: Literal["bright", "dark"] | None = None
    pages: Pages = Pages()
    detail: Detail | None = Detail()
    compression: CompressionNoise | None = CompressionNoise()
    covariance: Covariance = ChannelCovariance()
    scale: LocalScale = LocalScale()
    levels: int = 256
    sweeps: int = 5
    spike: float = 8.0
    uneven: float = 0.8
    evident: float = 0.1
    overconfidence: float = 3.0

    def start(self, problem: Problem) -> "MixtureModel":
        """See `robustdip.corruption.base.CorruptionSettings.start`."""
        return MixtureModel(self, problem)


def _hiding(odds: Tensor) -> Tensor:
    """The weight min(1, e^−ℓ) of a pixel of which a shape says that it is damage."""
    return torch.exp(-odds.clamp(min=0))


class MixtureModel:
    """The mixture for one image; the module's docstring has the mathematics.

    Parameters
    ----------
    settings : Mixture
    problem : Problem

    Attributes
    ----------
    settings : Mixture
    problem : Problem
        y and valid: Tensor (1, C, H, W).
    onset, refresh : int
        Largest number of steps before s counts, and number of steps between two estimates.
    level : Tensor, int64, shape (1, C, H, W)
        Bin of each element's value in the histogram p_c.
    channels : ChannelModel
        The P = 2^C patterns of corrupted channels, and R.
    prior : Tensor, shape (P,)
        π of each pattern.
    value_density : Tensor, shape (levels,)
        p_c, relative to a uniform density.
    scratch_density : ScratchDensity or None
        None if the settings leave it out.
    detail : DetailModel or None
        None if the settings leave it out.
    continued_fraction : Tensor, shape ()
        λ.
    scale : Tensor, shape () and 0 before the first estimate, then (1, 1, H, W)
        β.
    posterior : Tensor, shape (1, P, H, W)
        Probability of each pattern at each pixel, 0 in the padding.
    suspicious : Tensor, shape (1, P, H, W)
        The same by values and residuals alone, so that detail counts as corrupted.
    alone : Tensor, shape (1, P, H, W)
        The part of `suspicious` that may be detail; 0 before the first estimate.
    gain : Tensor, shape (P, H/BLOCK, W/BLOCK, C, C)
        Linear prediction of all residuals of a pixel from its clean ones.
    corrupted_probability : Tensor, shape (1, C, H, W)
        b.
    shape_odds, hidden_odds : Tensor, shape (1, 1, H, W), or None
        ℓ: log odds by shape of the pattern of all channels, of all shapes and of those that are
        hidden from the network; None if there are none.
    undecided : Tensor, shape (1, C, H, W)
        1 for valid elements of which nothing is certain, and which no detector has found; smaller
        where their shape is evidence of corruption.
    impossible : Tensor, bool, shape (1, P, H, W)
        Patterns in which an element that a detector has found or that is certainly corrupted would
        be clean, or one that is certainly clean would be corrupted.
    judged : Tensor, shape (1, 1, H, W), or None
        1 for pixels that π is estimated from: those of which nothing is certain and whose shape is
        no evidence, because the others are not chosen at random. None for all.
    page : Tensor, bool, shape (1, C, H, W)
        Where exact values and lines are the picture (`robustdip.corruption.pages`). Elements that
        are found are not in it.
    flat_area : Tensor, bool, shape (1, C, H, W)
        Elements whose value is no evidence: the page, and squares of one exact value.
    weight : Tensor, shape (1, C, H, W)
        Weight of each element in the network's loss.
    expected_cost : Tensor, shape (levels,), or None
        Before the onset: mean cost of corruption for each value of x.
    clean_fraction : float
        Fraction of the elements that count as clean at present.
    """

    def __init__(self, settings: Mixture, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        y, valid = problem.y, problem.valid
        # At most 40 % of the run, so that s has time to grow in a short run.
        self.onset = steps_per_side(settings.onset, valid, at_most=2 * problem.steps // 5)
        refresh = steps_per_side(settings.refresh, valid, at_most=problem.steps // 10)
        self.refresh = max(1, refresh)
        self.level = (y * (settings.levels - 1)).round().long()
        self.channels = ChannelModel(y.shape[1], settings.covariance, device=y.device)
        patterns = self.channels.patterns
        self.prior = torch.full_like(self.channels.clean_count, 1 / len(patterns))
        self.value_density = y.new_ones(settings.levels)
        self.scratch_density = None if settings.scratches is None else settings.scratches.start(y)
        self.detail = None if settings.detail is None else settings.detail.start(y, valid)
        self.compression: NoiseModel | None = None
        if settings.compression is not None:
            self.compression = settings.compression.start(y, valid)
        self.continued_fraction = y.new_full((), 0.5)
        self.scale = y.new_zeros(())
        self.least_scale = settings.scale.smallest
        self.posterior = y.new_zeros(1, len(patterns), *y.shape[2:])
        self.posterior[:, -1] = 1  # before the first estimate the image is the network's output
        self.suspicious = torch.zeros_like(self.posterior)
        self.alone = self.suspicious
        self.gain = self.channels.no_gain(y)
        self.corrupted_probability = torch.zeros_like(y)
        found = torch.zeros_like(y, dtype=torch.bool)
        if problem.found is not None:
            found |= problem.found
        else:
            for detector in settings.detectors:
                found |= detector.find(y, valid)
        # A file that has kept exact colours has no approximate ones.
        found_exactly = bool(found.any())
        certain = torch.zeros_like(found)
        if problem.corrupted is not None:
            found |= problem.corrupted
            certain |= problem.corrupted
        if problem.clean is not None:
            found &= ~problem.clean
            certain |= problem.clean
        self.shape_odds, self.hidden_odds = (None, None) if found_exactly else self._shape_odds()
        self.weight = valid * ~found
        if self.shape_odds is not None:
            self.weight = self.weight * _hiding(self.shape_odds)
        self.undecided = self.weight if problem.clean is None else self.weight * ~problem.clean
        calls_it_clean = torch.einsum("pc,bchw->bphw", 1 - patterns, found.to(y))
        self.impossible = calls_it_clean > 0
        if problem.clean is not None:
            calls_it_bad = torch.einsum("pc,bchw->bphw", patterns, problem.clean.to(y))
            self.impossible |= calls_it_bad > 0
        chosen = certain.any(dim=1, keepdim=True)
        if self.shape_odds is not None:
            chosen |= self.shape_odds != 0
        self.judged = (~chosen).to(y) if chosen.any() else None
        page = settings.pages.find(y, valid, found=found)
        self.page = page.elements
        self.flat_area = (page.flat & ~found) | self.page
        self.expected_cost: Tensor | None = None
        self.clean_fraction = 0.5  # not estimated yet

    def _shape_odds(self) -> tuple[Tensor | None, Tensor | None]:
        """ℓ: the largest odds of all shapes, and of those that are hidden from the network.

        0 where elements are certainly clean.
        """
        problem = self.problem
        odds = problem.shape_odds
        if problem.found is None:
            odds = odds_of_shapes(self.settings.shapes, problem.y, problem.valid)
        if odds is None:
            return None, None
        if problem.clean is not None:
            odds = odds.masked_fill(problem.clean.any(dim=1, keepdim=True), 0)
        return odds[:, :1], odds[:, 1:]

    def loss(self, x: Tensor) -> Tensor:
        """Compute the mean loss, minus the expected cost of corruption before the onset.

        Parameters
        ----------
        x : Tensor, shape (1, C, H, W)
            The network's output.

        Returns
        -------
        Tensor, shape ()
        """
        problem = self.problem
        loss = data_loss(x - problem.y, self.weight, problem.valid, problem.penalty)
        if self.expected_cost is None:
            return loss
        # Interpolated linearly between the levels.
        place = x.float() * (self.settings.levels - 1)
        low = place.detach().long().clamp(0, self.settings.levels - 2)
        cost = torch.lerp(self.expected_cost[low], self.expected_cost[low + 1], place - low)
        return loss - (self.undecided * cost).sum() / problem.valid.sum()

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        """Re-estimate s every `refresh` steps and at the end.

        Parameters
        ----------
        x, average, number
            See `robustdip.corruption.base.CorruptionModel.step`.
        """
        # Not at the first multiple, when the outputs are still a blur.
        due = number % self.refresh == 0 and number != self.refresh
        if not due and number != self.problem.steps:
            return
        self.reestimate(average)
        # The gradient of the clean elements is proportional to their fraction; the noise of the
        # gradient of all elements is not. So with few clean elements the network learns noise
        # earlier, in proportion to the square of the fraction.
        clean = (1 - self.corrupted_probability) * self.undecided
        clean = float(clean.sum() / self.undecided.sum().clamp(min=1))
        if number < self.onset * min(1.0, 2 * clean) ** 2:
            self.expect_cost(1 - clean)
        else:
            self.expected_cost = None

    def expect_cost(self, corrupted_fraction: float) -> None:
        """Include elements that look corrupted in the loss, and subtract their expected cost.

        Before the onset the network lacks detail, and detail that is taken for corruption is not
        learned. But corrupted elements pull the network towards their values, and dominate where
        they are the majority. Their expected cost is known even if their places are not: for a
        weight w that depends on the value alone,

            E w(y) ρ(x − y)  =  (1 − π) E[w(y) ρ(x − y) | clean]  +  π E[w(c) ρ(x − c)], c from p_c,

        so the last term is subtracted. The loss of the clean elements remains, with the noise of
        the others. w is small for values that are themselves evidence of corruption, such as salt
        and pepper.

        Parameters
        ----------
        corrupted_fraction : float
            π.
        """
        spike, density = self.settings.spike, self.value_density
        weight = spike / density.clamp(min=spike)
        alone = torch.where(self.flat_area, 1, weight[self.level])
        self.weight = torch.maximum(self.weight, self.undecided * alone)
        cost = mean_cost(density, weight, penalty=self.problem.penalty)
        self.expected_cost = corrupted_fraction * cost

    def estimate(self, average: Tensor) -> MixtureEstimate:
        """See `robustdip.corruption.base.CorruptionModel.estimate`."""
        return MixtureEstimate(
            y=self.problem.y,
            average=average,
            posterior=self.posterior,
            gain=self.gain,
            corrupted_probability=self.corrupted_probability,
            scale=self.scale,
            overconfidence=self.settings.overconfidence,
        )

    @torch.no_grad()
    def reestimate(self, x: Tensor, *, sweeps: int | None = None) -> None:
        """Estimate β, p_c, λ, π and b from the residual of x by expectation maximisation.

        Parameters
        ----------
        x : Tensor, float32, shape (1, C, H, W)
            The averaged output of the network.
        sweeps : int, optional
            Number of iterations, instead of that of the settings.
        """
        valid = self.problem.valid
        residual = (self.problem.y - x) * valid
        size = residual.abs()
        if self.scale.ndim == 0:
            # At first the half with the smaller residuals counts as clean. The result of EM hardly
            # depends on this start.
            real = size[valid > 0]
            smallest = self.settings.scale.smallest
            self.scale = real[real <= real.median()].mean().clamp(min=smallest)
            self.posterior = torch.zeros_like(self.posterior)  # no pixel counts as corrupted
        noise = self._noise(residual)
        length, log_volume, gain = self.channels.lengths(x, residual, valid, noise=noise)
        # A frequent value is no evidence of corruption if the network nearly explains it, or in a
        # flat area such as white paper. Its density is then limited to the mean.
        evident = (size > self.settings.evident) & ~self.flat_area
        only = self.settings.only
        wrong_side = None if only is None else residual < 0 if only == "bright" else residual > 0
        for _ in range(self.settings.sweeps if sweeps is None else sweeps):
            self._expect(length, log_volume, evident, wrong_side)
            self._maximise(length, evident)
        if self.detail is not None:
            suspicious = torch.einsum("pc,bphw->bchw", self.channels.patterns, self.suspicious)
            alone = torch.einsum("pc,bphw->bchw", self.channels.patterns, self.alone)
            # On a page, letters and lines belong to the picture and testify for each other.
            self.detail.update(alone, (suspicious > 0.5) & ~self.page)
        self.gain = gain if noise is None else self._exact_elsewhere(gain)
        self.weight = (1 - self.corrupted_probability) * valid
        self.clean_fraction = float(self.weight.sum() / valid.sum())
        if self.hidden_odds is not None:
            self.weight = self.weight * _hiding(self.hidden_odds)

    def _noise(self, residual: Tensor) -> Noise | None:
        """What a compression has added to all elements; None if the damage was not compressed."""
        # What is certainly clean is exact.
        if self.compression is None or self.problem.clean is not None:
            return None
        covariance = self.compression.covariance(residual, self.corrupted_probability > 0.5)
        if covariance is None:
            self.least_scale = self.settings.scale.smallest
            return None
        variance = covariance.diagonal().mean()
        # (C + 1)β² is the variance of a channel.
        count = len(covariance) + 1
        self.least_scale = max(self.settings.scale.smallest, math.sqrt(float(variance) / count))
        total = count * self.scale.expand_as(self.posterior[:, :1]) ** 2
        share = (variance / F.avg_pool2d(total, BLOCK)[0, 0]).clamp(max=1)
        return Noise(share[..., None, None], covariance / variance)

    def _exact_elsewhere(self, gain: Tensor) -> Tensor:
        """The gain that leaves clean elements as they are where no corrupted one is near."""
        bad = (self.corrupted_probability > 0.5).any(dim=1, keepdim=True).float()
        # A block of a compression, 8x8, is within the neighbours of its BLOCKs.
        near = F.max_pool2d(F.max_pool2d(bad, BLOCK), 3, stride=1, padding=1)[0, 0]
        good = (1 - self.channels.patterns)[:, None, None, :]
        exact = (1 - near[..., None]) * good
        return (1 - exact[..., None]) * gain + torch.diag_embed(exact)

    def _expect(
        self, length: Tensor, log_volume: Tensor, evident: Tensor, wrong_side: Tensor | None
    ) -> None:
        """Expectation: compute the posterior of the patterns, and λ from the same odds."""
        patterns, clean_count = self.channels.patterns, self.channels.clean_count
        # Log density of the corrupted channels' values under each pattern, (1, P, H, W).
        log_bad = torch.log(self.value_density)[self.level]
        log_bad = torch.where(evident, log_bad, log_bad.clamp(max=0))
        log_joint = torch.einsum("pc,bchw->bphw", patterns, log_bad)
        # The colour of a pixel corrupted in all channels comes from p_c or continues the damage.
        log_alone = log_joint[:, -1:] + torch.log1p(-self.continued_fraction)
        run = torch.zeros_like(log_alone)
        if self.scratch_density is not None:
            run = self.scratch_density.density(self.suspicious[:, -1:])
            run = run * ~self.page.all(dim=1, keepdim=True)
        log_run = torch.log(self.continued_fraction * run)
        log_run = torch.where(evident.any(dim=1, keepdim=True), log_run, log_run.clamp(max=0))
        log_joint[:, -1:] = torch.logaddexp(log_alone, log_run)
        if self.shape_odds is not None:
            # There the odds of the shape take the place of those of π, which is that of pixels
            # without a shape, and nearly 0 if nothing else is wrong. The detectors have the bias
            # in their priors.
            instead = self.shape_odds + torch.log(self.prior[0]) - torch.log(self.prior[-1])
            instead = instead - self.settings.bias
            log_joint[:, -1:] += torch.where(self.shape_odds != 0, instead, 0)
        if wrong_side is not None:
            log_joint += _EXCLUDED * torch.einsum("pc,bchw->bphw", patterns, wrong_side.to(log_bad))
        if self.settings.bias:
            log_joint[:, 1:] += self.settings.bias
        # π, and the Laplace density exp(−length/β) / (β^k V) of the k clean channels.
        log_joint = log_joint + torch.log(self.prior)[:, None, None] - log_volume
        log_joint = log_joint - clean_count[:, None, None] * torch.log(self.scale)
        log_joint = (log_joint - length / self.scale).masked_fill(self.impossible, -torch.inf)
        self.posterior = torch.softmax(log_joint, dim=1) * self.problem.valid[:, :1]
        self.suspicious = self.posterior
        all_bad = self.posterior[:, -1:]
        continues = torch.sigmoid(log_run - log_alone)
        fraction = (all_bad * continues).sum() / all_bad.sum().clamp(min=1e-6)
        self.continued_fraction = fraction.clamp(1e-6, 0.99)
        if self.detail is not None:
            # What a detector has found, what has the shape of damage and what continues along a
            # line is no detail.
            self.alone = self.suspicious * ~self.impossible[:, :1]
            if self.shape_odds is not None:
                self.alone = self.alone * (self.shape_odds <= 0)
            self.alone[:, -1:] *= 1 - continues
            self.posterior = self._without_detail(self.detail)

    def _without_detail(self, detail: DetailModel) -> Tensor:
        """The posterior of the patterns, in which suspicious detail counts as clean."""
        patterns = self.channels.patterns
        # The channels of a pixel are one witness, so their log odds are averaged.
        mean = patterns / patterns.sum(dim=1, keepdim=True).clamp(min=1)
        odds = torch.einsum("pc,bchw->bphw", mean, detail.log_odds)
        share = self.alone * torch.sigmoid(odds)
        share[:, :1] = -share[:, 1:].sum(dim=1, keepdim=True)
        return self.suspicious - share

    def _maximise(self, length: Tensor, evident: Tensor) -> None:
        """Maximisation: compute π, b, p_c and β from the posterior of the patterns."""
        patterns = self.channels.patterns
        judged = self.posterior if self.judged is None else self.posterior * self.judged
        totals = judged.sum(dim=(0, 2, 3))
        self.prior = totals / totals.sum().clamp(min=1e-6) + 1e-6
        self.corrupted_probability = torch.einsum("pc,bphw->bchw", patterns, self.posterior)
        counts = torch.zeros_like(self.value_density)
        evidence = self.corrupted_probability * evident
        counts.index_add_(0, self.level.flatten(), evidence.flatten())
        self.value_density = self.density_of(counts)
        self.scale = self.channels.local_scale(
            self.posterior, length, smoothing=self.settings.scale
        ).clamp(min=self.least_scale)

    def density_of(self, counts: Tensor) -> Tensor:
        """Compute p_c from a histogram of corrupted values; see `density_of_values`."""
        return density_of_values(counts, spike=self.settings.spike, uneven=self.settings.uneven)
