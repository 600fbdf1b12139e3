"""What to train, on what data, and on which machine: what `run.json` says of it."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import overparam
from overparam.checks import LARGEST_SEED, check_choice, check_count, check_type
from sop_classify.data.image_data import ImageData
from sop_classify.data.label_arrays import check_labels
from sop_classify.methods.build import training_for
from sop_classify.recipes import Recipe
from sop_classify.training.evaluation import Evaluator
from sop_classify.training.loop import TrainingLoop
from sop_classify.training.pretrained import Pretrained

__all__ = ["MACHINE", "Job", "described", "machine_of"]

MACHINE = ("device", "device_name", "precision", "threads", "compile", "versions")
"""Fields of a record that may differ when a run goes on."""


@dataclass(frozen=True, eq=False)
class Job:
    """What to train, and on what.

    Attributes
    ----------
    data : ImageData
    given_labels : array_like of int, shape (N,)
        The labels to train on, right or wrong.
    recipe : Recipe
    true_labels : array_like of int, shape (N,), optional
        For the reports only; nothing that is trained sees them.
    seed : int
    device : str
        As in `overparam.devices.pick_device`.
    compile : bool
        Use `torch.compile`, which pays on a GPU after a minute of training.
    arguments : mapping of str
        How the data came to be, for run.json: see `RunRecord`.
    weights : Pretrained, optional
        What the networks start from.
    balanced : bool
        As in `TrainingLoop`.
    select : {"last", "holdout"}
        The epoch whose network is kept and reported: the last, or the one with the best accuracy on
        the test images. The second is legitimate if those are a hold-out with labels as wrong as
        those that are trained on.

    Raises
    ------
    TypeError, ValueError
        If one has another type, or is out of its range.
    """

    data: ImageData
    given_labels: ArrayLike
    recipe: Recipe
    true_labels: ArrayLike | None = None
    seed: int = 0
    device: str = "auto"
    compile: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Pretrained | None = None
    balanced: bool = False
    select: Literal["last", "holdout"] = "last"

    def __post_init__(self) -> None:
        check_type("data", self.data, ImageData)
        check_type("recipe", self.recipe, Recipe)
        # A whole number of numpy, say, is no number of JSON.
        object.__setattr__(self, "seed", check_count("seed", self.seed, most=LARGEST_SEED))
        check_type("device", self.device, str)
        check_type("compile", self.compile, bool)
        check_type("arguments", self.arguments, Mapping)
        check_type("balanced", self.balanced, bool)
        check_choice("select", self.select, ("last", "holdout"))
        number, classes = len(self.data.train_images), len(self.data.class_names)
        check_labels(self.given_labels, classes, number=number, name="given_labels")
        if self.true_labels is not None:
            check_labels(self.true_labels, classes, number=number, name="true_labels")

    def training(self) -> TrainingLoop:
        """A training that has not begun."""
        return training_for(
            self.data,
            self.given_labels,
            self.recipe,
            weights=self.weights,
            balanced=self.balanced,
            seed=self.seed,
            device=self.device,
            compile=self.compile,
        )

    def evaluator(self) -> Evaluator:
        """What compares its predictions with the truth."""
        return Evaluator(self.data, true_labels=self.true_labels)

    def settings(self) -> dict[str, Any]:
        """What else must be the same in a run that goes on; what is usual is not said."""
        said: dict[str, Any] = {}
        if self.weights is not None:
            said |= {"weights": self.weights.name, "weights_sha256": self.weights.digest}
        if self.balanced:
            said["balanced"] = True
        if self.select != "last":
            said["select"] = self.select
        return said


def machine_of(training: TrainingLoop, *, compile: bool) -> dict[str, Any]:
    """The fields `MACHINE` of the record."""
    device = training.device
    cuda = device.type == "cuda"
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "precision": str(training.precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "compile": compile,
        "versions": {
            "python": platform.python_version(),
            "robustdip": overparam.__version__,
            "torch": str(torch.__version__),
            "torchvision": version("torchvision"),  # it takes seconds to import
            "numpy": np.__version__,
        },
    }


def described(
    data: ImageData, given: NDArray[np.int64], true: NDArray[np.int64] | None
) -> dict[str, Any]:
    """The field `data` of the record."""
    digest = hashlib.sha256()
    for array in (data.train_images, given, data.test_images, data.test_labels, true):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)  # the memory itself, not a copy
    return {
        "name": data.name,
        "train_images": len(data.train_images),
        "test_images": len(data.test_images),
        "classes": len(data.class_names),
        "class_names": list(data.class_names),
        "fingerprint": digest.hexdigest(),
    }
