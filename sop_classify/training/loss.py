"""What `Training` asks of a loss."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from sop_classify.recipes import Recipe

__all__ = ["Loss"]


class Loss(nn.Module):
    """A loss of one network that may keep something about each training example.

    A subclass has `forward`. What it keeps belongs into buffers, so that it is saved with the
    training, and not into parameters, because the optimizers train the network alone.
    """

    @property
    def views(self) -> Sequence[str]:
        """Augmented views of each image that `forward` needs: "weak", or "weak" and "strong"."""
        return ("weak",)

    @property
    def rates(self) -> Mapping[str, float]:
        """Step sizes to report; "alpha_u" and "alpha_v" are columns of metrics.csv."""
        return {}

    @classmethod
    def from_recipe(
        cls, recipe: Recipe, num_examples: int, num_classes: int, *, generator: torch.Generator
    ) -> Self:
        """The loss with the settings of a recipe; a method of the catalogue needs it.

        Parameters
        ----------
        recipe : Recipe
        num_examples, num_classes : int
            N and C.
        generator : torch.Generator
            On the CPU, for a random start.
        """
        raise NotImplementedError(f"{cls.__name__} cannot be made from a recipe")

    def forward(
        self, logits: Tensor, labels: Tensor, index: Tensor, strong_logits: Tensor | None = None
    ) -> Tensor:
        """The mean loss of a batch, a scalar.

        Parameters
        ----------
        logits : Tensor, float32, shape (B, C)
            Of the weak views.
        labels, index : Tensor, int64, shape (B,)
            The given labels, and the position of each example in the training set.
        strong_logits : Tensor, float32, shape (B, C), optional
            Of the strong views, if `views` asks for them.
        """
        raise NotImplementedError

    def report(self, labels: Tensor) -> dict[str, Tensor]:
        """What the loss knows about the training examples, each of shape (N,). By default nothing.

        The means of "u" and "v" are columns of metrics.csv.

        Parameters
        ----------
        labels : Tensor, int64, shape (N,)
            The given labels of all examples.
        """
        return {}
