"""What every example needs: ``--out`` and ``--seed``, and a figure written whole or not at all."""

import argparse
import io
from pathlib import Path

from matplotlib.figure import Figure

from overparam.files import FileError, check_target, replace_file


def arguments(doc: str | None, out: Path) -> argparse.Namespace:
    """Read ``--out`` and ``--seed``; exit with one line if the figure cannot be written there."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=out, help="a .png, made or replaced")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.seed < 0:
        parser.exit(1, f"--seed is {args.seed}; it must be 0 or more\n")
    try:
        check_target(args.out, force=True, suffixes=[".png"])
    except FileError as error:
        parser.exit(1, f"{error}\n")
    return args


def save(figure: Figure, out: Path, *, dpi: int = 90) -> None:
    """Write the figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    replace_file(out, buffer.getvalue())
