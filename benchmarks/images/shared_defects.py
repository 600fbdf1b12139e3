"""Hot pixels that stay in place over frames of one camera: how many are found, how many are false.

    python -m benchmarks.images.shared_defects PHOTO [PHOTO ...] [--seeds 10] [--threads 1]

A frame is a square of 256x256 pixels, cut at random from one of the PHOTOs or of scikit-image's
astronaut, coffee, cat and rocket, and mirrored or not. A thousandth of the sensor's pixels are hot,
the same in all frames, each with a charge of 0.25 to 1 of the range; then the frame is demosaiced,
compressed as JPEG and rounded to 8 bits. A hot pixel is found if its place is in the map. A place
of the map is false if no hot pixel is within two pixels, as far as demosaicing spreads it.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation
from skimage import data

from benchmarks.logs import SHARED_DEFECTS
from benchmarks.options import parse, parser
from benchmarks.record import circumstances
from robustdip.defects import shared_defects
from robustdip.images import from_float, to_float
from robustdip.synthetic import damage, hot_pixels

SIDE = 256
# Frames, fraction of hot pixels, what happens afterwards.
CASES = (
    (10, 1e-3, ("demosaic", "jpeg:92")),
    (5, 1e-3, ("demosaic", "jpeg:92")),
    (3, 1e-3, ("demosaic", "jpeg:92")),
    (10, 1e-3, ("demosaic", "jpeg:75")),
    (10, 1e-3, ("demosaic",)),
    (10, 1e-2, ("demosaic", "jpeg:92")),
    (10, 1e-4, ("demosaic", "jpeg:92")),
    (10, 0.0, ("demosaic", "jpeg:92")),
)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--side", type=int, default=SIDE, help=argparse.SUPPRESS)
    args = parse(options)
    photos = {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in args.photos}
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        photos[name] = getattr(data, name)()
    for frames, amount, then in CASES:
        for seed in range(args.seeds):
            case = {"photos": sorted(photos), "side": args.side, "frames": frames}
            case |= {"amount": amount, "then": ", ".join(then), "seed": seed}
            line = {**circumstances("shared-defects"), **case}
            if SHARED_DEFECTS.has(line):
                continue
            line |= measured(list(photos.values()), frames, amount, then, side=args.side, seed=seed)
            SHARED_DEFECTS.append(line)
            print({name: line[name] for name in ("frames", "amount", "then", "seed", "hot", "found",
                                                 "false", "seconds")}, flush=True)  # fmt: skip


def measured(
    photos: list[np.ndarray],
    frames: int,
    amount: float,
    then: tuple[str, ...],
    side: int,
    seed: int,
) -> dict[str, float]:
    # The seed of the hot pixels is that of `damage`; scenes are drawn from another stream.
    rng = np.random.default_rng([seed, 1])
    taken = [_scene(photos, side, rng) for _ in range(frames)]
    made = [
        from_float(damage(to_float(x), "hot-pixels", amount=amount, then=then, seed=seed).image,
                   np.uint8)
        for x in taken
    ]  # fmt: skip
    black = np.zeros((side, side, 3))
    hot = hot_pixels(black, amount, rng=np.random.default_rng(seed))[1].any(axis=2)
    begin = time.perf_counter()
    found = shared_defects(made) > 0.5
    seconds = time.perf_counter() - begin
    near = binary_dilation(hot, np.ones((5, 5), bool))
    return {
        "hot": int(hot.sum()),
        "found": int((found & hot).sum()),
        "marked": int(found.sum()),
        "false": int((found & ~near).sum()),
        "pixels": hot.size,
        "seconds": seconds,
    }


def _scene(photos: list[np.ndarray], side: int, rng: np.random.Generator) -> np.ndarray:
    photo = photos[rng.integers(len(photos))]
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    scene = photo[top : top + side, left : left + side]
    return scene[:, ::-1] if rng.random() < 0.5 else scene


if __name__ == "__main__":
    main()
