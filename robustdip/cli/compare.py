"""The command `compare`: PSNR and SSIM of an image, as text or JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.terminal import exit_on_error
from robustdip.cli.options import Json, path_argument, picture_from

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture

__all__ = ["clean_floats", "compare", "quality_lines", "quality_of"]


def compare(
    clean: Annotated[Path, path_argument(metavar="CLEAN", help="The true image.")],
    image: Annotated[Path, path_argument(metavar="IMAGE", help="The image to judge.")],
    as_json: Json = False,
) -> None:
    """Print PSNR and SSIM of IMAGE against CLEAN. Alpha is ignored."""
    with exit_on_error():
        truth, picture = picture_from(clean), picture_from(image)
        quality = quality_of(truth, picture)
        typer.echo(json.dumps(quality) if as_json else quality_lines(quality))


def clean_floats(clean: "Picture", image: "Picture") -> "np.ndarray":
    """A clean image as floats in the units of another; ValueError if that has another shape."""
    from robustdip.images.picture import to_float

    if clean.pixels.shape != image.pixels.shape:
        raise ValueError(
            f"the clean image has shape {clean.pixels.shape}, the other {image.pixels.shape}; "
            "they must agree in size and in being grey or colour"
        )
    if image.measured and image.numbers is not None:
        return image.numbers.units.to_unit(clean.values())
    return to_float(clean.pixels)


def quality_of(clean: "Picture", image: "Picture") -> dict[str, float | None]:
    """Measure `psnr` and `ssim` of an image as a file holds it.

    Values in units of their own count relative to the range of the clean image. PSNR is None for
    equal images, because JSON has no infinity; SSIM is None below 11 pixels.
    """
    from robustdip.images.picture import to_float
    from robustdip.quality import psnr, ssim

    truth, values = clean_floats(clean, image), to_float(image.pixels)
    measured = next((p for p in (clean, image) if p.measured and p.numbers is not None), None)
    if measured is not None and measured.numbers is not None:
        units = measured.numbers.units
        truth, values = units.to_unit(clean.values()), units.to_unit(image.values())
    value = psnr(truth, values)
    return {"psnr": value if math.isfinite(value) else None, "ssim": ssim(truth, values)}


def quality_lines(quality: Mapping[str, float | None]) -> str:
    """The result of `quality_of` as two lines of text."""
    psnr, ssim = quality["psnr"], quality["ssim"]
    return "PSNR {}\nSSIM {}".format(
        "infinite (equal pixels)" if psnr is None else f"{psnr:.2f} dB",
        "not defined below 11 pixels" if ssim is None else f"{ssim:.4f}",
    )
