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
    "MovedError",
    "check_folder",
    "check_target",
    "create_file",
    "discard_unfinished",
    "fallback_folders",
    "file_errors",
    "is_part",
    "one_line",
    "replace_file",
    "require_folder",
    "require_regular_file",
    "save_file",
    "unfinished",
]

StrPath = str | os.PathLike[str]

_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_unfinished: dict[Path, None] = {}  # in the order in which they were begun


class FileError(ValueError):
    """A file that cannot be read or written: one line that says which, why, and what to do."""


class MovedError(FileError):
    """A file that could not be written where it should be, and is in another place.

    Attributes
    ----------
    path : Path
        Where it is.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


@contextmanager
def file_errors(action: str, path: StrPath) -> Generator[None, None, None]:
    """Turn an error inside into a FileError: ``cannot <action> '<path>': <reason>``."""
    # repr keeps a line break in a name on the message's one line.
    try:
        yield
    except (OSError, ValueError) as reason:  # ValueError: a null character in the name, say
        raise FileError(f"cannot {action} {os.fspath(path)!r}: {one_line(reason)}") from reason


def one_line(error: Exception) -> str:
    """The message of an exception without its line breaks; its type if there is no message."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # Spaces within a line may be those of a name.
    return " ".join(filter(None, map(str.strip, text.splitlines())))


def check_target(
    path: StrPath,
    *,
    inputs: Iterable[StrPath] = (),
    force: bool | None = None,
    suffixes: Collection[str] | None = None,
) -> None:
    """Raise now what would stop `create_file` or `replace_file` later.

    A file is made in the folder and removed: permissions alone do not tell of a disk that is full
    or mounted to be read, nor of ``/proc``.

    Parameters
    ----------
    path : str or PathLike
        Where the result will be written.
    inputs : iterable of path
        Files that must survive: `path` may not be one of them, under any name or link.
    force : bool, optional
        Allow replacing a file that is there (never an input). None where a user cannot ask for it.
    suffixes : collection of str, optional
        What the name may end in, in small letters.

    Raises
    ------
    FileError
        If the suffix is another, the folder is missing or takes no file, or `path` exists and
        `force` is false, is an input, or is no regular file.
    """
    target = Path(path)
    with file_errors("write", path):
        _require_place(target)
        if suffixes is not None and target.suffix.lower() not in suffixes:
            raise FileError(f"unknown suffix {target.suffix!r}; use one of {', '.join(suffixes)}")
        for source in inputs:
            if os.path.exists(target) and os.path.exists(source) and target.samefile(source):
                raise FileError("it is an input; choose another name")
        if os.path.lexists(target) and not force:
            hint = "" if force is None else ", or replace it (--force)"
            raise FileError(f"it exists already; choose another name{hint}")
        _try_folder(target.parent)


def check_folder(path: StrPath) -> None:
    """Raise FileError now if a folder cannot be made, or no file can be made in it."""
    with file_errors("write into", path):
        place = Path(path)
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            name = "it" if place == Path(path) else repr(str(place))
            raise FileError(f"{name} is no folder")
        _try_folder(place)


def save_file(
    path: StrPath, data: bytes, *, replace: bool = False, elsewhere: Iterable[StrPath] = ()
) -> Path:
    """Write a result that must not be lost: if not at its place, then at another.

    Parameters
    ----------
    path : str or PathLike
    data : bytes
    replace : bool
        Write it as `replace_file` does, else as `create_file`.
    elsewhere : iterable of path
        Folders to try if `path` cannot be written; after them the current folder and the system's
        folder for temporary files. No file is replaced there.

    Returns
    -------
    Path
        As of `create_file`.

    Raises
    ------
    MovedError
        If it could not be written at its place; the message says why, and where it is.
    FileError
        If no place takes it.
    """
    target = Path(path)
    try:
        if not replace:
            return create_file(target, data)
        replace_file(target, data)
        return target
    except FileError as error:
        failure = error
    for folder in fallback_folders(target.parent, *elsewhere):
        try:
            moved = create_file(folder / target.name, data)
        except FileError:
            continue
        raise MovedError(f"{failure}; the result is in {str(moved)!r}", moved)
    raise failure


