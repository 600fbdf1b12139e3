"""The end of the descent on the linear model: how long at N = 2,000, and against cvxpy at N = 200.

    OMP_NUM_THREADS=2 python -m benchmarks.theory.linear_solver [--repeats 5] [--rank 0]

The threads are those of numpy, which follow OMP_NUM_THREADS, as does the default of --threads.

J is Gaussian (of full rank unless `--rank` says otherwise), y = Jθ + s with 10 % of s at ±3.
Against cvxpy both values of ½‖θ‖² + λ‖y − Jθ‖₁ are compared with the best known, Clarabel's.
"""

import importlib.metadata
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.logs import LINEAR_SOLVER
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from overparam.theory.linear import (
    LinearSolution,
    flow_limit,
    l1_objective,
    l1_solution,
    rate_ratio,
)

Array = NDArray[np.float64]
LAM = 1.0
USUAL = 1e-6
# Far enough for 1e-4 in the objective, whose distance falls like 1/log²γ. And 1e-6 of the residual
# is more than that asks for.
SMALL, TOL = 1e-20, 1e-6


def problem(n: int, p: int, *, rank: int, rng: np.random.Generator) -> tuple[Array, Array]:
    jacobian = rng.standard_normal((n, p)) / np.sqrt(p)
    if rank:
        jacobian = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))
        jacobian /= np.sqrt(rank * p)
    s = 3 * rng.choice([-1, 1], n) * (rng.random(n) < 0.1)
    return jacobian, jacobian @ rng.standard_normal(p) + s


def limit(jacobian: Array, y: Array, *, gamma: float) -> LinearSolution:
    return flow_limit(jacobian, y, alpha=rate_ratio(LAM, gamma=gamma), gamma=gamma, tol=TOL)


def timed(solve: Callable[[], LinearSolution]) -> tuple[float, LinearSolution]:
    begin = time.perf_counter()
    found = solve()
    return time.perf_counter() - begin, found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rank", type=int, default=0, help="of J; 0: full")
    args = parse(options)
    rng = np.random.default_rng(0)

    jacobian, y = problem(200, 300, rank=args.rank, rng=rng)
    solvers: dict[str, Callable[[], LinearSolution]] = {
        "limit": lambda: limit(jacobian, y, gamma=SMALL),
        "cvxpy": lambda: l1_solution(jacobian, y, lam=LAM, solver=None),
    }
    best = l1_objective(jacobian, y, l1_solution(jacobian, y, lam=LAM).theta, lam=LAM)
    times: dict[str, list[float]] = {name: [] for name in solvers}
    off: dict[str, float] = {}
    for repeat in range(args.repeats + 1):
        # In turns, so that a busy moment of the machine does not fall on one alone.
        for name, solve in solvers.items():
            seconds, found = timed(solve)
            off[name] = l1_objective(jacobian, y, found.theta, lam=LAM) / best - 1
            if repeat:  # the first loads the libraries
                times[name].append(seconds)
    medians = {name: statistics.median(t) for name, t in times.items()}
    results = {
        "n200_seconds": {name: round(t, 5) for name, t in medians.items()},
        "n200_objective_above_best": {name: float(f"{value:.2g}") for name, value in off.items()},
        "n200_times_faster": round(medians["cvxpy"] / medians["limit"], 1),
    }
    print("N=200, p=300:", results)

    large, target = problem(2000, 3000, rank=args.rank, rng=rng)
    for name, gamma in (("usual", USUAL), ("small", SMALL)):
        runs = [
            timed(lambda gamma=gamma: limit(large, target, gamma=gamma)) for _ in times["limit"]
        ]
        results[f"n2000_{name}_gamma"] = {
            "seconds": round(statistics.median(seconds for seconds, _ in runs), 2),
            "steps": runs[-1][1].steps,
            "residual": float(f"{runs[-1][1].residual:.2g}"),
        }
        print(f"N=2000, p=3000, gamma={gamma}:", results[f"n2000_{name}_gamma"])
    settings = settings_of(args) | {
        "lambda": LAM,
        "gamma": {"small": SMALL, "usual": USUAL},
        "tol": TOL,
        "unit": f"seconds, median of {args.repeats}",
    }
    results["cvxpy"] = importlib.metadata.version("cvxpy")
    LINEAR_SOLVER.record("theory", settings, results)


if __name__ == "__main__":
    main()
