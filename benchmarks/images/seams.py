"""A picture that is restored in tiles, beside the same one restored whole.

    python -m benchmarks.images.seams PHOTO PHOTO PHOTO PHOTO [--side 1024] [--tile 512]
                                      [--kind random-valued] [--amount 0.5] [--method fast]

The four PHOTOs lie side by side, moved by a quarter of the side, so that no border between two of
them is near a seam. PSNR of each way in the whole picture, within a margin of a seam, where two
tiles count, and elsewhere. Where the picture is harder near the seams, both ways say so.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.logs import SEAMS
from benchmarks.options import parse, parser
from benchmarks.record import Line, circumstances
from robustdip import denoise
from robustdip.kinds import KINDS
from robustdip.methods import names
from robustdip.quality import psnr
from robustdip.synthetic import corrupt
from robustdip.tiling.plan import plan

WAYS = ("whole", "tiles")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs=4, type=Path, metavar="PHOTO")
    options.add_argument("--side", type=int, default=1024)
    options.add_argument("--tile", type=int, default=512)
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
    near = near_seams(args.side, args.tile)
    for way in WAYS:
        line: Line = {**circumstances("large"), **case, "way": way}
        if SEAMS.has(line):
            continue
        begin = time.perf_counter()
        tile = args.tile if way == "tiles" else args.side
        result = denoise(
            bad, method=args.method, tile=tile, steps=args.steps, seed=args.seed, device="cpu"
        )
        line |= {
            "seconds": round(time.perf_counter() - begin, 1),
            "tiles": result.tiles,
            "disagreement": result.disagreement,
            "psnr": round(psnr(clean, result.image), 3),
            "psnr_near_seams": round(psnr(clean[near], result.image[near]), 3),
            "psnr_elsewhere": round(psnr(clean[~near], result.image[~near]), 3),
        }
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


def near_seams(side: int, tile: int) -> np.ndarray:
    """Where more than one tile counts, bool, shape (side, side)."""
    counted = np.zeros((side, side), int)
    for part in plan((side, side), side=tile):
        counted[part.reach] += 1
    return counted > 1


if __name__ == "__main__":
    main()
