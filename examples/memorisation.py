"""What a classifier that fits wrong labels has learned
====================================================

::

    python examples/memorisation.py [--out examples/memorisation.png] [--seed 0]

1,000 digits and a network of 39,000 parameters, trained by cross entropy and by SOP on labels of
which none, 20 % or 40 % are wrong, and by cross entropy on labels that are all random. Top: given
labels fitted, test accuracy and wrong labels memorised, over the epochs. Bottom: neural collapse of
the last layer (0 is complete) towards the given and the true labels, and accuracy under attack.
Under a minute on two CPU cores.
"""
# sphinx_gallery_thumbnail_path = '../examples/memorisation.png'

from pathlib import Path

import numpy as np
import torch
from digits import CLASSES, EPOCHS, load, noisy, train
from figures import arguments, save
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from overparam.theory.neural_collapse import Collapse, neural_collapse
from sop_classify import ImageData, Training
from sop_classify.data.image_data import channel_statistics

METHODS = ("ce", "sop")
RATES = (0.0, 0.2, 0.4)
EPSILON = 0.02  # of a pixel's range 0 to 1, in the maximum norm
COLORS = ("tab:green", "tab:orange", "tab:red")


def collapse(training: Training, labels: NDArray[np.int64]) -> Collapse:
    """Neural collapse of the training images' features towards `labels`."""
    seen: list[torch.Tensor] = []
    head: nn.Linear = training.network.head  # type: ignore[assignment]
    hook = head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].float()))
    training.predict_training_images()
    hook.remove()
    features = torch.cat(seen).numpy()
    return neural_collapse(features, labels, head.weight.detach().numpy())


def attacked(training: Training, data: ImageData) -> dict[str, float]:
    """Accuracy on the test images as they are and moved by EPSILON in the worst direction."""
    try:
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        raise SystemExit(f"{error}; pip install 'robustdip[theory]'") from error
    mean, std = (values.reshape(3, 1, 1) / 255 for values in channel_statistics(data.train_images))
    classifier = PyTorchClassifier(
        model=training.network.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, *data.test_images.shape[1:3]),
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        preprocessing=(mean.astype(np.float32), std.astype(np.float32)),
        device_type="cpu",
    )
    x = data.test_images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    y = data.test_labels
    settings = {"eps": EPSILON, "batch_size": len(x)}
    attacks = {
        "none": None,
        "FGSM": FastGradientMethod(classifier, **settings),
        "PGD": ProjectedGradientDescent(
            classifier, eps_step=EPSILON / 4, max_iter=20, verbose=False, **settings
        ),
    }
    return {
        name: float((classifier.predict(a.generate(x, y) if a else x).argmax(1) == y).mean())
        for name, a in attacks.items()
    }


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    data = load(seed=args.seed)
    true = data.train_labels
    figure = Figure(figsize=(13, 7), layout="constrained")
    top, bottom = figure.subplots(2, 3)
    epochs = range(1, EPOCHS + 1)

    # The first and most famous observation (Zhang et al., ICLR 2017).
    random = np.random.default_rng(args.seed).integers(CLASSES, size=len(true))
    _, history = train(data, random, "ce", seed=args.seed)
    top[0].plot(epochs, [e.train_fit for e in history], "k-", label="cross entropy, random labels")
    print(f"cross entropy fits {100 * history[-1].train_fit:.1f} % of random labels")

    print("labels wrong  method  test, last  best  memorised  NC1 given  NC1 true  none  FGSM  PGD")
    trained: dict[tuple[str, float], tuple[list[float], dict[str, float]]] = {}
    for color, rate in zip(COLORS, RATES, strict=True):
        given = noisy(data, rate, seed=args.seed)
        for method, style in zip(METHODS, ("--", "-"), strict=True):
            training, history = train(data, given, method, seed=args.seed)
            name = f"{method.upper()}, {100 * rate:.0f} %"
            drawn = {"color": color, "linestyle": style, "label": name}
            top[1].plot(epochs, [100 * e.test_accuracy for e in history], **drawn)
            if method == "ce":
                top[0].plot(epochs, [e.train_fit for e in history], **drawn)
            memorised = [100 * e.memorized for e in history if e.memorized is not None]
            if memorised:
                top[2].plot(epochs, memorised, **drawn)
            to_given, to_true = collapse(training, given), collapse(training, true)
            accuracy = attacked(training, data)
            trained[method, rate] = (
                [to_given.nc1, to_true.nc1, to_true.nc2, to_true.nc3, to_true.nc4],
                accuracy,
            )
            shares = "  ".join(f"{100 * value:4.1f}" for value in accuracy.values())
            print(
                f"{100 * rate:10.0f} %  {method:6}  {100 * history[-1].test_accuracy:10.1f}"
                f"  {100 * max(e.test_accuracy for e in history):4.1f}"
                f"  {memorised[-1] if memorised else float('nan'):9.1f}"
                f"  {to_given.nc1:9.3f}  {to_true.nc1:8.3f}  {shares}"
            )
    draw_bars(bottom, trained)
    top[0].set(title="given labels fitted in training", xlabel="epoch", ylim=(0, 1.02))
    top[1].set(title="test accuracy, %", xlabel="epoch", ylim=(40, 101))
    top[2].set(title="wrong labels memorised, %", xlabel="epoch", ylim=(0, 101))
    for axes in top:
        axes.legend(fontsize=8)
    save(figure, args.out)


def draw_bars(
    panels, trained: dict[tuple[str, float], tuple[list[float], dict[str, float]]]
) -> None:
    """NC1, the other three and the attacks, one group of bars a measure."""
    measures = ["NC1 given", "NC1 true", "NC2 true", "NC3 true", "NC4 true"]
    slots = np.arange(len(trained)) - (len(trained) - 1) / 2
    for slot, ((method, rate), (values, accuracy)) in zip(slots, trained.items(), strict=True):
        style = {
            "width": 0.13,
            "color": COLORS[RATES.index(rate)],
            "hatch": "//" if method == "ce" else None,
            "edgecolor": "white",
            "label": f"{method.upper()}, {100 * rate:.0f} %",
        }
        groups = (values[:2], values[2:], [100 * a for a in accuracy.values()])
        for axes, heights in zip(panels, groups, strict=True):
            axes.bar(np.arange(len(heights)) + 0.14 * slot, heights, **style)
    names = (measures[:2], measures[2:], list(trained["ce", 0.0][1]))
    titles = (
        "within-class variability of the features",
        "simplex, self-duality, nearest mean",
        f"test accuracy under attack, %, ε = {EPSILON}",
    )
    for axes, ticks, title in zip(panels, names, titles, strict=True):
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_title(title)
    panels[0].set_yscale("log")
    panels[0].legend(fontsize=8)


if __name__ == "__main__":
    main()
