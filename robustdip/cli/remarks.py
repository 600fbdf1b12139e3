"""What a command says on standard error before its work."""

from collections.abc import Iterable

import typer

__all__ = ["WARNING", "say"]

WARNING = "warning: "
"""Before a remark on what is probably a mistake, which --quiet does not suppress."""


def say(remarks: Iterable[str], *, quiet: bool) -> None:
    """Print each remark on a line of its own; with `quiet` only the warnings."""
    for remark in remarks:
        if not quiet or remark.startswith(WARNING):
            typer.echo(remark, err=True)
