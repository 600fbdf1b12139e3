"""DivideMix: labels with a high loss are removed, and the network learns semi-supervised.

Two networks (Li, Socher and Hoi, ICLR 2020, arXiv 2002.07394, Algorithm 1). After a warm-up with
cross entropy each models its own losses ℓ_i of all examples, as they are at the start of the epoch,
by two Gaussians; w_i is the posterior probability of the one with the smaller mean. With w of its
*peer*, so that no network confirms its own errors, each then trains on

    labelled    w_i > 1/2:   q_i = sharpen(w_i y_i + (1 − w_i) p̄_i),  p̄ its own mean of two views,
    unlabelled  the others:  q_i = sharpen(p̄_i),           p̄ the mean of two views and two networks,

with sharpen(p) = p^{1/T} / Σ_c p_c^{1/T}. All views are mixed with others, of either kind:
x ← l x + (1 − l) x', q ← l q + (1 − l) q', l ~ Beta(α, α), l ≥ 1/2, and

    L = −mean_labelled Σ_c q_c log p_c + λ mean_unlabelled mean_c (p_c − q_c)² + Σ_c π log(π / p̄_c),

π = 1/C, p̄ the batch's mean, λ growing to λ_u over some epochs after the warm-up.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sop_classify.methods.catalogue import DivideMixRecipe
from sop_classify.methods.mixup import mixing_weight, partners
from sop_classify.training.loop import TrainingLoop

__all__ = ["DivideMix", "clean_probability", "mix", "mixmatch_loss", "refine", "sharpen"]

_TEMPERATURE = 0.5
# Settings of the mixture: those of the released code for scikit-learn's GaussianMixture.
_ITERATIONS, _TOLERANCE, _LEAST_VARIANCE = 10, 1e-2, 5e-4


def clean_probability(losses: Tensor) -> Tensor:
    """w: the probability that each loss comes from the lower of two Gaussians.

    The losses are scaled to [0, 1]; the mixture starts at their best division into two clusters
    (least squares, exact in one dimension) and takes at most ten steps of expectation maximisation.

    Parameters
    ----------
    losses : Tensor, shape (N,)

    Returns
    -------
    Tensor, shape (N,)
        In [0, 1]. All 1 if all losses are equal; NaN if a loss is not finite.

    References
    ----------
    Li, Socher and Hoi, ICLR 2020, section 3.1.
    """
    x = losses.detach().cpu().double()
    low, high = x.aminmax()
    if low == high:
        return torch.ones_like(losses)
    x = (x - low) / (high - low)
    member = _two_clusters(x)
    bound, converged = -math.inf, False
    for _ in range(_ITERATIONS + 1):
        size = member.sum(1, keepdim=True).clamp(min=1e-12)
        mean = (member * x).sum(1, keepdim=True) / size
        variance = (member * (x - mean).square()).sum(1, keepdim=True) / size + _LEAST_VARIANCE
        squares = (x - mean).square() / variance
        density = (size / len(x)).log() - (squares + (2 * math.pi * variance).log()) / 2
        member = density.softmax(0)
        if converged:
            break
        previous, bound = bound, float(density.logsumexp(0).mean())
        converged = abs(bound - previous) < _TOLERANCE
    return member[mean.argmin()].to(losses)


def _two_clusters(x: Tensor) -> Tensor:
    """The two clusters with the least squared distances to their means, as a 0-1 matrix (2, N)."""
    order = x.argsort()
    left = x[order].cumsum(0)[:-1]
    size = torch.arange(1, len(x), dtype=x.dtype)
    # The least variance within clusters is the largest between them.
    between = left.square() / size + (x.sum() - left).square() / (len(x) - size)
    lower = torch.zeros_like(x)
    lower[order[: int(between.argmax()) + 1]] = 1
    return torch.stack([lower, 1 - lower])


def sharpen(probability: Tensor, *, temperature: float = _TEMPERATURE) -> Tensor:
    """p^{1/T}, divided by its sum over classes; probability has shape (..., C)."""
    powers = probability ** (1 / temperature)
    return powers / powers.sum(-1, keepdim=True)


def refine(probability: Tensor, labels: Tensor, clean: Tensor) -> Tensor:
    """Co-refined labels, w y + (1 − w) p sharpened (section 3.2 of the paper).

    Parameters
    ----------
    probability : Tensor, shape (B, C)
        The network's own, mean over views.
    labels : Tensor, int64, shape (B,)
    clean : Tensor, shape (B,)
        The peer's w, in [0, 1].

    Returns
    -------
    Tensor, shape (B, C)
    """
    given = F.one_hot(labels, probability.shape[1]).to(probability)
    return sharpen(probability.lerp(given, clean[:, None].to(probability)))


def mix(
    inputs: Tensor, targets: Tensor, *, alpha: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Every row with a random one, all with one l ~ Beta(alpha, alpha), l ≥ 1/2 (section 3.2).

    Parameters
    ----------
    inputs, targets : Tensor, shapes (B, ...), (B, C)
    alpha : int
        0 mixes nothing.
    generator : torch.Generator
        On the CPU.
    """
    if not alpha:
        return inputs, targets
    share = mixing_weight(alpha, generator=generator)
    other = partners(len(inputs), generator=generator, device=inputs.device)
    return inputs[other].lerp(inputs, share), targets[other].lerp(targets, share)