def replace_file(path: StrPath, data: bytes) -> None:
    """Write a file, replacing the one that is there: a reader sees the old file or the new.

    A file that is replaced keeps its permissions. A link is replaced, not followed.

    Raises
    ------
    FileError
        If it cannot be written; a file already there is then unchanged, and nothing else is left.
    """
    target = Path(path)
    with file_errors("write", path):
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
    with file_errors("write", path):
        require_folder(target.parent)
        with _part_file(target, data) as part:
            number, name = 1, target
            while not _rename_to_new(part, name):
                number += 1
                name = _numbered(target, number)
            return name


def fallback_folders(*first: StrPath) -> list[Path]:
    """Where to write what its own place does not take: the first, the current, the temporary."""
    import tempfile  # slow to import, and nothing else needs it

    folders = [*map(Path, first), Path()]
    with suppress(OSError):  # it found none that takes a file
        folders.append(Path(tempfile.gettempdir()))
    return folders


@contextmanager
def unfinished(*paths: Path) -> Generator[None, None, None]:
    """Remove files, and folders that are empty then, if the block fails or the program ends in it.

    Parameters
    ----------
    *paths : Path
        What the block makes; a folder before what is in it.
    """
    _unfinished.update(dict.fromkeys(paths))
    try:
        yield
    except BaseException:
        for path in reversed(paths):
            _discard(path)
        raise
    finally:
        for path in paths:
            _unfinished.pop(path, None)


def discard_unfinished() -> None:
    """Remove what this process has begun to write: for a program that ends at once."""
    for path in reversed(list(_unfinished)):
        _discard(path)


def _discard(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            path.rmdir()  # unless there is something in it
        else:
            path.unlink(missing_ok=True)


def is_part(name: str) -> bool:
    """Whether a file is called like one that is being written, or that a killed process left."""
    return _PART.fullmatch(name) is not None


def require_folder(path: StrPath) -> None:
    """Refuse a place for files that is no folder, or takes none."""
    folder = os.fspath(path)
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise FileError(f"{folder!r} is a file; name a folder")
        raise FileError(f"the folder {folder!r} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"the folder {folder!r} is not writable")


def require_regular_file(mode: int) -> None:
    """Refuse what `os.stat` calls a folder, pipe or device: opening a pipe could wait for ever."""
    if stat.S_ISDIR(mode):
        raise FileError("it is a folder")
    if not stat.S_ISREG(mode):
        raise FileError("it is a pipe or a device, not a file")


@contextmanager
def _part_file(target: Path, data: bytes) -> Generator[Path, None, None]:
    """A file with the data beside the target, to be renamed; removed at the end in any case."""
    _remove_stale_parts(target.parent)
    part = _part_in(target.parent)
    with unfinished(part):
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
            _discard(part)


def _part_in(folder: Path) -> Path:
    """A new name; a short one, because the target's may be as long as the file system allows."""
    return folder / f".{os.urandom(8).hex()}.part"


def _try_folder(folder: Path) -> None:
    """Make a file with a byte in it, and remove it."""
    part = _part_in(folder)
    try:
        with unfinished(part):
            with part.open("xb") as stream:
                stream.write(b"\0")
            part.unlink()
    except OSError as error:
        raise FileError(f"the folder {str(folder)!r} takes no file: {one_line(error)}") from error


def _remove_stale_parts(folder: Path) -> None:
    """Remove what processes that were killed have left; what a living one writes is locked."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                # No link, and no pipe: to open one could wait for ever.
                if not (is_part(entry.name) and entry.is_file(follow_symlinks=False)):
                    continue
                # A new one may not have its lock yet.
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > 1:
                    _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    if fcntl is None:
        os.unlink(path)  # Windows refuses while its writer has it open
        return
    with open(path, "rb") as stream:
        if _lock(stream.fileno()):
            os.unlink(path)


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


def _require_place(target: Path) -> None:
    require_folder(target.parent)
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise FileError("it is a folder; name a file in it")
    if not stat.S_ISLNK(mode):  # os.replace takes the link itself
        require_regular_file(mode)
