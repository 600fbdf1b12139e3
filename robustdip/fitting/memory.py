"""How much memory a fit needs, and how much is free."""

import math

import torch

from overparam import memory
from robustdip.fitting.loop import grid_size
from robustdip.fitting.optimizers import precision
from robustdip.recipes import Recipe

__all__ = ["memory_free", "memory_needed"]

# Fitted to the records of benchmarks/images/memory.py.
_BUFFERS = 100_000_000  # of the convolution library, for any image
_BYTES_PER_PIXEL = 500
_BYTES_PER_CHANNEL = {torch.bfloat16: 22, torch.float32: 60}
_BYTES_PER_WEIGHT = 480  # per scale and squared width: weights and optimizer state


def memory_needed(
    shape: tuple[int, ...], recipe: Recipe, *, device: str | torch.device = "cpu"
) -> int:
    """Estimate the peak memory of a fit, without the interpreter and torch themselves.

    Activations, their gradients and the network's input grow with the padded pixels and the width,
    weights with the square of the width. Each further network needs its own weights and input.
    Early stopping keeps a window of outputs and two images.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image: (H, W) or (H, W, C).
    recipe : Recipe
    device : str or torch.device
        Where the fit runs, which decides its precision.

    Returns
    -------
    int
        Bytes.
    """
    area = math.prod(grid_size((shape[0], shape[1]), scales=recipe.scales))
    weights = _BYTES_PER_WEIGHT * recipe.scales * recipe.width**2 * recipe.networks
    dtype = precision(torch.device(device), published=recipe.published_net)
    pixels = area * (_BYTES_PER_CHANNEL[dtype] * recipe.width + _BYTES_PER_PIXEL)
    # An input, and a table of jitter twice as long.
    inputs = area * 3 * recipe.code_channels * dtype.itemsize * (recipe.networks - 1)
    kept = 4 * (min(recipe.window, recipe.steps) + 2) if recipe.window else 0
    outputs = area * kept * (shape[2] if len(shape) == 3 else 1)
    return int(_BUFFERS + pixels + weights + inputs + outputs)


def memory_free(device: torch.device) -> int | None:
    """Find how much memory is free on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    int or None
        Bytes; None if the system does not report it (MPS on macOS, Windows).
    """
    if device.type == "cuda":
        # Memory that PyTorch has reserved but does not use is available as well.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return memory.memory_free()
