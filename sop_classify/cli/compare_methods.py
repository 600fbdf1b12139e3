"""The command `compare-methods`: a grid of trainings, resumed after a kill, and its table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from overparam.terminal import errors, known_device
from sop_classify.cli.train_cifar import NoiseType, labelled, told_the_rate
from sop_classify.recipes import METHODS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sop_classify.data.image_data import ImageData
    from sop_classify.recipes import Recipe

__all__ = ["compare_methods"]

# Seconds an epoch relative to cross entropy, for --equal-time; the table says what it really was.
_COST = {"sop+": 2.0, "elr+": 2.7, "coteaching+": 2.0, "dividemix": 6.0}


def compare_methods(
    out: Annotated[Path, typer.Option(help="Folder of all runs and of the comparison.")],
    methods: Annotated[
        str,
        typer.Option(help=f"With commas between them: {', '.join(METHODS)}.", show_default="all"),
    ] = ",".join(METHODS),
    noise: Annotated[
        str,
        typer.Option(help="Rates of symmetric noise, KIND:RATE, or worst, aggre, random1..."),
    ] = "0.2",
    seeds: Annotated[str, typer.Option(help="Whole numbers.")] = "0",
    budget: Annotated[
        Literal["cpu", "fast", "paper"], typer.Option(help="The recipes' name.")
    ] = "cpu",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of cross entropy, instead of the recipe's.")
    ] = None,
    equal_time: Annotated[
        bool,
        typer.Option(
            "--equal-time", help="Dear methods get fewer epochs, so that all take about as long."
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="For all methods, or METHOD.KEY=VALUE for one."
        ),
    ] = None,
    dataset: Annotated[Literal["cifar10", "cifar100"], typer.Option()] = "cifar10",
    data: Annotated[Path | None, typer.Option(help="As in train-cifar.")] = None,
    human_labels: Annotated[Path | None, typer.Option(help="As in train-cifar.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="As in train-cifar.")] = None,
    device: Annotated[str, typer.Option(callback=known_device)] = "auto",
    compile: Annotated[bool, typer.Option("--compile")] = False,
    table_only: Annotated[
        bool, typer.Option("--table", help="Train nothing; the table of what is finished.")
    ] = False,
) -> None:
    """Train with every method on the same noisy labels, and compare.

    A finished run is not repeated and a stopped one goes on: call it again after Ctrl-C or a kill.
    comparison.md, comparison.csv and comparison.png in --out grow with every run.

    All methods see the same images, labels and views, and no clean label; only coteaching+ is told
    how many labels are wrong.
    """
    with errors():
        from sop_classify.labels.cifar_n import HUMAN_NOISE
        from sop_classify.reports.comparison import write_comparison

        chosen = _words("--methods", methods)
        if unknown := [method for method in chosen if method not in METHODS]:
            raise ValueError(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}")
        if table_only:
            typer.echo(write_comparison(out, methods=chosen))
            return
        noises = [_noise(word) for word in _words("--noise", noise)]
        # A grid may have noise of both kinds: the file is for that of people alone.
        people = [kind["noise_type"] in HUMAN_NOISE for kind in noises]
        if human_labels is not None and not any(people):
            raise ValueError(f"--human-labels needs a --noise of {', '.join(HUMAN_NOISE)}")
        cases = [
            (
                {"dataset": dataset, "limit": limit, **kind},
                {"data": data, "human_labels": human_labels if is_people else None},
            )
            for kind, is_people in zip(noises, people, strict=True)
        ]
        length = (budget, epochs, equal_time)
        wishes, numbers = settings or [], _seeds(seeds)
        # What is wrong with the last case must not show after the hours that the first take.
        for wanted, sources in cases:
            _labelled(wanted, sources, seed=numbers[0])
            for method in chosen:
                _recipe(method, wanted, length, wishes)
        try:
            for seed in numbers:
                for wanted, sources in cases:
                    _train_all(
                        {method: _recipe(method, wanted, length, wishes) for method in chosen},
                        out,
                        wanted=wanted,
                        sources=sources,
                        options={"seed": seed, "device": device, "compile": compile},
                    )
        except KeyboardInterrupt:
            typer.echo("interrupted; the same command goes on", err=True)
            raise typer.Exit(130) from None
        typer.echo(write_comparison(out, methods=chosen))


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
    if min(seeds) < 0:
        raise ValueError(f"--seeds is {text!r}; whole numbers like 0,1,2 are needed")
    return seeds


def _noise(text: str) -> dict:
    from typing import get_args

    kinds = get_args(NoiseType)
    try:
        return {"noise": float(text), "noise_type": "symmetric"}
    except ValueError:
        pass
    kind, _, rate = text.partition(":")
    if kind not in kinds:
        raise ValueError(
            f"--noise is {text!r}; a rate, KIND:RATE or the name of people's labels is needed, "
            f"KIND or name one of {', '.join(kinds)}"
        )
    return {"noise": float(rate) if rate else None, "noise_type": kind}


def _mapping(wanted: dict) -> str | None:
    if wanted["noise_type"] != "asymmetric":
        return None
    return {"cifar10": "cifar10", "cifar100": "cifar100-cyclic"}[wanted["dataset"]]


def _labelled(wanted: dict, sources: dict, *, seed: int) -> "tuple[ImageData, NDArray, Any]":
    return labelled(wanted, mapping=_mapping(wanted), seed=seed, **sources)


def _recipe(
    method: str, wanted: dict, length: tuple[str, int | None, bool], settings: list[str]
) -> "Recipe":
    from sop_classify.recipes import recipe_for, resized, with_settings

    budget, epochs, equal_time = length
    kind = wanted["noise_type"]
    recipe = recipe_for(budget, method, dataset=wanted["dataset"], noise_type=kind)
    epochs = epochs or recipe.epochs
    if equal_time:
        epochs = max(2, round(epochs / _COST.get(method, 1.0)))
    return with_settings(resized(recipe, epochs), _fitting(settings, method))


def _train_all(
    recipes: "dict[str, Recipe]", out: Path, *, wanted: dict, sources: dict, options: dict
) -> None:
    """One training by each recipe on one set of noisy labels, as far as they are not done."""
    from sop_classify.reports.comparison import write_comparison
    from sop_classify.runs.run import Run

    images, given, true = _labelled(wanted, sources, seed=options["seed"])
    kind, rate = wanted["noise_type"], wanted["noise"]
    for method, recipe in recipes.items():
        recipe = told_the_rate(recipe, given, true)
        name = "-".join(
            [kind if rate is None else f"{kind}-{rate:g}", method, str(options["seed"])]
        )
        run = Run(
            images,
            given,
            recipe,
            true_labels=true,
            out=out / name,
            arguments={**wanted, "mapping": _mapping(wanted)},
            **options,
        )
        if (out / name / "run.json").exists():
            run.resume()
        else:
            run.start()
        for epoch in run.epochs():
            found = "" if epoch.test_accuracy is None else f" {epoch.test_accuracy:.2%}"
            typer.echo(f"{name}: {epoch.epoch}/{recipe.epochs}{found}", err=True)
        write_comparison(out, methods=recipes)


def _fitting(settings: list[str], method: str) -> list[str]:
    """METHOD.KEY=VALUE is for one method, KEY=VALUE for all."""
    fitting = []
    for setting in settings:
        owner, dot, rest = setting.partition(".")
        if dot and owner in METHODS:
            fitting += [rest] if owner == method else []
        else:
            fitting.append(setting)
    return fitting
