"""How close an image is to a clean one: PSNR and SSIM, computed by scikit-image."""

import math
from typing import Any

import numpy as np

from robustdip.inputs import require_array

__all__ = ["psnr", "ssim"]


def psnr(clean: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, over all elements.

    Parameters
    ----------
    clean, image : ndarray or CPU tensor, equal shapes, floats in [0, 1]
        `robustdip.images.to_float` makes them of whole samples.

    Returns
    -------
    float
        Infinite for equal images.

    Raises
    ------
    TypeError
        If one is no array of floats, or is masked.
    ValueError
        If the shapes differ, or there are no values.
    """
    from skimage.metrics import peak_signal_noise_ratio

    clean, image = _alike(clean, image)
    if np.array_equal(clean, image):
        return math.inf
    return float(peak_signal_noise_ratio(clean, image, data_range=1.0))


def ssim(clean: np.ndarray, image: np.ndarray) -> float | None:
    """Structural similarity with a Gaussian window, σ = 1.5.

    Parameters
    ----------
    clean, image : ndarray or CPU tensor, equal shapes (H, W) or (H, W, C), floats in [0, 1]

    Returns
    -------
    float or None
        Mean over elements and channels; None if a side is shorter than the 11 pixel window.

    Raises
    ------
    TypeError
        If one is no array of floats, or is masked.
    ValueError
        If the shapes differ or are others, or there are no values.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13 (2004).
    """
    from skimage.metrics import structural_similarity

    clean, image = _alike(clean, image)
    if clean.ndim not in (2, 3):
        raise ValueError(f"the images have shape {clean.shape}; (H, W) or (H, W, C) is needed")
    if min(clean.shape[:2]) < 11:
        return None
    value: Any = structural_similarity(
        clean,
        image,
        data_range=1.0,
        channel_axis=2 if clean.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def _alike(clean: Any, image: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = _floats(clean, "clean"), _floats(image, "image")
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} differ; they must agree")
    if first.size == 0:
        raise ValueError(f"the images have shape {first.shape}; there is nothing to compare")
    return first, second


def _floats(values: Any, name: str) -> np.ndarray:
    if hasattr(values, "detach"):  # torch, which says what to do with a tensor on a GPU
        values = values.detach().numpy()
    require_array(values, name)
    if np.ma.is_masked(values):
        raise TypeError(f"{name} has masked values; leave them out of both images")
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"{name} is {values.dtype}; floats in [0, 1] are needed, see to_float")
    return values
