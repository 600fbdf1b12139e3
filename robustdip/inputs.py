"""Checks of the arrays that a caller passes as image, mask and reference.

`robustdip.images` checks files. After `check_image` everything works on float32 arrays of shape
(H, W, C) in [0, 1].
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.files import one_line
from robustdip.images.picture import from_float, to_float, white_of

__all__ = [
    "Given",
    "check_certain",
    "check_floats",
    "check_image",
    "check_mask",
    "check_reference",
    "fill_unread",
    "require_array",
]

Mask = NDArray[np.bool_]

_ROUNDING = 2.0**-23  # of a float32 near 1: a smaller change is none


@dataclass(frozen=True, eq=False)
class Given:
    """An image in the form that the methods take, and the caller's original.

    Attributes
    ----------
    values : ndarray, float32, shape (H, W, C)
        In [0, 1].
    original : ndarray, shape (H, W) or (H, W, C)
        As the caller gave it.
    white : int
        The value of `original` that is 1 of `values`, if it holds whole numbers; else 1.
    mask : ndarray of bool, shape (H, W, C), or None
        True where an element is known to be corrupted, and no other is.
    add_mask, protect : ndarray of bool, shape (H, W, C), or None
        True where an element is certainly corrupted, and certainly clean; the others are to be
        judged. No element is in both.
    """

    values: NDArray[np.float32]
    original: NDArray[Any]
    white: int
    mask: Mask | None = None
    add_mask: Mask | None = None
    protect: Mask | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the caller's image: (H, W) or (H, W, C)."""
        return self.original.shape

    def part(self, place: tuple[slice, slice]) -> "Given":
        """Cut out a rectangle.

        Parameters
        ----------
        place : tuple of slice
            Rows and columns.

        Returns
        -------
        Given
            Its arrays are views.
        """
        mask, add_mask, protect = (
            None if marked is None else marked[place]
            for marked in (self.mask, self.add_mask, self.protect)
        )
        return replace(
            self,
            values=self.values[place],
            original=self.original[place],
            mask=mask,
            add_mask=add_mask,
            protect=protect,
        )

    def normalised(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Convert an image of the caller's shape and dtype to float32, shape (H, W, C), in [0, 1].

        The inverse of `as_given`.
        """
        return _normalised(_shaped(image, "image"), "image", white=self.white)

    def as_given(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Convert a method's result to the caller's shape, dtype and byte order.

        Elements outside a mask, protected ones and those that did not change are copied from the
        caller's image, which float32 may round and whose values may lie beyond the range.

        Parameters
        ----------
        values : ndarray, float32, shape (H, W, C)
            In [0, 1].

        Returns
        -------
        ndarray, of the shape and dtype of `original`
        """
        result = self.of_its_type(values).reshape(self.shape)
        kept = self.protect if self.mask is None else ~self.mask
        if self.mask is None and self._loses_something:
            same = np.abs(values - self.values) <= _ROUNDING
            if self.add_mask is not None:  # whose values were not read
                same &= ~self.add_mask
            kept = same if kept is None else kept | same
        if kept is None:
            return result
        return np.where(kept.reshape(self.shape), self.original, result).astype(result.dtype)

    @property
    def _loses_something(self) -> bool:
        """Whether `values` are not the original to the last bit: whole numbers in the range are."""
        if np.issubdtype(self.original.dtype, np.floating):
            return True
        return bool(self.original.max() > self.white)

    def of_its_type(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Convert values in [0, 1], of any shape, to the dtype and byte order of the image."""
        dtype = self.original.dtype
        if not np.issubdtype(dtype, np.floating):
            values = from_float(values, dtype.newbyteorder("="), white=self.white)
        return values.astype(dtype)


def check_image(
    image: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    add_mask: ArrayLike | None = None,
    protect: ArrayLike | None = None,
) -> Given:
    """Check an image and what is known of its corruption, and convert the image to float32.

    Parameters
    ----------
    image : array_like, shape (H, W) or (H, W, C)
        uint8, uint16 or floats in [0, 1]; C is 1 to 4. uint16 ranges to what the bits in use can
        hold (`robustdip.images.picture.white_of`). CPU tensors and Pillow images of mode L,
        RGB, RGBA or I;16 are accepted too. The mask of a numpy masked array is used as `mask`.
    mask : array_like of bool, shape (H, W) or that of `image`, optional
        True where an element is known to be corrupted; such elements may have any value.
    add_mask, protect : array_like of bool, shape (H, W) or that of `image`, optional
        See `check_certain`. Elements of `add_mask` may have any value.

    Returns
    -------
    Given
        The checked image, with its masks as new arrays.

    Raises
    ------
    TypeError
        If the image or mask has another type.
    ValueError
        If a shape or range is wrong, a value is not finite, no element is clean, there are two
        masks, or a mask and one of `add_mask` and `protect`.
    """
    if np.ma.isMaskedArray(image):
        if mask is not None:
            raise ValueError("image is a masked array and a mask is given too; give one of them")
        array = np.ma.getdata(image)
        mask = np.ma.getmaskarray(image) if np.ma.is_masked(image) else None
    else:
        array = _array(image, "image")
    values = _shaped(array, "image")
    known = None if mask is None else check_mask(mask, values.shape)
    added, kept = check_certain(add_mask, protect, values.shape)
    if known is not None and (added is not None or kept is not None):
        raise ValueError(
            "mask says which elements are corrupted and that no other is; give it without "
            "add_mask and protect"
        )
    unread = added if known is None else known
    white = _white_of(values if unread is None else values[~unread])
    normalised = _normalised(values, "image", white=white, unread=unread)
    return Given(normalised, array, white, known, added, kept)


def check_certain(
    add_mask: ArrayLike | None, protect: ArrayLike | None, shape: tuple[int, ...]
) -> tuple[Mask | None, Mask | None]:
    """Check what a caller is certain about, in an image whose other elements are to be judged.

    Parameters
    ----------
    add_mask : array_like of bool, shape (H, W) or (H, W, C), or None
        True where an element is certainly corrupted.
    protect : array_like of bool, shape (H, W) or (H, W, C), or None
        True where an element is certainly clean. An element in both counts as clean.
    shape : tuple of int
        (H, W, C), the shape of the image.

    Returns
    -------
    add_mask, protect : ndarray of bool, shape (H, W, C), or None
        New arrays that have no element in common.

    Raises
    ------
    TypeError
        If one is not boolean.
    ValueError
        If one has a wrong shape or marks every element.
    """
    added = None if add_mask is None else check_mask(add_mask, shape, name="add_mask")
    if protect is None:
        return added, None
    kept = check_mask(protect, shape, name="protect", some_clean=False)
    if kept.all():
        raise ValueError("protect marks every element; nothing is left to restore")
    return None if added is None else added & ~kept, kept


def check_reference(reference: ArrayLike, given: Given) -> NDArray[np.float32]:
    """Check a clean image that the result is compared with.

    Parameters
    ----------
    reference : array_like, shape of the image
        As in `check_image`.
    given : Given
        The checked image.

    Returns
    -------
    ndarray, float32, shape (H, W, C)
        The reference in units of the image's range: in [0, 1], but for samples that use more bits
        than the image.

    Raises
    ------
    TypeError, ValueError
        As in `check_image`; ValueError also if its shape is not that of the image.
    """
    array = _array(reference, "reference")
    alike = array.dtype.newbyteorder("=") == given.original.dtype.newbyteorder("=")
    own = _white_of(array)
    white = max(own, given.white) if alike else own
    values = _normalised(_shaped(array, "reference"), "reference", white=white)
    if alike and white > given.white:
        values *= white / given.white
    if values.shape != given.values.shape:
        raise ValueError(
            f"reference has shape {array.shape}, the image {given.shape}: they must agree"
        )
    return values


def check_mask(
    mask: ArrayLike, shape: tuple[int, ...], *, name: str = "mask", some_clean: bool = True
) -> Mask:
    """Check a mask of known corruption.

    Parameters
    ----------
    mask : array_like of bool, shape (H, W) or (H, W, C)
        True where corrupted.
    shape : tuple of int
        (H, W, C), the shape of the image.
    name : str
        Name of the parameter, for the message.
    some_clean : bool
        Whether at least one element must be clean.

    Returns
    -------
    ndarray of bool, shape (H, W, C)
        A new array.

    Raises
    ------
    TypeError
        If it is not boolean.
    ValueError
        If its shape is neither (H, W) nor (H, W, C), or no element is clean and one must be.
    """
    array = _converted(mask, name)
    if array.dtype != np.bool_:
        meaning = "clean" if name == "protect" else "corrupted"
        raise TypeError(f"{name} is {array.dtype}; bool is needed, True where {meaning}")
    if array.shape not in (shape, shape[:2], (*shape[:2], 1)):
        raise ValueError(f"{name} has shape {array.shape}; {shape[:2]} or {shape} is needed")
    if some_clean and array.all():
        raise ValueError(f"{name} marks every element as corrupted; at least one must be clean")
    return np.broadcast_to(array.reshape(*shape[:2], -1), shape).copy()


def check_floats(values: NDArray[Any], name: str, *, unread: Mask | None = None) -> None:
    """Check an image of floats.

    Parameters
    ----------
    values : ndarray, shape (H, W) or (H, W, C)
        Any number of channels.
    name : str
        Name of the parameter, for the message.
    unread : ndarray of bool, shape of `values`, optional
        Elements whose values do not matter.

    Raises
    ------
    TypeError
        If it is no array, or not floating point.
    ValueError
        If its shape is wrong, it is empty, or a value outside `unread` is not finite or not in
        [0, 1].
    """
    require_array(values, name)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"{name} is {values.dtype}; floats in [0, 1] are needed")
    if values.ndim not in (2, 3) or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}; (H, W) or (H, W, C) is needed")
    read = values if unread is None else values[~unread]
    if read.size == 0:
        return
    finite = np.isfinite(read)
    if not finite.all():
        bad = int(read.size - finite.sum())
        raise ValueError(
            f"{name} has {bad} value{' that is' if bad == 1 else 's that are'} not finite; "
            "put numbers there, or mark the places in the mask"
        )
    if read.min() < 0 or read.max() > 1:
        raise ValueError(
            f"{name} ranges from {read.min():g} to {read.max():g}; floats must be in [0, 1]"
        )


def require_array(values: Any, name: str) -> None:
    """Raise TypeError for a file's name or a list, say."""
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} is a {type(values).__name__}; an array is needed")


def fill_unread(values: NDArray[Any], unread: Mask | None) -> NDArray[Any]:
    """Replace values that do not matter and are not in [0, 1], such as NaN, by 0.

    Parameters
    ----------
    values : ndarray of float
    unread : ndarray of bool, shape of `values`, or None
        Elements whose values do not matter; None if all matter.

    Returns
    -------
    ndarray, of the shape and dtype of `values`
    """
    if unread is None:
        return values
    return np.where(unread & ~((values >= 0) & (values <= 1)), 0, values).astype(values.dtype)


def _array(image: Any, name: str) -> NDArray[Any]:
    """The caller's image as an array; TypeError for Pillow modes and devices without one."""
    mode = getattr(image, "mode", None)
    if isinstance(mode, str) and hasattr(image, "getbands"):  # Pillow, which need not be imported
        if mode not in ("L", "RGB", "RGBA", "I;16"):
            raise TypeError(f"{name} is a Pillow image of mode {mode}; convert it to L or RGB")
    elif hasattr(image, "detach"):  # torch
        if image.device.type != "cpu":
            raise TypeError(f"{name} is a tensor on {image.device}; give a CPU tensor or an array")
        image = image.detach()
    array = _converted(image, name)
    if array.ndim == 0:  # the name of a file, or a Picture
        kind = type(image).__name__
        raise TypeError(f"{name} is a {kind}; an array is needed, as in read_image(FILE).pixels")
    return array


def _converted(values: Any, name: str) -> NDArray[Any]:
    """The values as an array; TypeError for rows of different lengths or a sparse tensor, say."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is no array ({one_line(error)})") from error


def _shaped(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ValueError(
            f"{name} has shape {array.shape}; (H, W) or (H, W, 1 to 4) is needed"
            + ("; give the pages of a stack one by one" if array.ndim in (3, 4) else "")
        )
    return array.reshape(*array.shape[:2], -1)


def _white_of(array: NDArray[Any]) -> int:
    """The range of whole samples of any shape; 1 of all others."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return white_of(native) if native.dtype in (np.uint8, np.uint16) else 1


def _normalised(
    array: NDArray[Any], name: str, *, white: int | None, unread: Mask | None = None
) -> NDArray[np.float32]:
    """Samples (H, W, C) as float32 in [0, 1]; 0 for those under `unread` that are not."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)  # FITS is big-endian
    if native.dtype in (np.uint8, np.uint16):
        return fill_unread(to_float(native, white=white).clip(max=1), unread)
    if not np.issubdtype(native.dtype, np.floating):
        raise TypeError(f"{name} is {array.dtype}; uint8, uint16 or floats in [0, 1] are needed")
    check_floats(native, name, unread=unread)
    return fill_unread(native.astype(np.float32), unread)
