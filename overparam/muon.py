"""Orthogonalised momentum for convolutions."""

# torch declares no types for `Tensor.norm` and `Optimizer.state`.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections import defaultdict

import torch
from torch import Tensor, nn

__all__ = ["ConvolutionMuon"]

# The quintic polynomial of Jordan et al., "Muon" (2024), which `torch.optim.Muon` has too: its
# iteration moves singular values from (0, 1] to about 1, in few steps rather than exactly.
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class ConvolutionMuon(torch.optim.Muon):
    """Muon for the kernels of convolutions; `torch.optim.Muon` accepts matrices only.

    Each kernel is treated as the matrix (out, kh·kw·in). The matrix is a view of the kernel's
    memory, so each step changes the network directly. Matrices of one shape are orthogonalised
    together, and in float32, see `_orthogonalised`; steps differ from those of `torch.optim.Muon`,
    which computes in bfloat16, by its rounding.

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
        with torch.no_grad():
            if self._unit_rows:
                for matrix in self._matrices:
                    matrix.mul_(len(matrix) ** 0.5 / matrix.norm().clamp(min=1e-12))
            self._descend()

    def _descend(self) -> None:
        (group,) = self.param_groups
        lr, momentum = float(group["lr"]), float(group["momentum"])
        same_shape: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            if kernel.grad is None:
                continue
            gradient = _as_matrix(kernel.grad)
            state = self.state[matrix]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            average: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
            # Nesterov: the average as it would be after the same gradient once more.
            direction = gradient.lerp(average, momentum)
            same_shape[len(matrix), matrix.shape[1]].append((matrix, direction))
        for (rows, columns), members in same_shape.items():
            directions = torch.stack([direction for _, direction in members])
            rate = lr * max(1.0, rows / columns) ** 0.5
            for (matrix, _), update in zip(members, _orthogonalised(directions), strict=True):
                matrix.add_(update, alpha=-rate)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all kernels to None.

        Parameters
        ----------
        set_to_none : bool
            Not used; part of the interface of `torch.optim.Optimizer`.
        """
        for kernel in self._kernels:
            kernel.grad = None


def _orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors and all singular values near 1: (N, rows, columns).

    Newton–Schulz with X ← (a + bG + cG²) X, where G = XXᵀ. All its factors are polynomials of the
    first G. They commute, so that the product P of the factors is found from G alone, which is
    small, and X is multiplied once: G ← QGQ and P ← QP, where Q = a + bG + cG². A kernel of 3x3 has
    many more columns than rows, so this is less work than the products with X.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return _orthogonalised(matrices.mT).mT
    # The norm is an upper bound of the largest singular value.
    norms = matrices.square().sum(dim=(1, 2), keepdim=True).sqrt()
    x = matrices / norms.clamp(min=1e-7)
    gram = x @ x.mT
    product = factor = _factor(gram)
    for _ in range(_ITERATIONS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    return product @ x


def _factor(gram: Tensor) -> Tensor:
    """Return a + bG + cG²."""
    a, b, c = _POLYNOMIAL
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


def _as_matrix(kernel: Tensor) -> Tensor:
    """(out, in, kh, kw) in channels_last memory, seen as (out, kh·kw·in) without a copy."""
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)
