"""Which numbers does a picture hold? A linear map of values in any units to [0, 1], and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Numbers", "Units", "missing", "units_of"]


@dataclass(frozen=True)
class Units:
    """The map of `low` to 0 and of `high` to 1.

    Attributes
    ----------
    low, high : float
        In the units of the file; `high` is above `low`.
    """

    low: float
    high: float

    @property
    def span(self) -> float:
        """Units of the file that are 1 after the map."""
        return self.high - self.low

    def to_unit(self, values: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Map values of a file; what is not finite becomes 0.

        Parameters
        ----------
        values : ndarray of any real dtype
        dtype : dtype_like
            Of the result, a floating-point one.

        Returns
        -------
        ndarray, of the same shape
            `low` to `high` is [0, 1]; values beyond are beyond it.
        """
        exact = values.astype(np.float64)
        mapped = (np.where(np.isfinite(exact), exact, self.low) - self.low) / self.span
        return mapped.astype(dtype)

    def from_unit(self, mapped: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Map back; whole numbers are rounded, and held to what their dtype can hold."""
        values = self.low + mapped.astype(np.float64) * self.span
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            # As floats: the largest 64-bit numbers are none, and would overflow.
            highest = np.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max
            values = np.rint(values).clip(limits.min, highest)
        return values.astype(dtype)


@dataclass(frozen=True, eq=False)
class Numbers:
    """The values of a page in units of their own, and what the file says of them.

    Attributes
    ----------
    values : ndarray, shape (H, W) or (H, W, 3), of any real dtype
        As in the file; what is not finite is known to be bad.
    units : Units
        The map to the pixels of the `Picture`.
    shape : tuple of int
        Of the whole array in the file.
    headers : tuple
        Of a FITS file: the first header, and that of the extension if it is another.
    no_data : float or None
        The value that stands for missing data.
    keeps_bad : bool
        Whether what is bad stays so in `restored`; otherwise it gets the value of its pixel.
    """

    values: NDArray[Any]
    units: Units
    shape: tuple[int, ...]
    headers: tuple[Any, ...] = ()
    no_data: float | None = None
    keeps_bad: bool = False

    @property
    def bad(self) -> NDArray[np.bool_] | None:
        """Where values are missing or not finite, in the shape of `values`; None if none is."""
        bad = np.zeros(self.values.shape, bool)
        if self.no_data is not None:
            bad |= missing(self.values, self.no_data)
        if self.values.dtype.kind == "f":
            bad |= ~np.isfinite(self.values)
        return bad if bad.any() else None

    def pixels(self) -> NDArray[np.float32]:
        """The values in [0, 1]; those that the units leave outside are cut off."""
        return self.units.to_unit(self.values).clip(0, 1)

    def restored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Values for changed pixels, in the units and dtype of the file.

        Where a pixel did not change, the value is that of the file, bit for bit.

        Parameters
        ----------
        pixels : ndarray, float32, in [0, 1]
            Of another size than before if the picture was resized.

        Returns
        -------
        ndarray, of the shape of `pixels` and the dtype of `values`
        """
        made = self.units.from_unit(pixels, self.values.dtype)
        if pixels.shape != self.values.shape:
            return made
        kept = pixels == self.pixels()
        if (bad := self.bad) is not None:
            kept = kept | bad if self.keeps_bad else kept & ~bad
        return np.where(kept, self.values, made).astype(self.values.dtype)


def missing(values: NDArray[Any], no_data: float) -> NDArray[np.bool_]:
    """Where all channels of a pixel have the value that stands for missing data.

    Parameters
    ----------
    values : ndarray, shape (H, W) or (H, W, C)
    no_data : float

    Returns
    -------
    ndarray of bool, of the shape of `values`
    """
    same = values == no_data
    if values.ndim == 3:
        same = same.all(axis=2, keepdims=True)
    return np.broadcast_to(same, values.shape)


def units_of(arrays: Iterable[NDArray[Any]]) -> Units:
    """The units that map the finite values of arrays to [0, 1].

    Floats in [0, 1] stay as they are. Else the lowest value becomes 0 and the highest 1.

    Parameters
    ----------
    arrays : iterable of ndarray of any real dtype

    Returns
    -------
    Units

    Raises
    ------
    ValueError
        If no value is finite.
    """
    lows: list[float] = []
    highs: list[float] = []
    floats = True
    for array in arrays:
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
        floats = floats and array.dtype.kind == "f"
    if not lows:
        raise ValueError("it has no finite value")
    low, high = min(lows), max(highs)
    if floats and low >= 0 and high <= 1:
        return Units(0.0, 1.0)
    if not np.isfinite(high - low):
        raise ValueError(f"its values range from {low:g} to {high:g}, too far for 64-bit floats")
    if high > low:
        return Units(low, high)
    # One value alone has no range. Any will do that is not lost in the value's rounding, and that
    # ends at a number: twice 1e308 is none.
    above = low + max(1.0, abs(low))
    return Units(low, above) if np.isfinite(above) else Units(0.0, low)
