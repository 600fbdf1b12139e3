"""Sparse over-parameterization of label noise (SOP) as a loss.

The model (Liu, Zhu, Qu and You, ICML 2022, arXiv 2202.14026): example i carries a corruption

    s_i = U_i y_i − V_i,     U_i = u_i² (a number),     V_i = v_i∘v_i∘(1 − y_i) (a vector),

of its one-hot label y_i, so that the network's probabilities p_i have to explain y_i − s_i only.
With ŷ = argmax p and φ(z) = z clamped from below at ε and divided by its sum, q = φ(p + s):

    L_CE  = −mean_i log q_{i, y_i}                       teaches the network (and u),
    L_MSE = mean_i ‖onehot(ŷ_i) + s_i − y_i‖²            teaches v (and u).

In place of onehot(ŷ), which counts every disagreement alike, "posterior" has what the prediction
says of the true label after it was told the given one, which is wrong with even odds, and then any
other label with the same probability (Bayes):

    r_c ∝ p_c for c ≠ y,     r_y ∝ (C − 1) p_y,     Σ_c r_c = 1.

A label that is nearly as probable as the network's own choice is hardly doubted: where r_y is near
1, V stays small. V ends at r, the part of the label that the prediction does not support; U ends
above 1 − r_y, because the cross entropy raises it too. That spares right labels that are hard to
learn; in a long training on few examples it gives way as wrong ones are memorised.

Gradient descent from a tiny start makes u and v *counters*. For a disagreement ŷ = c ≠ y

    v_c ← v_c (1 + 4 α_v/B (1 − V_c))                ("posterior": r_c − V_c),

so V stays negligible for about log(1/init) / log(1 + 4 α_v/B) visits, one per epoch, and is then
soon complete. An example whose label the network keeps contradicting leaves the loss; one that it
contradicts only in early epochs does not. The number of visits depends on α/B, not on α, see
`alpha_for`. The fraction of wrong labels need not be known.

A class that the network has not found yet would be given up as a whole, because all of its labels
are contradicted; then nothing teaches it any more. `class_guard` φ > 0 (ours) lets the counters
wait. Let m_c be the share of class c among the network's choices ŷ, and q_c its share among the
labels, both over about one epoch. The steps of u and v of an example with the label y are then
multiplied by

    min(1, m_y / (φ q_y)).

Where classes are chosen about as often as they are labels, this changes nothing.

A contradiction says the less the less the network has learned: at first it contradicts most labels,
right ones too. With `alpha_warmup` W > 0 (ours) the steps of u and v are multiplied by

    min(1, n / (W N)),

n the number of examples seen, so that late contradictions count more than early ones.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from overparam.checks import check_choice, check_count, check_real, check_type
from overparam.sparse_corruption import descend
from sop_classify.methods.catalogue import SOPForm, SOPRecipe
from sop_classify.training.loss import (
    Loss,
    check_batch,
    check_floats,
    mean_part,
    never_compiled,
    new_state,
)
from sop_classify.training.processes import current

__all__ = [
    "FORMS",
    "SOPLoss",
    "activation_epochs",
    "alpha_for",
    "alpha_ratio",
    "class_balance",
    "consistency",
    "even_odds",
]

FORMS: tuple[SOPForm, ...] = get_args(SOPForm)

# Above it a step overflows float32.
_LARGEST = 1e30
# ε of the released code: a label of lower probability than this gets no gradient from L_CE.
_EPSILON = 1e-4


class SOPLoss(Loss):
    """The SOP loss, which keeps u and v: call it in place of cross entropy.

    In training mode, with gradients enabled, each call also takes one step of plain SGD, in closed
    form, on the rows of u and v that belong to its batch. No optimizer needs to know u and v. Time
    and memory per call do not depend on the number of examples. `state_dict` holds `u` and `v`,
    with `class_guard` also `shares`, and with `alpha_warmup` also `seen`.

    Parameters
    ----------
    num_examples, num_classes : int
        N and C. Memory is 4·N·(C + 1) bytes.
    alpha_u, alpha_v : float
        Step sizes of u and v for a loss *averaged* over the batch, as published: 10 and 10 on
        CIFAR-10 with symmetric noise. `alpha_for` gives the value for a length of training.
    balance : float
        λ_B: weight of KL(uniform ‖ mean prediction), see `class_balance`. SOP+: 0.1.
    consistency : float
        λ_C: weight of the KL divergence between two views, see `consistency`. SOP+: 0.9. Above 0
        every call needs `strong_logits`.
    strong_share : float
        The share of the images of every batch that have strong views, in (0, 1]. The divergence is
        the mean over these. Below 1, ours, a step costs less.
    form : {"projected", "posterior", "released", "paper"}
        "released": u descends L_CE + L_MSE (+ balance, which acts on the mean of q). Entries of u
        and v freeze above 1 in absolute value, but not at exactly 1, as in shengliu66/SOP@4d991ce
        with the PyTorch of its time (later versions freeze 1 as well). "paper": u descends L_CE
        alone, u and v are projected to [−1, 1], and the balance acts on the mean of p (Algorithm
        1). "projected": the gradients of "released" with the projection of "paper", so that a label
        that was given up returns if the network agrees with it later. "posterior": the same with r
        in place of onehot(ŷ); ours.
    class_guard : float
        φ in [0, 1]: labels of a class that is chosen less than φ times as often as it is a label
        are given up more slowly. 0: all alike, as published.
    alpha_warmup : float
        W: epochs over which both step sizes grow from 0 to alpha_u and alpha_v. 0: constant, as
        published.
    init : float
        |u| and |v| at the start.
    generator : torch.Generator, optional
        Draws the start from N(0, init²), as published. Without one, all entries start at `init`.

    Raises
    ------
    TypeError, ValueError
        If a parameter has another type, or is out of its range.

    References
    ----------
    Liu, Zhu, Qu and You, "Robust training under label noise by over-parameterization", ICML 2022,
    arXiv 2202.14026, equations 3 to 7, Algorithm 1.
    """

    u: Tensor
    v: Tensor
    shares: Tensor
    seen: Tensor
    rows = ("u", "v")
    in_parts = True

    def __init__(
        self,
        num_examples: int,
        num_classes: int,
        *,
        alpha_u: float = 10.0,
        alpha_v: float = 10.0,
        balance: float = 0.0,
        consistency: float = 0.0,
        strong_share: float = 1.0,
        form: SOPForm = "projected",
        class_guard: float = 0.0,
        alpha_warmup: float = 0.0,
        init: float = 1e-8,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        # Of all processes: each may keep a part of the rows of u and v.
        self.num_examples = num_examples = check_count("num_examples", num_examples, least=1)
        num_classes = check_count("num_classes", num_classes, least=2)
        self.alpha_u = check_real("alpha_u", alpha_u, least=0, most=_LARGEST)
        self.alpha_v = check_real("alpha_v", alpha_v, least=0, most=_LARGEST)
        self.balance = check_real("balance", balance, least=0, most=_LARGEST)
        self.consistency = check_real("consistency", consistency, least=0, most=_LARGEST)
        self._strong_share = check_real("strong_share", strong_share, above=0, most=1)
        self.form = check_choice("form", form, FORMS)
        self.class_guard = check_real("class_guard", class_guard, least=0, most=1)
        self.alpha_warmup = check_real("alpha_warmup", alpha_warmup, least=0, most=_LARGEST)
        init = check_real("init", init, above=0, below=1)
        if generator is not None:
            check_type("generator", generator, torch.Generator)
        for name, shape in ("u", (num_examples, 1)), ("v", (num_examples, num_classes)):
            with torch.inference_mode(False), torch.no_grad():
                start = new_state(*shape)
                if generator is None:
                    start.fill_(init)
                else:
                    draw = torch.randn(
                        shape, generator=generator, device=generator.device, dtype=torch.float32
                    )
                    start.copy_(draw.cpu() * init)
            # Buffers, not parameters, so that an optimizer given `parameters()` does not move them.
            self.register_buffer(name, start)
        if self.class_guard:
            # m and q, even at first.
            with torch.inference_mode(False), torch.no_grad():
                self.register_buffer("shares", new_state(2, num_classes).fill_(1 / num_classes))
        if self.alpha_warmup:
            with torch.inference_mode(False), torch.no_grad():
                self.register_buffer("seen", new_state(1))

    @classmethod
    def from_recipe(
        cls,
        recipe: SOPRecipe,
        num_examples: int,
        num_classes: int,
        *,
        generator: torch.Generator,
    ) -> Self:
        """The loss with the settings of a recipe; see `SOPRecipe` for `activation_epochs`."""
        alpha_u, alpha_v, start = recipe.alpha_u, recipe.alpha_v, generator
        if recipe.activation_epochs:
            batch = round(num_examples / math.ceil(num_examples / recipe.batch_size))
            alpha_v = alpha_for(recipe.activation_epochs, batch_size=batch, init=recipe.init)
            alpha_u = (recipe.alpha_ratio or alpha_ratio(num_examples)) * alpha_v
            start = None  # a random start would delay many of the counters by several epochs
        return cls(
            num_examples,
            num_classes,
            alpha_u=alpha_u,
            alpha_v=alpha_v,
            balance=recipe.balance,
            consistency=recipe.consistency,
            strong_share=recipe.strong_share,
            form=recipe.form,
            class_guard=recipe.class_guard,
            alpha_warmup=recipe.alpha_warmup,
            init=recipe.init,
            generator=start,
        )

    @property
    def views(self) -> Sequence[str]:
        """A strong view too if the consistency counts."""
        return ("weak", "strong") if self.consistency else ("weak",)

    @property
    def strong_share(self) -> float:
        """As given."""
        return self._strong_share

    @property
    def rates(self) -> Mapping[str, float]:
        """The step sizes of u and v, after what was seen."""
        pace = float(self._warmth()) if self.alpha_warmup else 1.0
        return {"alpha_u": self.alpha_u * pace, "alpha_v": self.alpha_v * pace}

    def report(self, labels: Tensor) -> dict[str, Tensor]:
        """U, and the sum of V over the classes, of every example; both of shape (N,)."""
        up, down = self.parts(labels)
        return {"u": up, "v": down.sum(1)}

    @never_compiled
    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor,
        strong_logits: Tensor | None = None,
        *,
        batch: int | None = None,
        strong: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch, L_CE + L_MSE + λ_B·balance + λ_C·consistency.

        Parameters
        ----------
        logits : Tensor, shape (B, C)
            Any floating dtype; the loss is computed in the dtype of u and v (float32).
        labels : Tensor, int64, shape (B,)
            The given labels, right or wrong, in [0, C).
        index : Tensor, int64, shape (B,)
            Which example each row is, in [0, N).
        strong_logits : Tensor, shape (B, C), optional
            Logits of a strongly augmented view of the same examples, or of the rows `strong`.
        batch : int, optional
            Size of the whole batch, if the processes of torch.distributed have the rest of it, as
            in `Loss.forward`. With a balance all of them have to come here for each batch, because
            it is that of the mean over the whole batch.
        strong : Tensor, int64, shape (S,), optional
            The rows of the batch that `strong_logits` is of; by default it is of all, (B, C).

        Returns
        -------
        Tensor, scalar
            Its gradient reaches the logits only. L_MSE is a constant for them.

        Raises
        ------
        TypeError, ValueError
            If a dtype, a shape, a label or an index is another. On a GPU labels and indices are not
            compared with their ranges, because the program would have to wait for it.
        """
        self._check(logits, labels, index, strong_logits, batch, strong)
        # Autocast would compute parts of it in half precision.
        with torch.autocast(logits.device.type, enabled=False):
            return self._loss(logits, labels, index, strong_logits, batch, strong)

    def _loss(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor,
        strong_logits: Tensor | None,
        batch: int | None,
        strong: Tensor | None,
    ) -> Tensor:
        logits = logits.to(self.u.dtype)
        probability = logits.softmax(1)
        label = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        u, v = self.u[index], self.v[index]
        # V is 0 at the label, and U has an entry there alone.
        up, down = (u * u).clamp(max=1), (v * v * (1 - label)).clamp(max=1)
        raw = (probability + up * label - down).clamp(min=_EPSILON)
        scaled = raw / raw.sum(1, keepdim=True)
        corrected = scaled.clamp(_EPSILON, 1)
        choice = F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
        predicted = choice
        if self.form == "posterior":
            predicted = even_odds(probability.detach(), label)
        misfit = predicted + up * label - down - label

        loss = mean_part(-(corrected * label).sum(1).log(), batch)
        loss = loss + mean_part(misfit.square().sum(1), batch)
        if self.balance:
            mean_of = probability if self.form == "paper" else corrected
            if batch is None:
                balance = class_balance(mean_of)
            else:
                balance = -_whole_mean(mean_of, batch).clamp(_EPSILON, 1).log().mean()
                # The value is shared among the processes by their examples. The gradient is not:
                # each has that of its own rows.
                balance = balance - (1 - len(index) / batch) * balance.detach()
            loss = loss + self.balance * balance
        if self.consistency and strong_logits is not None:
            weak, number = logits, batch
            if strong is not None:
                weak = logits[strong]
                number = torch.tensor(float(len(strong)), dtype=logits.dtype, device=logits.device)
                if batch is not None:
                    current().add([number])
                number = number.clamp(min=1)  # if no example has a strong view, the sum is 0
            parts = consistency(weak, strong_logits.to(logits.dtype), batch=number)
            loss = loss + self.consistency * parts
        if self.training and torch.is_grad_enabled():
            self._descend(index, label, u, v, raw.detach(), scaled.detach(), misfit.detach(), batch)
            if self.class_guard:
                self._count_shares(choice, label, finite=raw.detach().isfinite(), batch=batch)
        return loss

    @torch.no_grad()
    def parts(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """U (N,) and V (N, C), in [0, 1], of all examples, given their labels."""
        down = (self.v * self.v).clamp(max=1)
        return (self.u * self.u).clamp(max=1)[:, 0], down.scatter(1, labels[:, None], 0)

    def _warmth(self) -> Tensor:
        """The factor of the step sizes, which `alpha_warmup` raises from 0 to 1."""
        return (self.seen / (self.alpha_warmup * self.num_examples)).clamp(max=1)

    @torch.no_grad()
    def _count_shares(
        self, choice: Tensor, label: Tensor, *, finite: Tensor, batch: int | None
    ) -> None:
        """Update m and q, whose memory is one epoch, and five batches at least."""
        # What is not finite chooses nothing: it counts as its label.
        chosen = torch.where(finite.all(1, keepdim=True), choice, label)
        rows = torch.cat([chosen, label], dim=1)
        mean = rows.mean(0) if batch is None else _whole_mean(rows, batch)
        size = len(label) if batch is None else batch
        self.shares.lerp_(mean.view_as(self.shares), min(0.2, size / self.num_examples))

    @torch.no_grad()
    def _descend(
        self,
        index: Tensor,
        label: Tensor,
        u: Tensor,
        v: Tensor,
        raw: Tensor,
        scaled: Tensor,
        misfit: Tensor,
        batch: int | None,
    ) -> None:
        """Gradients with respect to U and V in closed form, then one step on their rows.

        With Z the sum of `raw`:
        ∂L_CE/∂U = (1/Z − 1/raw_y)/B where no clamp holds raw_y or q_y;
        ∂L_MSE/∂U = 2 misfit_y/B,  ∂L_MSE/∂V_c = −2 misfit_c/B;
        ∂balance/∂U = (Σ_c m_c q_c/q̄_c − m_y/q̄_y) / (B C Z), m the entries that no clamp holds.
        """
        size = len(index) if batch is None else batch
        # A row of logits that are not finite has no gradient, and no part in a mean. A GradScaler
        # skips such a step of the network, which recovers; a NaN in u or v would stay.
        finite = raw.isfinite().all(1, keepdim=True)
        total = raw.sum(1, keepdim=True)
        raw_y = (raw * label).sum(1, keepdim=True)
        scaled_y = (scaled * label).sum(1, keepdim=True)
        free = (raw_y > _EPSILON) & (scaled_y > _EPSILON)
        grad_up = torch.where(free, 1 / total - 1 / raw_y, 0)
        if self.form != "paper":
            grad_up += 2 * (misfit * label).sum(1, keepdim=True)
            if self.balance:
                held = (scaled <= _EPSILON) | (raw_y <= _EPSILON)
                corrected = torch.where(finite, scaled.clamp(min=_EPSILON), 0)
                mean, share = (
                    each.mean(0) if batch is None else _whole_mean(each, batch)
                    for each in (corrected, finite.to(corrected))
                )
                weight = torch.where(held, 0, share / mean)
                pull = (weight * (scaled - label)).sum(1, keepdim=True)
                grad_up += self.balance * pull / (scaled.shape[1] * total)
        grad_down = -2 * misfit * (1 - label)
        if self.class_guard:
            chosen, labelled = self.shares
            pace = (chosen / (self.class_guard * labelled).clamp(min=_EPSILON)).clamp(max=1)
            pace = (label * pace).sum(1, keepdim=True)
            grad_up, grad_down = grad_up * pace, grad_down * pace
        if self.alpha_warmup:
            pace = self._warmth()
            grad_up, grad_down = grad_up * pace, grad_down * pace
            self.seen += size
        grad_up, grad_down = (torch.where(finite, grad, 0) for grad in (grad_up, grad_down))
        if self.form == "released":  # a clamp at 1 passes no gradient back
            grad_up = torch.where(u * u > 1, 0, grad_up)
            grad_down = torch.where(v * v > 1, 0, grad_down)
        descend(self.u, grad_up, lr=self.alpha_u / size, index=index)
        descend(self.v, grad_down, lr=self.alpha_v / size, index=index)
        if self.form != "released":
            self.u[index] = self.u[index].clamp(-1, 1)
            self.v[index] = self.v[index].clamp(-1, 1)

    def _check(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor,
        strong_logits: Tensor | None,
        batch: int | None,
        strong: Tensor | None,
    ) -> None:
        if self.u.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"u and v are {self.u.dtype}, in which their start of 1e-8 is 0; keep the loss in "
                "float32, whatever the network"
            )
        check_batch(logits, labels, index, shape=self.v.shape, batch=batch)
        if self.consistency and strong_logits is None and self.training:
            raise ValueError("consistency > 0 needs strong_logits: the logits of a strong view")
        if strong is not None:
            if check_type("strong", strong, Tensor).dtype != torch.int64:
                raise TypeError(f"strong is {strong.dtype}; int64 is needed")
            low, high = 0, 0
            if strong.device.type == "cpu" and strong.numel():  # elsewhere it would be waited for
                low, high = (int(row) for row in strong.aminmax())
            if low < 0 or high >= max(1, len(logits)):
                raise ValueError(
                    f"strong go from {low} to {high}; the batch has {len(logits)} rows"
                )
        if strong_logits is not None:
            check_floats("strong_logits", strong_logits)
            shape = (len(logits) if strong is None else strong.numel(), logits.shape[1])
            if strong_logits.shape != shape:
                raise ValueError(
                    f"strong_logits has shape {tuple(strong_logits.shape)}; {shape} is needed, a "
                    "row for each example that has a strong view"
                )


