"""Early-learning regularization (ELR) as a loss: it remembers the early predictions.

Liu, Niles-Weed, Razavian and Fernandez-Granda (NeurIPS 2020, arXiv 2007.00151): a network learns
the right labels first. Example i keeps a running average of its predictions, its target

    t_i ← β t_i + (1 − β) p_i / Σ p_i,        p clamped to [ε, 1 − ε],

and the loss asks the network to stay with it,

    L = CE(p, y) + λ mean_i log(1 − ⟨p_i, t_i⟩),

whose second term falls steeply as p aligns with t, down to what the clamp leaves: its gradient
outweighs that of the cross entropy on labels that contradict the target.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from overparam.checks import check_count, check_real
from sop_classify.methods.catalogue import ELRRecipe
from sop_classify.training.loss import Loss, check_batch, mean_part, never_compiled, new_state

__all__ = ["ELRLoss", "agreement", "clamped_softmax"]

# As in shengliu66/ELR: keeps log(1 − ⟨p, t⟩) finite.
_EPSILON = 1e-4


class ELRLoss(Loss):
    """The ELR loss, which keeps the targets: call it in place of cross entropy.

    In training mode, with gradients enabled, each call first updates the targets of its batch.
    `state_dict` holds them (`targets`); memory is 4·N·C bytes.

    Parameters
    ----------
    num_examples, num_classes : int
        N and C.
    decay : float
        β in [0, 1): 0.7 on CIFAR-10 with symmetric noise, 0.9 with asymmetric and on CIFAR-100.
    regularisation : float
        λ: 3 on CIFAR-10 with symmetric noise, 1 with asymmetric, 7 on CIFAR-100. Other values of
        decay and regularisation cost accuracy (shengliu66/ELR, issue 2).

    Raises
    ------
    TypeError, ValueError
        If a parameter has another type, or is out of its range.

    References
    ----------
    Liu et al., NeurIPS 2020, arXiv 2007.00151, equations 6 and 9.
    """

    targets: Tensor
    rows = ("targets",)
    in_parts = True

    def __init__(
        self,
        num_examples: int,
        num_classes: int,
        *,
        decay: float = 0.7,
        regularisation: float = 3.0,
    ) -> None:
        super().__init__()
        num_examples = check_count("num_examples", num_examples, least=1)
        num_classes = check_count("num_classes", num_classes, least=2)
        self.decay = check_real("decay", decay, least=0, below=1)
        # Above 1e30 the loss overflows float32.
        self.regularisation = check_real("regularisation", regularisation, least=0, most=1e30)
        with torch.inference_mode(False), torch.no_grad():
            self.register_buffer("targets", new_state(num_examples, num_classes))

    @classmethod
    def from_recipe(
        cls,
        recipe: ELRRecipe,
        num_examples: int,
        num_classes: int,
        *,
        generator: torch.Generator,
    ) -> Self:
        """The loss with the settings of a recipe."""
        return cls(
            num_examples,
            num_classes,
            decay=recipe.target_decay,
            regularisation=recipe.regularisation,
        )

    @never_compiled
    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor,
        strong_logits: Tensor | None = None,
        *,
        batch: int | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        logits : Tensor, shape (B, C)
            Any floating dtype; the loss is computed in that of the targets (float32).
        labels, index : Tensor, int64, shape (B,)
            The given labels, and which example each row is.
        strong_logits
            Not used.
        batch : int, optional
            As in `Loss`.

        Returns
        -------
        Tensor, scalar
            Its gradient reaches the logits only; the targets are constants for them.

        Raises
        ------
        TypeError, ValueError
            If a dtype, a shape, a label or an index is another (the last two are not looked at on a
            GPU), the batch is empty, or the targets are in half precision.
        """
        self._check(logits, labels, index, batch)
        # Autocast would compute parts of it in half precision.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.to(self.targets.dtype)
            p = clamped_softmax(logits)
            if self.training and torch.is_grad_enabled():
                self.update(p, index)
            how, number = ("mean", 1) if batch is None else ("sum", batch)
            misfit = F.cross_entropy(logits, labels, reduction=how) / number
            agreed = agreement(p, self.targets[index], batch=batch)
            return misfit + self.regularisation * agreed

    @torch.no_grad()
    def update(self, probability: Tensor, index: Tensor) -> None:
        """Move the targets of the examples `index` towards `probability`, shape (B, C)."""
        shares = probability / probability.sum(1, keepdim=True)
        self.targets[index] = self.decay * self.targets[index] + (1 - self.decay) * shares

    def _check(self, logits: Tensor, labels: Tensor, index: Tensor, batch: int | None) -> None:
        if self.targets.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"the targets are {self.targets.dtype}, in which 0.9999 is 1 and the loss "
                "infinite; keep the loss in float32, whatever the network"
            )
        check_batch(logits, labels, index, shape=self.targets.shape, batch=batch)


def clamped_softmax(logits: Tensor) -> Tensor:
    """Probabilities, shape (B, C), within [ε, 1 − ε]."""
    return logits.softmax(1).clamp(_EPSILON, 1 - _EPSILON)


def agreement(probability: Tensor, target: Tensor, *, batch: int | None = None) -> Tensor:
    """mean_i log(1 − ⟨p_i, t_i⟩), a scalar; both of shape (B, C). Falls as they align."""
    return mean_part((1 - (probability * target).sum(1)).log(), batch)
