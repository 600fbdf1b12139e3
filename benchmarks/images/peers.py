"""Other programs on the same files: corrupted pictures out, restored pictures in.

    python -m benchmarks.images.peers make FOLDER IMAGE [IMAGE ...] [--grey] [--side 256]
        [--kinds random-valued] [--amounts 0.1 0.3 0.5] [--seeds 1]
    python cli.py denoise FOLDER/corrupted --out-dir RESTORED
    python -m benchmarks.images.peers score FOLDER RESTORED --method robustdip
    python -m benchmarks.images.peers score FOLDER OTHER --method NAME --source TEXT [--seconds S]

`make` writes 8-bit PNG files: `corrupted/CASE.png`, `clean/CASE.png` and `cases.json`, to which
more calls add. Any program may restore the corrupted ones. `score` reads `CASE.png` or
`CASE_denoised.png` from its folder, leaves out cases that it does not have, and appends a line for
each to results/images/peers.jsonl: PSNR of the file against the clean file, beside that of the
corrupted one and that of linear interpolation with the true mask. --source says where the program
comes from (an address and a version). --seconds is what the program took for all of its files.

How two published programs were run, on one CPU thread:

- PARIGI (tguillemot/parigi at its newest commit, IPOL 2015; grey only; compiled by `make`):
  ``bin/parigi CASE.png same.png OTHER/CASE.png 0 0 1 1 0``. It adds no noise of its own then.
- PD-Denoising (yzhouas/PD-Denoising-pytorch, AAAI 2020; its weights for mixed noise): as `test.py
  --mode MC --num_of_layers 20 --cond 1 --refine 0 --ps 0 --real_n 2` does, without CUDA.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.logs import PEERS
from benchmarks.record import circumstances
from overparam.files import replace_file
from robustdip.classical import interpolate
from robustdip.images import from_float, to_float
from robustdip.quality import psnr
from robustdip.synthetic import corrupt

OURS = "robustdip"
CASES = "cases.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("make")
    made.add_argument("folder", type=Path)
    made.add_argument("images", nargs="+", type=Path)
    made.add_argument("--grey", action="store_true")
    made.add_argument("--side", type=int, default=256)
    made.add_argument("--kinds", nargs="+", default=["random-valued"])
    made.add_argument("--amounts", nargs="+", type=float, default=[0.1, 0.3, 0.5])
    made.add_argument("--seeds", type=int, default=1)
    scored = commands.add_parser("score")
    scored.add_argument("folder", type=Path)
    scored.add_argument("restored", type=Path)
    scored.add_argument("--method", required=True)
    scored.add_argument("--source", help="not needed for robustdip")
    scored.add_argument("--seconds", type=float)
    args = parser.parse_args()
    if args.command == "make":
        make(args)
    elif args.method != OURS and not args.source:
        parser.error("--source is needed: which program, from where, which version")
    else:
        score(args)


def make(args: argparse.Namespace) -> None:
    for name in ("clean", "corrupted"):
        (args.folder / name).mkdir(parents=True, exist_ok=True)
    cases = read_cases(args.folder)
    mode = "L" if args.grey else "RGB"
    for path in args.images:
        with Image.open(path) as opened:
            size = (args.side, args.side)
            square = opened.convert(mode).resize(size, Image.Resampling.LANCZOS)
        clean = to_float(np.asarray(square).reshape(*size, -1))
        for kind in args.kinds:
            for amount in args.amounts:
                for seed in range(args.seeds):
                    rng = np.random.default_rng(seed)
                    noisy, bad = corrupt(clean, kind, amount, rng=rng)
                    file = from_float(noisy, np.uint8)
                    filled = interpolate(to_float(file), bad, method="linear")
                    case = f"{path.stem}-{mode}-{args.side}-{kind}-{amount:g}-{seed}"
                    cases[case] = {
                        "image": path.stem,
                        "grey": args.grey,
                        "side": args.side,
                        "kind": kind,
                        "amount": amount,
                        "seed": seed,
                        "input_psnr": round(psnr(clean, to_float(file)), 3),
                        "true_mask_linear_psnr": round(psnr(clean, filled), 3),
                    }
                    Image.fromarray(file.squeeze()).save(args.folder / "corrupted" / f"{case}.png")
                    square.save(args.folder / "clean" / f"{case}.png")
    replace_file(args.folder / CASES, json.dumps(cases, indent=1).encode())
    print(f"{len(cases)} cases in {args.folder}")


def read_cases(folder: Path) -> dict[str, dict]:
    path = folder / CASES
    return json.loads(path.read_text()) if path.exists() else {}


def score(args: argparse.Namespace) -> None:
    cases = read_cases(args.folder)
    found: dict[str, Path] = {}
    for case in cases:
        for name in (f"{case}.png", f"{case}_denoised.png"):
            if (args.restored / name).is_file():
                found[case] = args.restored / name
    if not found:
        raise SystemExit(f"{args.restored} has no restored file of {args.folder}")
    for case, path in found.items():
        true = Image.open(args.folder / "clean" / f"{case}.png")
        pair = [np.asarray(true), np.asarray(Image.open(path).convert(true.mode))]
        line = {**cases[case], "method": args.method, "psnr": round(psnr(*map(to_float, pair)), 3)}
        line |= {"seconds": round(args.seconds / len(found), 2)} if args.seconds else {}
        group = "images" if args.method == OURS else "classical"
        line |= circumstances(group)
        if args.method != OURS:
            # Our code decides nothing about it; `source` says which code does.
            line |= {"source": args.source}
        PEERS.append(line)
        print({name: line[name] for name in ("method", "image", "kind", "amount", "psnr")})


if __name__ == "__main__":
    main()
