"""Promise: detectors of shapes are asked in all tiles where the damage is named, and not else."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from robustdip import RECIPES, denoise
from robustdip.corruption.mixture import Mixture
from robustdip.inputs import check_image
from robustdip.tiling.plan import plan
from robustdip.tiling.survey import survey


@dataclass(frozen=True)
class Marked:
    """What is exactly half is damage, for this detector."""

    asked: ClassVar[list[tuple[int, ...]]] = []
    prior: float = 0.0
    only: None = None
    max_width: float = 1.0

    def shape_odds(self, y, valid):
        self.asked.append(tuple(y.shape))
        here = (y == 0.5).all(dim=1, keepdim=True)
        return torch.where(here, 3.0, 0.0) if here.any() else None


RECIPE = replace(RECIPES["default"], corruption_model=Mixture(detectors=(), shapes=(Marked(),)))


def picture():
    image = np.full((100, 200, 3), 0.49, np.float32)
    image[70:75, 150:160] = 0.5
    return image


def test_shapes_are_looked_for_where_damage_is_named():
    tiles = plan((100, 200), side=64)
    Marked.asked.clear()
    assert survey(check_image(picture()), tiles, RECIPE, every_tile=False).fits == []
    assert Marked.asked == []
    found = survey(check_image(picture()), tiles, RECIPE, every_tile=False, named=True).fits
    assert len(Marked.asked) == len(tiles)
    assert any(part.holds((72, 155)) for part in found)
    assert len(found) < len(tiles)


def test_protected_pixels_have_no_shape():
    protect = np.zeros((100, 200), bool)
    protect[60:80, 140:170] = True
    given, tiles = check_image(picture(), protect=protect), plan((100, 200), side=64)
    assert survey(given, tiles, RECIPE, every_tile=False, named=True).fits == []


def test_a_faint_scratch_that_is_named_is_fitted():
    rng = np.random.default_rng(0)
    image = (0.5 + 0.2 * np.sin(np.arange(200) / 30)[None, :, None]).repeat(100, axis=0)
    image = (image + rng.normal(0, 0.004, (100, 200, 3))).astype(np.float32)
    image[40:43, 20:60] += 0.05  # fainter than what is looked for without a word
    recipe = replace(RECIPES["default"], steps=1)
    assert denoise(image, method=recipe, tile=64).fitted == 0
    assert denoise(image, method=recipe, tile=64, damage="scratches").fitted > 0
