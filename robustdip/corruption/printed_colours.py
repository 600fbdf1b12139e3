"""Printing that a file has only approximately: compressed, resized, with soft edges.

`robustdip.corruption.printed_text` finds printing by one exact colour. After a compression or a
change of size no colour is exact any more, but three things remain. A printed colour is a mode of
the density of colours: many pixels within the spread of the compression, few just beyond. These
pixels form strokes, thin and with a sharp edge all around. And the strokes are letters that stand
beside each other on one line. Photographs have each of these, but hardly all for one colour.

A colour's *score* is the log odds that it was printed, given these facts: a logistic regression
whose coefficients were fitted to eight photographs, clean ones and printed ones, after compression
and change of size. Fitted to seven of them it ranks the colours of the eighth as well: the area
under the curve is 0.977, and 0.927 without the lines of letters. One more fact decides about a
whole picture. Whoever prints on a picture prints more than a few pixels, so scores count only if
together they make it likely that the picture was printed on at all.

The result is not a decision. It is added, as log odds, to the prior of the pattern in which all
channels of a pixel are corrupted (`robustdip.corruption.mixture`). Beside strokes, where edges are
blended and blocks of a compression spread the colour, the odds are smaller. If the network predicts
such pixels from what is around them, the mixture takes them for clean in spite of these odds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustdip.corruption.base import ShapeDetector, real_size
from robustdip.corruption.compression import LUMA_CHROMA, compression_spread
from robustdip.corruption.pieces import Pieces, distance_to

__all__ = ["PrintedColours"]

_BIN = 2.0  # side of a bin of the density of colours, in units of the spread
_FEWEST = 16  # pixels of a colour: a letter or two
_SHARPEST = 4.6  # minus the logarithm of 1 %
# Of a piece of a letter, in units of the other side. In four photographs with words, compressed or
# reduced, half of the area of wider pieces was damage, and 2 % of that of higher ones.
_WIDEST, _HIGHEST = 1.8, 20
_MOST_LETTERS = 3000  # more pieces of one colour are a texture


@dataclass(frozen=True, kw_only=True)
class PrintedColours(ShapeDetector):
    """Detector of printing in colours that repeat approximately.

    Attributes
    ----------
    odds : float
        Log odds of a pixel in a printed stroke.
    prior : float
        Log odds that a colour of thin strokes is printed, in a picture of which nothing is known.
    if_printed : float
        Added to them in a picture that is known to be printed on.
    least_evidence, least_exact_evidence : float
        The picture is printed on if the log odds of its printed colours sum to this; in a file that
        was not compressed, where scratches of one colour look like letters, to the second number.
    only, max_width
        See `robustdip.corruption.base.ShapeDetector`.
    spreads, more_spreads : tuple of float
        Standard deviations of luma in a printed colour; which one shows a colour best depends on
        the compression, the width of the strokes and the colour. The first ones are tried on every
        picture, the others where it is printed on.
    chroma : float
        Standard deviation of the two colour differences, which JPEG stores at half resolution,
        relative to that of luma.
    reach : float
        Radius of a mode, in standard deviations.
    contrast : float
        Smallest difference to that median of a pixel that stands out; 20 of 255 grey levels.
    max_colours : int
        Number of the most frequent colours that are examined; each needs a pass over the image.
    least_varied : float
        Smallest share of the strokes' surroundings that vary; those of paper hardly do.
    """

    odds: float = 8.0
    prior: float = -0.5
    if_printed: float = 1.0
    least_evidence: float = 2.5
    least_exact_evidence: float = 5.0
    only: Literal["bright", "dark"] | None = None
    max_width: float = 10.0
    spreads: tuple[float, ...] = (0.012, 0.019)
    more_spreads: tuple[float, ...] = (0.008, 0.015, 0.026)
    chroma: float = 1.7
    reach: float = 2.5
    contrast: float = 0.08
    max_colours: int = 80
    least_varied: float = 0.15

    def shape_odds(self, y: Tensor, valid: Tensor) -> Tensor | None:
        """Log odds that a pixel is printed, beyond those of the residual.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `robustdip.corruption.base.Problem`. With fewer than 3 channels nothing is found;
            a fourth one is ignored.

        Returns
        -------
        Tensor, float32, shape (1, 1, H, W), or None
            None if nothing is found.
        """
        if y.shape[1] < 3:
            return None
        height, width = real_size(valid)
        # MPS has no float64.
        pixels = y[0, :3, :height, :width].permute(1, 2, 0).cpu().double().numpy()
        strokes = self.strokes(pixels @ LUMA_CHROMA.T)
        if strokes is None:
            return None
        odds = y.new_zeros(1, 1, *y.shape[2:])
        odds[0, 0, :height, :width] = torch.from_numpy(_with_edges(strokes, self.odds)).to(odds)
        return odds

    def strokes(self, image: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Find the pixels of printed strokes.

        Parameters
        ----------
        image : ndarray, shape (H, W, 3)
            Luma and colour differences.

        Returns
        -------
        ndarray of bool, shape (H, W), or None
            None if the picture is not printed on.
        """
        # 15 pixels by default: the median is that of the picture if strokes fill less than half.
        window = 2 * max(1, int(0.75 * self.max_width)) + 1
        beneath = np.stack([ndimage.median_filter(image[..., i], window) for i in range(3)], axis=2)
        found = [self.colours(image, image - beneath, spread) for spread in self.spreads]
        evidence = max(
            sum(max(0.0, each.score + self.prior) for each in colours) for colours in found
        )
        exact = compression_spread(image[..., 0]) is None
        if evidence < (self.least_exact_evidence if exact else self.least_evidence):
            return None
        found += [self.colours(image, image - beneath, spread) for spread in self.more_spreads]
        prior = self.prior + self.if_printed
        printed = [each.strokes for colours in found for each in colours if each.score + prior > 0]
        if not printed:
            return None
        strokes = np.logical_or.reduce(printed)
        return strokes if _varied_around(image[..., 0], strokes) > self.least_varied else None

    def colours(
        self, image: NDArray[np.float64], above: NDArray[np.float64], spread: float
    ) -> "list[_Colour]":
        """The colours that form thin strokes, likely printed or not.

        Parameters
        ----------
        image, above : ndarray, shape (H, W, 3)
            Luma and colour differences, and what they are above those of the picture beneath.
        spread : float
            Standard deviation of luma in a printed colour.

        Returns
        -------
        list of _Colour
        """
        stands_out = np.linalg.norm(above, axis=2) > self.contrast
        if self.only is not None:
            stands_out &= above[..., 0] > 0 if self.only == "bright" else above[..., 0] < 0
        z = image / (spread * np.array([1, self.chroma, self.chroma]))
        found = [self._colour(z, stands_out, centre) for centre in self._modes(z[stands_out])]
        return [colour for colour in found if colour is not None]

    def _modes(self, z: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The modes of the density of colours (N, 3), the most frequent first."""
        if len(z) < _FEWEST:
            return []
        low = z.min(axis=0) - _BIN
        bins = np.ceil((z.max(axis=0) + _BIN - low) / _BIN).astype(int)
        counts, _ = np.histogramdd(z, bins, list(zip(low, low + _BIN * bins, strict=True)))
        density = ndimage.gaussian_filter(counts, 0.7, mode="constant")
        peaks = (density == ndimage.maximum_filter(density, 3)) & (density > 0.3)
        # Many have the same density, and other sorts order these differently on other processors.
        order = np.argsort(-density[peaks], kind="stable")
        places = np.argwhere(peaks)[order[: self.max_colours]]
        modes: list[NDArray[np.float64]] = []
        for place in places:
            centre = low + _BIN * (place + 0.5)
            for _ in range(4):  # mean shift
                near = z[np.linalg.norm(z - centre, axis=1) < self.reach]
                if len(near) < _FEWEST:
                    break
                centre = near.mean(axis=0)
            else:
                if all(np.linalg.norm(centre - other) > 1.5 for other in modes):
                    modes.append(centre)
        return modes

    def _colour(
        self, z: NDArray[np.float64], stands_out: NDArray[np.bool_], centre: NDArray[np.float64]
    ) -> "_Colour | None":
        """The strokes of a colour, and its score; None if it is certainly not printed."""
        distance = np.linalg.norm(z - centre, axis=2)
        near, wider = distance < self.reach, distance < 2 * self.reach
        own, own_out = near.sum() + 2, (near & stands_out).sum() + 2
        facts = (
            np.log((wider.sum() + 4 - own) / own),
            np.log(((wider & stands_out).sum() + 4 - own_out) / own_out),
            np.log(own_out / own),
        )
        if _score(*facts, _SHARPEST, 1.0) < -3:
            return None
        pieces = Pieces(distance < 1.3 * self.reach)
        # Two pixels away are those beyond the blended ones of an edge.
        sharp = pieces.mean_beside(distance > 2.5 * self.reach, nearest=1.9, farthest=3)
        good = (sharp > 0.7) & (pieces.widths() <= self.max_width) & (pieces.area >= 6)
        if self.only is not None:
            good &= pieces.mean(stands_out) > 0.5
        total = pieces.area[good].sum()
        if total < _FEWEST:
            return None
        blunt = 1 - (sharp * pieces.area)[good].sum() / total
        sharpness = min(_SHARPEST, -np.log(max(blunt, 1e-3)))
        boxes = pieces.boxes()
        words = (_beside_letters(boxes[good]) * pieces.area[good]).sum() / total
        return _Colour(pieces.those(good & _of_letters(boxes)), _score(*facts, sharpness, words))


@dataclass(frozen=True, eq=False)
class _Colour:
    """A colour that forms strokes.

    Attributes
    ----------
    strokes : ndarray of bool, shape (H, W)
    score : float
        Log odds that it is printed, of as many printed colours as others.
    """

    strokes: NDArray[np.bool_]
    score: float


def _score(similar: float, similar_out: float, out: float, sharp: float, in_words: float) -> float:
    """Log odds that a colour is printed.

    Parameters
    ----------
    similar, similar_out : float
        Logarithm of the number of pixels of similar colours relative to its own: of all pixels, and
        of those that stand out.
    out : float
        Logarithm of the share of its pixels that stand out.
    sharp : float
        Minus the logarithm of the share of its strokes' surroundings that are not sharp.
    in_words : float
        Share of its strokes' pixels that are in letters beside letters.

    Returns
    -------
    float
    """
    return 1.03 * similar - 0.86 * similar_out + 3.08 * out + 0.7 * sharp + 3.34 * in_words - 3.58


def _of_letters(boxes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which boxes, (N, 4) as in `Pieces.boxes`, have the shape of a letter or of a part of one.

    What is much wider than high, as a wing or a shadow, or a line from top to bottom, is a part of
    the picture more often than of a word, also where it has a printed colour.
    """
    height, width = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    return (width <= _WIDEST * height) & (height <= _HIGHEST * width)


def _beside_letters(boxes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which boxes of strokes, (N, 4) as in `Pieces.boxes`, have another on the same line of words.

    Letters of a word have similar heights, and stand on one line or hang from one.
    """
    if len(boxes) > _MOST_LETTERS:
        return np.zeros(len(boxes), bool)
    top, bottom, left, right = (boxes[:, side] for side in range(4))
    height = bottom - top
    lower, higher = (pick(height[:, None], height) for pick in (np.minimum, np.maximum))
    overlap = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    gap = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
    beside = (lower >= 4) & (higher <= 2.2 * lower) & (overlap >= 0.6 * lower)
    beside &= gap <= 0.8 * higher
    slack = np.maximum(1, 0.12 * higher)
    aligned = np.abs(top[:, None] - top) <= slack
    aligned |= np.abs(bottom[:, None] - bottom) <= slack
    np.fill_diagonal(beside, False)
    return np.asarray((beside & aligned).any(axis=1))


def _varied_around(luma: NDArray[np.float64], strokes: NDArray[np.bool_]) -> float:
    """The share of the strokes' surroundings, 7x7 pixels, whose luma varies by more than 0.04."""
    away = distance_to(strokes)
    outside = (away >= 3).astype(float)
    share = ndimage.uniform_filter(outside, 7)
    mean, square = (
        ndimage.uniform_filter(outside * luma**power, 7) / np.maximum(share, 1e-9)
        for power in (1, 2)
    )
    around = (away >= 4) & (away < 8) & (share > 0.2)
    return float((square - mean**2 > 0.04**2)[around].mean()) if around.any() else 0.0


def _with_edges(strokes: NDArray[np.bool_], odds: float) -> NDArray[np.float64]:
    """Log odds of each pixel: smaller beside strokes, 0 from three pixels on."""
    away = distance_to(strokes)
    return odds * np.select([away == 0, away < 1.1, away < 1.5, away < 3], [1, 0.6, 0.4, 0.2])
