"""A picture that is restored in tiles, beside the same one restored whole.

    python -m benchmarks.images.seams PHOTO PHOTO PHOTO PHOTO [--side 1024] [--tile 256]
                                      [--kind random-valued] [--amount 0.5] [--method fast]

The four PHOTOs lie side by side, moved by a quarter of the side, so that no border between two of
them is near a seam. What a picture shows near its seams may be harder or easier than the rest, so
a third way, "moved", restores it without its first eighth of rows and columns: its seams are at
other places. PSNR is that of all that a way restores, and, of what the three share, at the seams of
"tiles" alone (where two tiles count), at those of "moved" alone, and where neither has one.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.logs import SEAMS
from benchmarks.options import parse, parser
from benchmarks.record import Line, circumstances
from robustdip import RECIPES, denoise
from robustdip.inputs import check_image
from robustdip.kinds import KINDS
from robustdip.methods import names
from robustdip.quality import psnr
from robustdip.synthetic import corrupt
from robustdip.tiling.plan import plan
from robustdip.tiling.survey import core_side

WAYS = ("whole", "tiles", "moved")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs=4, type=Path, metavar="PHOTO")
    options.add_argument("--side", type=int, default=1024)
    options.add_argument("--tile", type=int, help="instead of what denoise chooses")
    options.add_argument("--kind", choices=KINDS, default="random-valued")
    options.add_argument("--amount", type=float, default=0.5)
    options.add_argument("--method", choices=names("fit"), default="fast")
    options.add_argument("--steps", type=int, help="instead of the method's")
    options.add_argument("--seed", type=int, default=0)
    args = parse(options)
    case = {name: getattr(args, name) for name in SEAMS.key if name not in ("photos", "way")}
    case["photos"] = [path.stem for path in args.photos]
    clean = four_of([Image.open(path).convert("RGB") for path in args.photos], args.side)
    rng = np.random.default_rng(args.seed)
    bad, _ = corrupt(clean, args.kind, args.amount, rng=rng)
    cut = args.side // 8
    core = None if args.tile is not None else core_side(check_image(bad), RECIPES[args.method])
    places = seams(args.side, cut, tile=args.tile, core=core)
    for way in WAYS:
        line: Line = {**circumstances("large"), **case, "way": way}
        if SEAMS.has(line):
            continue
        begin = time.perf_counter()
        first = cut if way == "moved" else 0
        result = denoise(
            np.ascontiguousarray(bad[first:, first:]),
            method=args.method,
            tile=args.side if way == "whole" else args.tile,
            steps=args.steps,
            seed=args.seed,
            device="cpu",
        )
        line |= {
            "seconds": round(time.perf_counter() - begin, 1),
            "tiles": result.tiles,
            "disagreement": result.disagreement,
            "psnr": round(psnr(clean[first:, first:], result.image), 3),
        }
        shared, truth = result.image[cut - first :, cut - first :], clean[cut:, cut:]
        for place, here in places.items():
            line[f"psnr_{place}"] = round(psnr(truth[here], shared[here]), 3)
        SEAMS.append(line)
        print({name: value for name, value in line.items() if name != "code"}, flush=True)


def four_of(photos: list[Image.Image], side: int) -> np.ndarray:
    """Four photographs side by side, moved by a quarter of the side; float32 in [0, 1]."""
    half = side // 2
    squares = [
        np.asarray(photo.resize((half, half), Image.Resampling.LANCZOS), np.float32) / 255
        for photo in photos
    ]
    made = np.block([[[squares[0]], [squares[1]]], [[squares[2]], [squares[3]]]])
    return np.roll(made, (half // 2, half // 2), axis=(0, 1))


def seams(side: int, cut: int, **size: int | None) -> dict[str, np.ndarray]:
    """Where the seams of "tiles" and of "moved" are, and neither; bool, of what both restore."""
    tiles, moved = near_seams(side, **size)[cut:, cut:], near_seams(side - cut, **size)
    return {"at_tiles": tiles & ~moved, "at_moved": moved & ~tiles, "neither": ~(tiles | moved)}


def near_seams(side: int, *, tile: int | None, core: int | None) -> np.ndarray:
    """Where more than one tile counts, bool, shape (side, side)."""
    counted = np.zeros((side, side), int)
    for part in plan((side, side), side=tile, core=core):
        counted[part.reach] += 1
    return counted > 1


if __name__ == "__main__":
    main()
