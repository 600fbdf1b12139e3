"""Which loss a recipe means, for the methods that are a loss of one network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sop_classify.methods.elr import ELRLoss
from sop_classify.methods.sop import SOPLoss, alpha_for
from sop_classify.recipes import Recipe

__all__ = ["CrossEntropy", "loss_for"]


class CrossEntropy(nn.Module):
    """Cross entropy, called as `SOPLoss` is."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self._label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor, strong: None = None) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self._label_smoothing)


def loss_for(recipe: Recipe, number: int, classes: int, *, generator: torch.Generator) -> nn.Module:
    """The loss of a method with one network, called as `SOPLoss` is.

    Parameters
    ----------
    recipe : Recipe
    number, classes : int
        N training examples and C classes.
    generator : torch.Generator
        Draws the start of u and v, if the recipe gives it a spread.
    """
    if recipe.method == "ce":
        return CrossEntropy(recipe.label_smoothing)
    if recipe.method == "elr":
        return ELRLoss(
            number, classes, decay=recipe.target_decay, regularisation=recipe.regularisation
        )
    if recipe.method not in ("sop", "sop+"):
        raise ValueError(
            f"method {recipe.method!r} is no loss of one network; use sop_classify.training_for"
        )
    alpha_u, alpha_v, start = recipe.alpha_u, recipe.alpha_v, generator
    if recipe.activation_epochs:
        batch = round(number / math.ceil(number / recipe.batch_size))
        alpha_v = alpha_for(recipe.activation_epochs, batch_size=batch, init=recipe.init)
        alpha_u = recipe.alpha_ratio * alpha_v
        start = None  # drawn at random, a good part of the clocks would start several epochs late
    return SOPLoss(
        number,
        classes,
        alpha_u=alpha_u,
        alpha_v=alpha_v,
        balance=recipe.balance,
        consistency=recipe.consistency,
        form=recipe.form,
        init=recipe.init,
        generator=start,
    )
