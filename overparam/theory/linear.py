"""The linear model: gradient descent on θ and s = u∘u − v∘v, and the convex program that it solves.

Notation: J (N × p) and y (N) are given, r = Jθ + u∘u − v∘v − y is the residual, ∘ the entrywise
product. The model is that of Liu, Zhu, Qu and You, ICML 2022 (arXiv 2202.14026), on the idea of
You, Zhu, Qu and Ma, NeurIPS 2020 (arXiv 2006.08857); what follows is derived here in full.

Descent with discrepant rates, from θ = 0 and u = v = γ, on g(θ, u, v) = ½‖r‖²:

    θ ← θ − τ Jᵀr,        u ← u∘(1 − 2ατ r),        v ← v∘(1 + 2ατ r).                        (1)

The flow (τ → 0) in N numbers
-----------------------------
Let ν = −∫r dt. Then θ = Jᵀν, u = γ exp(2αν), v = γ exp(−2αν), hence

    s = 2γ² sinh(4αν),        dν/dt = y − JJᵀν − 2γ² sinh(4αν) = −∇D(ν),                      (2)
    D(ν) = ½‖Jᵀν‖² + γ²/(2α) Σ (cosh 4αν_i − 1) − yᵀν.

D is strongly convex, so the flow always converges, to the one root of ∇D: r = 0. These are the
optimality conditions, with multiplier ν, of

    min ½‖θ‖² + Σ Q(s_i)  subject to  y = Jθ + s,        Q′(s) = ν = asinh(s/2γ²) / 4α,
    Q(s) = [ s asinh(s/2γ²) − √(s² + 4γ⁴) + 2γ² ] / 4α.                                       (3)

(Critical points with r ≠ 0 do not attract the flow: there u_i = v_i = 0 where r_i ≠ 0, with
curvatures ±2r_i, so they are strict saddles.)

The limit γ → 0
---------------
Let λ = −log γ / (2α) stay fixed. Where |s_i| ≫ γ², asinh(|s|/2γ²) = log|s| − 2 log γ, so

    ν_i = sign(s_i) (λ + log|s_i| / 4α) = sign(s_i) λ (1 + log|s_i| / (2|log γ|)),            (4)

and where |ν_i| < λ, |s_i| < γ^(2 − 2|ν_i|/λ) → 0. Q(s) tends to λ|s| on every bounded set, and

    min ½‖θ‖² + λ‖s‖₁  subject to  y = Jθ + s                                                 (5)

has one solution, because with s = y − Jθ it is strictly convex in θ. The limits converge to it
without any further assumption. But (4) converges slowly: the λ of each entry of s has a relative
error of |log|s_i|| / (2|log γ|), which is 0 only where |s_i| = 1. So the unit of y matters.

When the truth is recovered
---------------------------
Let y = Jθ* + s*, with θ* in the row space of J, s* of k nonzeros, U an orthonormal basis of the
range of J, r its rank and μ = (N/r) max_i ‖Uᵀe_i‖² (1 ≤ μ ≤ N/r). If k²r < N/(4μ), then (5) returns
θ* and s* exactly for every λ > ‖w‖_∞ / c, with θ* = Jᵀw and c = 1 − 2k√(μr/N).

Proof: z = J(θ − θ*) has |z_i| ≤ √(μr/N)‖z‖₂ ≤ √(μr/N)‖z‖₁, so ‖s* − z‖₁ ≥ ‖s*‖₁ + c‖z‖₁, while
½‖θ‖² ≥ ½‖θ*‖² + wᵀz: the objective grows by more than (λc − ‖w‖_∞)‖z‖₁. The condition is
sufficient and far from necessary: in experiments k may be a large part of N.
"""

# scipy.linalg has no type stubs, and cvxpy types its functions in part.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_count, check_real

