"""What one process of a `Pool` does: it restores the pictures that it is told of, one by one.

`main` reads lines of JSON from standard input: first the settings, then questions and pictures. It
ends at once when standard input does, so that it never outlives the program that started it.
"""

import dataclasses
import json
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overparam.files import discard_unfinished, one_line
from overparam.program import keep_memory
from robustdip.cli.job import Task, read_job, record_of, recovered
from robustdip.cli.masks import MaskFiles, Masks, nothing_missing
from robustdip.cli.outputs import Outputs

if TYPE_CHECKING:
    from robustdip.recovery import Denoised, Step

__all__ = ["Restorer", "main", "settings_message"]

Message = dict[str, Any]

_SECONDS_BETWEEN_REPORTS = 0.2
# Bytes a sample: as it was read, and in float32.
_PICTURE = 5
# And of a page that is restored, until all of its file are: what was removed and its uncertainty in
# float32, the mask, and the result, of 32 bits at most.
_RESTORED = 13
# Bytes a sample that a classical method takes, some arrays of float64.
_CLASSICAL = 200
# What a user can correct; see `overparam.terminal.exit_on_error`.
_EXPECTED = (ValueError, MemoryError, ArithmeticError, OSError)


def settings_message(task: Task, masks: MaskFiles) -> Message:
    """What `main` reads first."""
    named = {name: str(path) for name, path in masks.paths().items()}
    return {"task": dataclasses.asdict(task), "masks": named, "exact": masks.exact}


def main() -> None:
    """Answer until standard input ends."""
    for name in ("SIGINT", "SIGHUP"):  # sent to all processes of a terminal: the program decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")
    keep_memory()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()

    def answer(message: Message) -> None:
        print(json.dumps(message), file=answers, flush=True)

    restorer = Restorer(requests.get())
    while True:
        answer(restorer.answer(requests.get(), answer))


class Restorer:
    """Answers questions and restores pictures.

    Parameters
    ----------
    settings : dict
        What `settings_message` gives.
    """

    def __init__(self, settings: Message) -> None:
        self._task = Task.from_json(settings["task"])
        masks = {name: Path(path) for name, path in settings["masks"].items()}
        self._files = MaskFiles(**masks, exact=settings["exact"])
        self._masks: Masks | None = None

    def answer(self, request: Message, report: Callable[[Message], None]) -> Message:
        """The last answer to a request; those before it, with the key "progress", are reported.

        No error is raised: the answer has the key "error" then.
        """
        try:
            if "shapes" in request:
                return _needs(self._task, [tuple(shape) for shape in request["shapes"]])
            self._masks = self._masks or self._files.read([])
            device = request["device"] if self._task.device == "auto" else self._task.device
            task = dataclasses.replace(self._task, device=device)
            return _restored(request, task, self._masks, report)
        except _EXPECTED as error:
            return {"error": _named(one_line(error), request)}
        except Exception as error:  # a bug costs its picture, not the run
            reason = _named(f"a bug: {one_line(error)}", request)
            return {"error": reason, "traceback": traceback.format_exc()}


def _listen(requests: "queue.SimpleQueue[Message]") -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    discard_unfinished()
    os._exit(0)


def _named(reason: str, request: Message) -> str:
    """A reason with the name of the picture; those of files have it already."""
    source = request.get("source")
    if source is None or repr(source) in reason:
        return reason
    return f"cannot restore {source!r}: {reason}"


def _needs(task: Task, shapes: list[tuple[int, ...]]) -> Message:
    """The devices that there are for the task, and the bytes that a picture needs at most.

    A shape is (pages, H, W, channels): all pages of a file are held, and one is worked on.
    The largest need not be the one: what is just not cut into tiles takes more than what is.
    """
    from robustdip.methods import METHODS

    method = METHODS[task.method]

    def of_others(shape: tuple[int, ...]) -> int:
        return (shape[0] - 1) * math.prod(shape[1:]) * (_PICTURE + _RESTORED)

    if method.kind != "fit":
        needed = max(_CLASSICAL * math.prod(shape[1:]) + of_others(shape) for shape in shapes)
        return {"devices": ["auto"], "bytes": needed, "gpu": False}
    import torch

    from overparam.devices import pick_device
    from robustdip.tiling.memory import memory_of_picture
    from robustdip.tiling.plan import plan

    device, recipe = pick_device(task.device), method.load()

    def bytes_of(shape: tuple[int, ...]) -> int:
        page = shape[1:]
        tiles = plan((page[0], page[1]), side=task.tile)  # smaller ones where damage is dense
        needed = memory_of_picture(page, recipe, tiles=tiles, device=device)
        return needed + _PICTURE * math.prod(page) + of_others(shape)

    needed = max(map(bytes_of, shapes))
    if device.type == "cuda" and task.device == "auto":
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        return {"devices": names, "bytes": needed, "gpu": True}
    return {"devices": [str(device)], "bytes": needed, "gpu": device.type != "cpu"}


def _restored(
    request: Message, task: Task, masks: Masks, report: Callable[[Message], None]
) -> Message:
    source = Path(request["source"])
    outputs = Outputs(Path(request["result"]))
    # The program has looked whether the result may replace what is there.
    job = read_job(source, outputs, task, masks, inputs=[source], force=request["force"])
    pages, said = len(job.pages), 0.0
    results: list[Denoised] = []

    def on_step(step: "Step") -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > _SECONDS_BETWEEN_REPORTS:
            said = now
            report({"progress": (len(results) + step.done / step.total) / pages})

    for page in range(pages):
        results.append(recovered(job, task, page=page, on_step=on_step))
    if request["report"] is not None and pages == 1:
        outputs = dataclasses.replace(outputs, report=Path(request["report"]))
    written, failures = outputs.write(
        job.pages, results, method=task.method, force=request["force"]
    )
    record = None if written is None else record_of(job, task, results, written)
    complete = nothing_missing(job.pages, task.no_data)
    return {"record": record, "failures": failures, "nothing_missing": complete}
