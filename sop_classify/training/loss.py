"""What `Training` asks of a loss."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Self, TypeVar, cast

import torch
from torch import Tensor, nn

from overparam.checks import check_count, check_type
from sop_classify.recipes import Recipe

__all__ = [
    "Loss",
    "check_batch",
    "check_floats",
    "mean_part",
    "never_compiled",
    "new_state",
]

_Forward = TypeVar("_Forward", bound=Callable[..., Any])


def never_compiled(forward: _Forward) -> _Forward:
    """Keep the `forward` of a loss out of graphs of `torch.compile`; the network can be in one.

    Compiled, a loss that moves what it keeps would give wrong gradients: AOTAutograd reads it again
    in the backward pass, after it has moved. Unlike `torch.compiler.disable` as a decorator this
    does not import the compiler, which takes 1.5 s, before it compiles something.
    """

    @wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(forward)(*args, **kwargs)
        return forward(*args, **kwargs)

    return cast(_Forward, call)


class Loss(nn.Module):
    """A loss of one network that may keep something about each training example.

    A subclass has `forward`. What it keeps belongs into buffers, so that it is saved with the
    training, and not into parameters, because the optimizers train the network alone.

    Attributes
    ----------
    rows : tuple of str
        The names of the buffers that have a row for each example, such as "u".
    in_parts : bool
        Whether `forward` takes `batch`, so that several processes can train together.
    """

    rows: tuple[str, ...] = ()
    in_parts = False

    @property
    def views(self) -> Sequence[str]:
        """Augmented views of each image that `forward` needs: "weak", or "weak" and "strong"."""
        return ("weak",)

    @property
    def strong_share(self) -> float:
        """The share of the images of every batch that get strong views, if `views` has them."""
        return 1.0

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
        batch : int
            Only if `in_parts` says so, and other processes have the rest of the batch: its whole
            size. The result is then the part of the mean that comes from these examples, of which
            there may be none; the parts of all processes add up to the mean. `index` is the row
            that this process keeps about each example.
        strong : Tensor, int64, shape (S,)
            Only if `strong_share` is below 1: the rows of the batch that `strong_logits` is of.
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


def mean_part(values: Tensor, batch: int | None) -> Tensor:
    """The mean of values, one an example; if the batch is larger, their part of its mean.

    Parameters
    ----------
    values : Tensor, shape (B,)
    batch : int or None
        As in `Loss.forward`; None if these are all.
    """
    return values.mean() if batch is None else values.sum() / batch


def new_state(*shape: int) -> Tensor:
    """Zeros in float32 for what a loss keeps, on the default device unless that has no memory."""
    device = torch.get_default_device()
    return torch.zeros(
        *shape, dtype=torch.float32, device="cpu" if device.type == "meta" else device
    )


def check_floats(name: str, values: Tensor) -> None:
    """Raise TypeError unless this is a tensor of floating dtype."""
    if not check_type(name, values, Tensor).is_floating_point():
        raise TypeError(f"{name} are {values.dtype}; a floating dtype is needed")


def check_batch(
    logits: Tensor,
    labels: Tensor,
    index: Tensor,
    *,
    shape: tuple[int, ...],
    batch: int | None = None,
) -> None:
    """Raise an error unless these are the logits, labels and indices of a batch.

    Parameters
    ----------
    logits : Tensor, floats, shape (B, C)
    labels : Tensor, int64, shape (B,)
        In [0, C); compared with this range on the CPU only.
    index : Tensor, int64, shape (B,)
        In [0, N); likewise.
    shape : tuple of int
        (N, C).
    batch : int, optional
        As in `Loss.forward`: with it there may be no rows here.
    """
    number, num_classes = shape
    check_floats("logits", logits)
    for name, values in {"labels": labels, "index": index}.items():
        if check_type(name, values, Tensor).dtype != torch.int64:
            raise TypeError(f"{name} are {values.dtype}; int64 is needed")
    rows = labels.numel()
    if batch is not None:
        check_count("batch", batch, least=max(1, rows))
    elif rows == 0:
        raise ValueError("the batch is empty; leave it out")
    if logits.shape != (rows, num_classes) or index.shape != labels.shape or labels.dim() != 1:
        raise ValueError(
            f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, index "
            f"{tuple(index.shape)}: expected ({rows}, {num_classes}), ({rows},) and ({rows},)"
        )
    for name, values, limit in ("labels", labels, num_classes), ("index", index, number):
        if values.device.type != "cpu" or not rows:
            continue  # it would have to be waited for
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= limit:
            raise ValueError(f"{name} go from {low} to {high}; 0 to {limit - 1} are possible")
