"""Large pictures of which a few tiles are damaged: what the survey costs and finds, and the whole.

    python -m benchmarks.images.large PHOTO [PHOTO ...] [--size 4032x3024] [--scenes NAME ...]
        [--kinds soft-scratches hair ...] [--then jpeg:90] [--share 0.05] [--seeds 1] [--steps N]
        [--threads 1]

A *mosaic* is made of the PHOTOs, each enlarged to twice its size, which fade into each other: it
has true detail everywhere. *enlarged* is the first PHOTO alone. Both get the noise of a camera and
are rounded to 8 bits. Squares of 256x256 pixels are then damaged, by the kinds in turn, half as
many as --share of the tiles: a square often lies in two or four of them. With --then the whole is
processed afterwards, as files of cameras and scanners are. A
tile is truly damaged if a sample in its core differs by more than 15 levels from the undamaged
picture, and taken for damaged wrongly if something is fitted there without such samples. *work* is
what is to be fitted, in windows of whole tiles, and *covered* the share of the squared error in it.
The survey is always measured; with --steps (0: the recipe's) the picture is restored too, in a
process of its own, whose peak memory is that of the whole program.
"""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.images.memory import isolated, peak
from benchmarks.logs import LARGE
from benchmarks.options import parse, parser
from benchmarks.record import circumstances
from robustdip import RECIPES, denoise
from robustdip.images import from_float, to_float
from robustdip.inputs import check_image
from robustdip.processing import parse_step
from robustdip.quality import psnr
from robustdip.synthetic import corrupt
from robustdip.tiling.plan import Tile, plan
from robustdip.tiling.survey import survey

# Kinds, and the share of a square of 256x256 that they cover: a scratch or two, some specks.
KINDS = {
    "soft-scratches": 0.01,
    "hair": 0.01,
    "dust": 0.01,
    "soft-text": 0.03,
    "scratches": 0.01,
    "text": 0.03,
}
SQUARE = 256
PHOTO, FADE = 1008, 64
NOISE = 0.01
VISIBLE = 15  # of 255 levels; weaker damage is hardly seen, and not looked for


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    options.add_argument("--size", default="4032x3024", help="width x height")
    options.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options.add_argument("--then", default="", help="what happens after the damage, as jpeg:90")
    options.add_argument("--share", type=float, default=0.05, help="of the places")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--steps", type=int, help="restore the picture; 0 for the recipe's steps")
    options.add_argument("--dry", action="store_true", help="print, and record nothing")
    args = parse(options)
    width, height = map(int, args.size.split("x"))
    for scene in args.scenes:
        for seed in range(args.seeds):
            case = {"scene": scene, "photos": [path.stem for path in args.photos]}
            case |= {"size": args.size, "kinds": args.kinds, "share": args.share, "seed": seed}
            case |= {"then": args.then or None, "steps": args.steps}
            line = {**circumstances("large"), **case}
            if not args.dry and LARGE.has(line):
                continue
            made = case_of(args.photos, scene, (height, width), args.kinds, args.share, seed)
            if args.then:
                made = processed(made[0], args.then), processed(made[1], args.then)
            line |= surveyed(*made)
            if args.steps is not None:
                line |= isolated(restored, *made, args.steps or RECIPES["default"].steps)
            if not args.dry:
                LARGE.append(line)
            print({name: value for name, value in line.items() if name != "code"}, flush=True)


