"""Pages and drawings: where an exact value or a line of one colour is the picture, not damage.

Text on a page is the page. A picture is taken for a page, as a whole or in part, by what surrounds
its letters and lines:

- It is drawn (`robustdip.corruption.drawings`): then all of it is.
- Much of it is *flat*, squares of one exact value such as paper: then what lies on or beside these.
- It is a JPEG file, one value is so frequent that it may be paper, and there is ink on it: then
  what lies on or beside this paper. After a compression hardly any square is exact, and there are
  rings around letters. But the values of paper stay within 5 levels of one: 36 to 86 % of the
  pixels of pages, posters and drawings did, at qualities 75 to 95, and 29 % or less of photographs
  of much contrast. Where several papers share a picture, as windows on a screen, each is a sharp
  peak.

A photograph with words over a sky of one value is taken for a page too. Then they are left to the
detectors of shapes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustdip.corruption.base import real_size
from robustdip.corruption.compression import LUMA_CHROMA, was_compressed
from robustdip.corruption.drawings import is_drawn

__all__ = ["Page", "Pages", "papers_of"]

_NEAR = 5  # levels around the value of a paper
_MUCH = 0.35  # share of the pixels near it
_SOME, _SHARP = 0.1, 0.55  # or a smaller share, of which this share is within one level
# Share of the pixels that are ink: beside paper, and of much contrast. 0.029 or more in pages;
# stars and photographs of little contrast have less, but for one in twenty of a brick wall.
_INK, _CONTRAST = 0.027, 0.25
# Ink for each pixel of paper, at the most: 0.54 or less in pages. Salt and pepper would be papers,
# and the picture between them ink: 2 for each, with 30 % of them.
_COVERED = 0.7
# Share of the ink that stands alone, at the most: 0.19 or less in pages, and 0.33 or more in 10 to
# 50 % of noise over photographs of one tone.
_ALONE = 0.25
_DIFFERENT = 0.1  # from all neighbours: what stands alone


@dataclass(frozen=True, eq=False)
class Page:
    """What belongs to a page.

    Attributes
    ----------
    elements : Tensor, bool, shape (1, C, H, W)
        Where exact values and lines are the picture.
    flat : Tensor, bool, shape (1, C, H, W)
        Squares of one exact value, on a page or not.
    """

    elements: Tensor
    flat: Tensor


@dataclass(frozen=True, kw_only=True)
class Pages:
    """What tells a page from a photograph.

    Attributes
    ----------
    flat_side : int
        Side in pixels of a square of one exact value, such as paper or a clipped sky, in which a
        frequent value belongs to the picture. With 70 % salt-and-pepper noise one 4x4 square in ten
        million has one value.
    flat_share, reach : float, int
        If more than this share of a picture is flat, there is paper in it, and what lies within
        this many pixels of a flat area is printed on paper.
    stray, contrast : float
        If more than the share `stray` of a drawing without paper differs by more than `contrast`
        from all neighbours, it has impulses, which have exact values too. It is 0.004 to 0.02 in
        posters, and 0.07 with 10 % of salt and pepper.
    papers : tuple of float, or None
        Luma of the papers of the larger picture, of which this is a part; None if they are still to
        be looked for. A part that shows sky alone would be taken for a page.
    """

    flat_side: int = 4
    flat_share: float = 0.2
    reach: int = 8
    stray: float = 0.03
    contrast: float = _DIFFERENT
    papers: tuple[float, ...] | None = None

    def find(self, y: Tensor, valid: Tensor, *, found: Tensor) -> Page:
        """Find what belongs to a page.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `robustdip.corruption.base.Problem`.
        found : Tensor, bool, shape (1, C, H, W)
            Elements that are certainly corrupted, which are no part of it.

        Returns
        -------
        Page
        """
        real = valid > 0
        flat = _squares(y, self.flat_side) & real
        paper = flat.sum() > self.flat_share * valid.sum()
        # Impulses stand alone, words do not. On paper too few do to hide what is drawn.
        stray = (_alone(y, self.contrast) & real).sum() > self.stray * valid.sum()
        if (paper or not stray) and is_drawn(y, valid * ~found):
            return Page(~found, flat)
        elements = self._on_paper(y, real)
        if paper:
            elements = elements | _grown(flat, self.reach)
        return Page(elements & ~found, flat)

    def _on_paper(self, y: Tensor, real: Tensor) -> Tensor:
        """What lies on or beside the papers of a compressed picture."""
        luma, papers = _luma(y), self.papers
        if papers is None:
            height, width = real_size(real)
            papers = papers_of(luma[0, 0, :height, :width].cpu().numpy())
        near = torch.zeros_like(real[:, :1])
        for paper in papers:
            near |= (luma - paper).abs() <= (_NEAR + 0.5) / 255
        near &= real[:, :1]
        if near.sum() <= self.flat_share * real[:, :1].sum():
            near = torch.zeros_like(near)
        return _grown(near, self.reach).expand_as(real)


def papers_of(luma: NDArray[np.floating]) -> tuple[float, ...]:
    """Find the papers of a compressed picture.

    Parameters
    ----------
    luma : ndarray, shape (H, W)
        In [0, 1].

    Returns
    -------
    tuple of float
        Their luma. Empty if the picture has none, or was not compressed.
    """
    counts = np.bincount((255 * luma).round().clip(0, 255).astype(np.uint8).ravel(), minlength=256)
    share = counts / counts.sum()
    near = np.convolve(share, np.ones(2 * _NEAR + 1), "same")
    peak = ndimage.maximum_filter1d(np.convolve(share, np.ones(3), "same"), 2 * _NEAR - 1)
    papers: list[int] = []
    for level in np.argsort(-near, kind="stable")[: int((near > _SOME).sum())]:
        if all(abs(level - paper) > 2 * _NEAR for paper in papers) and (
            near[level] > _MUCH
            or (peak[level] > _SHARP * near[level] and _in_areas(luma, level / 255))
        ):
            papers.append(int(level))
    found = tuple(level / 255 for level in papers)
    if not found or not _printed(luma, found) or not was_compressed(luma):
        return ()
    return found


def _in_areas(luma: NDArray[np.floating], paper: float) -> bool:
    """Whether a paper's pixels lie beside each other; those of salt and pepper do not."""
    near = np.abs(luma - paper) <= (_NEAR + 0.5) / 255
    squares = np.asarray(ndimage.binary_opening(near, np.ones((2, 2))), bool)
    return bool(squares.sum() > near.sum() / 2)


