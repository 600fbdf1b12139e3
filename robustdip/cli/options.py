"""What several commands share: options, `--version`, reading an image and saving a result."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.checks import LARGEST_SEED

if TYPE_CHECKING:
    from robustdip.images.picture import Picture

__all__ = [
    "Extension",
    "Force",
    "Json",
    "Quiet",
    "Seed",
    "Version",
    "fits_extension",
    "path_argument",
    "path_option",
    "picture_from",
    "refuse_standard_streams",
    "save",
]

# Whether a file can be read is for `read_image` to say: in one line, for that image alone. Typer
# would make a usage error of it, for all images.
path_argument = partial(typer.Argument, readable=False, show_default=False)
path_option = partial(typer.Option, readable=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr.")]
Extension = Annotated[
    str | None,
    typer.Option(
        metavar="N|NAME",
        help="Of a FITS file: which image, by number or name.",
        show_default="the first",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random numbers.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        import robustdip

        try:
            torch = f"torch {version('torch')}"  # importing it takes seconds
        except PackageNotFoundError:
            torch = "torch is not installed"
        typer.echo(f"robustdip {robustdip.__version__}, {torch}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
]


def fits_extension(name: str | None) -> int | str | None:
    """The number or the name that `--extension` gives."""
    return int(name) if name is not None and name.isdecimal() else name


def picture_from(path: Path, *, extension: int | str | None = None) -> "Picture":
    """Read an image for a command: as `read_image`, with the remarks of C libraries dropped."""
    from overparam.program import quiet_libraries
    from robustdip.images.reading import read_image

    refuse_standard_streams([path])
    with quiet_libraries():
        return read_image(path, extension=extension)


def refuse_standard_streams(paths: list[Path]) -> None:
    """Raise FileError for a path ``-``, which other programs take for a standard stream."""
    from overparam.files import FileError

    if Path("-") in paths:
        raise FileError("'-' is no file: standard input and output are not used; name a file")


def save(path: Path, data: bytes, *, force: bool, source: Path | None = None) -> Path:
    """Write a result and return its path; without `force` no file is ever overwritten.

    If it cannot be written there, other folders are tried, first that of `source`: see
    `overparam.files.save_file`.
    """
    from overparam.files import save_file

    elsewhere = [] if source is None else [source.parent]
    written = save_file(path, data, replace=force, elsewhere=elsewhere)
    if written != path:
        typer.echo(
            f"warning: {str(path)!r} has appeared in the meantime; the result is in "
            f"{str(written)!r}",
            err=True,
        )
    return written
