"""The fit: gradient descent on y = x + s, as a generator of steps."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.optim import Optimizer

from overparam.devices import fastest_precision
from overparam.muon import ConvolutionMuon
from robustdip.corruption.base import Descent, NoCorruption, Separation
from robustdip.corruption.mixture import BLOCK, Evidence, KnownMask
from robustdip.fitting.early_stopping import EarlyStopping
from robustdip.fitting.network import SkipUNet
from robustdip.recipes import Recipe

__all__ = ["Step", "fit", "known_mask", "precision", "separation_for"]

_ASK = 20  # steps between two questions whether to stop early, for the answer waits for the device


@dataclass(frozen=True, eq=False)
class Step:
    """The state of a fit after one gradient step.

    The arrays are made when asked for (that waits for the device); the fit itself never looks. Ask
    before the next step: they are read from the fit's own state, which that step overwrites.

    Attributes
    ----------
    number, steps : int
        This step, counted from 1, and the last.
    """

    number: int
    steps: int
    _loss: Tensor
    _output: Tensor
    _separation: Separation
    _size: tuple[int, int]

    @property
    def loss(self) -> float:
        """Mean loss of this step, before its update."""
        return float(self._loss)

    @property
    def image(self) -> np.ndarray:
        """The recovered image at this step: (H, W, C) float32 in [0, 1]."""
        return self._crop(self._separation.restored(self._output)).clip(0, 1)

    @property
    def corruption(self) -> np.ndarray:
        """s at this step: (H, W, C) float32."""
        return self._crop(self._separation.corruption(self._output))

    @property
    def mask(self) -> np.ndarray:
        """The elements judged corrupted: (H, W, C) bool."""
        return self._crop(self._separation.corrupted())

    @property
    def deviation(self) -> np.ndarray | None:
        """How far `image` may be off, a standard deviation: (H, W, C) float32.

        None where nothing models it: without s, or with u and v by descent.
        """
        deviation = self._separation.deviation(self._output)
        return None if deviation is None else self._crop(deviation)

    def _crop(self, padded: Tensor) -> np.ndarray:
        height, width = self._size
        return padded[0, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()


def fit(
    image: np.ndarray,
    recipe: Recipe,
    *,
    mask: np.ndarray | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Iterator[Step]:
    """Fit x + s to an image, one gradient step at a time.

    Parameters
    ----------
    image : ndarray, shape (H, W, C), float32 in [0, 1]
        The corrupted image y.
    recipe : Recipe
        See `robustdip.recipes`.
    mask : ndarray of bool, shape (H, W) or (H, W, C), optional
        True where an element is known to be corrupted. s is then not estimated: the network is
        fitted to the other elements, which are returned as they came.
    seed : int
        Of the code z, its jitter, the weights and the start of s. All are drawn on the CPU but the
        jitter, so one seed gives one start on every device.
    device : str or torch.device

    Yields
    ------
    Step
        After every gradient step, `recipe.steps` in all or fewer with early stopping, whose last
        step carries the image detected. The fit advances only when asked to, so the consumer may
        look, measure, stop or be interrupted between steps.

    Raises
    ------
    TypeError
        At the call, if the mask is not boolean.
    ValueError
        At the call, if the image or the mask is none of the above, if the mask leaves no clean
        element, or if the recipe's separation is "descent", which cannot be told a mask.

    Notes
    -----
    Any size is taken: the grid is padded to a multiple of ``2**scales``, at least 64, and the
    padding has no part in the loss. Padding leaves the rate of an element untouched.
    """
    if image.ndim != 3 or 0 in image.shape or not np.issubdtype(image.dtype, np.floating):
        raise ValueError(
            f"image is {image.dtype} of shape {image.shape}; floats of shape (H, W, C) are needed"
        )
    if not (image.min() >= 0 and image.max() <= 1):  # so written, NaN is refused too
        raise ValueError(f"image ranges from {image.min()} to {image.max()}; [0, 1] is needed")
    if mask is not None:
        mask = known_mask(mask, image.shape)
        if recipe.separation == "descent":
            raise ValueError(f"recipe {recipe.name!r} always estimates s; give it no mask")
    return _steps(image, recipe, mask, seed, torch.device(device))


def separation_for(
    recipe: Recipe,
    y: Tensor,
    inside: Tensor,
    *,
    generator: torch.Generator,
    bad: Tensor | None = None,
) -> Separation:
    """The model of s that a recipe names, for y and the mask (1.0 or 0.0) of its real elements.

    `bad`, if the corrupted elements are known, is 1.0 where they are: nothing is estimated then.
    """
    if bad is not None:
        return KnownMask(recipe, y, inside, bad)
    if recipe.separation == "descent":
        return Descent(recipe, y, inside, generator=generator)
    if recipe.separation == "evidence":
        return Evidence(recipe, y, inside)
    if recipe.separation == "none":
        return NoCorruption(recipe, y, inside)
    raise ValueError(f"separation is {recipe.separation!r}; descent, evidence or none is needed")


def known_mask(mask: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """A mask for an image of shape (H, W, C), as a new array of that shape.

    Raises
    ------
    TypeError
        If it is not boolean.
    ValueError
        If its shape is neither (H, W) nor (H, W, C), or if it is True everywhere.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"mask is {mask.dtype}; bool is needed, True where corrupted")
    if mask.shape not in (shape, shape[:2]):
        raise ValueError(f"mask has shape {mask.shape}; {shape[:2]} or {shape} is needed")
    if mask.all():
        raise ValueError("mask marks every element as corrupted; at least one must be clean")
    return np.broadcast_to(mask.reshape(*shape[:2], -1), shape).copy()


