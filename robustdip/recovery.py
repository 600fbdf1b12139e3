"""`denoise`: recover an array by any method, and return the corruption as well."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from overparam.checks import LARGEST_SEED, check_count
from overparam.devices import pick_device
from overparam.errors import DivergedError, NotEnoughMemoryError, is_out_of_memory
from robustdip.corruption.descent import Descent
from robustdip.fitting.loop import Step, fit
from robustdip.fitting.memory import memory_free
from robustdip.inputs import Given, check_image, check_reference
from robustdip.methods import DEFAULT, METHODS, Method, check_method
from robustdip.quality import psnr
from robustdip.recipes import Recipe
from robustdip.tiling.canvas import Canvas
from robustdip.tiling.kept import KeptTiles, TileResult, digest
from robustdip.tiling.memory import memory_of_picture
from robustdip.tiling.plan import Tile, plan
from robustdip.tiling.quality import TiledQuality
from robustdip.tiling.survey import ALWAYS_FITTED, Survey, core_side, survey
from robustdip.told import Told

__all__ = ["Denoised", "DivergedError", "NotEnoughMemoryError", "denoise"]

Status = Literal["completed", "interrupted"]

_ADVICE = "make the image or the tile smaller, or use a machine with more memory"
# |s| above which an element counts as changed by a classical method: a tenth of the range.
_CHANGED_ABOVE = 0.1
# Steps between two checks of the loss, each of which waits for the device. A fit that has diverged
# never recovers, so every divergence is noticed.
_LOSS_CHECK_EVERY = 20


@dataclass(frozen=True, eq=False)
class Denoised:
    """The result of `denoise`.

    Attributes
    ----------
    image : ndarray
        The recovered image, of the input's shape and dtype.
    corruption : ndarray, float32, of the input's shape
        s, in units of the range of values. image = input − s for the default method, up to
        clipping, and for classical methods.
    mask : ndarray, bool, of the input's shape
        The elements found corrupted, or the mask if one was given. For a classical method, the
        elements that it changed by more than a tenth of the range.
    uncertainty : ndarray, float32, of the input's shape, or None
        Estimated standard deviation of each element's error, in units of the range of values. None
        for methods that do not estimate it.
    history : list of dict
        `step`, `loss`, and `psnr` if a reference was given, for about 100 steps and the last one.
        Of several tiles it is the last step of each, counted over all tiles, and the PSNR of the
        whole picture at that time. Empty for a classical method.
    recipe : Recipe or None
        Settings of the fit; None for a classical method.
    seed : int
        As given.
    device : str
        Where the method ran.
    steps : int
        Gradient steps taken, in all tiles together; 0 for a classical method.
    seconds : float
        Wall-clock time of the method.
    status : {"completed", "interrupted"}
        "interrupted": Ctrl-C ended the fit, and this is its last finished step; of several tiles
        it has those that were finished, and the input elsewhere.
    tiles, fitted : int
        Number of tiles of the picture, and of those that were fitted, whole or where something
        wrong was seen. In the others nothing was, or there was no time for them: they are the
        input, bit for bit, but for what is filled.
    filled : int
        Number of pixels of a picture in tiles that are known to be wrong and stand alone: they were
        filled from the pixels around them, before the first fit.
    disagreement : float or None
        Root mean square difference of neighbouring tiles where they overlap, in units of the range
        of values. None if there are no neighbours.
    white : int
        The range of values: what of `image` is 1 in `corruption`, in `uncertainty` and for PSNR.
        255 of uint8, that of the bits in use of uint16 (`robustdip.images.white_of`), 1 of floats.
    """

    image: np.ndarray
    corruption: np.ndarray
    mask: np.ndarray
    uncertainty: np.ndarray | None
    history: list[dict[str, float]] = field(repr=False)
    recipe: Recipe | None
    seed: int
    device: str
    steps: int
    seconds: float
    status: Status
    tiles: int = 1
    fitted: int = 1
    filled: int = 0
    disagreement: float | None = None
    white: int = 1


def denoise(
    image: ArrayLike,
    *,
    method: str | Recipe = DEFAULT,
    mask: ArrayLike | None = None,
    add_mask: ArrayLike | None = None,
    protect: ArrayLike | None = None,
    damage: str | Sequence[str] = "auto",
    strength: float = 0.0,
    only: Literal["bright", "dark"] | None = None,
    max_size: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    reference: ArrayLike | None = None,
    tile: int | None = None,
    every_tile: bool = False,
    keep: str | os.PathLike[str] | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Denoised:
    """Recover an image in which an unknown, sparse part of the elements is wrong.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        uint8, uint16 or floats in [0, 1]. Any size from 1x1; C is 1 to 4. The mask of a numpy
        masked array is used as `mask`.
    method : str or Recipe
        A name from `robustdip.methods.METHODS`, or settings of your own for a fit.
    mask : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is known to be corrupted, for example at a dead pixel. The corruption
        is then not estimated: the values of these elements are not read, and all others are
        returned unchanged. "linear" and "biharmonic" need a mask, fits except "paper" accept one.
    add_mask : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is certainly corrupted. It may have any value; the others are judged.
    protect : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is certainly clean: it is returned unchanged, also where a detector or
        `add_mask` says otherwise. `add_mask` and `protect` are taken by "default" and recipes with
        its model of s, without `mask`.
    damage : str or sequence of str
        What is wrong, if that is known: "pixels", "text", "scratches", "hair", "dust" or "lines"
        (`robustdip.told.DAMAGE`). What is named is looked for with less caution, and nothing else
        is. By default, "auto", everything is looked for that can be told from a picture's detail.
    strength : float
        From -1, removes too little, to 1, removes too much.
    only : {"bright", "dark"}, optional
        Remove only what is brighter, or darker, than the picture.
    max_size : float, optional
        Width in pixels, from 1 to 200, of the widest stroke, line or blob that counts as damage.
        `damage`, `strength`, `only` and `max_size` change prior odds of the default model of s, so
        they are taken by the same methods as `add_mask`, without `mask`.
    steps : int, optional
        Number of gradient steps, instead of the recipe's. There is no best moment to stop: where
        the damage is found, more steps do no harm.
    seed : int
        The same seed gives the same result on the same machine: exactly on a CPU with the same
        number of threads, up to the order of summation on a GPU.
    device : str
        "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:N" or "mps". Classical methods
        run on the CPU.
    reference : array_like, optional
        The clean image, of the same shape. It is used only to record PSNR in the history.
    tile : int, optional
        Largest side in pixels, from 64, of what is fitted at once. A larger picture is fitted in
        overlapping tiles. None chooses: up to 1024x1024 pixels at once, larger pictures in tiles
        of 512x512. With dense damage, where more than a tenth of the elements differ from all of
        their neighbours, both are tiles of about 256x256. Classical methods take the picture as a
        whole.
    every_tile : bool
        Fit tiles in which nothing wrong is seen too. Without it they are returned unchanged in
        pictures of more than a megapixel, and in smaller ones where `tile` is given.
    keep : path-like, optional
        Folder for the results of finished tiles: a call with the same picture and settings goes on
        where an earlier one was killed, with the same result. It is made if there are several
        tiles, beside folders that exist, and yours to remove. Where it cannot be written to,
        nothing is kept.
    on_step : callable, optional
        Called after every step of a fit with its `Step`, for example to show progress.

    Returns
    -------
    Denoised

    Raises
    ------
    TypeError
        If an argument has a wrong type.
    ValueError
        If a shape or range is wrong, a value is not finite, no element is clean, or the method is
        unknown or does not accept an argument.
    NotEnoughMemoryError
        Before the first step, if the estimated need exceeds the free memory; or later, if the
        device runs out of memory.
    DivergedError
        If the loss is no longer finite.

    Notes
    -----
    Ctrl-C during a fit is caught: the last finished step is returned, with status "interrupted".

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.add.outer(np.linspace(0.2, 0.5, 16), np.linspace(0.0, 0.3, 16))
    >>> ramp[4, 5] = 1.0
    >>> result = denoise(ramp, method="median")
    >>> result.image.shape, bool(result.mask[4, 5]), int(result.mask.sum())
    ((16, 16), True, 1)
    """
    seed = check_count("seed", seed, most=LARGEST_SEED)
    if steps is not None:
        steps = check_count("steps", steps, least=1)
    if on_step is not None and not callable(on_step):
        raise TypeError(f"on_step is {on_step!r}; a function of a Step is needed")
    told = Told(damage=damage, strength=strength, only=only, max_size=max_size)
    given = check_image(image, mask=mask, add_mask=add_mask, protect=protect)
    clean = None if reference is None else check_reference(reference, given)
    if isinstance(method, Recipe):
        recipe = method
        told.check_mask(given.mask is not None)
    else:
        certain = given.add_mask is not None or given.protect is not None
        check_method(
            method,
            mask=given.mask is not None,
            certain=certain,
            told=told.anything,
            steps=steps,
            device=device,
        )
        entry = METHODS[method]
        if entry.kind != "fit":
            return _classical(given, entry, seed=seed)
        recipe: Recipe = entry.load()
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    size = given.values.shape[:2]
    core = core_side(given, recipe) if tile is None else None
    tiles = plan(size, side=tile, core=core)
    task = _Task(given, told.applied(recipe), clean, seed, pick_device(device), on_step)
    _require_memory(task, tiles)
    if len(tiles) == 1:
        return _fitted(task)
    begin = time.perf_counter()
    named = told.damage != ("auto",)
    every_tile |= tile is None and math.prod(size) <= ALWAYS_FITTED
    surveyed = survey(given, tiles, task.recipe, every_tile=every_tile, named=named)
    kept = KeptTiles(None if keep is None else Path(keep))
    return _fitted_in_tiles(task, tiles, surveyed, kept, begin=begin)


@dataclass(frozen=True, eq=False)
class _Task:
    """What a fit was asked for."""

    given: Given
    recipe: Recipe
    clean: np.ndarray | None
    seed: int
    device: torch.device
    on_step: Callable[[Step], None] | None


def _fitted(task: _Task) -> Denoised:
    given, recipe = task.given, task.recipe
    history: list[dict[str, float]] = []

    def record(step: Step) -> None:
        history.append(_record(step, task.clean, recipe))

    begin = time.perf_counter()
    last, status = _last_step(task, given, seed=task.seed, record=record, on_step=task.on_step)
    if last is None:
        raise KeyboardInterrupt
    if not history or history[-1]["step"] != last.number:
        record(last)
    uncertainty = last.uncertainty
    return Denoised(
        image=given.as_given(last.image),
        corruption=_corruption(last, given).reshape(given.shape),
        mask=last.mask.reshape(given.shape),
        uncertainty=None if uncertainty is None else uncertainty.reshape(given.shape),
        history=history,
        recipe=recipe,
        seed=task.seed,
        device=str(task.device),
        steps=last.number,
        seconds=time.perf_counter() - begin,
        status=status,
        white=given.white,
    )


def _fitted_in_tiles(
    task: _Task, tiles: list[Tile], surveyed: Survey, kept: KeptTiles, *, begin: float
) -> Denoised:
    given, recipe = task.given, surveyed.recipe
    canvas = Canvas(given, surveyed.fits, surveyed.filled)
    quality = None if task.clean is None else TiledQuality(given.values, task.clean)
    history: list[dict[str, float]] = []
    finished: list[Tile] = []
    status: Status = "completed"
    steps = 0
    for number, tile in enumerate(surveyed.fits, start=1):
        on_step = _numbered(task.on_step, number, len(surveyed.fits))
        try:
            result = _of_tile(replace(task, recipe=recipe, on_step=on_step), tile, surveyed, kept)
        except _TileInterrupted as interrupted:
            steps += interrupted.steps
            status = "interrupted"
            break
        except KeyboardInterrupt:  # between two fits, where detectors may take seconds
            status = "interrupted"
            break
        steps += result.steps
        canvas.add(
            tile,
            image=result.image,
            corruption=result.corruption,
            mask=result.mask,
            uncertainty=result.uncertainty,
        )
        finished.append(tile)
        history.append({"step": float(steps), "loss": result.loss})
        if quality is not None:
            quality.update(tile.core, result.image[tile.core_in_window])
            history[-1]["psnr"] = quality.psnr
    if status == "interrupted" and not history:
        raise KeyboardInterrupt
    canvas.finish()
    if task.clean is not None and history and status == "completed":  # now with the blends
        quality = TiledQuality(given.values, task.clean)
        for tile in tiles:
            quality.update(tile.core, given.part(tile.core).normalised(canvas.image[tile.core]))
        history[-1]["psnr"] = quality.psnr
    uncertainty = canvas.uncertainty
    if uncertainty is None and not surveyed.fits:
        uncertainty = np.zeros(given.shape, np.float32)  # nothing was changed
    return Denoised(
        image=canvas.image,
        corruption=canvas.corruption.reshape(given.shape),
        mask=canvas.mask.reshape(given.shape),
        uncertainty=None if uncertainty is None else uncertainty.reshape(given.shape),
        history=history,
        recipe=task.recipe,
        seed=task.seed,
        device=str(task.device),
        steps=steps,
        seconds=time.perf_counter() - begin,
        status=status,
        tiles=len(tiles),
        fitted=sum(any(part.meets(tile) for part in finished) for tile in tiles),
        filled=0 if surveyed.filled is None else surveyed.filled.pixels,
        disagreement=canvas.disagreement,
        white=given.white,
    )


class _TileInterrupted(Exception):
    """Ctrl-C ended the fit of a tile after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(steps)
        self.steps = steps


