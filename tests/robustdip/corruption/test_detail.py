"""Promise: detail that looks corrupted is told from damage by what is around it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import laplace

from benchmarks.images.harmless import PICTURES
from robustdip import corrupt
from robustdip.corruption.detail import Detail, DetailModel
from tests.helpers.images import tensor

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 64


def picture(name: str, *, seed: int) -> np.ndarray:
    made = PICTURES[name](SIDE, np.random.default_rng(seed))
    return np.atleast_3d(made) / np.float32(255)


def sharpest(image: np.ndarray, share: float) -> np.ndarray:
    """The pixels that a network learns last."""
    bend = np.abs(laplace(image, axes=(0, 1))).sum(axis=2)
    return np.broadcast_to((bend >= np.quantile(bend, 1 - share))[..., None], image.shape)


def judged(image: np.ndarray, suspicious: np.ndarray) -> DetailModel:
    y, looks_bad = tensor(image), tensor(suspicious.astype(np.float32))
    model = Detail().start(y, torch.ones_like(y))
    for _ in range(3):
        model.update(looks_bad, looks_bad > 0.5)
    return model


def share(model: DetailModel, where: np.ndarray) -> float:
    """Mean share of detail."""
    return float(torch.sigmoid(model.log_odds)[tensor(where.astype(np.float32)) > 0].mean())


@pytest.mark.parametrize(
    "name",
    ["astronaut", "chelsea", "coffee", "rocket", "camera", "brick", "old page", "chess board"],
)
def test_the_sharpest_detail_is_detail(name):
    for seed in range(3):
        image = picture(name, seed=seed)
        detail = sharpest(image, 0.001)
        assert share(judged(image, detail), detail) > 0.99


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "camera", "grass"])
@pytest.mark.parametrize("amount", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("kind", ["random-valued", "salt-and-pepper"])
def test_damage_is_none(name, amount, kind):
    for seed in range(2):
        noisy, bad = corrupt(picture(name, seed=seed), kind, amount, rng=np.random.default_rng(1))
        assert share(judged(noisy, bad), bad) < 1e-6


def test_a_line_does_not_testify_for_itself():
    scratched, bad = corrupt(picture("coffee", seed=0), "scratches", 0.1,
                             rng=np.random.default_rng(0))  # fmt: skip
    assert share(judged(scratched, bad), bad) < 1e-6


def test_padding_does_not_matter():
    image = picture("coffee", seed=0)
    detail = sharpest(image, 0.001)
    alone = judged(image, detail)
    y, valid, looks_bad = torch.full((3, 1, 3, 96, 128), 0.5)
    valid[:], looks_bad[:] = 0, 0
    y[..., :SIDE, :SIDE], valid[..., :SIDE, :SIDE] = tensor(image), 1
    looks_bad[..., :SIDE, :SIDE] = tensor(detail.astype(np.float32))
    padded = Detail().start(y, valid)
    for _ in range(3):
        padded.update(looks_bad, looks_bad > 0.5)
    torch.testing.assert_close(padded.log_odds[..., :SIDE, :SIDE], alone.log_odds)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (2, 2, 3)])
@pytest.mark.parametrize("suspicious", [0, 1])
def test_any_size_and_any_amount(shape, suspicious):
    image = np.random.default_rng(0).random(shape, np.float32)
    model = judged(image, np.full(shape, suspicious))
    assert model.log_odds.isfinite().all()
    assert 0 < model.fraction < 1
