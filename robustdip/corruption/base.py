"""What the fit asks of a model of s, and the loss that all models share.

A model of s comes in two parts. Its *settings* are a frozen dataclass that stands in a recipe
(`robustdip.recipes.Recipe.corruption_model`); `CorruptionSettings.start` makes the *model* of one
image from them, which changes from step to step. What a model says after a step is an `Estimate`,
which later steps leave as it is.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

__all__ = [
    "CorruptionModel",
    "CorruptionSettings",
    "Detector",
    "Estimate",
    "Penalty",
    "Problem",
    "data_loss",
]


class Estimate(Protocol):
    """The image and the corruption after one step; all tensors are (1, C, H, W), float32.

    Values are computed when they are asked for.
    """

    @property
    def image(self) -> Tensor:
        """The recovered image; may leave [0, 1] slightly."""
        ...

    @property
    def corruption(self) -> Tensor:
        """What was taken off the image: s."""
        ...

    @property
    def corrupted(self) -> Tensor:
        """The elements judged corrupted, bool."""
        ...

    @property
    def uncertainty(self) -> Tensor | None:
        """Standard deviation of the error of `image`; None without a model of it."""
        ...


class CorruptionModel(Protocol):
    """The model of s for one image, as the fit uses it.

    Attributes
    ----------
    clean_fraction : float
        Fraction of the elements that the model takes for clean at present.
    """

    clean_fraction: float

    def loss(self, x: Tensor) -> Tensor:
        """Mean loss, a scalar, of the network's output x, shape (1, C, H, W)."""
        ...

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        """Update s after step `number`, given the output and its running average."""
        ...

    def estimate(self, average: Tensor) -> Estimate:
        """What the model says now, given the running average of the outputs."""
        ...


class Detector(Protocol):
    """Finds damage that a residual cannot show, before the first step; a frozen dataclass."""

    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """The elements that are certainly corrupted.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `Problem`.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        ...


class CorruptionSettings(Protocol):
    """The settings of a model of s: a frozen dataclass.

    Attributes
    ----------
    squared_loss_only : bool
        The model is defined for the squared loss only.
    one_network_only : bool
        The model needs the output of a single network.
    gives_uncertainty : bool
        `Estimate.uncertainty` is not None.
    """

    squared_loss_only: ClassVar[bool]
    one_network_only: ClassVar[bool]
    gives_uncertainty: ClassVar[bool]

    def start(self, problem: "Problem") -> CorruptionModel:
        """The model for one image, before the first step."""
        ...


@dataclass(frozen=True)
class Penalty:
    """Loss of a residual: its square, or its absolute value rounded off near 0.

    Parameters
    ----------
    kind : {"l2", "l1"}
    rounding : float
        ε of √(r² + ε²), which makes the absolute value smooth. 0.01 are 2.5 of 255 grey levels.
    """

    kind: Literal["l2", "l1"] = "l1"
    rounding: float = 0.01

    def __call__(self, residual: Tensor) -> Tensor:
        """Loss of each element of a residual, of its shape."""
        if self.kind == "l2":
            return residual**2
        return (residual**2 + self.rounding**2).sqrt()


@dataclass(frozen=True, eq=False)
class Problem:
    """One image to fit, as a model of s sees it.

    Attributes
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        The corrupted image in [0, 1], padded to a grid that the network can halve.
    valid : Tensor, float32, shape (1, C, H, W)
        1 for elements of the image, 0 for padding, which comes last in each direction.
    penalty : Penalty
        Loss of one element.
    steps : int
        Length of the fit.
    generator : torch.Generator
        On the CPU, for whatever is random.
    """

    y: Tensor
    valid: Tensor
    penalty: Penalty
    steps: int
    generator: torch.Generator


def data_loss(residual: Tensor, weight: Tensor, valid: Tensor, penalty: Penalty) -> Tensor:
    """Mean over the valid elements of weight · penalty(residual); all are (1, C, H, W)."""
    return (weight * penalty(residual)).sum() / valid.sum()
