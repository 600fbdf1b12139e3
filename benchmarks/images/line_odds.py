"""How often thin lines are damage, beside what their odds say.

    python -m benchmarks.images.line_odds PHOTO [PHOTO ...] [--seed 1] [--side 256]

Scratches, soft scratches and hair are drawn on 5 % of each PHOTO, and of four photographs of
scikit-image, and the result is compressed, or reduced to half and compressed. A line is what
`robustdip.corruption.thin_lines.ThinLines.log_odds`, with no prior, gives one value. It counts as
damage if half of its pixels or more differ from the clean picture by more than 0.06. The lines are
sorted by their odds; of each class the share that is damage is measured, each line weighted by its
pixels. The regression behind the odds was fitted to such pictures with seed 0.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from benchmarks.logs import LINE_ODDS
from benchmarks.options import parse, parser
from benchmarks.record import circumstances
from robustdip.corruption.thin_lines import ThinLines
from robustdip.images import from_float, to_float
from robustdip.synthetic import damage

KINDS = ("hair", "soft-scratches", "scratches")
THEN = ("jpeg:95", "jpeg:85", "resize:0.5,jpeg:85")
OWN = ("astronaut", "chelsea", "coffee", "rocket")
AMOUNT = 0.05
VISIBLE = 0.06
EDGES = (-3, -2, -1, 0, 1, 2, 3)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--side", type=int, default=256)
    args = parse(options)
    photos = {path.stem: Image.open(path) for path in args.photos}
    photos |= {name: Image.fromarray(getattr(data, name)()) for name in OWN}
    case = {"photos": [*photos], "side": args.side, "seed": args.seed}
    line = {**circumstances("named-damage"), **case}
    if LINE_ODDS.has(line):
        return
    found = [
        each
        for photo in photos.values()
        for each in lines_of(photo.convert("RGB"), side=args.side, seed=args.seed)
    ]
    odds, wrong, pixels = (np.concatenate(column) for column in zip(*found, strict=True))
    line["classes"] = [
        {
            "least": least,
            "lines": int(here.sum()),
            "expected": round(float(np.average(1 / (1 + np.exp(-odds[here])), weights=area)), 3),
            "damage": round(float(np.average(wrong[here] >= 0.5, weights=area)), 3),
        }
        for least, here in classes(odds)
        for area in [pixels[here]]
    ]
    LINE_ODDS.append(line)
    print(line["classes"])


def lines_of(
    photo: Image.Image, *, side: int, seed: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]]:
    """Log odds, share of wrong pixels, and pixels of each line of the damaged pictures."""
    square = photo.crop((0, 0, min(photo.size), min(photo.size)))
    for then in THEN:
        drawn = 2 * side if then.startswith("resize") else side
        clean = to_float(np.asarray(square.resize((drawn, drawn), Image.Resampling.LANCZOS)))
        for kind in KINDS:
            made = damage(clean, kind, amount=AMOUNT, then=then.split(","), seed=seed)
            image = to_float(from_float(made.image, np.uint8))
            wrong = (np.abs(image - made.clean) > VISIBLE).any(axis=2)
            odds = ThinLines(prior=0).log_odds(torch.from_numpy(image.mean(axis=2)))
            inside = np.isfinite(odds)
            values, whose = np.unique(odds[inside], return_inverse=True)
            pixels = np.bincount(whose)
            yield values, np.bincount(whose, wrong[inside]) / pixels, pixels


def classes(odds: NDArray[np.float64]) -> Iterator[tuple[float | None, NDArray[np.bool_]]]:
    """The lines between two edges, and those beyond the first and the last; none that are empty."""
    place = np.searchsorted(EDGES, odds, side="right")
    for number, least in enumerate((None, *EDGES)):
        if (place == number).any():
            yield least, place == number


if __name__ == "__main__":
    main()
