"""Files of numbers to pages and back: NumPy's `.npy`, and FITS by astropy."""

import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, one_line, require_regular_file
from robustdip.images.picture import Picture
from robustdip.images.units import Numbers, units_of

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "FITS",
    "NPY",
    "fits_bytes",
    "load_array",
    "may_hold_nan",
    "npy_bytes",
    "pictures_of",
    "read_fits",
    "read_npy",
    "require_astropy",
]

NPY = (".npy",)
FITS = (".fits", ".fit", ".fts")
# For astropy: what cannot be fixed, such as a space in a keyword, stays as it was in the file.
_AS_IT_IS = "silentfix+ignore"


def may_hold_nan(path: Path) -> bool:
    """Whether the name is that of a format that holds values that are not finite."""
    return path.suffix.lower() in (*NPY, *FITS, ".tif", ".tiff")


def read_npy(path: Path) -> list[Picture]:
    """Read an array of shape (H, W), (H, W, 3), (H, W, 1) or, as a stack of pages, (N, H, W).

    Raises
    ------
    FileError
        If it is no such array, or one of Python objects, which are never loaded.
    """
    array = load_array(path)
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):
        pages = [array.reshape(array.shape[:2]) if array.shape[2:] == (1,) else array]
    elif array.ndim == 3 and array.shape[2] > 4:
        pages = list(array)
    else:
        raise FileError(
            f"its shape is {array.shape}; (H, W), (H, W, 3) or a stack (N, H, W) is needed"
        )
    return pictures_of(pages, path, shape=array.shape)


def load_array(path: Path) -> NDArray[Any]:
    """Load the array of a .npy file.

    Raises
    ------
    FileError
        If it is no such file, damaged, one of Python objects, or larger than the memory.
    """
    require_regular_file(path.stat().st_mode)
    try:
        # numpy leaves a file open in which it finds no archive.
        with path.open("rb") as stream:
            array = np.load(stream, allow_pickle=False)
    except Exception as error:  # damaged bytes make the reader raise nearly anything
        if getattr(error, "errno", None):
            raise
        raise FileError(f"not an array of numbers ({one_line(error)})") from error
    if not isinstance(array, np.ndarray):  # a .npz by another name
        raise FileError("it holds several arrays; save the one wanted as .npy")
    return array


def read_fits(path: Path, extension: int | str | None) -> list[Picture]:
    """Read an image of a FITS file; each plane of a cube is a page.

    Parameters
    ----------
    path : Path
    extension : int, str or None
        Its number, 0 for the first, or its name; None takes the first with an image.

    Raises
    ------
    FileError
        If astropy is not installed, or there is no such image.
    """
    require_regular_file(path.stat().st_mode)
    fits = _astropy()
    try:
        # astropy leaves a file open in which it finds no header.
        with path.open("rb") as stream, fits.open(stream, memmap=False) as file:
            number = _number(file, extension)
            array, header = file[number].data, file[number].header.copy()
            headers = (header,) if number == 0 else (file[0].header.copy(), header)
    except FileError:
        raise
    except Exception as error:  # damaged bytes make the reader raise nearly anything
        if getattr(error, "errno", None):
            raise
        raise FileError(f"no FITS file, or a damaged one ({one_line(error)})") from error
    planes = array.reshape(-1, *array.shape[-2:])
    return pictures_of(list(planes), path, shape=array.shape, headers=headers)


