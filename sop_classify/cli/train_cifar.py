"""The command `train-cifar`: options in, a run folder and one line or JSON object out.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overparam.checks import LARGEST_SEED
from overparam.program import interrupted_status, interruptible
from overparam.terminal import exit_on_error, progress
from sop_classify.cli.options import (
    Compile,
    Data,
    Dataset,
    Device,
    HumanLabels,
    Limit,
    job_for,
    load,
    npz_of,
    one_of,
    refuse_contradictions,
    require_outside,
)
from sop_classify.labels.label_noise import (
    ASYMMETRIC_VARIANTS,
    HUMAN_NOISE,
    NOISE_KINDS,
    LabelNoise,
)
from sop_classify.methods.catalogue import METHODS, SOPRecipe, recipe_for
from sop_classify.recipes import (
    BUDGETS,
    NETWORKS,
    Recipe,
    adapted,
    describe_settings,
    read_settings,
    with_settings,
)
from sop_classify.training.processes import torchrun

if TYPE_CHECKING:
    from sop_classify.labels.noisy import NoisyLabels
    from sop_classify.runs.run import Run
    from sop_classify.training.evaluation import Epoch

__all__ = ["budget_for", "train_cifar", "train_run"]

_RUNS = Path("runs")  # holds the runs for which no folder is given
_MANY_CLASSES = 1000  # of which the rate of wrong labels is estimated for minutes
# A key of the results, and how the report calls it.
_REPORTED = {
    "accuracy_flips": "test accuracy averaged over an image and its mirror image",
    "accuracy_ema": "test accuracy with averaged weights",
    "accuracy_ema_flips": "test accuracy with averaged weights and mirror images",
    "accuracy_ensemble": "test accuracy of both networks together",
    "memorized": "wrong labels memorised",
    "noise_rate": "wrong labels",
    "estimated_noise_rate": "wrong labels, estimated without the truth",
}


def train_cifar(
    dataset: Dataset = "cifar10",
    noise: Annotated[
        float | None,
        typer.Option(help="Fraction of labels to make wrong, in [0, 1).", show_default="none"),
    ] = None,
    noise_type: Annotated[
        str,
        typer.Option(
            help="Kind of label noise. The names from aggre on are labels that people gave "
            "(CIFAR-N).",
            **one_of("noise", NOISE_KINDS),
        ),
    ] = "symmetric",
    mapping: Annotated[
        str | None,
        typer.Option(
            help="Which classes asymmetric noise turns into which.",
            show_default="cifar10 or cifar100-cyclic",
            **one_of("mapping", ASYMMETRIC_VARIANTS),
        ),
    ] = None,
    human_labels: HumanLabels = None,
    method: Annotated[
        str, typer.Option(help="Method of training.", **one_of("method", METHODS))
    ] = "sop",
    recipe: Annotated[
        str,
        typer.Option(
            help="Settings by what they cost: cpu takes minutes on a CPU, fast is meant for a GPU, "
            "paper is as published. auto is fast on a GPU and cpu elsewhere.",
            **one_of("recipe", ("auto", *BUDGETS)),
        ),
    ] = "auto",
    network: Annotated[
        str | None,
        typer.Option(help="Network, instead of the recipe's.", **one_of("network", NETWORKS)),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs, instead of the recipe's.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change any setting; may be repeated. --set help lists the method's settings.",
        ),
    ] = None,
    limit: Limit = None,
    data: Data = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/DATE-DATASET-METHOD-NOISE-SEED"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random numbers.")
    ] = 0,
    device: Device = "auto",
    compile: Compile = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as one JSON object on stdout.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress on stderr.")
    ] = False,
) -> None:
    """Train a classifier on labels of which an unknown part is wrong.

    With --noise the labels of a clean data set are made wrong first, to see how a
    method copes. With --data and without noise your labels are used as they are.
    Either way label_issues.csv in the folder of the run says which labels look wrong.

    Ctrl-C keeps the completed epochs; --resume continues. torchrun starts several
    processes that train together.
    """
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out, the folder of the run to continue")
    with exit_on_error(), torchrun(device) as (processes, device):
        options = {"network": network, "epochs": epochs}
        wishes = [f"{key}={value}" for key, value in options.items() if value is not None]
        refuse_contradictions(settings or [], **options)
        wishes = [*(settings or []), *wishes]
        # To choose a recipe PyTorch has to be imported; keys are those of every recipe.
        any_recipe = recipe_for(
            "cpu" if recipe == "auto" else recipe, method, dataset=dataset, noise_type=noise_type
        )
        if "help" in wishes:
            typer.echo(describe_settings(any_recipe))
            return
        asked = read_settings(any_recipe, wishes)
        made = _noise(noise_type, noise, mapping)
        if human_labels is not None and (made is None or not made.is_human):
            raise typer.BadParameter(
                f"--human-labels needs a --noise-type of {', '.join(HUMAN_NOISE)}"
            )
        usual = recipe_for(
            budget_for(recipe, device), method, dataset=dataset, noise_type=noise_type
        )

        def for_number(number: int) -> Recipe:
            return with_settings(adapted(usual, number, epochs=asked.get("epochs")), wishes)

        for_number(1)  # a value out of its range is refused before the data is read

        from overparam.files import check_folder
        from sop_classify.labels.noisy import noisy_labels
        from sop_classify.records.record import has_record
        from sop_classify.runs.folder import require_new
        from sop_classify.runs.run import Run

        if out is not None and data is not None:
            require_outside(data, out)
        if out is None and processes.number > 1:
            raise ValueError("several processes need --out, the folder that all of them use")
        if processes.restarted and out is not None:
            resume = has_record(out)
        if not resume and processes.is_first:  # before the data is read
            check_folder(_RUNS) if out is None else require_new(out)
        source = human_labels or npz_of(data, made)
        with processes.in_turn():
            images = load(dataset, data)
        labels = noisy_labels(images, made, seed=seed, limit=limit, human_labels=source)
        chosen = for_number(len(labels.index))
        job = job_for(labels, chosen, dataset=dataset, seed=seed, device=device, compile=compile)
        run = Run(job, out or _default_out(labels, method, seed))
        if resume:
            run.resume()
        else:
            run.start()
        if not quiet:
            _print_noise(labels)
            _warn_if_s_stays_zero(chosen)
        train_run(run, quiet=quiet)
        if not processes.is_first:
            return
        summary = run.summary()
        typer.echo(json.dumps(summary) if as_json else _report(summary))


def _noise(kind: str, rate: float | None, mapping: str | None) -> LabelNoise | None:
    """None, the labels as they are, if no option asks for noise."""
    if kind == "symmetric" and rate is None and mapping is None:
        return None
    return LabelNoise(kind, rate, mapping)


def budget_for(name: str, device: str) -> str:
    """The recipe's name; for "auto" that of the device."""
    if name != "auto":
        return name
    from overparam.devices import pick_device

    return "cpu" if pick_device(device).type == "cpu" else "fast"


