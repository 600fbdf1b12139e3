"""The program in processes of its own, without the seconds that each would need to import torch.

A server imports everything once and forks a child for each command: the child has its own standard
streams, signals and end, as a process that a shell starts. What happens before the imports are done
is not seen here; for that, start the program itself (`cold`).
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Ended", "Started", "Warm", "cold", "environment"]

ROOT = Path(__file__).parents[2]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def environment() -> dict[str, str]:
    """One thread, plain text on one line."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": "300",
    }


def cold(*arguments: object, cwd: Path, **options) -> subprocess.Popen:
    """The program as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "robustdip", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(),
        **options,
    )


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status as `subprocess` gives it, and what it printed."""

    status: int
    stdout: str
    stderr: str


class Warm:
    """The server; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
            # The keyboard's Ctrl-C is not for the children.
            start_new_session=True,
        )

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()

    def start(
        self,
        *arguments: object,
        cwd: Path,
        stdout: str = "file",
        stderr: str = "file",
        kill: tuple[str, int] | None = None,
    ) -> "Started":
        """Start a command.

        Parameters
        ----------
        *arguments
            Of the program.
        cwd : Path
        stdout, stderr : {"file", "closed", "full", "unread"}
            To a file that is returned; closed; /dev/full; a pipe that nobody reads.
        kill : (str, int), optional
            The n-th call of a function of `os`, from 1, kills the process before it does anything.
        """
        job = {
            "arguments": [os.fsdecode(str(word)) for word in arguments],
            "cwd": str(cwd),
            "streams": [self._stream(stdout, "out"), self._stream(stderr, "err")],
            "kill": kill,
        }
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Started(int(self._server.stdout.readline()), self._server, self._folder)

    def run(self, *arguments: object, **options) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, **options).wait()

    def _stream(self, kind: str, name: str) -> str:
        (self._folder / name).write_bytes(b"")
        return str(self._folder / name) if kind == "file" else kind


@dataclass(frozen=True)
class Started:
    """A child of the server."""

    pid: int
    _server: subprocess.Popen
    _folder: Path

    def send_signal(self, number: int) -> None:
        """As `subprocess.Popen.send_signal`; the server collects the child after `wait` alone."""
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        """Wait for the end."""
        print("wait", file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        printed = [(self._folder / name).read_text(errors="replace") for name in ("out", "err")]
        return Ended(status, *printed)


def _serve() -> None:
    import gc

    import torch

    torch.set_num_threads(1)
    _warm_up()
    gc.collect()
    gc.freeze()  # a collection would copy all pages that are shared
    # A background process is started deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Held back until the program handles them: what comes earlier is for `cold` to test.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            os._exit(_child(json.loads(line)))
        print(pid, flush=True)
        sys.stdin.readline()  # "wait"
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _warm_up() -> None:
    """Import what the commands import, and run what libraries prepare at its first use."""
    import importlib

    import numpy as np

    from robustdip import denoise
    from robustdip.__main__ import commands
    from robustdip.quality import psnr, ssim

    for name in ("methods.build", "reports.comparison", "runs.grid", "runs.run"):
        importlib.import_module(f"sop_classify.{name}")
    importlib.import_module("matplotlib.figure")
    image = np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    denoise(image, method="paper", steps=1, device="cpu")
    denoise(image, method="median")
    psnr(image, image / 2)
    ssim(image, image / 2)
    commands()


def _child(job: dict) -> int:
    os.chdir(job["cwd"])
    files = [os.open(os.devnull, os.O_RDONLY), *map(_opened, job["streams"])]
    high = [os.dup2(file, 100 + number) for number, file in enumerate(files)]
    os.closerange(3, 100)  # of the server
    for number, kind in enumerate(["null", *job["streams"]]):
        os.dup2(high[number], number)
        if kind == "closed":
            os.close(number)
    os.closerange(100, 103)
    if job["kill"] is not None:
        _kill_at(*job["kill"])
    sys.argv = ["robustdip", *job["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = map(_reopened, range(3), ("r", "w", "w"))
    from overparam import program
    from robustdip.__main__ import main

    opened = program._open_streams

    def open_streams():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return opened()

    program._open_streams = open_streams  # the first thing after the handlers
    # What Python does at its end, without the second that torch needs to be taken down.
    try:
        main()
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
        status = 1
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        return 120
    return status if isinstance(status, int) else int(status is not None)


def _opened(kind: str) -> int:
    if kind == "unread":
        read, write = os.pipe()
        os.close(read)
        return write
    path = {"full": "/dev/full", "closed": os.devnull}.get(kind, kind)
    return os.open(path, os.O_WRONLY | os.O_APPEND)


def _reopened(number: int, mode: str):
    """What Python makes of a standard stream at its start: None if it is closed."""
    try:
        return os.fdopen(number, mode, closefd=False)
    except OSError:
        return None


def _kill_at(name: str, number: int) -> None:
    original = getattr(os, name)
    calls = 0

    def call(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(os, name, call)


if __name__ == "__main__":
    _serve()
