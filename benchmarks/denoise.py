"""Quality and cost of every method on every kind of corruption.

    python benchmarks/denoise.py run IMAGE... [--side 256] [--kinds ...] [--amounts ...]
                                 [--methods ...] [--seeds ...] [--threads 2]
    python benchmarks/denoise.py table

Each case is one line of results/denoise.jsonl, so a killed run resumes where it was. Images are
resized by Lanczos. Kinds end in /pixel when all channels of a pixel are corrupted together. Methods
are the recipes, the classical ones (`robustdip.classical.METHODS`) and two that know the truth:
known-mask-linear and known-mask-biharmonic. PSNR and SSIM are those of the last step, in float.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import RESULTS, circumstances

from robustdip.classical import METHODS, interpolate
from robustdip.noise import corrupt
from robustdip.quality import psnr, ssim
from robustdip.recipes import RECIPES
from robustdip.recovery import denoise

LINES = RESULTS / "denoise.jsonl"
KEY = ("image", "side", "kind", "amount", "method", "seed")
TOLD = {"known-mask-linear": "linear", "known-mask-biharmonic": "biharmonic"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("images", nargs="+", type=Path)
    run.add_argument("--side", type=int, default=256)
    run.add_argument("--kinds", nargs="+", default=["salt-and-pepper", "random-valued"])
    run.add_argument("--amounts", nargs="+", type=float, default=[0.5])
    run.add_argument("--methods", nargs="+", default=["default"])
    run.add_argument("--seeds", nargs="+", type=int, default=[0])
    run.add_argument("--device", default="auto")
    run.add_argument("--threads", type=int, default=torch.get_num_threads())
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "table":
        print_table()
        return
    torch.set_num_threads(args.threads)
    done = {tuple(line[name] for name in KEY) for line in read_lines()}
    cases = (
        dict(zip(KEY, (path.stem, args.side, kind, amount, method, seed), strict=True))
        | {"path": path}
        for seed in args.seeds
        for kind in args.kinds
        for amount in args.amounts
        for method in args.methods
        for path in args.images
    )
    for case in cases:
        path = case.pop("path")
        if tuple(case[name] for name in KEY) not in done:
            line = measure(path, case, device=args.device)
            RESULTS.mkdir(exist_ok=True)
            with LINES.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print({n: line[n] for n in (*KEY, "psnr", "ssim", "recall", "seconds")}, flush=True)


def load(path: Path, side: int) -> np.ndarray:
    """(side, side, 3) float32 in [0, 1]."""
    picture = Image.open(path).convert("RGB")
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def measure(path: Path, case: dict[str, Any], *, device: str) -> dict[str, Any]:
    clean = load(path, case["side"])
    kind, _, unit = case["kind"].partition("/")
    rng = np.random.default_rng(case["seed"])
    noisy, bad = corrupt(clean, kind, case["amount"], rng=rng, per_pixel=unit == "pixel")
    begin = time.perf_counter()
    mask, extra = None, {}
    if case["method"] in RECIPES:
        result = denoise(noisy, recipe=case["method"], seed=case["seed"], device=device)
        image, mask = result.image, result.mask
        extra = {"device": result.device, "recipe": asdict(result.recipe)}
    elif case["method"] in TOLD:
        image = interpolate(noisy, bad, method=TOLD[case["method"]])
    else:
        image = METHODS[case["method"]](noisy)
    seconds = time.perf_counter() - begin
    hits = None if mask is None else int((mask & bad).sum())
    return {
        **case,
        "psnr": round(psnr(clean, image), 3),
        "ssim": None if (similarity := ssim(clean, image)) is None else round(similarity, 4),
        "input_psnr": round(psnr(clean, noisy), 3),
        "precision": None if hits is None else round(hits / max(1, int(mask.sum())), 4),
        "recall": None if hits is None else round(hits / max(1, int(bad.sum())), 4),
        "seconds": round(seconds, 2),
        **extra,
        **circumstances(),
    }


def read_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def print_table() -> None:
    """Mean ± standard deviation over seeds, one row a kind, amount and method."""
    cells: dict[tuple, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    times: dict[tuple, list[float]] = defaultdict(list)
    for line in read_lines():
        row = (line["side"], line["kind"], line["amount"], line["method"])
        cells[row][line["image"]].append(line["psnr"])
        times[row].append(line["seconds"])
    images = sorted({image for row in cells.values() for image in row})
    print(f"| side | corruption | amount | method | {' | '.join(images)} | mean | n | s |")
    print("|" + "---|" * (len(images) + 7))
    for row in sorted(cells):
        values = [cells[row].get(image, []) for image in images]
        shown = [_spread(v) for v in values]
        mean = f"{statistics.mean(map(statistics.mean, values)):.2f}" if all(values) else ""
        side, kind, amount, method = row
        count = "/".join(sorted({str(len(v)) for v in values if v}))
        seconds = statistics.median(times[row])
        print(
            f"| {side} | {kind} | {amount:.0%} | {method} | {' | '.join(shown)} | {mean} "
            f"| {count} | {seconds:.1f} |"
        )


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


if __name__ == "__main__":
    main()
