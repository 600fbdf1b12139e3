"""Pictures restored by the machines of a Ray cluster: one task a picture.

A task is sent the bytes of its picture and gives back those of the result. So no folder needs to be
shared, and however often Ray repeats a task, this process alone writes, and once.
"""

import json
import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from overparam.cores import free_cores
from overparam.files import FileError, file_errors, one_line
from robustdip.cli.machine import PROCESS_BYTES
from robustdip.cli.outputs import save_all
from robustdip.cli.pool import Message, one_thread
from robustdip.cli.worker import Restorer
from robustdip.methods import METHODS

__all__ = ["RayPool"]

# Of a task whose process or machine is lost.
_RETRIES = 3
# Tasks for each core: some wait on their machines for the next core that is free.
_QUEUED = 2

Files = dict[str, bytes]


class RayPool:
    """Tasks on a Ray cluster; to be used like `robustdip.cli.pool.Pool`.

    The cluster is the one that RAY_ADDRESS names, else one that runs on this machine, else one that
    is started here for the time of the run. While it is open, sys.stdout is not standard output.

    Parameters
    ----------
    settings : dict
        See `robustdip.cli.worker.settings_message`.
    workers : int or None
        Tasks at a time; None for as many as the cluster has cores.
    gpu_fraction : float or None
        The part of a GPU that each task takes; None for a whole one where there are any.

    Raises
    ------
    FileError
        If ray is not installed, or the cluster cannot be reached.
    """

    def __init__(
        self, settings: Message, *, workers: int | None, gpu_fraction: float | None
    ) -> None:
        try:
            self._ray = import_module("ray")
        except ImportError as error:
            raise FileError(
                "--engine ray needs ray; install it: pip install 'robustdip[ray]'"
            ) from error
        self._workers = workers
        self._open = ExitStack()
        masks: Files = {}
        for path in settings["masks"].values():
            with file_errors("read", path):
                masks[path] = Path(path).read_bytes()
        _connect(self._ray, workers)
        self._shared = [self._ray.put(json.dumps(settings)), self._ray.put(masks)]
        resources = self._ray.cluster_resources()
        self._cores, self._gpus = resources.get("CPU", 1), resources.get("GPU", 0)
        task = settings["task"]
        computes = METHODS[task["method"]].kind == "fit" and task["device"] != "cpu"
        whole = float(computes and self._gpus > 0)
        self._gpu_fraction = whole if gpu_fraction is None else gpu_fraction
        self._restore: Any = self._ray.remote(
            num_cpus=1,
            num_gpus=self._gpu_fraction,
            max_retries=_RETRIES,
            runtime_env={"env_vars": one_thread()},
        )(_restored)

    def __enter__(self) -> "RayPool":
        # Ray prints what happens to its processes on standard output, where results belong.
        self._open.enter_context(redirect_stdout(self._open.enter_context(open(os.devnull, "w"))))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()  # which ends the tasks, but not a cluster that others have started
        self._open.close()

    def ask(self, question: Message) -> Message:
        """The answer of one task to a question.

        Raises
        ------
        FileError
            If there is none.
        """
        try:
            answer, _ = self._ray.get(self._task(question, b""))
        except self._ray.exceptions.RayError as error:
            raise FileError(f"no task of Ray can be used: {_reason(error)}") from error
        return json.loads(answer)

    def places(self, shapes: list[tuple[int, int, int, int]]) -> list[str]:
        """What each task computes on, one entry a task at a time, for pictures of these shapes.

        Raises
        ------
        ValueError
            If the task cannot be done at all.
        """
        needs = self.ask({"shapes": shapes})
        if "error" in needs:
            raise ValueError(needs["error"])
        # More than any machine has would wait for ever; whether it fits is for the task to say.
        most = max(node["Resources"].get("memory", 0) for node in self._ray.nodes())
        memory = min(PROCESS_BYTES + (0 if needs["gpu"] else needs["bytes"]), most)
        self._restore = self._restore.options(memory=memory)
        room = self._gpus / self._gpu_fraction if self._gpu_fraction else self._cores
        return ["auto"] * (self._workers or max(1, int(_QUEUED * room)))

    def work(
        self, jobs: Iterator[tuple[int, Message]], *, devices: list[str]
    ) -> Iterator[tuple[int, Message]]:
        """As `robustdip.cli.pool.Pool.work`, without answers before the last."""
        running: dict[Any, tuple[int, Message]] = {}
        more = True
        while more or running:
            while more and len(running) < len(devices):
                more = False
                for number, message in jobs:
                    more = True
                    source = Path(message["source"])
                    try:
                        with file_errors("read", source):
                            data = source.read_bytes()
                    except FileError as error:
                        yield number, {"error": str(error)}
                    else:
                        request = {**message, "device": devices[0]}
                        running[self._task(request, data)] = number, message
                    break
            if not running:
                continue
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            number, message = running.pop(done)
            try:
                answer, files = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:  # such as no robustdip on a machine
                yield number, {"error": f"cannot restore {message['source']!r}: {_reason(error)}"}
            except self._ray.exceptions.RayError as error:
                yield number, {"died": f"{_reason(error)} (tried {_RETRIES + 1} times)"}
            else:
                yield number, _written(json.loads(answer), files, message)

    def _task(self, request: Message, data: bytes) -> Any:
        return self._restore.remote(*self._shared, json.dumps(request), data)


