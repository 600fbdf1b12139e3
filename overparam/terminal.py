"""What the commands share: errors in one line, progress on stderr, the name of a device.

Only typer is imported here: `--help` answers before torch could be loaded.
"""

import math
import os
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import typer

from overparam.program import interrupted_status

__all__ = ["exit_on_error", "known_device", "printable", "progress"]

Show = Callable[[float, float], None]


@contextmanager
def exit_on_error() -> Generator[None, None, None]:
    """End the command with one line on stderr and status 1 for an error that a user can correct.

    An interrupt ends it with status 130, or 128 plus the signal's number. Any other exception is a
    bug and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing more was written", err=True)
        raise typer.Exit(interrupted_status()) from None
    except (ValueError, MemoryError, ArithmeticError, OSError) as error:
        from overparam.files import one_line

        typer.echo(f"error: {one_line(error)}", err=True)
        raise typer.Exit(1) from None


def known_device(name: str) -> str:
    """Return a name that `overparam.devices.pick_device` may know; a usage error else."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", name):
        raise typer.BadParameter(f"no device {name!r}; there are auto, cpu, cuda, cuda:N and mps")
    return name


def printable(name: str) -> str:
    """A name on one line: as it is, or with escape sequences if it has control characters.

    Parameters
    ----------
    name : str
        Of a file or a class; or a line with names in it.
    """
    return name if name.isprintable() else repr(name)[1:-1]


@contextmanager
def progress(
    name: str, *, unit: str = "step", start: float = 0, quiet: bool = False
) -> Generator[Show, None, None]:
    """Show how far a computation is, and the time left, on standard error.

    Parameters
    ----------
    name : str
        What is computed, a file's name say; see `printable`.
    unit : str
        What is counted.
    start : float
        How much an earlier run had done: the time left is judged without it.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        A function of (done, total). On a terminal it moves a bar, which appears with the first
        call; elsewhere it prints a line every 5 %.
    """
    shown = printable(name)
    with ExitStack() as stack:
        if quiet:
            yield lambda done, total: None
        # A dumb terminal cannot move its cursor: rich would show nothing until the end.
        elif not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
            yield _log(shown, unit, start)
        else:
            yield _bar(shown, stack)


def _bar(name: str, stack: ExitStack) -> Show:
    bar: Any = None

    def show(done: float, total: float) -> None:
        nonlocal bar
        if bar is None:
            bar = stack.enter_context(_new_bar())
            bar.add_task(name)
        bar.update(bar.task_ids[0], total=total, completed=done)

    return show


def _new_bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),  # brackets in a name are no colours
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        # What is printed meanwhile goes above the bar, and so to standard error: only if both are
        # the terminal.
        redirect_stdout=sys.stdout.isatty(),
    )


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
