"""A matplotlib figure as a file, or the reason why there is none."""

# The signature of matplotlib's `savefig` has untyped parameters.
# pyright: reportUnknownMemberType=false

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from overparam.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figure"]


def write_figure(
    path: Path, draw: "Callable[[Figure], None]", *, size: tuple[float, float], dpi: int = 100
) -> str:
    """Draw a figure and write it as PNG, whole or not at all.

    Parameters
    ----------
    path : Path
        Made or replaced.
    draw : callable
        Fills the empty figure that it is given.
    size : tuple of float
        Width and height in inches.
    dpi : int
        Pixels per inch.

    Returns
    -------
    str
        The name of the file; without matplotlib, which is optional, a sentence that says so.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    try:
        # Not pyplot, which keeps figures and starts a window system.
        from matplotlib.figure import Figure
    except ImportError:
        return "not drawn: matplotlib is missing; pip install 'robustdip[plot]'"
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    replace_file(path, buffer.getvalue())
    return path.name
