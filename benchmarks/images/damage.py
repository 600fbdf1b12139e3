"""Damage as people have it: compressed or resized afterwards; blind, told in one word, and known.

    python -m benchmarks.images.damage IMAGE [IMAGE ...] [--side 256] [--seeds 3] [--threads 1]
        [--kinds soft-text hair] [--then jpeg:85 resize:0.5,jpeg:85] [--ways auto named known]

Each IMAGE is resized to a square of SIDE pixels (twice that before a step resize:0.5), damaged,
processed, and rounded to 8 bits. It is restored in three ways: *auto* is told nothing; *named* is
told the kind of the damage in one word; *known* is given the true mask: all pixels that differ from
the clean image, processed in the same way, by more than 8 of 255 levels. That is the ceiling of
detection. PSNR is measured against that clean image. `--detectors` makes no fit: it measures which
share of the squared error is at pixels that the detectors of shapes find, and which share of these
pixels is wrong. Records that exist are skipped.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.logs import DAMAGE
from benchmarks.options import parse, parser
from benchmarks.record import circumstances
from robustdip import RECIPES, denoise
from robustdip.images import from_float, to_float
from robustdip.quality import psnr
from robustdip.synthetic import Damaged, damage
from robustdip.told import Told

# Kind, its word, and its amount.
KINDS = {
    "text": ("text", 0.1),
    "soft-text": ("text", 0.1),
    "watermark": ("text", 0.1),
    "scratches": ("scratches", 0.1),
    "soft-scratches": ("scratches", 0.05),
    "hair": ("hair", 0.05),
    "dust": ("dust", 0.05),
    "streaks": ("lines", 0.05),
    "salt-and-pepper": ("pixels", 0.3),
    "random-valued": ("pixels", 0.3),
}
THEN = ("jpeg:95", "jpeg:85", "jpeg:75", "resize:0.5", "resize:0.5,jpeg:85")
WAYS = ("auto", "named", "known")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--then", nargs="+", default=list(THEN), help="steps, joined by commas")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options.add_argument("--steps", type=int, help="instead of the recipe's")
    options.add_argument("--detectors", action="store_true", help="print those alone; no fit")
    args = parse(options)
    for seed in range(args.seeds):
        for then in args.then:
            for kind in args.kinds:
                for path in args.images:
                    made = damaged(path, kind, then, side=args.side, seed=seed)
                    case = {"image": path.stem, "side": args.side, "kind": kind}
                    case |= {"amount": KINDS[kind][1], "then": then, "seed": seed}
                    if args.detectors:
                        print({**case, **detected(made, kind)}, flush=True)
                        continue
                    for way in args.ways:
                        restore(made, {**case, "way": way}, args)


def damaged(path: Path, kind: str, then: str, *, side: int, seed: int) -> Damaged:
    steps = then.split(",") if then else []
    drawn = 2 * side if "resize:0.5" in steps else side
    with Image.open(path) as opened:
        square = opened.convert("RGB").resize((drawn, drawn), Image.Resampling.LANCZOS)
    image = to_float(np.asarray(square))
    return damage(image, kind, amount=KINDS[kind][1], then=steps, seed=seed)


def told(way: str, kind: str) -> Told:
    return Told(damage=KINDS[kind][0]) if way == "named" else Told()


def restore(made: Damaged, case: dict, args: argparse.Namespace) -> None:
    line = {
        **circumstances("named-damage" if case["way"] == "named" else "images"),
        **case,
        "steps": args.steps or RECIPES["default"].steps,
    }
    if DAMAGE.has(line):
        return
    file, wrong = from_float(made.image, np.uint8), made.mask.any(axis=2)
    known = {"mask": wrong} if case["way"] == "known" else {}
    known |= {"damage": told(case["way"], case["kind"]).damage} if not known else {}
    begin = time.perf_counter()
    result = denoise(file, seed=case["seed"], steps=args.steps, device="cpu", **known)
    line |= {
        "seconds": time.perf_counter() - begin,
        "input_psnr": psnr(made.clean, to_float(file)),
        "psnr": psnr(made.clean, to_float(result.image)),
        "flagged": float(result.mask.any(axis=2).mean()),
    }
    DAMAGE.append(line)
    shown = ("image", "kind", "then", "seed", "way", "input_psnr", "psnr", "flagged", "seconds")
    print({name: line[name] for name in shown}, flush=True)


def detected(made: Damaged, kind: str) -> dict[str, float]:
    """Of auto and named: the share of the error that is found, and of what is found is wrong."""
    file = to_float(from_float(made.image, np.uint8))
    y = torch.from_numpy(np.ascontiguousarray(file.transpose(2, 0, 1)))[None]
    error = ((file - made.clean) ** 2).sum(axis=2)
    shares: dict[str, float] = {}
    for way in ("auto", "named"):
        model = told(way, kind).applied(RECIPES["default"]).corruption_model
        found = np.zeros(error.shape, bool)
        for shape in model.shapes:  # pyright: ignore[reportAttributeAccessIssue]
            odds = shape.shape_odds(y, torch.ones_like(y))
            if odds is not None:
                found |= odds[0, 0].numpy() > 0
        shares[f"{way}_energy"] = round(float(error[found].sum() / error.sum()), 3)
        shares[f"{way}_precision"] = (
            round(float((error[found] > 0.06**2).mean()), 3) if found.any() else 1.0
        )
    return shares


if __name__ == "__main__":
    main()
