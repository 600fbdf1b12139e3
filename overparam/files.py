"""Files that are written whole or not at all, and the checks to make before a long computation."""

import os
import re
import stat
import time
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed or renamed
    fcntl = None

__all__ = [
    "FileError",
    "check_target",
    "create_file",
    "discard_unfinished",
    "naming",
    "one_line",
    "replace_file",
    "require_regular",
]

StrPath = str | os.PathLike[str]

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_unfinished: set[Path] = set()


class FileError(ValueError):
    """A file that cannot be read or written: one line that says which, why, and what to do."""


@contextmanager
def naming(action: str, path: StrPath) -> Generator[None, None, None]:
    """Turn an error inside into a FileError: ``cannot <action> '<path>': <reason>``."""
    # repr keeps a line break in a name on the message's one line.
    try:
        yield
    except FileError as reason:
        # Not `one_line`, which would also shorten spaces in a name that the reason quotes.
        text = " ".join(str(reason).splitlines())
        raise FileError(f"cannot {action} {os.fspath(path)!r}: {text}") from reason
    except (OSError, ValueError) as reason:  # ValueError: a null character in the name, say
        raise FileError(f"cannot {action} {os.fspath(path)!r}: {one_line(reason)}") from reason


def one_line(error: Exception) -> str:
    """The message of an exception without its line breaks; its type if there is no message."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def check_target(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool = False,
    suffixes: Collection[str] | None = None,
) -> None:
    """Raise now what would stop `create_file` or `replace_file` later.

    Parameters
    ----------
    path : str or PathLike
        Where the result will be written.
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
    """Write a file, replacing the one that is there: a reader sees the old file or the new.

    A file that is replaced keeps its permissions. A link is replaced, not followed.

    Raises
    ------
    FileError
        If it cannot be written; a file already there is then unchanged, and nothing else is left.
    """
    target = Path(path)
    with naming("write", path):
        _require_place(target)
        with _part_file(target, data) as part:
            with suppress(FileNotFoundError):
                mode = target.lstat().st_mode
                if stat.S_ISREG(mode):
                    part.chmod(stat.S_IMODE(mode))
            os.replace(part, target)


def create_file(path: StrPath, data: bytes) -> Path:
    """Write a new file; if the name is taken, write under the first free name beside it.

    No file is ever overwritten, also not one that another process makes at the same moment.

    Returns
    -------
    Path
        Where the data is: `path`, or for NAME.png the first free one of NAME-2.png, NAME-3.png...

    Raises
    ------
    FileError
        If it cannot be written; nothing is left then.
    """
    target = Path(path)
    with naming("write", path):
        _require_folder(target)
        with _part_file(target, data) as part:
            number, name = 1, target
            while not _rename_to_new(part, name):
                number += 1
                name = _numbered(target, number)
            return name


def discard_unfinished() -> None:
    """Remove the files that this process has begun to write: for a program that ends at once."""
    for part in list(_unfinished):
        with suppress(OSError):
            part.unlink(missing_ok=True)


def require_regular(mode: int) -> None:
    """Refuse what `os.stat` calls a folder, pipe or device: opening a pipe could wait for ever."""
    if stat.S_ISDIR(mode):
        raise FileError("it is a folder")
    if not stat.S_ISREG(mode):
        raise FileError("it is a pipe or a device, not a file")


@contextmanager
def _part_file(target: Path, data: bytes) -> Generator[Path, None, None]:
    """A file with the data beside the target, to be renamed; removed at the end in any case."""
    _remove_stale_parts(target.parent)
    # A short name: the target's may already be as long as the file system allows.
    part = target.with_name(f".{os.urandom(8).hex()}.part")
    _unfinished.add(part)
    try:
        with part.open("xb") as stream:
            _lock(stream.fileno())
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())  # before the rename, or a power cut leaves an empty file
            if fcntl is not None:
                yield part  # with the lock, which ends with this process
        if fcntl is None:
            yield part  # Windows does not rename an open file
    finally:  # Ctrl-C too leaves nothing behind
        part.unlink(missing_ok=True)
        _unfinished.discard(part)


def _remove_stale_parts(folder: Path) -> None:
    """Remove what processes that were killed have left; what a living one writes is locked."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _PART.fullmatch(entry.name):
                continue
            with suppress(OSError), open(entry.path, "rb") as stream:
                # A new one may not have its lock yet.
                old = time.time() - os.fstat(stream.fileno()).st_mtime > 1
                if old and _lock(stream.fileno()):
                    os.unlink(entry.path)


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as it is open; False if another holds the lock, or there are none."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _numbered(target: Path, number: int) -> Path:
    tail = f"-{number}{target.suffix}"
    name = target.stem + tail
    if len(os.fsencode(name)) > 255:  # the most bytes that common file systems allow
        name = target.stem[:50] + tail
    return target.with_name(name)


def _rename_to_new(part: Path, target: Path) -> bool:
    """Rename, or return False if the name is taken; of two processes one succeeds."""
    try:
        os.link(part, target)
        return True
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        pass
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    try:
        os.replace(part, target)
    except BaseException:
        target.unlink()
        raise
    return True


def _require_folder(target: Path) -> None:
    if not os.path.isdir(target.parent):
        raise FileError(f"the folder {str(target.parent)!r} does not exist; make it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise FileError(f"the folder {str(target.parent)!r} is not writable")


def _require_place(target: Path) -> None:
    _require_folder(target)
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISLNK(mode):  # os.replace takes the link itself
        require_regular(mode)
