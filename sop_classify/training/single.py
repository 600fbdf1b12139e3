"""One network, trained with one loss: most methods are no more than a loss."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from overparam.checks import check_type
from sop_classify.data.image_data import ImageData
from sop_classify.recipes import Recipe
from sop_classify.training.loop import TrainingLoop
from sop_classify.training.loss import Loss

__all__ = ["Training"]


class Training(TrainingLoop):
    """One network, trained with one loss.

    Parameters
    ----------
    data, given_labels, recipe, network, statistics, balanced, seed, device, compile
        As in `TrainingLoop`. `training_for` makes a training with the loss of the recipe's method.
    loss : Loss

    Attributes
    ----------
    loss : Loss

    Raises
    ------
    TypeError, ValueError
        As in `TrainingLoop`.
    """

    def __init__(
        self,
        data: ImageData,
        given_labels: ArrayLike,
        recipe: Recipe,
        *,
        loss: Loss,
        network: nn.Module | Sequence[nn.Module] | None = None,
        statistics: tuple[ArrayLike, ArrayLike] | None = None,
        balanced: bool = False,
        seed: int = 0,
        device: str = "auto",
        compile: bool = False,
    ) -> None:
        self.loss = check_type("loss", loss, Loss)
        super().__init__(
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

    def setup(self) -> None:
        """Move the loss to the device, with the rows of this process."""
        for name in self.loss.rows:
            rows = self.processes.take(getattr(self.loss, name))
            self.loss.register_buffer(name, rows)
        self.loss = self.loss.to(self.device)

    @property
    def in_parts(self) -> bool:  # type: ignore[override]
        """Whether the loss is one that several processes can share."""
        return self.loss.in_parts

    @property
    def per_example(self) -> tuple[str, ...]:
        """Those of every training, and the rows of the loss."""
        return (*super().per_example, *(f"loss.{name}" for name in self.loss.rows))

    @property
    def views(self) -> Sequence[str]:
        """Those that the loss needs."""
        return self.loss.views

    @property
    def strong_share(self) -> float:
        """That of the loss."""
        return self.loss.strong_share

    def modules(self) -> dict[str, nn.Module]:
        """The network, its average, and the loss."""
        return {**super().modules(), "loss": self.loss}

    def report(self) -> dict[str, Tensor]:
        """What the loss knows about each training example."""
        return self.loss.report(self.given)

    def rates(self) -> dict[str, float]:
        """The learning rate, and the step sizes of the loss."""
        return {**super().rates(), **self.loss.rates}

    def step(self, index: Tensor, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on the loss of one batch; reports the logits of the weak views."""
        x = self.inputs(views[0] if len(views) == 1 else torch.cat(views))
        logits, *strong_logits = self.logits(x).split([len(view) for view in views])
        row = self.processes.row(index)
        options: dict[str, Any] = {}
        if self.processes.number > 1:
            options["batch"] = self.batch
        if strong_logits and self.strong_share < 1:
            options["strong"] = self.shown
        loss = self.loss(logits, self.given[index], row, *strong_logits, **options)
        self.descend(loss)
        return loss.detach(), logits.detach()
