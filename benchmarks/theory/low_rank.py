"""Low rank plus sparse: seconds at n = 500, and seconds of a 20 x 20 recovery grid at n = 50.

python -m benchmarks.theory.low_rank [--threads 2] [--device cpu] [--trials 4] [--steps 2000]
"""

import time

import torch

from benchmarks.logs import LOW_RANK
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from overparam.theory.low_rank import (
    descend_low_rank,
    planted,
    principal_component_pursuit,
    success_rate,
)


def main() -> None:
    options = parser(__doc__, device="cpu")
    options.add_argument("--trials", type=int, default=4, help="matrices for each pair of the grid")
    options.add_argument("--steps", type=int, default=2000, help="most steps for each pair")
    args = parse(options)
    generator = torch.Generator(args.device).manual_seed(0)
    results = {}

    x, s = planted((500, 500), rank=25, corrupted=0.1, generator=generator, psd=True)
    for name, solve in (
        ("descent", descend_low_rank),
        ("pursuit", lambda y, psd: principal_component_pursuit(y, psd=psd, tol=1e-5)),
    ):
        begin = time.perf_counter()
        found = solve(x + s, psd=True)
        residual = float(found.residual)  # waits for the device
        seconds = time.perf_counter() - begin
        error = torch.linalg.matrix_norm(found.low_rank - x) / torch.linalg.matrix_norm(x)
        results[f"n=500 {name}"] = {
            "seconds": round(seconds, 2),
            "steps": found.steps,
            "residual": residual,
            "relative error of X": float(error),
        }
        print(f"n=500 {name}:", results[f"n=500 {name}"], flush=True)

    begin = time.perf_counter()
    rates = success_rate(
        lambda y: descend_low_rank(y, psd=True, max_steps=args.steps),
        size=50,
        ranks=range(1, 21),
        corrupted=[0.02 * i for i in range(20)],
        trials=args.trials,
        generator=generator,
        psd=True,
    )
    results["grid 20 x 20, n=50"] = {
        "seconds": round(time.perf_counter() - begin, 1),
        "recovered": rates.tolist(),
    }
    print("grid:", results["grid 20 x 20, n=50"]["seconds"], "seconds, mean", float(rates.mean()))
    LOW_RANK.record("theory", settings_of(args), results, device=args.device)


if __name__ == "__main__":
    main()