def _of_tile(task: _Task, tile: Tile, surveyed: Survey, kept: KeptTiles) -> TileResult:
    """Fit a tile, or take what was kept of it."""
    part = task.given.part(tile.window)
    seen = _seen(surveyed, tile)
    seed = tile.seed(task.seed)
    key = digest(part, task.recipe, seed=seed, device=task.device, seen=seen)
    result = kept.get(key, part.values.shape)
    if result is not None:
        return result
    last, status = _last_step(
        task, part, seed=seed, seen=seen, record=lambda step: None, on_step=task.on_step
    )
    if status == "interrupted" or last is None:
        raise _TileInterrupted(0 if last is None else last.number)
    result = TileResult(
        image=last.image,
        corruption=_corruption(last, part),
        mask=last.mask,
        uncertainty=last.uncertainty,
        steps=last.number,
        loss=_finite_loss(last, task.recipe),
    )
    kept.put(key, result)
    return result


def _seen(surveyed: Survey, tile: Tile) -> dict[str, np.ndarray]:
    """Arguments of `fit`: what was seen of a tile when the whole picture was looked at."""
    found, shapes = surveyed.found, surveyed.shapes
    odds = None if shapes is None else shapes.within(tile)
    seen = {"found": None if found is None else found[tile.window], "shape_odds": odds}
    return {name: values for name, values in seen.items() if values is not None}


