"""What `find-label-errors` and `train` share: your own images as an argument, read and described.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overparam.words import counted
from sop_classify.cli.options import require_outside
from sop_classify.recipes import TORCHVISION, USUAL_NUMBER, Recipe, adapted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sop_classify.data.images import LabelledImages
    from sop_classify.training.processes import Processes

__all__ = [
    "Holdout",
    "Mirror",
    "OwnImages",
    "Size",
    "cache_of",
    "check_places",
    "describe",
    "fitted",
    "for_network",
]

_MISSING = ("nan", "none", "null", "n/a", "na")  # as tables write labels that are missing
_FEW = 20  # images, of which an accuracy has a standard deviation of up to 11 points

OwnImages = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help="A folder of classes, a folder with train/CLASS and val/CLASS, a table "
        "path,label, an .npz file, or a folder with CIFAR or MNIST. \\[required]",
        show_default=False,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        min=16,
        max=224,
        help="Side in pixels to which image files are resized and cropped.",
        show_default="their own, if they are small squares of one size, or 32",
    ),
]
Holdout = Annotated[
    float,
    typer.Option(help="Fraction of the training images to hold out if there is no val."),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror/--no-mirror",
        help="Whether a mirror image shows the same class: not so for digits and text.",
    ),
]


def check_places(data: Path, out: Path, *, run: Path, resume: bool, processes: "Processes") -> None:
    """Raise FileError unless there is data, and a run can start, or resume, outside of it.

    Parameters
    ----------
    data, out : Path
    run : Path
        The folder of the run: `out`, or one in it.
    resume : bool
        A run that is there goes on. Where there is none, one starts, and stderr says so.
    processes : Processes
        Only the first one looks, and not after a restart: what it would find may be its own.
    """
    from overparam.files import FileError, file_errors
    from sop_classify.records.record import has_record
    from sop_classify.runs.folder import require_new

    with file_errors("read", data):
        data.stat()
    require_outside(data, out)
    if processes.restarted or not processes.is_first or (resume and has_record(run)):
        return
    if resume and run == out and has_record(out / "training"):
        raise FileError(
            f"{str(out)!r} is of find-label-errors, whose run is in {str(out / 'training')!r}"
        )
    require_new(out)
    if resume:
        typer.echo(f"note: there is nothing to resume in {str(out)!r}; a new run starts", err=True)


def fitted(recipe: Recipe, number: int, *, epochs: int | None, mirror: bool) -> Recipe:
    """The recipe for so many training images: the fewer there are, the more epochs."""
    if epochs is None:
        # 11 of the recipe for 50,000 images, 24 for 5,000, 32 for 2,000.
        epochs = round(recipe.epochs * min(4.0, max(1.0, (USUAL_NUMBER / number) ** (1 / 3))))
    recipe = adapted(recipe, number, epochs=epochs)
    return recipe if mirror else recipe.changed(flip="none", flips=False)


def for_network(
    recipe: Recipe, name: str, *, batch: int | None = None, pretrained: bool = False
) -> Recipe:
    """The recipe for a network of this name, with an optimizer and rates that suit it.

    Parameters
    ----------
    recipe : Recipe
        Its Muon and its rates were tuned for its own network.
    name : str
        As recipes have it.
    batch : int, optional
        Another size of the batches.
    pretrained : bool
        The network starts from weights that know images.
    """
    batch = batch or recipe.batch_size
    changes: dict[str, Any] = {"network": name, "batch_size": batch}
    if pretrained or name.startswith(TORCHVISION) or name == "efficientnet-lite0":
        # Usual rates for SGD in batches of 64: from weights that know images, and from random ones.
        changes |= {
            "optimizer": "sgd",
            "lr": (0.01 if pretrained else 0.05) * min(1.0, batch / 64),
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 5e-4,
        }
    elif name != recipe.network:
        # With Muon's rates they predict one class, and on few images Adam learns in fewer epochs
        # than SGD (tests/sop_classify/cli/test_train.py).
        changes |= {"optimizer": "adam", "lr": 0.002 * (batch / 512) ** 0.5, "momentum": 0.9}
    elif batch < recipe.batch_size:
        changes |= {
            key: getattr(recipe, key) * (batch / recipe.batch_size) ** 0.5
            for key in ("lr", "head_lr", "bias_lr")
        }
    return recipe.changed(**changes)


def cache_of(images: "LabelledImages") -> dict[str, Any] | None:
    """Place and bytes of the pixels that are kept; None for arrays."""
    # Not of the file, which may be gone: a command that finds changed data makes the cache anew.
    path = images.cache
    return None if path is None else {"path": str(path), "bytes": images.images.nbytes}


def describe(images: "LabelledImages", *, quiet: bool) -> None:
    """Say on stderr what was read and what was left out; if `quiet`, only the latter."""
    from sop_classify.data.listing import HIDDEN

    if not quiet:
        _describe_read(images)
    for name in images.lost:
        typer.echo(f"class {name!r} is left out: none of its files can be read", err=True)
    for note in _doubts(images):
        typer.echo(f"note: {note}", err=True)
    told = [skipped for skipped in images.skipped if skipped.reason != HIDDEN]
    for skipped in told[:3]:
        typer.echo(f"skipped {skipped.path!r}: {skipped.reason}", err=True)
    if len(told) > 3:
        typer.echo(f"skipped {len(told) - 3} more: see skipped.csv", err=True)


def _doubts(images: "LabelledImages") -> "Iterator[str]":
    """Remarks on names of classes that are probably mistakes."""
    alike: dict[str, list[str]] = {}
    for name in images.class_names:
        alike.setdefault(name.strip().casefold(), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield f"{' and '.join(map(repr, names))} are different classes"
    if no_class := [name for name in images.class_names if name.strip().casefold() in _MISSING]:
        yield f"class {', '.join(map(repr, no_class))}: are these labels that are missing?"


def _describe_read(images: "LabelledImages") -> None:
    height, width = images.images.shape[1:3]
    parts = {split: len(images.index(split)) for split in ("train", "val", "test")}
    said = ", ".join(f"{number:,} {split}" for split, number in parts.items() if number)
    typer.echo(
        f"{counted(len(images.class_names), 'class', 'classes')}, {said}, at {width}x{height}",
        err=True,
    )
    if cache := cache_of(images):
        typer.echo(f"pixels: {cache['bytes'] / 1e6:.1f} MB in {cache['path']!r}", err=True)
    if images.holdout is not None:
        of_each = f"about {images.holdout:.0%} of each class that is not too small for it"
        typer.echo(f"held out {counted(parts['val'], 'image')}, {of_each}: see split.csv", err=True)
    if 0 < parts["val"] < _FEW:
        typer.echo(f"note: the hold-out ({parts['val']}) is too small for an accuracy", err=True)
