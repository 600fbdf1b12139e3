"""Orthogonalised momentum for convolutions."""

# torch declares no types for `Tensor.norm` and `Muon.step`.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import torch
from torch import Tensor, nn

__all__ = ["ConvolutionMuon"]


class ConvolutionMuon(torch.optim.Muon):
    """`torch.optim.Muon`, which takes matrices only, on the kernels of convolutions.

    A kernel is the matrix (out, kh·kw·in), a view of its own memory, so the network sees the step
    at once.

    Parameters
    ----------
    kernels : list of Parameter, each of shape (out, in, kh, kw)
        Their memory must be channels_last, or ValueError is raised.
    lr : float
        Spectral norm of an update, times √(out / (kh·kw·in)) where that is above 1.
    momentum : float
    unit_rows : bool
        Before each step scale every kernel to norm √out: rows of length 1 on average. For kernels
        with a batch normalisation behind, whose scale is free: it then cannot drift, and lr is the
        angle by which a step turns them (as in airbench94_muon, KellerJordan/cifar10-airbench).
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
                "a kernel is not in channels_last memory: its steps would go to a copy"
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
        """One step on all kernels; a closure is not used."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        if self._unit_rows:
            with torch.no_grad():
                for matrix in self._matrices:
                    matrix.mul_(len(matrix) ** 0.5 / matrix.norm().clamp(min=1e-12))
        super().step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all kernels."""
        for kernel in self._kernels:
            kernel.grad = None


def _as_matrix(kernel: Tensor) -> Tensor:
    """(out, in, kh, kw) in channels_last memory, seen as (out, kh·kw·in) without a copy."""
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)
