"""Whether a change of code left all results as they were, bit for bit.

    python -m benchmarks.same_results OTHER [--groups images named-damage large labels label-errors]

OTHER is a checkout of the code before the change. Both checkouts do the same work, on the CPU with
one thread: each kind of damage restored by the default recipe, some by other recipes and with masks
(group images), damage that is named (named-damage), pictures in tiles (large), and two epochs of
each method of `train-cifar` (labels), once with the settings that 11 epochs of CIFAR have and once
with those that are chosen for so few steps, and `find-label-errors` and `train` (label-errors).
Nothing but the command line is called, for that is what stays when code moves.

If all results of a group are the same, this is recorded, and what was measured with the code before
counts as measured with the code after (`benchmarks.record.is_current`); of pictures only those that
are no larger than the largest of these. If only pictures differ that were compressed or changed in
size after the damage, or only the trainings of some methods or short ones, that is recorded too:
the others count. If anything differs, the exit status is 1. 25 minutes for images, 10 more for
named-damage, 5 for large, 5 for labels, 4 for label-errors.
"""

import argparse
import csv
import dataclasses
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from PIL import Image
from skimage import data

from benchmarks.code_hash import ROOT
from benchmarks.record import SAME, circumstances, code, trained_by
from robustdip import damage
from robustdip.images import from_float, to_float
from sop_classify.methods.catalogue import recipe_for

METHODS = ("ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix")
# Clocks differ from run to run; nothing else in metrics.csv may.
CLOCKS = ("seconds", "evaluation_seconds")
# Kind, amount, and what happens afterwards.
DAMAGED = (
    ("salt-and-pepper", 0.5, []),
    ("random-valued", 0.1, []),
    ("random-valued", 0.5, []),
    ("random-valued", 0.3, ["jpeg:85"]),
    ("text", 0.1, []),
    ("text", 0.1, ["jpeg:85"]),
    ("scratches", 0.1, []),
    ("missing-lines", 0.1, []),
    ("blocks", 0.1, []),
    ("soft-text", 0.1, ["resize:0.5"]),
)
NAMED = (
    ("soft-scratches", "scratches"),
    ("hair", "hair"),
    ("dust", "dust"),
    ("soft-text", "text"),
    ("random-valued", "pixels"),
)


def named(kind: str, amount: float, then: list[str]) -> str:
    """The name of a case."""
    return f"{kind} {amount:g} {' '.join(then)}"


APART = frozenset(named(*each) for each in DAMAGED if each[2]) | {
    trained_by(method, short=short) for method in METHODS for short in (False, True)
}
"""Cases that say nothing of the others: pictures that were compressed or changed in size after the
damage, and the trainings of each method."""

# Side of the largest picture of a group.
UP_TO = {"images": 256, "named-damage": 256, "large": 512, "labels": None, "label-errors": None}
# Kind, amount, what happens afterwards, and options: in tiles by themselves, and as they are told.
TILED = (
    ("random-valued", 0.5, [], []),
    ("text", 0.1, ["jpeg:85"], ["--tile", "276", "--every-tile"]),
    ("scratches", 0.02, [], ["--tile", "200"]),
    ("salt-and-pepper", 0.001, [], ["--tile", "200"]),
)
# Methods beside the default, with fewer steps than they have.
SHORT = {"fast": 300, "best": 60, "paper": 50, "dip-l1": 60, "dip-l2": 60, "dip-es-wmv": 150}

