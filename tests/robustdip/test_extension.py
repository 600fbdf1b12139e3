"""Promise: a model of s, a detector, a kind of corruption and a method are added from outside.

Each toy below uses public names only, and is one class or function and one entry.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from robustdip import Method, corrupt, denoise, fit, register
from robustdip.corruption.base import CorruptionSettings, Detector, ShapeDetector, data_loss
from robustdip.kinds import KINDS, Kind
from robustdip.methods import METHODS, check_method
from robustdip.recipes import RECIPES
from tests.helpers.images import small

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True, kw_only=True)
class Threshold(CorruptionSettings):
    """A toy model of s: every residual above a fixed size."""

    size: float = 0.3

    def start(self, problem):
        return ThresholdModel(self.size, problem)


class ThresholdModel:
    clean_fraction = 1.0

    def __init__(self, size, problem):
        self.size, self.problem = size, problem

    def loss(self, x):
        problem = self.problem
        return data_loss(x - problem.y, problem.valid, problem.valid, problem.penalty)

    def step(self, x, average, number):
        pass

    def estimate(self, average):
        residual = self.problem.y - average
        return ThresholdEstimate(average, residual * (residual.abs() > self.size))


@dataclass(frozen=True, eq=False)
class ThresholdEstimate:
    average: torch.Tensor
    corruption: torch.Tensor
    uncertainty: None = None

    @property
    def corrupted(self):
        return self.corruption != 0

    @property
    def image(self):
        return torch.where(self.corrupted, self.average, self.average + 0 * self.corruption)


@dataclass(frozen=True, kw_only=True)
class Corner(Detector):
    """A toy detector: the corner of every image is corrupted."""

    side: int = 3

    def find(self, y, valid):
        found = torch.zeros_like(y, dtype=torch.bool)
        found[..., : self.side, : self.side] = True
        return found


def darkened(image, amount, *, rng):
    """A toy kind of corruption: a random part of the rows is halved."""
    rows = rng.random(len(image)) < amount
    mask = np.zeros(image.shape, bool)
    mask[rows] = True
    return np.where(mask, image / 2, image), mask


@pytest.fixture
def image():
    ramp = np.add.outer(np.linspace(0.2, 0.5, 24), np.linspace(0.0, 0.3, 20))
    ramp[5, 6] = 1.0
    return ramp.astype(np.float32)


def test_a_model_of_s(image):
    recipe = replace(small(steps=60), name="toy", corruption_model=Threshold(size=0.25))
    result = denoise(image, method=recipe)
    assert result.mask[5, 6]
    assert result.corruption[5, 6] > 0.25
    assert result.uncertainty is None
    assert not denoise(image, method=replace(recipe, corruption_model=Threshold(size=2))).mask.any()


def test_a_detector(image):
    recipe = small(steps=10)
    model = replace(recipe.corruption_model, detectors=(Corner(side=4),))
    result = denoise(image, method=replace(recipe, corruption_model=model))
    assert result.mask[:4, :4].all()
    assert not denoise(image, method=recipe).mask[:4, :4].all()


def test_a_kind_of_corruption(image, monkeypatch):
    monkeypatch.setitem(KINDS, "darkened", Kind(f"{__name__}:darkened"))
    noisy, mask = corrupt(image, "darkened", 0.4, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(noisy[mask], image[mask] / 2)
    assert 0 < mask.mean() < 1


TOYS = {
    "toy": replace(small(steps=3), name="toy"),
    "half": lambda values: values / 2,
    "double": lambda values: values.astype(np.float64),
    "nothing": lambda values: None,
    "list": lambda values: values.tolist(),
    "whole": lambda values: (values * 255).astype(np.uint8),
    "flat": lambda values: values[..., 0],
    "nan": lambda values: values * np.nan,
}


@pytest.fixture
def catalogue():
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def test_a_method(image, catalogue):
    """A recipe and a function, each under a name of its own."""
    register(Method(name="toy", summary="", kind="fit", where=f"{__name__}:TOYS"))
    register(Method(name="half", summary="", kind="classical", where=f"{__name__}:TOYS"))
    assert denoise(image, method="toy").steps == 3
    np.testing.assert_array_equal(denoise(image, method="half").image, image / 2)
    with pytest.raises(ValueError, match=r"'half' takes no steps; .*toy do"):
        check_method("half", steps=3)
    with pytest.raises(ValueError, match="a method 'toy' already"):
        register(Method(name="toy", summary="", kind="fit", where=f"{__name__}:TOYS"))


def test_a_result_is_float32_whatever_a_function_computes_in(image, catalogue):
    register(Method(name="double", summary="", kind="classical", where=f"{__name__}:TOYS"))
    assert denoise(image, method="double").corruption.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("nothing", TypeError, "method 'nothing' returned NoneType; an array of floats"),
        ("list", TypeError, "method 'list' returned list; an array of floats"),
        ("whole", TypeError, "method 'whole' returned uint8; an array of floats"),
        ("flat", ValueError, r"returned shape \(24, 20\); \(24, 20, 1\) is needed"),
        ("nan", ValueError, "method 'nan' returned values that are not finite"),
    ],
)
def test_a_function_whose_result_is_no_image_is_refused(image, catalogue, name, error, match):
    register(Method(name=name, summary="", kind="classical", where=f"{__name__}:TOYS"))
    with pytest.raises(error, match=match):
        denoise(image, method=name)


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"name": 3}, TypeError, "name is a int; str is needed"),
        ({"name": ""}, ValueError, "name is empty"),
        ({"kind": "blind"}, ValueError, "kind is 'blind'; use one of fit, classical, interpol"),
        ({"where": "toys"}, ValueError, "where is 'toys'; module:MAPPING is needed"),
    ],
)
def test_a_method_that_cannot_be_is_refused_when_it_is_made(changed, error, match):
    facts = {"name": "mine", "summary": "", "kind": "classical", "where": "toys:TOYS"}
    with pytest.raises(error, match=match):
        Method(**(facts | changed))


@pytest.mark.parametrize(
    ("name", "kind", "where", "error", "match"),
    [
        ("mine", "fit", "nowhere.at_all:TOYS", ValueError, "in 'nowhere.at_all', which is not"),
        ("mine", "fit", f"{__name__}:NONE", ValueError, "has no method 'mine'"),
        ("mine", "fit", f"{__name__}:TOYS", ValueError, "has no method 'mine'"),
        ("half", "fit", f"{__name__}:TOYS", TypeError, "method 'half' is <.*; a Recipe is needed"),
        ("toy", "classical", f"{__name__}:TOYS", TypeError, "a function is needed"),
    ],
)
def test_a_method_that_is_not_where_it_says_is_refused(
    image, catalogue, name, kind, where, error, match
):
    register(Method(name=name, summary="", kind=kind, where=where))
    with pytest.raises(error, match=match):
        denoise(image, method=name)


def test_only_methods_are_registered():
    with pytest.raises(TypeError, match="method is a str; Method is needed"):
        register("median")


@pytest.mark.parametrize("name", METHODS)
def test_the_catalogue_says_what_is_true(name):
    method = METHODS[name]
    found = method.load()
    if method.kind != "fit":
        assert callable(found)
        return
    assert found is RECIPES[name]
    assert method.takes_mask == (found.known_mask is not None)
    step = next(iter(fit(np.full((4, 4, 3), 0.5, np.float32), replace(found, width=16))))
    assert method.gives_uncertainty == (step.uncertainty is not None)


def test_every_recipe_is_a_method():
    assert [name for name, method in METHODS.items() if method.kind == "fit"] == list(RECIPES)


def test_fields_of_a_detector_need_no_default():
    @dataclass(frozen=True)
    class Mine(ShapeDetector):
        prior: float
        only: None
        max_width: float

        def shape_odds(self, y, valid):
            return None

    @dataclass(frozen=True)
    class Settings(CorruptionSettings):
        detectors: tuple

        def start(self, problem):
            return ThresholdModel(0.3, problem)

    assert Mine(1.0, None, 3.0).prior == 1
    assert not Mine(1.0, None, 3.0).hidden
    made = Settings((Corner(),))
    assert (made.detectors, made.shapes, made.pages) == ((Corner(),), (), None)
