"""Known sparse corruption of clean images, for tests and benchmarks.

`damage` composes what happens to an image and what happens to it afterwards, with the truth about
the result. Every function that corrupts takes a floating-point image with values in [0, 1], of
shape (H, W) or (H, W, C), and returns ``(corrupted, mask)``: a new array of the image's dtype, and
a bool array of its shape that is True wherever a value was replaced, even if the new value happens
to equal the old one. The image is not modified.
"""

import difflib
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from overparam.checks import check_real
from robustdip.inputs import check_floats
from robustdip.kinds import KINDS
from robustdip.processing import Step, apply, bayer_colours, parse_step, usage

__all__ = [
    "GROWN",
    "Damaged",
    "blocks",
    "corrupt",
    "damage",
    "hot_pixels",
    "missing_lines",
    "random_valued",
    "salt_and_pepper",
    "scratches",
    "text",
]

Corrupted = tuple[NDArray[Any], NDArray[np.bool_]]

GROWN = 8 / 255
"""Default threshold of `Damaged.mask` after processing, which spreads small errors widely."""


def salt_and_pepper(
    image: NDArray[Any], amount: float, *, rng: np.random.Generator, per_pixel: bool = False
) -> Corrupted:
    """Replace elements, each with probability `amount`, by exactly 0 or 1 with equal probability.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Probability in [0, 1] that an element is replaced.
    rng : numpy.random.Generator
    per_pixel : bool
        Draw once for each pixel, so that its channels are replaced together and by one value.
        Otherwise each channel is drawn independently, and a fraction 1 - (1 - amount)**3 of RGB
        pixels has a bad channel.

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    mask, drawn = _drawn_mask(image, amount, rng=rng, per_pixel=per_pixel)
    values = rng.integers(0, 2, drawn).astype(image.dtype)
    return np.where(mask, values, image), mask


def random_valued(
    image: NDArray[Any], amount: float, *, rng: np.random.Generator, per_pixel: bool = False
) -> Corrupted:
    """Replace elements, each with probability `amount`, by a value uniform in [0, 1).

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Probability in [0, 1] that an element is replaced.
    rng : numpy.random.Generator
    per_pixel : bool
        Draw the positions once for each pixel; the values of its channels remain independent.

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    mask, _ = _drawn_mask(image, amount, rng=rng, per_pixel=per_pixel)
    values = rng.random(image.shape).astype(image.dtype)
    return np.where(mask, values, image), mask


def text(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Print random words over the image, each in one random colour.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]; exact to the pixel, because the last word is
        cut short. The height of letters is 1/20 to 1/6 of the image's shorter side.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always replaced together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    side = min(image.shape[:2])
    letters = list(string.ascii_letters)

    def word() -> tuple[NDArray[np.intp], NDArray[Any]]:
        # Below 6 pixels letters are not legible.
        font = ImageFont.load_default(size=max(6.0, side * rng.uniform(1 / 20, 1 / 6)))
        written = "".join(rng.choice(letters, rng.integers(3, 10)))
        left, top, right, bottom = (int(edge) for edge in font.getbbox(written))
        canvas = Image.new("1", (right - left, bottom - top))
        ImageDraw.Draw(canvas).text((-left, -top), written, fill=1, font=font)
        across, down = np.nonzero(np.asarray(canvas).T)  # left to right, as it is written
        colour = rng.random(image.shape[2:])
        return np.stack([down, across]), np.broadcast_to(colour, (down.size, *colour.shape))

    return _paint(image, amount, word, rng=rng)


def scratches(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Draw thin, slightly curved lines whose grey or colour changes along the line.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]; exact to the pixel, because the last line is
        cut short. The length of lines is 1/5 to 4/5 of the longer side; their width is 1/200 of the
        shorter side, and at least 1 pixel.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always replaced together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    width = max(1, round(min(image.shape[:2]) / 200))
    brush = np.indices((width, width)).reshape(2, 1, -1)

    def scratch() -> tuple[NDArray[np.intp], NDArray[Any]]:
        length = max(image.shape[:2]) * rng.uniform(0.2, 0.8)
        along = np.linspace(0, 1, 2 * int(length) + 2)  # steps of half a pixel leave no gap
        turn = rng.uniform(-0.5, 0.5)  # radians from one end to the other
        angle = rng.uniform(0, 2 * np.pi) + turn * along
        steps = np.stack([np.sin(angle), np.cos(angle)]) * length / along.size
        centre = np.rint(np.cumsum(steps, axis=1)).astype(np.intp)
        places = (centre[:, :, np.newaxis] + brush).reshape(2, -1)
        start, end = rng.random((2, *image.shape[2:]))
        fade = along.repeat(width * width).reshape(-1, *(1 for _ in image.shape[2:]))
        return places, start + (end - start) * fade

    return _paint(image, amount, scratch, rng=rng)