def _printed(luma: NDArray[np.floating], papers: tuple[float, ...]) -> bool:
    """Whether there is ink on the papers."""
    away = np.full(luma.shape, np.inf, luma.dtype)
    for paper in papers:
        np.minimum(away, np.abs(luma - paper), out=away)
    near = away <= (_NEAR + 0.5) / 255
    # Within two pixels, as the edge of a letter is.
    beside = np.asarray(ndimage.maximum_filter(near, 5), bool)
    ink = beside & (away > _CONTRAST)
    if not _INK < ink.mean() < _COVERED * near.mean():
        return False
    # Strokes go on, impulses do not.
    alone = _alone(torch.from_numpy(luma)[None, None], _DIFFERENT)[0, 0].numpy()
    return bool((ink & alone).sum() < _ALONE * ink.sum())


def _luma(y: Tensor) -> Tensor:
    """Luma, shape (1, 1, H, W), of an image (1, C, H, W)."""
    if y.shape[1] < 3:
        return y[:, :1]
    weights = torch.as_tensor(LUMA_CHROMA[0]).to(y)
    return torch.einsum("c,bchw->bhw", weights, y[:, :3])[:, None]


def _squares(y: Tensor, side: int) -> Tensor:
    """The elements of all side x side squares that have one exact value; bool, shape of y."""
    same = F.max_pool2d(y, side, stride=1) == -F.max_pool2d(-y, side, stride=1)
    return F.max_pool2d(F.pad(same.float(), (side - 1,) * 4), side, stride=1) > 0


def _alone(y: Tensor, difference: float) -> Tensor:
    """The elements that differ by more than this from all eight neighbours; bool, shape of y."""
    height, width = y.shape[2:]
    around = F.pad(y, (1, 1, 1, 1), value=-1)  # no value of a picture
    alone = torch.ones_like(y, dtype=torch.bool)
    for down, across in product(range(3), repeat=2):
        if (down, across) != (1, 1):
            beside = around[..., down : down + height, across : across + width]
            alone &= (beside - y).abs() > difference
    return alone


def _grown(mask: Tensor, reach: int) -> Tensor:
    """The elements within this many rows and columns of a mask; bool, shape of the mask."""
    return F.max_pool2d(mask.float(), 2 * reach + 1, stride=1, padding=reach) > 0