def mixmatch_loss(
    logits: Tensor, targets: Tensor, *, labelled: int, unlabelled_weight: float
) -> Tensor:
    """Cross entropy + λ squared error + divergence from equal classes (section 3.2).

    Parameters
    ----------
    logits, targets : Tensor, float32, shape (B, C)
    labelled : int
        How many rows, the first ones, are labelled.
    unlabelled_weight : float
        λ.

    Returns
    -------
    Tensor, scalar
    """
    log_p = logits.log_softmax(1)
    rows, classes = logits.shape
    loss = -(targets[:labelled] * log_p[:labelled]).sum(1).mean()
    # In logarithms, because the mean of a class that is never predicted underflows.
    loss = loss - (log_p.logsumexp(0) + math.log(classes / rows)).mean()
    if unlabelled_weight and labelled < rows:
        misfit = log_p[labelled:].exp() - targets[labelled:]
        loss = loss + unlabelled_weight * misfit.square().mean()
    return loss


class DivideMix(TrainingLoop):
    """DivideMix; parameters and attributes are those of `TrainingLoop`.

    The recipe is a `DivideMixRecipe`. Half of a batch of `recipe.batch_size` examples is labelled,
    the other half unlabelled. An epoch has as many batches as the labelled examples fill;
    unlabelled ones are repeated as needed. If fewer examples than half a batch are found clean,
    those of highest w are labelled until half a batch is full: there is always something to learn,
    and w says how far to trust it.

    After the warm-up the reports use the predictions at the start of the epoch on images without
    augmentation, from which the losses are computed too.
    """

    num_networks = 2
    recipe: DivideMixRecipe

    def train_once(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        """An epoch of the warm-up, or one of each network on the division by its peer."""
        if self.epoch < self.recipe.warmup:
            return self._warm_up(on_batch)
        logits = [self.evaluate(k) for k in (0, 1)]
        predicted = self.observe(logits[0], torch.arange(len(self.given), device=self.device))
        losses = [F.cross_entropy(part, self.given, reduction="none").cpu() for part in logits]
        clean = [clean_probability(part) for part in losses]
        total = sum(self._train_one(k, clean[1 - k], self._half(k, on_batch)) for k in (0, 1))
        return float(total) / 2, predicted

    def _warm_up(self, on_batch: Callable[[float], None] | None) -> tuple[float, Tensor]:
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        predicted = torch.empty_like(self.given)
        for k in (0, 1):
            for index, (weak,) in self.batches(("weak",), on_batch=self._half(k, on_batch)):
                logits = self.logits(self.inputs(weak), network=k)
                loss = F.cross_entropy(logits, self.given[index])
                if self.recipe.entropy_penalty:
                    log_p = logits.log_softmax(1)
                    loss = loss + (log_p.exp() * log_p).sum(1).mean()
                self.descend(loss, networks=[k])
                total += loss.detach() * len(index)
                if k == 0:
                    predicted[index] = self.observe(logits.detach(), index)
        return float(total) / (2 * len(self.given)), predicted

    def _train_one(self, k: int, clean: Tensor, on_batch: Callable[[float], None]) -> Tensor:
        """Network k's pass over the division by its peer's w: the mean loss."""
        recipe, peer = self.recipe, 1 - k
        half = max(1, min(recipe.batch_size, len(self.given)) // 2)
        labelled, unlabelled = self.divide(clean, least=half)
        clean = clean.to(self.device)
        trusted = self.endless_batches(labelled, half)
        others = self.endless_batches(unlabelled, min(half, len(unlabelled)))
        self.networks[k].train()
        self.networks[peer].eval()
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        steps = math.ceil(len(labelled) / half)
        for step in range(steps):
            at = self.epoch + step / steps
            self.set_rates(at)
            on_batch(at)
            index, views = next(trusted)
            x = self.inputs(torch.cat([views, next(others)[1]]) if len(unlabelled) else views)
            targets = self.targets(k, x, self.given[index], clean[index])
            x, targets = mix(x, targets, alpha=recipe.mixup, generator=self.generator)
            weight = recipe.unlabelled
            if recipe.unlabelled_ramp:
                weight *= min(1.0, (at - recipe.warmup) / recipe.unlabelled_ramp)
            logits = self.logits(x, network=k)
            loss = mixmatch_loss(logits, targets, labelled=2 * half, unlabelled_weight=weight)
            self.descend(loss, networks=[k])
            total += loss.detach()
        self.networks[peer].train()
        return total / steps

    @torch.no_grad()
    def targets(self, k: int, x: Tensor, labels: Tensor, clean: Tensor) -> Tensor:
        """The targets of network k for two views of labelled and then of unlabelled images.

        Parameters
        ----------
        k : int
        x : Tensor, shape (2 * B + 2 * U, 3, H, W)
            Both views of B labelled images, then both views of U unlabelled ones.
        labels : Tensor, int64, shape (B,)
        clean : Tensor, shape (B,)
            The peer's w of the labelled images.

        Returns
        -------
        Tensor, float32, shape (2 * B + 2 * U, C)
        """
        split = 2 * len(labels)
        own = self.logits(x, network=k).softmax(1)
        refined = refine(own[:split].unflatten(0, (2, -1)).mean(0), labels, clean)
        if len(x) == split:
            return refined.repeat(2, 1)
        both = torch.stack([own[split:], self.logits(x[split:], network=1 - k).softmax(1)])
        guessed = sharpen(both.unflatten(1, (2, -1)).mean((0, 1)))
        return torch.cat([refined.repeat(2, 1), guessed.repeat(2, 1)])

    def divide(self, clean: Tensor, *, least: int) -> tuple[Tensor, Tensor]:
        """Positions of the examples to use with their label, `least` or more, and of the others."""
        # Shuffled first, because a stable sort of equal values would prefer the first classes.
        order = torch.randperm(len(clean), generator=self.generator)
        order = order[clean[order].argsort(descending=True, stable=True)].to(self.device)
        number = max(least, int((clean > 0.5).sum()))
        return order[:number], order[number:]

    def endless_batches(self, examples: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of one size without end, shuffled again for every round over the examples.

        The last batch of a round is filled with examples of its first.

        Parameters
        ----------
        examples : Tensor, int64, shape (n,)
            Positions in the training set.
        size : int
            Of a batch.

        Yields
        ------
        index : Tensor, int64, shape (size,)
        views : Tensor, uint8, shape (2 * size, H, W, 3)
            One view of each image, then another view of each.
        """
        while True:
            order = torch.randperm(len(examples), generator=self.generator).to(self.device)
            first, second = self.viewer.draw(), self.viewer.draw()
            for start in range(0, len(examples), size):
                at = torch.arange(start, start + size, device=self.device) % len(examples)
                index = examples[order[at]]
                yield (
                    index,
                    torch.cat([self.viewer.weak(index, first), self.viewer.weak(index, second)]),
                )

    @torch.no_grad()
    def evaluate(self, k: int) -> Tensor:
        """Network k's logits of all training images without augmentation, float32 (N, C)."""
        self.networks[k].eval()
        self.count_passes(len(self.images), backward=False)
        with self.autocast():
            parts = [self.networks[k](x).float() for x in self.viewer.plain_inputs(self.images)]
        return self.adjusted(torch.cat(parts))

    def _half(self, k: int, on_batch: Callable[[float], None] | None) -> Callable[[float], None]:
        """`on_batch` for network k's own pass: the first, or the second half of the epoch."""

        def tell(at: float) -> None:
            if on_batch is not None:
                on_batch((self.epoch + k + at) / 2)

        return tell
