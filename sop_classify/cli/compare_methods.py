"""The command `compare-methods`: a grid of trainings, resumed after a stop, and its table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.checks import LARGEST_SEED
from overparam.program import interrupted_status, interruptible
from overparam.terminal import exit_on_error
from overparam.words import counted
from sop_classify.cli.options import (
    Compile,
    Data,
    Dataset,
    Device,
    HumanLabels,
    Limit,
    job_for,
    load,
    needed,
    npz_of,
    one_of,
    refuse_contradictions,
    require_outside,
)
from sop_classify.labels.label_noise import HUMAN_NOISE, SYNTHETIC_NOISE, LabelNoise
from sop_classify.methods.catalogue import METHODS, recipe_for
from sop_classify.recipes import (
    BUDGETS,
    Recipe,
    adapted,
    describe_settings,
    read_settings,
    settings_of,
    with_settings,
)

if TYPE_CHECKING:
    from sop_classify.labels.noisy import NoisyLabels
    from sop_classify.runs.job import Job

__all__ = ["compare_methods"]


def compare_methods(
    out: Annotated[
        Path | None, typer.Option(help="Folder of all runs and of the comparison. \\[required]")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Methods to compare, with commas: {', '.join(METHODS)}.", show_default="all"
        ),
    ] = None,
    noise: Annotated[
        str,
        typer.Option(
            help="Label noise to compare under, with commas: a rate of symmetric noise, KIND:RATE "
            f"({', '.join(SYNTHETIC_NOISE)}) or a set of human labels ({', '.join(HUMAN_NOISE)})."
        ),
    ] = "0.2",
    seeds: Annotated[str, typer.Option(help="Seeds of the runs, with commas.")] = "0",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "--budget",
            help="Settings by what they cost: cpu takes minutes on a CPU, fast is meant for a GPU, "
            "paper is as published.",
            **one_of("recipe", BUDGETS),
        ),
    ] = "cpu",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs, instead of the recipe's.")
    ] = None,
    equal_time: Annotated[
        bool,
        typer.Option(
            "--equal-time", help="Give slower methods fewer epochs, so that all take about as long."
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[METHOD.]KEY=VALUE",
            help="Change a setting of one method, or of all that have it; may be repeated. "
            "--set help lists the settings of all --methods.",
        ),
    ] = None,
    dataset: Dataset = "cifar10",
    data: Data = None,
    human_labels: HumanLabels = None,
    limit: Limit = None,
    device: Device = "auto",
    compile: Compile = False,
    table_only: Annotated[
        bool, typer.Option("--table", help="Train nothing; print the table of finished runs.")
    ] = False,
) -> None:
    """Train with every method on the same noisy labels, and compare.

    Finished runs are not repeated and stopped ones continue: repeat the command after
    Ctrl-C. comparison.html, comparison.md, comparison.csv and comparison.png in --out
    are updated after every run.

    All methods see the same images, labels and views, and no clean label. Only
    coteaching+ is told how many labels are wrong. If a method diverges, the others
    are trained all the same.
    """
    with exit_on_error():
        from sop_classify.reports.comparison import write_comparison

        chosen = list(METHODS) if methods is None else _words("--methods", methods)
        if "help" in (settings or []):
            tables = [describe_settings(recipe_for(recipe, m, dataset=dataset)) for m in chosen]
            typer.echo("\n\n".join(tables))
            return
        out = needed(out, "--out")
        if table_only:
            _require_runs(out)
            typer.echo(write_comparison(out))
            return
        noises = [LabelNoise.parse(word) for word in _words("--noise", noise)]
        if human_labels is not None and not any(kind.is_human for kind in noises):
            raise typer.BadParameter(f"--human-labels needs a --noise of {', '.join(HUMAN_NOISE)}")
        numbers = _seeds(seeds)
        refuse_contradictions(settings or [], epochs=epochs)
        wishes = _wishes(settings or [], chosen, recipe)

        def recipes(kind: LabelNoise, number: int) -> list[Recipe]:
            return [
                _sized(
                    recipe_for(recipe, m, dataset=dataset, noise_type=kind.kind),
                    number,
                    settings=wishes[m],
                    epochs=epochs,
                    equal_time=equal_time,
                )
                for m in chosen
            ]

        # A mistake in the last case must show now, not after the hours that the first take.
        for kind in noises:
            recipes(kind, 1)

        from overparam.files import check_folder
        from sop_classify.labels.noisy import noisy_labels
        from sop_classify.runs.grid import train_grid

        check_folder(out)
        _require_comparison(out)
        if data is not None:
            require_outside(data, out)
        images = load(dataset, data)

        def made(kind: LabelNoise, seed: int) -> "NoisyLabels":
            source = (human_labels if kind.is_human else None) or npz_of(data, kind)
            return noisy_labels(images, kind, seed=seed, limit=limit, human_labels=source)

        def jobs() -> "Iterator[tuple[str, Job]]":
            for seed in numbers:
                for kind in noises:
                    labels = made(kind, seed)
                    for each in recipes(kind, len(labels.index)):
                        yield (
                            f"{kind}-{each.method}-{seed}",
                            job_for(
                                labels,
                                each,
                                dataset=dataset,
                                seed=seed,
                                device=device,
                                compile=compile,
                            ),
                        )

        for kind in noises:
            made(kind, numbers[0])
        failed: list[str] = []
        with interruptible() as interruption:
            try:
                interruption.check()
                for name, step in train_grid(jobs(), out, on_batch=lambda _: interruption.check()):
                    if isinstance(step, Exception):
                        failed.append(name)
                        typer.echo(f"{name}: failed: {step}", err=True)
                    else:
                        found = "" if step.test_accuracy is None else f" {step.test_accuracy:.2%}"
                        typer.echo(f"{name}: epoch {step.epoch}{found}", err=True)
            except KeyboardInterrupt:
                interruption.hold()
                typer.echo("interrupted; repeat the command to continue", err=True)
                raise typer.Exit(interrupted_status()) from None
        typer.echo(write_comparison(out))
        if failed:
            raise ArithmeticError(f"{counted(len(failed), 'run')} failed: {', '.join(failed)}")


def _require_runs(folder: Path) -> None:
    """Raise FileError if a folder holds no runs: no table is written into it then."""
    from overparam.files import FileError, file_errors
    from sop_classify.records.record import has_record

    with file_errors("read", folder):
        if not any(has_record(path) for path in folder.iterdir()):
            raise FileError("it holds no runs; give the --out of an earlier compare-methods")


def _require_comparison(folder: Path) -> None:
    """Raise FileError if a folder has anything in it, and no run: what is there may be replaced."""
    from overparam.files import FileError, file_errors
    from sop_classify.runs.folder import holds_run

    with file_errors("write to", folder):
        if not folder.is_dir():
            return
        names = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if names and not any(holds_run(path) for path in names):
            raise FileError(
                f"it holds {names[0].name!r} and no runs; give a new folder, or that of an earlier "
                "compare-methods"
            )


def _words(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(f"{option} is {text!r}; words with commas between them are needed")
    return list(dict.fromkeys(words))


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(word) for word in _words("--seeds", text)]
    except ValueError:
        seeds = [-1]
    if not 0 <= min(seeds) <= max(seeds) <= LARGEST_SEED:
        raise ValueError(f"--seeds is {text!r}; whole numbers from 0 to {LARGEST_SEED} are needed")
    return seeds


def _sized(
    recipe: Recipe,
    number: int,
    *,
    settings: Sequence[str],
    epochs: int | None,
    equal_time: bool,
) -> Recipe:
    """The recipe for so many training images, with the user's epochs and settings."""
    epochs = epochs or recipe.epochs
    if equal_time:
        epochs = max(2, round(epochs / with_settings(recipe, settings).cost))
    epochs = read_settings(recipe, settings).get("epochs", epochs)
    return with_settings(adapted(recipe, number, epochs=epochs), settings)


def _wishes(settings: Sequence[str], methods: Sequence[str], budget: str) -> dict[str, list[str]]:
    """The settings of each method: METHOD.KEY=VALUE is for one, KEY=VALUE for all that have KEY."""
    wishes: dict[str, list[str]] = {method: [] for method in methods}
    for setting in settings:
        owner, dot, rest = setting.partition(".")
        if dot and owner in METHODS:
            if owner not in wishes:
                raise ValueError(f"--set {setting} is for {owner!r}, which is not in --methods")
            wishes[owner].append(rest)
            continue
        key = setting.partition("=")[0]
        having = [m for m in methods if key in settings_of(recipe_for(budget, m))]
        # If no method has it, the first one refuses it and says what there is.
        for method in having or methods[:1]:
            wishes[method].append(setting)
    return wishes
