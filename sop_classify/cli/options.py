"""Options that `train-cifar` and `compare-methods` share, and how they read data.

Only typer and lists of names are imported here: `--help` answers before torch could be loaded.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from overparam.terminal import known_device

if TYPE_CHECKING:
    from sop_classify.data.image_data import ImageData
    from sop_classify.labels.label_noise import LabelNoise
    from sop_classify.labels.noisy import NoisyLabels
    from sop_classify.recipes import Recipe
    from sop_classify.runs.job import Job

__all__ = [
    "Compile",
    "Data",
    "Dataset",
    "Device",
    "HumanLabels",
    "Limit",
    "job_for",
    "load",
    "needed",
    "npz_of",
    "one_of",
    "refuse_contradictions",
    "require_outside",
]


def one_of(what: str, names: Collection[str]) -> dict[str, Any]:
    """Arguments for `typer.Option` that accept these names only; any other is a usage error.

    The names are looked up when the option is read, so that one registered later is known.
    """

    def check(name: str | None) -> str | None:
        if name is not None and name not in names:
            raise typer.BadParameter(f"no {what} {name!r}; there are {', '.join(names)}")
        return name

    return {"callback": check, "metavar": "|".join(names)}


Dataset = Annotated[
    Literal["cifar10", "cifar100"], typer.Option(help="CIFAR data set to use, without --data.")
]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Where the images are: a folder with CIFAR, a folder with train/CLASS and test/CLASS, "
        "or an .npz file. By default CIFAR is downloaded."
    ),
]
HumanLabels = Annotated[
    Path | None,
    typer.Option(
        help="File with labels that people gave: CIFAR-10_human.pt, CIFAR-100_human.pt or an .npz."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Number of training images to use, with all classes in proportion."),
]
Device = Annotated[
    str,
    typer.Option(
        callback=known_device, help="Device to compute on: auto, cpu, cuda, cuda:N or mps."
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile, which pays in long runs on a GPU.")
]


def needed(path: Path | None, name: str) -> Path:
    """What a command needs, unless it lists settings only (``--set help``); a usage error else."""
    if path is None:
        raise typer.BadParameter(f"{name} is missing; only --set help does without it")
    return path


def require_outside(data: Path, out: Path) -> None:
    """Raise FileError if results would be written into the folder of the data."""
    from overparam.files import FileError, file_errors

    with file_errors("write to", out):
        if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
            raise FileError("it is inside the data, where it would be read as a class")


def refuse_contradictions(settings: Sequence[str], **options: Any) -> None:
    """Refuse ``KEY=VALUE`` settings of what an option of the command has set; None is not set.

    Raises
    ------
    typer.BadParameter
        If there is one: wrong usage, as of two options that contradict each other.
    """
    for setting in settings:
        key, _, value = setting.partition("=")
        if options.get(key) is not None and value != str(options[key]).lower():
            name = "--no-mirror" if key in ("flip", "flips") else f"--{key} {options[key]}"
            raise typer.BadParameter(
                f"{name} and --set {setting} contradict each other; leave one out"
            )


def load(dataset: str, data: Path | None) -> "ImageData":
    """The images and their labels; warnings go to stderr, one line each."""
    import warnings

    from overparam.program import quiet_libraries
    from sop_classify.data.loading import load_data

    with warnings.catch_warnings(record=True) as caught, quiet_libraries():
        warnings.simplefilter("always", UserWarning)
        images = load_data(dataset, path=data)
    for warning in caught:
        typer.echo(f"warning: {warning.message}", err=True)
    return images


def npz_of(data: Path | None, noise: "LabelNoise | None") -> Path | None:
    """The .npz of images, which may hold the labels of people too, if the noise is theirs."""
    human = noise is not None and noise.is_human
    return data if human and data is not None and data.suffix.lower() == ".npz" else None


def job_for(
    labels: "NoisyLabels", recipe: "Recipe", *, dataset: str, seed: int, device: str, compile: bool
) -> "Job":
    """What to train; a method that needs the fraction of wrong labels is told it, on stderr too."""
    from sop_classify.methods.catalogue import with_noise_rate
    from sop_classify.runs.job import Job

    told = with_noise_rate(recipe, labels.noise_rate)
    if told != recipe:
        rate = f"{labels.noise_rate:.2%} of the labels are wrong"
        typer.echo(f"{recipe.method} is told that {rate}", err=True)
    return Job(
        labels.data,
        labels.given_labels,
        told,
        labels.true_labels,
        seed=seed,
        device=device,
        compile=compile,
        arguments={"dataset": dataset, **labels.arguments},
    )
