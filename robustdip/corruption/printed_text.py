"""Text printed over a photograph: many pixels of one exact colour, in thin strokes.

All pixels within a stroke have one colour, so a network learns letters like edges, and the residual
does not show them. Their colour does. In a photograph an exact colour repeats a few times, and if
it repeats more often, similar colours are frequent too. A printed colour repeats hundreds of times,
and similar colours are rare. In the terms of `robustdip.corruption.mixture`, the density of
corrupted values has a spike at this colour that outweighs any residual.

Drawings and scanned pages consist of such colours, for ink and for paper, and must not change. So a
colour counts as printed only if it forms thin strokes that a photograph surrounds, and if the
picture without these strokes is not drawn (`robustdip.corruption.drawings`). Smooth edges are
blends of the printed colour and the picture beside it, and count as printed too. Pure black and
white are left to the residuals, because highlights and shadows are clipped to them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from robustdip.corruption.base import Detector
from robustdip.corruption.drawings import is_drawn

__all__ = ["PrintedText"]


@dataclass(frozen=True, kw_only=True)
class PrintedText(Detector):
    """Detector of text in solid colours.

    Attributes
    ----------
    min_repeats : int
        Smallest number of pixels of one exact colour: a few letters of 8 pixels height.
    contrast : float
        The colour must be more than this many times as frequent as all similar colours together.
    similar : int
        Largest difference of a channel between similar colours, in units of 1/65535; two of 255
        levels.
    max_colours : int
        Number of the most frequent colours that are examined; each needs a pass over the image.
    window : int
        Side in pixels, odd, of the window around each pixel. Strokes narrower than about half of it
        count as thin.
    max_filled : float
        Share of the window that the colour of a thin stroke covers at most.
    solid : float
        Next to pixels of a stroke its colour is this many times as frequent as in the window. In a
        flat area of which noise has left only some pixels, it is as frequent near as far.
    min_blend : float
        Smallest share of the printed colour in a blended pixel; a smaller one is hardly visible.
    max_off_line : float
        Largest colour distance of a blended pixel from the line between the colours of the stroke
        and the picture. It allows for variation of the picture beneath.
    min_blended_border : float
        The edges count as smooth if more than this share of the strokes' border is blended. For
        words on four photographs, ten seeds each, the share was 0.43 or more with smooth edges and
        0.14 or less with hard ones.
    max_plain : float
        Largest mean share of the rest of the window that other repeated colours may have.
    ruled_length, max_ruled : int, float
        A colour of which more than this share lies in straight rows and columns of this many pixels
        draws frames, not letters.
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
    ruled_length: int = 24
    max_ruled: float = 0.8

    @torch.no_grad()
    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """Find the pixels of repeated colours in thin strokes on a photograph.

        Parameters
        ----------
        y : Tensor, float32, shape (1, C, H, W)
            In [0, 1]. With fewer than 3 channels nothing is found, because 256 grey levels repeat
            in any picture. A fourth channel is ignored.
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
        numbers, colour, counts = exact.unique(return_inverse=True, return_counts=True)
        clipped = ((pixels == 0) | (pixels == 65535)).all(dim=1)
        candidates = colour[(counts[colour] >= self.min_repeats) & ~clipped].unique()
        if len(candidates) > self.max_colours:
            frequent = counts[candidates].argsort(descending=True, stable=True)
            candidates = candidates[frequent[: self.max_colours]]
        values = torch.stack([numbers >> 32, (numbers >> 16) & 65535, numbers & 65535], dim=1)
        if len(candidates):
            similar = self._similar(values, counts, candidates)
            own = counts[candidates]
            candidates = candidates[own > self.contrast * (similar - own)]
        index = torch.full(real.shape, -1, dtype=torch.long, device=y.device)
        index[real] = torch.where(torch.isin(colour, candidates), colour, -1)
        return _Palette(index, real, candidates.tolist(), values)

    def _similar(self, values: Tensor, counts: Tensor, candidates: Tensor) -> Tensor:
        """Number of the pixels that are similar or equal to each of some colours.

        Parameters
        ----------
        values, counts : Tensor, int64, shapes (numbers, 3) and (numbers,)
            All colours, in the order of their first channel, and how many pixels have each.
        candidates : Tensor, int64, shape (N,)
            Numbers of the colours to examine.

        Returns
        -------
        Tensor, int64, shape (N,)
        """
        red, colours = values[:, 0].contiguous(), values[candidates]
        first = torch.searchsorted(red, colours[:, 0] - self.similar).tolist()
        last = torch.searchsorted(red, colours[:, 0] + self.similar, right=True).tolist()
        similar = [
            counts[i:j][((values[i:j] - colour).abs() <= self.similar).all(dim=1)].sum()
            for i, j, colour in zip(first, last, colours, strict=True)
        ]
        return torch.stack(similar)

    def _strokes(self, y: Tensor, palette: "_Palette") -> Tensor:
        """The pixels, bool (H, W), of printed colours, with their smooth edges."""
        index, real = palette.index, palette.real
        found, border, smooth = (torch.zeros_like(real) for _ in range(3))
        pixels_far, pixels_near = (_around(real, s).clamp(min=1) for s in (self.window, 3))

        def in_strokes(colour: int) -> bool:
            own = index == colour
            far = (_around(own, self.window) / pixels_far)[own]
            near = (_around(own, 3) / pixels_near)[own]
            thin = (far < self.max_filled).float().mean() > 0.9
            solid = near.mean() > self.solid * far.mean()
            return bool(thin and solid and not self._is_frame(own))

        def on_a_photograph(colour: int, drawn: Tensor) -> bool:
            own = index == colour
            count = _around(own, self.window)
            others = (drawn - count) / (pixels_far - count).clamp(min=1)
            return bool(others[own].mean() < self.max_plain)

        waiting = {colour for colour in palette.colours if in_strokes(colour)}
        if not waiting:
            return found
        ink = torch.isin(index, torch.tensor(sorted(waiting), device=index.device))
        if is_drawn(y[None], (real & ~ink)[None, None]):
            return found
        while waiting:
            # Letters may cross letters. So colours found in an earlier round are not counted as
            # drawing in the surroundings of the others.
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
        # With hard edges, few pixels of the picture look blended by chance.
        if smooth.sum() > self.min_blended_border * border.sum():
            found |= smooth
        return found

    def _is_frame(self, own: Tensor) -> bool:
        """Whether a colour's pixels (H, W) lie in long straight rows and columns."""
        sides = [_lines(own, (1, self.ruled_length)), _lines(own, (self.ruled_length, 1))]
        ruled = (sides[0] | sides[1]).sum() > self.max_ruled * own.sum()
        return bool(ruled and sides[0].any() and sides[1].any())

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
            The pixels beside strokes, and the blended ones among them.
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
    """Colours that repeat while similar ones are rare.

    Attributes
    ----------
    index : Tensor, int64, shape (H, W)
        Number of each pixel's colour; −1 if it is none of `colours`.
    real : Tensor, bool, shape (H, W)
        False in the padding.
    colours : list of int
        Numbers of the colours.
    values : Tensor, int64, shape (numbers, 3)
        The colour of each number, in units of 1/65535.
    """

    index: Tensor
    real: Tensor
    colours: list[int]
    values: Tensor


def _around(mask: Tensor, size: int) -> Tensor:
    """Number of other pixels in the window around each pixel that are in the mask (H, W)."""
    ones = mask.float()
    mean = F.avg_pool2d(ones[None, None], size, stride=1, padding=size // 2)[0, 0]
    return (mean * size**2).round() - ones


def _lines(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels of a mask (H, W) in its full rectangles of this height and width."""
    if mask.shape[0] < size[0] or mask.shape[1] < size[1]:
        return torch.zeros_like(mask)
    whole = -F.max_pool2d(-mask.float()[None, None], size, stride=1)
    rows, columns = (side - 1 for side in size)
    return F.max_pool2d(F.pad(whole, (columns, columns, rows, rows)), size, stride=1)[0, 0] > 0
