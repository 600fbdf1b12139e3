"""The map of the defects that all pictures of `denoise --shared-mask` have."""

from pathlib import Path
from typing import TYPE_CHECKING

from robustdip.cli.job import require_file
from robustdip.cli.options import picture_from, save
from robustdip.cli.outputs import map_bytes

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DEFECT_SIZE", "find_shared", "frames_that_fit", "save_shared"]

DEFECT_SIZE = 3.0
"""Width in pixels of the largest defects that are looked for, unless another is given."""
# Copies of a frame that memory must hold: it, one in the range of all, and smaller ones as floats.
# And the share of the free memory that all frames may take.
_COPIES, _SHARE = 3, 0.8


def frames_that_fit(images: list[Path], *, extension: int | str | None) -> list[Path]:
    """As many images as memory holds at once, evenly spaced; all if nothing is known of it.

    Parameters
    ----------
    images : list of Path
        Of one size.
    extension : int, str or None
        Of FITS files.
    """
    from overparam.memory import memory_free
    from robustdip.defects import FEWEST

    free = memory_free()
    if free is None or len(images) <= FEWEST:
        return images
    require_file(images[0])
    one = picture_from(images[0], extension=extension).pixels.nbytes
    number = max(FEWEST, int(_SHARE * free / (_COPIES * one)))
    if number >= len(images):
        return images
    return [images[at * len(images) // number] for at in range(number)]


def find_shared(
    images: list[Path], *, extension: int | str | None, max_size: float
) -> "np.ndarray":
    """The probabilities of defects that all images share; all are read before one is restored.

    Parameters
    ----------
    images : list of Path
    extension : int, str or None
        Of FITS files.
    max_size : float
        Width in pixels of the largest defects.

    Raises
    ------
    FileError, ValueError
        If an image cannot be read, or has another size than the first.
    """
    from robustdip.defects import shared_defects

    for image in images:
        require_file(image)
    frames = [picture_from(image, extension=extension).pixels for image in images]
    for image, frame in zip(images, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise ValueError(
                f"{str(image)!r} has shape {frame.shape}, the first image {frames[0].shape}; "
                "--shared-mask needs images of one camera or scanner, which agree"
            )
    return shared_defects(frames, max_size=max_size)


def save_shared(shared: "np.ndarray", path: Path, *, wanted: Path | None, force: bool) -> None:
    """Write where defects are to a scratch file, and the map that a person wants to keep."""
    wrong = shared > 0.5
    if wanted is not None:
        white = wrong.astype("uint8") * 255
        save(wanted, map_bytes(wanted, "defects", shared, white), force=force)
    path.write_bytes(map_bytes(path, "defects", wrong, shared))
