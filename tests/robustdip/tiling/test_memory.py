"""Promise: of a picture in tiles the fit of one tile counts, and the results of all."""

import torch

from robustdip.recipes import RECIPES
from robustdip.tiling.memory import memory_of_picture
from robustdip.tiling.plan import plan

RECIPE = RECIPES["default"]


def needed(side, *, device="cpu", itemsize=1):
    return memory_of_picture(
        (side, side, 3),
        RECIPE,
        tiles=plan((side, side), side=512),
        device=torch.device(device),
        itemsize=itemsize,
    )


def test_results_count_where_they_are_kept():
    small, large = 3 * 1024**2, 3 * 4096**2  # elements
    least = 4 + 4 + 1  # s and the uncertainty in float32, and the mask
    assert needed(4096) - needed(1024) >= (least + 1) * (large - small)
    assert needed(4096, itemsize=8) - needed(4096) == 7 * large
    assert needed(4096, device="cuda") == needed(1024, device="cuda")


def test_a_picture_of_one_tile_takes_what_its_fit_takes():
    assert needed(512) == needed(512, itemsize=8)
    assert needed(512) < needed(1024)
