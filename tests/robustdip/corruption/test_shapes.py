"""Evidence by shape goes through the mixture: the residual confirms it or overrules it."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
import torch

from robustdip.corruption.base import ShapeDetector, odds_of_shapes
from tests.helpers.images import RECIPE, corrupted, model_of, problem, scene, tensor, with_mixture

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class TwoSquares(ShapeDetector):
    """Odds of two squares, whatever the picture."""

    prior: float = 8.0
    only: Literal["bright", "dark"] | None = None
    max_width: float = 9.0

    def shape_odds(self, y, valid):
        odds = torch.zeros_like(y[:, :1])
        odds[..., 10:18, 10:18] = self.prior
        odds[..., 40:48, 40:48] = self.prior
        return odds


class Nothing(TwoSquares):
    def shape_odds(self, y, valid):
        return None


def marked() -> tuple[np.ndarray, np.ndarray]:
    """A scene in which the first square is a little too bright, and the network's guess of it."""
    clean, guess = scene()
    noisy = clean + np.random.default_rng(3).normal(0, 0.01, clean.shape)
    noisy[10:18, 10:18] += 0.12
    return noisy.clip(0, 1), guess


def found_with(*shapes) -> np.ndarray:
    noisy, guess = marked()
    model = model_of(tensor(noisy), recipe=with_mixture(RECIPE, shapes=shapes))
    for _ in range(4):
        model.reestimate(tensor(guess))
    return corrupted(model)[0, 0].numpy()


@pytest.mark.parametrize("odds", [-3.0, 2.0])
def test_what_another_shape_does_not_say_is_no_evidence(odds):
    @dataclass(frozen=True)
    class Corner(TwoSquares):
        def shape_odds(self, y, valid):
            odds = torch.zeros_like(y[:, :1])
            odds[..., :4, :4] = 1.0
            return odds

    y = tensor(marked()[0])
    together = odds_of_shapes([TwoSquares(prior=odds), Corner()], y, torch.ones_like(y))
    assert (together[0, 0, 10:18, 10:18] == odds).all()
    assert (together[0, 0, :4, :4] == 1).all()
    both = odds_of_shapes([TwoSquares(prior=odds), TwoSquares(prior=1.0)], y, torch.ones_like(y))
    assert (both[0, 0, 10:18, 10:18] == max(odds, 1)).all()
    assert (both[0, 1] == 0).all()  # none is hidden from the network


def test_a_residual_that_is_no_evidence_alone_is_with_a_shape():
    alone, together = found_with(), found_with(TwoSquares())
    assert together[10:18, 10:18].mean() > 0.95
    assert alone[10:18, 10:18].mean() < 0.6
    # Elsewhere nothing changes much, although an eighth of the corruption is in one place.
    outside = np.ones_like(alone)
    outside[10:18, 10:18] = outside[40:48, 40:48] = False
    assert together[outside].mean() < alone[outside].mean() + 0.01


def test_what_the_network_predicts_is_clean_in_spite_of_its_shape():
    assert found_with(replace(TwoSquares(), prior=4.0))[40:48, 40:48].mean() < 0.5


def test_no_shape_found_is_as_if_nobody_looked():
    noisy, guess = marked()
    results = []
    for shapes in ((), (Nothing(),)):
        model = model_of(tensor(noisy), recipe=with_mixture(RECIPE, shapes=shapes))
        model.reestimate(tensor(guess))
        results.append(model.corrupted_probability)
    assert torch.equal(*results)


class Hidden(TwoSquares):
    hidden = True


def test_what_shapes_hide_is_no_part_of_what_is_counted_clean():
    """With little else wrong, nearly nothing is expected to be: not less than nothing."""
    clean, guess = scene()
    wide = TwoSquares(prior=3.0)
    model = model_of(tensor(clean), recipe=with_mixture(RECIPE, shapes=(wide,), onset=10))
    x = tensor(guess)
    for number in range(1, 3 * model.refresh + 1):
        model.step(x, tensor(clean + 0.5 * (guess - clean)), number)
    assert model.expected_cost is not None
    assert 0 <= float(model.expected_cost.min()) <= float(model.expected_cost.max()) < 0.01


def test_what_is_hidden_stays_so_when_the_network_explains_it():
    """A wide shape is learned from its edges inwards; then nothing tells that it is damage."""
    noisy, _ = marked()
    weights = {}
    for shape in (TwoSquares(), Hidden()):
        model = model_of(tensor(noisy), recipe=with_mixture(RECIPE, shapes=(shape,)))
        for _ in range(4):
            model.reestimate(tensor(noisy))  # a network that has learned everything
        x = tensor(noisy + 0.1).requires_grad_()
        model.loss(x).backward()
        pull = x.grad[0].abs().mean(dim=0)
        weights[type(shape)] = float(pull[40:48, 40:48].mean() / pull[25:35, 25:35].mean())
    assert weights[TwoSquares] > 0.5
    assert weights[Hidden] < 2 * np.exp(-8.0)


def test_the_network_does_not_learn_what_has_the_shape():
    noisy, _ = marked()
    model = model_of(tensor(noisy), recipe=with_mixture(RECIPE, shapes=(TwoSquares(),)))
    assert model.weight[..., 10:18, 10:18].max() < 1e-3
    assert model.weight[..., 30, 30].min() == 1


def test_certainly_clean_elements_have_no_odds():
    noisy, _ = marked()
    given = problem(tensor(noisy))
    clean = torch.zeros_like(given.y, dtype=torch.bool)
    clean[..., :14, :] = True
    recipe = with_mixture(RECIPE, shapes=(TwoSquares(),))
    odds = recipe.corruption_model.start(replace(given, clean=clean)).shape_odds
    assert odds is not None
    assert not odds[..., :14, :].any()
    assert (odds[..., 14:18, 10:18] == 8).all()
