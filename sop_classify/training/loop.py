"""The training loop: labelled images in, epochs out.

All images live on the device as one uint8 tensor. On a CPU it shares the memory of the array, which
may be a file. No batch waits for the device: the loss is looked at once per epoch. The loop knows
neither test labels nor true labels; `sop_classify.training.evaluation` compares its predictions
with them.

If `torch.distributed` has been initialised, the processes train together, see
`sop_classify.training.processes`. All of them make the training and take its epochs; after each the
first process holds what a single process would, up to rounding in the sums.
"""

import hashlib
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from overparam.checks import LARGEST_SEED, check_count, check_type
from overparam.devices import autocast, fastest_precision, pick_device
from overparam.errors import DivergedError, NotEnoughMemoryError, is_out_of_memory
from overparam.modes import own_modes, seeded
from sop_classify.data.image_data import ImageData, channel_statistics
from sop_classify.data.label_arrays import check_labels
from sop_classify.recipes import Recipe
from sop_classify.training.batch_norm import share_batch_norm
from sop_classify.training.networks import build_network
from sop_classify.training.optimizers import optimizers_for, schedule
from sop_classify.training.processes import current
from sop_classify.training.state import load_tensors, tensors_of
from sop_classify.training.viewer import Viewer, fewer
from sop_classify.training.views import as_tensor, normalise

__all__ = ["DivergedError", "TrainedEpoch", "TrainingLoop"]

# The strong views of this many batches are made together: each operation of the policy then costs
# one call for all of them.
_STRONG_VIEWS_TOGETHER = 16


@dataclass(frozen=True, eq=False)
class TrainedEpoch:
    """What a training knows about one of its epochs.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    loss : float
        Mean of the method's own loss.
    predicted : Tensor, int64, shape (N,)
        Class that the first network predicted for each training example.
    rates : mapping of str to float
        Step sizes at the end of the epoch: "lr", and those of the loss.
    forward_passes, backward_passes : float
        Images sent forward and backward through a network, per training example.
    seconds : float
    """

    epoch: int
    loss: float
    predicted: Tensor
    rates: Mapping[str, float]
    forward_passes: float
    backward_passes: float
    seconds: float


