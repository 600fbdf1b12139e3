"""The command `find-label-errors`: your images in, tables of what is wrong with their labels out.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from overparam.terminal import exit_on_error, printable, progress
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
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import describe_settings, read_settings, with_settings
from sop_classify.training.processes import torchrun

__all__ = ["find_label_errors"]

_METHODS = ("sop", "sop+")
_TRAINING = "training"  # folder of the run


def find_label_errors(
    data: OwnImages = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the tables. \\[required]")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Method of training.", **one_of("method", _METHODS))
    ] = "sop",
    size: Size = None,
    holdout: Holdout = 0.1,
    mirror: Mirror = True,
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
    with exit_on_error(), torchrun(device) as (processes, device):
        wishes = list(settings or [])
        if "help" in wishes:
            typer.echo(describe_settings(recipe_for("cpu", method)))
            return
        data, out = needed(data, "DATA"), needed(out, "--out")
        refuse_contradictions(wishes, epochs=epochs)
        if not mirror:
            refuse_contradictions(wishes, flip="none", flips=False)
        # What depends on the number of epochs, and on the network, is set with them.
        asked = read_settings(recipe_for("cpu", method), wishes)
        epochs = asked.get("epochs", epochs)
        folder = out / _TRAINING
        if resume:
            _refuse_training(out)
        check_places(data, out, run=folder, resume=resume, processes=processes)
        resume = resume or processes.restarted

        from overparam.files import FileError, MovedError
        from sop_classify.data.images import read_images

        with (
            processes.in_turn(),
            progress(f"read {data.name}", unit="image", quiet=quiet) as show,
        ):
            images = read_images(data, size=size, holdout=holdout, seed=seed, on_image=show)
        describe(images, quiet=quiet)
        recipe = recipe_for(budget_for("auto", device), method)
        recipe = fitted(recipe, len(images.index("train")), epochs=epochs, mirror=mirror)
        if "network" in asked:
            recipe = for_network(recipe, asked["network"])
        recipe = with_settings(recipe, wishes)

        from sop_classify.records.record import has_record
        from sop_classify.reports.label_errors import write_findings
        from sop_classify.runs.job import Job
        from sop_classify.runs.label_errors import judge
        from sop_classify.runs.run import Run

        arguments = {"data": images.name, "holdout": images.holdout}
        pair = images.image_data()
        job = Job(
            pair, pair.train_labels, recipe,
            seed=seed, device=device, compile=compile, arguments=arguments,
        )  # fmt: skip
        run = Run(job, folder)
        if resume and has_record(run.folder):
            run.resume()
        else:
            run.start()
        try:
            train_run(run, quiet=quiet, tested_on="hold-out")
        except MovedError as error:  # "resume it there" is for a run that is no part of another
            raise FileError(
                f"{error.__cause__}; the training is in {str(error.path)!r}: move it to "
                f"NEW/{_TRAINING} and continue with --out NEW --resume"
            ) from error
        if not processes.is_first:
            return
        findings = judge(run, images, seed=seed)
        summary = write_findings(
            out,
            findings,
            method=method,
            seed=seed,
            training_seconds=run.record.results.get("training_seconds"),
            seconds=round(time.monotonic() - begin, 1),
            cache=cache_of(images),
        )
        if findings.test is not None:
            typer.echo(
                "warning: the labels of test/ are judged apart, in test_label_issues.csv; look at "
                "every image before you correct one: a test set that a network has cleaned favours "
                "that network",
                err=True,
            )
        typer.echo(json.dumps(summary, default=str) if as_json else _report(summary, out))


def _refuse_training(out: Path) -> None:
    """Refuse to resume in the folder of a training, which is a part of what is to be resumed."""
    from overparam.files import FileError
    from sop_classify.records.record import has_record

    if has_record(out) and not has_record(out / _TRAINING):
        raise FileError(
            f"cannot resume {str(out)!r}: it is a training; give the folder that it is in, where "
            f"it has to be called {_TRAINING!r}"
        )


def _report(summary: dict[str, Any], out: Path) -> str:
    rate, found = summary["noise_rate"], summary["duplicates"]
    estimate = "every class is too rare"
    if rate is not None:
        estimate = f"{rate['estimate']:.1%} (95 %: {rate['low']:.1%} to {rate['high']:.1%})"
    lines = [
        f"wrong labels, estimated: {estimate}",
        f"labels that look wrong: {summary['issues']:,} of "
        f"{summary['images']['train'] + summary['images']['val']:,}",
    ]
    if summary["too_rare"]:
        names = ", ".join(map(printable, summary["too_rare"]))
        lines.append(f"classes too rare to judge: {names}")
    if found["sets"]:
        lines.append(
            f"duplicates: {counted(found['sets'], 'set')}, {found['two_labels']} with two labels, "
            f"{found['two_splits']} in two splits"
        )
    if summary["skipped"]:
        lines.append(f"skipped: {summary['skipped']}, see skipped.csv")
    return "\n".join([*lines, str(out / "label_issues.csv")])