def _default_out(labels: "NoisyLabels", method: str, seed: int) -> Path:
    import datetime

    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    noise = labels.noise or "as-given"
    return _RUNS / f"{now}-{labels.data.name}-{method}-{noise}-{seed}"


def train_run(run: "Run", *, quiet: bool, tested_on: str = "test") -> None:
    """Train the epochs that are left, with progress on stderr; Ctrl-C exits after a line.

    `tested_on` says what the job's test images are.
    """
    if not quiet and run.training.processes.is_first:
        _note_of_many_classes(run)
    total, name = run.job.recipe.epochs, run.folder.name
    with (
        interruptible() as interruption,
        progress(name, unit="epoch", start=run.training.epoch, quiet=quiet) as show,
    ):

        def on_batch(done: float) -> None:
            interruption.check()
            show(round(done, 2), total)

        try:
            interruption.check()
            # Closed by an interrupt, so that run.json says so.
            with closing(run.epochs(on_batch=on_batch)) as epochs:
                for epoch in epochs:
                    interruption.check()
                    if not quiet and not sys.stderr.isatty():
                        typer.echo(_epoch_line(epoch, total, tested_on), err=True)
        except KeyboardInterrupt:
            interruption.hold()
            typer.echo(
                f"interrupted: {run.saved} of {total} epochs are in {str(run.folder)!r}; "
                "continue with --resume",
                err=True,
            )
            raise typer.Exit(interrupted_status()) from None


def _print_noise(labels: "NoisyLabels") -> None:
    if labels.true_labels is not None:
        wrong, number = int((labels.given_labels != labels.true_labels).sum()), len(labels.index)
        rate = f"{wrong} of {number} labels are wrong ({wrong / number:.2%})"
        typer.echo(f"{rate}; the training does not know which", err=True)


def _warn_if_s_stays_zero(recipe: Recipe) -> None:
    if not isinstance(recipe, SOPRecipe):
        return
    from sop_classify.methods.sop import activation_epochs, alpha_for

    how = {"batch_size": recipe.batch_size, "init": recipe.init}
    alpha = recipe.alpha_v
    if recipe.activation_epochs:
        alpha = alpha_for(recipe.activation_epochs, **how)
    needed = activation_epochs(alpha, **how, alpha_warmup=recipe.alpha_warmup)
    if needed >= recipe.epochs:
        typer.echo(
            f"warning: SOP gives up a label after {needed:.0f} epochs of contradiction, and there "
            f"are {recipe.epochs}: it trains like cross entropy; --set activation_epochs=E changes "
            "this",
            err=True,
        )


def _note_of_many_classes(run: "Run") -> None:
    """Say that the end takes long: nothing is printed then, and it looks like a hang."""
    number = len(run.job.data.class_names)
    # The labels that other methods contradict are counted, at once.
    if number >= _MANY_CLASSES and isinstance(run.job.recipe, SOPRecipe):
        typer.echo(
            f"note: after the last epoch the rate of wrong labels is estimated, with {number:,} "
            "classes for minutes",
            err=True,
        )


def _epoch_line(epoch: "Epoch", epochs: int, tested_on: str) -> str:
    line = f"epoch {epoch.epoch}/{epochs}: loss {epoch.train_loss:.3f}"
    if epoch.test_accuracy is not None:
        line += f", {tested_on} accuracy {epoch.test_accuracy:.2%}"
    if epoch.memorized is not None:
        line += f", wrong labels memorised {epoch.memorized:.1%}"
    return line


def _report(summary: dict[str, Any]) -> str:
    def percent(key: str) -> str:
        return f"{100 * summary[key]:.2f} %"

    lines = [f"test accuracy, last epoch: {percent('accuracy')} (best {percent('best_accuracy')})"]
    lines += [
        f"{what}: {percent(key)}" for key, what in _REPORTED.items() if summary.get(key) is not None
    ]
    if summary.get("issues_auroc") is not None:
        lines.append(f"label issues against the truth: AUROC {summary['issues_auroc']:.4f}")
    return "\n".join([*lines, summary["run"]])
