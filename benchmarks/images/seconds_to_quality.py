"""Seconds and steps until a recipe reaches given PSNRs on 50 % salt-and-pepper.

    python -m benchmarks.images.seconds_to_quality IMAGE [--recipe default] [--side 512]
                                            [--targets 31.0 31.7 32.0] [--device auto]

The record is written again at every target reached, so a run that is cut off leaves what it has.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.images.quality import load
from benchmarks.record import write_record
from overparam.devices import pick_device
from robustdip.fitting.loop import fit
from robustdip.quality import psnr
from robustdip.recipes import RECIPES
from robustdip.synthetic import corrupt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--recipe", default="default", choices=RECIPES)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--targets", nargs="+", type=float, default=[31.0, 31.7, 32.0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    clean = load(args.image, args.side)
    noisy, _ = corrupt(clean, "salt-and-pepper", 0.5, rng=np.random.default_rng(0))
    recipe, device = RECIPES[args.recipe], pick_device(args.device)
    every = 500 if recipe.steps > 5000 else 25  # the published script looks every 500
    settings = {**vars(args), "image": args.image.stem, "device": str(device), "every": every}
    name = f"seconds_to_quality_{args.recipe}_{args.side}_{device.type}"
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
            write_record(name, settings, {"reached": reached, "last": last})


if __name__ == "__main__":
    main()