def case_of(
    photos: list[Path],
    scene: str,
    size: tuple[int, int],
    kinds: list[str],
    share: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """An undamaged picture, and the same one damaged; uint8."""
    rng = np.random.default_rng(seed)
    clean = SCENES[scene]([Image.open(path).convert("RGB") for path in photos], size)
    for rows in np.array_split(np.arange(size[0]), 16):  # by bands, which saves memory
        noise = rng.normal(0, 255 * NOISE, clean[rows].shape)
        clean[rows] = np.rint(clean[rows] + noise).clip(0, 255)
    bad = clean.copy()
    squares = [
        np.s_[top : top + SQUARE, left : left + SQUARE]
        for top in range(0, size[0] - SQUARE + 1, SQUARE)
        for left in range(0, size[1] - SQUARE + 1, SQUARE)
    ]
    # A square is a quarter of a tile and often lies in two or four of them.
    wanted = max(1, round(share * len(plan(size)) / 2))
    for number, place in enumerate(rng.choice(len(squares), wanted, replace=False)):
        kind = kinds[number % len(kinds)]
        part = to_float(clean[squares[place]])
        bad[squares[place]] = from_float(corrupt(part, kind, KINDS[kind], rng=rng)[0], np.uint8)
    return clean, bad


def processed(picture: np.ndarray, then: str) -> np.ndarray:
    return from_float(parse_step(then).apply(to_float(picture)), np.uint8)


def mosaic(photos: list[Image.Image], size: tuple[int, int]) -> np.ndarray:
    """The photos row after row, each enlarged to twice its size; they fade into each other."""
    made = np.zeros((*size, 3), np.float32)
    ramp = np.linspace(0, 1, FADE + 2, dtype=np.float32)[1:-1]
    along = np.concatenate([ramp, np.ones(PHOTO - FADE, np.float32), ramp[::-1]])
    weight = np.outer(along, along)[..., np.newaxis]
    squares = (weight * _square(photo, PHOTO + FADE) for photo in itertools.cycle(photos))
    for top in range(-FADE, size[0], PHOTO):
        for left in range(-FADE, size[1], PHOTO):
            square = next(squares)[max(0, -top) :, max(0, -left) :]
            place = made[max(0, top) :, max(0, left) :][: len(square), : square.shape[1]]
            place += square[: len(place), : place.shape[1]]
    return np.rint(made).astype(np.uint8)


def enlarged(photos: list[Image.Image], size: tuple[int, int]) -> np.ndarray:
    """The first photo, as large as the picture."""
    side = max(size)
    return np.array(_square(photos[0], side)[: size[0], : size[1]])


def _square(photo: Image.Image, side: int) -> np.ndarray:
    short = min(photo.size)
    cut = photo.crop((0, 0, short, short))
    return np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS))


SCENES = {"mosaic": mosaic, "enlarged": enlarged}


def surveyed(clean: np.ndarray, bad: np.ndarray) -> dict[str, Any]:
    """CPU time of the survey, and how many tiles it takes for damaged, rightly and wrongly."""
    given = check_image(bad)
    tiles = plan((bad.shape[0], bad.shape[1]))
    begin = time.process_time()
    found = survey(given, tiles, RECIPES["default"], every_tile=False)
    seconds = time.process_time() - begin
    error = (clean.astype(np.float32) - bad) ** 2
    visible = error.max(axis=2) > VISIBLE**2
    fitted = np.zeros(visible.shape, bool)
    wrong: set[Tile] = set()
    for part in found.fits:
        fitted[part.core] = True
        if not visible[part.core].any():
            wrong |= {tile for tile in tiles if part.meets(tile)}
    truly = {tile for tile in tiles if visible[tile.core].any()}
    seen = {tile for tile in truly if (visible & fitted)[tile.core].any()}
    return {
        "tiles": len(tiles),
        "damaged": len(truly),
        "found": len(seen),
        "false": len(wrong - truly),
        "fits": len(found.fits),
        "work": round(sum(area(part) for part in found.fits) / area(tiles[0]), 2),
        "covered": round(float(error[fitted].sum() / error.sum()), 4),
        "survey_cpu_seconds": round(seconds, 2),
    }


def area(tile: Tile) -> int:
    return tile.weights().size


def restored(clean: np.ndarray, bad: np.ndarray, steps: int) -> dict[str, Any]:
    """What `denoise` makes of the picture; in a process of its own."""
    begin, cpu = time.perf_counter(), time.process_time()
    result = denoise(bad, steps=steps, device="cpu")
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    memory = peak()
    copied = [
        tile for tile in plan(bad.shape[:2]) if (result.image[tile.core] == bad[tile.core]).all()
    ]
    wrong = (clean != bad).any(axis=2)
    return {
        "fitted": result.fitted,
        "copied": len(copied),
        "gradient_steps": result.steps,
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_bytes": memory,
        "damage_psnr_before": round(psnr(to_float(clean[wrong]), to_float(bad[wrong])), 2),
        "damage_psnr": round(psnr(to_float(clean[wrong]), to_float(result.image[wrong])), 2),
    }


if __name__ == "__main__":
    main()
