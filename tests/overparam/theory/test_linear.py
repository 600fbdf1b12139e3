"""Promise: descent on (θ, u, v) ends where the theory says, and nears the l1 program as it says."""

import math
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp
from scipy.optimize import minimize

from overparam.theory.linear import (
    flow_limit,
    gradient_descent,
    implicit_penalty,
    l1_objective,
    l1_solution,
    rate_ratio,
)

Array = NDArray[np.float64]


def problem(n: int, p: int, *, rank: int | None = None, corruptions: int = 0, seed: int = 0):
    """J, θ* in its row space and s* = ±3; without a rank J is of full rank."""
    rng = np.random.default_rng(seed)
    jacobian = rng.standard_normal((n, p)) / math.sqrt(p)
    if rank is not None:
        jacobian = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))
        jacobian /= math.sqrt(rank * p)
    theta = np.linalg.pinv(jacobian) @ jacobian @ rng.standard_normal(p)
    s = np.zeros(n)
    s[rng.choice(n, corruptions, replace=False)] = 3 * rng.choice([-1, 1], corruptions)
    return jacobian, theta, s


def distance(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def minimiser(jacobian: Array, y: Array, *, alpha: float, gamma: float) -> Array:
    """θ that minimises ½‖θ‖² + Σ Q(y − Jθ), by a trust-region method that knows nothing of ν."""

    def q(s: Array) -> Array:
        root = np.sqrt(s**2 + 4 * gamma**4)
        return (s * np.arcsinh(s / (2 * gamma**2)) - root + 2 * gamma**2) / (4 * alpha)

    def slope(s: Array) -> Array:
        return np.arcsinh(s / (2 * gamma**2)) / (4 * alpha)

    def curve(s: Array) -> Array:
        return 1 / (4 * alpha * np.sqrt(s**2 + 4 * gamma**4))

    found = minimize(
        lambda t: 0.5 * t @ t + q(y - jacobian @ t).sum(),
        np.zeros(jacobian.shape[1]),
        jac=lambda t: t - jacobian.T @ slope(y - jacobian @ t),
        hess=lambda t: np.eye(len(t)) + jacobian.T * curve(y - jacobian @ t) @ jacobian,
        method="trust-exact",
        options={"gtol": 1e-9, "maxiter": 3000},
    )
    assert np.abs(found.jac).max() < 1e-7
    return found.x


# Small enough for 10⁵ steps of descent: more columns than rows, fewer, and dependent rows.
CASES = [
    (problem(5, 8, corruptions=1), 0.3),
    (problem(7, 3, corruptions=2, seed=1), 0.5),
    (problem(6, 9, rank=3, corruptions=1, seed=2), 0.2),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_descent_reaches_the_exact_minimiser_at_finite_gamma(case: int):
    (jacobian, theta, s), lam = CASES[case]
    y, gamma = jacobian @ theta + s, 1e-2
    alpha = rate_ratio(lam, gamma=gamma)
    wanted = minimiser(jacobian, y, alpha=alpha, gamma=gamma)
    limit = flow_limit(jacobian, y, alpha=alpha, gamma=gamma)
    assert distance(limit.theta, wanted) < 1e-7
    assert distance(limit.s, y - jacobian @ wanted) < 1e-7

    coarse, fine = (
        gradient_descent(jacobian, y, alpha=alpha, gamma=gamma, growth=growth, tol=1e-8)
        for growth in (4e-4, 2e-4)
    )
    assert max(coarse.residual, fine.residual) <= 1e-8
    assert distance(fine.theta, wanted) < 1e-4
    assert distance(fine.s, y - jacobian @ wanted) < 1e-4
    # The rest is the size of the steps alone: half of it at half the size, none by extrapolation.
    assert distance(coarse.theta, wanted) == pytest.approx(
        2 * distance(fine.theta, wanted), rel=0.1
    )
    assert distance(2 * fine.theta - coarse.theta, wanted) < 2e-6


def test_equal_rates_miss_the_minimiser():
    """Negative control: the ratio of the rates is what sets the penalty."""
    (jacobian, theta, s), lam = CASES[0]
    y, gamma = jacobian @ theta + s, 1e-2
    wanted = minimiser(jacobian, y, alpha=rate_ratio(lam, gamma=gamma), gamma=gamma)
    equal = gradient_descent(jacobian, y, alpha=1.0, gamma=gamma)
    assert equal.residual < 1e-6
    assert distance(equal.theta, wanted) > 0.2


def test_steps_are_those_of_gradient_descent():
    """Three steps by hand, with numerical gradients of ½‖r‖² and the documented step."""
    jacobian, theta, s = problem(4, 6, corruptions=1)
    y, alpha, gamma, growth = jacobian @ theta + s, 2.0, 0.1, 0.3
    x = np.concatenate([np.zeros(6), np.full(8, gamma)])
    rates = np.concatenate([np.ones(6), np.full(8, alpha)])

    def residual(x: Array) -> Array:
        return jacobian @ x[:6] + x[6:10] ** 2 - x[10:] ** 2 - y

    for _ in range(3):
        r = residual(x)
        bound = np.linalg.norm(jacobian, 2) ** 2 + 4 * alpha * (x[6:10] ** 2 + x[10:] ** 2).max()
        tau = min(1 / bound, growth / (2 * alpha * np.abs(r).max()))
        # Exact for this polynomial of degree 4 up to h²; Richardson takes that away.
        gradient = np.zeros(14)
        for i, e in enumerate(np.eye(14)):
            slope = [
                ((residual(x + h * e) ** 2).sum() - (residual(x - h * e) ** 2).sum()) / (4 * h)
                for h in (1e-2, 2e-2)
            ]
            gradient[i] = (4 * slope[0] - slope[1]) / 3
        x = x - tau * rates * gradient
    found = gradient_descent(jacobian, y, alpha=alpha, gamma=gamma, growth=growth, max_steps=3)
    assert found.steps == 3
    np.testing.assert_allclose(found.theta, x[:6], atol=1e-11)
    np.testing.assert_allclose(found.s, x[6:10] ** 2 - x[10:] ** 2, atol=1e-11)
    np.testing.assert_allclose(jacobian.T @ found.nu, found.theta, atol=1e-12)


def test_the_flow_integrated_in_theta_u_v_ends_at_the_limit():
    (jacobian, theta, s), lam = CASES[0]
    y, gamma, (n, p) = jacobian @ theta + s, 0.05, jacobian.shape
    alpha = rate_ratio(lam, gamma=gamma)

    def flow(_: float, x: Array) -> Array:
        u, v = x[p : p + n], x[p + n :]
        r = jacobian @ x[:p] + u * u - v * v - y
        return -np.concatenate([jacobian.T @ r, 2 * alpha * u * r, -2 * alpha * v * r])

    start = np.concatenate([np.zeros(p), np.full(2 * n, gamma)])
    end = solve_ivp(flow, (0, 2000), start, method="LSODA", rtol=1e-9, atol=1e-12).y[:, -1]
    limit = flow_limit(jacobian, y, alpha=alpha, gamma=gamma)
    assert distance(end[:p], limit.theta) < 1e-6
    assert distance(end[p : p + n] ** 2 - end[p + n :] ** 2, limit.s) < 1e-6


def test_penalty_is_the_integral_of_the_multiplier():
    alpha, gamma = 3.0, 0.1
    for s in (-2.0, -1e-3, 0.0, 0.02, 5.0):
        area = quad(lambda x: math.asinh(x / (2 * gamma**2)) / (4 * alpha), 0, s, epsabs=1e-13)[0]
        assert implicit_penalty(s, alpha=alpha, gamma=gamma) == pytest.approx(area, abs=1e-12)
    # And λ|s| in the limit, to the logarithmic part: (|s| log|s| − |s|) / 4α.
    lam, gamma = 0.7, 1e-90
    alpha = rate_ratio(lam, gamma=gamma)
    s = np.array([-4.0, 0.1, 1.0])
    wanted = lam * np.abs(s) + (np.abs(s) * np.log(np.abs(s)) - np.abs(s)) / (4 * alpha)
    np.testing.assert_allclose(implicit_penalty(s, alpha=alpha, gamma=gamma), wanted, rtol=1e-12)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    n=st.integers(1, 12),
    p=st.integers(1, 12),
    rank=st.integers(0, 12),
    exponent=st.floats(-60, -0.05),
    lam=st.floats(0.02, 20),
    unit=st.sampled_from([1e-4, 1.0, 1e3]),
    seed=st.integers(0, 2**31),
)
def test_limit_satisfies_its_optimality_conditions(n, p, rank, exponent, lam, unit, seed):
    """Any shape and rank, 0 included: feasible, θ = Jᵀν, and the cost is that of no neighbour."""
    jacobian, theta, s = problem(n, p, rank=rank or 1, corruptions=n // 3, seed=seed)
    jacobian *= rank > 0
    y, gamma = unit * (jacobian @ theta + s + 0.1), 10.0**exponent
    alpha = rate_ratio(lam * unit, gamma=gamma)
    found = flow_limit(jacobian, y, alpha=alpha, gamma=gamma)
    assert found.residual <= 1e-10
    assert np.abs(jacobian @ found.theta + found.s - y).max() <= 2e-10 * np.abs(y).max()
    np.testing.assert_allclose(found.theta, jacobian.T @ found.nu, atol=1e-9 * unit)
    # Q′(s) = ν, with an asinh of our own; where |ν| < λ an s below the rounding of y is free.
    exact = 2 * math.exp(2 * math.log(gamma)) * np.sinh(4 * alpha * found.nu)
    np.testing.assert_allclose(found.s, exact, rtol=1e-9, atol=1e-11 * np.abs(y).max())

    def cost(theta: Array) -> float:
        rest = implicit_penalty(y - jacobian @ theta, alpha=alpha, gamma=gamma)
        return 0.5 * theta @ theta + rest.sum()

    rng, best = np.random.default_rng(seed), cost(found.theta)
    for size in (1.0, 1e-1, 1e-2):
        other = found.theta + size * unit * rng.standard_normal(p)
        assert cost(other) >= best * (1 - 1e-9)


def test_one_number():
    """N = p = 1: the root of ν j² + 2γ² sinh(4αν) = y, by bisection."""
    for j, y in ((0.5, 2.0), (-2.0, -0.3), (0.0, 1.0), (1.0, 0.0)):
        found = flow_limit([[j]], [y], alpha=4.0, gamma=0.01)
        low, high = -2.0, 2.0
        while high - low > 1e-14:
            nu = (low + high) / 2
            below = nu * j * j + 2e-4 * math.sinh(16 * nu) < y
            low, high = (nu, high) if below else (low, nu)
        nu = (low + high) / 2
        assert found.nu[0] == pytest.approx(nu, rel=1e-8, abs=1e-12)
        assert found.theta[0] == pytest.approx(j * nu, rel=1e-8, abs=1e-12)


def test_kkt_conditions_and_distance_to_l1_follow_the_logarithm():
    pytest.importorskip("cvxpy")
    jacobian, theta, s = problem(20, 30, corruptions=4, seed=1)
    y, lam = jacobian @ theta + s, 0.5
    convex = l1_solution(jacobian, y, lam=lam)
    on = np.abs(convex.s) > 1e-6
    assert 4 < on.sum() < 20  # neither set is empty
    # The convex solver's own answer.
    np.testing.assert_allclose(jacobian.T @ convex.nu, convex.theta, atol=1e-6)
    np.testing.assert_allclose(convex.nu[on], lam * np.sign(convex.s[on]), atol=1e-6)
    assert np.abs(convex.nu[~on]).max() < lam

    # First order in 1/|log γ|: θ moves by the part of J_onᵀ(sign(s) λ log|s| / 2) that leaves
    # Jθ = y where s = 0.
    push = np.sign(convex.s[on]) * lam * np.log(np.abs(convex.s[on])) / 2
    gain, rest = jacobian[on].T @ push, jacobian[~on]
    gain = gain - np.linalg.pinv(rest) @ (rest @ gain)
    missed = []
    for exponent in (6, 12, 24, 48, 96):
        gamma = 10.0**-exponent
        alpha = rate_ratio(lam, gamma=gamma)
        found = flow_limit(jacobian, y, alpha=alpha, gamma=gamma)
        shift = np.sign(found.s[on]) * (lam + np.log(np.abs(found.s[on])) / (4 * alpha))
        np.testing.assert_allclose(found.nu[on], shift, rtol=1e-9)
        assert np.abs(found.nu[~on]).max() < lam
        missed.append(distance((found.theta - convex.theta) * abs(math.log(gamma)), gain))
    assert missed[0] < 0.25
    # What is left is second order: its part falls like 1/|log γ| again.
    for coarse, fine in pairwise(missed):
        assert 0.45 < fine / coarse < 0.65
    # The objective is second order.
    best = l1_objective(jacobian, y, convex.theta, lam=lam)
    assert 0 <= l1_objective(jacobian, y, found.theta, lam=lam) / best - 1 < 1e-5


def test_descent_and_convex_program_share_their_path():
    pytest.importorskip("cvxpy")
    jacobian, theta, s = problem(8, 12, corruptions=2, seed=3)
    y, gamma = jacobian @ theta + s, 1e-30
    for lam in (0.2, 1.0):
        convex = l1_solution(jacobian, y, lam=lam)
        alpha = rate_ratio(lam, gamma=gamma)
        found = gradient_descent(jacobian, y, alpha=alpha, gamma=gamma, growth=0.02)
        assert distance(found.theta, convex.theta) < 0.02
        assert distance(found.s, convex.s) < 0.02
        other = l1_solution(jacobian, y, lam=3 * lam)
        assert distance(found.theta, other.theta) > 0.1


def test_recovery_is_exact_where_it_is_proved_and_fails_where_it_cannot_be():
    _, theta, s = problem(100, 150, corruptions=3)
    angle = 2 * np.pi * np.arange(100) / 100
    basis = np.stack([np.cos(angle), np.sin(angle)], 1) / math.sqrt(50)  # μ = 1
    jacobian = basis @ np.random.default_rng(1).standard_normal((2, 150))
    theta = np.linalg.pinv(jacobian) @ jacobian @ theta
    slack = 1 - 2 * 3 * math.sqrt(2 / 100)
    assert slack > 0  # k²r = 18 < 25 = N/(4μ)
    # θ* = Jᵀw; twice the λ beyond which the module's proof holds.
    lam = 2 * np.abs(np.linalg.pinv(jacobian).T @ theta).max() / slack

    def error(jacobian: Array, theta: Array, s: Array, lam: float) -> float:
        y, gamma = jacobian @ theta + s, 1e-20
        alpha = rate_ratio(lam, gamma=gamma)
        return distance(flow_limit(jacobian, y, alpha=alpha, gamma=gamma).theta, theta)

    assert error(jacobian, theta, s, lam) < 1e-8
    assert error(jacobian, theta, s, lam / 100) > 0.1  # λ too small
    easy = problem(100, 150, rank=10, corruptions=20)
    assert error(*easy, 3.0) < 1e-8
    assert error(*problem(100, 150, rank=10, corruptions=75), 3.0) > 0.1  # too many
    assert error(*problem(100, 150, rank=60, corruptions=20), 3.0) > 0.1  # J explains anything


def test_steps_that_ran_out_are_told():
    jacobian, theta, s = problem(6, 9, corruptions=1)
    y = jacobian @ theta + s
    descent = gradient_descent(jacobian, y, alpha=5.0, gamma=1e-3, max_steps=4)
    limit = flow_limit(jacobian, y, alpha=5.0, gamma=1e-3, max_steps=4)
    assert descent.steps == limit.steps == 4
    for found in (descent, limit):
        actual = np.abs(jacobian @ found.theta + found.s - y).max() / np.abs(y).max()
        assert found.residual == pytest.approx(actual, rel=1e-6)
        assert found.residual > 1e-4


def test_nothing_to_explain():
    for solve in (flow_limit, gradient_descent):
        found = solve(np.ones((3, 2)), np.zeros(3), alpha=1.0, gamma=0.1)
        assert found.residual == found.steps == 0
        assert not found.theta.any()
        assert not found.s.any()


def test_rate_ratio_is_its_own_inverse():
    assert rate_ratio(2.0, gamma=math.exp(-8)) == pytest.approx(2.0)
    assert rate_ratio(rate_ratio(0.3, gamma=1e-6), gamma=1e-6) == pytest.approx(0.3)


J, Y = np.ones((3, 2)), np.ones(3)
USUAL: dict[str, Any] = {"alpha": 1.0, "gamma": 0.1}
BAD: list[dict[str, Any]] = [
    *({"gamma": gamma} for gamma in (0.0, 1.0, -0.1, 1e-200, math.nan)),
    *({"alpha": alpha} for alpha in (0.0, -1.0, math.inf)),
    {"tol": 0.0},
    {"max_steps": 0},
]


@pytest.mark.parametrize(
    "solve",
    [
        lambda j, y: flow_limit(j, y, alpha=1.0, gamma=0.1),
        lambda j, y: gradient_descent(j, y, alpha=1.0, gamma=0.1),
        lambda j, y: l1_solution(j, y, lam=1.0),
        lambda j, y: l1_objective(j, y, np.zeros(2), lam=1.0),
    ],
)
@pytest.mark.parametrize(
    ("jacobian", "y", "says"),
    [
        (J, np.ones(2), r"\(3, 2\)"),
        (Y, Y, r"\(3,\)"),
        (J, np.ones((3, 1)), r"\(3, 1\)"),
        (np.ones((0, 2)), np.ones(0), r"\(0, 2\)"),
        (J, np.array([1, np.nan, 1]), "finite"),
        (np.full((3, 2), np.inf), Y, "finite"),
    ],
)
def test_bad_models_say_so(solve, jacobian, y, says):
    with pytest.raises(ValueError, match=says) as raised:
        solve(jacobian, y)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "call",
    [
        *(
            lambda solve=solve, bad=bad: solve(J, Y, **{**USUAL, **bad})
            for solve in (flow_limit, gradient_descent)
            for bad in BAD
        ),
        lambda: gradient_descent(J, Y, alpha=1.0, gamma=0.1, growth=0.0),
        lambda: gradient_descent(J, Y, alpha=1.0, gamma=0.1, growth=1.0),
        lambda: l1_solution(J, Y, lam=0.0),
        lambda: l1_objective(J, Y, np.zeros(2), lam=math.nan),
        lambda: rate_ratio(1.0, gamma=1.0),
        lambda: rate_ratio(-1.0, gamma=0.5),
        lambda: implicit_penalty(1.0, alpha=0.0, gamma=0.5),
    ],
)
def test_bad_parameters_say_so(call):
    names = "gamma|alpha|lam|tol|growth|max_steps"
    with pytest.raises(ValueError, match=rf"^({names}) is \S+;") as raised:
        call()
    assert "\n" not in str(raised.value)


def test_missing_cvxpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install 'robustdip\[theory\]'"):
        l1_solution(J, Y, lam=1.0)
