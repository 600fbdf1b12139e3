"""Classical methods, without a network, to recover images whose corruption is sparse.

Every function takes a floating-point image in [0, 1] of shape (H, W) or (H, W, C), of any size
from 1x1, processes each channel independently and does not change its argument. `METHODS` lists
the blind methods by name, `INTERPOLATIONS` those that need a mask.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import (
    distance_transform_edt,
    maximum_filter,
    median_filter,
    minimum_filter,
)
from scipy.optimize import Bounds, minimize
from scipy.spatial import QhullError
from skimage.restoration import inpaint_biharmonic

from overparam.checks import check_choice, check_count, check_real
from robustdip.inputs import check_floats, check_mask, fill_unread

__all__ = [
    "INTERPOLATIONS",
    "METHODS",
    "adaptive_median",
    "extremes",
    "interpolate",
    "median",
    "tv_l1",
    "two_phase",
]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Plane = NDArray[np.float64]


def median(image: ArrayLike, *, size: int = 5) -> Image:
    """Replace every element by the median of the square window around it.

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].
    size : int
        Width of the window in pixels, odd. The image is mirrored at its border.

    Returns
    -------
    ndarray of float32, shape of `image`
        Filtered image in [0, 1].

    Raises
    ------
    TypeError
        If the image is not floating point or `size` not an integer.
    ValueError
        If the image has a wrong shape or range, or `size` is even or not positive.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.full((8, 8), 0.5)
    >>> image[3, 4] = 1.0
    >>> float(median(image, size=3).max())
    0.5
    """
    size = _odd("size", size, least=1)
    return _per_channel(lambda plane: median_filter(plane, size, mode="reflect"), _planes(image))


def adaptive_median(image: ArrayLike, *, max_window: int | None = None) -> tuple[Image, Mask]:
    """Detect salt and pepper and replace it by medians of windows that grow with the density.

    The width of the window around an element grows, 3, 5, ..., until its median lies strictly
    between its minimum and its maximum, that is until salt and pepper are less than half of it. The
    element is clean if it lies strictly between them too; otherwise the median replaces it. If no
    window meets the condition, the median of the largest window replaces the element.

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].
    max_window : int, optional
        Largest width in pixels, odd and at least 3. By default it is chosen for each channel from
        the density of corruption. The density is estimated as the fraction of elements that are the
        minimum or the maximum of a non-constant 7x7 window, which holds for nearly all the salt and
        pepper and for a few per cent of the clean elements of a natural image.

    Returns
    -------
    recovered : ndarray of float32, shape of `image`
        Image in [0, 1]; elements outside the mask are those of `image`.
    mask : ndarray of bool, shape of `image`
        True where `recovered` differs from `image`.

    Raises
    ------
    TypeError
        If the image is not floating point or `max_window` not an integer.
    ValueError
        If the image has a wrong shape or range, or `max_window` is even or less than 3.

    Notes
    -----
    The detector of R. H. Chan, C.-W. Ho, M. Nikolova, "Salt-and-pepper noise removal by
    median-type noise detectors and detail-preserving regularization", IEEE TIP 14 (2005), without
    its test for the two extreme grey levels of the image.
    """
    planes = _planes(image)
    if max_window is not None:
        max_window = _odd("max_window", max_window, least=3)
    recovered = _per_channel(lambda plane: _adaptive_median(plane, max_window), planes)
    return recovered, recovered != planes.astype(np.float32)


def two_phase(
    image: ArrayLike,
    *,
    alpha: float = 300.0,
    beta: float = 40.0,
    mu: float = 1.0,
    max_window: int | None = None,
) -> Image:
    """Detect salt and pepper by `adaptive_median`, then fit the detected elements smoothly.

    With y the image in grey levels 0-255, only the detected elements N change, within [0, 255], to
    the minimum of a functional that preserves edges::

        F(u) = sum_{p in N} sqrt(mu^2 + (u_p - y_p)^2)
             + beta * sum_{4-neighbours p, q} sqrt(alpha + (u_p - u_q)^2)

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].
    alpha : float
        Squared height, in grey levels, above which a step counts as an edge.
    beta : float
        Weight of the edge-preserving term.
    mu : float
        Rounding of the data term, in grey levels.
    max_window : int, optional
        See `adaptive_median`.

    Returns
    -------
    ndarray of float32, shape of `image`
        Recovered image in [0, 1]; elements that were not detected are those of `image`.

    Raises
    ------
    TypeError
        If the image is not floating point or `max_window` not an integer.
    ValueError
        If the image has a wrong shape or range, `max_window` is even or less than 3, or one of
        `alpha`, `beta`, `mu` is not positive and finite.

    Notes
    -----
    The functional and the smoothing of both terms are of J.-F. Cai, R. H. Chan, C. Di Fiore,
    "Minimization of a detail-preserving regularization functional for impulse noise removal",
    JMIV 29 (2007); the defaults are those used there and since. The solver is L-BFGS-B.
    """
    for name, value in {"alpha": alpha, "beta": beta, "mu": mu}.items():
        check_real(name, value, above=0)
    start, mask = adaptive_median(image, max_window=max_window)
    planes = _planes(image)
    return _per_channel(
        lambda plane, guess, flagged: _preserve_edges(plane, guess, flagged, alpha, beta, mu),
        planes,
        start.astype(np.float64),
        mask,
    )


def tv_l1(image: ArrayLike, *, weight: float = 0.8) -> Image:
    """Minimise ``sum |x - image| + weight * TV(x)``, isotropic total variation.

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].
    weight : float
        Weight of the total variation, in pixels: structures narrower than about `weight` are
        removed.

    Returns
    -------
    ndarray of float32, shape of `image`
        Recovered image in [0, 1].

    Raises
    ------
    TypeError
        If the image is not floating point.
    ValueError
        If the image has a wrong shape or range, or `weight` is not positive and finite.

    Notes
    -----
    Primal-dual algorithm 1 of A. Chambolle, T. Pock, "A first-order primal-dual algorithm for
    convex problems with applications to imaging", JMIV 40 (2011), as applied there to the TV-L1
    model in section 6.2.
    """
    check_real("weight", weight, above=0)
    return _per_channel(lambda plane: _tv_l1(plane, weight), _planes(image))


def interpolate(
    image: ArrayLike,
    mask: ArrayLike,
    *,
    method: Literal["linear", "biharmonic"] = "linear",
) -> Image:
    """Fill elements that are known to be corrupted from the clean ones of the same channel.

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].
    mask : array of bool, shape (H, W) or that of `image`
        True where an element is corrupted. A mask of shape (H, W) applies to all channels.
    method : {"linear", "biharmonic"}
        "linear" interpolates on a triangulation of the clean elements, and takes the nearest
        element outside their convex hull. "biharmonic" fits smooth surfaces by
        `skimage.restoration.inpaint_biharmonic`; it is better on scattered elements but slow on
        large holes.

    Returns
    -------
    ndarray of float32, shape of `image`
        Image in [0, 1] that equals `image` outside the mask. A channel without any clean element
        is replaced by its mean.

    Raises
    ------
    TypeError
        If the image is not floating point or the mask not boolean.
    ValueError
        If the image has a wrong shape or range, the mask does not fit it, or the method is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.tile(np.linspace(0, 1, 5), (5, 1))
    >>> bad = np.zeros((5, 5), bool)
    >>> bad[2, 2] = True
    >>> float(interpolate(np.where(bad, 0.0, ramp), bad)[2, 2])
    0.5
    """
    fills = {"linear": _fill_linear, "biharmonic": inpaint_biharmonic}
    check_choice("method", method, fills)
    array = np.asarray(image)
    known = check_mask(
        mask, array.shape if array.ndim != 2 else (*array.shape, 1), some_clean=False
    )
    known = known.reshape(array.shape)
    planes = _planes(fill_unread(array, known), unread=known)

    def fill(plane: Plane, bad: Mask) -> Plane:
        if not bad.any():
            return plane
        if bad.all():
            return np.full_like(plane, plane.mean())
        bad = bad.copy()  # biharmonic does not accept a read-only array
        return np.clip(fills[method](plane, bad), 0, 1)  # splines overshoot, triangles round off

    return _per_channel(fill, planes, known)


def extremes(image: ArrayLike) -> Mask:
    """Find the elements that are exactly 0 or 1, where salt and pepper can be.

    Parameters
    ----------
    image : array of float, shape (H, W) or (H, W, C)
        Corrupted image in [0, 1].

    Returns
    -------
    ndarray of bool, shape of `image`
        True where an element is 0 or 1, whether corrupted or a saturated part of the scene.

    Raises
    ------
    TypeError
        If the image is not floating point.
    ValueError
        If the image has a wrong shape or range.
    """
    planes = _planes(image)
    return (planes == 0) | (planes == 1)


METHODS: Mapping[str, Callable[[ArrayLike], Image]] = {
    "median": median,
    "adaptive-median": lambda image: adaptive_median(image)[0],
    "two-phase": two_phase,
    "tv-l1": tv_l1,
    "extremes-linear": lambda image: interpolate(image, extremes(image)),
    "extremes-biharmonic": lambda image: interpolate(image, extremes(image), method="biharmonic"),
}
"""Blind methods by name: corrupted image in, recovered image out."""

INTERPOLATIONS: Mapping[str, Callable[[ArrayLike, ArrayLike], Image]] = {
    "linear": lambda image, mask: interpolate(_clean_mean(image, mask), mask),
    "biharmonic": lambda image, mask: interpolate(
        _clean_mean(image, mask), mask, method="biharmonic"
    ),
}
"""Methods that need a mask: corrupted image and mask in, recovered image out."""


def _clean_mean(image: ArrayLike, mask: ArrayLike) -> Image:
    """The image with the mean of all clean elements under the mask.

    `interpolate` would fill a channel without a clean element by the mean of what it holds, and
    values under a known mask must not be read.
    """
    values, bad = np.asarray(image, np.float32), np.asarray(mask)
    return np.where(bad, values[~bad].mean(dtype=np.float64), values).astype(np.float32)


def _planes(image: ArrayLike, *, unread: Mask | None = None) -> Plane:
    """The image after a check, as float64, in which all arithmetic is done."""
    array = np.asarray(image)
    check_floats(array, "image", unread=unread)
    return array.astype(np.float64)


def _odd(name: str, value: int, *, least: int) -> int:
    value = check_count(name, value, least=least)
    if value % 2 == 0:
        raise ValueError(f"{name} is {value}; an odd number of pixels is needed")
    return value


def _per_channel(function: Callable[..., Plane], *arrays: np.ndarray) -> Image:
    """Apply a function of (H, W) planes to the whole arrays or to each of their channels."""
    if arrays[0].ndim == 2:
        result = function(*arrays)
    else:
        channels = range(arrays[0].shape[2])
        result = np.stack(
            [function(*(np.ascontiguousarray(a[..., c]) for a in arrays)) for c in channels], axis=2
        )
    return result.astype(np.float32)


# Adaptive median.

# (bound, width): the largest window for a density of corruption below the bound, and 39 above the
# last. These are the widths of the two-phase literature since Chan, Ho and Nikolova. Denser noise
# needs larger windows to contain a majority of clean elements.
_MAX_WINDOWS = ((0.25, 5), (0.40, 7), (0.60, 9), (0.70, 13), (0.80, 17), (0.85, 25))


def _adaptive_median(plane: Plane, max_window: int | None) -> Plane:
    if max_window is None:
        density = _impulse_density(plane)
        max_window = next((w for bound, w in _MAX_WINDOWS if density < bound), 39)
    recovered = plane.copy()
    rows, columns = (positions.ravel() for positions in np.indices(plane.shape))
    for window in range(3, max_window + 1, 2):
        low, middle, high = _window_statistics(plane, rows, columns, window)
        decided = (low < middle) & (middle < high)
        if window == max_window:
            decided[:] = True
        value = plane[rows, columns]
        dirty = decided & ~((low < value) & (value < high))
        recovered[rows[dirty], columns[dirty]] = middle[dirty]
        rows, columns = rows[~decided], columns[~decided]
        if not rows.size:
            break
    return recovered


def _impulse_density(plane: Plane) -> float:
    low, high = minimum_filter(plane, 7), maximum_filter(plane, 7)
    return float(np.mean(((plane == low) | (plane == high)) & (low < high)))


def _window_statistics(
    plane: Plane, rows: np.ndarray, columns: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return minimum, median and maximum of the windows centred on the given elements."""
    windows = sliding_window_view(np.pad(plane, window // 2, mode="symmetric"), (window, window))
    area = window * window
    result = np.empty((3, rows.size))
    chunk = max(1, 2**22 // area)  # copies of at most 32 MiB, whatever the window
    for first in range(0, rows.size, chunk):
        part = slice(first, first + chunk)
        values = windows[rows[part], columns[part]].reshape(-1, area)
        values.sort(axis=1)  # faster than np.partition on rows this short
        result[:, part] = values[:, [0, area // 2, area - 1]].T
    return result[0], result[1], result[2]


# Edge-preserving regularisation.


def _preserve_edges(
    plane: Plane, guess: Plane, flagged: Mask, alpha: float, beta: float, mu: float
) -> Plane:
    """Minimise the functional of `two_phase` over the flagged elements of one channel."""
    if not flagged.any():
        return plane
    observed = 255 * plane
    u = observed.copy()

    def functional(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        u[flagged] = values
        value, gradient = _two_phase_functional(u, observed, flagged, alpha, beta, mu)
        return value, gradient[flagged]

    found = minimize(
        functional,
        255 * guess[flagged],
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0, 255),
        # At this gradient F, about 1e5 on a 16x16 image, is within 1e-3 of its minimum.
        options={"maxiter": 1000, "gtol": 1e-3, "ftol": 1e-12},
    )
    u[flagged] = found.x
    return np.where(flagged, u / 255, plane)


def _two_phase_functional(
    u: Plane, observed: Plane, flagged: Mask, alpha: float, beta: float, mu: float
) -> tuple[float, Plane]:
    """Return F(u) of `two_phase`, grey levels 0-255, and its gradient, 0 off the flagged elements.

    Edges between two clean elements only add a constant to F. They are included because this
    needs only a few operations on whole arrays.
    """
    residual = u - observed
    data = np.sqrt(mu**2 + residual**2)
    gradient = residual / data
    value = data[flagged].sum()
    for axis in (0, 1):
        step = np.diff(u, axis=axis)
        edge = np.sqrt(alpha + step**2)
        value += beta * edge.sum()
        # The derivatives at the two ends of an edge are opposite: minus the divergence.
        padding = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        gradient -= beta * np.diff(np.pad(step / edge, padding), axis=axis)
    return float(value), np.where(flagged, gradient, 0.0)


# TV-L1.


def _tv_l1(plane: Plane, weight: float) -> Plane:
    # The product of the steps may not exceed 1 / |gradient|^2 = 1/8. This ratio of primal to dual
    # step needs 200 iterations; equal steps need 1000.
    tau, sigma = 0.05, 2.5
    x = leading = plane
    dual = np.zeros((2, *plane.shape))
    for _ in range(2000):
        new_dual = dual.copy()
        new_dual[0, :-1] += sigma * np.diff(leading, axis=0)
        new_dual[1, :, :-1] += sigma * np.diff(leading, axis=1)
        new_dual /= np.maximum(1, np.linalg.norm(new_dual, axis=0) / weight)
        divergence = np.diff(new_dual[0], axis=0, prepend=0) + np.diff(
            new_dual[1], axis=1, prepend=0
        )
        ahead = x + tau * divergence - plane
        new = plane + ahead - np.clip(ahead, -tau, tau)
        # Both must have converged: at first x stays at the image while the dual grows.
        residual = np.abs(new - x).mean() / tau + np.abs(new_dual - dual).mean() / sigma
        leading = 2 * new - x
        x, dual = new, new_dual
        if residual < 2e-4:  # at most 0.02 dB from the limit on natural images
            break
    return np.clip(x, 0, 1)


# Known mask.


def _nearest(plane: Plane, bad: Mask) -> Plane:
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    return plane[rows, columns]


def _fill_linear(plane: Plane, bad: Mask) -> Plane:
    filled = _nearest(plane, bad)
    # The triangles over a hole have their corners on its rim. All other clean elements
    # would only make the triangulation slower, up to ten times.
    rim = np.logical_and(maximum_filter(bad, 3), ~bad)
    try:
        surface = LinearNDInterpolator(np.argwhere(rim), plane[rim])
    except QhullError:  # fewer than three clean elements, or all on one line
        return filled
    values = surface(np.argwhere(bad))
    filled[bad] = np.where(np.isnan(values), filled[bad], values)  # NaN outside the convex hull
    return filled