def even_odds(probability: Tensor, label: Tensor) -> Tensor:
    """What is probable once the given label is known, which is wrong with even odds.

    r of the module's text. The rate of wrong labels is not known, and need not be.

    Parameters
    ----------
    probability : Tensor, shape (B, C)
        Rows sum to 1.
    label : Tensor, shape (B, C)
        1 at the given label, else 0.

    Returns
    -------
    Tensor, shape (B, C)
        Rows sum to 1.
    """
    weighted = probability * (1 + (label.shape[1] - 2) * label)
    return weighted / weighted.sum(1, keepdim=True)


def class_balance(probability: Tensor) -> Tensor:
    """KL(uniform ‖ mean prediction) up to a constant: −(1/C) Σ_c log mean_i p_ic.

    It prevents the network from ignoring some classes under heavy noise. It assumes that all
    classes have the same number of examples.

    Parameters
    ----------
    probability : Tensor, shape (B, C)

    Returns
    -------
    Tensor, scalar
    """
    return -probability.mean(0).clamp(_EPSILON, 1).log().mean()


def _whole_mean(rows: Tensor, batch: int) -> Tensor:
    """The mean of (B, C) over the whole batch; its gradient reaches the rows of this process."""
    own = rows.sum(0)
    total = own.detach().clone()
    current().add([total])
    return (own - own.detach() + total) / batch


