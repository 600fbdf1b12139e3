"""How close an image is to a clean one: PSNR and SSIM, computed by scikit-image."""

import math
from typing import Any

import numpy as np

__all__ = ["psnr", "ssim"]


def psnr(clean: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, over all elements.

    Parameters
    ----------
    clean, image : ndarray, equal shapes, floats in [0, 1]

    Returns
    -------
    float
        Infinite for equal images.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    from skimage.metrics import peak_signal_noise_ratio

    _require_equal_shapes(clean, image)
    if np.array_equal(clean, image):
        return math.inf
    return float(peak_signal_noise_ratio(clean, image, data_range=1.0))


def ssim(clean: np.ndarray, image: np.ndarray) -> float | None:
    """Structural similarity with a Gaussian window, σ = 1.5.

    Parameters
    ----------
    clean, image : ndarray, equal shapes (H, W) or (H, W, C), floats in [0, 1]

    Returns
    -------
    float or None
        Mean over elements and channels; None if a side is shorter than the 11 pixel window.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13 (2004).
    """
    from skimage.metrics import structural_similarity

    _require_equal_shapes(clean, image)
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


def _require_equal_shapes(clean: np.ndarray, image: np.ndarray) -> None:
    if clean.shape != image.shape:
        raise ValueError(f"shapes {clean.shape} and {image.shape} differ; they must agree")
