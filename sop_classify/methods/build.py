"""Recipe -> training: the implementation that the catalogue names."""

import pkgutil
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import nn

from overparam.checks import LARGEST_SEED, check_count, check_type
from overparam.modes import own_modes
from sop_classify.data.image_data import ImageData
from sop_classify.methods.catalogue import find_method
from sop_classify.recipes import Recipe
from sop_classify.training.loop import TrainingLoop
from sop_classify.training.loss import Loss
from sop_classify.training.pretrained import Pretrained, start_networks
from sop_classify.training.single import Training

__all__ = ["loss_for", "training_for"]


def training_for(
    data: ImageData,
    given_labels: ArrayLike,
    recipe: Recipe,
    *,
    network: nn.Module | Sequence[nn.Module] | None = None,
    weights: Pretrained | None = None,
    balanced: bool = False,
    seed: int = 0,
    device: str = "auto",
    compile: bool = False,
) -> TrainingLoop:
    """The training by a recipe's method.

    Parameters
    ----------
    data, given_labels, recipe, network, balanced, seed, device, compile
        As in `sop_classify.training.loop.TrainingLoop`.
    weights : Pretrained, optional
        What the recipe's networks start from, see `sop_classify.training.pretrained`. Not with a
        `network` of your own.

    Returns
    -------
    TrainingLoop
        A `Training` if the method is a loss of one network.

    Raises
    ------
    ValueError
        If the method is unknown, or data and recipe do not fit.
    """
    kind = _implementation(recipe)
    check_type("data", data, ImageData)
    statistics = None
    if weights is not None:
        if network is not None:
            raise ValueError("network and weights are given; load the weights into the network")
        number = 1 if issubclass(kind, Loss) else kind.num_networks
        statistics = (weights.mean, weights.std)
        start = torch.Generator("cpu").manual_seed(check_count("seed", seed, most=LARGEST_SEED))
        with own_modes(torch.device("cpu")):
            network = start_networks(weights, recipe.network, data, number, generator=start)
    if not issubclass(kind, Loss):
        return kind(
            data,
            given_labels,
            recipe,
            network=network,
            statistics=statistics,
            balanced=balanced,
            seed=seed,
            device=device,
            compile=compile,
        )
    loss = loss_for(recipe, len(data.train_images), len(data.class_names), seed=seed)
    return Training(
        data,
        given_labels,
        recipe,
        loss=loss,
        network=network,
        statistics=statistics,
        balanced=balanced,
        seed=seed,
        device=device,
        compile=compile,
    )


def loss_for(recipe: Recipe, num_examples: int, num_classes: int, *, seed: int = 0) -> Loss:
    """The loss of a recipe's method.

    Parameters
    ----------
    recipe : Recipe
    num_examples, num_classes : int
        N and C.
    seed : int
        For the losses that start at random.

    Raises
    ------
    ValueError
        If the method is unknown, or more than a loss of one network.
    """
    kind = _implementation(recipe)
    if not issubclass(kind, Loss):
        raise ValueError(
            f"method {recipe.method!r} is more than a loss of one network; use training_for"
        )
    # A generator of its own, so that all methods see the same views for the same seed.
    generator = torch.Generator("cpu").manual_seed(check_count("seed", seed, most=LARGEST_SEED))
    with own_modes(torch.device("cpu")):
        return kind.from_recipe(recipe, num_examples, num_classes, generator=generator)


def _implementation(recipe: Recipe) -> type[Loss] | type[TrainingLoop]:
    check_type("recipe", recipe, Recipe)
    return pkgutil.resolve_name(find_method(recipe.method).implementation)
