"""The optimizers of a network, and learning rate and image size over the epochs."""

import math

import torch
from torch import nn

from overparam.muon import ConvolutionMuon
from sop_classify.recipes import Recipe

__all__ = ["image_scale", "optimizers_for", "schedule"]


def optimizers_for(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """SGD or Adam for all weights, or Muon for the convolutions and SGD for all others.

    Raises
    ------
    ValueError
        If no weight of the network is to be trained.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            "the network has no weights that require a gradient; nothing can be trained"
        )
    if recipe.optimizer == "sgd":
        return [
            torch.optim.SGD(
                trained,
                lr=recipe.lr,
                momentum=recipe.momentum,
                nesterov=recipe.nesterov,
                weight_decay=recipe.weight_decay,
            )
        ]
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, 0.999)
        decay = recipe.weight_decay
        return [torch.optim.Adam(trained, lr=recipe.lr, betas=betas, weight_decay=decay)]
    kernels = [p for p in trained if p.ndim == 4]
    matrices = [p for p in trained if p.ndim == 2]
    others = [p for p in trained if p.ndim not in (2, 4)]
    groups = [
        {"params": matrices, "lr": recipe.head_lr},
        {"params": others, "lr": recipe.bias_lr},
    ]
    groups = [group for group in groups if group["params"]]
    optimizers: list[torch.optim.Optimizer] = []
    if kernels:  # a network of one's own may have none, or train none
        momentum = recipe.momentum
        optimizers += [ConvolutionMuon(kernels, lr=recipe.lr, momentum=momentum, unit_rows=True)]
    if groups:
        # 0.85 as in airbench94_muon, for the weights that Muon does not take.
        decay = recipe.weight_decay
        optimizers += [torch.optim.SGD(groups, momentum=0.85, nesterov=True, weight_decay=decay)]
    return optimizers


def schedule(recipe: Recipe, epochs_done: float) -> float:
    """The learning rate after `epochs_done` epochs, as a fraction of the rate at the start."""
    if recipe.schedule == "steps":
        return recipe.step_factor ** sum(epochs_done >= m for m in recipe.milestones)
    if recipe.schedule == "cosine":
        fraction = math.floor(epochs_done) / recipe.epochs
        low = recipe.final_lr / recipe.lr
        return low + (1 - low) * (1 + math.cos(math.pi * fraction)) / 2
    return min(1.0, (1 - epochs_done / recipe.epochs) / (1 - recipe.hold))


def image_scale(recipe: Recipe, epochs_done: int) -> float:
    """The side of the images in the epoch after `epochs_done`, as a fraction of the full side."""
    done = epochs_done / recipe.epochs
    if done >= recipe.full_scale_at:
        return 1.0
    return recipe.start_scale + (1 - recipe.start_scale) * done / recipe.full_scale_at