def _steps(
    image: np.ndarray,
    recipe: Recipe,
    mask: np.ndarray | None,
    seed: int,
    device: torch.device,
) -> Iterator[Step]:
    start = torch.Generator().manual_seed(seed)
    multiple = max(2**recipe.scales, BLOCK)
    y, inside = _padded(image, multiple=multiple)
    y, inside = y.to(device), inside.to(device)
    bad = None if mask is None else _padded(mask, multiple=multiple)[0].to(device)

    members = [_Member(recipe, y, generator=start) for _ in range(recipe.networks)]
    separation = separation_for(recipe, y, inside, generator=start, bad=bad)
    optimizers = [optimizer for member in members for optimizer in member.optimizers]
    bases = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    averages = y.new_zeros(len(members), *y.shape[1:])
    stopping = EarlyStopping(recipe.window, recipe.patience) if recipe.window else None

    for number in range(1, recipe.steps + 1):
        # 64 at the least, also for a single pixel: so long the network takes to fit anything.
        reach = max(64.0, math.sqrt(2 * separation.clean * image.shape[0] * image.shape[1]))
        _schedule(optimizers, bases, recipe, number, reach=reach)
        # The networks share s, which is grown from the mean of their outputs, and nothing else.
        results = [member.step(separation) for member in members]
        outputs = torch.cat([x for x, _ in results])
        loss = torch.stack([loss for _, loss in results]).mean()
        # A short memory at first (none at step 1): the first outputs are far from anything.
        averages.lerp_(outputs, 1 - min(recipe.average, (number - 1) / (number + 8)))
        x, average = (values.mean(dim=0, keepdim=True) for values in (outputs, averages))
        separation.step(x, average, number)
        shown, last = average, recipe.steps
        if stopping is not None:
            stopping.push(x * inside)  # the padding, set to zero, does not vary
            if number % _ASK == 0 and stopping.finished:
                last = number
            if number == last:
                shown = stopping.best
        yield Step(number, last, loss, shown, separation, image.shape[:2])
        if number == last:
            return


class _Member:
    """One of the networks, with its code and its descent."""

    def __init__(self, recipe: Recipe, y: Tensor, *, generator: torch.Generator) -> None:
        net = SkipUNet(
            recipe.code_channels,
            y.shape[1],
            width=recipe.width,
            finest=max(16, round(recipe.width * recipe.finest)),
            scales=recipe.scales,
            skip=recipe.skip,
            published=recipe.published_net,
            generator=generator,
        )
        self.net = net.to(y.device).to(memory_format=torch.channels_last)
        self.code = _Code(recipe, y.shape[-2:], generator=generator, device=y.device)
        self.optimizers = _optimizers(net, recipe)
        self.recipe = recipe

    def step(self, separation: Separation) -> tuple[Tensor, Tensor]:
        """One step of theta: the output before it, and its loss."""
        code = self.code()
        with _autocast(code.device, self.recipe):
            x = self.net(code)
        loss = separation.loss(x)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return x.detach(), loss.detach()


