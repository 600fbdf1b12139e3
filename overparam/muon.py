"""Orthogonalised momentum for convolutions."""

# torch declares no types for `Tensor.norm` and `Muon.step`.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import torch
from torch import Tensor, nn

__all__ = ["ConvolutionMuon"]


class ConvolutionMuon(torch.optim.Muon):
    """Muon for the kernels of convolutions; `torch.optim.Muon` accepts matrices only.

    Each kernel is treated as the matrix (out, kh·kw·in). The matrix is a view of the kernel's
    memory, so each step changes the network directly.

    Parameters
    ----------
    kernels : list of Parameter, each of shape (out, in, kh, kw)
        In channels_last memory.
    lr : float
        Spectral norm of an update, times √(out / (kh·kw·in)) where that is above 1.
    momentum : float
        Decay of the momentum, in [0, 1).
    unit_rows : bool
        Before each step, scale every kernel to norm √out, so that its rows have length 1 on
        average. This is for kernels that batch normalisation follows: their scale has no effect on
        the output. It then cannot drift, and lr is the angle by which a step turns the kernel (as
        in airbench94_muon of KellerJordan/cifar10-airbench).

    Raises
    ------
    ValueError
        If a kernel is not in channels_last memory.
    """

    def __init__(
        self,
        kernels: list[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.9,
        unit_rows: bool = False,
    ) -> None:
        self._kernels = kernels
        self._matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
        if any(m.data_ptr() != k.data_ptr() for m, k in zip(self._matrices, kernels, strict=True)):
            raise ValueError(
                "a kernel is not in channels_last memory, so steps would change a copy; convert "
                "the network by .to(memory_format=torch.channels_last)"
            )
        self._unit_rows = unit_rows
        # "original" is PyTorch's default; the rate depends on it.
        super().__init__(
            self._matrices,
            lr=lr,
            weight_decay=0.0,
            momentum=momentum,
            nesterov=True,
            adjust_lr_fn="original",
        )

    def step(self, closure: None = None) -> None:
        """Update all kernels from their gradients.

        Parameters
        ----------
        closure : None
            Not used; part of the interface of `torch.optim.Optimizer`.
        """
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        if self._unit_rows:
            with torch.no_grad():
                for matrix in self._matrices:
                    matrix.mul_(len(matrix) ** 0.5 / matrix.norm().clamp(min=1e-12))
        super().step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all kernels to None.

        Parameters
        ----------
        set_to_none : bool
            Not used; part of the interface of `torch.optim.Optimizer`.
        """
        for kernel in self._kernels:
            kernel.grad = None


def _as_matrix(kernel: Tensor) -> Tensor:
    """(out, in, kh, kw) in channels_last memory, seen as (out, kh·kw·in) without a copy."""
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)