Case = Callable[[Path, Path], str]
"""What is done with a checkout in an empty folder, and the hash of what comes out."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path)
    parser.add_argument("--groups", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    differ = False
    known: dict[str, bool] = {}  # groups have cases in common
    for group in args.groups:
        for name, case in CASES[group]():
            if name not in known:
                known[name] = same(case, args.other.resolve())
                print(f"{'same' if known[name] else 'DIFFERENT'}  {name}", flush=True)
        names = [name for name, _ in CASES[group]()]
        other = [name for name in names if not known[name]]
        differ |= bool(other)
        if not APART.issuperset(other):
            continue
        before, now = hash_of(args.other.resolve(), group), code(group)["hash"]
        if before != now:
            alike = [name for name in names if known[name]]
            line = {**circumstances(group), "before": before, "cases": alike, "differ": other}
            SAME.append(line | {"up_to": UP_TO[group]})
        but = f", but for {', '.join(other)}" if other else ""
        print(f"{group}: {before} and {now} give the same results{but}")
    raise SystemExit(differ)


def same(case: Case, other: Path) -> bool:
    """Whether a case gives the same in both checkouts."""
    found: list[str] = []
    for checkout in (ROOT, other):
        with tempfile.TemporaryDirectory() as folder:
            found.append(case(checkout, Path(folder)))
    return found[0] == found[1]


def hash_of(checkout: Path, group: str) -> str:
    """The hash of a checkout's code, by its own list of files."""
    asked = f"from benchmarks.code_hash import code_hash; print(code_hash({group!r}))"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=checkout, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# --- pictures ------------------------------------------------------------------------------


def image_cases() -> Iterator[tuple[str, Case]]:
    cat = data.chelsea()[100:196, 180:276]
    grey = data.camera()[200:263, 200:289]
    for kind, amount, then in DAMAGED:
        yield named(kind, amount, then), restoring(cat, kind, amount, then=then)
    for kind in ("random-valued", "text"):
        yield f"{kind}, true mask", restoring(cat, kind, 0.3, masked=True)
        yield f"{kind}, grey", restoring(grey, kind, 0.1)
    for method, steps in SHORT.items():
        options = ["--method", method, "--steps", str(steps)]
        yield f"random-valued, {method}", restoring(cat, "random-valued", 0.5, options=options)
    astronaut = data.astronaut()[:256, 100:356]
    yield "random-valued, 256x256", restoring(astronaut, "random-valued", 0.5)


def named_cases() -> Iterator[tuple[str, Case]]:
    yield from image_cases()
    cat = data.chelsea()[100:228, 150:278]
    for kind, name in NAMED:
        options = ["--damage", name]
        case = restoring(cat, kind, 0.05, then=["jpeg:85"], options=options)
        yield f"{kind}, --damage {name}", case


def tiled_cases() -> Iterator[tuple[str, Case]]:
    few = ["--steps", "30"]
    for kind, amount, then, options in TILED:
        words = [*options, *few]
        case = restoring(data.astronaut(), kind, amount, then=then, options=words)
        yield f"{kind} {amount:g} {' '.join([*then, *options])}, 512x512", case
    case = restoring(data.astronaut(), "dust", 0.02, masked=True, options=["--tile", "200", *few])
    yield "dust, true mask, --tile 200, 512x512", case


def restoring(
    clean: np.ndarray,
    kind: str,
    amount: float,
    *,
    then: list[str] | None = None,
    masked: bool = False,
    options: list[str] | None = None,
) -> Case:
    made = damage(to_float(clean), kind, amount=amount, then=then or [], seed=0)

    def restore(checkout: Path, folder: Path) -> str:
        source, result, s = (folder / name for name in ("bad.png", "result.png", "s.npy"))
        Image.fromarray(from_float(made.image, np.uint8)).save(source)
        words = [source, "-o", result, "--save-corruption", s, *(options or [])]
        if masked:
            mask = np.asarray(made.mask if made.mask.ndim == 2 else made.mask.any(axis=2))
            Image.fromarray(mask).save(folder / "mask.png")
            words += ["--mask", folder / "mask.png"]
        run(checkout, ["denoise", *words, "--device", "cpu", "--quiet"])
        digest = hashlib.sha256(np.asarray(Image.open(result)).tobytes())
        digest.update(np.load(s).tobytes())
        return digest.hexdigest()

    return restore


# --- labels --------------------------------------------------------------------------------


def label_cases() -> Iterator[tuple[str, Case]]:
    for method in METHODS:
        for short in (False, True):
            yield trained_by(method, short=short), training(method, short=short)