class _Code:
    """The network's fixed random input z, with fresh jitter at every call."""

    def __init__(
        self,
        recipe: Recipe,
        size: torch.Size,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        # Drawn as (H, W, channels) and seen as channels_last: no copy, and PyTorch's normal
        # generator is faster on contiguous memory.
        shape = (1, *size, recipe.code_channels)
        dtype = precision(device, recipe)
        z = torch.rand(shape, generator=generator) * recipe.code_scale
        self.z = z.to(device, dtype)
        self.jitter = recipe.jitter
        self.fresh = recipe.published_net
        seed = int(torch.randint(2**31, (), generator=generator))
        self.generator = torch.Generator(device).manual_seed(seed)
        self.shifts = generator
        if not self.fresh:
            # Drawing 32 normals a pixel is a large part of a step on a CPU, where the generator is
            # serial. A table twice as long as z, read from a random place, is as good.
            table = torch.randn(2 * z.numel(), generator=self.generator, device=device)
            self.table = table.mul_(self.jitter).to(dtype)

    def __call__(self) -> Tensor:
        if self.fresh:
            noise = torch.randn(
                self.z.shape, generator=self.generator, device=self.z.device, dtype=self.z.dtype
            ).mul_(self.jitter)
        else:
            place = int(torch.randint(self.z.numel(), (), generator=self.shifts))
            noise = self.table[place : place + self.z.numel()].view_as(self.z)
        return (self.z + noise).permute(0, 3, 1, 2)


def _optimizers(net: nn.Module, recipe: Recipe) -> list[Optimizer]:
    if recipe.optimizer == "sgd":
        return [torch.optim.SGD(net.parameters(), lr=recipe.lr)]
    if recipe.optimizer == "adam":
        return [torch.optim.Adam(net.parameters(), lr=recipe.lr)]
    # Muon orthogonalises the update of a matrix; a convolution is the matrix (out, kh·kw·in). The
    # batch normalisation behind it makes its scale, hence Muon's rate, almost irrelevant.
    matrices = [p for p in net.parameters() if p.ndim == 4 and min(len(p), p[0].numel()) >= 16]
    others = [p for p in net.parameters() if all(p is not m for m in matrices)]
    return [
        ConvolutionMuon(matrices, lr=recipe.lr),
        torch.optim.Adam(others, lr=recipe.lr / 2, betas=(0.9, 0.99)),
    ]


def _schedule(
    optimizers: list[Optimizer], bases: list[float], recipe: Recipe, number: int, *, reach: float
) -> None:
    """Constant for SGD and Adam, as published; else 20 steps of warm-up, and a linear decay to 2 %
    over the second half.

    After `reach` steps it also falls like 1/step³: then the way that theta goes, and with it what
    it may overfit, is bounded however many the steps are. The less clean data there are, the sooner
    a network overfits them, so the reach is the square root of twice the clean pixels: the image's
    side if half of it is clean.
    """
    if recipe.optimizer != "muon":
        return
    left = min(1.0, 2 * (1 - number / recipe.steps))
    factor = (0.02 + 0.98 * left) * min(1.0, number / 20, (reach / number) ** 3)
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    for base, group in zip(bases, groups, strict=True):
        group["lr"] = base * factor


def precision(device: torch.device, recipe: Recipe) -> torch.dtype:
    """bfloat16 where the processor multiplies it faster; float32 for the published network."""
    if recipe.published_net:
        return torch.float32
    return fastest_precision(device)


def _autocast(device: torch.device, recipe: Recipe) -> AbstractContextManager:
    dtype = precision(device, recipe)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _padded(image: np.ndarray, *, multiple: int) -> tuple[Tensor, Tensor]:
    """y as (1, C, H', W'), and the same shape telling 1 inside the image from 0 in the padding.

    At least 64 a side: at 32 the deepest of five scales is one pixel, which cannot be normalised.
    """
    height, width, _ = image.shape
    y = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None]
    pad = [max(-(-side // multiple) * multiple, 2 * multiple) - side for side in (height, width)]
    padding = (0, pad[1], 0, pad[0])
    return F.pad(y, padding), F.pad(torch.ones_like(y), padding)
