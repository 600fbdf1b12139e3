"""No early stopping, measured: PSNR over the whole run, at the given steps and three times as many.

    python -m benchmarks.images.no_early_stopping [--side 96] [--image IMAGE] [--runs ...] [--threads 2]
    python -m benchmarks.images.no_early_stopping --figure

One fixed recipe (default) on salt-and-pepper and random-valued noise, per element and per pixel,
at 10, 30, 50 and 70 %; beside it the same network and descent without s (l1 and l2). Every
condition is one line of results/no_early_stopping.jsonl, so a killed run resumes; one measured with
other settings of its recipe is measured again, and the last line counts. The image is a
piece of scikit-image's chelsea (the cat's face), or the middle of another, at full resolution.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from benchmarks.record import RESULTS, circumstances
from robustdip.fitting.loop import fit
from robustdip.quality import psnr
from robustdip.recipes import RECIPES, Recipe
from robustdip.synthetic import corrupt

RUNS = {"default": 1, "default x3": 3, "dip-l1": 1, "dip-l2": 1}
LINES = RESULTS / "no_early_stopping.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--figure", action="store_true")
    args = parser.parse_args()
    name = args.image.stem if args.image else "chelsea"
    if args.figure:
        draw((name, args.side))
        return
    torch.set_num_threads(args.threads)
    picture = Image.open(args.image) if args.image else Image.fromarray(data.chelsea())
    clean = np.asarray(picture.convert("RGB"), np.float32) / 255
    top, left = (
        (100, 180) if args.image is None else (s // 2 - args.side // 2 for s in picture.size[::-1])
    )
    clean = clean[top : top + args.side, left : left + args.side]
    for kind in ("salt-and-pepper", "random-valued"):
        for per_pixel in (False, True):
            for amount in (0.1, 0.3, 0.5, 0.7):
                for run in args.runs:
                    case = {
                        "image": name,
                        "side": args.side,
                        "kind": kind,
                        "per_pixel": per_pixel,
                        "amount": amount,
                        "run": run,
                        "seed": args.seed,
                    }
                    # Read anew each time: two processes may share the work.
                    if (*key(case), settings(recipe_of(run))) not in {
                        (*key(line), settings(Recipe(**line["recipe"]))) for line in read_lines()
                    }:
                        measure(clean, case)


def key(case: dict) -> tuple:
    names = ("image", "side", "kind", "per_pixel", "amount", "run", "seed")
    return tuple(case[name] for name in names)


def recipe_of(run: str) -> Recipe:
    recipe = RECIPES[run.split()[0]]
    return replace(recipe, steps=recipe.steps * RUNS[run])


def settings(recipe: Recipe) -> Recipe:
    return replace(recipe, source="")  # words about it


def measure(clean: np.ndarray, case: dict) -> None:
    recipe = recipe_of(case["run"])
    rng = np.random.default_rng(case["seed"])
    noisy, _ = corrupt(clean, case["kind"], case["amount"], rng=rng, per_pixel=case["per_pixel"])
    begin, curve = time.perf_counter(), []
    for step in fit(noisy, recipe, seed=case["seed"]):
        if step.number % 25 == 0 or step.number == recipe.steps:
            curve.append((step.number, round(psnr(clean, step.image), 3)))
    values = [value for _, value in curve]
    line = {
        **case,
        "last": values[-1],
        "best": max(values),
        "drop": round(max(values) - values[-1], 3),
        "seconds": round(time.perf_counter() - begin, 1),
        "curve": curve,
        "recipe": asdict(recipe),
        **circumstances(),
    }
    RESULTS.mkdir(exist_ok=True)
    with LINES.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print({name: line[name] for name in (*case, "last", "best", "drop", "seconds")}, flush=True)


def read_lines() -> list[dict]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def draw(of: tuple) -> None:
    """The figure and the table of one image's record, from its lines alone."""
    import matplotlib.pyplot as plt

    lines = {key(line)[2:6]: line for line in read_lines() if key(line)[:2] == of[:2]}
    conditions = sorted({(kind, per_pixel) for kind, per_pixel, *_ in lines}, reverse=True)
    amounts = sorted({amount for _, _, amount, _ in lines})
    figure, axes = plt.subplots(
        len(conditions), len(amounts), figsize=(13, 10), sharex=True, squeeze=False
    )
    for row, (kind, per_pixel) in zip(axes, conditions, strict=True):
        for axis, amount in zip(row, amounts, strict=True):
            for run, style in zip(RUNS, ("C0-", "C0:", "C1-", "C2-"), strict=True):
                if line := lines.get((kind, per_pixel, amount, run)):
                    axis.plot(*zip(*line["curve"], strict=True), style, label=run, linewidth=1.2)
            axis.set_title(f"{kind} {amount:.0%} per {'pixel' if per_pixel else 'element'}", size=9)
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.supxlabel("step")
    figure.supylabel("PSNR (dB)")
    figure.tight_layout()
    figure.savefig(RESULTS / "no_early_stopping.png", dpi=80)
    print("| noise | amount | last | best - last | 3x: last | l1: best - last | l2: best - last |")
    print("|---|---|---|---|---|---|---|")
    for kind, per_pixel in conditions:
        for amount in amounts:
            cells = [lines.get((kind, per_pixel, amount, run)) for run in RUNS]
            if not all(cells):
                continue
            a, b, c, d = cells
            print(
                f"| {kind} per {'pixel' if per_pixel else 'element'} | {amount:.0%} "
                f"| {a['last']:.2f} | {a['drop']:.2f} | {b['last']:.2f} "
                f"| {c['drop']:.2f} | {d['drop']:.2f} |"
            )


if __name__ == "__main__":
    main()
