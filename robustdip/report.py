"""The page that shows what `denoise` did to a picture: one file, opened in a browser."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overparam.pages.chart import line_chart
from overparam.pages.page import html_page
from overparam.pages.pictures import data_uri, shrunk
from overparam.words import percent
from robustdip.images.picture import Picture, eight_bit, from_float, with_alpha
from robustdip.methods import gives_mask_of_changes

if TYPE_CHECKING:
    from robustdip.recovery import Denoised

__all__ = ["report_page"]

_PAGE = Path(__file__).parent / "report_page"
# Noise takes 2 bytes a pixel at this quality: the page of a picture of any size stays below 10 MB.
_LARGEST_SIDE = 1200  # pixels
_DETAIL = 400  # pixels: as wide as a phone
_QUALITY = 90
_LOSSLESS_PIXELS = 256 * 256
_UNCERTAINTY_GAIN = 10  # as in --save-uncertainty


@dataclass(frozen=True)
class _Comparison:
    """Two pictures under one slider."""

    title: str
    note: str
    before: str
    after: str
    width: int
    height: int


@dataclass(frozen=True)
class _Map:
    title: str
    note: str
    picture: str
    width: int
    height: int


def report_page(picture: Picture, result: "Denoised", *, name: str, method: str) -> bytes:
    """Make a page of input and result under a slider, the damage, the uncertainty and the curves.

    Parameters
    ----------
    picture : Picture
        The input.
    result : Denoised
        What `robustdip.denoise` made of its pixels.
    name : str
        Of the picture.
    method : str
        The name of the method.

    Returns
    -------
    bytes
        HTML in UTF-8. Pictures are shown with at most 1200 pixels a side, and then a detail is
        shown in full too: the square in which most was found corrupted.
    """
    steps = [record["step"] for record in result.history]
    charts = [
        line_chart(
            title, steps, [record[key] for record in result.history], x_label="step", log=log
        )
        for key, title, log in (("loss", "Loss", True), ("psnr", "PSNR in dB", False))
        if result.history and all(key in record for record in result.history)
    ]
    return html_page(
        _PAGE,
        {
            "name": name,
            "facts": _facts(picture, result, method),
            "interrupted": result.status == "interrupted",
            "comparisons": _comparisons(picture, result, method),
            "maps": _maps(result, method),
            "charts": [chart for chart in charts if chart is not None],
            "settings": {} if result.recipe is None else _flat(asdict(result.recipe)),
        },
    )


def _facts(picture: Picture, result: "Denoised", method: str) -> dict[str, str]:
    height, width = picture.pixels.shape[:2]
    colours = "grey" if picture.pixels.ndim == 2 else "colour"
    facts = {
        "Size": f"{width} x {height}, {colours}, {_bits(picture, result)} bits",
        _found(method): f"{percent(float(result.mask.mean()))} % of the values",
        "Method": method,
        "Time": f"{result.seconds:.1f} s on {result.device}",
    }
    if result.tiles > 1:
        facts["Tiles"] = f"{result.fitted} fitted of {result.tiles}"
    elif result.recipe is not None:
        facts["Steps"] = f"{result.steps} of {result.recipe.steps}"
    if result.recipe is not None:
        facts["Seed"] = str(result.seed)
    if result.history and "psnr" in result.history[-1]:
        facts["PSNR"] = f"{result.history[-1]['psnr']:.2f} dB"
    return facts


def _found(method: str) -> str:
    """What the mask says."""
    return "Changed much" if gives_mask_of_changes(method) else "Found corrupted"


def _bits(picture: Picture, result: "Denoised") -> int:
    """Bits of a sample: those in use, or 32 of a float."""
    return result.white.bit_length() if result.white > 1 else 8 * picture.pixels.itemsize


def _comparisons(picture: Picture, result: "Denoised", method: str) -> list[_Comparison]:
    white = result.white
    before, after = (
        with_alpha(eight_bit(pixels, white=white), picture.alpha)
        for pixels in (picture.pixels, result.image)
    )
    height, width = before.shape[:2]
    whole = _comparison(before, after, picture.icc_profile, title="The whole picture")
    if (whole.height, whole.width) == (height, width):
        return [whole]
    note = f"Shown with {whole.width}x{whole.height} of its {width}x{height} pixels."
    top, left = _most_corrupted(result.mask)
    part = np.s_[top : top + _DETAIL, left : left + _DETAIL]
    detail = _comparison(
        before[part],
        after[part],
        picture.icc_profile,
        title="A detail in full",
        note=f"From column {left} and row {top} on, where most was {_found(method).lower()}.",
    )
    return [replace(whole, note=note), detail]


def _comparison(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    profile: bytes | None,
    *,
    title: str,
    note: str = "",
) -> _Comparison:
    images = [shrunk(pixels, _LARGEST_SIDE) for pixels in (before, after)]
    width, height = images[0].size
    quality = None if width * height <= _LOSSLESS_PIXELS else _QUALITY
    first, second = (data_uri(image, quality=quality, profile=profile) for image in images)
    return _Comparison(title, note, first, second, width, height)


def _maps(result: "Denoised", method: str) -> list[_Map]:
    told = ("Where damage was found", "White: found corrupted.")
    if gives_mask_of_changes(method):
        told = ("What was changed much", "White: changed by more than a tenth of the range.")
    maps = [
        (*told, _brightest(result.mask)),
        (
            "What was removed",
            "The difference of input and result; the brighter, the larger.",
            from_float(_brightest(np.abs(result.corruption)), np.uint8),
        ),
    ]
    if result.uncertainty is not None:
        maps.append(
            (
                "Uncertainty",
                "Standard deviation of the result; white from a tenth of the range on.",
                from_float(_brightest(_UNCERTAINTY_GAIN * result.uncertainty), np.uint8),
            )
        )
    made: list[_Map] = []
    for title, note, values in maps:
        pixels = values.astype(np.uint8) * 255 if values.dtype == bool else values
        image = shrunk(pixels, _LARGEST_SIDE // 2)
        made.append(_Map(title, note, data_uri(image, quality=_QUALITY), *image.size))
    return made


def _brightest(values: NDArray[Any]) -> NDArray[Any]:
    """One value a pixel: the largest of its channels."""
    return values.max(axis=2) if values.ndim == 3 else values


def _most_corrupted(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Top and left of the square of the detail in which most was found; whole squares only."""
    found = mask.mean(axis=2) if mask.ndim == 3 else mask
    tops = range(0, max(1, found.shape[0] - _DETAIL + 1), _DETAIL // 4)
    lefts = range(0, max(1, found.shape[1] - _DETAIL + 1), _DETAIL // 4)
    share = {
        (top, left): float(found[top : top + _DETAIL, left : left + _DETAIL].mean())
        for top in tops
        for left in lefts
    }
    return max(share, key=lambda place: share[place])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings inside settings by names with a dot."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
