"""How much memory a picture takes that is fitted in tiles, or in one."""

import math

import torch

from robustdip.fitting.memory import memory_needed
from robustdip.recipes import Recipe
from robustdip.tiling.plan import Tile

__all__ = ["memory_of_picture"]

# Of an element: s and uncertainty in float32, what was found, and a mask for detectors.
_RESULT_BYTES = 10


def memory_of_picture(
    shape: tuple[int, ...],
    recipe: Recipe,
    *,
    tiles: list[Tile],
    device: torch.device,
    itemsize: int = 1,
) -> int:
    """Estimate the memory that a fit takes besides the picture itself.

    Parameters
    ----------
    shape : tuple of int
        Shape of the picture: (H, W) or (H, W, C).
    recipe : Recipe
    tiles : list of Tile
        Those that it is fitted in.
    device : torch.device
        Where the fit runs. On another device than the CPU the results are not counted, because
        they are not kept there.
    itemsize : int
        Bytes of an element of the picture, and of the result.

    Returns
    -------
    int
        Bytes: of the fit of one tile, and of the results where there are several tiles.
    """
    down, across = tiles[0].window
    window = (down.stop - down.start, across.stop - across.start, *shape[2:])
    needed = memory_needed(window, recipe, device=device)
    if len(tiles) > 1 and device.type == "cpu":
        needed += math.prod(shape) * (_RESULT_BYTES + itemsize)
    return needed
