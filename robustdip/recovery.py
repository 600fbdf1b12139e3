"""`denoise`: recover an array by any method, and return the corruption as well."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from overparam.checks import LARGEST_SEED, check_count
from overparam.devices import pick_device
from overparam.errors import DivergedError, NotEnoughMemoryError
from robustdip.corruption.descent import Descent
from robustdip.fitting.loop import Step, fit
from robustdip.fitting.memory import memory_free, memory_needed
from robustdip.inputs import Given, check_image, check_reference
from robustdip.methods import DEFAULT, METHODS, Method, check_method
from robustdip.quality import psnr
from robustdip.recipes import Recipe

__all__ = ["Denoised", "DivergedError", "NotEnoughMemoryError", "denoise"]

Status = Literal["completed", "interrupted"]

_ADVICE = "make the image smaller, cut it into parts, or use a machine with more memory"
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
        Empty for a classical method.
    recipe : Recipe or None
        Settings of the fit; None for a classical method.
    seed : int
        As given.
    device : str
        Where the method ran.
    steps : int
        Gradient steps taken; 0 for a classical method.
    seconds : float
        Wall-clock time of the method.
    status : {"completed", "interrupted"}
        "interrupted": Ctrl-C ended the fit, and this is its last finished step.
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


def denoise(
    image: ArrayLike,
    *,
    method: str | Recipe = DEFAULT,
    mask: ArrayLike | None = None,
    add_mask: ArrayLike | None = None,
    protect: ArrayLike | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    reference: ArrayLike | None = None,
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
    steps : int, optional
        Number of gradient steps, instead of the recipe's. There is no best moment to stop: with
        more steps the result is never much worse.
    seed : int
        The same seed gives the same result on the same machine: exactly on a CPU with the same
        number of threads, up to the order of summation on a GPU.
    device : str
        "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:N" or "mps". Classical methods
        run on the CPU.
    reference : array_like, optional
        The clean image, of the same shape. It is used only to record PSNR in the history.
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
    given = check_image(image, mask=mask, add_mask=add_mask, protect=protect)
    clean = None if reference is None else check_reference(reference, given)
    if isinstance(method, Recipe):
        recipe = method
    else:
        certain = given.add_mask is not None or given.protect is not None
        check_method(
            method, mask=given.mask is not None, certain=certain, steps=steps, device=device
        )
        entry = METHODS[method]
        if entry.kind != "fit":
            return _classical(given, entry, seed=seed)
        recipe: Recipe = entry.load()
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    return _fitted(given, recipe, clean, seed=seed, device=pick_device(device), on_step=on_step)


def _fitted(
    given: Given,
    recipe: Recipe,
    clean: np.ndarray | None,
    *,
    seed: int,
    device: torch.device,
    on_step: Callable[[Step], None] | None,
) -> Denoised:
    _require_memory(given.values.shape, recipe, device)
    steps = fit(
        given.values,
        recipe,
        mask=given.mask,
        add_mask=given.add_mask,
        protect=given.protect,
        seed=seed,
        device=device,
    )
    history: list[dict[str, float]] = []
    status: Status = "completed"
    last: Step | None = None
    # A record waits for the device and copies data, so there are about 100 in a fit of any length.
    every = max(1, recipe.steps // 100)
    begin = time.perf_counter()
    try:
        for step in steps:
            last = step
            if step.number % every == 0:
                history.append(_record(step, clean, recipe))
            elif step.number % _LOSS_CHECK_EVERY == 0:
                _finite_loss(step, recipe)
            if on_step is not None:
                on_step(step)
    except KeyboardInterrupt:
        if last is None:
            raise
        status = "interrupted"
    except RuntimeError as error:
        # CUDA raises OutOfMemoryError; the CPU and MPS raise RuntimeError with these words.
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        raise NotEnoughMemoryError(
            f"{device} ran out of memory on an image of shape {given.shape}; {_ADVICE}"
        ) from error
    if last is None:
        raise RuntimeError("the fit made no step")
    if not history or history[-1]["step"] != last.number:
        history.append(_record(last, clean, recipe))
    uncertainty, corruption = last.uncertainty, last.corruption
    if given.protect is not None:  # y − (x + (y − x)) is rounded
        corruption = np.where(given.protect, np.float32(0), corruption)
    return Denoised(
        image=given.as_given(last.image),
        corruption=corruption.reshape(given.shape),
        mask=last.mask.reshape(given.shape),
        uncertainty=None if uncertainty is None else uncertainty.reshape(given.shape),
        history=history,
        recipe=recipe,
        seed=seed,
        device=str(device),
        steps=last.number,
        seconds=time.perf_counter() - begin,
        status=status,
    )


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


def _require_memory(shape: tuple[int, ...], recipe: Recipe, device: torch.device) -> None:
    needed, free = memory_needed(shape, recipe, device=device), memory_free(device)
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            f"an image of {shape[1]}x{shape[0]} needs about {needed / 1e9:.1f} GB with recipe "
            f"{recipe.name!r} and {device} has {free / 1e9:.1f} GB free; {_ADVICE}"
        )