def training(method: str, *, short: bool) -> Case:
    def train(checkout: Path, folder: Path) -> str:
        source, out = folder / "small.npz", folder / "run"
        arrays: dict[str, Any] = four_classes()
        np.savez(source, **arrays)
        command = ["train-cifar", "--data", source, "--noise", "0.3", "--method", method]
        command += ["--recipe", "cpu", "--epochs", "2", "--device", "cpu", "--out", out, "--quiet"]
        settings = [] if short else of_the_recipe(method)
        if method in ("coteaching+", "dividemix"):  # it must end before the two epochs do
            settings = [*settings, "warmup=1"]
        command += [word for setting in settings for word in ("--set", setting)]
        run(checkout, command)
        return hash_of_run(out)

    return train


def finding(command: str, *options: str, pieces: int = 150) -> Case:
    """One of the commands for data of one's own, which choose epochs and learning rate by it."""

    def find(checkout: Path, folder: Path) -> str:
        source, out = folder / "small.npz", folder / "out"
        arrays = four_classes(pieces)
        wrong = np.random.default_rng(2).random(len(arrays["train_labels"])) < 0.3
        arrays["train_labels"] = (arrays["train_labels"] + wrong) % 4
        np.savez(source, **arrays)
        run(checkout, [command, source, "--out", out, "--device", "cpu", "--quiet", *options])
        digest = hashlib.sha256()
        for path in sorted(out.rglob("run.json")):
            digest.update(hash_of_run(path.parent).encode())
        for path in sorted({*out.glob("*.csv"), *out.glob("*.npy")} - {out / "metrics.csv"}):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    return find


def finding_cases() -> Iterator[tuple[str, Case]]:
    yield "find-label-errors", finding("find-label-errors", "--epochs", "12")
    # So many steps that the learning rate is not the largest one.
    yield (
        "find-label-errors, 5,000 images",
        finding("find-label-errors", "--epochs", "7", pieces=1375),
    )
    yield "train ce", finding("train", "--method", "ce", "--no-mirror", "--epochs", "5")


def hash_of_run(folder: Path) -> str:
    """The hash of what a training gives, without its clocks."""
    digest = hashlib.sha256()
    with (folder / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            kept = {key: value for key, value in row.items() if key not in CLOCKS}
            digest.update(repr(sorted(kept.items())).encode())
    tensors = safetensors.numpy.load_file(folder / "checkpoint.safetensors")
    for key, tensor in sorted(tensors.items()):
        digest.update(key.encode() + tensor.tobytes())
    if (folder / "label_issues.csv").exists():
        digest.update((folder / "label_issues.csv").read_bytes())
    return digest.hexdigest()


def of_the_recipe(method: str) -> list[str]:
    """The settings that may depend on the length of a training, as the recipe has them."""
    recipe = recipe_for("cpu", method)
    lengths = [
        f.name
        for f in dataclasses.fields(recipe)
        if f.metadata.get("scales") or f.metadata.get("share")
    ]
    return [f"{name}={getattr(recipe, name)}" for name in ("lr", *lengths)]


def four_classes(number: int = 150) -> dict[str, np.ndarray]:
    """So many pieces of each of four pictures, so that there is something to learn.

    A sixth are test images, but 500 at most.
    """
    rng = np.random.default_rng(1)
    pieces = []
    for picture in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket()):
        rows = rng.integers(0, picture.shape[0] - 32, number)
        columns = rng.integers(0, picture.shape[1] - 32, number)
        pieces.append([picture[r : r + 32, c : c + 32] for r, c in zip(rows, columns, strict=True)])
    images, labels = np.concatenate(pieces).astype(np.uint8), np.arange(4).repeat(number)
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    trained_on = len(images) - min(500, len(images) // 6)
    return {
        "train_images": images[:trained_on],
        "train_labels": labels[:trained_on],
        "test_images": images[trained_on:],
        "test_labels": labels[trained_on:],
    }


CASES: dict[str, Callable[[], Iterator[tuple[str, Case]]]] = {
    "images": image_cases,
    "named-damage": named_cases,
    "large": tiled_cases,
    "labels": label_cases,
    "label-errors": finding_cases,
}


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
