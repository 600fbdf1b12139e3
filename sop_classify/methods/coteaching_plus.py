"""Co-teaching+: two networks that teach each other the examples they disagree on.

A network learns the right labels first, so that a small cross entropy ℓ marks a label as probably
right. To trust its own marks would confirm a network in its errors; hence each of two networks with
different starts chooses for the other. On a batch, with R(t) the share left out in epoch t,

    S_k = the ⌈(1 − R(t)) |D|⌉ examples of D with the smallest ℓ_k,       R(t) = τ min(t/T, 1),
    loss of network 1 = mean of ℓ_1 over S_2,        loss of network 2 = mean of ℓ_2 over S_1.

D is the whole batch at first (Co-teaching: Han et al., NeurIPS 2018, arXiv 1804.06872, Algorithm
1). Two networks taught so become one; after a warm-up D is therefore only where their predictions
differ (Co-teaching+: Yu et al., ICML 2019, arXiv 1901.04215, Algorithm 1). τ, the fraction of wrong
labels, has to be known.

Deliberately not as in the released code (xingruiyu/coteaching_plus at 40d5831):

- The cross entropy is that of the logits. There it is that of their softmax, as if this were
  logits once more, after the warm-up.
- The mean over S is a mean. There it is divided by |S| a second time.
- Example 0 of the data set counts as every other. There it is lost from D.
- |S| is rounded up, as in both papers' Algorithm 1 (at least (1 − R)|D| of them), so that one
  example is always left. There it is rounded down, and none means all.
- Epochs count from 0 and R(t) reaches τ in epoch T. There epoch 0 is never run (of 200 epochs, 20
  of them warm-up, 199 and 19 are) and R is τ from epoch T − 1 on.
- Where the networks agree on all of a batch, D is the batch again, and R(t) of it are left out. The
  papers leave this case open. There both networks learn the whole batch, wrong labels included, as
  long as epoch × batch, meant to count steps, is below 5000, and then have a loss of 0. That would
  be no pause: momentum carries on, and Muon makes a full step of whatever is left of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sop_classify.methods.catalogue import CoTeachingPlusRecipe
from sop_classify.training.loop import TrainingLoop

__all__ = ["CoTeachingPlus", "disagreement_loss", "drop_rate", "exchange_loss"]


class CoTeachingPlus(TrainingLoop):
    """Two networks, each taught the examples that the other finds easy; see the module.

    With a warm-up of all epochs it is Co-teaching. Parameters and attributes are those of
    `TrainingLoop`; the recipe is a `CoTeachingPlusRecipe`.

    Raises
    ------
    ValueError
        If the recipe's noise rate is not above 0 and below 1.
    """

    num_networks = 2
    recipe: CoTeachingPlusRecipe

    def setup(self) -> None:
        """Refuse an unknown noise rate."""
        if not 0 < self.recipe.noise_rate < 1:
            raise ValueError(
                f"noise_rate is {self.recipe.noise_rate}; coteaching+ has to know the fraction of "
                "wrong labels, between 0 and 1: set it, say with --set noise_rate=0.4"
            )

    def step(self, index: Tensor, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Descend on one batch: the mean of both losses, and the first network's logits."""
        recipe, x = self.recipe, self.inputs(views[0])
        first, second = (self.logits(x, network=k) for k in (0, 1))
        losses_of = exchange_loss if self.epoch < recipe.warmup else disagreement_loss
        keep = 1 - drop_rate(self.epoch, noise_rate=recipe.noise_rate, ramp=recipe.drop_ramp)
        # Neither loss has a gradient in the other network, so one backward pass serves both.
        loss_1, loss_2 = losses_of(first, second, self.given[index], keep=keep)
        loss = loss_1 + loss_2
        self.descend(loss)
        return loss.detach() / 2, first.detach()


def drop_rate(epoch: float, *, noise_rate: float, ramp: float) -> float:
    """R(t) = τ min(t/T, 1), the share of examples left out after `epoch` epochs; τ for T = 0."""
    return noise_rate * min(epoch / ramp, 1.0) if ramp else noise_rate


def exchange_loss(
    logits_1: Tensor, logits_2: Tensor, labels: Tensor, *, keep: float, among: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each network's mean cross entropy over the examples that are easiest for the other.

    Parameters
    ----------
    logits_1, logits_2 : Tensor, float32 or float64, shape (B, C)
        Of two networks for the same examples.
    labels : Tensor, int64, shape (B,)
        The given labels, right or wrong.
    keep : float
        1 − R in (0, 1]: the fraction to learn from, rounded up to a whole number of examples. Of
        equally easy ones the first are taken.
    among : Tensor, bool, shape (B,), optional
        D, the examples to choose from, at least one; all by default.

    Returns
    -------
    tuple of Tensor, scalars
        The first has a gradient in `logits_1` only, the second in `logits_2` only.

    Raises
    ------
    ValueError
        If shapes do not fit or `keep` is out of its range.

    References
    ----------
    Han et al., NeurIPS 2018, arXiv 1804.06872, Algorithm 1, lines 4 to 8.
    """
    batch = labels.numel()
    if batch == 0 or logits_1.shape != logits_2.shape or logits_1.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits {tuple(logits_1.shape)} and {tuple(logits_2.shape)}, labels "
            f"{tuple(labels.shape)}: expected (B, C) twice and (B,) with B > 0"
        )
    if not 0 < keep <= 1:
        raise ValueError(f"keep is {keep}; it must be above 0 and at most 1")
    if among is None:
        among = torch.ones_like(labels, dtype=torch.bool)
    each_1, each_2 = (F.cross_entropy(z, labels, reduction="none") for z in (logits_1, logits_2))
    easiest_1, easiest_2 = (
        each.masked_fill(~among, torch.inf).argsort(stable=True) for each in (each_1, each_2)
    )
    # Weights by rank, not a slice: its length would have to be fetched from the device. The last
    # factor keeps (1 − 0.7) · 10 = 3.0000000000000004 from being four.
    kept = torch.arange(batch, device=labels.device) < keep * among.sum() * (1 - 1e-6)
    weight = kept.to(each_1.dtype) / kept.sum()
    return (each_1[easiest_2] * weight).sum(), (each_2[easiest_1] * weight).sum()


def disagreement_loss(
    logits_1: Tensor, logits_2: Tensor, labels: Tensor, *, keep: float
) -> tuple[Tensor, Tensor]:
    """`exchange_loss` among the examples whose predictions differ; among all if none does.

    References
    ----------
    Yu et al., ICML 2019, arXiv 1901.04215, Algorithm 1, lines 4 to 8.
    """
    differ = logits_1.argmax(-1) != logits_2.argmax(-1)
    among = differ | ~differ.any()
    return exchange_loss(logits_1, logits_2, labels, keep=keep, among=among)
