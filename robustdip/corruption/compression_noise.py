"""The error of a compression as noise of all elements, if it came after the damage.

In a picture that was damaged and then compressed as JPEG, clean elements are not exact: rounding
coefficients adds an error whose covariance over the channels of a pixel is

    N = M diag(σ_Y², σ_C², σ_C²) Mᵀ,

where M turns luma and colour differences into the picture's channels, and the σ follow from the
steps of the blocks that have damage (`robustdip.corruption.compression`). If the damage came later,
these blocks have no steps, and what is clean is exact. Where the file has the colour differences at
half resolution, they have no steps at this one, and a damaged pixel spreads its colour over its
neighbours. The median size of their residuals takes the place of σ_C.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustdip.corruption.base import real_size
from robustdip.corruption.compression import LUMA_CHROMA, CompressedBlocks, compressed_blocks

__all__ = ["CompressionNoise", "NoiseModel"]

_DEVIATIONS = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute value."""
_LEAST_CHROMA = 0.1
"""Smallest deviation of the colour differences, relative to that of luma."""


@dataclass(frozen=True, kw_only=True)
class CompressionNoise:
    """Settings of the noise that a compression makes.

    Attributes
    ----------
    least : float
        Standard deviation, of luma and in units of the range, below which it is left out.
    fewest : float
        Share of the elements that look corrupted below which it is left out: of a compressed
        picture without damage some do for a while, and must come back as they are.
    """

    least: float = 0.004
    fewest: float = 0.02

    def start(self, y: Tensor, valid: Tensor) -> "NoiseModel | None":
        """Look at one image.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `robustdip.corruption.base.Problem`.

        Returns
        -------
        NoiseModel or None
            None if the picture as a whole was not compressed.
        """
        if y.shape[1] not in {1, 3}:  # JPEG has no others
            return None
        height, width = real_size(valid)
        planes = y[0, :, :height, :width].cpu().double().numpy()  # MPS has no float64
        if len(planes) == 3:
            planes = np.einsum("lc,chw->lhw", LUMA_CHROMA, planes)
        blocks = compressed_blocks(planes)
        luma = None if blocks is None else blocks.spread()[0]
        return None if blocks is None or luma is None else NoiseModel(self, blocks, (height, width))


class NoiseModel:
    """N of one image.

    Parameters
    ----------
    settings : CompressionNoise
    blocks : CompressedBlocks
    size : tuple of int
        H and W of the image without padding.
    """

    def __init__(
        self, settings: CompressionNoise, blocks: CompressedBlocks, size: tuple[int, int]
    ) -> None:
        self.settings, self.blocks, self.size = settings, blocks, size

    def covariance(self, residual: Tensor, corrupted: Tensor) -> Tensor | None:
        """Estimate N.

        Parameters
        ----------
        residual : Tensor, float32, shape (1, C, H, W)
            y − x.
        corrupted : Tensor, bool, shape (1, C, H, W)
            The elements that look corrupted.

        Returns
        -------
        Tensor, float32, shape (C, C), or None
            None if the blocks with such elements were not compressed, or hardly, or if there are
            few of them.
        """
        height, width = self.size
        corrupted, residual = (part[..., :height, :width] for part in (corrupted, residual))
        if corrupted.float().mean() < self.settings.fewest:
            return None
        where = corrupted[0].any(dim=0)
        luma, *chroma = self.blocks.spread(where.cpu().numpy())
        if luma is None or luma < self.settings.least:
            return None
        if not chroma:
            return residual.new_full((1, 1), luma**2)
        # On the CPU: not every release of torch has this inverse on MPS.
        matrix = torch.as_tensor(LUMA_CHROMA).to(residual.dtype)
        turn, back = (m.to(residual.device) for m in (matrix, torch.linalg.inv_ex(matrix).inverse))
        size = torch.einsum("lc,bchw->lbhw", turn, residual).abs()
        spread = [
            _DEVIATIONS * float(size[plane].median()) if each is None else each
            for plane, each in enumerate(chroma, start=1)
        ]
        # A grey picture has no error of colour, but N needs an inverse.
        deviations = [luma, *(max(each, _LEAST_CHROMA * luma) for each in spread)]
        return (back * residual.new_tensor(deviations) ** 2) @ back.T
