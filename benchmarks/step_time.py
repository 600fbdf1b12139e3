"""Seconds per gradient step: the published network in float32 against ours at the same width.

    python benchmarks/step_time.py [--side 512] [--width 128] [--steps 5] [--threads 2]

Both are the whole step of `robustdip.fit` on the same image, in turns in one run. The first column
is the published algorithm (reflection padding, biases, float32, s by descent at every step); the
second the default recipe at that width. Run it on an idle machine.
"""

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from record import write_record

from robustdip.fitting import fit
from robustdip.recipes import RECIPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    image = np.random.default_rng(0).random((args.side, args.side, 3), dtype=np.float32)
    fits = {
        # Warm-up steps are taken below; s grows from the first step, as it would for most of a run.
        "published": replace(RECIPES["paper"], width=args.width, steps=args.steps + 2),
        "default": replace(RECIPES["default"], width=args.width, steps=args.steps + 2, onset=0),
    }
    runs = {name: fit(image, recipe, device=args.device) for name, recipe in fits.items()}
    seconds: dict[str, list[float]] = {name: [] for name in fits}
    for number in range(args.steps + 2):
        for name, run in runs.items():
            begin = time.perf_counter()
            next(run).loss  # noqa: B018  (waits for the device)
            if number >= 2:
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["published"] / medians["default"]
    print("".join(f"{name}: {value:.3f} s a step\n" for name, value in medians.items()), end="")
    print(f"ratio {ratio:.2f}")
    results = {"seconds": seconds, "median": medians, "ratio": ratio}
    write_record(f"step_time_{args.side}_{args.width}_{args.device}", vars(args), results)


if __name__ == "__main__":
    main()
