"""What a caller says about the damage changes the priors of detectors, and nothing else."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from robustdip import RECIPES, denoise
from robustdip.corruption.base import ShapeDetector
from robustdip.corruption.missing_lines import MissingLines
from robustdip.corruption.printed_colours import PrintedColours
from robustdip.corruption.printed_text import PrintedText
from robustdip.corruption.streaks import Streaks
from robustdip.told import DAMAGE, Told
from tests.helpers.images import array, corrupted, model_of, scene, small, tensor, with_mixture

DEFAULT = RECIPES["default"]


@dataclass(frozen=True, kw_only=True)
class Square(ShapeDetector):
    """Calibrated odds of a square."""

    prior: float = 1.0
    only: str | None = None
    max_width: float = 9.0

    def shape_odds(self, y, valid):
        odds = torch.zeros_like(y[:, :1])
        odds[..., 10:18, 10:18] = self.prior
        return odds


RAMP = np.add.outer(np.linspace(0.2, 0.5, 16), np.linspace(0.0, 0.3, 16))


def test_saying_nothing_changes_nothing():
    assert Told().applied(DEFAULT) is DEFAULT
    assert Told(damage="auto") == Told(damage=["auto"]) == Told()


@pytest.mark.parametrize("name", DAMAGE)
def test_every_name_is_taken_alone_and_changes_the_mixture_only(name):
    recipe = Told(damage=name).applied(DEFAULT)
    assert replace(recipe, corruption_model=DEFAULT.corruption_model) == DEFAULT


def test_only_the_detectors_of_named_kinds_are_left():
    model = Told(damage=["text", "lines"]).applied(DEFAULT).corruption_model
    assert {type(detector) for detector in model.detectors} == {MissingLines, PrintedText}
    assert [type(shape) for shape in model.shapes] == [PrintedColours, Streaks]
    assert model.shapes[0].least_evidence < PrintedColours().least_evidence
    model = Told(damage="pixels").applied(DEFAULT).corruption_model
    assert (model.detectors, model.shapes, model.scratches) == ((), (), None)


def test_strength_side_and_size_reach_the_detectors():
    model = Told(strength=-0.5, only="dark", max_size=4).applied(DEFAULT).corruption_model
    assert model.bias < 0
    assert model.only == "dark"
    for shape, before in zip(model.shapes, DEFAULT.corruption_model.shapes, strict=True):
        assert shape.prior < before.prior
        assert (shape.only, shape.max_width) == ("dark", 4)


@pytest.mark.parametrize("strength", [-0.5, 0.25])
def test_strength_counts_once_in_a_shape_and_outside(strength):
    """By Bayes' rule, 4 times the strength is added to the log odds of the posterior."""
    noisy, guess = scene()
    noisy = (noisy + np.random.default_rng(3).normal(0, 0.02, noisy.shape)).clip(0, 1)
    with_shape = with_mixture(DEFAULT, shapes=(Square(),), detail=None, scratches=None, onset=0)
    log_odds = []
    for told in (Told(), Told(strength=strength)):
        model = model_of(tensor(noisy), recipe=told.applied(with_shape))
        # One expectation: π, β and p_c, which follow from it, are still those of the start.
        model.reestimate(tensor(guess), sweeps=1)
        posterior = model.posterior[0].double()
        log_odds.append((posterior[-1] / posterior[0]).log())
    moved = log_odds[1] - log_odds[0]
    certain = log_odds[0].abs() < 12  # beyond, float32 has no such posterior
    for place in (np.s_[10:18, 10:18], np.s_[30:50, 30:50]):
        here = moved[place][certain[place]]
        assert len(here) > 20
        np.testing.assert_allclose(here, 4 * strength, atol=0.01)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"damage": "rain"}, "damage is 'rain'; use one of auto, pixels"),
        ({"damage": ["text", "rain"]}, "damage is 'rain'"),
        ({"damage": ["auto", "text"]}, "'auto' alone"),
        ({"damage": []}, "name what is there"),
        ({"strength": 2}, "strength is 2; a finite number at least -1 and at most 1"),
        ({"only": "grey"}, "only is 'grey'; use one of bright, dark"),
        ({"max_size": 0.5}, "max_size is 0.5; a finite number at least 1 and at most 200"),
        ({"max_size": 1e9}, "max_size is 1000000000.0; a finite number"),
    ],
)
def test_wrong_words_are_refused_in_one_line(told, words):
    with pytest.raises(ValueError, match=words):
        denoise(RAMP, **told)


def test_no_name_is_none():
    with pytest.raises(TypeError, match="damage is None; names of auto, pixels"):
        denoise(RAMP, damage=None)


def test_methods_that_do_not_judge_are_told_nothing():
    with pytest.raises(ValueError, match="'median' takes no damage"):
        denoise(RAMP, method="median", damage="text")
    with pytest.raises(ValueError, match="'dip-l1' finds no kinds of damage"):
        denoise(RAMP, method=RECIPES["dip-l1"], strength=0.5)
    with pytest.raises(ValueError, match="a mask says where the damage is"):
        denoise(RAMP, mask=RAMP > 0.7, damage="text")
    with pytest.raises(ValueError, match="a mask says where the damage is"):
        denoise(RAMP, method=DEFAULT, mask=RAMP > 0.7, damage="text")


def noisy_scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image with a tenth of its elements replaced by random values, what is clean, a guess."""
    clean, guess = scene()
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(clean.shape) < 0.1, rng.random(clean.shape), clean)
    return noisy, clean, guess


def found_with(told: Told) -> np.ndarray:
    noisy, _, guess = noisy_scene()
    model = model_of(tensor(noisy), recipe=told.applied(DEFAULT))
    for _ in range(4):
        model.reestimate(tensor(guess))
    return array(corrupted(model).float()) > 0


def test_only_bright_finds_nothing_dark():
    noisy, _, guess = noisy_scene()
    bright, dark = (found_with(Told(only=side)) for side in ("bright", "dark"))
    assert bright.any()
    assert dark.any()
    assert not (bright & (noisy < guess)).any()
    assert not (dark & (noisy > guess)).any()


def test_more_is_found_with_more_strength():
    counts = [found_with(Told(strength=strength)).sum() for strength in (-1, 0, 1)]
    assert counts[0] < counts[1] < counts[2]


def test_a_fit_takes_what_it_is_told():
    noisy, _, _ = noisy_scene()
    result = denoise(
        noisy.astype(np.float32),
        method=small(steps=60),
        damage=["pixels"],
        strength=0.2,
        only="bright",
        max_size=9,
    )
    assert result.mask.any()
