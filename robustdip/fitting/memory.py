"""How much memory a fit needs, and how much there is."""

import math

import torch

from robustdip.fitting.optimizers import precision
from robustdip.recipes import Recipe

__all__ = ["memory_free", "memory_needed"]

# Fitted to the records of benchmarks/images/memory.py.
_BUFFERS = 100_000_000  # of the convolution library; they do not grow with the image
_BYTES_PER_PIXEL = 500
_BYTES_PER_CHANNEL = {torch.bfloat16: 22, torch.float32: 60}
_BYTES_PER_WEIGHT = 480  # per scale and squared width: weights and what the optimizer keeps


def memory_needed(
    shape: tuple[int, ...], recipe: Recipe, *, device: str | torch.device = "cpu"
) -> int:
    """Bytes that a fit of an (H, W, C) image takes at its peak, beside the interpreter and torch.

    Activations, their gradients and the network's input grow with the padded pixels and the width,
    weights with the width squared. Further networks need weights and an input of their own. Early
    stopping keeps a window of outputs and two images.
    """
    grid = 2**recipe.scales
    area = math.prod(max(-(-side // grid), 2) * grid for side in shape[:2])
    weights = _BYTES_PER_WEIGHT * recipe.scales * recipe.width**2 * recipe.networks
    dtype = precision(torch.device(device), published=recipe.published_net)
    pixels = area * (_BYTES_PER_CHANNEL[dtype] * recipe.width + _BYTES_PER_PIXEL)
    # An input, and a table of jitter twice as long.
    inputs = area * 3 * recipe.code_channels * dtype.itemsize * (recipe.networks - 1)
    kept = 4 * (min(recipe.window, recipe.steps) + 2) if recipe.window else 0
    outputs = area * kept * (shape[2] if len(shape) == 3 else 1)
    return int(_BUFFERS + pixels + weights + inputs + outputs)


def memory_free(device: torch.device) -> int | None:
    """Bytes free on the device; None where nothing tells (MPS, Windows)."""
    if device.type == "cuda":
        # What PyTorch keeps from an earlier fit is free to this one.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        with open("/proc/meminfo") as lines:
            kilobytes = dict(line.split(":") for line in lines)["MemAvailable"]
        return 1024 * int(kilobytes.split()[0])
    except (OSError, KeyError, ValueError):
        return None
