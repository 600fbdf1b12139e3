"""Gradient descent on the linear model, and the convex program that it solves
===========================================================================

::

    python examples/linear_model.py [--out examples/linear_model.png] [--seed 0]

(a) The entries of s over λ, by descent and by cvxpy. (b) The error of θ over λ where J has low
rank: it is 0 from some λ on. (c) How often θ is recovered, over the rank of J and the number of
corruptions. (d) How slowly descent approaches the convex program as γ → 0. The mathematics is in
``overparam/theory/linear.py``. Needs the extras ``plot`` and ``theory``. Ten seconds on one CPU
core.
"""
# sphinx_gallery_thumbnail_path = '../examples/linear_model.png'

from pathlib import Path

import numpy as np
from figures import arguments, save
from matplotlib.figure import Figure
from numpy.typing import NDArray

from overparam.theory.linear import (
    LinearSolution,
    flow_limit,
    gradient_descent,
    l1_solution,
    rate_ratio,
)

Array = NDArray[np.float64]
N, P = 100, 150
PLAIN = str.maketrans("", "", "$\\")  # a label without its mathtext
MAGNITUDE = 3.0  # of every corruption; the entries of Jθ* have variance 1


def planted(
    n: int, p: int, *, rank: int, corruptions: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """J of this rank with Gaussian factors, θ* in its row space, and s*."""
    if rank < min(n, p):
        jacobian = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, p))
        jacobian /= np.sqrt(rank * p)
    else:
        jacobian = rng.standard_normal((n, p)) / np.sqrt(p)
    rows = np.linalg.svd(jacobian, full_matrices=False)[2][:rank]
    theta = rows.T @ (rows @ rng.standard_normal(p))
    s = np.zeros(n)
    s[rng.choice(n, corruptions, replace=False)] = MAGNITUDE * rng.choice([-1, 1], corruptions)
    return jacobian, theta, s


def limit(jacobian: Array, y: Array, *, lam: float, gamma: float) -> LinearSolution:
    return flow_limit(jacobian, y, alpha=rate_ratio(lam, gamma=gamma), gamma=gamma)


