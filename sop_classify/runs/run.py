"""A training kept in a folder: what it leaves on disk, and how it goes on after a stop.

- ``run.json``: recipe, arguments, seed, data, noise, machine and versions; the status ("starting",
  "running", "completed", "interrupted" or "failed"); at the end the results. See `RunRecord`.
- ``labels.npz``: ``given_labels``, and ``true_labels`` if they are known.
- ``metrics.csv``: a row for each epoch, the fields of `Epoch`.
- ``checkpoint.safetensors``: everything that changes, after the last completed epoch.
- ``model.safetensors``: the network alone, to predict with, see `sop_classify.runs.model`.
- ``label_issues.csv``, ``transition_matrix.csv``, ``confusion_matrix.csv``, ``curves.png`` and
  ``report.html``, written at the end.

Each file is written whole or not at all. run.json is the first, with the status "starting" until
all others are there: such a folder can be resumed, from the first epoch on, and started again.
metrics.csv is written before the checkpoint. The table may therefore be one row ahead of the
checkpoint, which a resumed run repeats; it never lacks a row. While a process trains, it has the
folder locked, see `sop_classify.records.lock`.
"""

import dataclasses
import io
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from overparam.checks import check_type
from overparam.files import (
    FileError,
    MovedError,
    fallback_folders,
    file_errors,
    one_line,
    replace_file,
    unfinished,
)
from overparam.modes import own_modes
from sop_classify.data.image_data import ImageData
from sop_classify.data.label_arrays import noise_rate
from sop_classify.recipes import Recipe
from sop_classify.records.checkpoint import CHECKPOINT, checkpoint_bytes, read_checkpoint
from sop_classify.records.lock import LOCK, FolderLock
from sop_classify.records.record import (
    METRICS,
    RECORD,
    RunRecord,
    differences,
    has_record,
    read_metrics,
    read_record,
    write_metrics,
    write_record,
)
from sop_classify.runs.folder import LABELS, new_folder, require_new, require_unused
from sop_classify.runs.job import MACHINE, Job, described, machine_of
from sop_classify.runs.model import MODEL, model_bytes, read_model
from sop_classify.runs.results import best_epoch, write_results
from sop_classify.training.evaluation import Epoch

__all__ = ["Run", "train"]

StrPath = str | os.PathLike[str]


