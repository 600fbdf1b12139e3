"""Seconds and steps until a recipe reaches given PSNRs on 50 % salt-and-pepper.

    python -m benchmarks.images.seconds_to_quality IMAGE [--recipe default] [--side 512]
                                            [--targets 31.0 31.7 32.0] [--device auto]

A line is recorded at every target reached, so a run that is cut off leaves what it has; the last
line of the same settings counts.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks.images.quality import load
from benchmarks.logs import SECONDS_TO_QUALITY
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from overparam.devices import pick_device
from robustdip.fitting.loop import fit
from robustdip.quality import psnr
from robustdip.recipes import RECIPES
from robustdip.synthetic import corrupt


def main() -> None:
    options = parser(__doc__, device="auto")
    options.add_argument("image", type=Path)
    options.add_argument("--recipe", default="default", choices=RECIPES)
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--targets", nargs="+", type=float, default=[31.0, 31.7, 32.0])
    args = parse(options)

    clean = load(args.image, args.side)
    noisy, _ = corrupt(clean, "salt-and-pepper", 0.5, rng=np.random.default_rng(0))
    recipe, device = RECIPES[args.recipe], pick_device(args.device)
    every = 500 if recipe.steps > 5000 else 25  # the published script looks every 500
    settings = settings_of(args) | {"device": str(device), "every": every}
    reached: dict[str, dict[str, float]] = {}
    begin = time.perf_counter()
    for step in fit(noisy, recipe, device=device):
        if step.number % every and step.number != recipe.steps:
            continue
        value, seconds = psnr(clean, step.image), time.perf_counter() - begin
        print(f"{step.number} {seconds:.1f} s {value:.2f} dB", flush=True)
        last = {"step": step.number, "seconds": round(seconds, 2), "psnr": round(value, 3)}
        news = [t for t in args.targets if value >= t and str(t) not in reached]
        reached |= {str(target): last for target in news}
        if news or step.number == recipe.steps or step.number % (10 * every) == 0:
            results = {"reached": reached, "last": last}
            SECONDS_TO_QUALITY.record("images", settings, results, device=str(device))


if __name__ == "__main__":
    main()
