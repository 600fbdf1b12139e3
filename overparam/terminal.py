"""What the commands share: errors in one line, progress on stderr, the device's name.

Only typer is imported here: `--help` answers before torch could be loaded.
"""

import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

__all__ = ["errors", "known_device", "progress"]

Show = Callable[[float, float], None]


@contextmanager
def errors() -> Iterator[None]:
    """What a user can mend: one line on stderr, exit 1. Ctrl-C: exit 130. A bug: its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing more was written", err=True)
        raise typer.Exit(130) from None
    except (ValueError, MemoryError, ArithmeticError, OSError) as error:
        from overparam.files import one_line

        typer.echo(f"error: {one_line(error)}", err=True)
        raise typer.Exit(1) from None


def known_device(name: str) -> str:
    """A name that `overparam.devices.pick_device` may know; a usage error else."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        raise typer.BadParameter(f"no device {name!r}; there are auto, cpu, cuda, cuda:N and mps")
    return name


@contextmanager
def progress(
    name: str, *, unit: str = "step", start: float = 0, quiet: bool = False
) -> Iterator[Show]:
    """A function of (done, total): a bar with the time left, or a line every 5 % off a terminal.

    `start` is what was done before, in an earlier run: the time left is judged without it.
    """
    if quiet:
        yield lambda done, total: None
        return
    # A dumb terminal cannot move its cursor: rich would show nothing until the end.
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        yield _log(name, unit, start)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)


def _log(name: str, unit: str, start: float) -> Show:
    begin, printed = time.monotonic(), 0

    def show(done: float, total: float) -> None:
        nonlocal printed
        twentieth = math.floor(20 * done / total)
        if twentieth > printed and done > start:
            printed = twentieth
            left = (time.monotonic() - begin) * (total - done) / (done - start)
            typer.echo(f"{name}: {unit} {done:g}/{total:g}, {left:.0f} s left", err=True)

    return show
