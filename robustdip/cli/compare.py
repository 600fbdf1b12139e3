"""The command `compare`: PSNR and SSIM of an image, as text or JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.terminal import exit_on_error
from robustdip.cli.options import Extension, Json, fits_extension, path_argument, picture_from

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture
    from robustdip.images.units import Units

__all__ = ["clean_floats", "compare", "quality_lines", "quality_of"]


def compare(
    clean: Annotated[Path, path_argument(metavar="CLEAN", help="The true image.")],
    image: Annotated[Path, path_argument(metavar="IMAGE", help="The image to judge.")],
    extension: Extension = None,
    as_json: Json = False,
) -> None:
    """Print PSNR and SSIM of IMAGE against CLEAN. Alpha is ignored."""
    with exit_on_error():
        from robustdip.images.numeric import FITS

        which = fits_extension(extension)
        paths = (clean, image)
        fits = [path for path in paths if path.suffix.lower() in FITS] or paths  # else refused
        truth, picture = (
            picture_from(path, extension=which if path in fits else None) for path in paths
        )
        _require_finite(picture)
        quality = quality_of(truth, picture)
        typer.echo(json.dumps(quality) if as_json else quality_lines(quality))


def clean_floats(clean: "Picture", image: "Picture") -> "np.ndarray":
    """A clean image as floats in the units of another.

    Raises
    ------
    ValueError
        If that has another shape, or a value of the clean image is not finite.
    """
    import numpy as np

    from robustdip.images.picture import to_float

    _require_comparable(clean, image)
    if not image.measured or image.numbers is None:
        alike = clean.pixels.dtype == image.pixels.dtype
        return to_float(clean.pixels, white=image.white if alike else clean.white)
    return _in_units(clean, image.numbers.units).astype(np.float32)


def _in_units(picture: "Picture", units: "Units") -> "np.ndarray":
    """The values of a picture as float64, 0 to 1 over the range of the units.

    In 32 bits the square of -3.4e38, which stands for missing data, would be infinite, as in 64
    bits that of 1e308: further away than 1e38 counts as 1e38. If the range is [0, 1] itself,
    samples of 8 and 16 bits count from black to white.
    """
    import numpy as np

    from robustdip.images.picture import to_float

    if not picture.measured and (units.low, units.high) == (0, 1):
        return to_float(picture.pixels, white=picture.white).astype(np.float64)
    return units.to_unit(picture.values(), np.float64).clip(-1e38, 1e38)


def _require_comparable(clean: "Picture", image: "Picture") -> None:
    if clean.pixels.shape != image.pixels.shape:
        raise ValueError(
            f"the clean image has shape {clean.pixels.shape}, the other {image.pixels.shape}; "
            "they must agree in size and in being grey or colour"
        )
    _require_finite(clean)


def _require_finite(picture: "Picture") -> None:
    """Refuse a picture as it was read that has holes: they have no distance to anything."""
    if picture.numbers is not None and picture.numbers.bad is not None:
        bad = int(picture.numbers.bad.sum())
        raise ValueError(
            f"{str(picture.path)!r} has {bad} value{' that is' if bad == 1 else 's that are'} "
            "not finite, so PSNR is not defined"
        )


def quality_of(clean: "Picture", image: "Picture") -> dict[str, float | None]:
    """Measure `psnr` and `ssim` of an image as a file holds it.

    Values in units of their own, and samples of 16 bits, count relative to the range of the clean
    image. PSNR is None for equal images, because JSON has no infinity; SSIM is None below 11
    pixels.
    """
    from robustdip.images.picture import to_float
    from robustdip.quality import psnr, ssim

    _require_comparable(clean, image)
    alike = clean.pixels.dtype == image.pixels.dtype
    truth = to_float(clean.pixels, white=clean.white)
    values = to_float(image.pixels, white=clean.white if alike else image.white)
    measured = next((p for p in (clean, image) if p.measured and p.numbers is not None), None)
    if measured is not None and measured.numbers is not None:
        units = measured.numbers.units
        truth, values = _in_units(clean, units), _in_units(image, units)
    value = psnr(truth, values)
    return {"psnr": value if math.isfinite(value) else None, "ssim": ssim(truth, values)}


def quality_lines(quality: Mapping[str, float | None]) -> str:
    """The result of `quality_of` as two lines of text."""
    psnr, ssim = quality["psnr"], quality["ssim"]
    return "PSNR {}\nSSIM {}".format(
        "infinite (equal pixels)" if psnr is None else f"{psnr:.2f} dB",
        "not defined below 11 pixels" if ssim is None else f"{ssim:.4f}",
    )
