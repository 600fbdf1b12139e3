"""Text printed over a photograph: one exact colour, many times, in thin strokes.

All pixels within a stroke agree, so a network learns letters as it learns edges, and their residual
shows nothing. Their colour does. In a photograph an exact colour repeats a few times, and where it
repeats more often, similar colours are frequent too; a printed colour repeats hundreds of times and
has no similar ones. In the terms of `robustdip.corruption.mixture`: the density of corrupted values
has a spike at this colour which no residual could outweigh.

Drawings and scanned pages consist of such colours, ink and paper alike, and must stay as they are.
So a colour counts as printed only if it forms thin strokes and what surrounds them is photograph.
Smooth edges are blends of the printed colour and the picture beside it, and count as printed too.
Pure black and white are left to the residuals: highlights and shadows are clipped to them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PrintedText"]


@dataclass(frozen=True, kw_only=True)
class PrintedText:
    """Detector of text in solid colours.

    Attributes
    ----------
    min_repeats : int
        Pixels that must have one exact colour: a few letters of 8 pixels height.
    contrast : float
        The colour must be this many times as frequent as all similar colours together.
    similar : int
        Largest difference of a channel between similar colours, of 65535: two of 255 levels.
    max_colours : int
        The most frequent colours are looked at, each with a pass over the image.
    window : int
        Pixels a side, odd; strokes thinner than half of it are thin.
    max_filled : float
        Largest share of the window that a thin stroke covers.
    solid : float
        Next to a pixel of a stroke its colour is this many times as frequent as in the window.
        Where noise has left some pixels of a flat area, it is as frequent near as far.
    min_blend : float
        Smallest share of the printed colour in a blended pixel; less is hardly visible.
    max_off_line : float
        Largest colour distance of a blended pixel from the line between stroke and picture, which
        varies beneath.
    min_blended_border : float
        Share of the strokes' border that must be blended for the edges to count as smooth. For
        words on four photographs, ten seeds each, it was 0.43 or more with smooth edges and 0.14 or
        less with hard ones.
    max_plain : float
        Largest share of the rest of the window that may have other repeated colours.
    """

    min_repeats: int = 24
    contrast: float = 3.0
    similar: int = 2 * 257
    max_colours: int = 256
    window: int = 9
    max_filled: float = 0.75
    solid: float = 1.3
    min_blend: float = 0.15
    max_off_line: float = 0.05
    min_blended_border: float = 0.3
    max_plain: float = 0.25

    @torch.no_grad()
    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """The pixels of repeated, thin, isolated colours.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)
            In [0, 1]. With fewer than 3 channels nothing is found: 256 grey levels repeat in any
            picture. A fourth channel is left alone.
        valid : Tensor, shape (1, C, H, W)
            1 for real elements, 0 for padding.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        found = torch.zeros_like(y, dtype=torch.bool)
        if y.shape[1] < 3:
            return found
        palette = self._palette(y[0, :3], valid[0, 0] > 0)
        found[:, :3] = self._strokes(y[0, :3], palette)
        return found

    def _palette(self, y: Tensor, real: Tensor) -> "_Palette":
        """The colours that repeat and have no similar ones, and where they are."""
        pixels = (y[:, real].T * 65535).round().long()
        exact = (pixels[:, 0] << 32) + (pixels[:, 1] << 16) + pixels[:, 2]
        _, colour, counts = exact.unique(return_inverse=True, return_counts=True)
        clipped = ((pixels == 0) | (pixels == 65535)).all(dim=1)
        candidates = colour[(counts[colour] >= self.min_repeats) & ~clipped].unique()
        if len(candidates) > self.max_colours:
            frequent = counts[candidates].argsort(descending=True)
            candidates = candidates[frequent[: self.max_colours]]
        values = torch.zeros(len(counts), 3, dtype=pixels.dtype, device=y.device)
        values[colour] = pixels
        if len(candidates):
            similar = torch.stack([self._similar(pixels, value) for value in values[candidates]])
            own = counts[candidates]
            candidates = candidates[own > self.contrast * (similar - own)]
        index = torch.full(real.shape, -1, dtype=torch.long, device=y.device)
        index[real] = torch.where(torch.isin(colour, candidates), colour, -1)
        return _Palette(index, real, candidates.tolist(), values)

    def _similar(self, pixels: Tensor, colour: Tensor) -> Tensor:
        """How many of the pixels (N, 3) are similar to a colour (3,), itself included."""
        return ((pixels - colour).abs() <= self.similar).all(dim=1).sum()

    def _strokes(self, y: Tensor, palette: "_Palette") -> Tensor:
        """The pixels, bool (H, W), of the colours that are printed, smooth edges included."""
        index, real = palette.index, palette.real
        found, border, smooth = (torch.zeros_like(real) for _ in range(3))
        pixels_far, pixels_near = (_around(real, s).clamp(min=1) for s in (self.window, 3))

        def in_strokes(colour: int) -> bool:
            own = index == colour
            far = (_around(own, self.window) / pixels_far)[own]
            near = (_around(own, 3) / pixels_near)[own]
            thin = (far < self.max_filled).float().mean() > 0.9
            return bool(thin and near.mean() > self.solid * far.mean())

        def on_a_photograph(colour: int, drawn: Tensor) -> bool:
            own = index == colour
            count = _around(own, self.window)
            others = (drawn - count) / (pixels_far - count).clamp(min=1)
            return bool(others[own].mean() < self.max_plain)

        waiting = {colour for colour in palette.colours if in_strokes(colour)}
        while waiting:
            # Letters may cross letters, so colours found in an earlier round no longer make the
            # surroundings of the others look like a drawing.
            drawn = _around((index >= 0) & ~found, self.window)
            printed = {colour for colour in waiting if on_a_photograph(colour, drawn)}
            if not printed:
                break
            waiting -= printed
            for colour in printed:
                own = index == colour
                found |= own
                beside, blended = self._border(y, own, real, palette.values[colour] / 65535)
                border |= beside
                smooth |= blended
        # Where edges are hard, few pixels of the picture lie between by chance.
        if smooth.sum() > self.min_blended_border * border.sum():
            found |= smooth
        return found

    def _border(
        self, y: Tensor, stroke: Tensor, real: Tensor, colour: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The pixels beside strokes, and those that a smooth edge blends with the picture.

        A blended pixel lies between a stroke on one side and the picture on the other, and its
        colour lies between theirs: y = a · colour + (1 − a) · picture.

        Parameters
        ----------
        y : Tensor, shape (3, H, W)
        stroke, real : Tensor, bool, shape (H, W)
        colour : Tensor, shape (3,)

        Returns
        -------
        border, blended : Tensor, bool, shape (H, W)
        """
        height, width = stroke.shape
        reach = 2  # pixels to the picture: a slanting edge is blended over two
        padded = F.pad(y, (reach,) * 4)
        inside = F.pad(stroke, (reach,) * 4)
        picture = F.pad(real & ~stroke, (reach,) * 4)

        def seen(image: Tensor, down: int, across: int) -> Tensor:
            rows = slice(reach + down, reach + down + height)
            return image[..., rows, reach + across : reach + across + width]

        border, blended = torch.zeros_like(stroke), torch.zeros_like(stroke)
        directions = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
        for down, across in directions:
            between = real & ~stroke & seen(inside, -down, -across)
            between &= seen(picture, reach * down, reach * across)
            far = seen(padded, reach * down, reach * across)
            way = colour.to(y)[:, None, None] - far
            share = ((y - far) * way).sum(dim=0) / (way**2).sum(dim=0).clamp(min=1e-6)
            off_line = (y - far - share * way).abs().amax(dim=0)
            border |= between
            blended |= (
                between & (share > self.min_blend) & (share < 1) & (off_line < self.max_off_line)
            )
        return border, blended


@dataclass(frozen=True, eq=False)
class _Palette:
    """Colours that repeat without similar ones.

    Attributes
    ----------
    index : Tensor, int64, shape (H, W)
        Number of each pixel's colour, −1 where it is none of `colours`.
    real : Tensor, bool, shape (H, W)
    colours : list of int
    values : Tensor, int64, shape (number, 3)
        Of 65535, for each number.
    """

    index: Tensor
    real: Tensor
    colours: list[int]
    values: Tensor


def _around(mask: Tensor, size: int) -> Tensor:
    """Number of pixels in the window around each that are in the mask (H, W), its centre apart."""
    ones = mask.float()
    mean = F.avg_pool2d(ones[None, None], size, stride=1, padding=size // 2)[0, 0]
    return (mean * size**2).round() - ones
