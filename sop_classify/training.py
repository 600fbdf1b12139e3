"""The training loop: labelled images in, epochs out.

All images live on the device as one uint8 tensor and every view of a batch is made there at once.
The loop never waits for the device: it looks at the loss once an epoch.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from overparam.devices import fastest_precision, pick_device
from sop_classify.augment import Views, crop, cutout, draw_views, normalise, shrink
from sop_classify.data import ImageData, channel_statistics
from sop_classify.loss import SOPLoss, alpha_for
from sop_classify.networks import build_network
from sop_classify.optimization import image_scale, optimizers_for, schedule
from sop_classify.recipes import Recipe

__all__ = ["DivergedError", "Epoch", "Training"]

# Batches whose strong views are made together: each operation of the policy costs one call for all.
_TOGETHER = 16


class DivergedError(ArithmeticError):
    """The loss left the finite numbers; the message names the epoch and the settings."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch did; the columns of metrics.csv. What could not be known is None.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss : float
        Mean of the method's own loss.
    test_accuracy : float
        Fraction, of the network as it is after this epoch, one view an image.
    test_accuracy_flips, test_accuracy_ema, test_accuracy_ema_flips : float or None
        With predictions averaged over an image and its mirror image (in the last epoch); of the
        averaged weights; both.
    train_fit : float
        Fraction of all training examples predicted as their given label. This and the next two are
        of the predictions made during the epoch, on augmented views.
    memorized, recovered : float or None
        Fractions of the wrongly labelled training examples that are predicted as their given, wrong
        label, or as their true one. They need the truth.
    u, v : float or None
        Of methods with u and v: means of U and of the sum of V over all examples.
    u_clean, u_wrong, v_clean, v_wrong : float or None
        The same over the examples that are rightly and wrongly labelled.
    lr, alpha_u, alpha_v : float
        Rates at the end of the epoch.
    seconds, evaluation_seconds : float
        Of training and of the test images.
    """

    epoch: int
    train_loss: float
    test_accuracy: float
    test_accuracy_flips: float | None
    test_accuracy_ema: float | None
    test_accuracy_ema_flips: float | None
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
    seconds: float
    evaluation_seconds: float


class Training:
    """A network in training on labels of which some may be wrong.

    Parameters
    ----------
    data : ImageData
        Images and test labels. Its training labels are not read.
    given_labels : array of int, shape (N,)
        What to train on.
    recipe : Recipe
    true_labels : array of int, shape (N,), optional
        For the reports only; nothing that is trained sees them.
    network : Module, optional
        Your own, from images (B, 3, H, W) to logits (B, C), instead of the recipe's.
    seed : int
        Of the start, the order and the views.
    device : str
        As in `overparam.devices.pick_device`.
    compile : bool
        Use `torch.compile`: pays on a GPU from a minute of training on.

    Attributes
    ----------
    network : Module
    loss : SOPLoss or Module
    probability : Tensor, float32, shape (N, C)
        Each example's predictions during training, averaged over the epochs with weights 1, 2, 3...
    disagreements : Tensor, int64, shape (N,)
        In how many epochs the prediction was not the given label.
    epoch : int
        Epochs done.
    """

    def __init__(
        self,
        data: ImageData,
        given_labels: ArrayLike,
        recipe: Recipe,
        *,
        true_labels: ArrayLike | None = None,
        network: nn.Module | None = None,
        seed: int = 0,
        device: str = "auto",
        compile: bool = False,
    ) -> None:
        self.recipe, self.epoch = recipe, 0
        self.device = pick_device(device)
        self.precision = fastest_precision(self.device)
        self._generator = torch.Generator().manual_seed(seed)
        number, classes = len(data.train_images), len(data.class_names)
        self.given = _labels("given_labels", given_labels, number, classes).to(self.device)
        self._true = None
        if true_labels is not None:
            self._true = _labels("true_labels", true_labels, number, classes).to(self.device)
        height, width = data.train_images.shape[1:3]
        if recipe.pad >= min(height, width):
            raise ValueError(f"pad is {recipe.pad}; on {height}x{width} images it must be less")
        self._images = _on(self.device, data.train_images)
        self._test_images = _on(self.device, data.test_images)
        self._test_labels = torch.from_numpy(data.test_labels).to(self.device)
        self._mean, self._std = (
            torch.tensor(values / 255, dtype=torch.float32, device=self.device)
            for values in channel_statistics(data.train_images)
        )

        sample = torch.randperm(number, generator=self._generator)[:5000].to(self.device)
        if network is None:
            start = normalise(self._images[sample], self._mean, self._std, dtype=torch.float32)
            network = build_network(
                recipe.network, classes, images=start.cpu(), generator=self._generator
            )
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._forward = torch.compile(self.network, dynamic=False) if compile else self.network
        self._average = None
        if recipe.ema:
            averaging = get_ema_multi_avg_fn(recipe.ema)
            self._average = AveragedModel(self.network, multi_avg_fn=averaging, use_buffers=True)
        # A generator of its own, so that methods of one seed see the same views.
        start = torch.Generator().manual_seed(seed)
        self.loss = _loss_for(recipe, number, classes, generator=start).to(self.device)
        self._optimizers = optimizers_for(self.network, recipe)
        self._base_lr = [group["lr"] for o in self._optimizers for group in o.param_groups]

        self._mirrored = torch.rand(number, generator=self._generator) < 0.5
        self.probability = torch.zeros(number, classes, device=self.device)
        self.disagreements = torch.zeros(number, dtype=torch.int64, device=self.device)

    def epochs(self, *, on_batch: Callable[[float], None] | None = None) -> Iterator[Epoch]:
        """Train what is left of the recipe's epochs, one at a time.

        Parameters
        ----------
        on_batch : callable, optional
            Called before each batch with the epochs done, a fraction included.

        Raises
        ------
        DivergedError
            If the loss is not finite at the end of an epoch.
        MemoryError
            If the device's memory does not suffice.
        """
        while self.epoch < self.recipe.epochs:
            begin = time.perf_counter()
            try:
                loss, predicted = self._train_once(on_batch)
            except torch.OutOfMemoryError as error:
                raise MemoryError(
                    f"the device has too little memory for batches of {self.recipe.batch_size}; "
                    "lower batch_size"
                ) from error
            self.epoch += 1
            middle = time.perf_counter()
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} in epoch {self.epoch}; a lower lr than {self.recipe.lr} "
                    "may help"
                )
            accuracies = self._test()
            end = time.perf_counter()
            yield Epoch(
                epoch=self.epoch,
                train_loss=loss,
                **accuracies,
                **self._dynamics(predicted),
                lr=self._optimizers[0].param_groups[0]["lr"],
                alpha_u=getattr(self.loss, "alpha_u", 0.0),
                alpha_v=getattr(self.loss, "alpha_v", 0.0),
                seconds=middle - begin,
                evaluation_seconds=end - middle,
            )

    @torch.no_grad()
    def predict(
        self, images: NDArray[np.uint8] | Tensor, *, flips: bool = False, ema: bool = False
    ) -> Tensor:
        """Probabilities, float32 of shape (n, C), of images (n, H, W, 3) uint8, without u and v."""
        images = torch.as_tensor(images)
        network = self._average if ema and self._average is not None else self.network
        network.eval()
        size = 512 if self.device.type == "cpu" else 2500
        batches = []
        for part in images.split(size):
            x = normalise(part.to(self.device), self._mean, self._std, dtype=self.precision)
            with self._autocast():
                views = [network(x), network(x.flip(3))] if flips else [network(x)]
            batches.append(torch.stack([v.float().softmax(1) for v in views]).mean(0))
        network.train()
        return torch.cat(batches)

    def predict_training_images(self) -> Tensor:
        """`predict` on the training images as they are, shape (N, C)."""
        return self.predict(self._images)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that changes, as tensors by name; with it a training continues bit for bit."""
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        if self._average is not None:
            state |= {f"ema.{name}": value for name, value in self._average.state_dict().items()}
        for i, optimizer in enumerate(self._optimizers):
            for j, values in optimizer.state_dict()["state"].items():
                for name, value in values.items():
                    if isinstance(value, Tensor):
                        state[f"optimizer.{i}.{j}.{name}"] = value
        return state | {
            "probability": self.probability,
            "disagreements": self.disagreements,
            "mirrored": self._mirrored,
            "generator": self._generator.get_state(),
            "epoch": torch.tensor(self.epoch),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, of the same recipe and data.

        Raises
        ------
        ValueError
            If names or shapes are others.
        """
        own = {name: value for name, value in self.state_dict().items() if "optimizer." not in name}
        for name, value in own.items():
            if name not in state or state[name].shape != value.shape:
                raise ValueError(f"the state has no {name!r} of shape {tuple(value.shape)}")
        self.network.load_state_dict(_under("network.", state))
        self.loss.load_state_dict(_under("loss.", state))
        if self._average is not None:
            self._average.load_state_dict(_under("ema.", state))
        for i, optimizer in enumerate(self._optimizers):
            saved: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"optimizer.{i}.", state).items():
                j, _, key = name.partition(".")
                saved.setdefault(int(j), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": saved})
        self.probability.copy_(state["probability"])
        self.disagreements.copy_(state["disagreements"])
        self._mirrored.copy_(state["mirrored"])
        self._generator.set_state(state["generator"].cpu())
        self.epoch = int(state["epoch"])

    def _train_once(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        """One epoch: the mean loss, and each example's prediction."""
        number = len(self.given)
        order = torch.randperm(number, generator=self._generator).to(self.device)
        weak = self._draw_views(alternating=self.recipe.flip == "alternating")
        strong = self._draw_views() if self.recipe.consistency else None
        batches = order.tensor_split(math.ceil(number / self.recipe.batch_size))

        scale = image_scale(self.recipe, self.epoch)
        total = torch.zeros((), device=self.device)
        predicted = torch.empty_like(self.given)
        self.network.train()
        for i, (index, first, second) in enumerate(self._batches(batches, weak, strong)):
            done = self.epoch + i / len(batches)
            self._set_rates(done)
            if on_batch is not None:
                on_batch(done)
            images = first if second is None else torch.cat([first, second])
            images = shrink(images, scale=scale)
            x = normalise(images, self._mean, self._std, dtype=self.precision)
            with self._autocast():
                logits = self._forward(x)
            # float32 from here on: u and v start at 1e-8, and so their squares at 1e-16.
            logits, strong_logits = logits.float().split([len(index), len(x) - len(index)])
            loss = self.loss(
                logits, self.given[index], index, None if second is None else strong_logits
            )
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self._optimizers:
                optimizer.step()
            if self._average is not None:
                self._average.update_parameters(self.network)
            total += loss.detach() * len(index)
            predicted[index] = self._observe(logits.detach(), index)
        return float(total) / number, predicted

    def _draw_views(self, *, alternating: bool = False) -> Views:
        """Views of all images for an epoch, in one transfer to the device."""
        recipe = self.recipe
        views = draw_views(len(self.given), pad=recipe.pad, generator=self._generator)
        if alternating:
            views = replace(views, flip=self._mirrored ^ bool(self.epoch % 2))
        elif recipe.flip == "none":
            views = replace(views, flip=torch.zeros_like(views.flip))
        return views.to(self.device)

    def _batches(
        self, batches: tuple[Tensor, ...], weak: Views, strong: Views | None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Index, weak view and, if the method wants one, strong view of each batch."""
        for start in range(0, len(batches), _TOGETHER):
            group = batches[start : start + _TOGETHER]
            second: tuple[Tensor | None, ...] = (None,) * len(group)
            if strong is not None:
                second = self._strong(torch.cat(group), strong).split([len(part) for part in group])
            for index, images in zip(group, second, strict=True):
                views = weak[index]
                first = crop(self._images, index, views, fill=self.recipe.fill)
                if self.recipe.cutout:
                    first = cutout(first, views, size=self.recipe.cutout)
                yield index, first, images

    def _strong(self, index: Tensor, views: Views) -> Tensor:
        """Crop, flip, AutoAugment's policy and cutout of 16 pixels, as in the released SOP+."""
        from sop_classify.strong import auto_augment  # torchvision takes a second to import

        views = views[index]
        images = crop(self._images, index, views, fill=self.recipe.fill).permute(0, 3, 1, 2)
        images = auto_augment(images, generator=self._generator).permute(0, 2, 3, 1)
        return cutout(images, views, size=16)

    def _observe(self, logits: Tensor, index: Tensor) -> Tensor:
        predicted = logits.argmax(1)
        self.disagreements[index] += predicted != self.given[index]
        # The weight of epoch t in an average with weights 1, 2, ..., t.
        weight = 2 / (self.epoch + 2)
        old = self.probability[index]
        self.probability[index] = old.lerp(logits.softmax(1), weight)
        return predicted

    def _set_rates(self, epochs_done: float) -> None:
        factor = schedule(self.recipe, epochs_done)
        groups = (group for o in self._optimizers for group in o.param_groups)
        for group, lr in zip(groups, self._base_lr, strict=True):
            group["lr"] = lr * factor

    def _test(self) -> dict[str, Any]:
        def accuracy(*, flips: bool, ema: bool) -> float:
            predicted = self.predict(self._test_images, flips=flips, ema=ema).argmax(1)
            return float((predicted == self._test_labels).double().mean())

        # Only at the end: it costs as much as the plain accuracy again, in every epoch.
        flips = self.recipe.flips and self.epoch == self.recipe.epochs
        ema = self._average is not None
        return {
            "test_accuracy": accuracy(flips=False, ema=False),
            "test_accuracy_flips": accuracy(flips=True, ema=False) if flips else None,
            "test_accuracy_ema": accuracy(flips=False, ema=True) if ema else None,
            "test_accuracy_ema_flips": accuracy(flips=True, ema=True) if ema and flips else None,
        }

    def _dynamics(self, predicted: Tensor) -> dict[str, Any]:
        """How the training examples fare; those with wrong labels apart, if the truth is known."""
        known: dict[str, Any] = {"train_fit": float((predicted == self.given).double().mean())}
        known |= dict.fromkeys(("memorized", "recovered", "u", "v"))
        known |= dict.fromkeys(("u_clean", "u_wrong", "v_clean", "v_wrong"))
        wrong = None if self._true is None else self.given != self._true
        if wrong is not None and wrong.any():
            known["memorized"] = _mean((predicted == self.given)[wrong].double())
            known["recovered"] = _mean((predicted == self._true)[wrong].double())
        if isinstance(self.loss, SOPLoss):
            up, down = self.loss.parts(self.given)
            for name, part in (("u", up), ("v", down.sum(1))):
                known[name] = _mean(part)
                if wrong is not None:
                    known[f"{name}_clean"] = _mean(part[~wrong])
                    known[f"{name}_wrong"] = _mean(part[wrong])
        return known

    def _autocast(self) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


class _CrossEntropy(nn.Module):
    """Cross entropy, called as `SOPLoss` is."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self._label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor, strong: None = None) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing)


def _loss_for(
    recipe: Recipe, number: int, classes: int, *, generator: torch.Generator
) -> nn.Module:
    if recipe.method == "ce":
        return _CrossEntropy(recipe.label_smoothing)
    alpha_u, alpha_v, start = recipe.alpha_u, recipe.alpha_v, generator
    if recipe.activation_epochs:
        batch = round(number / math.ceil(number / recipe.batch_size))
        alpha_v = alpha_for(recipe.activation_epochs, batch_size=batch, init=recipe.init)
        alpha_u = recipe.alpha_ratio * alpha_v
        start = None  # drawn at random, a good part of the clocks would start several epochs late
    return SOPLoss(
        number,
        classes,
        alpha_u=alpha_u,
        alpha_v=alpha_v,
        balance=recipe.balance,
        consistency=recipe.consistency,
        form=recipe.form,
        init=recipe.init,
        generator=start,
    )


def _labels(name: str, labels: ArrayLike, number: int, classes: int) -> Tensor:
    array = np.asarray(labels)
    if array.shape != (number,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} have shape {array.shape} and dtype {array.dtype}; "
            f"integers of shape ({number},) are needed"
        )
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"{name} run from {array.min()} to {array.max()}; there are {classes} classes"
        )
    return torch.from_numpy(array.astype(np.int64))


def _on(device: torch.device, images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).to(device)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
