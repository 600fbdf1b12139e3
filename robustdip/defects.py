"""Pixels that are wrong in all frames of one camera or scanner: hot pixels, dust, scratches.

A single picture shows a defect only where its surroundings do not. Over many frames with different
scenes, detail at a place comes with any sign and size, and a defect does not. Let r_f be the
difference between a pixel in frame f and the median of its surroundings. In a mixture with one
indicator for each place,

    no defect:  r_f has a Laplace density of mean 0 and scale β_f,
    a defect:   r_f has a Laplace density of mean m and scale β_f, with one m for all frames,

where β_f is the mean of |r_f| around the place, so that detailed frames count little. The best m is
the median of r_f with weights 1/β_f, whatever happens in a few frames. With a uniform prior of m on
[−1, 1] the evidence for a defect is

    Λ = Σ_f (|r_f| − |r_f − m|) / β_f  +  log(√(2π) / 2) − ½ log Σ_f 1/β_f²,

as in Laplace's approximation, with the Fisher information of m, Σ_f 1/β_f², in place of the second
derivative, which is 0 almost everywhere. The fraction π of defects is estimated by expectation
maximisation, and the probability of a defect is 1 / (1 + exp(−Λ) (1 − π)/π).

Larger defects are looked for in frames reduced by 2, 4 and so on, because a defect that fills the
window of the median does not differ from it.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.checks import check_real
from robustdip.images.picture import white_of
from robustdip.inputs import check_image

__all__ = ["FEWEST", "shared_defects"]

FEWEST = 3
"""Smallest number of frames: with two, detail has the same sign in both half of the time."""

_WINDOW = 5  # pixels; demosaicing spreads a hot pixel to about nine of its 25
_AROUND = 9  # pixels, the window of β
_SMALLEST_SCALE = 1 / 255  # β: samples are rounded to 1/255 in most files
_LARGEST = 0.15  # of |r| in β, so that a defect does not hide itself
# |m|: less is hardly seen, and compression spreads it far. A hot pixel with a quarter of the range,
# demosaiced and compressed, has 30/255.
_SMALLEST = 12 / 255
_FIRST_FRACTION = 1e-3  # π at first; the result does not depend on it
_SWEEPS = 20
# Correlation of detail between frames, reduced so that noise and defects count little. Photographs
# of different scenes have up to 0.06, with many defects up to 0.11; noisy ones of one scene 0.7.
_ONE_SCENE = 0.3
_HALVINGS = 3
_STRIP = 2**18  # pixels of all frames that are held as floats at a time


def shared_defects(frames: Sequence[ArrayLike], *, max_size: float = 3) -> NDArray[np.float32]:
    """Estimate for each pixel the probability that it is wrong in all frames.

    Parameters
    ----------
    frames : sequence of array_like, shape (H, W) or (H, W, C)
        At least 3 pictures by one camera or scanner, of different scenes, neither cropped nor
        turned differently. uint8, uint16 or floats in [0, 1]; uint16 ranges to what the bits that
        are in use in any frame can hold.
    max_size : float
        Width in pixels of the largest defects to look for, 1 to 200. A map of large defects is
        coarse: it consists of squares of about a third of their width.

    Returns
    -------
    ndarray, float32, shape (H, W)
        A new array with values in [0, 1].

    Raises
    ------
    TypeError
        If a frame has a wrong type.
    ValueError
        If there are fewer than 3 frames, their shapes differ, a value is out of range, or the
        frames show one scene, whose detail stays in place as defects do.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scenes = [rng.uniform(0.3, 0.5, (32, 32)) for _ in range(10)]
    >>> for scene in scenes:
    ...     scene[5, 7] = 0.9
    >>> np.argwhere(shared_defects(scenes) > 0.5).tolist()
    [[5, 7]]
    """
    max_size = check_real("max_size", max_size, least=1, most=200)
    arrays = _checked(frames)
    _refuse_one_scene(arrays)
    # A blob of this width is 3 pixels wide or less after the last halving.
    levels = 1 + max(0, math.ceil(math.log2(max_size / 3)))
    height, width = arrays[0].shape[:2]
    result = np.zeros((height, width), np.float32)
    for level in range(levels):
        if level:
            arrays = [_halved(array) for array in arrays]
        found = _of_one_size(arrays)
        spread = found.repeat(2**level, axis=0).repeat(2**level, axis=1)
        np.maximum(result, spread[:height, :width], out=result)
    return result


def _checked(frames: Sequence[ArrayLike]) -> list[NDArray[Any]]:
    if len(frames) < FEWEST:
        raise ValueError(
            f"there {'is 1 frame' if len(frames) == 1 else f'are {len(frames)} frames'}; "
            f"at least {FEWEST} are needed"
        )
    arrays: list[NDArray[Any]] = []
    for number, frame in enumerate(frames, start=1):
        try:
            if np.ma.is_masked(frame):
                raise ValueError("it has masked values; whole pictures are needed")
            array = check_image(frame).original
        except (TypeError, ValueError) as error:
            raise type(error)(f"frame {number}: {error}") from error
        if arrays and array.shape != arrays[0].shape:
            raise ValueError(
                f"frame {number} has shape {array.shape}, the first {arrays[0].shape}; "
                "all frames must be whole pictures by one camera"
            )
        arrays.append(array)
    return _with_full_range([array.reshape(*array.shape[:2], -1) for array in arrays])


def _with_full_range(arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Arrays of 16 bits of which some are in use in no array, with these moved to the end."""
    if any(array.dtype.newbyteorder("=") != np.uint16 for array in arrays):
        return arrays
    white = max(white_of(array.astype(np.uint16, copy=False)) for array in arrays)
    if white == 65535:
        return arrays
    spare = 16 - white.bit_length()
    return [array.astype(np.uint16).clip(max=white) << spare for array in arrays]


