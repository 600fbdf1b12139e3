"""The sparse corruption term s = u∘u − v∘v and its gradient descent in closed form.

Why it is sparse without a penalty
----------------------------------
Gradient descent on (u, v) turns a gradient g = ∂L/∂s into the multiplicative updates

    u ← u (1 − 2ηg),        v ← v (1 + 2ηg).

From a tiny start u = v = γ, an element whose gradient is steadily −r grows like γ²·exp(4ηrt). For
about log(1/γ) / (2ηr) steps s stays near 0; then it quickly reaches the value that explains the
residual. Elements with small residuals stay near γ². So a run of T steps has a soft threshold near
log(1/γ) / (2ηT). Of its two parameters the ratio of this rate to the network's is the one that
matters: γ enters by its logarithm (You, Zhu, Qu and Ma, NeurIPS 2020, arXiv 2006.08857, section 2).

Rates here are *per element*: they multiply ∂L/∂s of a loss that is *summed* over elements, so an
image of any size follows the same trajectory. A mean over N elements, as in the published script,
divides the rate by N and makes the threshold depend on the size of the image.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from overparam.checks import check_real

__all__ = ["SparseCorruption", "activation_steps", "descend"]


class SparseCorruption(nn.Module):
    """A learnable sparse array s = u∘u − v∘v.

    `forward` is differentiable, so any optimizer can train u and v. `step` is plain SGD on u and v
    in closed form: it needs the gradient with respect to s only, builds no graph, allocates no
    gradients of u and v, and with an index it reads and writes the named rows only.

    Parameters
    ----------
    shape : sequence of int
        Shape of s. For rows (one per training example, say) the first axis is the row.
    init : float
        γ > 0, the size of u and v at the start; the default is the paper's. With a `generator`, u
        and v are drawn from N(0, γ²), as in the paper's experiments; without one both are exactly
        γ, as its theory assumes. The draw shifts log|u| and log|v| by −0.6 on average, and the
        smallest of N by about −log N: single elements grow much later.
    generator : torch.Generator, optional
        Source of the random start.
    device, dtype
        As for `torch.empty`; float32 or float64. In half precision γ² = 1e-10 would underflow.

    Raises
    ------
    TypeError
        If `init` is not a number.
    ValueError
        If `init` is not positive and finite, or `dtype` is neither float32 nor float64.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        init: float = 1e-5,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        check_real("init", init, above=0)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}: u² starts near 1e-10 and needs float32 or float64")

        def start() -> nn.Parameter:
            if generator is None:
                return nn.Parameter(torch.full(tuple(shape), init, device=device, dtype=dtype))
            # Drawn on the generator's device, then moved: a seed gives the same s on all devices.
            size = tuple(shape)
            draw = torch.randn(size, generator=generator, device=generator.device, dtype=dtype)
            return nn.Parameter(draw.mul_(init).to(device))

        self.u, self.v = start(), start()

    def forward(self, index: Tensor | None = None) -> Tensor:
        """Compute s, or some of its rows.

        Parameters
        ----------
        index : Tensor, optional
            int64 of shape (B,): the rows to return.

        Returns
        -------
        Tensor
            s, or its rows of shape (B, ...); differentiable.
        """
        u, v = (self.u, self.v) if index is None else (self.u[index], self.v[index])
        return u * u - v * v

    @torch.no_grad()
    def step(self, grad: Tensor, *, lr: float, index: Tensor | None = None) -> None:
        """One step of SGD on u and v, given the gradient of a summed loss with respect to s.

        Exactly what `torch.optim.SGD(lr=lr)` (no momentum, no weight decay) does to u and v, since
        ∂L/∂u = 2u∘∂L/∂s and ∂L/∂v = −2v∘∂L/∂s. Gradients of a row named twice in `index` add up.

        Parameters
        ----------
        grad : Tensor
            ∂L/∂s, of the shape of s, or (B, ...) for the rows of `index`.
        lr : float
            η, per element. |2·lr·grad| < 1 keeps the signs of u and v.
        index : Tensor, optional
            int64 of shape (B,): only these rows move; time and memory are O(B), whatever len(s).

        Raises
        ------
        ValueError
            If `grad` has another shape.
        """
        expected = self.u.shape if index is None else (*index.shape, *self.u.shape[1:])
        if tuple(grad.shape) != tuple(expected):
            raise ValueError(f"grad has shape {tuple(grad.shape)}, expected {tuple(expected)}")
        grad = grad.to(self.u.dtype)  # it may come from a loss under autocast
        descend(self.u, grad, lr=lr, index=index)
        descend(self.v, grad, lr=-lr, index=index)


@torch.no_grad()
def descend(factor: Tensor, grad: Tensor, *, lr: float, index: Tensor | None = None) -> None:
    """One step of SGD on w, in place, given the gradient g with respect to w∘w: w ← w (1 − 2 lr g).

    Parameters
    ----------
    factor : Tensor
        w.
    grad : Tensor
        ∂L/∂(w∘w), of the shape of w, or (B, ...) for the rows of `index`.
    lr : float
        η. Negative if w∘w is subtracted in s and `grad` is the gradient with respect to s.
    index : Tensor, optional
        int64 of shape (B,): only these rows are read or written. For a row that is named twice both
        steps start from its old value, and they add up.
    """
    if index is None:
        # addcmul: w + (−2η) w∘g in one pass over memory.
        factor.addcmul_(factor, grad, value=-2 * lr)
    else:
        factor.index_add_(0, index, factor[index] * grad, alpha=-2 * lr)


def activation_steps(residual: float, *, lr: float, init: float = 1e-5) -> float:
    """Steps after which s has reached half of a residual, for the loss ½(s − residual)².

    With r = |residual| the growing factor is multiplied by (1 + 2·lr·r) a step until it is
    √(r/2), so t = log(√(r/2)/init) / log(1 + 2·lr·r): the growth law before saturation. The true
    time is 3 % longer at r = 0.5, because the residual shrinks as s grows.

    Parameters
    ----------
    residual : float
        The value that s has to reach, in the units of s; not 0.
    lr : float
        η > 0, as in `SparseCorruption.step`.
    init : float
        γ > 0, as in `SparseCorruption`.

    Returns
    -------
    float
        Number of steps; 0 if `init` is already that large.

    Raises
    ------
    ValueError
        If the residual is 0, a rate is not positive, or a number is not finite.
    """
    r = abs(check_real("residual", residual))
    for name, value in {"size of the residual": r, "lr": lr, "init": init}.items():
        check_real(name, value, above=0)
    return max(0.0, math.log(math.sqrt(r / 2) / init) / math.log1p(2 * lr * r))