def consistency(
    logits: Tensor, strong_logits: Tensor, *, batch: int | Tensor | None = None
) -> Tensor:
    """Mean over the batch of KL(p ‖ p_strong), with p from the weak view as a fixed target.

    Parameters
    ----------
    logits, strong_logits : Tensor, shape (B, C)
    batch : int or Tensor, optional
        As in `Loss.forward`; the number that the sum is divided by.

    Returns
    -------
    Tensor, scalar
    """
    target = logits.detach().log_softmax(1)
    how, number = ("batchmean", 1) if batch is None else ("sum", batch)
    divergence = F.kl_div(strong_logits.log_softmax(1), target, log_target=True, reduction=how)
    return divergence / number


def alpha_for(activation_epochs: float, *, batch_size: int, init: float = 1e-8) -> float:
    """The α_v with which a label is given up after `activation_epochs` epochs of contradiction.

    α = (B/4) (exp(−log(init)/E) − 1), because v grows by a factor of 1 + 4α/B per epoch. The
    fraction of wrong labels need not be known: choose E well before the end of the training, when
    most predictions are right. An `alpha_warmup` makes it later, see `activation_epochs`.

    u needs a smaller step size, see `alpha_ratio`. L_CE adds 2 α_u/B (1/p_y − 1) per
    epoch to its growth, whatever the network predicts, and 1/p_y is large for labels that are right
    but hard.

    Parameters
    ----------
    activation_epochs : float
        E > 0.
    batch_size : int
        B.
    init : float
        As in `SOPLoss`. Use a larger value in a short training: if v grows by much more than a
        factor of 2 per epoch, a few contradictions have the same effect as many.

    Returns
    -------
    float
        For `alpha_v`.

    Raises
    ------
    TypeError, ValueError
        If a parameter has another type, or is out of its range; also if the result would be more
        than the 1e30 that `SOPLoss` takes.
    """
    init = check_real("init", init, above=0, below=1)
    # α grows like e^60 = 1e26 there, and its steps must be float32.
    least = -math.log(init) / 60
    epochs = check_real("activation_epochs", activation_epochs, above=0)
    if epochs < least:
        raise ValueError(
            f"activation_epochs is {epochs:g}; from init={init:g} it must be at least {least:.2g}"
        )
    batch = check_count("batch_size", batch_size, least=1)
    alpha = batch / 4 * math.expm1(-math.log(init) / epochs)
    if alpha > _LARGEST:
        raise ValueError(
            f"batch_size is {batch} and activation_epochs {epochs:g}, which need a step size of "
            f"{alpha:.2g}; at most {_LARGEST:g} is possible"
        )
    return alpha


