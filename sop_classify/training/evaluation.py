"""Predictions against the truth: the only place that knows test labels and true labels.

Without PyTorch until something is evaluated, so that a table of `Epoch`s can be read fast.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from overparam.checks import check_type
from sop_classify.data.image_data import ImageData
from sop_classify.data.label_arrays import check_labels

if TYPE_CHECKING:
    from torch import Tensor

    from sop_classify.training.loop import TrainedEpoch, TrainingLoop

__all__ = ["Epoch", "Evaluator"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch did; the columns of metrics.csv. None where a value is not known.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss : float
        Mean of the method's own loss.
    test_accuracy : float or None
        Fraction of the test images that the network after this epoch predicts correctly, from one
        view each. Like the next four it is None in epochs without a test (`Recipe.test_every`); the
        last epoch has one.
    test_accuracy_flips, test_accuracy_ema, test_accuracy_ema_flips : float or None
        The same with predictions averaged over an image and its mirror image (in the last epoch
        only), with the averaged weights, and with both.
    test_accuracy_ensemble : float or None
        The same with the mean probability of both networks, for methods that have two. All other
        fields describe the first network.
    train_fit : float
        Fraction of the training examples that are predicted as their given label. This and the next
        two use the predictions made during the epoch, on augmented views. DivideMix makes them on
        plain images after its warm-up; for ELR+ they are the teachers'.
    memorized, recovered : float or None
        Fractions of the wrongly labelled training examples that are predicted as their given, wrong
        label and as their true label. None if the truth is unknown or no label is wrong.
    u, v : float or None
        For SOP: means over all examples of U and of the sum of V over the classes.
    u_clean, u_wrong, v_clean, v_wrong : float or None
        The same over the rightly and the wrongly labelled examples.
    lr, alpha_u, alpha_v : float
        Learning rate and step sizes of u and v at the end of the epoch.
    forward_passes, backward_passes : float
        Images sent forward and backward through a network in training, per training example.
    seconds, evaluation_seconds : float
        Time for the training, and for the test images.
    """

    epoch: int
    train_loss: float
    test_accuracy: float | None
    test_accuracy_flips: float | None
    test_accuracy_ema: float | None
    test_accuracy_ema_flips: float | None
    test_accuracy_ensemble: float | None
    train_fit: float
    memorized: float | None
    recovered: float | None
    u: float | None
    v: float | None
    u_clean: float | None
    u_wrong: float | None
    v_clean: float | None
    v_wrong: float | None
    lr: float
    alpha_u: float
    alpha_v: float
    forward_passes: float
    backward_passes: float
    seconds: float
    evaluation_seconds: float


class Evaluator:
    """Test images, test labels and true labels of a data set.

    Parameters
    ----------
    data : ImageData
    true_labels : array_like of int, shape (N,), optional
        The true labels of the training images, if they are known.

    Raises
    ------
    TypeError, ValueError
        If the true labels are no labels of these images.
    """

    def __init__(self, data: ImageData, *, true_labels: ArrayLike | None = None) -> None:
        self._data = check_type("data", data, ImageData)
        self._true = None
        if true_labels is not None:
            number, classes = len(data.train_images), len(data.class_names)
            self._true = check_labels(true_labels, classes, number=number, name="true_labels")

    def epochs(
        self, training: "TrainingLoop", *, on_batch: Callable[[float], None] | None = None
    ) -> Iterator[Epoch]:
        """Train the remaining epochs, and evaluate after each.

        Parameters
        ----------
        training : TrainingLoop
            On the training images of this data set.
        on_batch : callable, optional
            As in `TrainingLoop.epochs`.

        Raises
        ------
        DivergedError, NotEnoughMemoryError
            As in `TrainingLoop.epochs`.
        """
        from sop_classify.training.views import as_tensor

        test_images = as_tensor(self._data.test_images).to(training.device)
        test_labels = as_tensor(self._data.test_labels).to(training.device)
        true = None
        if self._true is not None:
            true = as_tensor(self._true).to(training.device)
        for trained in training.epochs(on_batch=on_batch):
            begin = time.perf_counter()
            accuracies = _accuracies(training, test_images, test_labels)
            seconds = time.perf_counter() - begin
            yield Epoch(
                epoch=trained.epoch,
                train_loss=trained.loss,
                **accuracies,
                train_fit=_share(trained.predicted == training.given) or 0.0,
                **_memorisation(trained, training.given, true),
                **_label_errors(training, true),
                lr=trained.rates["lr"],
                alpha_u=trained.rates.get("alpha_u", 0.0),
                alpha_v=trained.rates.get("alpha_v", 0.0),
                forward_passes=trained.forward_passes,
                backward_passes=trained.backward_passes,
                seconds=trained.seconds,
                evaluation_seconds=seconds,
            )


def _accuracies(
    training: "TrainingLoop", images: "Tensor", labels: "Tensor"
) -> dict[str, float | None]:
    def accuracy(**options: bool) -> float:
        predicted = training.predict(images, **options).argmax(1)
        return _share(predicted == labels) or 0.0

    recipe = training.recipe
    last = training.epoch == recipe.epochs
    tested = last or training.epoch % recipe.test_every == 0
    # Mirror images double the time of a test, so they are tested in the last epoch only.
    flips, ema = recipe.flips and last, recipe.ema > 0
    several = training.num_networks > 1
    return {
        "test_accuracy": accuracy() if tested else None,
        "test_accuracy_flips": accuracy(flips=True) if flips else None,
        "test_accuracy_ema": accuracy(ema=True) if tested and ema else None,
        "test_accuracy_ema_flips": accuracy(ema=True, flips=True) if flips and ema else None,
        "test_accuracy_ensemble": accuracy(ensemble=True) if tested and several else None,
    }


def _memorisation(
    trained: "TrainedEpoch", given: "Tensor", true: "Tensor | None"
) -> dict[str, float | None]:
    """What became of the wrong labels."""
    if true is None:
        return {"memorized": None, "recovered": None}
    wrong = given != true
    return {
        "memorized": _share((trained.predicted == given)[wrong]),
        "recovered": _share((trained.predicted == true)[wrong]),
    }


def _label_errors(training: "TrainingLoop", true: "Tensor | None") -> dict[str, float | None]:
    """Means of U and V, over all examples and over those with right and with wrong labels."""
    reported = training.report()
    means: dict[str, float | None] = {}
    for name in ("u", "v"):
        means |= dict.fromkeys((name, f"{name}_clean", f"{name}_wrong"))
        if name in reported:
            values = reported[name]
            means[name] = _mean(values)
            if true is not None:
                means[f"{name}_clean"] = _mean(values[training.given == true])
                means[f"{name}_wrong"] = _mean(values[training.given != true])
    return means


def _share(marked: "Tensor") -> float | None:
    return int(marked.sum()) / len(marked) if len(marked) else None


def _mean(values: "Tensor") -> float | None:
    return float(values.mean()) if len(values) else None
