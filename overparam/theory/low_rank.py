"""Low rank plus sparse: gradient descent on factors of both, and the related convex program.

Notation: Y (n × m) is observed, X is of low rank, S is sparse, R = X + S − Y is the residual; ∘ is
the entrywise product, ‖·‖ the spectral norm, ‖·‖_* the sum of singular values.

Principal component pursuit (Candès, Li, Ma and Wright, J. ACM 2011, arXiv 0912.3599) is

    min ‖X‖_* + λ‖S‖₁   subject to   X + S = Y,                    usually λ = 1/√max(n, m).  (1)

Double over-parameterization (You, Zhu, Qu and Ma, NeurIPS 2020, arXiv 2006.08857) has no penalty:
S = g∘g − h∘h and X = UUᵀ (symmetric, positive semidefinite) or X = UVᵀ (any) start at the size γ
and follow gradient descent, with a rate that is α times larger for the sparse part.

    X = UUᵀ:   f = ¼‖R‖²_F,   rate τ for U, ατ for g and h
    X = UVᵀ:   f = ½‖R‖²_F,   rate τ for U and V, ατ/2 for g and h

Both are then the same updates, with V = U in the first:

    U ← U − τRV,    V ← V − τRᵀU,    g ← g∘(1 − ατR),    h ← h∘(1 + ατR).                     (2)

Which λ
-------
Let N = −∫R dt. Then g = γ exp(αN) and h = γ exp(−αN), so S = 2γ² sinh(2αN), entrywise. If the
residuals of all times commute and share their singular vectors, U₀ = γI gives in the first case
X = γ² exp(2N), and U₀ = γI, V₀ = 0 in the second X = ½γ² sinh(2N), as matrix functions (of the
singular values). Let ν = N / log(1/γ). As γ → 0 with R → 0, a limit needs that no singular value of
ν (for X = UUᵀ: no eigenvalue) is above 1, with 1 in the directions of X, and |ν_ij| ≤ 1/α, with
±1/α on the support of S: the optimality conditions of (1), ν ∈ ∂f(X) ∩ λ∂‖S‖₁, for

    λ = 1/α

and f the nuclear norm. For X = UUᵀ (1) has the constraint X ⪰ 0, which is a part of f, so
eigenvalues of ν may be far below −1.

For UVᵀ this requires half the rate for g and h, because U and V each carry half of the growth.

What this does not cover
------------------------
Residuals commute if Y is diagonal or circulant, for example, and then only up to rounding: rounding
errors grow from their tiny start as well (γ = 1e-8, circulant, α = ¼√n: after 20,000 steps in
float64, 5 % of X no longer had the structure). For a general Y they do not commute, X is no longer
exp(2N), and (1) is only a guide. Experiments with n = 30 showed the following. Where (1) recovers a
planted X and S, descent with α from ½√n to √n approaches them as γ falls. With additional dense
noise, X differs by 10 % or more. At α = ⅕√n, X explains the corruption first and keeps it, and a
smaller γ makes this worse.

Convergence is slow at the end: a part of X or S that grew by mistake and must vanish obeys
ẋ = −2x², so the residual falls like 1/t. `tol` therefore limits the accuracy of the result.
"""

# torch declares no types for `torch.linalg.matrix_norm` and `Tensor.tolist`, and all that is
# computed from a norm inherits this.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from overparam.checks import check_count, check_real
from overparam.sparse_corruption import descend

__all__ = [
    "Decomposition",
    "descend_low_rank",
    "planted",
    "principal_component_pursuit",
    "success_rate",
]


@dataclass(frozen=True)
class Decomposition:
    """Y ≈ low_rank + sparse.

    Attributes
    ----------
    low_rank, sparse : Tensor
        X and S, of the shape of Y.
    residual : Tensor
        ‖X + S − Y‖_F / ‖Y‖_F of each matrix, of the shape of the batch. It is above `tol` if
        `max_steps` was reached first.
    steps : int
        Steps taken.
    """

    low_rank: Tensor
    sparse: Tensor
    residual: Tensor
    steps: int


