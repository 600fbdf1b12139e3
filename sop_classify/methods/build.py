"""Which training a recipe means: the one place that knows all methods."""

from typing import Any

from numpy.typing import ArrayLike

from sop_classify.data.image_data import ImageData
from sop_classify.methods.coteaching_plus import CoTeachingPlus
from sop_classify.methods.dividemix import DivideMix
from sop_classify.methods.elr_plus import ELRPlus
from sop_classify.recipes import Recipe
from sop_classify.training.loop import Training

__all__ = ["TRAININGS", "training_for"]

# The others are a loss of one network each: `sop_classify.methods.losses`.
TRAININGS: dict[str, type[Training]] = {
    "coteaching+": CoTeachingPlus,
    "dividemix": DivideMix,
    "elr+": ELRPlus,
}


def training_for(
    data: ImageData, given_labels: ArrayLike, recipe: Recipe, **options: Any
) -> Training:
    """A `Training`, or the subclass that the recipe's method needs; options as there."""
    return TRAININGS.get(recipe.method, Training)(data, given_labels, recipe, **options)
