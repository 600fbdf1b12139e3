"""What `denoise` changes in pictures without damage, which should come back as they are.

    python -m benchmarks.images.harm [PHOTO ...] [--side 96] [--pictures NAME ...]
                                     [--jpeg 0 90] [--seeds 1] [--threads 1] [--results FILE]

The pictures are those of `benchmarks.images.harmless` and the PHOTOs, resized to a square by
Lanczos, as they are (`--jpeg 0`) or compressed as JPEG. For each are recorded the share of the
elements found corrupted and the PSNR of the result against the input; at most 100 dB, which
also stands for equality. The aim is 0.05 % and 50 dB.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.images.harmless import PICTURES, jpeg
from benchmarks.logs import HARM
from benchmarks.options import parse, parser
from benchmarks.record import Log, circumstances
from robustdip import denoise
from robustdip.images import to_float
from robustdip.quality import psnr

SAME = 100.0
"""Largest PSNR that is shown, in dB."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("photos", nargs="*", type=Path, metavar="PHOTO")
    options.add_argument("--side", type=int, default=96)
    options.add_argument("--pictures", nargs="*", choices=PICTURES, default=list(PICTURES))
    options.add_argument("--jpeg", nargs="+", type=int, default=[0], help="quality; 0 for none")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--results", type=Path, default=HARM.path)
    args = parse(options)
    log = Log(args.results, HARM.key)
    makers = {name: PICTURES[name] for name in args.pictures}
    makers |= {path.stem: _photo(path) for path in args.photos}
    for seed in range(args.seeds):
        for quality in args.jpeg:
            for name, make in makers.items():
                case = {"picture": name, "side": args.side, "jpeg": quality, "seed": seed}
                line = {**circumstances("images"), **case}
                if log.has(line):
                    continue
                picture = make(args.side, np.random.default_rng(seed))
                line |= measured(picture if quality == 0 else jpeg(picture, quality))
                log.append(line)
                shown = (*HARM.key, "flagged", "psnr", "seconds")
                print({key: line[key] for key in shown}, flush=True)


def measured(picture: np.ndarray) -> dict[str, float]:
    result = denoise(picture, device="cpu")
    same = bool((result.image == picture).all())
    return {
        "flagged": float(result.mask.mean()),
        "psnr": SAME
        if same
        else round(min(SAME, psnr(to_float(picture), to_float(result.image))), 2),
        "seconds": round(result.seconds, 1),
    }


def _photo(path: Path):
    def make(side: int, rng: np.random.Generator) -> np.ndarray:
        whole = Image.open(path).convert("RGB")
        return np.asarray(whole.resize((side, side), Image.Resampling.LANCZOS))

    return make


if __name__ == "__main__":
    main()
