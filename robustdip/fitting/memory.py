"""How much memory a fit needs, and how much is free."""

import math

import torch

from overparam import memory
from robustdip.corruption.descent import Descent, NoCorruption
from robustdip.fitting.loop import grid_size
from robustdip.fitting.optimizers import precision
from robustdip.recipes import Recipe

__all__ = ["memory_free", "memory_needed"]

# Fitted to what benchmarks.images.memory measures, at sides of 128 to 512 pixels.
_BUFFERS = 55_000_000  # of the convolution library, for any image
# Values of a pixel in relation to those that are kept for the gradient: some are in use beside
# them, and the published network keeps padded copies.
_IN_USE, _IN_USE_PUBLISHED = 1.22, 1.7
_OTHER_VALUES = 300  # of a pixel: the input, its jitter and what they are made of
_BYTES_PER_PATTERN = 95  # of a pixel, for each set of channels that can be corrupted together
_BYTES_PER_WEIGHT = 480  # per scale and squared width: weights and optimizer state


def memory_needed(
    shape: tuple[int, ...], recipe: Recipe, *, device: str | torch.device = "cpu"
) -> int:
    """Estimate the peak memory of a fit, without the interpreter and torch themselves.

    Activations and the network's input grow with the padded pixels and the channels, weights with
    the square of the width. The mixture has a probability for each set of channels. Each further
    network needs its own weights and input. Early stopping keeps a window of outputs and two more.

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
    channels = shape[2] if len(shape) == 3 else 1
    simple = isinstance(recipe.corruption_model, (NoCorruption, Descent))
    patterns = 0 if simple else 2**channels
    values = _activations(recipe) + _OTHER_VALUES
    pixels = area * (values * dtype.itemsize + _BYTES_PER_PATTERN * patterns)
    # An input, and a table of jitter twice as long.
    inputs = area * 3 * recipe.code_channels * dtype.itemsize * (recipe.networks - 1)
    kept = 4 * (min(recipe.window, recipe.steps) + 2) if recipe.window else 0
    outputs = area * kept * channels
    return int(_BUFFERS + pixels + weights + inputs + outputs)


def _activations(recipe: Recipe) -> float:
    """Values of a pixel that a step of one network keeps; a scale has a quarter of the last.

    A convolution keeps its input and its output, and the activation after it another; so five
    tensors of a decoder, of which the first is the joined one, and four of an encoder.
    """
    width = recipe.width
    finest, joined = recipe.channels_of("finest") or width, recipe.channels_of("joined") or width
    full = 5 * finest + width
    coarser = (4 * width + joined + width) / 3  # a quarter, and a quarter of it, and so on
    return (full + coarser) * (_IN_USE_PUBLISHED if recipe.published_net else _IN_USE)


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
