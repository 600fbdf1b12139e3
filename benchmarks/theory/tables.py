"""The tables of the records of the theory."""

from benchmarks.markdown import Cell, table
from benchmarks.record import Line, machine


def linear_solver(lines: list[Line]) -> str:
    """Seconds of the limit of descent and of a general convex solver."""
    rows = []
    for line in lines:
        results = line["results"]
        numbers = (
            f"{1000 * results['n200_seconds']['limit']:.1f}",
            f"{1000 * results['n200_seconds']['cvxpy']:.1f}",
            f"{results['n200_times_faster']:.1f}",
            f"{results['n2000_usual_gamma']['seconds']:.2f}",
            f"{results['n2000_small_gamma']['seconds']:.2f}",
        )
        rows.append([machine(line), *(Cell(text, [line]) for text in numbers)])
    head = ["on", "N = 200: ours, ms", "cvxpy, ms", "ratio"]
    return table([*head, "N = 2,000, gamma = 1e-6: s", "gamma = 1e-20: s"], rows)


def low_rank(lines: list[Line]) -> str:
    """Seconds and error of descent and of the convex program on a 500 x 500 matrix."""
    rows = []
    for line in lines:
        for name in ("descent", "pursuit"):
            found = line["results"][f"n=500 {name}"]
            numbers = (
                f"{found['seconds']:.2f}",
                str(found["steps"]),
                f"{found['relative error of X']:.1e}",
            )
            rows.append([machine(line), name, *(Cell(text, [line]) for text in numbers)])
    return table(["on", "method", "s", "steps", "relative error of X"], rows)