def pictures_of(
    pages: Sequence[NDArray[Any]],
    path: Path,
    *,
    shape: tuple[int, ...],
    headers: tuple[Any, ...] = (),
) -> list[Picture]:
    """Pages of values as pictures, with units that all pages share.

    Parameters
    ----------
    pages : sequence of ndarray, shape (H, W) or (H, W, 3)
        8- and 16-bit whole numbers without sign stay as they are, as in any picture.
    path : Path
    shape, headers
        See `robustdip.images.units.Numbers`.

    Raises
    ------
    FileError
        If there is no page or a page is empty, or the values are no real numbers.
    """
    if not pages or 0 in pages[0].shape:
        raise FileError(f"its shape is {shape}; there is nothing in it")
    given = pages[0].dtype
    native = given.newbyteorder("=")
    if native.kind == "b":
        pages, given, native = [page * np.uint8(255) for page in pages], *2 * (np.dtype("u1"),)
    if native.kind not in "iuf" or native.itemsize > 8:
        raise FileError(f"it holds {given}; real numbers of at most 64 bits are needed")
    try:
        units = units_of(pages)
    except ValueError as error:
        raise FileError(str(error)) from error
    made: list[Picture] = []
    for page in pages:
        numbers = Numbers(page, units, shape, headers)
        whole = native in (np.uint8, np.uint16)
        pixels = page.astype(native) if whole else numbers.pixels()
        made.append(Picture(pixels, path=path, numbers=numbers))
    return made


def npy_bytes(pages: Sequence[Picture]) -> bytes:
    """An array of the values of all pages, in the shape that they were read in."""
    buffer = io.BytesIO()
    np.save(buffer, _array(pages), allow_pickle=False)
    return buffer.getvalue()


def fits_bytes(pages: Sequence[Picture]) -> bytes:
    """A FITS file of the values of all pages, with the headers that they were read with."""
    fits = _astropy()
    array, numbers = _array(pages), pages[0].numbers
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        array = array.astype(np.float32)  # the smallest floats of FITS
    headers = [header.copy() for header in numbers.headers] if numbers is not None else []
    if array.ndim == 3 and array.shape[2] == 3 and not headers:
        array = np.moveaxis(array, 2, 0)  # colours are planes
    if headers:
        # Of the old values. Floats have NaN in the place of BLANK.
        for card in ("CHECKSUM", "DATASUM", *(["BLANK"] if array.dtype.kind == "f" else [])):
            headers[-1].remove(card, ignore_missing=True)
    for header in headers:
        _drop_unwritable(header)
    if len(headers) == 2:
        image = fits.ImageHDU(array, headers[1])
        file = fits.HDUList([fits.PrimaryHDU(header=headers[0]), image])
    else:
        file = fits.HDUList([fits.PrimaryHDU(array, *headers)])
    buffer = io.BytesIO()
    file.writeto(buffer, output_verify=_AS_IT_IS)
    return buffer.getvalue()


def _drop_unwritable(header: Any) -> None:
    """Remove the cards that astropy reads but does not write: control characters in a text, say."""
    for place in reversed(range(len(header))):
        try:
            header.cards[place].verify(_AS_IT_IS)
        except ValueError:
            del header[place]


def _array(pages: Sequence[Picture]) -> NDArray[Any]:
    values = [page.values() for page in pages]
    array = values[0] if len(values) == 1 else np.stack(values)
    numbers = pages[0].numbers
    same = numbers is not None and math.prod(numbers.shape) == array.size
    return array.reshape(numbers.shape) if numbers is not None and same else array


def _number(file: Any, extension: int | str | None) -> int:
    """The number of the extension that is wanted."""
    images = [
        number
        for number, unit in enumerate(file)
        if getattr(unit, "is_image", False) and len(unit.shape) >= 2
    ]
    names = ", ".join(f"{number} {file[number].name}".strip() for number in images) or "none"
    if extension is None:
        if not images:
            raise FileError("it has no extension with an image")
        return images[0]
    try:
        number = file.index_of(extension)
        number += len(file) if number < 0 else 0
    except (KeyError, IndexError):
        number = -1
    if number not in images:
        raise FileError(f"no image in extension {extension!r}; there is {names}")
    return number


def require_astropy() -> None:
    """Raise FileError if astropy is not installed; it is not imported, which takes a while."""
    if importlib.util.find_spec("astropy") is None:
        raise FileError("FITS files need astropy; install it: pip install 'robustdip[astronomy]'")


def _astropy() -> "ModuleType":
    require_astropy()
    try:
        from astropy.io import fits
    except ImportError as error:
        raise FileError(
            f"FITS files need astropy, whose import fails ({one_line(error)}); install it again: "
            "pip install --force-reinstall astropy"
        ) from error
    return fits
