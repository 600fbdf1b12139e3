"""The figure of a run: loss, accuracy, memorised labels, U and V over the epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overparam.figures import write_figure
from sop_classify.training.evaluation import Epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CURVES", "draw_curves"]

CURVES = "curves.png"

_PANELS: dict[str, dict[str, str]] = {
    "training loss": {"train_loss": ""},
    "test accuracy": {
        "test_accuracy": "plain",
        "test_accuracy_flips": "mirrored too",
        "test_accuracy_ema": "averaged weights",
        "test_accuracy_ema_flips": "averaged weights, mirrored too",
    },
    "wrong labels": {"memorized": "memorised", "recovered": "recovered"},
    "mean U and V": {
        "u_clean": "U, right labels",
        "u_wrong": "U, wrong labels",
        "v_clean": "V, right labels",
        "v_wrong": "V, wrong labels",
    },
}


def draw_curves(path: Path, history: Sequence[Epoch]) -> str:
    """Draw what is known about the epochs.

    Parameters
    ----------
    path : Path
        A .png, made or replaced.
    history : sequence of Epoch
        At least one.

    Returns
    -------
    str
        The name of the figure, or why there is none.
    """
    last = history[-1]
    panels = {
        title: {name: label for name, label in lines.items() if getattr(last, name) is not None}
        for title, lines in _PANELS.items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (title, lines) in zip(axes, panels.items(), strict=True):
            for name, label in lines.items():
                tested = [epoch for epoch in history if getattr(epoch, name) is not None]
                values = [getattr(epoch, name) for epoch in tested]
                panel.plot([epoch.epoch for epoch in tested], values, ".-", label=label)
            panel.set(title=title, xlabel="epoch")
            if len(lines) > 1:
                panel.legend()

    return write_figure(path, draw, size=(4 * len(panels), 3.2), dpi=120)