def train(
    data: ImageData,
    given_labels: ArrayLike | None = None,
    *,
    recipe: Recipe,
    true_labels: ArrayLike | None = None,
    seed: int = 0,
    device: str = "auto",
    compile: bool = False,
    out: StrPath | None = None,
    resume: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Iterator[Epoch]:
    """Train, an epoch at a time; with `out` in a folder that a stop at any moment leaves usable.

    Several processes that torchrun starts train together once each has called
    ``torch.distributed.init_process_group``: all of them call this, and the first yields.

    Parameters
    ----------
    data, recipe, true_labels, seed, device, compile, arguments
        As in `Job`.
    given_labels : array_like of int, shape (N,), optional
        The labels to train on, right or wrong; by default `data.train_labels`.
    out : str or PathLike, optional
        Folder of the run, new or empty; see `sop_classify.runs.run`. By default nothing is written.
    resume : bool
        Go on with the run in `out`. It ends as it would have ended without the stop: bit for bit on
        a CPU with the same number of threads. A completed run yields nothing.

    Yields
    ------
    Epoch
        When it is on disk. Close the generator to stop after it.

    Raises
    ------
    FileError
        If `out` is not empty, holds no run to resume or a damaged one, or cannot be written.
    TypeError, ValueError
        If a parameter has another type or is out of its range.
    ValueError
        If the run to resume was made with other settings or data; each is named with both values.
    DivergedError, NotEnoughMemoryError
        As in `TrainingLoop.epochs`.
    """
    check_type("data", data, ImageData)
    given = data.train_labels if given_labels is None else given_labels
    check_type("resume", resume, bool)
    arguments = {} if arguments is None else arguments
    job = Job(data, given, recipe, true_labels, seed, device, compile, arguments)
    if resume and out is None:
        raise ValueError("resume needs out, the folder of the run to go on with")
    return _epochs(job, None if out is None else os.fspath(out), resume=resume)


def _epochs(job: Job, out: StrPath | None, *, resume: bool) -> Iterator[Epoch]:
    if out is None:
        training = job.training()
        if training.processes.is_first:
            yield from job.evaluator().epochs(training)
        else:
            for _ in training.epochs():
                pass
        return
    run = Run(job, out)
    if resume:
        run.resume()
    else:
        run.start()
    yield from run.epochs()


class Run:
    """A job and its folder. Call `start` or `resume`, then take the `epochs`.

    If several processes train together (`torch.distributed`), all of them make the run and do so:
    the first writes, and the others read the checkpoint in the folder and yield nothing.

    Parameters
    ----------
    job : Job
    out : str or PathLike
        Folder of the run.

    Attributes
    ----------
    job : Job
    folder : Path
    training : TrainingLoop
    record : RunRecord
        What run.json holds.
    history : list of Epoch
        What metrics.csv holds.
    saved : int
        Number of epochs in the checkpoint.
    """

    def __init__(self, job: Job, out: StrPath) -> None:
        self.job, self.folder = job, Path(out)
        self.training, self._evaluator = job.training(), job.evaluator()
        self._processes = self.training.processes
        self.history: list[Epoch] = []
        self.saved = 0
        self._given = np.asarray(job.given_labels, np.int64)
        self._true = None if job.true_labels is None else np.asarray(job.true_labels, np.int64)
        noise = None
        if self._true is not None:
            noise = {
                "type": job.arguments.get("noise_type"),
                "rate": job.arguments.get("noise"),
                "realised_rate": noise_rate(self._true, self._given),
            }
        self._lock = FolderLock(self.folder)
        self.record = RunRecord(
            status="starting",
            recipe=dataclasses.asdict(job.recipe),
            arguments={**job.arguments, **job.settings()},
            seed=job.seed,
            data=described(job.data, self._given, self._true),
            noise=noise,
            **machine_of(self.training, compile=job.compile),
            resumed=[],
            results={},
        )

    def start(self) -> None:
        """Make the folder, with everything that a resumed run needs, or nothing.

        Raises
        ------
        FileError
            If there is something in it already, another process starts a run there, or it cannot be
            written. What a start that was killed has left does not count.
        """
        if self._processes.is_first:
            self._start()
        self._join()

    def _start(self) -> None:
        require_new(self.folder)
        missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        with unfinished(*reversed(missing)):
            with file_errors("start a run in", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            try:
                with unfinished(self.folder / LOCK):
                    with file_errors("start a run in", self.folder):
                        require_unused(self.folder)  # another process may have been faster
                    self._fill()
            except BaseException:
                self._lock.release()
                raise

    def _fill(self) -> None:
        """Write everything that a resumed run needs, or nothing."""
        # The last to go is run.json, which says that the others may.
        with unfinished(*(self.folder / name for name in (RECORD, LABELS, METRICS, CHECKPOINT))):
            self._write()
            self._write_labels(self.folder)
            self._write_state(self.folder)
            self._write(status="running")

    def resume(self) -> None:
        """Load what the folder holds, and lock it unless the run is completed.

        Nothing is written before the first of the `epochs`, except by a run that was stopped while
        it started.

        Raises
        ------
        FileError
            If the folder holds no run, or files of it are missing, damaged, or of another run, or
            another process trains there.
        ValueError
            If the run was made with other settings or data.
        """
        if self._processes.is_first:
            self._resume()
        self._join()

    def _join(self) -> None:
        """Let the other processes load what the first has found, or has written."""
        self._processes.wait()
        if not self._processes.is_first:
            self.record = replace(self.record, status=read_record(self.folder).status)
            if self.record.status != "completed":
                self._load()

    def _resume(self) -> None:
        with file_errors("resume", self.folder):
            if not has_record(self.folder):
                raise FileError(f"it holds no {RECORD}; start a run there first")
        record = read_record(self.folder)
        if record.status == "completed":
            self._continue(record)
            return
        with file_errors("resume", self.folder):
            self._lock.acquire()
        try:
            self._continue(read_record(self.folder))  # as it is now that nobody writes
        except BaseException:
            self._lock.release()
            raise

    def _continue(self, old: RunRecord) -> None:
        now = self.record
        old = replace(old, recipe=self._completed(old.recipe))
        if changed := differences(dataclasses.asdict(old), dataclasses.asdict(now)):
            raise ValueError(
                f"{str(self.folder)!r} was made with {'; '.join(changed)}: use its settings and "
                "data, or another folder"
            )
        if old.status == "starting":
            self._fill()
            return
        history = read_metrics(self.folder)
        # The machine that is on record is the one that the run started on.
        kept = {key: getattr(old, key) for key in (*MACHINE, "status", "resumed", "results")}
        self.record = replace(now, **kept)
        if old.status == "completed":
            self.history, self.saved = history, len(history)
            return
        epoch = self._load()
        if len(history) < epoch:
            raise FileError(
                f"cannot resume {str(self.folder)!r}: {METRICS} has {len(history)} epochs, the "
                f"checkpoint {epoch}"
            )
        self.history, self.saved = history[:epoch], epoch
        machine = {key: getattr(now, key) for key in MACHINE}
        changes = {key: value for key, value in machine.items() if value != getattr(old, key)}
        self.record = replace(self.record, resumed=[*old.resumed, {"epoch": epoch, **changes}])

    def epochs(
        self, *, on_batch: Callable[[float], None] | None = None
    ) -> Generator[Epoch, None, None]:
        """Train the remaining epochs, one at a time; each is saved before it is yielded.

        After an exception, Ctrl-C included, go on with a new Run: the training may have stopped in
        the middle of an epoch, but the folder holds complete ones.

        Parameters
        ----------
        on_batch : callable, optional
            As in `TrainingLoop.epochs`.
        """
        if self.record.status == "completed":
            return
        if not self._processes.is_first:
            for _ in self.training.epochs(on_batch=on_batch):
                pass  # the first process tests, saves and yields it
            return
        try:
            self._write(status="running", results={})
            for epoch in self._evaluator.epochs(self.training, on_batch=on_batch):
                self.history.append(epoch)
                # Before the checkpoint: what is killed between the two repeats the epoch.
                if self.job.select == "holdout" and best_epoch(self.history) == epoch.epoch:
                    self._write_model()
                self._save()
                yield epoch
            if self.job.select == "last":
                self._write_model()
            results = write_results(
                self.folder,
                self.training,
                self.history,
                data=self.job.data,
                record=self.record,
                true_labels=self._true,
                model=None if self.job.select == "last" else read_model(self.folder),
            )
            self._write(status="completed", results=results)
        except BaseException as error:
            # Ctrl-C and a generator that is closed are no failures.
            failed = isinstance(error, Exception)
            with suppress(FileError):  # the error to report is the first
                if failed:
                    self._write(status="failed", results={"error": one_line(error)})
                else:
                    self._write(status="interrupted")
            raise
        finally:
            self._lock.release()

    def restore(self) -> None:
        """Load the checkpoint of a run that an earlier process completed, to predict with it.

        Raises
        ------
        FileError
            If it is missing, damaged or of another run.
        """
        self._load()

    def summary(self) -> dict[str, Any]:
        """The results of a completed run, and as `run` where it is."""
        return {**self.record.results, "run": str(self.folder)}

    def _write(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        write_record(self.folder, self.record)

    def _write_labels(self, folder: Path) -> None:
        labels = {"given_labels": self._given}
        if self._true is not None:
            labels["true_labels"] = self._true
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **labels)  # type: ignore[arg-type]
        replace_file(folder / LABELS, buffer.getvalue())

    def _write_model(self) -> None:
        model = model_bytes(self.training, self.job.data)
        replace_file(self.folder / MODEL, model)

    def _write_state(self, folder: Path) -> None:
        stamp = {**self._stamp(), "epoch": self.training.epoch}
        checkpoint = checkpoint_bytes(self.training.state_dict(), stamp)
        write_metrics(folder, self.history)
        replace_file(folder / CHECKPOINT, checkpoint)

    def _save(self) -> None:
        """Write the state; if the folder takes it no more, the whole run into another folder.

        Raises
        ------
        MovedError
            If it is in another folder, where it can be resumed.
        FileError
            If no folder takes it.
        """
        try:
            self._write_state(self.folder)
        except FileError as error:
            moved = self._copy()
            if moved is None:
                raise
            where = f"the run is in {str(moved)!r}, resume it there"
            raise MovedError(f"{error}; {where}", moved) from error
        self.saved = self.training.epoch

    def _copy(self) -> Path | None:
        """Write the run into a new folder, the first that takes it; None if none does."""
        for parent in fallback_folders(self.folder.parent):
            with suppress(OSError, FileError):
                # The current folder, ".", has no name of its own.
                folder = new_folder(parent / self.folder.resolve().name)
                names = (RECORD, LABELS, METRICS, CHECKPOINT, MODEL)
                with unfinished(folder, *(folder / name for name in names)):
                    if (self.folder / MODEL).exists():  # of the best epoch so far
                        replace_file(folder / MODEL, (self.folder / MODEL).read_bytes())
                    write_record(folder, replace(self.record, status="interrupted"))
                    self._write_labels(folder)
                    self._write_state(folder)
                return folder
        return None

    def _load(self) -> int:
        """Load the checkpoint; the number of its epochs."""
        path = self.folder / CHECKPOINT
        with own_modes(self.training.device):  # tensors that can be trained, on the CPU
            stamp, state = read_checkpoint(path)
        with file_errors("read", path):
            epoch, own = stamp.pop("epoch", None), self._stamp()
            if isinstance(stamp.get("recipe"), dict):
                stamp["recipe"] = self._completed(stamp["recipe"])
            if stamp.get("schema_version") != own["schema_version"] or differences(
                _comparable(stamp), _comparable(own)
            ):
                raise FileError("it is the checkpoint of another run")
            try:
                self.training.load_state_dict(state)
            except Exception as error:  # tensors that do not fit make torch raise nearly anything
                raise FileError(f"it does not fit this training ({one_line(error)})") from error
            if epoch != self.training.epoch:
                raise FileError(f"it says epoch {epoch}, its tensors {self.training.epoch}")
        return self.training.epoch

    def _completed(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Recorded settings, with the defaults of those that came later."""
        settings = dataclasses.fields(self.job.recipe)
        later = {f.name: f.default for f in settings if f.default is not dataclasses.MISSING}
        return {**later, **recipe}

    def _stamp(self) -> dict[str, Any]:
        """Which run a checkpoint belongs to."""
        return {
            "schema_version": 1,
            "recipe": {k: v for k, v in self.record.recipe.items() if k != "source"},
            "seed": self.record.seed,
            "fingerprint": self.record.data["fingerprint"],
        }


def _comparable(stamp: dict[str, Any]) -> dict[str, Any]:
    """A stamp in the form of the record that it is taken from."""
    data = {"fingerprint": stamp.get("fingerprint")}
    return {"recipe": stamp.get("recipe"), "seed": stamp.get("seed"), "data": data}
