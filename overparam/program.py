"""The process of the command line: its standard streams, the signals that end it, its status.

Signal handlers and standard streams belong to a whole process. Only the program itself calls `run`;
a library that is imported elsewhere leaves them as they are. Nothing here imports more than the
standard library's lightest modules, so that a signal is answered from the first moment on.
"""

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overparam.cores import CoreWatch

__all__ = [
    "Interruption",
    "interrupted_status",
    "interruptible",
    "keep_memory",
    "quiet_libraries",
    "run",
    "share_cores",
]

# Ctrl-C; the request to end; the terminal was closed (not on Windows).
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]

# glibc's numbers of two options of mallopt(3), and bytes for them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_TRIMMED, _MAPPED = 2**30, 2**27

_received: int | None = None  # the first signal of this process
_current: "Interruption | None" = None
_stderr = 2  # where to write at the very end
_discard_unfinished: Callable[[], None] | None = None  # of overparam.files, once it is imported
_watch: "CoreWatch | None" = None  # of the cores, since this program started


def run(command: Callable[[], object]) -> int:
    """Run the program's command, and return the exit status.

    Standard streams that are closed, full or no longer read cost no result: what cannot be printed
    is dropped. SIGINT, SIGTERM and SIGHUP end the program with one line and 128 plus the signal's
    number; see `interruptible` for what a command saves then.

    Returns
    -------
    int
        The command's own status; 1 if all went well but standard output could not be written, a
        reader that stopped reading excepted.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _on_signal)
    output = _open_streams()
    try:
        _prepare()
        command()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        # What is left to do needs no longer than the signal: nothing is lost by not listening.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
    if status == 130:
        status = interrupted_status()
    failure = output.failure
    if status == 0 and failure is not None and failure.errno != errno.EPIPE:
        print(f"error: cannot write to standard output: {failure.strerror}", file=sys.stderr)
        status = 1
    return status


def _prepare() -> None:
    """What may take some milliseconds, when signals are already answered."""
    global _discard_unfinished, _watch
    import logging
    import warnings

    from overparam.cores import CoreWatch
    from overparam.files import discard_unfinished

    _discard_unfinished, _watch = discard_unfinished, CoreWatch()
    # Read when torch is loaded. GNU OpenMP's threads spin at barriers for seconds by default: if
    # another process shares a core, each barrier waits for a whole time slice. After 1,000 spins
    # they sleep, which costs nothing on an idle machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    keep_memory()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' remarks to their developers
    logging.lastResort = logging.NullHandler()
    try:
        os.getcwd()
    except OSError:
        print("error: the current folder no longer exists; change to another", file=sys.stderr)
        sys.exit(1)


def keep_memory() -> None:
    """Let the process keep up to 1 GB of freed memory for what it allocates next.

    glibc gives large arrays back as soon as they are freed, and the system has to clear every page
    of the next ones. A training step frees and allocates hundreds of megabytes. Arrays above 128
    MB, such as those of a whole photograph, are still given back at once. Without effect where
    there is no glibc, or if MALLOC_* or GLIBC_TUNABLES are set.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # Windows, macOS, musl
        set_option = ctypes.CDLL(None).mallopt
        set_option(_TRIM_THRESHOLD, _TRIMMED)
        set_option(_MMAP_THRESHOLD, _MAPPED)


def share_cores() -> None:
    """Let torch, which is to be imported next, have a thread for each core that is free.

    A thread that has to share its core is waited for by all others, at every step. Without effect
    outside of `run`, if OMP_NUM_THREADS is set, and once torch is imported.
    """
    if _watch is not None and "torch" not in sys.modules:
        os.environ.setdefault("OMP_NUM_THREADS", str(_watch.free()))


# --- signals -------------------------------------------------------------------------------


class Interruption:
    """Whether a signal asks a computation to stop. Made by `interruptible`.

    Attributes
    ----------
    received : bool
        Whether a signal has come since the block was entered.
    """

    def __init__(self) -> None:
        self.received = False
        self._worth_saving = False
        self._held = False

    def check(self) -> None:
        """Say that there is something worth saving; raise KeyboardInterrupt if a signal has come.

        Call it after each step. The interrupt that a signal raises by itself may have been
        swallowed by a library.
        """
        self._worth_saving = True
        if self.received and not self._held:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """From now on a signal is only remembered: results are being saved."""
        self._held = True

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; `frame` is what it interrupts."""
        first, self.received = not self.received, True
        if self._held:
            return
        if not self._worth_saving:
            _leave(number)
        # An interrupted write would be taken for one that failed, and be repeated.
        writing = frame is not None and frame.f_code is _TolerantFile.write.__code__
        if first and not writing:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Generator[Interruption, None, None]:
    """Let a signal interrupt a computation whose result is worth saving.

    Outside, and before the first call of `Interruption.check`, a signal ends the program at once.
    Then it raises KeyboardInterrupt in the main thread; once, however many there are. After
    `Interruption.hold` it is only remembered.

    Yields
    ------
    Interruption
    """
    global _current
    _current = Interruption()
    try:
        yield _current
    finally:
        _current = None


def interrupted_status() -> int:
    """The exit status of a command that was interrupted: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received or signal.SIGINT)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received
    _received = _received or number
    if _current is None:
        _leave(number)
    else:
        _current.receive(number, frame)


def _leave(number: int) -> None:
    """End the program now, from within a signal handler.

    Raising an exception instead would reach any code: an import that then fails for another
    reason, or a destructor in which Python ignores it.
    """
    if _discard_unfinished is not None:
        _discard_unfinished()
    with suppress(OSError):
        os.write(_stderr, b"interrupted: nothing more was written\n")
    os._exit(128 + number)


# --- streams -------------------------------------------------------------------------------


class _TolerantFile(io.FileIO):
    """A file descriptor to write to; once it fails, what is written is dropped."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        while self.failure is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.failure = error
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # a terminal in non-blocking mode is full
        return memoryview(data).nbytes


def _open_streams() -> _TolerantFile:
    """Replace sys.stdout and sys.stderr by streams that raise no error; return the first's file.

    If standard input is closed, sys.stdin is empty.
    """
    global _stderr
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which would else go to a result that is being written.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    _stderr = os.dup(2)
    output, error = _TolerantFile(1, "w", closefd=False), _TolerantFile(_stderr, "w", closefd=False)
    sys.stdout, sys.stderr = _text(output, sys.stdout), _text(error, sys.stderr)
    return output


def _text(file: _TolerantFile, like: Any) -> io.TextIOWrapper:
    errors = getattr(like, "errors", "backslashreplace")
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(like, "encoding", "utf-8"),
        # The bytes of a file's name that are no UTF-8 are printed as they are, in every locale.
        errors="surrogateescape" if errors == "strict" else errors,
        # write_through: PYTHONUNBUFFERED is set.
        line_buffering=any(
            getattr(like, name, False) for name in ("line_buffering", "write_through")
        ),
    )


@contextmanager
def quiet_libraries() -> Generator[None, None, None]:
    """Drop what libraries written in C print on standard error: their exceptions say it too.

    Without effect outside of `run`, where standard error belongs to others.
    """
    if _stderr == 2:
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(_stderr, 2)
