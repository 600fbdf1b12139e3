"""Seconds per gradient step: the published network in float32 against ours at the same width.

    python -m benchmarks.images.step_time [--side 512] [--width 128] [--steps 5] [--threads 2]

Both are the whole step of `robustdip.fit` on the same image, measured alternately: the published
algorithm (reflection padding, biases, float32, s by descent at every step), and the default recipe
at that width. Estimating s is timed separately and divided by the steps between two estimates.
Run it on an idle machine.
"""

import statistics
import time
from dataclasses import replace

import numpy as np

from benchmarks.logs import STEP_TIME
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from robustdip.fitting.loop import fit
from robustdip.recipes import RECIPES

WARM_UP = 2


def main() -> None:
    options = parser(__doc__, device="cpu")
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--width", type=int, default=128)
    options.add_argument("--steps", type=int, default=5)
    args = parse(options)

    image = np.random.default_rng(0).random((args.side, args.side, 3), dtype=np.float32)
    steps = args.steps + WARM_UP
    default = replace(RECIPES["default"], width=args.width, steps=steps)
    mixture = default.corruption_model
    runs = {
        "published": replace(RECIPES["paper"], width=args.width, steps=steps),
        # One step more, which is never taken: s would be estimated at the last.
        "default": replace(default, steps=steps + 1),
        "default, s estimated": replace(default, corruption_model=replace(mixture, refresh=0)),
    }
    fits = {name: fit(image, recipe, device=args.device) for name, recipe in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(steps):
        for name, run in fits.items():
            begin = time.perf_counter()
            _ = next(run).loss  # waits for the device
            if number >= WARM_UP:
                seconds[name].append(time.perf_counter() - begin)
    published, without, each = (statistics.median(times) for times in seconds.values())
    ours = without + (each - without) / (mixture.refresh * args.side)
    for name, value in (("published", published), ("default", ours)):
        print(f"{name}: {value:.3f} s a step")
    print(f"ratio {published / ours:.2f}")
    results = {
        "seconds": seconds,
        "published": published,
        "default": ours,
        "ratio": published / ours,
    }
    STEP_TIME.record("images", settings_of(args), results, device=args.device)


if __name__ == "__main__":
    main()