def distance(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def draw_paths(axes, rng: np.random.Generator) -> None:
    """(a) A full-rank J: nothing is recovered, every λ has a solution of its own."""
    gamma, n = 1e-20, 20
    jacobian, theta, s = planted(n, 30, rank=n, corruptions=4, rng=rng)
    y = jacobian @ theta + s
    lams = np.geomspace(0.1, 5, 40)
    # Thousands of steps each, so only a few.
    dots = lams[3::6]
    alphas = [rate_ratio(lam, gamma=gamma) for lam in dots]
    descents = [gradient_descent(jacobian, y, alpha=a, gamma=gamma) for a in alphas]
    convex = np.array([l1_solution(jacobian, y, lam=lam).s for lam in lams])
    limits = np.array([limit(jacobian, y, lam=lam, gamma=gamma).s for lam in lams])
    lines = [
        axes.plot(lams, limits, color="C0", lw=3, alpha=0.5)[0],
        axes.plot(lams, convex, "k--", lw=0.8)[0],
        axes.plot(dots, [d.s for d in descents], "C3.", ms=6)[0],
    ]
    names = ["limit of descent", "convex program", "descent, step by step"]
    axes.legend(lines, names, loc="upper left", bbox_to_anchor=(0, 0.85))
    axes.set(xscale="log", xlabel="λ", ylabel="entries of s")
    axes.set_title(rf"(a) solution paths, N={n}, p=30, $\gamma$={gamma:g}")
    far = max(distance(d.s, c) for d, c in zip(descents, convex[3::6], strict=True))
    print("(a) largest relative distance of s from the convex program, over λ")
    print(f"    limit {max(map(distance, limits, convex)):.4f}, descent by steps {far:.4f}")


def draw_recovery(axes, rng: np.random.Generator) -> None:
    """(b) An incoherent J of rank 10, and 20 corruptions of 100 values."""
    jacobian, theta, s = planted(N, P, rank=10, corruptions=20, rng=rng)
    y = jacobian @ theta + s
    lams = np.geomspace(0.03, 30, 31)
    errors = {
        rf"$\gamma$ = {g:.2g}": [
            distance(limit(jacobian, y, lam=x, gamma=g).theta, theta) for x in lams
        ]
        for g in (np.exp(-8), 1e-20)
    }
    convex = [l1_solution(jacobian, y, lam=lam) for lam in lams]
    errors["convex program"] = [distance(found.theta, theta) for found in convex]
    print("(b) relative error of θ, at λ", *(f"{lam:>8.2g}" for lam in lams[::6]))
    for (name, values), style in zip(errors.items(), ("C0.-", "C1.-", "k--"), strict=True):
        axes.plot(lams, values, style, label=name)
        print(f"    {name.translate(PLAIN):25s}", *(f"{value:8.1e}" for value in values[::6]))
    axes.axhline(1e-3, color="0.7", lw=0.8)
    axes.set(xscale="log", yscale="log", ylim=(1e-10, 3), xlabel="λ", ylabel="relative error of θ")
    axes.set_title(f"(b) exact recovery, N={N}, p={P}, rank 10, 20 wrong")
    axes.legend()


def draw_transition(figure: Figure, axes, rng: np.random.Generator) -> None:
    """(c) One λ for all, large as the theory wants it, and γ small enough not to matter."""
    trials, lam, gamma = 5, 10.0, 1e-10
    ranks, counts = range(3, 61, 3), range(3, 61, 3)
    rates, coherence = np.zeros((len(counts), len(ranks))), []
    for j, rank in enumerate(ranks):
        mus = []
        for i, count in enumerate(counts):
            for _ in range(trials):
                jacobian, theta, s = planted(N, P, rank=rank, corruptions=count, rng=rng)
                found = limit(jacobian, jacobian @ theta + s, lam=lam, gamma=gamma)
                rates[i, j] += (distance(found.theta, theta) < 1e-3) / trials
            basis = np.linalg.svd(jacobian)[0][:, :rank]
            mus.append(N / rank * (basis**2).sum(1).max())
        coherence.append(np.mean(mus))
    mesh = axes.pcolormesh(ranks, counts, rates, cmap="gray", vmin=0, vmax=1)
    figure.colorbar(mesh, ax=axes, label=f"recovered to 1e-3, of {trials}")
    axes.plot(ranks, np.sqrt(N / (4 * np.multiply(coherence, ranks))), "C3", label="proved below")
    axes.set(xlabel="rank of J", ylabel="corruptions")
    axes.set_title(rf"(c) phase transition, N={N}, p={P}, λ={lam:g}, $\gamma$={gamma:g}")
    axes.legend()
    print("(c) part recovered; columns: rank", *(f"{rank:4d}" for rank in ranks[::3]))
    for count, row in zip(counts[::-3], rates[::-3], strict=True):
        print(f"    {count:3d} corruptions           ", *(f"{rate:4.1f}" for rate in row[::3]))


def draw_bias(axes, rng: np.random.Generator) -> None:
    """(d) As in (a), so that λ matters; corruptions of several sizes."""
    lam, n = 0.5, 40
    jacobian, theta, s = planted(n, 60, rank=n, corruptions=8, rng=rng)
    y = jacobian @ theta + s * rng.uniform(0.5, 2, n)
    convex = l1_solution(jacobian, y, lam=lam)
    support = np.abs(convex.s) > 1e-5 * np.abs(convex.s).max()
    # Equation (4), to first order in 1/|log γ|: on the support ν gains sign(s)λ log|s|/(2|log γ|);
    # elsewhere s = 0 keeps Jθ = y, so only the part of the gain in the null space there is felt.
    push = np.sign(convex.s[support]) * lam * np.log(np.abs(convex.s[support])) / 2
    rest = jacobian[~support]
    gain = push @ jacobian[support]
    gain -= np.linalg.pinv(rest) @ (rest @ gain)
    rate = np.linalg.norm(gain) / np.linalg.norm(convex.theta)
    tens = np.geomspace(2, 90, 13)
    depths = tens * np.log(10)
    seen, shift = [], []
    for depth in depths:
        found = limit(jacobian, y, lam=lam, gamma=np.exp(-depth))
        seen.append(distance(found.theta, convex.theta))
        shift.append(np.abs(np.abs(found.nu[support]) / lam - 1).max())
    largest = np.abs(np.log(np.abs(convex.s[support]))).max()
    axes.plot(tens, shift, "C1o", label="λ felt by an entry: worst part off")
    axes.plot(tens, largest / (2 * depths), "C1", lw=1, label=r"max |log|s|| / (2 |log $\gamma$|)")
    axes.plot(tens, seen, "C0o", label="distance of θ")
    axes.plot(tens, rate / depths, "C0", lw=1, label="its first order, from the same")
    axes.set(xscale="log", yscale="log", xlabel=r"$-\log_{10}\gamma$")
    axes.set(ylabel="relative to the convex program")
    axes.set_title(rf"(d) bias of $\gamma$, N={n}, p=60, λ={lam:g}")
    axes.legend()
    print("(d) -log10 of gamma    ", *(f"{ten:8.1f}" for ten in tens[::3]))
    print("    distance of θ      ", *(f"{value:8.4f}" for value in seen[::3]))
    print("    first order        ", *(f"{rate / depth:8.4f}" for depth in depths[::3]))
    print("    λ off, worst entry ", *(f"{value:8.4f}" for value in shift[::3]))
    print("    theory             ", *(f"{largest / (2 * d):8.4f}" for d in depths[::3]))


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    # One stream a panel: a change in one leaves the others as they were.
    rngs = np.random.default_rng(args.seed).spawn(4)
    draw_paths(panels[0], rngs[0])
    draw_recovery(panels[1], rngs[1])
    draw_transition(figure, panels[2], rngs[2])
    draw_bias(panels[3], rngs[3])
    save(figure, args.out, dpi=76)


if __name__ == "__main__":
    main()
