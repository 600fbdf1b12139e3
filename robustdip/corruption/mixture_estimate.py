"""The image and its uncertainty after a step, by the posterior of the mixture.

A corrupted element gets the network's value, whose mean square error is (C + 1)β², the variance of
a channel under the density of `robustdip.corruption.channels`; a clean one keeps y. Where channels
of the pixel are clean, the value is predicted from these too and the error smaller, which is left
out. So, with b and r of `robustdip.corruption.mixture`, the expected square error is, at the most,

    b · (C + 1)β²  +  b(1 − b) · r².
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from robustdip.corruption.channels import in_blocks

__all__ = ["MixtureEstimate"]


@dataclass(frozen=True, eq=False)
class MixtureEstimate:
    """The estimate of a mixture; see `robustdip.corruption.base.Estimate`.

    Attributes
    ----------
    y, average : Tensor, shape (1, C, H, W)
        The corrupted image, and the running average of the network's outputs.
    posterior : Tensor, shape (1, P, H, W)
        Probability of each pattern of corrupted channels.
    gain : Tensor, shape (P, H/BLOCK, W/BLOCK, C, C)
        See `robustdip.corruption.channels.conditionals`.
    corrupted_probability : Tensor, shape (1, C, H, W)
        b.
    scale : Tensor, shape () or (1, 1, H, W)
        β.
    overconfidence : float
        See `Mixture`.
    """

    y: Tensor
    average: Tensor
    posterior: Tensor
    gain: Tensor
    corrupted_probability: Tensor
    scale: Tensor
    overconfidence: float

    @property
    def image(self) -> Tensor:
        """Clean elements unchanged; the others from the network and the clean channels."""
        # p pattern; h, w block; a, b pixel in the block; i, j channel.
        residual = in_blocks(self.y - self.average)
        guess = torch.einsum("phwij,jhawb->pihawb", self.gain, residual)
        expected = torch.einsum("phawb,pihawb->ihawb", in_blocks(self.posterior), guess)
        return self.average + expected.reshape(self.average.shape)

    @property
    def corruption(self) -> Tensor:
        """s = y − image."""
        return self.y - self.image

    @property
    def corrupted(self) -> Tensor:
        """The elements whose b is above 1/2."""
        return self.corrupted_probability > 0.5

    @property
    def uncertainty(self) -> Tensor:
        """Square root of the expected square error in the module's docstring."""
        b = self.corrupted_probability
        network = (self.y.shape[1] + 1) * self.scale**2
        doubt = self.overconfidence * (1 - b) * (self.y - self.average) ** 2
        return (b * (network + doubt)).sqrt()
