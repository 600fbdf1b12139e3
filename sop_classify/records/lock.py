"""One process at a time trains in a run folder: a lock that ends with its process."""

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from overparam.files import FileError

__all__ = ["LOCK", "FolderLock"]

LOCK = ".lock"
"""Name of the file that is locked and holds the number of the process. A killed one leaves it."""

_PATIENCE = 0.2  # seconds; another process may just be looking whether the folder is locked


class FolderLock:
    """The lock of a run folder; released at the latest when nothing refers to it any more.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        # Not thread-local: a run may be started in one thread and trained in another.
        self._lock = FileLock(self._path, timeout=_PATIENCE, thread_local=False)
        self._process = os.getpid()

    def acquire(self) -> None:
        """Lock the folder, which must exist.

        Raises
        ------
        FileError
            If another process, or another run of this one, has locked it.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise FileError(
                f"it is being trained by {self._owner()}; wait until it ends, or choose another "
                "folder"
            ) from None
        with suppress(OSError):  # the number is a help for others, no more
            self._path.write_text(f"{self._process}\n")

    def release(self) -> None:
        """Unlock the folder and remove the file, if it is locked by this object."""
        if self._lock.is_locked and os.getpid() == self._process:  # a fork has a copy
            # While it is locked: the next process sees then that its file has been removed.
            with suppress(OSError):  # Windows removes no file that is open
                self._path.unlink(missing_ok=True)
            self._lock.release()

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may be ending
            self.release()

    def _owner(self) -> str:
        try:
            return f"process {int(self._path.read_text())}"
        except (OSError, ValueError):
            return "another process"
