"""The page of many pictures: what became of each of them, to look through in a browser."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError
from overparam.pages.page import html_page
from overparam.pages.pictures import data_uri, shrunk
from overparam.words import counted, percent
from robustdip.images.picture import Picture, eight_bit, with_alpha
from robustdip.images.reading import read_pages
from robustdip.images.units import Units

__all__ = ["Outcome", "overview_page"]

_PAGE = Path(__file__).parent / "overview_page"
_STATUS = {"done": "Done", "unchanged": "Unchanged", "failed": "Failed", "left": "Not done"}
# Characters of all small pictures: with what is said of each, the page of 1,000 is below 10 MB.
_ALL_PICTURES = 8_000_000
# Characters of one: at least, so that something is seen of more than 1,300 pictures, and at most.
_PICTURE = (3_000, 24_000)
_LARGEST_SIDE = 256  # pixels
# Characters a pixel that are aimed at, by the side. Photographs need half of that at quality 80.
_AIM = 0.5
_QUALITIES = (80, 55, 30, 10)
_AT_ONCE = 4  # files that are read: each may take 300 MB
_LONGEST_REASON = 500  # characters


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes
    ----------
    source : Path
    status : {"done", "unchanged", "failed", "left"}
        "unchanged" is done too, and the result is the input; "left" was not begun.
    result : Path or None
        The restored picture, where there is one.
    reason : str
        Why it failed.
    share : float or None
        Of the values that were found corrupted, or changed much by a classical method, 0 to 1.
    seconds : float or None
    page : Path or None
        The report of this picture, where there is one.
    units : tuple of float or None
        The lowest and the highest value, of a picture with units of its own.
    extension : int, str or None
        Of a FITS file, the source; see `robustdip.images.reading.read_pages`.
    """

    source: Path
    status: str
    result: Path | None = None
    reason: str = ""
    share: float | None = None
    seconds: float | None = None
    page: Path | None = None
    units: tuple[float, float] | None = None
    extension: int | str | None = None


@dataclass(frozen=True)
class _Thumbnail:
    address: str
    width: int
    height: int
    link: str


def overview_page(
    outcomes: Sequence[Outcome],
    *,
    folder: Path,
    facts: Mapping[str, str] | None = None,
    share_of: str = "found corrupted",
) -> bytes:
    """Make a page of all pictures, small, before and after, with what is known of each.

    The small pictures are made from the files, with an effort that follows the size of these. A
    file that cannot be read has none.

    Parameters
    ----------
    outcomes : sequence of Outcome
    folder : Path
        Where the page will be: links are relative to it.
    facts : mapping of str to str, optional
        What else is said of all pictures, by its name.
    share_of : str
        What has happened to the share of the values that is told of each picture.

    Returns
    -------
    bytes
        HTML in UTF-8, below 10 MB for 1,000 pictures; for more, 7 kB each.
    """
    low, high = _PICTURE
    budget = min(high, max(low, _ALL_PICTURES // (2 * max(1, len(outcomes)))))
    names = _names([outcome.source for outcome in outcomes])

    def card(outcome: Outcome) -> dict[str, object]:
        """What the template knows of one picture."""
        # A result holds what was restored alone, under another number.
        files = ((outcome.source, outcome.extension), (outcome.result, None))
        pictures = [
            None
            if path is None
            else _thumbnail(path, extension, outcome.units, folder=folder, budget=budget)
            for path, extension in files
        ]
        return {
            "status": outcome.status,
            "status_text": _STATUS[outcome.status],
            "reason": _cut(outcome.reason),
            "share": outcome.share,
            "percent": None if outcome.share is None else percent(outcome.share),
            "seconds": outcome.seconds,
            "before": pictures[0],
            "after": pictures[1],
            "page": None if outcome.page is None else _link(outcome.page, folder),
        }

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # decoders run beside each other
        cards = list(pool.map(card, outcomes))
    counts = Counter(outcome.status for outcome in outcomes)
    seconds = sum(outcome.seconds or 0 for outcome in outcomes)
    return html_page(
        _PAGE,
        {
            "title": f"{counted(len(outcomes), 'picture')}, denoised",
            "facts": {
                **{text: f"{counts[key]:,}" for key, text in _STATUS.items() if counts[key]},
                "Computing time": _duration(seconds),
                **(facts or {}),
            },
            "share_of": share_of,
            "statuses": {key: text for key, text in _STATUS.items() if counts[key]},
            "cards": [{"name": name, **made} for name, made in zip(names, cards, strict=True)],
        },
    )


def _thumbnail(
    path: Path,
    extension: int | str | None,
    units: tuple[float, float] | None,
    *,
    folder: Path,
    budget: int,
) -> _Thumbnail | None:
    try:
        picture = read_pages(path, extension=extension)[0]
    except FileError:
        return None
    image = shrunk(_shown(picture, units), _side(budget))
    address = data_uri(image) if image.width * image.height <= 64 * 64 else None
    qualities = iter(_QUALITIES)
    while address is None or len(address) > budget:
        quality = next(qualities, None)
        if quality is None:  # noise at the lowest quality: fewer pixels
            image.thumbnail((max(1, image.width // 2), max(1, image.height // 2)))
            quality = _QUALITIES[-1]
        address = data_uri(image, quality=quality)
    return _Thumbnail(address, *image.size, _link(path, folder))


def _side(budget: int) -> int:
    return min(_LARGEST_SIDE, math.isqrt(int(budget / _AIM)))


def _shown(picture: Picture, units: tuple[float, float] | None) -> NDArray[np.uint8]:
    """8 bits, with the alpha; in given units, so that before and after are alike."""
    if picture.measured and picture.numbers is not None and units is not None:
        numbers = replace(picture.numbers, units=Units(*units))
        picture = replace(picture, pixels=numbers.pixels())
    white = picture.white if units is None else round(units[1])
    return with_alpha(eight_bit(picture.pixels, white=white), picture.alpha)


def _names(sources: Sequence[Path]) -> list[str]:
    """The paths below the folder that all pictures are in."""
    places = [os.path.abspath(source) for source in sources]
    base = ""
    with suppress(ValueError):  # no pictures, or some on another drive
        base = os.path.commonpath([os.path.dirname(place) for place in places])
    return [os.path.relpath(place, base) if base else place for place in places]


def _link(path: Path, folder: Path) -> str:
    """A file as seen from the page: relative, so that both can be moved together."""
    relative = os.path.relpath(path, folder)
    # "./" first: a name like "javascript:x.png" is no address of its own.
    return "./" + quote(os.fsencode(Path(relative).as_posix()))


def _cut(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
