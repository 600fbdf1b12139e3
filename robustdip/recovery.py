"""Arrays to arrays: `denoise` checks the image and its cost, runs the fit and returns a result.

`restore` does so with any method by its name, the classical ones included.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from overparam.devices import pick_device
from robustdip.fitting.loop import Step, fit, known_mask, precision
from robustdip.images.picture import from_float, to_float
from robustdip.methods import check_method
from robustdip.quality import psnr
from robustdip.recipes import DEFAULT, RECIPES, Recipe

__all__ = [
    "Denoised",
    "DivergedError",
    "NotEnoughMemoryError",
    "denoise",
    "memory_needed",
    "restore",
]

Status = Literal["completed", "interrupted"]

_ADVICE = "make the image smaller, cut it into parts, or use a machine with more memory"
_BUFFERS, _BYTES_PER_PIXEL = 100_000_000, 500
_BYTES_PER_CHANNEL = {torch.bfloat16: 22, torch.float32: 60}
_JUDGED = 0.1  # |s| from which a classical method is said to have found corruption
_WATCH = 20  # steps between two looks at the loss, for a fit that diverged never comes back


class DivergedError(ArithmeticError):
    """The loss left the finite numbers; the message names the step and the settings."""


class NotEnoughMemoryError(MemoryError):
    """The fit would not fit into the device's memory; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Denoised:
    """The result of `denoise` and `restore`.

    Attributes
    ----------
    image : ndarray
        The recovered image, of the input's shape and dtype (floats: float32).
    corruption : ndarray, float32, of the input's shape
        s: what was taken off the input (with the default recipe, image = input − s).
    mask : ndarray, bool, of the input's shape
        The elements judged corrupted, or the mask if it was given. Of a classical method: those
        that it changed by more than a tenth of the range.
    deviation : ndarray, float32, of the input's shape, or None
        How far each element may be off: an estimated standard deviation, in units of the range of
        values. Of recipes that estimate s from evidence, or were given a mask; else None.
    history : list of dict
        `step`, `loss`, and `psnr` where a reference was given, at some 100 steps and the last.
        Empty without steps.
    recipe, seed, device
        What was run, and where. A classical method has no recipe: None.
    steps : int
        Gradient steps taken.
    seconds : float
        Wall-clock time of the fit.
    status : {"completed", "interrupted"}
        Interrupted by Ctrl-C: the result so far.
    """

    image: np.ndarray
    corruption: np.ndarray
    mask: np.ndarray
    deviation: np.ndarray | None
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
    mask: ArrayLike | None = None,
    recipe: str | Recipe = DEFAULT,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    reference: ArrayLike | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Denoised:
    """Recover an image of which a sparse part is wrong, unknown if no mask says which.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        Floats in [0, 1], uint8 or uint16. Any size from 1x1; C is 1 to 4.
    mask : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is known to be corrupted, a dead pixel say. Nothing is then judged:
        the values of these elements are not read, all others are returned as they came. Not for
        recipe "paper".
    recipe : str or Recipe
        A name from `robustdip.RECIPES`, or settings of your own.
    steps : int, optional
        Instead of the recipe's. There is no best moment to stop: more is never much worse.
    seed : int
        The same seed gives the same result on the same machine: on a CPU with the same number of
        threads exactly, on a GPU up to the order of its sums.
    device : str
        "auto" takes CUDA, then MPS, then the CPU; or "cpu", "cuda", "cuda:N", "mps".
    reference : array_like, optional
        The clean image, of the same shape and dtype. It is only used to report PSNR in the
        history, never by the fit.
    on_step : callable, optional
        Called with every `Step`, for progress.

    Returns
    -------
    Denoised

    Raises
    ------
    TypeError, ValueError
        An image of another type, shape or range, or not finite; unknown recipe; bad steps; a mask
        that is not boolean, does not fit the image, leaves no element, or has no use.
    NotEnoughMemoryError
        Before the first step, from an estimate.
    DivergedError
        If the loss is no longer finite.

    Notes
    -----
    Ctrl-C during the fit is caught: the result so far is returned with status "interrupted".
    """
    chosen = _recipe(recipe, steps)
    y, dtype = _checked(image, "image")
    clean = None if reference is None else _checked(reference, "reference")[0]
    if clean is not None and clean.shape != y.shape:
        raise ValueError(f"reference has shape {clean.shape}, the image {y.shape}: they must agree")
    known = None if mask is None else known_mask(mask, y.shape)
    where = pick_device(device)
    _require_memory(y.shape, chosen, where)

    history: list[dict[str, float]] = []
    status: Status = "completed"
    last: Step | None = None
    # Looking costs a wait for the device and a copy: about 100 looks a run, whatever its length.
    every = max(1, chosen.steps // 100)
    begin = time.perf_counter()
    try:
        for step in fit(y, chosen, mask=known, seed=seed, device=where):
            last = step
            if step.number % every == 0:
                history.append(_record(step, clean, chosen))
            elif step.number % _WATCH == 0:
                _finite_loss(step, chosen)
            if on_step is not None:
                on_step(step)
    except KeyboardInterrupt:
        if last is None:
            raise
        status = "interrupted"
    except RuntimeError as error:
        # CUDA has a type of its own for it; the CPU and MPS only say so.
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        raise NotEnoughMemoryError(
            f"{where} ran out of memory on an image of shape {y.shape}; {_ADVICE}"
        ) from error
    assert last is not None  # there is at least one step
    if not history or history[-1]["step"] != last.number:
        history.append(_record(last, clean, chosen))

    shape = np.shape(image)
    return Denoised(
        image=_as_given(last.image, dtype).reshape(shape),
        corruption=last.corruption.reshape(shape),
        mask=last.mask.reshape(shape),
        deviation=None if (deviation := last.deviation) is None else deviation.reshape(shape),
        history=history,
        recipe=chosen,
        seed=seed,
        device=str(where),
        steps=last.number,
        seconds=time.perf_counter() - begin,
        status=status,
    )


def restore(
    image: ArrayLike,
    *,
    method: str = DEFAULT,
    mask: ArrayLike | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    reference: ArrayLike | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Denoised:
    """Recover an image by any method of `robustdip.methods.METHODS`.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        See `denoise`.
    method : str
        A recipe of `robustdip.RECIPES`; a blind method of `robustdip.classical.METHODS`; or
        "linear" or "biharmonic" interpolation over the mask.
    mask : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is known to be corrupted. Interpolation needs it, recipes but "paper"
        can use it.
    steps, seed, device, reference, on_step
        See `denoise`; of no use to classical methods, which take neither steps nor a device.

    Returns
    -------
    Denoised

    Raises
    ------
    TypeError, ValueError, NotEnoughMemoryError, DivergedError
        See `denoise`; ValueError also for an unknown method, and for a mask, steps or a device that
        the method lacks or cannot use.
    """
    check_method(method, mask=mask is not None, steps=steps, device=device)
    if method in RECIPES:
        return denoise(
            image,
            mask=mask,
            recipe=method,
            steps=steps,
            seed=seed,
            device=device,
            reference=reference,
            on_step=on_step,
        )
    from robustdip.classical import METHODS, interpolate  # a fit can do without scipy

    y, dtype = _checked(image, "image")
    known = None if mask is None else known_mask(mask, y.shape)
    begin = time.perf_counter()
    if known is None:
        x = METHODS[method](y)
    else:
        x = interpolate(y, known, method="linear" if method == "linear" else "biharmonic")
    seconds = time.perf_counter() - begin
    shape, corruption = np.shape(image), y - x
    judged = np.abs(corruption) > _JUDGED if known is None else known
    return Denoised(
        image=_as_given(x, dtype).reshape(shape),
        corruption=corruption.reshape(shape),
        mask=judged.reshape(shape),
        deviation=None,
        history=[],
        recipe=None,
        seed=seed,
        device="cpu",
        steps=0,
        seconds=seconds,
        status="completed",
    )


def _as_given(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return image if dtype == np.float32 else from_float(image, dtype)


def _recipe(recipe: str | Recipe, steps: int | None) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    return recipe


def _checked(image: ArrayLike, name: str) -> tuple[np.ndarray, np.dtype]:
    """(H, W, C) float32 in [0, 1], and the dtype to give back."""
    array = np.asarray(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # FITS is big-endian
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ValueError(f"{name} has shape {array.shape}; (H, W) or (H, W, 1 to 4) is needed")
    if array.dtype in (np.uint8, np.uint16):
        values = to_float(array)
        dtype = array.dtype
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise ValueError(f"{name} has {bad} values that are not finite; replace them first")
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                f"{name} ranges from {array.min():g} to {array.max():g}; floats must be in [0, 1]"
            )
        values, dtype = array.astype(np.float32), np.dtype(np.float32)
    else:
        raise TypeError(f"{name} is {array.dtype}; uint8, uint16 or floats in [0, 1] are needed")
    return values.reshape(*array.shape[:2], -1), dtype


def _record(step: Step, clean: np.ndarray | None, recipe: Recipe) -> dict[str, float]:
    record = {"step": float(step.number), "loss": _finite_loss(step, recipe)}
    if clean is not None:
        record["psnr"] = psnr(clean, step.image)
    return record


def _finite_loss(step: Step, recipe: Recipe) -> float:
    loss = step.loss
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss is {loss} at step {step.number} of recipe {recipe.name!r} "
            f"(lr={recipe.lr:g}, corruption_lr={recipe.corruption_lr:g}); lower these rates"
        )
    return loss


def memory_needed(
    shape: tuple[int, ...], recipe: Recipe, *, device: str | torch.device = "cpu"
) -> int:
    """Bytes that a fit of an (H, W, C) image takes at its peak, beside the interpreter and torch.

    Fitted to benchmarks/images/memory.py: the convolution library's own buffers do not grow with the
    image; activations, their gradients and the code do, by the padded pixel and the width; the
    weights and what their descent keeps do by the width squared. Further networks keep weights and
    a code of their own. Early stopping keeps a window of outputs, and two images of its own.
    """
    grid = 2**recipe.scales
    area = math.prod(max(-(-side // grid), 2) * grid for side in shape[:2])
    weights = 480 * recipe.scales * recipe.width**2 * recipe.networks
    dtype = precision(torch.device(device), recipe)
    per_channel = _BYTES_PER_CHANNEL[dtype]
    # A code and its jitter, twice as long.
    codes = area * 3 * recipe.code_channels * dtype.itemsize * (recipe.networks - 1)
    kept = 4 * (min(recipe.window, recipe.steps) + 2) if recipe.window else 0
    outputs = area * kept * (shape[2] if len(shape) == 3 else 1)
    pixels = area * (per_channel * recipe.width + _BYTES_PER_PIXEL)
    return int(_BUFFERS + pixels + weights + codes + outputs)


def _require_memory(shape: tuple[int, ...], recipe: Recipe, device: torch.device) -> None:
    needed, free = memory_needed(shape, recipe, device=device), _memory_free(device)
    if free is not None and needed > free:
        raise NotEnoughMemoryError(
            f"an image of {shape[1]}x{shape[0]} needs about {needed / 1e9:.1f} GB with recipe "
            f"{recipe.name!r} and {device} has {free / 1e9:.1f} GB free; {_ADVICE}"
        )


def _memory_free(device: torch.device) -> int | None:
    """Bytes free on the device, None where nothing tells (MPS, Windows)."""
    if device.type == "cuda":
        # What PyTorch keeps from an earlier fit is free to this one.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        with open("/proc/meminfo") as lines:
            kilobytes = dict(line.split(":") for line in lines)["MemAvailable"]
        return 1024 * int(kilobytes.split()[0])
    except (OSError, KeyError, ValueError):
        return None
