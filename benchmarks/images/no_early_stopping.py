"""No early stopping, measured: PSNR over the whole run, at the given steps and three times as many.

    python -m benchmarks.images.no_early_stopping [--side 96] [--image IMAGE] [--runs ...]
    python -m benchmarks.images.no_early_stopping --figure

One fixed recipe (default) on salt-and-pepper and random-valued noise, per element and per pixel,
at 10, 30, 50 and 70 %; beside it the same network and descent without s (l1 and l2). Every
condition is one line of results/images/no_early_stopping.jsonl, so a killed run resumes; one
measured with other code or settings is measured again. The image is a piece of scikit-image's
chelsea (the cat's face), or the middle of another, at full resolution.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from benchmarks.logs import NO_EARLY_STOPPING
from benchmarks.markdown import STALE, STALE_NOTE
from benchmarks.options import parse, parser
from benchmarks.record import RESULTS, Line, circumstances, code, is_current, plain
from robustdip.fitting.loop import fit
from robustdip.quality import psnr
from robustdip.recipes import RECIPES, Recipe
from robustdip.synthetic import corrupt

RUNS = {"default": 1, "default x3": 3, "dip-l1": 1, "dip-l2": 1}
FIGURE = RESULTS / "images" / "no_early_stopping.png"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--side", type=int, default=96)
    options.add_argument("--image", type=Path)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    options.add_argument("--figure", action="store_true")
    args = parse(options)
    name = args.image.stem if args.image else "chelsea"
    if args.figure:
        draw(NO_EARLY_STOPPING.latest(), FIGURE, image=name, side=args.side)
        return
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
                    recipe = recipe_of(run)
                    values = (name, args.side, kind, per_pixel, amount, run, args.seed)
                    case = dict(zip(NO_EARLY_STOPPING.key, values, strict=True))
                    case |= {"recipe": plain(recipe), "code": code("images")}
                    if not NO_EARLY_STOPPING.has(case):
                        measure(clean, case, recipe)


def recipe_of(run: str) -> Recipe:
    recipe = RECIPES[run.split()[0]]
    return replace(recipe, steps=recipe.steps * RUNS[run])


def measure(clean: np.ndarray, case: Line, recipe: Recipe) -> None:
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
        **circumstances("images"),
    }
    NO_EARLY_STOPPING.append(line)
    printed = (*NO_EARLY_STOPPING.key, "last", "best", "drop", "seconds")
    print({name: line[name] for name in printed}, flush=True)


def draw(recorded: list[Line], path: Path, *, image: str = "chelsea", side: int = 96) -> None:
    """PSNR over the steps, a panel for each condition; a run of earlier code is marked."""
    from matplotlib.figure import Figure

    lines = {
        (line["kind"], line["per_pixel"], line["amount"], line["run"]): line
        for line in recorded
        if (line["image"], line["side"]) == (image, side)
    }
    old = {line["run"] for line in lines.values() if not is_current(line)}
    conditions = sorted({(kind, per_pixel) for kind, per_pixel, *_ in lines}, reverse=True)
    amounts = sorted({amount for _, _, amount, _ in lines})
    figure = Figure(figsize=(13, 10), layout="tight")
    axes = figure.subplots(len(conditions), len(amounts), sharex=True, squeeze=False)
    for row, (kind, per_pixel) in zip(axes, conditions, strict=True):
        for axis, amount in zip(row, amounts, strict=True):
            for run, style in zip(RUNS, ("C0-", "C0:", "C1-", "C2-"), strict=True):
                if line := lines.get((kind, per_pixel, amount, run)):
                    name = f"{run} {STALE}" if run in old else run
                    axis.plot(*zip(*line["curve"], strict=True), style, label=name, linewidth=1.2)
            axis.set_title(f"{kind} {amount:.0%} per {'pixel' if per_pixel else 'element'}", size=9)
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8, title=STALE_NOTE if old else None, title_fontsize=8)
    figure.supxlabel("step")
    figure.supylabel("PSNR (dB)")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
