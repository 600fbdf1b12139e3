"""Hashes of what the command line computes, to compare two checkouts bit by bit.

    python -m benchmarks.same_results [CHECKOUT]

Each line is a case and the SHA-256 sum of its result. The cases are three pictures by two methods
of `denoise` (the default recipe, and 50 steps of the published one) and two epochs of each method
of `train-cifar`. Everything runs on the CPU with one thread, so that two checkouts whose numbers
are the same on one machine print the same lines. Nothing but the command line is called, for that
is what stays when code moves. Two to three minutes.
"""

import argparse
import csv
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image
from skimage import data

METHODS = ("ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix")
# Clocks differ from run to run; nothing else in metrics.csv may.
CLOCKS = ("seconds", "evaluation_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--only", choices=("images", "labels"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only != "labels":
            for case, digest in image_cases(args.checkout, folder):
                print(f"{digest}  {case}", flush=True)
        if args.only != "images":
            for case, digest in label_cases(args.checkout, folder):
                print(f"{digest}  {case}", flush=True)


def image_cases(checkout: Path, folder: Path):
    cat = data.chelsea()[100:196, 180:276]
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(cat.shape) < 0.5, rng.integers(0, 256, cat.shape), cat)
    grey = data.camera()[200:263, 200:289].copy()
    grey[rng.random(grey.shape) < 0.3] = 255
    printed = cat.copy()
    printed[20:24, 5:80] = (250, 10, 40)  # thin enough for a stroke
    printed[:, 60] = 0  # a lost column
    for name, pixels in {"colour": noisy, "grey": grey, "printed": printed}.items():
        source = folder / f"{name}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(source)
        for method, steps in (("default", None), ("paper", 50)):
            result, corruption = folder / "result.png", folder / "s.npy"
            command = ["denoise", source, "-o", result, "--save-corruption", corruption]
            command += ["--method", method, "--device", "cpu", "--force", "--quiet"]
            command += [] if steps is None else ["--steps", str(steps)]
            run(checkout, command)
            digest = hashlib.sha256(np.asarray(Image.open(result)).tobytes())
            digest.update(np.load(corruption).tobytes())
            yield f"denoise {name} {method}", digest.hexdigest()


def label_cases(checkout: Path, folder: Path):
    source = folder / "small.npz"
    rng = np.random.default_rng(1)
    # Four classes: pieces of four pictures, so that there is something to learn.
    pictures = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    pieces = []
    for picture in pictures:
        rows = rng.integers(0, picture.shape[0] - 32, 150)
        columns = rng.integers(0, picture.shape[1] - 32, 150)
        pieces.append([picture[r : r + 32, c : c + 32] for r, c in zip(rows, columns, strict=True)])
    images, labels = np.concatenate(pieces).astype(np.uint8), np.arange(4).repeat(150)
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    np.savez(
        source,
        train_images=images[:500],
        train_labels=labels[:500],
        test_images=images[500:],
        test_labels=labels[500:],
    )
    for method in METHODS:
        out = folder / f"run-{method}"
        command = ["train-cifar", "--data", source, "--noise", "0.3", "--method", method]
        command += ["--recipe", "cpu", "--epochs", "2", "--device", "cpu", "--out", out, "--quiet"]
        command += ["--set", "warmup=1"] if method in ("coteaching+", "dividemix") else []
        run(checkout, command)
        digest = hashlib.sha256()
        with (out / "metrics.csv").open() as file:
            for row in csv.DictReader(file):
                kept = {key: value for key, value in row.items() if key not in CLOCKS}
                digest.update(repr(sorted(kept.items())).encode())
        tensors = safetensors.numpy.load_file(out / "checkpoint.safetensors")
        for key, tensor in sorted(tensors.items()):
            digest.update(key.encode() + tensor.tobytes())
        digest.update((out / "label_issues.csv").read_bytes())
        yield f"train-cifar {method}", digest.hexdigest()


def run(checkout: Path, command: list) -> None:
    """`cli.py` of the checkout with its own packages, whatever is installed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    subprocess.run(
        [sys.executable, checkout / "cli.py", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


if __name__ == "__main__":
    main()
