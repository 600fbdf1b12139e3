"""Detail that a network has not learned: a residual as large as damage, but the picture goes on.

A star, a highlight or a letter is missing from the network's output at first, and what counts as
corrupted is not learned later. Its value tells the two apart. Damage does not know the picture: its
value would fit its place no better if it were exchanged with that of another corrupted element.
Detail is like some of the pixels around it, and lies where they vary.

Let g be the range of the eight neighbours of an element without the smallest and the largest, and d
the distance of its value from the second nearest of theirs, both in a few classes. Neighbours that
look corrupted themselves are left out: the pixels of a scratch would confirm each other. Elements
with large residuals are a mixture of

- corruption, with p(g, d) as corrupted values have it at places chosen at random, and
- detail, with p(d | g) as unsuspicious elements have it, and p(g) of its own.

The fraction ε of detail and its p(g) are estimated by expectation maximisation, so that the share
of an element that is detail is

    δ = ε p(g | detail) p(d | g, clean) / (ε p(g | detail) p(d | g, clean) + (1 − ε) p(g, d | bad)).

With dense noise ε is nearly 0, and in a picture without damage nearly 1. All is detail unless the
mixture is far more likely than detail alone, because a few elements cannot tell the two apart. If
ε is below one half, nothing is detail: damage that lies over the picture hides what is around it.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Detail", "DetailModel"]

_NONE = -50.0
"""Log odds of what is no detail at all."""

_STRIDES = (7919, 7927)
"""Primes: steps of one visit all values, unless the number of values is a multiple of it."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """Settings of the model of detail.

    Attributes
    ----------
    distances, spreads : tuple of float
        Upper ends of the classes of d and of g but the last, of 255 grey levels.
    places : int
        Largest number of places at which corrupted values are tried in each channel.
    iterations : int
        Iterations of expectation maximisation at each estimate.
    proof, proof_each : float
        All is detail unless the log likelihood of the mixture exceeds that of detail alone by this
        much, and by this much for each suspicious pixel.
    few : float
        Fraction of the pixels from which on more suspicious pixels need no more proof.
    majority : float
        Value of ε below which nothing is detail.
    least : float
        Smallest value of ε and of 1 − ε.
    """

    distances: tuple[float, ...] = (0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5)
    spreads: tuple[float, ...] = (1.5, 4.5, 9.5, 19.5, 39.5, 79.5)
    places: int = 20_000
    iterations: int = 20
    proof: float = 10.0
    proof_each: float = 0.5
    few: float = 0.01
    majority: float = 0.5
    least: float = 1e-4

    def start(self, y: Tensor, valid: Tensor) -> "DetailModel":
        """Make the model for one image.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `robustdip.corruption.base.Problem`.

        Returns
        -------
        DetailModel
        """
        return DetailModel(self, y, valid)


class DetailModel:
    """δ of the elements of one image.

    Parameters
    ----------
    settings : Detail
    y, valid : Tensor, float32, shape (1, C, H, W)

    Attributes
    ----------
    log_odds : Tensor, shape (1, C, H, W)
        log δ / (1 − δ); before the first update nothing is detail.
    fraction : float
        ε.
    proof : float
        Logarithm of the likelihood of the mixture relative to that of detail alone.
    """

    def __init__(self, settings: Detail, y: Tensor, valid: Tensor) -> None:
        self.settings, self.y, self.valid = settings, y, valid
        self.distances, self.spreads = (
            torch.tensor(ends, dtype=y.dtype, device=y.device) / 255
            for ends in (settings.distances, settings.spreads)
        )
        # One class more, for elements with fewer than two neighbours that can testify.
        self.classes = (len(settings.spreads) + 1, len(settings.distances) + 2)
        self.log_odds = torch.full_like(y, _NONE)
        self.fraction, self.proof = 0.5, 0.0
        self.spread_of_detail = y.new_full((self.classes[0], 1), 1 / self.classes[0])

    def update(self, suspicious: Tensor, hidden: Tensor) -> None:
        """Estimate ε and δ.

        Parameters
        ----------
        suspicious : Tensor, shape (1, C, H, W)
            Probability that an element is corrupted, or is detail, by its residual.
        hidden : Tensor, bool, shape (1, C, H, W)
            Elements that probably do not show the picture, so that their values are no witnesses.
        """
        settings = self.settings
        shown = self.y.masked_fill(hidden | (self.valid == 0), torch.inf)
        around, count, spread = _witnesses(shown)
        place = self._place(self.y, around, count, spread)
        seen = self._table(place, suspicious)
        clean = self._table(place, self.valid * ~hidden) + 0.5
        log_clean = torch.log(clean / clean.sum(dim=1, keepdim=True))
        bad = self._exchanged(suspicious, around, count, spread) + 0.5
        log_bad = torch.log(bad / bad.sum())
        for _ in range(settings.iterations):
            prior = math.log(self.fraction / (1 - self.fraction))
            log_odds = prior + torch.log(self.spread_of_detail) + log_clean - log_bad
            detail = seen * torch.sigmoid(log_odds)
            fraction = float((detail.sum() + 1e-3) / (seen.sum() + 2e-3))
            self.fraction = min(max(fraction, settings.least), 1 - settings.least)
            # A tenth of an element in every class, because one that is empty could never fill.
            of_spread = detail.sum(dim=1, keepdim=True) + 0.1
            self.spread_of_detail = of_spread / of_spread.sum()
        of_spread = seen.sum(dim=1, keepdim=True) + 0.1
        log_all = torch.log(of_spread / of_spread.sum()) + log_clean  # nothing is corrupted
        log_detail = torch.log(self.spread_of_detail) + log_clean + math.log(self.fraction)
        log_mixture = torch.logaddexp(log_detail, log_bad + math.log(1 - self.fraction))
        # The channels of a pixel are one witness.
        witnesses = suspicious / suspicious.sum(dim=1, keepdim=True).clamp(min=1)
        seen = self._table(place, witnesses)
        self.proof = float((seen * (log_mixture - log_all)).sum())
        count = min(float(seen.sum()), settings.few * float(self.valid[:, 0].sum()))
        if self.proof < settings.proof + settings.proof_each * count:
            log_odds = torch.full_like(log_odds, -_NONE)
        elif self.fraction < settings.majority:
            log_odds = torch.full_like(log_odds, _NONE)
        self.log_odds = log_odds.flatten()[place]

    def _place(self, values: Tensor, around: Tensor, count: Tensor, spread: Tensor) -> Tensor:
        """The class of values among sorted neighbours, of which `count` are witnesses."""
        distances = (values[..., None] - around).abs()
        second = distances.topk(2, dim=-1, largest=False).values[..., 1].contiguous()
        distance = torch.bucketize(second, self.distances)
        distance = torch.where(count < 2, self.classes[1] - 1, distance)
        return torch.bucketize(spread, self.spreads) * self.classes[1] + distance

    def _table(self, place: Tensor, weight: Tensor) -> Tensor:
        """Sum of the weights in each class, shape (spreads, distances)."""
        table = self.y.new_zeros(self.classes).flatten()
        return table.index_add_(0, place.flatten(), weight.flatten()).view(self.classes)

    def _exchanged(
        self, suspicious: Tensor, around: Tensor, count: Tensor, spread: Tensor
    ) -> Tensor:
        """The table of suspicious values at places chosen at random."""
        table = self.y.new_zeros(self.classes)
        for channel in range(self.y.shape[1]):
            values = self.y[0, channel][suspicious[0, channel] > 0.5]
            places = self.valid[0, channel].flatten().nonzero()[:, 0]
            if not len(values):
                continue
            # Evenly spread places, and values in an order that has nothing to do with theirs.
            number = torch.arange(min(len(places), self.settings.places), device=places.device)
            places = places[number * len(places) // len(number)]
            stride = next(each for each in _STRIDES if len(values) % each)
            drawn = values[(number * stride) % len(values)]
            near = (each[0, channel].flatten(0, 1)[places] for each in (around, count, spread))
            place = self._place(drawn, *near)
            table += len(values) / len(number) * self._table(place, torch.ones_like(drawn))
        return table


def _witnesses(shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sorted neighbours (1, C, H, W, 8) of each element, how many are finite, and g.

    Beyond the border they are infinite. g is the range of the finite ones without the smallest and
    the largest, and 0 if there are fewer than four.
    """
    height, width = shown.shape[2:]
    padded = F.pad(shown, (1, 1, 1, 1), value=torch.inf)
    moves = [(down, across) for down in range(3) for across in range(3) if (down, across) != (1, 1)]
    around = torch.stack(
        [padded[..., down : down + height, across : across + width] for down, across in moves],
        dim=-1,
    )
    around = around.sort(dim=-1).values
    count = around.isfinite().sum(dim=-1)
    high = around.gather(-1, (count - 2).clamp(min=0)[..., None])[..., 0]
    return around, count, torch.where(count < 4, 0, high - around[..., 1])