@torch.no_grad()
def descend_low_rank(
    y: Tensor,
    *,
    alpha: float | Tensor | None = None,
    init: float = 1e-6,
    psd: bool = False,
    tol: float = 1e-3,
    max_steps: int = 5000,
) -> Decomposition:
    """Split Y by gradient descent on U, V, g and h, equation (2) of this module.

    The step is τ = 1 / (2‖Y‖ + 2α max|Y|), the inverse of the curvature at X = Y or S = Y. A step
    of a half or a fifth of it changes X by less than the bias of γ.

    Parameters
    ----------
    y : Tensor
        (..., n, m), float32 or float64, on any device; a batch is solved at once, each matrix with
        its own step.
    alpha : float or Tensor, optional
        α = 1/λ > 0, or one for each matrix, of the shape of the batch. √max(n, m) by default.
    init : float
        γ in units of √max|Y|, in (0, 0.1], so that the result scales with Y. Where (1) recovers X,
        the error falls with γ, at a rate that depends on the problem. The number of steps grows
        with log(1/γ).
    psd : bool
        X = UUᵀ; Y must be symmetric.
    tol : float
        Stop when ‖R‖_F ≤ tol ‖Y‖_F for every matrix.
    max_steps : int
        Largest number of steps.

    Returns
    -------
    Decomposition

    Raises
    ------
    TypeError
        If a parameter is not a number.
    ValueError
        If Y has another shape or type, is not finite, is 0 everywhere, or is not symmetric under
        `psd`; or if a parameter is out of range.
    """
    _check(y, psd=psd, tol=tol, max_steps=max_steps)
    check_real("init", init, above=0, most=0.1)
    n, m = y.shape[-2:]
    rate = _per_matrix(math.sqrt(max(n, m)) if alpha is None else alpha, y, name="alpha")
    batch = y.reshape(-1, n, m)
    peak = batch.abs().amax((-2, -1), keepdim=True)
    norm = torch.linalg.matrix_norm(batch, keepdim=True)
    tau = 0.5 / (torch.linalg.matrix_norm(batch, 2, keepdim=True) + rate * peak)

    gamma = init * peak.sqrt()
    k = min(n, m)
    start = gamma * torch.eye(k, dtype=y.dtype, device=y.device)
    # The factor of the longer side starts at 0: X starts at 0 and favours no sign.
    u = start.clone() if n == k else start.new_zeros(len(batch), n, k)
    v = u if psd else (start.clone() if n > k else start.new_zeros(len(batch), m, k))
    g = gamma.expand_as(batch).clone()
    h = g.clone()

    steps = 0
    while True:
        s = torch.addcmul(g * g, h, h, value=-1)
        r = torch.baddbmm(s - batch, u, v.mT)
        # Only every tenth step, because reading the result waits for a GPU.
        if steps % 10 == 0 or steps == max_steps:
            residual = torch.linalg.matrix_norm(r, keepdim=True) / norm
            if steps == max_steps or bool((residual <= tol).all()):
                break
        r *= tau
        if psd:
            u = v = torch.baddbmm(u, r, u, alpha=-1)
        else:
            u, v = torch.baddbmm(u, r, v, alpha=-1), torch.baddbmm(v, r.mT, u, alpha=-1)
        r *= rate
        descend(g, r, lr=0.5)
        descend(h, r, lr=-0.5)
        steps += 1
    x = torch.bmm(u, v.mT)
    return Decomposition(
        x.reshape(y.shape), s.reshape(y.shape), residual.reshape(y.shape[:-2]), steps
    )


