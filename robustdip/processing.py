"""What happens to a picture after it was damaged: compressed, resized, blurred, demosaiced.

This module does not import numpy, so that the command line can list the steps quickly.

>>> parse_step("jpeg:85")
Jpeg(quality=85)
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from overparam.checks import check_count, check_real

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "STEPS",
    "Blur",
    "Demosaic",
    "Jpeg",
    "Jpeg444",
    "Resize",
    "Step",
    "apply",
    "bayer_colours",
    "parse_step",
    "usage",
]


class Step(Protocol):
    """One step of processing: a frozen dataclass with at most one setting."""

    def apply(self, image: "NDArray[Any]") -> "NDArray[Any]":
        """Process an image.

        Parameters
        ----------
        image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
            It is not modified.

        Returns
        -------
        ndarray, of the same dtype and number of channels, in [0, 1]
        """
        ...


@dataclass(frozen=True)
class Jpeg:
    """Compress as JPEG, with Pillow's tables and colour at half resolution, and decode it again.

    Attributes
    ----------
    quality : int
        1 to 100, as most programs count.
    """

    subsampling: ClassVar[str] = "4:2:0"

    quality: int

    def __post_init__(self) -> None:
        check_count("quality of jpeg", self.quality, least=1, most=100)

    def apply(self, image: "NDArray[Any]") -> "NDArray[Any]":
        """See `Step.apply`; the samples are rounded to 8 bits."""
        import numpy as np
        from PIL import Image

        from robustdip.images.picture import from_float, to_float

        samples = from_float(image, np.uint8)
        if samples.ndim == 3 and samples.shape[2] not in (1, 3):
            raise ValueError(f"jpeg takes 1 or 3 channels; the image has {samples.shape[2]}")
        if max(samples.shape[:2]) > 65500:  # libjpeg's limit
            raise ValueError(f"jpeg takes at most 65500 pixels a side, not {max(samples.shape)}")
        stream = io.BytesIO()
        picture = samples[..., 0] if samples.shape[2:] == (1,) else samples
        Image.fromarray(picture).save(
            stream, "JPEG", quality=self.quality, subsampling=self.subsampling
        )
        with Image.open(stream) as decoded:
            return to_float(np.asarray(decoded)).reshape(image.shape).astype(image.dtype)


@dataclass(frozen=True)
class Jpeg444(Jpeg):
    """As `Jpeg`, with colour at full resolution, as some cameras and most editors offer."""

    subsampling: ClassVar[str] = "4:4:4"


@dataclass(frozen=True)
class Resize:
    """Resize by bicubic interpolation, smoothed before it is made smaller (Pillow's `resize`).

    Attributes
    ----------
    factor : float
        Of each side, 0.01 to 16; the new side is rounded, and at least 1 pixel.
    """

    factor: float

    def __post_init__(self) -> None:
        check_real("factor of resize", self.factor, least=0.01, most=16)

    def apply(self, image: "NDArray[Any]") -> "NDArray[Any]":
        """See `Step.apply`; every channel is resized alone, and H and W change."""
        import numpy as np
        from PIL import Image

        height, width = (max(1, round(self.factor * side)) for side in image.shape[:2])
        planes = np.moveaxis(image.astype(np.float32).reshape(*image.shape[:2], -1), 2, 0)
        resized = [
            np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
            for plane in planes
        ]
        values = np.stack(resized, axis=2).clip(0, 1)
        return values.reshape(height, width, *image.shape[2:]).astype(image.dtype)


@dataclass(frozen=True)
class Blur:
    """Blur with a Gaussian kernel.

    Attributes
    ----------
    sigma : float
        Its standard deviation in pixels, above 0, at most 100.
    """

    sigma: float

    def __post_init__(self) -> None:
        check_real("sigma of blur", self.sigma, above=0, most=100)

    def apply(self, image: "NDArray[Any]") -> "NDArray[Any]":
        """See `Step.apply`; the image is mirrored at its borders."""
        from scipy.ndimage import gaussian_filter

        blurred = gaussian_filter(image, self.sigma, axes=(0, 1))
        return blurred.clip(0, 1).astype(image.dtype)


@dataclass(frozen=True)
class Demosaic:
    """Keep one colour of each pixel, as a sensor's RGGB filter does, and interpolate the others.

    The interpolation is linear, of 5x5 pixels with gradient correction: Malvar, He and Cutler,
    ICASSP 2004. What a sensor's pixel has wrong is spread to its neighbours in all colours.
    """

    def apply(self, image: "NDArray[Any]") -> "NDArray[Any]":
        """See `Step.apply`; the image must have 3 channels."""
        import numpy as np
        from scipy.ndimage import convolve

        if image.shape[2:] != (3,):
            raise ValueError(f"demosaic takes an RGB image; this one has shape {image.shape}")
        colour = bayer_colours(image.shape[:2])
        sensor = np.take_along_axis(image, colour[..., np.newaxis], axis=2)[..., 0]
        # Weights in eighths, as in the paper. The border is mirrored about its pixels, so that the
        # pattern of colours goes on.
        cross = np.zeros((5, 5))
        cross[2], cross[:, 2] = (-1, 2, 4, 2, -1), (-1, 2, 4, 2, -1)
        beside = np.zeros((5, 5))
        beside[1:4:2, 1:4:2], beside[2], beside[0::4, 2] = -1, (-1, 4, 5, 4, -1), 0.5
        diagonal = np.zeros((5, 5))
        diagonal[1:4:2, 1:4:2], diagonal[0::4, 2], diagonal[2, 0::4] = 2, -1.5, -1.5
        diagonal[2, 2] = 6
        green, across, down, other = (
            convolve(sensor, kernel / 8, mode="mirror")
            for kernel in (cross, beside, beside.T, diagonal)
        )
        even_row = np.arange(len(image))[:, np.newaxis] % 2 == 0
        at_red, at_green, at_blue = (colour == index for index in range(3))
        red = np.where(at_red, sensor, np.where(at_blue, other, np.where(even_row, across, down)))
        blue = np.where(at_blue, sensor, np.where(at_red, other, np.where(even_row, down, across)))
        result = np.stack([red, np.where(at_green, sensor, green), blue], axis=2)
        return result.clip(0, 1).astype(image.dtype)


STEPS: dict[str, type[Any]] = {
    "jpeg": Jpeg,
    "jpeg444": Jpeg444,
    "resize": Resize,
    "blur": Blur,
    "demosaic": Demosaic,
}
"""All steps by name. Add an entry for a step of your own."""


def parse_step(text: str) -> Step:
    """Make a step from its name and setting.

    Parameters
    ----------
    text : str
        "jpeg:QUALITY", "jpeg444:QUALITY", "resize:FACTOR", "blur:SIGMA" or "demosaic".

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        If there is no such step, or its setting is missing, superfluous or out of range.

    Examples
    --------
    >>> parse_step("resize:0.5"), parse_step("demosaic")
    (Resize(factor=0.5), Demosaic())
    """
    name, _, value = text.partition(":")
    if name not in STEPS:
        raise ValueError(f"no step {text!r}; there are {usage()}")
    settings = fields(STEPS[name])
    if bool(settings) != bool(value):
        raise ValueError(f"{text!r} is no step; write {_usage(name)}")
    if not settings:
        return STEPS[name]()
    convert: Any = settings[0].type
    try:
        number = convert(value)
    except ValueError:
        kind = "a whole number" if convert is int else "a number"
        raise ValueError(f"{settings[0].name} of {name} is {value!r}; {kind} is needed") from None
    return STEPS[name](number)


def usage() -> str:
    """All steps as one writes them, in one line."""
    return ", ".join(_usage(name) for name in STEPS)


def apply(image: "NDArray[Any]", steps: "Sequence[Step]") -> "NDArray[Any]":
    """Apply steps in their order.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C), floating point in [0, 1]
    steps : sequence of Step

    Returns
    -------
    ndarray
        A new array, also if there are no steps.

    Raises
    ------
    ValueError
        If a step does not take an image of this shape.
    """
    for step in steps:
        image = step.apply(image)
    return image.copy()


def bayer_colours(size: tuple[int, ...]) -> "NDArray[Any]":
    """The channel (0 red, 1 green, 2 blue) that a sensor with an RGGB filter sees in each pixel.

    Parameters
    ----------
    size : tuple of int
        (H, W).

    Returns
    -------
    ndarray of int, shape (H, W)
    """
    import numpy as np

    return np.add.outer(np.arange(size[0]) % 2, np.arange(size[1]) % 2)


def _usage(name: str) -> str:
    return ":".join([name, *(setting.name.upper() for setting in fields(STEPS[name]))])
