"""Co-teaching+: two networks that teach each other the examples they disagree on.

A network learns the right labels first, so a label with small cross entropy ℓ is probably right. If
a network selected its own training examples, it would confirm its errors. Therefore each of two
networks with different starts selects for the other. On a batch, with R(t) the fraction that is
left out in epoch t,

    S_k = the ⌈(1 − R(t)) |D|⌉ examples of D with the smallest ℓ_k,       R(t) = τ min(t/T, 1),
    loss of network 1 = mean of ℓ_1 over S_2,        loss of network 2 = mean of ℓ_2 over S_1.

D is the whole batch at first (Co-teaching: Han et al., NeurIPS 2018, arXiv 1804.06872, Algorithm
1). Trained this way, the two networks become more and more alike. After a warm-up D therefore has
only the examples on which their predictions differ (Co-teaching+: Yu et al., ICML 2019, arXiv
1901.04215, Algorithm 1). τ, the fraction of wrong labels, has to be known.

Deliberate differences from the released code (xingruiyu/coteaching_plus at 40d5831):

- The cross entropy is computed from the logits. After the warm-up, the released code computes it
  from their softmax as if that were logits.
- The mean over S is a mean. The released code divides by |S| twice.
- Example 0 of the data set is treated like every other. The released code never includes it in D.
- |S| is rounded up, as in Algorithm 1 of both papers (at least (1 − R)|D| examples), so that at
  least one example is left. The released code rounds down, and takes all examples instead of none.
- Epochs count from 0, and R(t) reaches τ in epoch T. The released code skips epoch 0 (it runs 199
  of 200 epochs, and 19 of 20 of the warm-up), and R is τ from epoch T − 1 on.
- If the networks agree on a whole batch, D is the batch, and the fraction R(t) of it is left out.
  The papers do not say what to do. In the released code both networks learn the whole batch, with
  its wrong labels, while epoch × batch (meant to count steps) is below 5000; later the loss is 0.
  That would not be a pause: momentum continues, and Muon makes a full step from what is left of it.
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
        1 − R in (0, 1]: the fraction to learn from, rounded up to a whole number of examples. Among
        equally easy examples the first are taken.
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
    # Weights by rank instead of a slice, whose length would have to be fetched from the device. The
    # last factor prevents that (1 − 0.7) · 10 = 3.0000000000000004 is rounded up to four.
    kept = torch.arange(batch, device=labels.device) < among.sum().float() * keep * (1 - 1e-6)
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
