"""Wrong pixels that stand alone: filled from the pixels around them, or by a fit.

    python -m benchmarks.images.lone_pixels PHOTO [PHOTO ...] [--side 128] [--seeds 1] [--threads 1]

A square is cut at random from each PHOTO. In 240 of its pixels, never two within 5x5, the values of
one channel or of all are random; the places are known (`--mask`). PSNR at these elements: of
`robustdip.tiling.isolated.fill`, of the fit of the default recipe, and of linear interpolation. Of
elements that are filled, the share whose error is within one and two of its uncertainties.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.logs import LONE_PIXELS
from benchmarks.options import parse, parser
from benchmarks.record import circumstances
from robustdip import denoise
from robustdip.classical import interpolate
from robustdip.images import from_float, to_float
from robustdip.quality import psnr
from robustdip.tiling.isolated import fill

COUNT = 240


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    options.add_argument("--side", type=int, default=128)
    options.add_argument("--seeds", type=int, default=1)
    args = parse(options)
    for seed in range(args.seeds):
        for path in args.photos:
            case = {"image": path.stem, "side": args.side, "seed": seed}
            line = {**circumstances("large"), **case}
            if LONE_PIXELS.has(line):
                continue
            photo = np.asarray(Image.open(path).convert("RGB"))
            line["results"] = measured(photo, side=args.side, seed=seed)
            LONE_PIXELS.append(line)
            print({**case, **line["results"]}, flush=True)


def measured(photo: np.ndarray, *, side: int, seed: int) -> dict[str, dict[str, float]]:
    """By the wrong channels of a pixel, one or all."""
    clean, bad, wrong = damaged(photo, side=side, rng=np.random.default_rng(seed))
    values = to_float(bad)
    begin = time.process_time()
    filled = fill(values, wrong)
    seconds = time.process_time() - begin
    if filled is None:
        raise RuntimeError("no pixel was filled: none of those that are wrong stands alone")
    begin = time.process_time()
    fitted = denoise(bad, mask=wrong, seed=seed, device="cpu").image
    fit_seconds = time.process_time() - begin
    ways = {"filled": filled.applied(values), "linear": interpolate(values, wrong)}
    ways = {name: from_float(made, np.uint8) for name, made in ways.items()} | {"fit": fitted}
    whole = wrong.all(axis=2, keepdims=True) & wrong
    uncertainty = np.zeros(wrong.shape, np.float32)
    uncertainty[filled.rows, filled.columns, filled.channels] = filled.uncertainty
    found: dict[str, dict[str, float]] = {}
    for name, here in (("one", wrong & ~whole), ("all", whole)):
        error = np.abs(filled.applied(values) - to_float(clean))[here] / uncertainty[here]
        found[name] = {
            way: round(psnr(to_float(clean[here]), to_float(made[here])), 2)
            for way, made in ways.items()
        }
        found[name] |= {
            "within_one": round(float((error < 1).mean()), 3),
            "within_two": round(float((error < 2).mean()), 3),
        }
    return found | {"cpu_seconds": {"filled": round(seconds, 2), "fit": round(fit_seconds, 1)}}


def damaged(
    photo: np.ndarray, *, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square of a photograph, the same one with wrong pixels, and where they are."""
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    clean = photo[top : top + side, left : left + side]
    bad, wrong = clean.copy(), np.zeros(clean.shape, bool)
    while wrong.any(axis=2).sum() < COUNT:
        row, column = rng.integers(2, side - 2, 2)
        if wrong[row - 2 : row + 3, column - 2 : column + 3].any():
            continue
        channel = slice(None) if rng.random() < 0.5 else int(rng.integers(3))
        wrong[row, column, channel] = True
        bad[row, column, channel] = rng.integers(0, 256, 3)[channel]
    return clean, bad, wrong


if __name__ == "__main__":
    main()