def _connect(ray: Any, workers: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            if "RAY_ADDRESS" in os.environ:
                raise
            cores = workers or free_cores()
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **quiet)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        address = os.environ.get("RAY_ADDRESS", "this machine")
        raise FileError(f"no Ray cluster at {address!r}: {_reason(error)}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # ray has put its own in their place


def _restored(settings: str, masks: Files, request: str, data: bytes) -> tuple[str, Files]:
    """A task: the last answer of a `Restorer`, and the files that it made."""
    told, asked = json.loads(settings), json.loads(request)
    with tempfile.TemporaryDirectory(prefix="robustdip-") as name:
        folder = Path(name)
        for number, (key, path) in enumerate(told["masks"].items()):
            (folder / f"{number}").mkdir()
            told["masks"][key] = str(folder / f"{number}" / Path(path).name)
            Path(told["masks"][key]).write_bytes(masks[path])
        restorer = Restorer(told)
        if "source" not in asked:
            return json.dumps(restorer.answer(asked, _ignore)), {}
        made: dict[str, Path] = {}
        for key in ("source", "result", "report"):
            if asked[key] is not None:
                (folder / key).mkdir()
                made[key] = folder / key / Path(asked[key]).name
        made["source"].write_bytes(data)
        answer = restorer.answer({**asked, **{key: str(made[key]) for key in made}}, _ignore)
        text = json.dumps(answer)
        for key, path in made.items():  # errors name the files of the user
            text = text.replace(_quoted(str(path)), _quoted(asked[key]))
        wanted = {key: path for key, path in made.items() if key != "source" and path.exists()}
        return text, {key: path.read_bytes() for key, path in wanted.items()}


def _quoted(path: str) -> str:
    """A path as it stands in the message of an error that is inside of JSON."""
    return json.dumps(repr(path))[1:-1]


def _ignore(message: Message) -> None:
    pass


def _written(answer: Message, files: Files, message: Message) -> Message:
    """The answer of a worker that has written its files itself: here they are written."""
    if "result" not in files or answer.get("record") is None:
        return answer
    contents = [(Path(message[key]), data) for key, data in files.items()]
    source = Path(message["source"])
    written, failures = save_all(contents, force=message["force"], source=source)
    record = None if written[0] is None else {**answer["record"], "output": str(written[0])}
    return {**answer, "record": record, "failures": [*answer["failures"], *failures]}


def _reason(error: Exception) -> str:
    """The last line of what Ray says: the error itself, below the places that it came through."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(ValueError(lines[-1] if lines else type(error).__name__))
