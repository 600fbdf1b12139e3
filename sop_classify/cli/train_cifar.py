"""`train-cifar`: options in, a run folder and one line or JSON object out.

Only typer is imported here: `--help` answers before torch could be loaded.
"""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from overparam.terminal import errors, known_device, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sop_classify.data.image_data import ImageData
    from sop_classify.recipes import Recipe
    from sop_classify.training.loop import Epoch

__all__ = ["labelled", "told_the_rate", "train_cifar"]

MethodName = Literal["ce", "sop", "sop+", "elr", "elr+", "coteaching+", "dividemix"]
NoiseType = Literal[
    "symmetric",
    "asymmetric",
    "instance",
    "aggre",
    "random1",
    "random2",
    "random3",
    "worst",
    "cifar100n",
]


def train_cifar(
    dataset: Annotated[
        Literal["cifar10", "cifar100"], typer.Option(help="Which CIFAR.")
    ] = "cifar10",
    noise: Annotated[
        float | None,
        typer.Option(help="Fraction of labels to make wrong, in [0, 1).", show_default="0"),
    ] = None,
    noise_type: Annotated[
        NoiseType,
        typer.Option(help="How they go wrong; from aggre on, the labels of people (CIFAR-N)."),
    ] = "symmetric",
    mapping: Annotated[
        str | None,
        typer.Option(help="Of asymmetric noise: cifar10, cifar10-all, cifar100-cyclic or -pairs."),
    ] = None,
    human_labels: Annotated[
        Path | None,
        typer.Option(help="CIFAR-10_human.pt, CIFAR-100_human.pt or an .npz with such labels."),
    ] = None,
    method: Annotated[MethodName, typer.Option(help="How to train.")] = "sop",
    recipe: Annotated[
        Literal["auto", "cpu", "fast", "paper"],
        typer.Option(help="Settings; auto is fast on a GPU, else cpu."),
    ] = "auto",
    network: Annotated[
        Literal["fast", "preact-resnet18", "resnet34", "small-cnn", "cnn7"] | None,
        typer.Option(help="Instead of the recipe's."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Train on so many examples, all classes alike.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with CIFAR, image folder (train/CLASS, test/CLASS), or .npz."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run.", show_default="runs/DATE-DATASET-METHOD-NOISE-SEED"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of everything random.")] = 0,
    device: Annotated[
        str, typer.Option(callback=known_device, help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile; pays on long GPU runs.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Train a classifier on labels of which an unknown part is wrong.

    With --noise the labels of a clean data set are made wrong first, to see what a method does
    about it. With --data and no noise your labels are taken as they are. Either way the run's
    label_issues.csv says which labels look wrong.

    Ctrl-C keeps the epochs done; --resume goes on.
    """
    if resume and out is None:
        raise typer.BadParameter("--resume needs --out, the folder of the run to go on with")
    if noise_type == "asymmetric" and mapping is None:
        mapping = {"cifar10": "cifar10", "cifar100": "cifar100-cyclic"}[dataset]
    with errors():
        if noise is None and noise_type in ("asymmetric", "instance"):
            raise ValueError(f"--noise-type {noise_type} needs --noise, the fraction to make wrong")
        wanted = {"dataset": dataset, "noise": noise, "noise_type": noise_type, "limit": limit}
        settings = [*(settings or []), *_overrides(network=network, epochs=epochs)]
        chosen = _recipe(recipe, method, settings, dataset, noise_type, device)
        if out is not None and not resume:
            from sop_classify.runs.run import require_new

            require_new(out)  # before the data is read
        images, given, true = labelled(
            wanted, data=data, mapping=mapping, human_labels=human_labels, seed=seed
        )
        _train(
            images,
            given,
            true,
            recipe=told_the_rate(chosen, given, true),
            out=out or _default_out(images.name, method, wanted, seed),
            resume=resume,
            arguments={**wanted, "mapping": mapping},
            options={"seed": seed, "device": device, "compile": compile},
            as_json=as_json,
            quiet=quiet,
        )


def _train(
    images: "ImageData",
    given: "NDArray",
    true: "NDArray | None",
    *,
    recipe: "Recipe",
    out: Path,
    resume: bool,
    arguments: dict[str, Any],
    options: dict[str, Any],
    as_json: bool,
    quiet: bool,
) -> None:
    from sop_classify.runs.run import Run

    run = Run(images, given, recipe, true_labels=true, out=out, arguments=arguments, **options)
    if resume:
        run.resume()
    else:
        run.start()
    if not quiet:
        _say_noise(given, true)
        _warn_if_idle(recipe)
    total = recipe.epochs
    with progress(out.name, unit="epoch", start=run.training.epoch, quiet=quiet) as show:
        try:
            # Closed on Ctrl-C, so that run.json says so.
            with closing(run.epochs(on_batch=lambda done: show(round(done, 2), total))) as epochs:
                for epoch in epochs:
                    if not quiet and not sys.stderr.isatty():
                        typer.echo(_epoch_line(epoch, total), err=True)
        except KeyboardInterrupt:
            typer.echo(
                f"interrupted: {run.saved} of {total} epochs are in {str(out)!r}; "
                "go on with --resume",
                err=True,
            )
            raise typer.Exit(130) from None
    typer.echo(json.dumps(run.summary()) if as_json else _report(run.summary()))


def labelled(
    wanted: dict[str, Any],
    *,
    data: Path | None,
    mapping: str | None,
    human_labels: Path | None,
    seed: int,
) -> "tuple[ImageData, NDArray, NDArray | None]":
    """The images, the labels to train on, and the true ones if they are known."""
    import warnings

    import numpy as np

    from sop_classify.data.image_data import subset
    from sop_classify.data.loading import load_data
    from sop_classify.labels.cifar_n import HUMAN_NOISE, read_human_labels

    noise, kind = wanted["noise"], wanted["noise_type"]
    if noise is not None and not 0 <= noise < 1:
        raise ValueError(f"--noise is {noise}; a fraction in [0, 1) is needed")
    if noise is not None and kind in HUMAN_NOISE:
        raise ValueError(f"--noise is {noise}, but people made the {kind!r} labels; leave it out")
    if mapping is not None and kind != "asymmetric":
        raise ValueError(f"--mapping {mapping} is of asymmetric noise; the noise type is {kind}")
    if human_labels is not None and kind not in HUMAN_NOISE:
        raise ValueError(
            f"--human-labels needs a --noise-type of {', '.join(HUMAN_NOISE)}; it is {kind}"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        images = load_data(wanted["dataset"], path=data)
    for warning in caught:
        typer.echo(f"warning: {warning.message}", err=True)
    # Different streams, so that --limit does not change which labels go wrong by chance alone.
    limit_rng, noise_rng = np.random.default_rng(seed).spawn(2)
    given = None
    if kind in HUMAN_NOISE:
        source = human_labels or (data if data is not None and data.suffix == ".npz" else None)
        if source is None:
            raise ValueError(f"--noise-type {kind} needs --human-labels, the file that has them")
        given = read_human_labels(source, kind, clean_labels=images.train_labels)
    if wanted["limit"] is not None:
        images, index = subset(images, wanted["limit"], rng=limit_rng)
        given = None if given is None else given[index]
    if given is None:
        if noise is None:
            return images, images.train_labels, None  # right or wrong: nobody knows
        given = _made_wrong(images, noise, kind, mapping, noise_rng)
    return images, given, images.train_labels


def _made_wrong(
    images: "ImageData", rate: float, kind: str, mapping: str | None, rng: Any
) -> "NDArray":
    from sop_classify.labels.synthetic import asymmetric_noise, instance_noise, symmetric_noise

    labels, classes = images.train_labels, len(images.class_names)
    if kind == "symmetric":
        return symmetric_noise(labels, rate, classes, rng=rng)
    if kind == "instance":
        return instance_noise(images.train_images, labels, rate, classes, rng=rng)
    return asymmetric_noise(labels, rate, classes, mapping=mapping or "cifar10", rng=rng)


def _recipe(
    name: str, method: str, settings: list[str], dataset: str, noise_type: str, device: str
) -> "Recipe":
    from sop_classify.recipes import recipe_for, with_settings

    if name == "auto":
        from overparam.devices import pick_device

        name = "cpu" if pick_device(device).type == "cpu" else "fast"
    recipe = recipe_for(name, method, dataset=dataset, noise_type=noise_type)
    return with_settings(recipe, settings)


def told_the_rate(recipe: "Recipe", given: "NDArray", true: "NDArray | None") -> "Recipe":
    """The recipe with the fraction of wrong labels, if its method cannot do without."""
    if recipe.method != "coteaching+" or recipe.noise_rate or true is None:
        return recipe
    import dataclasses

    # Above 0, or the method refuses it: with right labels it leaves out next to nothing.
    rate = max(float((given != true).mean()), 1e-6)
    typer.echo(f"coteaching+ is told that {rate:.2%} of the labels are wrong", err=True)
    return dataclasses.replace(recipe, noise_rate=rate)


def _overrides(**options: Any) -> list[str]:
    return [f"{name}={value}" for name, value in options.items() if value is not None]


def _default_out(name: str, method: str, wanted: dict[str, Any], seed: int) -> Path:
    import datetime

    noise = wanted["noise_type"] if wanted["noise"] is None else f"{wanted['noise']:g}"
    if wanted["noise"] is None and wanted["noise_type"] in ("symmetric", "asymmetric", "instance"):
        noise = "0"
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{now}-{name}-{method}-{noise}-{seed}"


def _say_noise(given: "NDArray", true: "NDArray | None") -> None:
    if true is not None:
        wrong = int((given != true).sum())
        rate = f"{wrong} of {len(given)} labels are wrong ({wrong / len(given):.2%})"
        typer.echo(f"{rate}; nothing that is trained knows which", err=True)


def _warn_if_idle(recipe: "Recipe") -> None:
    from sop_classify.methods.sop import activation_epochs

    if recipe.method not in ("sop", "sop+"):
        return
    needed = recipe.activation_epochs or activation_epochs(
        recipe.alpha_v, batch_size=recipe.batch_size, init=recipe.init
    )
    if needed >= recipe.epochs:
        typer.echo(
            f"warning: a label is given up after {needed:.0f} epochs of contradiction, and there "
            f"are {recipe.epochs}: this is cross entropy; --set activation_epochs=E changes it",
            err=True,
        )


def _epoch_line(epoch: "Epoch", epochs: int) -> str:
    line = f"epoch {epoch.epoch}/{epochs}: loss {epoch.train_loss:.3f}"
    if epoch.test_accuracy is not None:
        line += f", test accuracy {epoch.test_accuracy:.2%}"
    if epoch.memorized is not None:
        line += f", wrong labels memorised {epoch.memorized:.1%}"
    return line


def _report(summary: dict[str, Any]) -> str:
    def percent(key: str) -> str:
        return f"{100 * summary[key]:.2f} %"

    lines = [f"test accuracy, last epoch: {percent('accuracy')} (best {percent('best_accuracy')})"]
    for key, what in {
        "accuracy_flips": "averaged over an image and its mirror image",
        "accuracy_ema": "of averaged weights",
        "accuracy_ema_flips": "of both",
        "accuracy_ensemble": "of both networks together",
        "memorized": "wrong labels memorised",
        "noise_rate": "wrong labels",
        "estimated_noise_rate": "wrong labels, estimated without the truth",
    }.items():
        if summary.get(key) is not None:
            lines.append(f"{what}: {percent(key)}")
    if summary.get("issues_auroc") is not None:
        lines.append(f"label issues against the truth: AUROC {summary['issues_auroc']:.4f}")
    return "\n".join([*lines, summary["run"]])