def missing_lines(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Replace whole rows, or whole columns, like a sensor or scanner with a broken read-out.

    All pixels and channels of a missing line are 0 (dead) or 1 (saturated), with equal probability.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the lines to replace, in [0, 1], rounded to whole lines.
    rng : numpy.random.Generator
        It also chooses between rows and columns.

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    corrupted, mask = image.copy(), np.zeros(image.shape, bool)
    axis = int(rng.integers(2))
    count = image.shape[axis]
    lost = rng.choice(count, round(amount * count), replace=False)
    np.moveaxis(mask, axis, -1)[..., lost] = True
    np.moveaxis(corrupted, axis, -1)[..., lost] = rng.integers(0, 2, lost.size)
    return corrupted, mask


def blocks(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Lose square blocks, as a broken transmission of compressed video or pictures does.

    Blocks are lost in runs of up to 8 side by side, until the next marker. A run has one grey.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the blocks to lose, in [0, 1], rounded to whole blocks. Blocks have 16x16
        pixels, or 8x8 if the shorter side is below 128 pixels; those at the right and lower border
        may be cut.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always replaced together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    side = 16 if min(image.shape[:2]) >= 128 else 8
    rows, columns = (-(-length // side) for length in image.shape[:2])
    lost, grey = np.zeros((rows, columns), bool), np.zeros((rows, columns))
    missing = round(amount * lost.size)
    for first in rng.permutation(lost.size):
        row, column = divmod(int(first), columns)
        if missing and not lost[row, column]:
            run = slice(column, column + int(min(rng.integers(1, 9), missing)))
            missing -= int((~lost[row, run]).sum())
            lost[row, run], grey[row, run] = True, rng.random()
    height, width = image.shape[:2]

    def of_pixels(values: NDArray[Any]) -> NDArray[Any]:
        spread = values.repeat(side, axis=0)[:height].repeat(side, axis=1)[:, :width]
        return spread.reshape(height, width, *(1 for _ in image.shape[2:]))

    mask = np.broadcast_to(of_pixels(lost), image.shape).copy()
    return np.where(mask, of_pixels(grey).astype(image.dtype), image), mask


def hot_pixels(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Brighten single pixels of the sensor, which sees one colour in each pixel.

    The step `robustdip.processing.Demosaic` spreads them as a camera does. One seed makes the same
    pixels hot, by the same charge, in all images of one shape.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Probability in [0, 1] that a pixel of the sensor is hot. Its charge is uniform in 0.25 to 1,
        and is added to the value, up to 1.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape. With 3 or more channels, one of the first three is changed: that
        of the RGGB filter at this place; with fewer, all channels are.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    hot = rng.random(image.shape[:2]) < amount
    charge = rng.uniform(0.25, 1, hot.shape)
    spread = (*hot.shape, *(1 for _ in image.shape[2:]))
    mask, charge = np.broadcast_to(hot.reshape(spread), image.shape), charge.reshape(spread)
    if image.shape[2:] and image.shape[2] >= 3:
        seen = bayer_colours(hot.shape)[..., np.newaxis] == np.arange(image.shape[2])
        mask = mask & seen
    brighter = (image + charge).clip(0, 1).astype(image.dtype)
    return np.where(mask, brighter, image), mask.copy()


def corrupt(
    image: NDArray[Any],
    kind: str,
    amount: float,
    *,
    rng: np.random.Generator,
    per_pixel: bool = False,
) -> Corrupted:
    """Corrupt an image by a kind of corruption that is chosen by name.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    kind : str
        One of `robustdip.kinds.KINDS`.
    amount : float
        In [0, 1]. For kinds that corrupt single elements, the probability of each element; for the
        others, the fraction of the area.
    rng : numpy.random.Generator
    per_pixel : bool
        Corrupt all channels of a pixel together. It has no effect on kinds that do so anyway.

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape.

    Raises
    ------
    TypeError
        If the image is no array of floats, `amount` is not a number, or `rng` is no generator.
    ValueError
        If `kind` is unknown, the image has a wrong shape or range, or `amount` is outside [0, 1].

    Examples
    --------
    >>> grey = np.full((8, 8), 0.5)
    >>> corrupted, mask = corrupt(grey, "salt-and-pepper", 0.3, rng=np.random.default_rng(0))
    >>> bool((corrupted[~mask] == 0.5).all()), sorted(set(corrupted[mask].tolist()))
    (True, [0.0, 1.0])
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is {rng!r}; numpy.random.default_rng(SEED) is needed")
    if kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"unknown kind of corruption {kind!r}: use one of {', '.join(KINDS)}{hint}"
        )
    chosen = KINDS[kind]
    if chosen.by_element:
        return chosen.load()(image, amount, rng=rng, per_pixel=per_pixel)
    return chosen.load()(image, amount, rng=rng)


@dataclass(frozen=True, eq=False)
class Damaged:
    """A damaged image, and what it would be without the damage.

    Attributes
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
        Damaged, then processed.
    clean : ndarray, of the shape and dtype of `image`
        Processed in the same way without the damage: the reference for a restored image.
    threshold : float
        |difference| above which an element counts in `mask`.
    """

    image: NDArray[Any]
    clean: NDArray[Any]
    threshold: float = 0.0

    @property
    def difference(self) -> NDArray[Any]:
        """image − clean: what damage has added to each element."""
        return self.image - self.clean

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Whether damage has changed an element by more than the threshold."""
        return np.abs(self.difference) > self.threshold


def damage(
    image: NDArray[Any],
    kind: str,
    *,
    amount: float,
    then: str | Sequence[Step | str] = (),
    seed: int | np.random.Generator = 0,
    per_pixel: bool = False,
    threshold: float | None = None,
) -> Damaged:
    """Damage an image, process the result as files are, and say what the damage has changed.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    kind : str
        One of `robustdip.kinds.KINDS`.
    amount : float
        In [0, 1]. See the function of the kind.
    then : str, or sequence of Step or str
        What happens afterwards, in this order: steps of `robustdip.processing`, or what
        `robustdip.processing.parse_step` understands, such as "jpeg:85".
    seed : int or numpy.random.Generator
        The only source of randomness.
    per_pixel : bool
        Corrupt all channels of a pixel together. It has no effect on kinds that do so anyway.
    threshold : float, optional
        In [0, 1): the |difference| above which `Damaged.mask` counts an element. By default 0
        without steps, and 8/255 (`GROWN`) after steps.

    Returns
    -------
    Damaged

    Raises
    ------
    TypeError
        If the image is not floating point, `amount` is not a number, or a step is none.
    ValueError
        If the kind or a step is unknown, the image has a wrong shape or range, a step does not take
        its shape, or a number is out of range.

    Examples
    --------
    >>> grey = np.full((64, 64), 0.5)
    >>> result = damage(grey, "scratches", amount=0.05, then=["resize:0.5", "jpeg:85"], seed=1)
    >>> result.image.shape, result.clean.shape, bool(result.mask.any())
    ((32, 32), (32, 32), True)
    """
    named = [then] if isinstance(then, str) else then
    steps = [parse_step(step) if isinstance(step, str) else step for step in named]
    for step in steps:
        if not callable(getattr(step, "apply", None)):
            raise TypeError(f"then has {step!r}, which is no step; there are {usage()}")
    if threshold is None:
        threshold = GROWN if steps else 0.0
    threshold = check_real("threshold", threshold, least=0, below=1)
    rng = np.random.default_rng(seed)
    corrupted, _ = corrupt(image, kind, amount, rng=rng, per_pixel=per_pixel)
    return Damaged(apply(corrupted, steps), apply(image, steps), threshold)


def _check(image: NDArray[Any], amount: float) -> None:
    check_floats(image, "image")
    check_real("amount", amount, least=0, most=1)


def _drawn_mask(
    image: NDArray[Any], amount: float, *, rng: np.random.Generator, per_pixel: bool
) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """A random mask of the image's shape, and the shape in which it was drawn."""
    _check(image, amount)
    drawn = (*image.shape[:2], *(1 for _ in image.shape[2:])) if per_pixel else image.shape
    return np.broadcast_to(rng.random(drawn) < amount, image.shape).copy(), drawn


def _paint(
    image: NDArray[Any],
    amount: float,
    shape: Callable[[], tuple[NDArray[np.intp], NDArray[Any]]],
    *,
    rng: np.random.Generator,
) -> Corrupted:
    """Paint random shapes until they cover exactly the fraction `amount` of the pixels.

    `shape` returns (2, n) places in drawing order and their n values. Each shape is moved so that
    one of its places falls on a pixel that is still clean. So every shape covers something new, and
    one pass over the pixels in random order reaches the exact area, even if that is all of it.
    """
    height, width = image.shape[:2]
    corrupted, covered = image.copy(), np.zeros((height, width), bool)
    missing = round(amount * covered.size)
    for anchor in rng.permutation(covered.size):
        if missing == 0:
            break
        if covered.flat[anchor]:
            continue
        places, values = shape()
        held = places[:, rng.integers(places.shape[1])]
        row, column = places + (np.array(divmod(anchor, width)) - held)[:, np.newaxis]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        row, column, values = row[inside], column[inside], values[inside]
        _, first = np.unique(row * width + column, return_index=True)
        first.sort()  # each pixel once, in drawing order
        row, column, values = row[first], column[first], values[first]
        fresh = np.cumsum(~covered[row, column])
        end = int(np.searchsorted(fresh, missing, side="right"))  # cut it when the area is reached
        row, column, values = row[:end], column[:end], values[:end]
        missing -= int(fresh[end - 1])
        corrupted[row, column] = values
        covered[row, column] = True
    spread = covered.reshape(height, width, *(1 for _ in image.shape[2:]))
    return corrupted, np.broadcast_to(spread, image.shape).copy()