class TrainingLoop:
    """Networks in training on labels of which some may be wrong: views, steps, reports, state.

    `sop_classify.training.single.Training` trains one network with one loss. A method that needs
    more is a subclass of its own: it sets `num_networks`, writes `step` or replaces `train_once`,
    and extends `setup` and `modules` if it keeps modules of its own. Its building blocks are

    - `batches`, `viewer`: views of the images;
    - `inputs`, `logits`: the answer of a network;
    - `descend`: one step of the optimizers;
    - `observe`: a record of the predictions, for the reports;
    - `set_rates`: the learning rates, which `batches` sets by itself.

    Parameters
    ----------
    data : ImageData
        Its training images are used. Its labels are not read.
    given_labels : array_like of int, shape (N,)
        The labels to train on.
    recipe : Recipe
    network : Module or sequence of Module, optional
        Your own, from images (B, 3, H, W) to logits (B, C), instead of the recipe's; a sequence for
        a method with several networks.
    statistics : pair of array_like, shape (3,), optional
        Mean and standard deviation of each channel by which images are normalised, of values in
        [0, 1]; a pretrained network needs its own. By default those of the training images.
    balanced : bool
        Add the logarithm of each class's share of the labels to the logits in training, so that
        predictions are those for classes of equal size (Menon et al., "Long-tail learning via logit
        adjustment", ICLR 2021, arXiv 2007.07314, equation 10 with τ = 1).
    seed : int
        Seeds the weights, the order of the examples, the views and dropout.
    device : str
        As in `overparam.devices.pick_device`.
    compile : bool
        Use `torch.compile`, which pays on a GPU after a minute of training. Not with several
        processes.

    Attributes
    ----------
    num_networks : int
        How many networks the method trains.
    networks : list of Module
    optimizers : list of list of Optimizer
        Those of each network.
    images : Tensor, uint8, shape (N, H, W, 3)
    given : Tensor, int64, shape (N,)
        The given labels.
    probability : Tensor, float32, shape (N, C)
        Predictions for each example during training, averaged over the epochs with weights 1, 2,
        3, ...
    disagreements : Tensor, int64, shape (N,)
        Number of epochs in which the prediction was not the given label.
    mean, std : Tensor, float32, shape (3,)
        What images are normalised by, of values in [0, 1].
    viewer : Viewer
        Draws views of the images, and makes them inputs of a network.
    epoch, steps : int
        Number of completed epochs; number of batches before the present one, over all epochs, as
        `batches` counts them.
    batch : int
        Number of examples of the present batch, those of other processes included.
    shown : Tensor, int64, shape (S,)
        The rows of the present batch that get strong views, if `views` asks for any.
    processes : Processes
        Those that train together. `probability` and `disagreements` have the rows of all examples
        in the first process, complete between two epochs, and in the others those of their own.
    recipe, device, generator
        The settings, the device, and the random numbers.

    Raises
    ------
    TypeError, ValueError
        If labels, networks or recipe do not fit the data, or the device is not there.
    """

    num_networks = 1
    in_parts = False  # whether several processes can train together

    def __init__(
        self,
        data: ImageData,
        given_labels: ArrayLike,
        recipe: Recipe,
        *,
        network: nn.Module | Sequence[nn.Module] | None = None,
        statistics: tuple[ArrayLike, ArrayLike] | None = None,
        balanced: bool = False,
        seed: int = 0,
        device: str = "auto",
        compile: bool = False,
    ) -> None:
        check_type("data", data, ImageData)
        check_type("recipe", recipe, Recipe)
        check_type("balanced", balanced, bool)
        check_type("compile", compile, bool)
        self.recipe, self.epoch, self.steps, self.batch = recipe, 0, 0, 0
        self.shown = torch.zeros(0, dtype=torch.int64)
        self.processes = current()
        self.device = pick_device(check_type("device", device, str))
        self.generator = torch.Generator("cpu").manual_seed(
            check_count("seed", seed, most=LARGEST_SEED)
        )
        self._seed = seed
        with own_modes(self.device):
            self._build(data, given_labels, network, statistics, balanced, compile)

    def _build(
        self,
        data: ImageData,
        given_labels: ArrayLike,
        network: nn.Module | Sequence[nn.Module] | None,
        statistics: tuple[ArrayLike, ArrayLike] | None,
        balanced: bool,
        compile: bool,
    ) -> None:
        recipe, number, classes = self.recipe, len(data.train_images), len(data.class_names)
        labels = check_labels(given_labels, classes, number=number, name="given_labels")
        self.given = torch.from_numpy(labels).to(self.device)
        if self.processes.number > 1:
            self._require_same_task(labels, balanced=balanced, compile=compile)
        height, width = data.train_images.shape[1:3]
        if recipe.pad >= min(height, width):
            raise ValueError(f"pad is {recipe.pad}; on {height}x{width} images it must be less")
        self.images = as_tensor(data.train_images).to(self.device)
        if statistics is None:
            mean, std = channel_statistics(data.train_images)
            statistics = mean / 255, std / 255
        self.mean, self.std = (
            torch.tensor(np.asarray(values), dtype=torch.float32, device=self.device)
            for values in statistics
        )
        self._adjustment = None
        if balanced:
            share = torch.bincount(self.given, minlength=classes) / number
            # A class that no label names is as rare as one label.
            self._adjustment = share.clamp(min=1 / number).log()

        sample = torch.randperm(number, generator=self.generator)[: fewer(5000, self.images)]
        if network is None:
            network = self._new_networks(classes, sample.to(self.device))
        self.networks = self._prepared(
            [network] if isinstance(network, nn.Module) else list(network)
        )
        self._compiled = [torch.compile(n, dynamic=False) if compile else n for n in self.networks]
        self._averages: list[AveragedModel] = []
        if recipe.ema:
            averaging = get_ema_multi_avg_fn(recipe.ema)
            self._averages = [
                AveragedModel(n, multi_avg_fn=averaging, use_buffers=True) for n in self.networks
            ]
        self.optimizers = [optimizers_for(n, recipe) for n in self.networks]
        self._base_lr = [group["lr"] for group in self._groups()]

        self.viewer = Viewer(
            self.images,
            recipe,
            mean=self.mean,
            std=self.std,
            precision=fastest_precision(self.device),
            generator=self.generator,
        )
        kept = len(self.processes.take(self.given))
        self.probability = torch.zeros(kept, classes, dtype=torch.float32, device=self.device)
        self.disagreements = torch.zeros(kept, dtype=torch.int64, device=self.device)
        self._passes = [0, 0]
        self.setup()

    def _require_same_task(
        self, labels: NDArray[np.int64], *, balanced: bool, compile: bool
    ) -> None:
        """Raise ValueError if the processes cannot train this together."""
        if not self.in_parts:
            raise ValueError(
                f"method {self.recipe.method!r} needs whole batches, and there are "
                f"{self.processes.number} processes; start it without torchrun"
            )
        if compile:
            raise ValueError("compile is for one process; leave it out")
        said = hashlib.sha256(f"{self.recipe} {self._seed} {balanced}".encode() + labels.tobytes())
        digest = torch.tensor(list(said.digest()), device=self.device)
        self.processes.require_same("recipe, seed and labels", digest)

    def _new_networks(self, classes: int, sample: Tensor) -> list[nn.Module]:
        """The recipe's networks; some start from what images show, of which `sample` are some."""
        shown = normalise(self.images[sample], self.mean, self.std, dtype=torch.float32).cpu()
        return [
            build_network(self.recipe.network, classes, images=shown, generator=self.generator)
            for _ in range(self.num_networks)
        ]

    def _prepared(self, networks: list[nn.Module]) -> list[nn.Module]:
        """The networks on the device, or a ValueError if they cannot be trained."""
        for each in networks:
            check_type("network", each, nn.Module)
        if len({id(each) for each in networks}) != self.num_networks:
            raise ValueError(
                f"{len(networks)} networks given; method {self.recipe.method!r} needs "
                f"{self.num_networks}, each an object of its own"
            )
        if any(value.is_inference() for each in networks for value in each.state_dict().values()):
            raise ValueError(
                "the network was made inside torch.inference_mode and cannot be trained; make it "
                "outside"
            )
        if self.processes.number > 1:
            networks = [share_batch_norm(each, self.processes) for each in networks]
        return [
            each.to(self.device, torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for each in networks
        ]

    @property
    def precision(self) -> torch.dtype:
        """Of the networks' computations and inputs; the fastest of the device unless it is set."""
        return self.viewer.precision

    @precision.setter
    def precision(self, precision: torch.dtype) -> None:
        self.viewer.precision = precision

    @property
    def network(self) -> nn.Module:
        """The first of `networks`."""
        return self.networks[0]

    # --- what a method writes ------------------------------------------------------------------

    def setup(self) -> None:
        """Make what the method needs besides networks and optimizers; called once, at the end."""

    @property
    def views(self) -> Sequence[str]:
        """The views of each image that `step` gets, "weak" first; by default one weak view."""
        return ("weak",)

    @property
    def strong_share(self) -> float:
        """The share of the images of every batch that get strong views; by default all."""
        return 1.0

    def step(self, index: Tensor, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on one batch, or on the part of it that this process has.

        Parameters
        ----------
        index : Tensor, int64, shape (B,)
            Positions of the examples in the training set.
        *views : Tensor, uint8, shape (B, H, W, 3)
            As `views` says; strong ones of the rows `shown` only.

        Returns
        -------
        loss : Tensor, scalar
            The mean over the batch; the part of it that comes from these examples.
        logits : Tensor, float32, shape (B, C)
            What to report as the prediction. Both are detached.
        """
        raise NotImplementedError

    def train_once(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        """Train for one epoch: by default one pass over all examples, a `step` for each batch.

        Parameters
        ----------
        on_batch : callable or None
            As in `epochs`.

        Returns
        -------
        loss : float
            Mean over the epoch.
        predicted : Tensor, int64, shape (N,)
            What `observe` returned for each example.
        """
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        predicted = torch.zeros_like(self.given)
        for index, views in self.batches(self.views, on_batch=on_batch):
            loss, logits = self.step(index, *views)
            total += loss * self.batch
            predicted[index] = self.observe(logits, index)
        self.processes.add([total])
        self.processes.add([predicted])  # each is 0 in all processes but one
        return float(total) / len(self.given), predicted

    def modules(self) -> dict[str, nn.Module]:
        """Everything with a state, by the name under which `state_dict` keeps it."""
        modules: dict[str, nn.Module] = {}
        for name, several in ("network", self.networks), ("ema", self._averages):
            modules |= {_numbered(name, i): module for i, module in enumerate(several)}
        return modules

    @property
    def per_example(self) -> tuple[str, ...]:
        """What has a row for each example, by the names of `state_dict`."""
        return ("probability", "disagreements")

    def report(self) -> dict[str, Tensor]:
        """What the method knows about each training example, see `Loss.report`.

        Of several processes only the first knows it of all.
        """
        return {}

    def rates(self) -> dict[str, float]:
        """The step sizes at this moment; "lr" is that of the first optimizer."""
        return {"lr": next(self._groups())["lr"]}

    # --- what everyone calls -------------------------------------------------------------------

    def epochs(self, *, on_batch: Callable[[float], None] | None = None) -> Iterator[TrainedEpoch]:
        """Train the remaining epochs of the recipe, one at a time.

        Parameters
        ----------
        on_batch : callable, optional
            Called before each batch with the number of epochs done, including a fraction.

        Raises
        ------
        DivergedError
            If the loss is not finite at the end of an epoch, or a weight: the last step may have
            spoiled it, and its loss is that before the step.
        NotEnoughMemoryError
            If the memory of the device does not suffice.
        """
        while self.epoch < self.recipe.epochs:
            begin = time.perf_counter()
            self._passes = [0, 0]
            try:
                with own_modes(self.device), self._dropout():
                    loss, predicted = self.train_once(on_batch)
                    passes = torch.tensor(self._passes, device=self.device)
                    self.processes.add([passes])
                    self._collect()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise NotEnoughMemoryError(
                    f"the device has too little memory for batches of {self.recipe.batch_size}; "
                    "lower batch_size"
                ) from error
            self.epoch += 1
            forward, backward = passes.tolist()
            seconds = time.perf_counter() - begin
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} in epoch {self.epoch}; a lower lr than {self.recipe.lr} "
                    "may help"
                )
            weights = chain.from_iterable(each.parameters() for each in self.modules().values())
            if not all(bool(each.isfinite().all()) for each in weights):
                raise DivergedError(
                    f"the weights are not finite after epoch {self.epoch}; a lower lr than "
                    f"{self.recipe.lr} may help"
                )
            yield TrainedEpoch(
                epoch=self.epoch,
                loss=loss,
                predicted=predicted,
                rates=self.rates(),
                forward_passes=forward / len(self.given),
                backward_passes=backward / len(self.given),
                seconds=seconds,
            )

    def predict(
        self,
        images: NDArray[np.uint8] | Tensor,
        *,
        flips: bool = False,
        ema: bool = False,
        ensemble: bool = False,
    ) -> Tensor:
        """Class probabilities of the first network, without what a loss keeps.

        Parameters
        ----------
        images : ndarray or Tensor, uint8, shape (n, H, W, 3)
        flips : bool
            Average over each image and its mirror image.
        ema : bool
            Use the averaged weights, if the recipe has them.
        ensemble : bool
            Average over all networks.

        Returns
        -------
        Tensor, float32, shape (n, C)

        Raises
        ------
        TypeError, ValueError
            If the images are not uint8, or have another shape.
        """
        images = _checked(images)
        averaged = ema and self._averages
        networks = list(self._averages if averaged else self.networks)
        networks = networks if ensemble else networks[:1]
        batches = []
        with own_modes(self.device), torch.no_grad():
            for network in networks:
                network.eval()
            for x in self.viewer.plain_inputs(images):
                with self.autocast():
                    views = [n(v) for n in networks for v in ([x, x.flip(3)] if flips else [x])]
                batches.append(torch.stack([v.float().softmax(1) for v in views]).mean(0))
            for network in networks:
                network.train()
            return torch.cat(batches)

    def predict_training_images(self) -> Tensor:
        """`predict` on the training images without augmentation, shape (N, C)."""
        return self.predict(self.images)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that changes, as tensors by name; a training continues from it bit for bit.

        That of the first process is complete between two epochs, and any number of processes
        continues from it.
        """
        return tensors_of(self.modules(), self._every_optimizer()) | {
            "probability": self.probability,
            "disagreements": self.disagreements,
            "mirrored": self.viewer.mirrored,
            "generator": self.generator.get_state(),
            "epoch": torch.tensor(self.epoch, device="cpu"),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` of the same recipe and data returned.

        Raises
        ------
        ValueError
            If a tensor is missing or has another shape.
        """
        with own_modes(self.device):
            self._load_state_dict(state)

    def _collect(self) -> None:
        """Bring the rows of all examples to the first process."""
        if self.processes.number > 1:
            state = self.state_dict()
            for name in self.per_example:
                self.processes.collect(state[name])

    def _load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if not self.processes.is_first:
            taken = {name: state[name] for name in self.per_example if name in state}
            state = {**state, **{key: self.processes.take(rows) for key, rows in taken.items()}}
        own = {name: value for name, value in self.state_dict().items() if "optimizer." not in name}
        for name, value in own.items():
            if name not in state or state[name].shape != value.shape:
                raise ValueError(f"the state has no {name!r} of shape {tuple(value.shape)}")
        epoch = int(state["epoch"])
        load_tensors(state, self.modules(), self._every_optimizer(), trained=epoch > 0)
        self.probability.copy_(state["probability"])
        self.disagreements.copy_(state["disagreements"])
        self.viewer.mirrored.copy_(state["mirrored"])
        self.generator.set_state(state["generator"].cpu())
        self.epoch = epoch

    # --- building blocks -----------------------------------------------------------------------

    def batches(
        self, kinds: Sequence[str], *, on_batch: Callable[[float], None] | None = None
    ) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Every example once, in random order, with the learning rates set before each batch.

        Each process gets its own examples of every batch; there may be none.

        Parameters
        ----------
        kinds : sequence of {"weak", "strong"}
            The views of each image.
        on_batch
            As in `epochs`.

        Yields
        ------
        index : Tensor, int64, shape (B,)
        views : list of Tensor, uint8, shape (B, H, W, 3)
            Strong ones of the rows `shown` only.
        """
        number = len(self.given)
        order = torch.randperm(number, generator=self.generator)
        alternating = self.recipe.flip == "alternating"
        drawn = [
            self.viewer.draw(alternating_in=self.epoch if alternating and i == 0 else None)
            for i in range(len(kinds))
        ]
        owned = self.processes.owns(order)
        whole = [
            len(part) for part in order.tensor_split(math.ceil(number / self.recipe.batch_size))
        ]
        sizes = [int(part.sum()) for part in owned.split(whole)]
        batches = order[owned].to(self.device).split(sizes)
        # Evenly spread over the order, which is random, so that batches have equal numbers of them.
        steps = (torch.arange(number + 1, dtype=torch.float64) * self.strong_share).floor()
        strong = steps.diff() > 0
        rows = [part.nonzero()[:, 0] for part in strong[owned].split(sizes)]
        seen = [len(part) for part in rows]
        shown = torch.cat(rows).to(self.device).split(seen)
        for network in self.networks:
            network.train()
        together_at_once = fewer(_STRONG_VIEWS_TOGETHER, self.images)
        for start in range(0, len(batches), together_at_once):
            end = start + together_at_once
            group = batches[start:end]
            here = slice(sum(whole[:start]), sum(whole[:end]))
            of_group = owned[here] & strong[here]
            rows_of_group = list(zip(group, shown[start:end], strict=True))
            together = {
                i: self.viewer.strong(
                    torch.cat([index[rows] for index, rows in rows_of_group]), views, of_group
                ).split(seen[start:end])
                for i, (kind, views) in enumerate(zip(kinds, drawn, strict=True))
                if kind == "strong"
            }
            for i, index in enumerate(group):
                at = self.epoch + (start + i) / len(batches)
                self.steps = self.epoch * len(batches) + start + i
                self.batch, self.shown = whole[start + i], shown[start + i]
                self.set_rates(at)
                if on_batch is not None:
                    on_batch(at)
                yield (
                    index,
                    [
                        together[j][i] if j in together else self.viewer.weak(index, views)
                        for j, views in enumerate(drawn)
                    ],
                )

    def inputs(self, images: Tensor) -> Tensor:
        """Views, uint8 (B, H, W, 3), as a network needs them: normalised, of this epoch's size."""
        return self.viewer.inputs(images, epoch=self.epoch)

    def logits(self, x: Tensor, *, network: int = 0) -> Tensor:
        """The logits of a network, (B, C). In float32, because losses and small states need it."""
        self.count_passes(len(x), backward=torch.is_grad_enabled())
        with self.autocast():
            logits = self._compiled[network](x).float()
        return self.adjusted(logits)

    def adjusted(self, logits: Tensor) -> Tensor:
        """Logits (B, C) as they count in training: with the log share of each class if balanced."""
        return logits if self._adjustment is None else logits + self._adjustment

    def count_passes(self, number: int, *, backward: bool) -> None:
        """Add images that are sent through a network without `logits` to the epoch's count."""
        self._passes[0] += number
        self._passes[1] += number * backward

    def descend(self, loss: Tensor, *, networks: Sequence[int] | None = None) -> None:
        """One step of the optimizers of these networks (by default of all) and of their averages.

        Parameters
        ----------
        loss : Tensor, scalar
        networks : sequence of int, optional
        """
        chosen = range(len(self.networks)) if networks is None else networks
        for i in chosen:
            for optimizer in self.optimizers[i]:
                optimizer.zero_grad()
        loss.backward()
        for i in chosen:
            gradients = [p.grad for p in self.networks[i].parameters() if p.grad is not None]
            self.processes.add(gradients)
            for optimizer in self.optimizers[i]:
                optimizer.step()
            if self._averages:
                self._averages[i].update_parameters(self.networks[i])

    def observe(self, logits: Tensor, index: Tensor) -> Tensor:
        """Add predictions to `probability` and `disagreements`, once per example and epoch.

        Parameters
        ----------
        logits : Tensor, float32, shape (B, C)
            Detached.
        index : Tensor, int64, shape (B,)

        Returns
        -------
        Tensor, int64, shape (B,)
            The predicted classes.
        """
        predicted, row = logits.argmax(1), self.processes.row(index)
        self.disagreements[row] += predicted != self.given[index]
        # The weight of epoch t in an average with weights 1, 2, ..., t.
        weight = 2 / (self.epoch + 2)
        old = self.probability[row]
        self.probability[row] = old.lerp(logits.softmax(1), weight)
        return predicted

    def set_rates(self, epochs_done: float) -> None:
        """Set the learning rates of this point of the schedule."""
        factor = schedule(self.recipe, epochs_done)
        late = self.recipe.schedule == "linear" and factor < 1
        for group, lr in zip(self._groups(), self._base_lr, strict=True):
            group["lr"] = lr * factor
            if late and "betas" in group:
                group["betas"] = (self.recipe.late_momentum, group["betas"][1])

    def autocast(self) -> AbstractContextManager:
        """The context in which networks compute in `precision`."""
        return autocast(self.device, self.precision)

    @contextmanager
    def _dropout(self) -> Generator[None, None, None]:
        """Seed torch's global generator, which dropout draws from, by this epoch; restore it.

        Each process draws its own numbers: dropout is the one thing that depends on their number.
        """
        place = (self.epoch, self.processes.rank)
        state = np.random.SeedSequence(self._seed, spawn_key=place).generate_state(1, np.uint64)
        with seeded(int(state[0]) & LARGEST_SEED, self.device):
            yield

    def _every_optimizer(self) -> list[torch.optim.Optimizer]:
        """Those of all networks, in one list."""
        return list(chain.from_iterable(self.optimizers))

    def _groups(self) -> Iterator[dict[str, Any]]:
        return (group for each in self._every_optimizer() for group in each.param_groups)


def _checked(images: NDArray[np.uint8] | Tensor) -> NDArray[np.uint8] | Tensor:
    array = images if isinstance(images, Tensor) else np.asarray(images)
    if array.dtype not in (np.uint8, torch.uint8):
        raise TypeError(f"images are {array.dtype}; uint8, 0 to 255, is needed")
    if array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        raise ValueError(f"images have shape {tuple(array.shape)}; (n, H, W, 3) is needed")
    return array


def _numbered(name: str, i: int) -> str:
    return f"{name}{i + 1}" if i else name
