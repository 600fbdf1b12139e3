"""The command `find-label-errors`: your images in, tables of what is wrong with their labels out.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overparam.terminal import exit_on_error, progress
from sop_classify.cli.options import Compile, Device, one_of
from sop_classify.cli.train_cifar import budget_for, train_run
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import Recipe, describe_settings, read_settings, resized, with_settings

if TYPE_CHECKING:
    from sop_classify.data.images import LabelledImages

__all__ = ["find_label_errors"]

_METHODS = ("sop", "sop+")
_TRAINING = "training"  # folder of the run


def find_label_errors(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of classes, a folder with train/CLASS and val/CLASS, a table "
            "path,label, an .npz file, or a folder with CIFAR or MNIST.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the tables.")],
    method: Annotated[
        str, typer.Option(help="Method of training.", **one_of("method", _METHODS))
    ] = "sop",
    size: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=224,
            help="Side in pixels to which image files are resized and cropped.",
            show_default="their own, if they are small squares of one size, or 32",
        ),
    ] = None,
    holdout: Annotated[
        float,
        typer.Option(help="Fraction of the training images to hold out if there is no val."),
    ] = 0.1,
    mirror: Annotated[
        bool,
        typer.Option(
            "--mirror/--no-mirror",
            help="Whether a mirror image shows the same class: not so for digits and text.",
        ),
    ] = True,
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
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of all random numbers.")
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
    """Find the wrong labels in your own images.

    Trains once, on the labels as they are, and writes tables: every label with the
    one that the network suggests, the worst first; the estimated fraction of wrong
    labels; classes that are mistaken for each other; duplicates. DATA is not changed.

    Ctrl-C keeps the completed epochs; --resume continues.
    """
    begin = time.monotonic()
    with exit_on_error():
        wishes = list(settings or [])
        if "help" in wishes:
            typer.echo(describe_settings(recipe_for("cpu", method)))
            return
        read_settings(recipe_for("cpu", method), wishes)
        _check_places(data, out, resume=resume)

        from sop_classify.data.images import read_images

        with progress(f"read {data.name}", unit="image", quiet=quiet) as show:
            images = read_images(data, size=size, holdout=holdout, seed=seed, on_image=show)
        if not quiet:
            _describe(images)
        recipe = recipe_for(budget_for("auto", device), method)
        recipe = _fitted(recipe, len(images.index("train")), epochs=epochs, mirror=mirror)
        recipe = with_settings(recipe, wishes)

        from sop_classify.reports.label_errors import write_findings
        from sop_classify.runs.label_errors import judge
        from sop_classify.runs.record import has_record
        from sop_classify.runs.run import Job, Run

        arguments = {"data": images.name, "holdout": images.holdout}
        pair = images.image_data()
        job = Job(
            pair, pair.train_labels, recipe,
            seed=seed, device=device, compile=compile, arguments=arguments,
        )  # fmt: skip
        run = Run(job, out / _TRAINING)
        if resume and has_record(run.folder):
            run.resume()
        else:
            run.start()
        train_run(run, quiet=quiet)
        findings = judge(run, images, seed=seed)
        summary = write_findings(
            out,
            findings,
            method=method,
            seed=seed,
            training_seconds=run.record.results.get("training_seconds"),
            seconds=round(time.monotonic() - begin, 1),
            cache=_cache(images),
        )
        if findings.test is not None:
            typer.echo(
                "warning: the labels of test/ are judged apart, in test_label_issues.csv; look at "
                "every image before you correct one: a test set that a network has cleaned favours "
                "that network",
                err=True,
            )
        typer.echo(json.dumps(summary, default=str) if as_json else _report(summary, out))


def _check_places(data: Path, out: Path, *, resume: bool) -> None:
    from overparam.files import FileError, file_errors
    from sop_classify.runs.run import require_new

    with file_errors("read", data):
        data.stat()
    with file_errors("write to", out):
        if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
            raise FileError("it is inside the data, where it would be read as a class")
    if not resume:
        require_new(out)


def _fitted(recipe: Recipe, number: int, *, epochs: int | None, mirror: bool) -> Recipe:
    """The recipe for so many training images: the fewer there are, the more epochs."""
    if epochs is None:
        # 11 of the recipe for 50,000 images, 24 for 5,000, 32 for 2,000.
        epochs = round(recipe.epochs * min(4.0, max(1.0, (50_000 / number) ** (1 / 3))))
    recipe = resized(recipe, epochs)
    return recipe if mirror else recipe.changed(flip="none", flips=False)


def _cache(images: "LabelledImages") -> dict[str, Any] | None:
    path = images.cache
    return None if path is None else {"path": str(path), "bytes": path.stat().st_size}


def _describe(images: "LabelledImages") -> None:
    height, width = images.images.shape[1:3]
    parts = {split: len(images.index(split)) for split in ("train", "val", "test")}
    said = ", ".join(f"{number:,} {split}" for split, number in parts.items() if number)
    typer.echo(f"{len(images.class_names)} classes, {said}, at {width}x{height}", err=True)
    if cache := _cache(images):
        typer.echo(f"pixels: {cache['bytes'] / 1e6:.1f} MB in {cache['path']!r}", err=True)
    if images.holdout is not None:
        typer.echo(f"held out {images.holdout:.0%} of each class: see split.csv", err=True)
    for skipped in images.skipped[:3]:
        typer.echo(f"skipped {skipped.path!r}: {skipped.reason}", err=True)
    if len(images.skipped) > 3:
        typer.echo(f"skipped {len(images.skipped) - 3} more: see skipped.csv", err=True)


def _report(summary: dict[str, Any], out: Path) -> str:
    rate, found = summary["noise_rate"], summary["duplicates"]
    lines = [
        f"wrong labels, estimated: {rate['estimate']:.1%} (95 %: {rate['low']:.1%} to "
        f"{rate['high']:.1%})",
        f"labels that look wrong: {summary['issues']:,} of "
        f"{summary['images']['train'] + summary['images']['val']:,}",
    ]
    if summary["too_rare"]:
        lines.append(f"classes too rare to judge: {', '.join(summary['too_rare'])}")
    if found["sets"]:
        lines.append(
            f"duplicates: {found['sets']} sets, {found['two_labels']} with two labels, "
            f"{found['two_splits']} in two splits"
        )
    if summary["skipped"]:
        lines.append(f"skipped: {summary['skipped']}, see skipped.csv")
    return "\n".join([*lines, str(out / "label_issues.csv")])
