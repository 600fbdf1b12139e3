"""The recipe for the number of a user's images."""

import pytest

from sop_classify import recipe_for
from sop_classify.cli.own_images import fitted
from sop_classify.recipes import resized


@pytest.mark.parametrize(
    ("number", "epochs", "lr"),
    [
        (100, 44, 0.24),
        (2_000, 32, 0.184),
        (5_000, 24, 0.149),
        (50_000, 11, 0.09),
        (1_000_000, 11, 0.09),
    ],
)
def test_few_images_are_seen_more_often_and_in_larger_steps(number, epochs, lr):
    recipe = fitted(recipe_for("cpu", "sop"), number, epochs=None, mirror=True)
    assert recipe.epochs == epochs
    assert recipe.lr == pytest.approx(lr, abs=5e-4)
    assert recipe == resized(recipe_for("cpu", "sop"), epochs).changed(lr=recipe.lr)


def test_without_mirror_images():
    recipe = fitted(recipe_for("cpu", "sop"), 100, epochs=2, mirror=False)
    assert (recipe.epochs, recipe.flip, recipe.flips) == (2, "none", False)
