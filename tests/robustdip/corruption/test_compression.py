"""The spread of a JPEG compression against the error that it made."""

import numpy as np
import pytest
from skimage import data

from robustdip.corruption.compression import compression_spread
from robustdip.processing import Jpeg, Resize

PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")


def luma(name: str, side: int = 200) -> np.ndarray:
    return data_of(name)[:side, :side] @ [0.299, 0.587, 0.114]


def data_of(name: str) -> np.ndarray:
    return getattr(data, name)()[..., :3] / 255


@pytest.mark.parametrize("name", PHOTOS[1:])  # the astronaut was a JPEG
def test_exact_pictures_have_none(name):
    # Of eight places each none was taken for compressed.
    assert compression_spread(np.round(255 * Resize(0.5).apply(luma(name, 400))) / 255) is None


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("quality", [75, 85, 92])
def test_the_spread_is_that_of_the_error(name, quality):
    exact = Resize(0.5).apply(luma(name, 400))
    made = Jpeg(quality).apply(exact)
    spread = compression_spread(made)
    assert spread is not None
    # The error is smaller where most coefficients were nearly 0 anyway, as in smooth pictures.
    assert 0.8 < spread / (made - exact).std() < 6


def test_the_grid_is_found_in_a_part_of_a_picture():
    made = Jpeg(85).apply(luma("coffee"))
    assert compression_spread(made[3:, 6:]) == pytest.approx(compression_spread(made), rel=0.2)


def test_changed_afterwards_or_too_small():
    made = Jpeg(85).apply(luma("coffee"))
    assert compression_spread(Resize(0.7).apply(made)) is None
    assert compression_spread(made[:64, :64]) is None
    assert compression_spread(np.zeros((100, 100))) is None