def activation_epochs(
    alpha: float, *, batch_size: int, init: float = 1e-8, alpha_warmup: float = 0.0
) -> float:
    """After how many epochs of contradiction, from the first on, a label is given up.

    Without a warm-up E, the inverse of `alpha_for`. With one of W epochs v grows in epoch n by a
    share n/W of its rate, so that log v rises by about n²/(2 W E) of what it needs: that takes
    √(2 E W) epochs, or E + W/2 if it ends after the warm-up. It is somewhat sooner if E is below 4,
    where a step is not small.

    Parameters
    ----------
    alpha : float
        α_v of `SOPLoss`.
    batch_size : int
    init, alpha_warmup : float
        As in `SOPLoss`.

    Returns
    -------
    float
    """
    epochs = -math.log(init) / math.log1p(4 * alpha / batch_size)
    if epochs < alpha_warmup / 2:
        return math.sqrt(2 * epochs * alpha_warmup)
    return epochs + alpha_warmup / 2


def alpha_ratio(num_examples: int) -> float:
    """α_u/α_v of the recipes `cpu` and `fast`: 0.1 √(50,000/N), between 0.1 and 1.

    A slow u spares labels that are right but hard to learn. A fast u prevents a long training on
    few examples from memorising more labels: the fewer there are, the sooner a network has learned
    a wrong one by heart. The values for 50,000 and 5,000 examples are measured on CIFAR-10, with 20
    and 40 % wrong labels (docs/benchmarks.md); the root joins them.

    Parameters
    ----------
    num_examples : int
        N.

    Returns
    -------
    float
    """
    return min(1.0, max(0.1, 0.1 * math.sqrt(50_000 / num_examples)))
