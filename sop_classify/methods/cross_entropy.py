"""Cross entropy, the baseline of all methods."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from sop_classify.methods.catalogue import CrossEntropyRecipe
from sop_classify.training.loss import Loss

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
    """Cross entropy with label smoothing, which keeps nothing about the examples.

    Parameters
    ----------
    label_smoothing : float
        Share of each label that is spread over all classes, in [0, 1).
    """

    in_parts = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    @classmethod
    def from_recipe(
        cls,
        recipe: CrossEntropyRecipe,
        num_examples: int,
        num_classes: int,
        *,
        generator: torch.Generator,
    ) -> Self:
        """The loss with the settings of a recipe."""
        return cls(recipe.label_smoothing)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor,
        strong_logits: Tensor | None = None,
        *,
        batch: int | None = None,
    ) -> Tensor:
        """The mean loss of a batch; `index` and `strong_logits` are not used."""
        how, number = ("mean", 1) if batch is None else ("sum", batch)
        smoothing = self.label_smoothing
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction=how) / number
