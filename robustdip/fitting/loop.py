"""The fit of y = x + s by gradient descent, as a generator of steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from overparam.devices import autocast
from overparam.modes import own_modes
from robustdip.corruption.base import CorruptionModel, Estimate, Problem
from robustdip.corruption.channels import BLOCK
from robustdip.fitting.early_stopping import EarlyStopping
from robustdip.fitting.network import FixedInput, SkipUNet
from robustdip.fitting.optimizers import Rates, optimizers_for, precision
from robustdip.inputs import check_certain, check_floats, check_mask, fill_unread, require_array
from robustdip.recipes import Recipe

__all__ = ["Step", "fit", "grid_size"]

# Steps between two checks of early stopping, because each check waits for the device.
_STOPPING_CHECK_EVERY = 20


@dataclass(frozen=True, eq=False)
class Step:
    """The state of a fit after one gradient step; later steps do not change it.

    The arrays are computed when they are read, which waits for the device. A step that is kept
    holds tensors of the image's size.

    Attributes
    ----------
    number, steps : int
        Number of this step, counted from 1, and of the last step.
    tile, tiles : int
        Number of the tile that is fitted, counted from 1, and of the tiles of the picture that are
        fitted one after the other. See `robustdip.denoise`; `fit` fits one.
    """

    number: int
    steps: int
    _loss: Tensor
    _estimate: Estimate
    _size: tuple[int, int]
    tile: int = 1
    tiles: int = 1

    @property
    def done(self) -> int:
        """Number of steps up to this one, those of the tiles before included."""
        return (self.tile - 1) * self.steps + self.number

    @property
    def total(self) -> int:
        """Number of steps of all tiles, if each takes as many as this."""
        return self.tiles * self.steps

    @property
    def loss(self) -> float:
        """Mean loss of this step, before its update."""
        return float(self._loss)

    @property
    def image(self) -> np.ndarray:
        """The recovered image: (H, W, C) float32 in [0, 1]."""
        return self._array("image").clip(0, 1)

    @property
    def corruption(self) -> np.ndarray:
        """s: (H, W, C) float32."""
        return self._array("corruption")

    @property
    def mask(self) -> np.ndarray:
        """The elements found corrupted: (H, W, C) bool."""
        return self._array("corrupted")

    @property
    def uncertainty(self) -> np.ndarray | None:
        """Estimated standard deviation of the error of `image`: (H, W, C) float32.

        None if the model of s does not give one.
        """
        return self._array("uncertainty")

    @overload
    def _array(self, name: Literal["image", "corruption", "corrupted"]) -> np.ndarray: ...
    @overload
    def _array(self, name: Literal["uncertainty"]) -> np.ndarray | None: ...
    def _array(self, name: str) -> np.ndarray | None:
        with own_modes(self._loss.device), torch.no_grad():
            padded: Tensor | None = getattr(self._estimate, name)
        if padded is None:
            return None
        height, width = self._size
        return padded[0, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()


def fit(
    image: np.ndarray,
    recipe: Recipe,
    *,
    mask: np.ndarray | None = None,
    add_mask: np.ndarray | None = None,
    protect: np.ndarray | None = None,
    found: np.ndarray | None = None,
    shape_odds: np.ndarray | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Iterator[Step]:
    """Fit x + s to an image, one gradient step at a time.

    Parameters
    ----------
    image : ndarray, shape (H, W, C), float32 in [0, 1]
        The corrupted image y.
    recipe : Recipe
        All settings.
    mask : ndarray of bool, shape (H, W) or (H, W, C), optional
        True where an element is known to be corrupted. s is then not estimated: the network is
        fitted to the other elements, which are returned unchanged.
    add_mask, protect : ndarray of bool, shape (H, W) or (H, W, C), optional
        True where an element is certainly corrupted, and certainly clean; s is estimated of the
        others. See `robustdip.inputs.check_certain`.
    found : ndarray of bool, shape (H, W) or (H, W, C), optional
        What the recipe's detectors have found in a larger picture, of which this is a part. They
        and the detectors of shapes are then not asked again.
    shape_odds : ndarray of float32, shape (H, W, 2), optional
        With `found`, the log odds that the detectors of shapes gave there: the largest of all, and
        of those whose finds are hidden from the network.
    seed : int
        Seed of the network's input, its jitter, the weights and the start of s. All but the jitter
        are drawn on the CPU, so that a seed gives the same start on every device.
    device : str or torch.device
        Where the fit runs.

    Yields
    ------
    Step
        After every gradient step, `recipe.steps` in all. With early stopping there may be fewer,
        and the last one has the detected image. The fit advances only when the next step is
        requested, so the caller may inspect, measure or stop between steps.

    Raises
    ------
    TypeError
        At the call, if the image is no array of floats, a mask is not boolean, or the recipe is
        none.
    ValueError
        At the call, if the image or a mask has a wrong shape or range, if no element is clean, or
        if the recipe does not take such a mask.

    Notes
    -----
    Images of any size are padded to the size of `grid_size`. The padding has no weight in the loss
    and does not change the learning rate of an element.
    """
    require_array(image, "image")
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe is {recipe!r}; a Recipe is needed, such as RECIPES['default']")
    if image.ndim != 3:
        raise ValueError(f"image has shape {image.shape}; (H, W, C) is needed")
    known = None if mask is None else check_mask(mask, image.shape)
    if known is not None and recipe.known_mask is None:
        raise ValueError(f"recipe {recipe.name!r} always estimates s; give it no mask")
    added, kept = check_certain(add_mask, protect, image.shape)
    if added is not None or kept is not None:
        if known is not None:
            raise ValueError("give mask without add_mask and protect: it decides every element")
        if not recipe.corruption_model.takes_certain:
            raise ValueError(f"recipe {recipe.name!r} takes no add_mask and no protect")
    unread = added if known is None else known
    check_floats(image, "image", unread=unread)
    y = fill_unread(image, unread)
    if found is not None:
        found = check_mask(found, image.shape, name="found", some_clean=False)
    if shape_odds is not None:
        if found is None:
            raise ValueError("shape_odds come with found, from the look at a larger picture")
        if shape_odds.shape != (*image.shape[:2], 2):
            raise ValueError(f"shape_odds have shape {shape_odds.shape}; (H, W, 2) is needed")
    told = _Told(known, added, kept, found, shape_odds)
    return _steps(y, recipe, told, seed, torch.device(device))


@dataclass(frozen=True, eq=False)
class _Told:
    """What is known of the corruption, in arrays (H, W, C) as in `robustdip.inputs.Given`."""

    known: np.ndarray | None
    added: np.ndarray | None
    kept: np.ndarray | None
    found: np.ndarray | None
    shape_odds: np.ndarray | None


def _steps(
    image: np.ndarray,
    recipe: Recipe,
    told: _Told,
    seed: int,
    device: torch.device,
) -> Iterator[Step]:
    with own_modes(device):
        state = _Fit(image, recipe, told, seed=seed, device=device)
    for number in range(1, recipe.steps + 1):
        # The modes end before each yield, so that the caller's own are in force between steps.
        with own_modes(device):
            step = state.step(number)
        yield step
        if step.number == step.steps:
            return


class _Fit:
    """Networks, model of s and rates of one fit."""

    def __init__(
        self,
        image: np.ndarray,
        recipe: Recipe,
        told: _Told,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        generator = torch.Generator("cpu").manual_seed(seed)
        y, valid = (part.to(device) for part in _padded(image, scales=recipe.scales))
        self.recipe, self.valid = recipe, valid
        self.size = (image.shape[0], image.shape[1])
        self.members = [_Member(recipe, y, generator=generator) for _ in range(recipe.networks)]
        known, added, kept, found, odds = (
            None if part is None else _padded(part, scales=recipe.scales)[0].to(device)
            for part in (told.known, told.added, told.kept, told.found, told.shape_odds)
        )
        problem = Problem(
            y,
            valid,
            recipe.penalty,
            recipe.steps,
            generator,
            corrupted=None if added is None else added > 0,
            clean=None if kept is None else kept > 0,
            found=None if found is None else found > 0,
            shape_odds=odds,
        )
        self.model: CorruptionModel
        if known is None or recipe.known_mask is None:
            self.model = recipe.corruption_model.start(problem)
        else:
            self.model = recipe.known_mask.start(problem, known)
        self.rates = Rates([o for member in self.members for o in member.optimizers])
        self.averages = y.new_zeros(len(self.members), *y.shape[1:])
        self.stopping = EarlyStopping(recipe.window, recipe.patience) if recipe.window else None

    def step(self, number: int) -> Step:
        recipe, model = self.recipe, self.model
        clean_pixels = model.clean_fraction * self.size[0] * self.size[1]
        self.rates.set(recipe.rate.factor(number, recipe.steps, clean_pixels=clean_pixels))
        # The networks share s, which is estimated from the mean of their outputs, and nothing else.
        results = [member.step(model) for member in self.members]
        outputs = torch.cat([x for x, _ in results])
        loss = torch.stack([loss for _, loss in results]).mean()
        # The average has a short memory at first (none at step 1), because the first outputs are
        # far from the image: after n steps it covers about the last n/9. It is a new tensor each
        # time, because earlier steps keep theirs.
        weight = 1 - min(recipe.average, (number - 1) / (number + 8))
        self.averages = self.averages.lerp(outputs, weight)
        x, average = (values.mean(dim=0, keepdim=True) for values in (outputs, self.averages))
        model.step(x, average, number)
        shown, last = average, recipe.steps
        if self.stopping is not None:
            self.stopping.push(x * self.valid)  # padding set to 0, so that it does not vary
            if number % _STOPPING_CHECK_EVERY == 0 and self.stopping.finished:
                last = number
            if number == last:
                shown = self.stopping.best
        return Step(number, last, loss, model.estimate(shown), self.size)


class _Member:
    """One of the networks, with its input and its optimizers."""

    def __init__(self, recipe: Recipe, y: Tensor, *, generator: torch.Generator) -> None:
        network = SkipUNet(
            recipe.code_channels,
            y.shape[1],
            width=recipe.width,
            joined=recipe.channels_of("joined"),
            finest=recipe.channels_of("finest"),
            scales=recipe.scales,
            skip=recipe.skip,
            published=recipe.published_net,
            generator=generator,
        )
        self.network = network.to(y.device).to(memory_format=torch.channels_last)
        self.dtype = precision(y.device, published=recipe.published_net)
        self.input = FixedInput(
            recipe.code_channels,
            (y.shape[2], y.shape[3]),
            scale=recipe.code_scale,
            jitter=recipe.jitter,
            fresh=recipe.published_net,
            generator=generator,
            device=y.device,
            dtype=self.dtype,
        )
        self.optimizers = optimizers_for(network, recipe.optimizer, lr=recipe.lr)

    def step(self, model: CorruptionModel) -> tuple[Tensor, Tensor]:
        """Update the weights once. Return the output before the update, and its loss."""
        z = self.input()
        with autocast(z.device, self.dtype):
            x = self.network(z)
        loss = model.loss(x)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return x.detach(), loss.detach()


def grid_size(size: tuple[int, int], *, scales: int) -> tuple[int, int]:
    """Height and width to which an image is padded.

    The smallest multiples of 2**scales and of `BLOCK` that are not below its sides; at least twice
    that number, 64 for five scales: with one pixel at the deepest scale there is nothing that batch
    normalisation could normalise.

    Parameters
    ----------
    size : tuple of int
        Height and width of the image.
    scales : int
        Halvings of the grid by the network.

    Returns
    -------
    tuple of int
    """
    multiple = max(2**scales, BLOCK)
    height, width = (max(-(-side // multiple), 2) * multiple for side in size)
    return height, width


def _padded(image: np.ndarray, *, scales: int) -> tuple[Tensor, Tensor]:
    """The image as (1, C, H', W'), and a tensor that is 1 inside the image and 0 in the padding."""
    height, width, _ = image.shape
    grid = grid_size((height, width), scales=scales)
    y = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))[None]
    padding = (0, grid[1] - width, 0, grid[0] - height)
    return F.pad(y, padding), F.pad(torch.ones_like(y), padding)