def _last_step(
    task: _Task,
    part: Given,
    *,
    seed: int,
    seen: dict[str, np.ndarray] | None = None,
    record: Callable[[Step], None],
    on_step: Callable[[Step], None] | None,
) -> tuple[Step | None, Status]:
    """Fit a picture, or a part of it. The last step is None if Ctrl-C came before the first."""
    recipe, device = task.recipe, task.device
    steps = fit(
        part.values,
        recipe,
        mask=part.mask,
        add_mask=part.add_mask,
        protect=part.protect,
        seed=seed,
        device=device,
        **(seen or {}),
    )
    # A record waits for the device and copies data, so there are about 100 in a fit of any length.
    every = max(1, recipe.steps // 100)
    last: Step | None = None
    try:
        for step in steps:
            last = step
            if step.number % every == 0:
                record(step)
            elif step.number % _LOSS_CHECK_EVERY == 0:
                _finite_loss(step, recipe)
            if on_step is not None:
                on_step(step)
    except KeyboardInterrupt:
        return last, "interrupted"
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemoryError(
            f"{device} ran out of memory on an image of shape {part.shape}; {_ADVICE}"
        ) from error
    if last is None:
        raise RuntimeError("the fit made no step")
    return last, "completed"


def _numbered(
    on_step: Callable[[Step], None] | None, tile: int, tiles: int
) -> Callable[[Step], None] | None:
    """A callback that is told which tile a step belongs to."""
    if on_step is None:
        return None
    return lambda step: on_step(replace(step, tile=tile, tiles=tiles))


def _corruption(step: Step, part: Given) -> np.ndarray:
    s = step.corruption
    if part.protect is None:
        return s
    return np.where(part.protect, np.float32(0), s)  # y − (x + (y − x)) is rounded


def _classical(given: Given, method: Method, *, seed: int) -> Denoised:
    begin = time.perf_counter()
    if given.mask is None:
        x = method.load()(given.values)
    else:
        x = method.load()(given.values, given.mask)
    seconds = time.perf_counter() - begin
    corruption = given.values - x
    changed = np.abs(corruption) > _CHANGED_ABOVE if given.mask is None else given.mask
    return Denoised(
        image=given.as_given(x),
        corruption=corruption.reshape(given.shape),
        mask=changed.reshape(given.shape),
        uncertainty=None,
        history=[],
        recipe=None,
        seed=seed,
        device="cpu",
        steps=0,
        seconds=seconds,
        status="completed",
        white=given.white,
    )


def _record(step: Step, clean: np.ndarray | None, recipe: Recipe) -> dict[str, float]:
    record = {"step": float(step.number), "loss": _finite_loss(step, recipe)}
    if clean is not None:
        record["psnr"] = psnr(clean, step.image)
    return record


def _finite_loss(step: Step, recipe: Recipe) -> float:
    loss = step.loss
    if not math.isfinite(loss):
        rates = f"lr={recipe.lr:g}"
        if isinstance(recipe.corruption_model, Descent):
            rates += f", corruption_model.lr={recipe.corruption_model.lr:g}"
        raise DivergedError(
            f"the loss is {loss} at step {step.number} of recipe {recipe.name!r} ({rates}); "
            "lower these rates"
        )
    return loss


def _require_memory(task: _Task, tiles: list[Tile]) -> None:
    """Refuse a fit that does not fit. The results of a picture in tiles take memory as well."""
    given, recipe, device = task.given, task.recipe, task.device
    needed = memory_of_picture(
        given.values.shape,
        recipe,
        tiles=tiles,
        device=device,
        itemsize=given.original.itemsize,
    )
    free = memory_free(device)
    if free is not None and needed > free:
        height, width = given.shape[:2]
        (top, bottom), (left, right) = tiles[0].window_rows, tiles[0].window_columns
        cut = f" in tiles of {right - left}x{bottom - top}" if len(tiles) > 1 else ""
        raise NotEnoughMemoryError(
            f"an image of {width}x{height}{cut} needs about {needed / 1e9:.1f} GB with recipe "
            f"{recipe.name!r} and {device} has {free / 1e9:.1f} GB free; {_ADVICE}"
        )
