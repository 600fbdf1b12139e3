"""The training loop: labelled images in, epochs out.

All images live on the device as one uint8 tensor and every view of a batch is made there at once.
The loop never waits for the device: it looks at the loss once an epoch.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from overparam.devices import fastest_precision, pick_device
from sop_classify.data.image_data import ImageData, channel_statistics
from sop_classify.methods.losses import loss_for
from sop_classify.methods.sop import SOPLoss
from sop_classify.recipes import Recipe
from sop_classify.training.networks import build_network
from sop_classify.training.optimizers import image_scale, optimizers_for, schedule
from sop_classify.training.views import Views, crop, cutout, draw_views, normalise, shrink

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
    test_accuracy : float or None
        Fraction, of the network as it is after this epoch, one view an image. None, as the next
        ones are, in epochs without a test (`Recipe.test_every`); the last has one.
    test_accuracy_flips, test_accuracy_ema, test_accuracy_ema_flips : float or None
        With predictions averaged over an image and its mirror image (in the last epoch); of the
        averaged weights; both.
    test_accuracy_ensemble : float or None
        Of methods with two networks: of their mean probability. All else is of the first network.
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
    forward_passes, backward_passes : float
        Images sent through a network in training, and back, per training example.
    seconds, evaluation_seconds : float
        Of training and of the test images.
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


class Training:
    """A network in training on labels of which some may be wrong: one view, one loss, one step.

    Methods that need more are subclasses, in modules of their own; `sop_classify.methods.build` knows
    which recipe wants which.

    Parameters
    ----------
    data : ImageData
        Images and test labels. Its training labels are not read.
    given_labels : array of int, shape (N,)
        What to train on.
    recipe : Recipe
    true_labels : array of int, shape (N,), optional
        For the reports only; nothing that is trained sees them.
    network : Module or sequence of Module, optional
        Your own, from images (B, 3, H, W) to logits (B, C), instead of the recipe's; a sequence for
        a method with several.
    seed : int
        Of the start, the order and the views.
    device : str
        As in `overparam.devices.pick_device`.
    compile : bool
        Use `torch.compile`: pays on a GPU from a minute of training on.

    Attributes
    ----------
    network : Module
        The first of `networks`.
    networks : list of Module
        As many as the method has.
    loss : SOPLoss or Module
    probability : Tensor, float32, shape (N, C)
        Each example's predictions during training, averaged over the epochs with weights 1, 2, 3...
    disagreements : Tensor, int64, shape (N,)
        In how many epochs the prediction was not the given label.
    epoch : int
        Epochs done.
    """

    num_networks = 1

    def __init__(
        self,
        data: ImageData,
        given_labels: ArrayLike,
        recipe: Recipe,
        *,
        true_labels: ArrayLike | None = None,
        network: nn.Module | Sequence[nn.Module] | None = None,
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
            network = [
                build_network(
                    recipe.network, classes, images=start.cpu(), generator=self._generator
                )
                for _ in range(self.num_networks)
            ]
        networks = [network] if isinstance(network, nn.Module) else list(network)
        if len({id(n) for n in networks}) != self.num_networks:
            raise ValueError(
                f"{len(networks)} networks given; method {recipe.method!r} needs "
                f"{self.num_networks}, each an object of its own"
            )
        self.networks = [
            n.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for n in networks
        ]
        self._compiled = [torch.compile(n, dynamic=False) if compile else n for n in self.networks]
        self._averages: list[AveragedModel] = []
        if recipe.ema:
            averaging = get_ema_multi_avg_fn(recipe.ema)
            self._averages = [
                AveragedModel(n, multi_avg_fn=averaging, use_buffers=True) for n in self.networks
            ]
        # A generator of its own, so that methods of one seed see the same views.
        start = torch.Generator().manual_seed(seed)
        self.loss = self._make_loss(number, classes, generator=start).to(self.device)
        self._optimizers = [optimizers_for(n, recipe) for n in self.networks]
        self._base_lr = [group["lr"] for group in self._groups()]

        self._mirrored = torch.rand(number, generator=self._generator) < 0.5
        self.probability = torch.zeros(number, classes, device=self.device)
        self.disagreements = torch.zeros(number, dtype=torch.int64, device=self.device)
        self._passes = [0, 0]

    @property
    def network(self) -> nn.Module:
        return self.networks[0]

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
            self._passes = [0, 0]
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
                lr=next(self._groups())["lr"],
                alpha_u=getattr(self.loss, "alpha_u", 0.0),
                alpha_v=getattr(self.loss, "alpha_v", 0.0),
                forward_passes=self._passes[0] / len(self.given),
                backward_passes=self._passes[1] / len(self.given),
                seconds=middle - begin,
                evaluation_seconds=end - middle,
            )

    @torch.no_grad()
    def predict(
        self,
        images: NDArray[np.uint8] | Tensor,
        *,
        flips: bool = False,
        ema: bool = False,
        ensemble: bool = False,
    ) -> Tensor:
        """Probabilities, float32 of shape (n, C), of images (n, H, W, 3) uint8, without u and v.

        Of the first network, or with `ensemble` the mean over all.
        """
        images = torch.as_tensor(images)
        averaged = ema and self._averages
        networks = list(self._averages if averaged else self.networks)
        networks = networks if ensemble else networks[:1]
        size = 512 if self.device.type == "cpu" else 2500
        batches = []
        for network in networks:
            network.eval()
        for part in images.split(size):
            x = normalise(part.to(self.device), self._mean, self._std, dtype=self.precision)
            with self._autocast():
                views = [n(v) for n in networks for v in ([x, x.flip(3)] if flips else [x])]
            batches.append(torch.stack([v.float().softmax(1) for v in views]).mean(0))
        for network in networks:
            network.train()
        return torch.cat(batches)

    def predict_training_images(self) -> Tensor:
        """`predict` on the training images as they are, shape (N, C)."""
        return self.predict(self._images)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that changes, as tensors by name; with it a training continues bit for bit."""
        state = {
            f"{prefix}.{name}": value
            for prefix, module in self._modules().items()
            for name, value in module.state_dict().items()
        }
        for i, optimizer in enumerate(chain.from_iterable(self._optimizers)):
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
        for prefix, module in self._modules().items():
            module.load_state_dict(_under(f"{prefix}.", state))
        for i, optimizer in enumerate(chain.from_iterable(self._optimizers)):
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

    def _modules(self) -> dict[str, nn.Module]:
        """What has a state, by the name under which it is kept."""
        modules = {_numbered("network", i): n for i, n in enumerate(self.networks)}
        averages = {_numbered("ema", i): n for i, n in enumerate(self._averages)}
        return {**modules, "loss": self.loss, **averages}

    def _make_loss(self, number: int, classes: int, *, generator: torch.Generator) -> nn.Module:
        return loss_for(self.recipe, number, classes, generator=generator)

    def _train_once(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        """One epoch: the mean loss, and each example's prediction."""
        total = torch.zeros((), device=self.device)
        predicted = torch.empty_like(self.given)
        kinds = ("weak", "strong") if self.recipe.consistency else ("weak",)
        for index, views in self._batches(kinds, on_batch=on_batch):
            loss, logits = self._step(index, *views)
            total += loss * len(index)
            predicted[index] = self._observe(logits, index)
        return float(total) / len(self.given), predicted

    def _step(self, index: Tensor, weak: Tensor, *strong: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on one batch of views: its loss and the first network's logits, detached."""
        x = self._inputs(torch.cat([weak, *strong]) if strong else weak)
        logits, *strong_logits = self._logits(x).split(len(index))
        loss = self.loss(logits, self.given[index], index, *strong_logits)
        self._descend(loss)
        return loss.detach(), logits.detach()

    def _inputs(self, images: Tensor) -> Tensor:
        """uint8 views (B, H, W, 3) as a network wants them, of this epoch's size."""
        images = shrink(images, scale=image_scale(self.recipe, self.epoch))
        return normalise(images, self._mean, self._std, dtype=self.precision)

    def _logits(self, x: Tensor, *, network: int = 0) -> Tensor:
        """A network's logits in training mode; float32, for losses and small states need it."""
        self._passes[0] += len(x)
        self._passes[1] += len(x) * torch.is_grad_enabled()
        with self._autocast():
            return self._compiled[network](x).float()

    def _descend(self, loss: Tensor, *, networks: Sequence[int] | None = None) -> None:
        """One step of the networks' optimizers, of all by default, and of their averages."""
        chosen = range(len(self.networks)) if networks is None else networks
        for i in chosen:
            for optimizer in self._optimizers[i]:
                optimizer.zero_grad()
        loss.backward()
        for i in chosen:
            for optimizer in self._optimizers[i]:
                optimizer.step()
            if self._averages:
                self._averages[i].update_parameters(self.networks[i])

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
        self,
        kinds: Sequence[str],
        *,
        on_batch: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Every example once, in random order: index and views of each batch, the rates set.

        Parameters
        ----------
        kinds : sequence of {"weak", "strong"}
            The views of each image.
        on_batch
            As in `epochs`.
        """
        number = len(self.given)
        order = torch.randperm(number, generator=self._generator).to(self.device)
        alternating = self.recipe.flip == "alternating"
        drawn = [self._draw_views(alternating=alternating and i == 0) for i in range(len(kinds))]
        batches = order.tensor_split(math.ceil(number / self.recipe.batch_size))
        for network in self.networks:
            network.train()
        for start in range(0, len(batches), _TOGETHER):
            group = batches[start : start + _TOGETHER]
            sizes = [len(index) for index in group]
            together = {
                i: self._strong(torch.cat(group), views).split(sizes)
                for i, (kind, views) in enumerate(zip(kinds, drawn, strict=True))
                if kind == "strong"
            }
            for i, index in enumerate(group):
                at = self.epoch + (start + i) / len(batches)
                self._set_rates(at)
                if on_batch is not None:
                    on_batch(at)
                yield (
                    index,
                    [
                        together[j][i] if j in together else self._weak(index, views)
                        for j, views in enumerate(drawn)
                    ],
                )

    def _weak(self, index: Tensor, views: Views) -> Tensor:
        views = views[index]
        images = crop(self._images, index, views, fill=self.recipe.fill)
        return cutout(images, views, size=self.recipe.cutout) if self.recipe.cutout else images

    def _strong(self, index: Tensor, views: Views) -> Tensor:
        """Crop, flip, AutoAugment's policy and cutout of 16 pixels, as in the released SOP+."""
        from sop_classify.training.auto_augment import (
            auto_augment,  # torchvision takes a second to import
        )

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
        late = self.recipe.schedule == "linear" and factor < 1
        for group, lr in zip(self._groups(), self._base_lr, strict=True):
            group["lr"] = lr * factor
            if late and "betas" in group:
                group["betas"] = (self.recipe.late_momentum, group["betas"][1])

    def _groups(self) -> Iterator[dict[str, Any]]:
        return (group for o in chain.from_iterable(self._optimizers) for group in o.param_groups)

    def _test(self) -> dict[str, Any]:
        def accuracy(**options: bool) -> float:
            predicted = self.predict(self._test_images, **options).argmax(1)
            return float((predicted == self._test_labels).double().mean())

        last = self.epoch == self.recipe.epochs
        tested = last or self.epoch % self.recipe.test_every == 0
        if not tested:
            return dict.fromkeys(field.name for field in fields(Epoch) if "test" in field.name)
        # Only at the end: it costs as much as the plain accuracy again, in every epoch.
        flips = self.recipe.flips and last
        ema, several = bool(self._averages), len(self.networks) > 1
        return {
            "test_accuracy": accuracy(),
            "test_accuracy_flips": accuracy(flips=True) if flips else None,
            "test_accuracy_ema": accuracy(ema=True) if ema else None,
            "test_accuracy_ema_flips": accuracy(ema=True, flips=True) if ema and flips else None,
            "test_accuracy_ensemble": accuracy(ensemble=True) if several else None,
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


def _numbered(name: str, i: int) -> str:
    return f"{name}{i + 1}" if i else name


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