def _refuse_one_scene(arrays: list[NDArray[Any]]) -> None:
    """Raise ValueError if detail agrees between frames."""
    for _ in range(_HALVINGS):
        if min(arrays[0].shape[:2]) >= 32:
            arrays = [_halved(array) for array in arrays]
    r, scale = _residuals(np.stack([_floats(array) for array in arrays]))
    standard = (r / scale).clip(-3, 3)
    squares = float((standard**2).sum())
    products = float((standard.sum(axis=0) ** 2).sum()) - squares  # of all pairs, twice
    if products > _ONE_SCENE * squares * (len(arrays) - 1):
        raise ValueError(
            "the frames show one scene, whose detail stays in place as defects do; "
            "give frames of different scenes"
        )


def _halved(array: NDArray[Any]) -> NDArray[np.float32]:
    """Means of 2x2 pixels; an odd row or column is repeated."""
    odd = [side % 2 for side in array.shape[:2]]
    even = np.pad(_floats(array), ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
    four = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return four / np.float32(4)


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32)
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)


def _of_one_size(arrays: list[NDArray[Any]]) -> NDArray[np.float32]:
    """The probability of defects that are small in these frames."""
    height, width = arrays[0].shape[:2]
    evidence = np.empty((height, width), np.float32)
    halo = _WINDOW // 2 + _AROUND // 2
    rows = max(1, _STRIP // (width * len(arrays)))
    for top in range(0, height, rows):
        first, last = max(0, top - halo), min(height, top + rows + halo)
        strip = np.stack([_floats(array[first:last]) for array in arrays])
        inside = slice(top - first, min(height, top + rows) - first)
        r, scale = (values[:, inside] for values in _residuals(strip))
        evidence[top : top + rows] = _evidence(r, scale)
    return _probability(evidence)


def _residuals(frames: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """r and β of frames (N, H, W, C), for every channel and, if there are several, their mean."""
    from scipy.ndimage import median_filter, uniform_filter

    if frames.shape[3] > 1:
        frames = np.concatenate([frames, frames.mean(axis=3, keepdims=True)], axis=3)
    r = frames - median_filter(frames, size=_WINDOW, axes=(1, 2), mode="mirror")
    size = uniform_filter(np.abs(r).clip(max=_LARGEST), _AROUND, axes=(1, 2), mode="mirror")
    return r, size.clip(min=_SMALLEST_SCALE)


def _evidence(r: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """Λ of the channel in which it is largest, shape (H, W)."""
    precision = 1 / scale
    shift = _weighted_median(r, precision)
    gain = ((np.abs(r) - np.abs(r - shift)) * precision).sum(axis=0)
    volume = math.log(math.sqrt(2 * math.pi) / 2) - 0.5 * np.log((precision**2).sum(axis=0))
    total = np.where(np.abs(shift) < _SMALLEST, -np.inf, gain + volume)
    return total.max(axis=2)


def _weighted_median(values: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """The median over the first axis."""
    order = np.argsort(values, axis=0)
    values = np.take_along_axis(values, order, axis=0)
    below = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    middle = (below >= below[-1] / 2).argmax(axis=0)
    return np.take_along_axis(values, middle[np.newaxis], axis=0)[0]


def _probability(evidence: NDArray[Any]) -> NDArray[np.float32]:
    """Expectation maximisation of π."""
    from scipy.special import expit

    fraction, found = _FIRST_FRACTION, evidence
    for _ in range(_SWEEPS):
        # A fraction of 0 or 1 would never change again.
        fraction = min(max(fraction, 1e-12), 1 - 1e-12)
        found = expit(evidence + math.log(fraction / (1 - fraction)))
        fraction = float(found.mean())
    return found.astype(np.float32)
