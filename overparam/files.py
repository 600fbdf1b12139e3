"""Files that are written whole or not at all, and the checks to make before a long computation."""

import os
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FileError", "check_target", "naming", "one_line", "replace_file", "require_regular"]

StrPath = str | os.PathLike[str]


class FileError(ValueError):
    """A file that cannot be read or written: one line that says which, why, and what to do."""


@contextmanager
def naming(action: str, path: StrPath) -> Iterator[None]:
    """Turn what goes wrong inside into a FileError: ``cannot <action> '<path>': <reason>``."""
    # repr keeps a line break in a name on the message's one line.
    try:
        yield
    except FileError as reason:
        raise FileError(f"cannot {action} {os.fspath(path)!r}: {reason}") from reason
    except (OSError, ValueError) as reason:  # ValueError: a null character in the name, say
        raise FileError(f"cannot {action} {os.fspath(path)!r}: {one_line(reason)}") from reason


def one_line(error: Exception) -> str:
    """What an exception says, without its line breaks; its type if it says nothing."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def check_target(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool = False,
    suffixes: Collection[str] | None = None,
) -> None:
    """Raise now what would stop `replace_file` later.

    Parameters
    ----------
    path : str or PathLike
        Where the result is to go.
    inputs : iterable of path
        Files that must survive: `path` may not be one of them, under any name or link.
    force : bool
        Allow replacing a file that is there (never an input).
    suffixes : collection of str, optional
        What the name may end in, in small letters.

    Raises
    ------
    FileError
        If the suffix is another, the folder is missing or not writable, or `path` exists and
        `force` is false, is an input, or is no regular file.
    """
    target = Path(path)
    with naming("write", path):
        if suffixes is not None and target.suffix.lower() not in suffixes:
            raise FileError(f"unknown suffix {target.suffix!r}; use one of {', '.join(suffixes)}")
        _require_place(target)
        for source in inputs:
            if os.path.exists(target) and os.path.exists(source) and target.samefile(source):
                raise FileError("it is an input; choose another name")
        if os.path.lexists(target) and not force:
            raise FileError("it exists already; choose another name, or force its replacement")


def replace_file(path: StrPath, data: bytes) -> None:
    """Write beside the target, then rename over it: a reader sees the old file or the new.

    A link is replaced, not followed.

    Raises
    ------
    FileError
        If it cannot be written; a file already there is then unchanged, and nothing else is left.
    """
    target = Path(path)
    with naming("write", path):
        _require_place(target)
        # A short name of its own: the target's may already be as long as the file system allows.
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())  # before the rename, or a power cut leaves an empty file
            os.replace(part, target)
        except BaseException:  # Ctrl-C too leaves nothing behind
            part.unlink(missing_ok=True)
            raise


def require_regular(mode: int) -> None:
    """Refuse what `os.stat` calls a folder, pipe or device: opening a pipe could wait for ever."""
    if stat.S_ISDIR(mode):
        raise FileError("it is a folder")
    if not stat.S_ISREG(mode):
        raise FileError("it is a pipe or a device, not a file")


def _require_place(target: Path) -> None:
    if not os.path.isdir(target.parent):
        raise FileError(f"the folder {str(target.parent)!r} does not exist; make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise FileError(f"the folder {str(target.parent)!r} is not writable")
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(mode):  # os.replace takes the link itself
        require_regular(mode)