__all__ = [
    "LinearSolution",
    "flow_limit",
    "gradient_descent",
    "implicit_penalty",
    "l1_objective",
    "l1_solution",
    "rate_ratio",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearSolution:
    """y ≈ Jθ + s.

    Attributes
    ----------
    theta : ndarray
        θ, shape (p,).
    s : ndarray
        Shape (N,).
    nu : ndarray
        ν with θ = Jᵀν, shape (N,): the multiplier of y = Jθ + s. For (5) it is not unique if the
        rows of J are linearly dependent.
    residual : float
        max|Jθ + s − y| / max|y|. It is above `tol` if `max_steps` was reached first.
    steps : int
        Steps of descent or of Newton's method; 0 for a solver that does not report them.
    """

    theta: Array
    s: Array
    nu: Array
    residual: float
    steps: int


def rate_ratio(lam: float, *, gamma: float) -> float:
    """Compute α = −log γ / (2λ), the ratio of the rates that gives λ.

    Parameters
    ----------
    lam : float
        λ > 0. As α and λ enter alike, the function also gives λ for an α.
    gamma : float
        γ in [1e-100, 1), the start of u and v.

    Returns
    -------
    float
        α, or λ if α was given.

    Raises
    ------
    ValueError
        If `lam` is not positive and finite, or `gamma` not in [1e-100, 1).
    """
    _check_gamma(gamma)
    return -math.log(gamma) / (2 * check_real("lam", lam, above=0))


def implicit_penalty(s: ArrayLike, *, alpha: float, gamma: float) -> Array:
    """Compute Q(s) of equation (3), which descent minimises in place of λ|s|.

    Parameters
    ----------
    s : array_like
        Any shape.
    alpha, gamma : float
        As in `gradient_descent`.

    Returns
    -------
    ndarray of float64, shape of `s`

    Raises
    ------
    ValueError
        If `alpha` is not positive and finite, or `gamma` not in [1e-100, 1).
    """
    check_real("alpha", alpha, above=0)
    _check_gamma(gamma)
    s = np.asarray(s, dtype=np.float64)
    c = 2 * gamma**2
    # s²/(√(s² + c²) + c) is √(s² + c²) − c without its cancellation where s is below γ².
    return (s * np.arcsinh(s / c) - s * s / (np.hypot(s, c) + c)) / (4 * alpha)


def l1_objective(jacobian: ArrayLike, y: ArrayLike, theta: ArrayLike, *, lam: float) -> float:
    """Compute ½‖θ‖² + λ‖y − Jθ‖₁, the objective of (5) at any θ with the s = y − Jθ that fits it.

    Parameters
    ----------
    jacobian : array_like
        J, shape (N, p).
    y : array_like
        Shape (N,).
    theta : array_like
        θ, shape (p,).
    lam : float
        λ > 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If J and y do not fit, are empty or not finite, or λ is not positive.
    """
    jacobian, y = _check_model(jacobian, y)
    theta = np.asarray(theta, dtype=np.float64)
    rest = np.abs(y - jacobian @ theta).sum()
    return float(0.5 * theta @ theta + check_real("lam", lam, above=0) * rest)


def gradient_descent(
    jacobian: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float,
    gamma: float,
    growth: float = 0.01,
    tol: float = 1e-6,
    max_steps: int = 1_000_000,
) -> LinearSolution:
    """Plain gradient descent on θ, u and v, equation (1), until the residual is below `tol`.

    The step τ is the largest one that is stable, τ(‖J‖² + 4α max(u² + v²)) ≤ 1, and changes no
    entry of u or v by more than the fraction `growth`. The second bound decides how far the steps
    are from the flow: Σ log(1 ± 2ατr) has a relative error of `growth`/2 if r keeps its sign. λ has
    the same relative error, so halving `growth` halves the distance to `flow_limit`.

    Parameters
    ----------
    jacobian : array_like
        J, shape (N, p).
    y : array_like
        Shape (N,).
    alpha : float
        α > 0: u and v move at α times the rate of θ. `rate_ratio` gives it from λ.
    gamma : float
        γ in [1e-100, 1), the start of u and v.
    growth : float
        In (0, 0.5]. The number of steps is about max|log γ| / growth.
    tol : float
        Stop when max|r| ≤ tol · max|y|.
    max_steps : int
        Largest number of steps.

    Returns
    -------
    LinearSolution

    Raises
    ------
    TypeError
        If a parameter is not a number.
    ValueError
        If J and y do not fit, are empty or not finite, or a parameter is out of range.
    """
    jacobian, y = _check_model(jacobian, y)
    _check_flow(alpha, gamma, tol=tol, max_steps=max_steps)
    check_real("growth", growth, above=0, most=0.5)
    curvature = float(np.linalg.norm(jacobian, 2)) ** 2
    scale = float(np.abs(y).max()) or 1.0
    theta, nu = np.zeros(jacobian.shape[1]), np.zeros(len(y))
    u, v = np.full(len(y), float(gamma)), np.full(len(y), float(gamma))
    steps = 0
    while True:
        uu, vv = u * u, v * v
        s = uu - vv
        r = jacobian @ theta + s - y
        peak = float(np.abs(r).max())
        if peak <= tol * scale or steps == max_steps:
            return LinearSolution(theta, s, nu, peak / scale, steps)
        tau = 1 / max(curvature + 4 * alpha * float((uu + vv).max()), 2 * alpha * peak / growth)
        r *= tau
        theta -= r @ jacobian
        nu -= r
        r *= 2 * alpha
        u -= u * r
        v += v * r
        steps += 1


def flow_limit(
    jacobian: ArrayLike,
    y: ArrayLike,
    *,
    alpha: float,
    gamma: float,
    tol: float = 1e-10,
    max_steps: int = 500,
) -> LinearSolution:
    """The limit of the gradient flow, the minimiser of (3), computed directly.

    Newton's method on D of equation (2): O(N³) for each step, and usually 15 to 40 steps for any γ.
    D is nearly flat where |ν_i| < λ and very steep beyond. So γ is lowered in stages at a fixed λ;
    each stage doubles |log γ| and starts from the result of the one before.

    Parameters
    ----------
    jacobian : array_like
        J, shape (N, p), of any rank.
    y : array_like
        Shape (N,).
    alpha, gamma : float
        As in `gradient_descent`. With γ = 1e-100 the result differs from (5) by about 1 %.
    tol : float
        Stop when max|r| ≤ tol · max|y|.
    max_steps : int
        Largest number of steps, all stages together.

    Returns
    -------
    LinearSolution

    Raises
    ------
    TypeError
        If a parameter is not a number.
    ValueError
        If J and y do not fit, are empty or not finite, or a parameter is out of range.
    """
    jacobian, y = _check_model(jacobian, y)
    _check_flow(alpha, gamma, tol=tol, max_steps=max_steps)
    kernel = jacobian @ jacobian.T
    depth, lam = -math.log(gamma), rate_ratio(alpha, gamma=gamma)
    nu, steps = np.zeros(len(y)), 0
    # At γ = e⁻² the sinh is so flat that Newton's method converges from 0.
    stage = min(2.0, depth)
    while True:
        last = stage == depth
        k, c = 2 * stage / lam, 2 * (gamma**2 if last else math.exp(-2 * stage))
        nu, s, residual, taken = _newton(
            kernel, y, nu, k=k, c=c, tol=tol if last else 1e-2, max_steps=max_steps - steps
        )
        steps += taken
        if last or steps >= max_steps:
            break
        # The start of the next stage keeps s where it is not small, and ν elsewhere.
        stage = min(2 * stage, depth)
        moved = np.arcsinh(s / (2 * math.exp(-2 * stage))) * lam / (2 * stage)
        nu = np.where(np.abs(nu) < lam, nu, moved)
    return LinearSolution(nu @ jacobian, s, nu, residual, steps)


def l1_solution(
    jacobian: ArrayLike, y: ArrayLike, *, lam: float, solver: str | None = "CLARABEL"
) -> LinearSolution:
    """The solution of (5) by a general convex solver, as a reference for the other functions.

    Parameters
    ----------
    jacobian : array_like
        J, shape (N, p).
    y : array_like
        Shape (N,).
    lam : float
        λ > 0.
    solver : str, optional
        A name that cvxpy knows. Clarabel's interior-point method is accurate to about 1e-8. None
        takes cvxpy's own choice, which may be less accurate.

    Returns
    -------
    LinearSolution

    Raises
    ------
    ImportError
        If cvxpy is missing.
    ValueError
        If J and y do not fit, are empty or not finite, λ is not positive, or the solver fails.
    """
    jacobian, y = _check_model(jacobian, y)
    check_real("lam", lam, above=0)
    try:
        import cvxpy
    except ImportError as missing:
        raise ImportError("cvxpy is missing; pip install 'robustdip[theory]'") from missing
    theta, s = cvxpy.Variable(jacobian.shape[1]), cvxpy.Variable(len(y))
    constraint = jacobian @ theta + s == y
    objective = cvxpy.Minimize(0.5 * cvxpy.sum_squares(theta) + lam * cvxpy.norm1(s))
    problem = cvxpy.Problem(objective, [constraint])
    problem.solve(solver=solver)
    if theta.value is None or s.value is None or constraint.dual_value is None:
        raise ValueError(f"cvxpy ended with {problem.status!r}; rescale y, or try another solver")
    residual = float(np.abs(jacobian @ theta.value + s.value - y).max())
    scale = float(np.abs(y).max()) or 1.0
    # cvxpy adds dualᵀ(Jθ + s − y) to the objective: θ = −Jᵀ dual.
    return LinearSolution(theta.value, s.value, -constraint.dual_value, residual / scale, 0)


def _newton(
    kernel: Array, y: Array, nu: Array, *, k: float, c: float, tol: float, max_steps: int
) -> tuple[Array, Array, float, int]:
    """Solve JJᵀν + c sinh(kν) = y. Return ν, s, max|r| / max|y| and the number of steps."""
    from scipy.linalg import cho_factor, cho_solve

    scale = float(np.abs(y).max()) or 1.0

    def at(nu: Array) -> tuple[float, Array, Array]:
        linear, s = kernel @ nu, c * np.sinh(k * nu)
        value = nu @ (0.5 * linear - y) + (s * s / (np.hypot(s, c) + c)).sum() / k
        return float(value), linear + s - y, s

    value, r, s = at(nu)
    steps = 0
    while np.abs(r).max() > tol * scale and steps < max_steps:
        slopes = k * np.hypot(s, c)  # ds/dν
        hessian = kernel.copy()
        # Damping relative to the diagonal, because rounding errors of Cholesky scale with it and
        # the entries of s differ by a hundred orders of magnitude.
        np.fill_diagonal(hessian, (kernel.diagonal() + slopes) * (1 + 1e-11))
        # The matrix is symmetric; its transpose is in LAPACK's memory order, which saves a copy.
        factor = cho_factor(hessian.T, lower=True, overwrite_a=True, check_finite=False)
        step = -cho_solve(factor, r, check_finite=False)
        size = 1.0
        while True:
            # The tangent may be followed in ν or in s. In ν, an s that grows overshoots
            # exponentially; in s, one that shrinks crosses 0. Long steps take whichever changes ν
            # less. Short steps follow ν, which keeps JJᵀ·step = 0 in the null space of J.
            in_nu = size * step
            in_s = np.arcsinh((s + slopes * in_nu) / c) / k - nu
            short = (k * np.abs(in_nu) < 1) | (np.abs(in_nu) < np.abs(in_s))
            trial = nu + np.where(short, in_nu, in_s)
            found, rest, sparse = at(trial)
            # Armijo's rule, with an allowance for the rounding error of the value.
            allowed = value + 1e-4 * size * (r @ step) + 1e-13 * abs(y @ trial)
            if found <= allowed or size < 1e-8:
                break
            size /= 2
        nu, value, r, s = trial, found, rest, sparse
        steps += 1
    return nu, s, float(np.abs(r).max()) / scale, steps


def _check_model(jacobian: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    jacobian, y = np.asarray(jacobian, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if jacobian.ndim != 2 or 0 in jacobian.shape or y.shape != jacobian.shape[:1]:
        raise ValueError(
            f"jacobian has shape {jacobian.shape} and y {y.shape}: they must be (N, p) and (N,)"
        )
    if not (np.isfinite(jacobian).all() and np.isfinite(y).all()):
        raise ValueError("jacobian or y has values that are not finite; remove those rows first")
    return jacobian, y


def _check_flow(alpha: float, gamma: float, *, tol: float, max_steps: int) -> None:
    check_real("alpha", alpha, above=0)
    _check_gamma(gamma)
    check_real("tol", tol, above=0, below=1)
    check_count("max_steps", max_steps, least=1)


def _check_gamma(gamma: float) -> None:
    # γ² below 1e-200 would leave float64 no room for s/γ².
    check_real("gamma", gamma, least=1e-100, below=1)
