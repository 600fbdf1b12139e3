"""`-` in place of a file: a picture on standard input, and a result on standard output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "STREAM",
    "by_its_name",
    "named_by_user",
    "print_file",
    "require_no_terminal",
    "scratch_folder",
    "standard_input",
]

STREAM = Path("-")
_STANDARD_INPUT = "standard-input"
_SCRATCH = "robustdip-"

# How formats begin that are known by the suffix of their name; all others by their contents.
_BEGINNINGS = {
    b"\x93NUMPY": ".npy",
    b"SIMPLE  =": ".fits",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",  # BigTIFF
    b"MM\0+": ".tif",
}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for files on their way; it is gone at the end, also if a signal ends the program."""
    import tempfile  # slow to import, and few need it

    from overparam.files import unfinished

    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as name:
        folder = Path(name)
        # A signal that ends the program at once removes these, a folder only if it is empty.
        files = [folder / file for file in ("defects.npy", *_names(_STANDARD_INPUT))]
        with unfinished(folder, *files):
            yield folder


def standard_input(folder: Path) -> Path:
    """Write what standard input holds into a file of a folder, whose suffix tells its format.

    Raises
    ------
    FileError
        If there is nothing, or it cannot be read or written.
    """
    from overparam.files import FileError, file_errors

    with file_errors("read", "-"):
        data = sys.stdin.buffer.read()
        if not data:
            raise FileError("standard input is empty")
        suffixes = [suffix for start, suffix in _BEGINNINGS.items() if data.startswith(start)]
        path = folder / f"{_STANDARD_INPUT}{(suffixes or [''])[0]}"
        path.write_bytes(data)
    return path


def named_by_user(path: Path) -> Path:
    """The name that a user gave a file: `-` for that which `standard_input` wrote."""
    own = path.stem == _STANDARD_INPUT and path.parent.name.startswith(_SCRATCH)
    return STREAM if own else path


@contextmanager
def by_its_name(path: Path) -> Iterator[None]:
    """Errors inside call the file that `standard_input` wrote by the name that a user gave, `-`."""
    from overparam.files import FileError

    try:
        yield
    except FileError as error:
        if repr(str(path)) not in str(error):
            raise
        raise FileError(str(error).replace(repr(str(path)), repr(str(STREAM)))) from error


def print_file(path: Path) -> None:
    """Write the bytes of a file on standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(path.read_bytes())
    sys.stdout.buffer.flush()


def require_no_terminal() -> None:
    """Raise FileError if standard output is a terminal, which shows bytes as nonsense."""
    from overparam.files import FileError

    with suppress(ValueError):  # it is closed
        if sys.stdout.isatty():
            raise FileError("standard output is a terminal; name a file by -o, or use a pipe")


def _names(stem: str) -> list[str]:
    return [stem + suffix for suffix in ("", *_BEGINNINGS.values())]
