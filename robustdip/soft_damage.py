"""Damage as scans and photographs show it: soft edges, partial opacity, curves.

Every function has the form of those in `robustdip.synthetic`. Each paints shapes of a colour c with
an opacity a over the image x, which becomes (1 − a) x + a c; a falls to 0 over about one pixel at
the edges. The mask is True wherever a is above 0. Whole shapes are drawn until they cover the
fraction `amount` of the pixels, so the last one may go beyond it.
"""

import string
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from overparam.checks import check_real
from robustdip.inputs import check_floats

__all__ = ["dust", "hair", "soft_scratches", "soft_text", "streaks", "watermark"]

Corrupted = tuple[NDArray[Any], NDArray[np.bool_]]
# Opacity (h, w) and colour, (C,) or () for a grey image.
_Shape = tuple[NDArray[Any], NDArray[Any]]

# Fainter paint is left out: it changes a value by at most four of 255 levels.
_FAINTEST = 1 / 64


def soft_text(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Print random words over the image, each in one colour, with anti-aliased edges.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. The height of letters is 1/20 to 1/6 of the
        image's shorter side.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    side = min(image.shape[:2])

    def word(missing: int) -> _Shape:
        letters = _letters(rng, side * rng.uniform(1 / 20, 1 / 6), missing)
        return letters, rng.random(image.shape[2:])

    return _painted(image, amount, word, rng=rng)


def watermark(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Print one half-transparent word again and again, at one slant, in one light or dark grey.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. The height of letters is 1/12 to 1/6 of the
        image's shorter side. The opacity, one for all words, is 0.35 to 0.65; words that overlap
        are no more opaque.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    letters = _letters(rng, min(image.shape[:2]) * rng.uniform(1 / 12, 1 / 6), image.size)
    slant = Image.fromarray(np.pad(letters, 1)).rotate(
        rng.uniform(-45, 45), Image.Resampling.BICUBIC, expand=True
    )
    stamp = np.asarray(slant).clip(0, 1) * rng.uniform(0.35, 0.65)
    colour = np.full(image.shape[2:], rng.choice([0.05, 0.95]))
    size = image.shape[:2]
    opacity = np.zeros(size)
    for place, part, _ in _placed(size, amount, lambda _: (stamp, colour), rng=rng):
        opacity[place] = np.maximum(opacity[place], part)
    return _over(image, opacity, colour), _mask(image, opacity > 0)


def soft_scratches(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Draw thin, slightly curved, light or dark lines whose opacity changes along the line.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. The length of lines is 1/5 to 4/5 of the longer
        side, their width 0.7 to 2 pixels, or 1/550 to 1/200 of the shorter side if that is more,
        and their opacity at most 0.4 to 1.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    short, long = sorted(image.shape[:2])

    def scratch(missing: int) -> _Shape:
        width = rng.uniform(0.7, 2) * max(1, short / 400)
        along = _steps(min(long * rng.uniform(0.2, 0.8), missing / (width + 1)))
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.5, 0.5) * along
        pressure = 1 - rng.uniform(0, 0.6) * np.sin(rng.uniform(3, 12) * along + rng.uniform()) ** 2
        return _line(angle, width, rng.uniform(0.4, 1) * pressure), _tone(image, rng)

    return _painted(image, amount, scratch, rng=rng)


def hair(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Draw strongly curled thin lines, light or dark, like hairs and fibres on a scanner's glass.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. The length of a hair is 1/10 to 1/2 of the
        longer side, its width 1 to 2.5 pixels, or 1/400 to 1/160 of the shorter side if that is
        more, and its opacity 0.6 to 1.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    short, long = sorted(image.shape[:2])

    def curl(missing: int) -> _Shape:
        width = rng.uniform(1, 2.5) * max(1, short / 400)
        along = _steps(min(long * rng.uniform(0.1, 0.5), missing / (width + 1)))
        angle = rng.uniform(0, 2 * np.pi) + rng.uniform(-3, 3) * along
        for waves in (1, 2, 3):
            phase = rng.uniform(0, 2 * np.pi)
            angle = angle + rng.uniform(0, 1.5 / waves) * np.sin(2 * np.pi * waves * along + phase)
        return _line(angle, width, np.full(along.size, rng.uniform(0.6, 1))), _tone(image, rng)

    return _painted(image, amount, curl, rng=rng)


def dust(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Draw irregular light or dark blobs with a soft edge, most of them small.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. The diameter is 3 to 60 pixels, at most a third
        of the shorter side, and uniform in its logarithm; the opacity inside is 0.8 to 1.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    largest = min(60.0, min(image.shape[:2]) / 3)

    def blob(missing: int) -> _Shape:
        most = max(3.0, min(largest, 1.2 * np.sqrt(missing)))
        diameter = np.exp(rng.uniform(np.log(3), np.log(most)))
        reach = int(diameter) + 2
        down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        around = np.arctan2(down, across)
        radius = np.full(around.shape, diameter / 2)
        for lobes in (2, 3, 4, 5):
            phase = rng.uniform(0, 2 * np.pi)
            swing = rng.uniform(0, 0.3 / lobes) * diameter
            radius += swing / 2 * np.cos(lobes * around + phase)
        edge = max(1.0, 0.15 * diameter)
        inside = ((radius - np.hypot(down, across)) / edge + 0.5).clip(0, 1)
        return inside * rng.uniform(0.8, 1), _tone(image, rng)

    return _painted(image, amount, blob, rng=rng)


def streaks(image: NDArray[Any], amount: float, *, rng: np.random.Generator) -> Corrupted:
    """Draw faint straight lines along all columns or all rows, like those of a sheet-fed scanner.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    amount : float
        Fraction of the pixels to cover, in [0, 1]. Two thirds of the lines go from end to end, the
        others begin or end somewhere. Their width is 0.7 to 3 pixels, or 1/550 to 1/130 of the
        shorter side if that is more, and their opacity 0.1 to 0.4.
    rng : numpy.random.Generator

    Returns
    -------
    corrupted, mask : ndarray, ndarray of bool
        Both of the image's shape; the channels of a pixel are always changed together.

    Raises
    ------
    TypeError
        If the image is not floating point or `amount` is not a number.
    ValueError
        If the image has a wrong shape or range, or `amount` is outside [0, 1].
    """
    _check(image, amount)
    down = bool(rng.integers(2))
    length = image.shape[0 if down else 1]

    def streak(_: int) -> _Shape:
        width = rng.uniform(0.7, 3) * max(1, min(image.shape[:2]) / 400)
        reach = int(np.ceil(width / 2 + 0.5))
        distance = np.abs(np.arange(-reach, reach + 1) + rng.uniform(-0.5, 0.5))
        across = (width / 2 + 0.5 - distance).clip(0, 1) * rng.uniform(0.1, 0.4)
        # One of its pixels falls on a random place, so a third of the streaks ends in the image.
        opacity = np.tile(across, (3 * length, 1))
        return (opacity if down else opacity.T), _tone(image, rng)

    return _painted(image, amount, streak, rng=rng)


# --- shapes --------------------------------------------------------------------------------


def _letters(rng: np.random.Generator, height: float, missing: int) -> NDArray[Any]:
    """The opacity of a word of 3 to 9 letters, of fewer if less than its area is wanted."""
    font = ImageFont.load_default(size=max(6.0, height))  # below 6 pixels it is not legible
    most = max(1, int(4 * missing / max(6.0, height) ** 2))  # a letter inks a quarter of its square
    word = "".join(rng.choice(list(string.ascii_letters), min(rng.integers(3, 10), most)))
    left, top, right, bottom = (int(edge) for edge in font.getbbox(word))
    canvas = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(canvas).text((-left, -top), word, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255


def _steps(length: float) -> NDArray[Any]:
    """Places from 0 to 1 along a line of this length, a quarter of a pixel apart."""
    return np.linspace(0, 1, max(2, round(4 * length)))


def _line(angle: NDArray[Any], width: float, opacity: NDArray[Any]) -> NDArray[Any]:
    """The opacity of a line whose points are a quarter of a pixel apart, in these directions.

    A pixel's coverage falls linearly from 1 to 0 over the pixel that the line's edge crosses.
    """
    points = np.cumsum(np.stack([np.sin(angle), np.cos(angle)], axis=1) / 4, axis=0)
    reach = int(np.ceil(width / 2 + 1))
    points += reach - np.floor(points.min(axis=0))
    around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    pixels = np.rint(points).astype(np.intp)[:, np.newaxis] + around
    distance = np.linalg.norm(pixels - points[:, np.newaxis], axis=2)
    coverage = (width / 2 + 0.5 - distance).clip(0, 1) * opacity[:, np.newaxis]
    canvas = np.zeros(pixels.reshape(-1, 2).max(axis=0) + 1)
    np.maximum.at(canvas, tuple(pixels.reshape(-1, 2).T), coverage.ravel())
    return canvas


def _tone(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """A light or dark colour that is nearly grey."""
    light, shade = rng.integers(2), rng.uniform(0, 0.15)
    shades = (shade + rng.uniform(0, 0.08, image.shape[2:])).clip(0, 1)
    return np.asarray(1 - shades if light else shades)


# --- painting ------------------------------------------------------------------------------


def _check(image: NDArray[Any], amount: float) -> None:
    check_floats(image, "image")
    check_real("amount", amount, least=0, most=1)


def _painted(
    image: NDArray[Any],
    amount: float,
    shape: Callable[[int], _Shape],
    *,
    rng: np.random.Generator,
) -> Corrupted:
    """Paint one shape over the other; `shape` is told how many pixels are still to be covered."""
    corrupted, covered = image.copy(), np.zeros(image.shape[:2], bool)
    for place, opacity, colour in _placed(covered.shape, amount, shape, rng=rng):
        corrupted[place] = _over(corrupted[place], opacity, colour)
        covered[place] |= opacity > 0
    return corrupted, _mask(image, covered)


def _placed(
    size: tuple[int, ...],
    amount: float,
    shape: Callable[[int], _Shape],
    *,
    rng: np.random.Generator,
) -> Iterator[tuple[tuple[slice, slice], NDArray[Any], NDArray[Any]]]:
    """Yield places of the image, and the opacity and colour there, until `amount` is covered.

    Each shape is moved so that one of its pixels falls on one that is still clean. So every shape
    covers something new, and one pass over the pixels in random order is enough for any amount.
    """
    height, width = size
    covered = np.zeros((height, width), bool)
    wanted = round(amount * covered.size)
    missing = wanted
    for anchor in rng.permutation(covered.size):
        if missing <= 0:
            break
        if covered.flat[anchor]:
            continue
        opacity, colour = shape(missing)
        opacity = np.where(opacity < _FAINTEST, 0, opacity)
        inked = np.argwhere(opacity)
        if not len(inked):
            continue
        row, column = np.array(divmod(anchor, width)) - inked[rng.integers(len(inked))]
        top, left = max(0, -row), max(0, -column)
        part = opacity[top : height - row, left : width - column]
        row, column = row + top, column + left
        place = slice(row, row + part.shape[0]), slice(column, column + part.shape[1])
        missing -= int(((part > 0) & ~covered[place]).sum())
        covered[place] |= part > 0
        yield place, part, colour


def _over(image: NDArray[Any], opacity: NDArray[Any], colour: NDArray[Any]) -> NDArray[Any]:
    """The colour over the image, in the image's dtype; unchanged where the opacity is 0."""
    a = opacity.reshape(*opacity.shape, *(1 for _ in image.shape[2:]))
    painted = ((1 - a) * image + a * colour).clip(0, 1).astype(image.dtype)
    return np.where(a > 0, painted, image)


def _mask(image: NDArray[Any], covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    spread = covered.reshape(*covered.shape, *(1 for _ in image.shape[2:]))
    return np.broadcast_to(spread, image.shape).copy()
