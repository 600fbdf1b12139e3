"""ELR+: early-learning regularization with two networks, averaged weights and mixup.

Each network's targets follow the running average of the *other* network's weights (the teacher),
which learns wrong labels later than the network itself:

    t_i ← β t_i + (1 − β) p̃_i / Σ p̃_i,     p̃_i of the other's teacher, on the image as it is,

and both are trained on mixtures with weight l and partner j,

    L = CE(p, l y_i + (1 − l) y_j) + λ ρ mean log(1 − ⟨p, l t_i + (1 − l) t_j⟩),

p the probabilities of the mixed image, clamped in the second term, and ρ a ramp (Liu et al.,
NeurIPS 2020, arXiv 2007.00151, section 4.3 and appendix F; trainer.py and loss.py of shengliu66/ELR
at e2221ce).
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sop_classify.methods.catalogue import ELRPlusRecipe
from sop_classify.methods.elr import ELRLoss, agreement, clamped_softmax
from sop_classify.methods.mixup import mixing_weight, partners
from sop_classify.training.loop import TrainingLoop

__all__ = ["ELRPlus", "ramp", "regularised"]


class ELRPlus(TrainingLoop):
    """Two networks, each with the other's teacher; see the module.

    Both networks see the same batch at once. The published code trains one after the other, with as
    many passes and with two views instead of one. The reports describe the first network's teacher
    on the images before they are mixed: the targets need these predictions anyway, while the
    network's own would cost another pass.

    Parameters and attributes are those of `TrainingLoop`; the recipe is an `ELRPlusRecipe`.

    Attributes
    ----------
    memories : ModuleList of ELRLoss
        The targets of each network.
    teachers : list of Module
        The averaged weights of each network.
    """

    num_networks = 2
    recipe: ELRPlusRecipe

    def setup(self) -> None:
        """Make the targets and the teachers."""
        number, classes = self.probability.shape
        decay = self.recipe.target_decay
        memories = nn.ModuleList(ELRLoss(number, classes, decay=decay) for _ in range(2))
        self.memories = memories.to(self.device)
        # In training mode, that is with the statistics of the batch, as published. Running averages
        # of the teacher's would lag behind weights that lag themselves; those of the network are of
        # mixed images, which vary less than the images that the teachers see.
        self.teachers = [copy.deepcopy(n).requires_grad_(False).train() for n in self.networks]

    def modules(self) -> dict[str, nn.Module]:
        """The networks, their averages, targets and teachers."""
        teachers = {f"teacher{i + 1}": t for i, t in enumerate(self.teachers)}
        return {**super().modules(), "loss": self.memories, **teachers}

    def step(self, index: Tensor, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on one batch: the mean of both losses, and the first teacher's logits."""
        recipe, x, number = self.recipe, self.inputs(views[0]), self.steps + 1
        taught = [self.ask_teacher(x, network) for network in (0, 1)]
        share = mixing_weight(recipe.mixup, generator=self.generator)
        other = partners(len(x), generator=self.generator, device=self.device)
        label = F.one_hot(self.given[index], taught[0].shape[1]).float()
        label = share * label + (1 - share) * label[other]
        mixed = share * x + (1 - share) * x[other]

        weight = recipe.regularisation * ramp(number, recipe.ramp_steps)
        loss = torch.zeros((), dtype=torch.float32, device=self.device)
        for network, memory in enumerate(self.memories):
            # Clamped as in ELR, which the released code omits here: a target of exactly 0 at the
            # label would make a sharpened label 0/0.
            memory.update(clamped_softmax(taught[1 - network]), index)  # type: ignore[operator]
            target = memory.get_buffer("targets")[index]
            target = share * target + (1 - share) * target[other]
            logits = self.logits(mixed, network=network)
            loss = loss + regularised(
                logits, label, target, weight=weight, mix_labels=recipe.mix_labels
            )
        self.descend(loss)
        self.update_teachers(recipe.teacher_decay * ramp(number + 1, recipe.teacher_ramp))
        return loss.detach() / 2, taught[0]

    @torch.no_grad()
    def ask_teacher(self, x: Tensor, network: int) -> Tensor:
        """The logits of a network's teacher, float32 (B, C)."""
        self.count_passes(len(x), backward=False)
        with self.autocast():
            logits = self.teachers[network](x).float()
        return self.adjusted(logits)

    @torch.no_grad()
    def update_teachers(self, decay: float) -> None:
        """Move the teachers' weights towards those of the networks."""
        for teacher, network in zip(self.teachers, self.networks, strict=True):
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
