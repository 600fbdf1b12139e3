"""The folder of a run: whether one may start there, or is there already."""

import os
from contextlib import suppress
from pathlib import Path

from overparam.files import FileError, check_folder, file_errors, is_part
from sop_classify.records.checkpoint import CHECKPOINT
from sop_classify.records.lock import LOCK, FolderLock
from sop_classify.records.record import METRICS, RECORD, has_record, read_record

__all__ = ["LABELS", "holds_run", "new_folder", "require_new", "require_unused"]

LABELS = "labels.npz"
"""The labels that are trained on, and the true ones if they are known."""


def require_new(folder: str | os.PathLike[str]) -> None:
    """Raise FileError if a run cannot start in a folder.

    If there is anything in it but what a killed start has left, or if it cannot be written.
    """
    path = Path(folder)
    check_folder(path)
    with file_errors("start a run in", path):
        if (path / LOCK).exists():
            lock = FolderLock(path)
            lock.acquire()
            lock.release()
        require_unused(path)


def require_unused(folder: Path) -> None:
    """Raise FileError if there is anything in a folder but what a killed start has left."""
    names = _names(folder)
    if RECORD in names and names <= {RECORD, LABELS, METRICS, CHECKPOINT}:
        with suppress(FileError):
            if read_record(folder).status == "starting":
                return
    if names:
        raise FileError("it is not empty; resume its run or choose another folder")


def holds_run(folder: Path) -> bool:
    """Whether a folder has a run, or nothing but what a killed start of one has left."""
    return has_record(folder) or (folder.is_dir() and not _names(folder))


def new_folder(path: Path) -> Path:
    """Make a folder that was not there: PATH, or the first that is free of PATH-2, PATH-3..."""
    number, folder = 1, path
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = path.with_name(f"{path.name}-{number}")
        else:
            return folder


def _names(folder: Path) -> set[str]:
    """What is in a folder but the lock and begun files, which stay when a process is killed."""
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set[str]()
    return {name for name in names if name != LOCK and not is_part(name)}
