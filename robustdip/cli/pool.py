"""Processes that restore pictures side by side, each on one thread; one that dies is replaced.

They are told what to do, and answer, in lines of JSON on their standard streams: nothing is
pickled, and a new process imports nothing of this one's main module. `robustdip.cli.worker` is
the other end.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

__all__ = ["Pool", "WorkerDied", "one_thread"]

Message = dict[str, Any]

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from robustdip.cli.worker import main; main()"
)
_SECONDS_TO_END = 5


class WorkerDied(OSError):
    """A process ended without an answer: one line that says how."""


class Pool:
    """Processes that do jobs; to be used as a context manager, at whose end they are gone.

    Parameters
    ----------
    settings : dict
        What every process is told first.
    """

    def __init__(self, settings: Message) -> None:
        self._settings = settings
        self._answers: queue.SimpleQueue[tuple[_Process, Message | None]] = queue.SimpleQueue()
        self._processes: list[_Process] = []

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.close()
        for process in self._processes:
            process.end()

    def ask(self, question: Message) -> Message:
        """The answer of one process to a question.

        Raises
        ------
        WorkerDied
            If there is none.
        """
        process = self._started() if not self._processes else self._processes[0]
        process.tell(question)
        _, answer = self._answers.get()
        if answer is None:
            raise WorkerDied(f"no process can be used: {process.ended()}")
        return answer

    def work(
        self, jobs: Iterator[tuple[int, Message]], *, devices: list[str]
    ) -> Iterator[tuple[int, Message]]:
        """Let the processes do jobs, as many at a time as there are devices.

        Parameters
        ----------
        jobs : iterator of (int, dict)
            A number, and what a process is told. The next is asked for when a process is free.
        devices : list of str
            What each process computes on; its jobs are told by the key "device".

        Yields
        ------
        number : int
        answer : dict
            Several a job: those with the key "progress" are not the last. The last has the key
            "died" if no process came to its end: its value says how.
        """
        busy: dict[_Process, tuple[int, Message, bool]] = {}

        def give(process: _Process, number: int, message: Message, *, again: bool) -> None:
            busy[process] = number, message, again
            process.tell({**message, "device": process.device})

        def give_next(process: _Process | None, device: str) -> None:
            for number, message in jobs:
                give(process or self._started(device), number, message, again=False)
                return

        first = self._processes[:1]  # the one that was asked
        for device in devices:
            process = first.pop() if first else None
            if process is not None:
                process.device = device
            give_next(process, device)
        while busy:
            process, answer = self._answers.get()
            if process not in busy:
                continue
            number, message, again = busy[process]
            if answer is None:
                del busy[process]
                self._processes.remove(process)
                how = process.ended()
                if not again:
                    # It was checked before that nothing is there; now the first try's result may.
                    message = {**message, "force": True}
                    give(self._started(process.device), number, message, again=True)
                    continue
                yield number, {"died": f"{how}, twice"}
                give_next(None, process.device)
            elif "progress" in answer:
                yield number, answer
            else:
                del busy[process]
                yield number, answer
                give_next(process, process.device)

    def _started(self, device: str = "auto") -> "_Process":
        process = _Process(device, self._answers)
        process.tell(self._settings)
        self._processes.append(process)
        return process


class _Process:
    def __init__(
        self, device: str, answers: "queue.SimpleQueue[tuple[_Process, Message | None]]"
    ) -> None:
        self.device = device
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **one_thread()},
        )
        self._listener = threading.Thread(target=self._listen, args=(answers,), daemon=True)
        self._listener.start()

    def tell(self, message: Message) -> None:
        """Send a message; if the process is dead, its end is seen by the one who listens."""
        stream = self._process.stdin
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.write(json.dumps(message).encode() + b"\n")
                stream.flush()

    def close(self) -> None:
        """Tell it to end, at once."""
        stream = self._process.stdin
        with suppress(OSError):
            if stream is not None:
                stream.close()

    def end(self) -> None:
        """Wait for its end, which `close` has asked for."""
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()

    def ended(self) -> str:
        """How it has ended."""
        self.close()
        self.end()
        status = self._process.returncode
        if status < 0:
            memory = " (out of memory?)" if status == -9 else ""
            return f"its process was ended by signal {-status}{memory}"
        return f"its process ended with status {status}"

    def _listen(self, answers: "queue.SimpleQueue[tuple[_Process, Message | None]]") -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    with suppress(ValueError):  # a line that was cut short by the process's end
                        answers.put((self, json.loads(line)))
        answers.put((self, None))


def one_thread() -> dict[str, str]:
    """The environment of a process of one thread.

    More would wait for each other when other processes use their cores.
    """
    return {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
