"""What the fit asks of a model of s, and the loss that all models share.

A model of s has two parts. Its *settings* are a frozen dataclass in a recipe
(`robustdip.recipes.Recipe.corruption_model`). `CorruptionSettings.start` makes the *model* of one
image from them, which changes from step to step. After a step the model gives an `Estimate`, which
later steps do not change.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from robustdip.corruption.pages import Pages

__all__ = [
    "CorruptionModel",
    "CorruptionSettings",
    "Detector",
    "Estimate",
    "Penalty",
    "Problem",
    "ShapeDetector",
    "data_loss",
    "odds_of_shapes",
    "real_size",
    "steps_per_side",
]


class Estimate(Protocol):
    """The image and the corruption after one step; all tensors are (1, C, H, W), float32.

    Values are computed when they are read.
    """

    @property
    def image(self) -> Tensor:
        """The recovered image; may leave [0, 1] slightly."""
        ...

    @property
    def corruption(self) -> Tensor:
        """s, which was subtracted from the image."""
        ...

    @property
    def corrupted(self) -> Tensor:
        """The elements found corrupted, bool."""
        ...

    @property
    def uncertainty(self) -> Tensor | None:
        """Standard deviation of the error of `image`; None if the model does not estimate it."""
        ...


class CorruptionModel(Protocol):
    """The model of s for one image, as the fit uses it.

    Attributes
    ----------
    clean_fraction : float
        Fraction of the elements that count as clean at present.
    """

    clean_fraction: float

    def loss(self, x: Tensor) -> Tensor:
        """Compute the mean loss of the network's output.

        Parameters
        ----------
        x : Tensor, float32, shape (1, C, H, W)

        Returns
        -------
        Tensor, shape ()
            Differentiable with respect to x.
        """
        ...

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        """Update s after a step.

        Parameters
        ----------
        x, average : Tensor, float32, shape (1, C, H, W)
            The network's output of this step, and the running average of its outputs.
        number : int
            Number of the step, counted from 1.
        """
        ...

    def estimate(self, average: Tensor) -> Estimate:
        """Give the present estimate of the image and of s.

        Parameters
        ----------
        average : Tensor, float32, shape (1, C, H, W)
            The running average of the network's outputs.

        Returns
        -------
        Estimate
        """
        ...


class Detector(Protocol):
    """Base of detectors that find damage which residuals do not show; frozen dataclasses.

    Attributes
    ----------
    whole_picture : bool
        A large picture is examined in parts, but for detectors that need the whole, such as one of
        lines from end to end.
    """

    whole_picture: ClassVar[bool] = False

    def find(self, y: Tensor, valid: Tensor) -> Tensor:
        """Find elements that are certainly corrupted.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `Problem`.

        Returns
        -------
        Tensor, bool, shape (1, C, H, W)
        """
        ...


class ShapeDetector(Protocol):
    """Base of detectors that find what is probably damage by its shape; frozen dataclasses.

    Attributes
    ----------
    hidden : bool
        Whether the odds ℓ are calibrated. Then the network descends on what is found with the
        weight min(1, e^−ℓ) in all steps, not only until the first estimate, so that it does not
        learn the damage little by little. Detail that is found by mistake is known from its
        surroundings only.
    """

    hidden: ClassVar[bool] = False

    # To read: at run time a property would stand in the way of a field.
    if TYPE_CHECKING:

        @property
        def prior(self) -> float:
            """Log odds that what has such a shape is damage."""
            ...

        @property
        def only(self) -> Literal["bright", "dark"] | None:
            """Find only what is brighter, or only what is darker, than its surroundings."""
            ...

        @property
        def max_width(self) -> float:
            """Width in pixels of the widest shape."""
            ...

    def shape_odds(self, y: Tensor, valid: Tensor) -> Tensor | None:
        """Estimate log odds of damage.

        Parameters
        ----------
        y, valid : Tensor, float32, shape (1, C, H, W)
            As in `Problem`.

        Returns
        -------
        Tensor, float32, shape (1, 1, H, W), or None
            Prior log odds that all channels of a pixel are corrupted and not none; 0 where the
            shape says nothing. None if it says nothing anywhere.
        """
        ...


class CorruptionSettings(Protocol):
    """Base of the settings of a model of s; frozen dataclasses.

    Attributes
    ----------
    squared_loss_only : bool
        The model is defined for the squared loss only.
    one_network_only : bool
        The model needs the output of a single network.
    takes_certain : bool
        The model uses `Problem.corrupted` and `Problem.clean`; otherwise such a problem is refused.
    keeps_clean : bool
        The model leaves clean elements as they are, and uses `Problem.found`. Parts of a large
        picture in which nothing is wrong are then not fitted.
    """

    squared_loss_only: ClassVar[bool] = False
    one_network_only: ClassVar[bool] = False
    takes_certain: ClassVar[bool] = False
    keeps_clean: ClassVar[bool] = False

    if TYPE_CHECKING:

        @property
        def detectors(self) -> tuple[Detector, ...]:
            """They find elements that are certainly corrupted."""
            return ()

        @property
        def shapes(self) -> tuple[ShapeDetector, ...]:
            """They find what is probably corrupted, by its shape."""
            return ()

        @property
        def pages(self) -> "Pages | None":
            """What tells a page from a photograph; None if the model does not ask."""
            return None

    else:
        detectors, shapes, pages = (), (), None

    def start(self, problem: "Problem") -> CorruptionModel:
        """Make the model for one image, before the first step.

        Parameters
        ----------
        problem : Problem

        Returns
        -------
        CorruptionModel
        """
        ...


@dataclass(frozen=True)
class Penalty:
    """Loss of a residual r: r², or the smoothed absolute value √(r² + ε²).

    Parameters
    ----------
    kind : {"l2", "l1"}
        The square, or the absolute value.
    rounding : float
        ε, which makes the absolute value smooth at 0. 0.01 is 2.5 of 255 grey levels.
    """

    kind: Literal["l2", "l1"] = "l1"
    rounding: float = 0.01

    def __call__(self, residual: Tensor) -> Tensor:
        """Loss of each element of a residual, as a Tensor of its shape."""
        if self.kind == "l2":
            return residual**2
        return (residual**2 + self.rounding**2).sqrt()


@dataclass(frozen=True, eq=False)
class Problem:
    """What a model of s knows about the image to fit.

    Attributes
    ----------
    y : Tensor, float32, shape (1, C, H, W)
        The corrupted image in [0, 1], padded to a grid that the network can halve.
    valid : Tensor, float32, shape (1, C, H, W)
        1 for elements of the image, 0 for padding, which is at the bottom and on the right.
    penalty : Penalty
        Loss of one element.
    steps : int
        Number of steps of the fit.
    generator : torch.Generator
        On the CPU; source of any randomness.
    corrupted, clean : Tensor, bool, shape (1, C, H, W), or None
        Elements that are certainly corrupted, and certainly clean; none is in both. Others are to
        be judged. None if nothing is certain.
    found : Tensor, bool, shape (1, C, H, W), or None
        What detectors have found in a larger picture, of which y is a part. None if they and the
        detectors of shapes are still to be asked.
    shape_odds : Tensor, float32, shape (1, 2, H, W), or None
        With `found`, what `odds_of_shapes` is in the larger picture.
    """

    y: Tensor
    valid: Tensor
    penalty: Penalty
    steps: int
    generator: torch.Generator
    corrupted: Tensor | None = None
    clean: Tensor | None = None
    found: Tensor | None = None
    shape_odds: Tensor | None = None


def odds_of_shapes(shapes: Sequence[ShapeDetector], y: Tensor, valid: Tensor) -> Tensor | None:
    """Ask detectors of shapes.

    Parameters
    ----------
    shapes : sequence of ShapeDetector
    y, valid : Tensor, float32, shape (1, C, H, W)
        As in `Problem`.

    Returns
    -------
    Tensor, float32, shape (1, 2, H, W), or None
        The largest log odds of those that say something, among all shapes and among those that are
        hidden from the network; 0 where none says anything. None if none does anywhere.
    """
    asked = [(shape.shape_odds(y, valid), shape.hidden) for shape in shapes]
    every = [odds for odds, _ in asked if odds is not None]
    if not every:
        return None
    hidden = [odds for odds, is_hidden in asked if odds is not None and is_hidden]
    none = torch.zeros_like(every[0])
    return torch.cat([reduce(_larger, every, none), reduce(_larger, hidden, none)], dim=1)


def _larger(one: Tensor, other: Tensor) -> Tensor:
    """The larger log odds of two shapes, of which 0 says nothing: odds below it may be all."""
    return torch.where((one == 0) | (other == 0), one + other, torch.maximum(one, other))


def real_size(valid: Tensor) -> tuple[int, int]:
    """H and W of the image without the padding, which is at the bottom and on the right.

    Parameters
    ----------
    valid : Tensor, shape (1, C, H, W)
        1 for elements of the image, 0 for padding.
    """
    height, width = (int(valid[0, 0].amax(dim=dim).sum()) for dim in (1, 0))
    return height, width


def steps_per_side(per_pixel: float, valid: Tensor, *, at_most: int) -> int:
    """Number of steps in proportion to the image's side.

    Detail and noise of larger images take more steps to learn.

    Parameters
    ----------
    per_pixel : float
        Steps per pixel of the side.
    valid : Tensor, shape (1, C, H, W)
        As in `robustdip.corruption.base.Problem`. The side is the square root of its area, and at
        least 64.
    at_most : int
        Largest number of steps.

    Returns
    -------
    int
    """
    side = max(64.0, math.sqrt(float(valid[0, 0].sum())))
    return min(round(per_pixel * side), at_most)


def data_loss(residual: Tensor, weight: Tensor, valid: Tensor, penalty: Penalty) -> Tensor:
    """Mean over the valid elements of weight · penalty(residual).

    Parameters
    ----------
    residual, weight, valid : Tensor, shape (1, C, H, W)
    penalty : Penalty

    Returns
    -------
    Tensor, shape ()
    """
    return (weight * penalty(residual)).sum() / valid.sum()
