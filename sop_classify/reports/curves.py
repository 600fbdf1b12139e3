"""The picture of a run: loss, accuracy, memorised labels, U and V over the epochs."""

import io
from collections.abc import Sequence
from pathlib import Path

from overparam.files import replace_file
from sop_classify.training.loop import Epoch

__all__ = ["draw_curves"]

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
    """Draw what is known over the epochs; the name of the picture, or why there is none."""
    try:
        from matplotlib.figure import Figure  # not pyplot: that keeps figures and a window system
    except ImportError:
        return "not drawn: matplotlib is missing; pip install 'robustdip[plot]'"
    known = {
        title: {
            name: label for name, label in lines.items() if getattr(history[-1], name) is not None
        }
        for title, lines in _PANELS.items()
    }
    known = {title: lines for title, lines in known.items() if lines}
    figure = Figure(figsize=(4 * len(known), 3.2), layout="constrained")
    axes = figure.subplots(1, len(known), squeeze=False)[0]
    for panel, (title, lines) in zip(axes, known.items(), strict=True):
        for name, label in lines.items():
            tested = [epoch for epoch in history if getattr(epoch, name) is not None]
            values = [getattr(epoch, name) for epoch in tested]
            panel.plot([epoch.epoch for epoch in tested], values, ".-", label=label)
        panel.set(title=title, xlabel="epoch")
        if len(lines) > 1:
            panel.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    replace_file(path, buffer.getvalue())
    return path.name