@torch.no_grad()
def principal_component_pursuit(
    y: Tensor,
    *,
    lam: float | Tensor | None = None,
    psd: bool = False,
    tol: float = 1e-6,
    max_steps: int = 2000,
) -> Decomposition:
    """Solve (1) by the inexact augmented Lagrange multiplier method.

    Lin, Chen and Ma, arXiv 1009.5055, algorithm 5: alternate the two closed-form minimisations, and
    raise the penalty μ. If μ rises at every step, as is common, the iteration stops before the
    optimum when X and S cannot be recovered exactly. Here it rises only while the dual residual is
    smaller than the primal one, so both vanish.

    Parameters
    ----------
    y : Tensor
        (..., n, m), float32 or float64, on any device.
    lam : float or Tensor, optional
        λ > 0, or one for each matrix, of the shape of the batch. 1/√max(n, m) by default.
    psd : bool
        Add the constraint X ⪰ 0; Y must be symmetric.
    tol : float
        Stop when for every matrix ‖R‖_F ≤ tol ‖Y‖_F and the last change of S is as small:
        μ‖ΔS‖_F ≤ tol ‖Λ‖_F, with Λ the multiplier. float32 reaches about 1e-6.
    max_steps : int
        Largest number of steps.

    Returns
    -------
    Decomposition

    Raises
    ------
    TypeError, ValueError
        As in `descend_low_rank`.
    """
    _check(y, psd=psd, tol=tol, max_steps=max_steps)
    n, m = y.shape[-2:]
    lam = _per_matrix(1 / math.sqrt(max(n, m)) if lam is None else lam, y, name="lam")
    batch = y.reshape(-1, n, m)
    norm = torch.linalg.matrix_norm(batch, keepdim=True)
    spectral = torch.linalg.matrix_norm(batch, 2, keepdim=True)
    # The paper's start: a feasible multiplier, and 0.8‖Y‖ as the first threshold.
    dual = batch / torch.maximum(spectral, batch.abs().amax((-2, -1), keepdim=True) / lam)
    mu = 1.25 / spectral
    s = torch.zeros_like(batch)
    steps = 0
    while True:
        x = _shrink_spectrum(batch - s + dual / mu, 1 / mu, psd=psd)
        rest = batch - x + dual / mu
        previous, s = s, rest.sign() * (rest.abs() - lam / mu).clamp_min_(0)
        r = batch - x - s
        dual = dual + mu * r
        primal = torch.linalg.matrix_norm(r, keepdim=True) / norm
        change = torch.linalg.matrix_norm(s - previous, keepdim=True) * mu
        change = change / torch.linalg.matrix_norm(dual, keepdim=True)
        steps += 1
        if steps == max_steps or bool((torch.maximum(primal, change) <= tol).all()):
            break
        mu = torch.where(change < primal, 1.6 * mu, mu)
    shape = y.shape
    return Decomposition(x.reshape(shape), s.reshape(shape), primal.reshape(shape[:-2]), steps)


