"""ELR+: early-learning regularization with two networks, averaged weights and mixup.

Each network's targets follow the *other* network, and of that its running average (the teacher),
which learns the wrong labels later than the network itself:

    t_i ← β t_i + (1 − β) p̃_i / Σ p̃_i,     p̃_i of the other's teacher, on the image as it is,

and both are trained on mixtures with weight l and partner j,

    L = CE(p, l y_i + (1 − l) y_j) + λ ρ mean log(1 − ⟨p, l t_i + (1 − l) t_j⟩),

p the probabilities of the mixed image, clamped in the second term, and ρ a ramp (Liu et al.,
NeurIPS 2020, arXiv 2007.00151, section 4.3 and appendix F; trainer.py and loss.py of shengliu66/ELR
at e2221ce).
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sop_classify.methods.elr import ELRLoss, agreement, clamped_softmax
from sop_classify.methods.mixup import mixing_weight, partners
from sop_classify.training.loop import Training

__all__ = ["ELRPlus", "ramp", "regularised"]


class ELRPlus(Training):
    """Two networks, each with the other's teacher; see the module.

    Both see the same batch in one go. The published code runs one after the other over the data: as
    many passes, two views instead of one. The reports of the training are of the first network's
    teacher on the images before they are mixed: the targets need these predictions anyway, where
    those of the network itself would cost another pass.
    """

    num_networks = 2

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # In training mode and so with the statistics of the batch, as published: the running ones
        # would lag behind weights that themselves lag, and an average of the networks' would be of
        # mixed images, which vary less than those that the teachers see.
        self._teachers = [copy.deepcopy(n).requires_grad_(False).train() for n in self.networks]

    def _make_loss(self, number: int, classes: int, *, generator: torch.Generator) -> nn.Module:
        decay = self.recipe.target_decay
        return nn.ModuleList(ELRLoss(number, classes, decay=decay) for _ in range(2))

    def _modules(self) -> dict[str, nn.Module]:
        teachers = {f"teacher{i + 1}": t for i, t in enumerate(self._teachers)}
        return {**super()._modules(), **teachers}

    def _train_once(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        # A function of the epochs done, and so restored with them.
        self._steps = self.epoch * math.ceil(len(self.given) / self.recipe.batch_size)
        return super()._train_once(on_batch)

    def _step(self, index: Tensor, weak: Tensor, *strong: Tensor) -> tuple[Tensor, Tensor]:
        recipe, x = self.recipe, self._inputs(weak)
        self._steps += 1
        taught = [self._teach(x, network) for network in (0, 1)]
        share = mixing_weight(recipe.mixup, generator=self._generator)
        other = partners(len(x), generator=self._generator, device=self.device)
        label = F.one_hot(self.given[index], taught[0].shape[1]).float()
        label = share * label + (1 - share) * label[other]
        mixed = share * x + (1 - share) * x[other]

        weight = recipe.regularisation * ramp(self._steps, recipe.ramp_steps)
        loss = torch.zeros((), device=self.device)
        for network, memory in enumerate(self.loss):  # type: ignore[arg-type]
            # Clamped as in ELR, which the released code omits here: a target of exactly 0 at the
            # label would make a sharpened label 0/0.
            memory.update(clamped_softmax(taught[1 - network]), index)
            target = memory.targets[index]
            target = share * target + (1 - share) * target[other]
            logits = self._logits(mixed, network=network)
            loss = loss + regularised(
                logits, label, target, weight=weight, mix_labels=recipe.mix_labels
            )
        self._descend(loss)
        self._follow(recipe.teacher_decay * ramp(self._steps + 1, recipe.teacher_ramp))
        return loss.detach() / 2, taught[0]

    @torch.no_grad()
    def _teach(self, x: Tensor, network: int) -> Tensor:
        self._passes[0] += len(x)
        with self._autocast():
            return self._teachers[network](x).float()

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        for teacher, network in zip(self._teachers, self.networks, strict=True):
            for old, new in zip(teacher.parameters(), network.parameters(), strict=True):
                old.lerp_(new, 1 - decay)


def regularised(
    logits: Tensor, label: Tensor, target: Tensor, *, weight: float, mix_labels: bool = False
) -> Tensor:
    """CE(p, label) + weight · mean log(1 − ⟨p, target⟩) for mixed labels and targets, all (B, C).

    With `mix_labels` the label is label∘target over its sum instead, as published for CIFAR-100.
    """
    if mix_labels:
        label = label * target
        label = label / label.sum(1, keepdim=True)
    misfit = -(label * logits.log_softmax(1)).sum(1).mean()
    return misfit + weight * agreement(clamped_softmax(logits), target)


def ramp(step: int, length: int) -> float:
    """exp(−5 (1 − step/length)²) up to `length` steps, then 1; always 1 for length 0."""
    return math.exp(-5 * (1 - min(1.0, step / length)) ** 2) if length else 1.0
