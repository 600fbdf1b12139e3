"""Why the sparse part has no explicit penalty
===========================================

::

    python examples/explicit_penalty.py [--out examples/explicit_penalty.png] [--seed 0]

A penalty λ‖s‖₁ makes s explain all labels or none, or it does not help. 1,000 digits, 40 % of the
labels wrong: cross entropy of φ(p + s) plus λ‖s‖₁, over λ, beside SOP, whose s = u∘u − v∘v has no
penalty. Under a minute on two CPU cores.
"""
# sphinx_gallery_thumbnail_path = '../examples/explicit_penalty.png'

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from digits import BALANCE, CLASSES, load, noisy, train
from figures import arguments, save
from matplotlib.figure import Figure
from torch import Tensor

from sop_classify import Loss
from sop_classify.methods.sop import class_balance

RATE = 0.4
WEIGHTS = (0.01, 0.1, 0.3, 0.6, 1.0, 3.0)


class PenalisedLoss(Loss):
    """mean_i −log φ(p_i + s_i)_y + λ‖s_i‖₁ over network and s, φ(z) = z/Σz from ε on.

    Signs and bounds of s are those of SOP, in [0, 1] at the given label, in [−1, 0] elsewhere, and
    so is the class balance. Two things differ: what keeps s small, and that every entry of s
    descends the first term, while v of SOP descends the squared error of a hard prediction. Each
    call takes one proximal gradient step on its rows: a gradient step on the first term, soft
    thresholding for the second, then the bounds.

    Parameters
    ----------
    num_examples, num_classes : int
    weight : float
        λ, the same for every example however the batches are cut.
    lr : float
        Of s, in steps per visit of an example.
    """

    s: Tensor

    def __init__(
        self, num_examples: int, num_classes: int, *, weight: float, lr: float = 0.05
    ) -> None:
        super().__init__()
        self.weight, self.lr = weight, lr
        self.register_buffer("s", torch.zeros(num_examples, num_classes))

    def forward(
        self, logits: Tensor, labels: Tensor, index: Tensor, strong_logits: Tensor | None = None
    ) -> Tensor:
        label = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        rows = self.s[index].requires_grad_()
        # 1e-4 as in SOP: below it an entry gets no gradient.
        raw = (logits.softmax(1) + rows).clamp(min=1e-4)
        corrected = raw / raw.sum(1, keepdim=True)
        misfit = -(corrected * label).sum(1).log()
        if self.training and torch.is_grad_enabled():
            (gradient,) = torch.autograd.grad(misfit.sum(), rows, retain_graph=True)
            self.s[index] = proximal_step(rows.detach(), gradient, label, self.lr, self.weight)
        penalty = self.weight * rows.detach().abs().sum(1)
        return (misfit + penalty).mean() + BALANCE * class_balance(corrected)

    def report(self, labels: Tensor) -> dict[str, Tensor]:
        return {"s": self.s.abs().sum(1)}


def proximal_step(s: Tensor, gradient: Tensor, label: Tensor, lr: float, weight: float) -> Tensor:
    """One step of proximal gradient descent on weight‖s‖₁ within SOP's signs and bounds."""
    s = s - lr * gradient
    s = s.sign() * (s.abs() - lr * weight).clamp(min=0)
    return torch.where(label == 1, s.clamp(0, 1), s.clamp(-1, 0))


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    data = load(seed=args.seed)
    given = noisy(data, RATE, seed=args.seed)
    wrong = given != data.train_labels

    print(f"{'loss':16}  test  memorised  mean ‖s‖₁ right labels  wrong labels")
    found = {}
    cases: dict[str, Loss | None] = {
        f"lambda {weight:g}": PenalisedLoss(len(given), CLASSES, weight=weight)
        for weight in WEIGHTS
    }
    for name, loss in {"cross entropy": None, "SOP": None, **cases}.items():
        method = "sop" if name == "SOP" else "ce"
        training, history = train(data, given, method, seed=args.seed, loss=loss)
        # U and V of SOP, s of the penalised loss, nothing of cross entropy.
        size = sum(part.numpy() for part in training.report().values()) + np.zeros(len(given))
        predicted = training.predict_training_images().argmax(1).numpy()
        found[name] = (
            100 * history[-1].test_accuracy,
            100 * (predicted == given)[wrong].mean(),
            size[~wrong].mean(),
            size[wrong].mean(),
        )
        test, memorised, right_size, wrong_size = found[name]
        print(f"{name:16} {test:5.1f}  {memorised:9.1f}  {right_size:22.2f}  {wrong_size:12.2f}")

    figure = Figure(figsize=(13, 3.8), layout="constrained")
    accuracy, memory, sizes = figure.subplots(1, 3)
    over = np.array([found[name] for name in cases])
    for axes, column in (accuracy, 0), (memory, 1):
        axes.semilogx(WEIGHTS, over[:, column], "k.-", label=r"explicit $\lambda\|s\|_1$")
        axes.axhline(found["SOP"][column], color="tab:green", label="SOP, no penalty")
        axes.axhline(found["cross entropy"][column], color="tab:red", ls="--", label="no s")
    sizes.semilogx(WEIGHTS, over[:, 2], "b.-", label="explicit, right labels")
    sizes.semilogx(WEIGHTS, over[:, 3], "r.-", label="explicit, wrong labels")
    sizes.axhline(found["SOP"][2], color="b", ls=":", label="SOP, right labels")
    sizes.axhline(found["SOP"][3], color="r", ls=":", label="SOP, wrong labels")
    accuracy.set(title="test accuracy, %", xlabel=r"$\lambda$")
    memory.set(title="wrong labels memorised, %", xlabel=r"$\lambda$", ylim=(-2, 102))
    sizes.set(title=r"mean $\|s_i\|_1$", xlabel=r"$\lambda$", ylim=(-0.1, 2.6))
    for axes in (accuracy, memory, sizes):
        axes.legend(fontsize=8)
    save(figure, args.out)


if __name__ == "__main__":
    main()