def planted(
    shape: Sequence[int],
    *,
    rank: int,
    corrupted: float,
    generator: torch.Generator,
    psd: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw a low-rank X and a sparse S, to be recovered from X + S.

    X = GHᵀ/√rank with standard normal factors, so its entries have variance 1; `psd` sets H = G.
    S is ±3 in a random part of the entries (symmetric under `psd`) and 0 elsewhere.

    Parameters
    ----------
    shape : sequence of int
        (..., n, m).
    rank : int
        1 to min(n, m).
    corrupted : float
        Probability of an entry of S to differ from 0, in [0, 1].
    generator : torch.Generator
        Source of the randomness; the matrices are on its device.
    psd : bool
        Make X and S symmetric and X positive semidefinite; needs n = m.
    dtype : torch.dtype
        Of X and S.

    Returns
    -------
    x, s : Tensor
        X and S.

    Raises
    ------
    TypeError
        If `rank` or `corrupted` is not a number.
    ValueError
        If a parameter is out of range, or `psd` is given and the matrix is not square.
    """
    *batch, n, m = shape
    check_count("rank", rank, least=1, most=min(n, m))
    check_real("corrupted", corrupted, least=0, most=1)
    if psd and n != m:
        raise ValueError(f"a matrix of {n} x {m} is not symmetric; leave out psd")
    device = generator.device
    left = torch.randn(*batch, n, rank, generator=generator, device=device, dtype=dtype)
    right = left
    if not psd:
        right = torch.randn(*batch, m, rank, generator=generator, device=device, dtype=dtype)
    chance, sign = torch.rand(2, *batch, n, m, generator=generator, device=device, dtype=dtype)
    s = 3 * torch.where(sign < 0.5, -1, 1) * (chance < corrupted)
    if psd:
        s = s.triu() + s.triu(1).mT
    return left @ right.mT / math.sqrt(rank), s.to(dtype)


def success_rate(
    solve: Callable[[Tensor], Decomposition],
    *,
    size: int,
    ranks: Sequence[int],
    corrupted: Sequence[float],
    trials: int,
    generator: torch.Generator,
    psd: bool = False,
    error: float = 0.05,
) -> Tensor:
    """How often X is recovered, for each rank and each fraction of corrupted entries.

    Parameters
    ----------
    solve : callable
        A function from Y of shape (trials, size, size) to its `Decomposition`.
    size : int
        Rows and columns of each matrix.
    ranks : sequence of int
        Ranks of X, each from 1 to `size`.
    corrupted : sequence of float
        Fractions of corrupted entries, each in [0, 1].
    trials : int
        Number of matrices for each pair of the two, solved as one batch.
    generator, psd
        As in `planted`.
    error : float
        X counts as recovered if its relative Frobenius error is at most this.

    Returns
    -------
    Tensor
        (len(ranks), len(corrupted)), in [0, 1].
    """
    rates = torch.empty(len(ranks), len(corrupted))
    for i, rank in enumerate(ranks):
        for j, part in enumerate(corrupted):
            x, s = planted(
                (trials, size, size), rank=rank, corrupted=part, generator=generator, psd=psd
            )
            found = solve(x + s).low_rank
            off = torch.linalg.matrix_norm(found - x) / torch.linalg.matrix_norm(x)
            rates[i, j] = (off <= error).float().mean()
    return rates


def _shrink_spectrum(a: Tensor, threshold: Tensor, *, psd: bool) -> Tensor:
    """Lower the singular values of `a` (`psd`: its eigenvalues), those below `threshold` to 0."""
    if psd:
        values, vectors = torch.linalg.eigh(a)
        right = vectors.mT
    else:
        vectors, values, right = torch.linalg.svd(a, full_matrices=False)
    return (vectors * (values.unsqueeze(-2) - threshold).clamp_min(0)) @ right


def _per_matrix(value: float | Tensor, y: Tensor, *, name: str) -> Tensor:
    """`value` for each matrix of `y`: shape (B, 1, 1)."""
    value = torch.as_tensor(value, dtype=y.dtype, device=y.device)
    if value.ndim and value.shape != y.shape[:-2]:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}: give one number, or one for each matrix, "
            f"shape {tuple(y.shape[:-2])}"
        )
    if not bool((value.isfinite() & (value > 0)).all()):
        raise ValueError(f"{name} is {value.tolist()}: it must be above 0 and finite")
    return value.expand(y.shape[:-2]).reshape(-1, 1, 1)


def _check(y: Tensor, *, psd: bool, tol: float, max_steps: int) -> None:
    if y.ndim < 2 or 0 in y.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}: a matrix or a batch (..., n, m) is needed")
    if y.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"y has dtype {y.dtype}: convert it to float32 or float64")
    if not bool(y.isfinite().all()):
        raise ValueError("y has values that are not finite; replace them first")
    if bool((y == 0).all((-2, -1)).any()):
        raise ValueError("y has a matrix that is 0 everywhere: there is nothing to split")
    if psd and (y.shape[-1] != y.shape[-2] or not torch.allclose(y, y.mT)):
        raise ValueError(f"y of shape {tuple(y.shape)} is not symmetric; leave out psd")
    check_real("tol", tol, above=0, below=1)
    check_count("max_steps", max_steps, least=1)
