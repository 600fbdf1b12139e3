"""A training kept in a folder: what it leaves on disk, and how it goes on after a stop.

- ``run.json``: recipe, arguments, seed, data, noise, machine and versions; the status ("running",
  "completed", "interrupted" or "failed"); at the end the results.
- ``labels.npz``: ``given_labels``, and ``true_labels`` if they are known.
- ``metrics.csv``: a row an epoch, the fields of `sop_classify.training.loop.Epoch`; unknown is empty.
- ``checkpoint.safetensors``: everything that changes, after the last epoch that was completed.
- ``label_issues.csv``, ``transition_matrix.csv`` and ``curves.png``, written by `finish`.

A file is replaced whole or not at all, metrics.csv before the checkpoint: the table may be a row
ahead of the checkpoint, which a resumed run repeats, but it never lacks one.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from overparam.files import FileError, naming, one_line, replace_file, require_regular
from sop_classify.data.image_data import ImageData
from sop_classify.labels.issues import auroc, f1, issues_csv, label_issues, transitions_csv
from sop_classify.labels.synthetic import noise_rate
from sop_classify.methods.build import training_for
from sop_classify.recipes import Recipe
from sop_classify.reports.curves import draw_curves
from sop_classify.runs.checkpoint import checkpoint_bytes, read_checkpoint
from sop_classify.training.loop import Epoch, Training

__all__ = ["Run", "finish", "require_new", "train"]

StrPath = str | os.PathLike[str]

_SCHEMA = 1
_STATUSES = ("running", "completed", "interrupted", "failed")
_RECORD, _LABELS, _METRICS = "run.json", "labels.npz", "metrics.csv"
_CHECKPOINT, _CURVES = "checkpoint.safetensors", "curves.png"
_ISSUES, _TRANSITIONS = "label_issues.csv", "transition_matrix.csv"
# What must not change between the start of a run and its end. That includes the number of epochs:
# every schedule runs over all of them.
_FIXED = ("recipe", "arguments", "seed", "data")


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

    Parameters
    ----------
    data : ImageData
    given_labels : array_like of int, shape (N,), optional
        What to train on, right or wrong; `data.train_labels` if left out.
    recipe, true_labels, seed, device, compile
        As in `Training`.
    out : str or PathLike, optional
        Folder of the run, new or empty; see the module and `Run`.
    resume : bool
        Go on with the run in `out` instead: it ends as it would have without the stop, on a CPU
        with the same number of threads bit for bit. Of a completed run there is nothing to yield.
    arguments : mapping of str, optional
        How the data came to be, for run.json; as `noise_type` and `noise` its kind and asked rate.
        What JSON does not know is kept as its str.

    Yields
    ------
    Epoch
        When it is on disk. Close the generator to stop after it.

    Raises
    ------
    FileError
        If `out` is not empty, holds no run to resume, or a damaged one, or cannot be written.
    ValueError
        If what is resumed was made with other settings or data: each is named, with both values.
    DivergedError
        As in `Training`.
    """
    if out is None:
        if resume:
            raise ValueError("resume needs out, the folder of the run to go on with")
        given = data.train_labels if given_labels is None else given_labels
        yield from training_for(
            data, given, recipe, true_labels=true_labels, seed=seed, device=device, compile=compile
        ).epochs()
        return
    run = Run(
        data,
        given_labels,
        recipe,
        out=out,
        true_labels=true_labels,
        seed=seed,
        device=device,
        compile=compile,
        arguments=arguments,
    )
    if resume:
        run.resume()
    else:
        run.start()
    yield from run.epochs()


class Run:
    """A training and its folder. Call `start` or `resume`, then take the `epochs`.

    Parameters
    ----------
    data, given_labels, recipe, out, true_labels, seed, device, compile, arguments
        As in `train`.

    Attributes
    ----------
    folder : Path
    training : Training
    data : ImageData
    given_labels : ndarray of int64, shape (N,)
    true_labels : ndarray of int64, shape (N,), or None
    record : dict
        What run.json holds.
    history : list of Epoch
        What metrics.csv holds.
    saved : int
        Epochs in the checkpoint.
    """

    def __init__(
        self,
        data: ImageData,
        given_labels: ArrayLike | None,
        recipe: Recipe,
        *,
        out: StrPath,
        true_labels: ArrayLike | None = None,
        seed: int = 0,
        device: str = "auto",
        compile: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        given = data.train_labels if given_labels is None else given_labels
        self.training = training_for(
            data, given, recipe, true_labels=true_labels, seed=seed, device=device, compile=compile
        )
        self.folder, self.data = Path(out), data
        self.history: list[Epoch] = []
        self.saved = 0
        self.given_labels = np.asarray(given, np.int64)
        self.true_labels = None if true_labels is None else np.asarray(true_labels, np.int64)
        arguments = dict(arguments or {})
        record = {
            "schema_version": _SCHEMA,
            "status": "running",
            "recipe": dataclasses.asdict(recipe),
            "arguments": arguments,
            "seed": seed,
            "data": _describe(data, self.given_labels, self.true_labels),
            "noise": None,
            **_machine(self.training, compile=compile),
            "resumed": [],
            "results": {},
        }
        if self.true_labels is not None:
            record["noise"] = {
                "type": arguments.get("noise_type"),
                "rate": arguments.get("noise"),
                "realised_rate": noise_rate(self.true_labels, self.given_labels),
            }
        # As it will be read again: a tuple is a list, a path its name.
        self.record: dict[str, Any] = json.loads(json.dumps(record, default=str))

    def start(self) -> None:
        """Make the folder, with everything that a resumed run needs, or nothing.

        Raises
        ------
        FileError
            If there is something in it already, or it cannot be written.
        """
        require_new(self.folder)
        with naming("start a run in", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            labels: dict[str, Any] = {"given_labels": self.given_labels}
            if self.true_labels is not None:
                labels["true_labels"] = self.true_labels
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **labels)
            replace_file(self.folder / _LABELS, buffer.getvalue())
            self._save()
            self._write()  # last: where there is a run.json, there is a run
        except BaseException:
            for name in (_LABELS, _METRICS, _CHECKPOINT, _RECORD):
                (self.folder / name).unlink(missing_ok=True)
            raise

    def resume(self) -> None:
        """Take up what the folder holds; nothing is written before the first of the `epochs`.

        Raises
        ------
        FileError
            If the folder holds no run, or files of it are missing, damaged, or of another run.
        ValueError
            If the run was made with other settings or data.
        """
        with naming("resume", self.folder):
            if not (self.folder / _RECORD).exists():
                raise FileError(f"it holds no {_RECORD}; start a run there first")
        old, now = _read_record(self.folder / _RECORD), self.record
        _require_same(self.folder, old, now)
        kept = (*_MACHINE, "status", "resumed", "results")
        self.record = {**now, **{key: old.get(key) for key in kept}}
        history = _read_metrics(self.folder / _METRICS)
        if old["status"] == "completed":
            self.history, self.saved = history, len(history)
            return

        path = self.folder / _CHECKPOINT
        stamp, state = read_checkpoint(path)
        with naming("read", path):
            epoch = stamp.pop("epoch", None)
            if stamp != self._stamp():
                raise FileError("it is the checkpoint of another run")
            try:
                self.training.load_state_dict(state)
            except Exception as error:  # tensors that do not fit make torch raise nearly anything
                raise FileError(f"it does not fit this training ({one_line(error)})") from error
            if epoch != self.training.epoch:
                raise FileError(f"it says epoch {epoch}, its tensors {self.training.epoch}")
        epoch = self.training.epoch
        if len(history) < epoch:
            raise FileError(
                f"cannot resume {str(self.folder)!r}: {_METRICS} has {len(history)} epochs, the "
                f"checkpoint {epoch}"
            )
        self.history, self.saved = history[:epoch], epoch
        changed = {key: now[key] for key in _MACHINE if now[key] != old.get(key)}
        self.record["resumed"].append({"epoch": epoch, **changed})

    def epochs(
        self, *, on_batch: Callable[[float], None] | None = None
    ) -> Generator[Epoch, None, None]:
        """Train what is left, an epoch at a time, each saved before it is yielded.

        `on_batch` is as in `Training.epochs`.

        After an exception, Ctrl-C among them, go on with a new Run: the training may have stopped
        in the middle of an epoch, the folder has not.
        """
        if self.record["status"] == "completed":
            return
        try:
            self._write(status="running")
            for epoch in self.training.epochs(on_batch=on_batch):
                self.history.append(epoch)
                self._save()
                yield epoch
            self._write(status="completed", results=finish(self))
        except BaseException as error:
            # Ctrl-C and a generator that is closed are no failures.
            status = "failed" if isinstance(error, Exception) else "interrupted"
            with suppress(FileError):  # the error to report is the first
                self._write(status=status)
            raise

    def summary(self) -> dict[str, Any]:
        """The results of a completed run, and as `run` where it is."""
        return {**self.record["results"], "run": str(self.folder)}

    def _write(self, **changes: Any) -> None:
        self.record |= changes
        text = json.dumps(self.record, indent=1) + "\n"
        replace_file(self.folder / _RECORD, text.encode())

    def _save(self) -> None:
        # Bytes in memory, for the sake of one atomic write: 170 MB for ResNet34 and momentum.
        stamp = {**self._stamp(), "epoch": self.training.epoch}
        checkpoint = checkpoint_bytes(self.training.state_dict(), stamp)
        replace_file(self.folder / _METRICS, _metrics(self.history))
        replace_file(self.folder / _CHECKPOINT, checkpoint)
        self.saved = self.training.epoch

    def _stamp(self) -> dict[str, Any]:
        """Which run a checkpoint belongs to."""
        return {
            "schema_version": _SCHEMA,
            # Its source is words about it.
            "recipe": {k: v for k, v in self.record["recipe"].items() if k != "source"},
            "seed": self.record["seed"],
            "fingerprint": self.record["data"]["fingerprint"],
        }


def require_new(folder: StrPath) -> None:
    """Raise FileError if there is anything in the folder."""
    path = Path(folder)
    with naming("start a run in", path):
        if path.is_dir() and any(path.iterdir()):
            raise FileError("it is not empty; resume its run or choose another folder")


def finish(run: Run) -> dict[str, Any]:
    """Write what the folder holds at the end, and return the results for run.json.

    Returns
    -------
    dict
        Of the last epoch: `accuracy`, `accuracy_flips`, `accuracy_ema`, `accuracy_ema_flips`,
        `accuracy_ensemble`; and of the training images as they are, `memorized` and `recovered`
        (see `Epoch`). `best_accuracy` is of any tested epoch, chosen by the test set: no estimate.
        `noise_rate`, `issues_auroc` and `issues_f1` if the truth is known; `estimated_noise_rate`
        is made without it. `seconds` of training and testing (not of reading data and saving),
        `training_seconds`. `curves`: the file's name, or why there is none.
    """
    training, last = run.training, run.history[-1]
    given, true = run.given_labels, run.true_labels
    issues = label_issues(given, training.probability.cpu().numpy())
    names = run.data.class_names
    replace_file(run.folder / _ISSUES, issues_csv(issues, class_names=names))
    replace_file(run.folder / _TRANSITIONS, transitions_csv(issues, class_names=names))
    predicted = training.predict_training_images().argmax(1).cpu().numpy()
    wrong = np.zeros(len(given), bool) if true is None else given != true

    def share_of_wrong(labels: NDArray[np.int64] | None) -> float | None:
        return float((predicted == labels)[wrong].mean()) if wrong.any() else None

    training_seconds = sum(epoch.seconds for epoch in run.history)
    return {
        "accuracy": last.test_accuracy,
        "best_accuracy": max(e.test_accuracy for e in run.history if e.test_accuracy is not None),
        "accuracy_flips": last.test_accuracy_flips,
        "accuracy_ema": last.test_accuracy_ema,
        "accuracy_ema_flips": last.test_accuracy_ema_flips,
        "accuracy_ensemble": last.test_accuracy_ensemble,
        "memorized": share_of_wrong(given),
        "recovered": share_of_wrong(true),
        "noise_rate": None if true is None else float(wrong.mean()),
        "estimated_noise_rate": issues.noise_rate,
        "issues_auroc": None if true is None else auroc(issues.label_score, wrong),
        "issues_f1": None if true is None else f1(issues.is_label_issue, wrong),
        "seconds": training_seconds + sum(epoch.evaluation_seconds for epoch in run.history),
        "training_seconds": training_seconds,
        "curves": draw_curves(run.folder / _CURVES, run.history),
    }


# --- run.json ------------------------------------------------------------------------------

_MACHINE = ("device", "device_name", "precision", "threads", "compile", "versions")


def _machine(training: Training, *, compile: bool) -> dict[str, Any]:
    """What the last bits of the results may depend on besides the settings: `_MACHINE`."""
    import robustdip

    device = training.device
    cuda = device.type == "cuda"
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "precision": str(training.precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "compile": compile,
        "versions": {
            "python": platform.python_version(),
            "robustdip": robustdip.__version__,
            "torch": torch.__version__,
            "torchvision": version("torchvision"),  # seconds to import
            "numpy": np.__version__,
        },
    }


def _describe(
    data: ImageData, given: NDArray[np.int64], true: NDArray[np.int64] | None
) -> dict[str, Any]:
    """The data, with a sha256 sum of everything that weights and metrics depend on."""
    digest = hashlib.sha256()
    for array in (data.train_images, given, data.test_images, data.test_labels, true):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)  # the memory itself, not a copy
    return {
        "name": data.name,
        "train_images": len(data.train_images),
        "test_images": len(data.test_images),
        "classes": len(data.class_names),
        "class_names": data.class_names,
        "fingerprint": digest.hexdigest(),
    }


def _read_record(path: Path) -> dict[str, Any]:
    with naming("read", path):
        require_regular(path.stat().st_mode)
        try:
            record = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileError(f"not JSON, or damaged ({one_line(error)})") from error
        if not isinstance(record, dict) or "schema_version" not in record:
            raise FileError("it is not the record of a run")
        if record["schema_version"] != _SCHEMA:
            raise FileError(
                f"its schema_version is {record['schema_version']!r}; {_SCHEMA} can be read"
            )
        kinds = {"results": dict, "resumed": list}
        wrong = [key for key, kind in kinds.items() if not isinstance(record.get(key), kind)]
        if wrong or record.get("status") not in _STATUSES:
            raise FileError(f"it is damaged: {[*wrong, 'status'][0]} is missing or malformed")
        return record


def _require_same(folder: Path, old: dict[str, Any], now: dict[str, Any]) -> None:
    before, after = _flat(old), _flat(now)
    changed = [
        f"{key}={before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if changed:
        raise ValueError(
            f"{str(folder)!r} was made with {'; '.join(changed)}: use its settings and data, or "
            "another folder"
        )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat = {}
    for key in _FIXED:
        value = record.get(key)
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    flat.pop("recipe.source", None)  # words about the recipe
    return flat


# --- metrics.csv ---------------------------------------------------------------------------

_COLUMNS = get_type_hints(Epoch)


def _metrics(history: Sequence[Epoch]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for epoch in history:
        values = dataclasses.asdict(epoch)
        # float: a rate given as 10 must look the same after it was read again.
        table.writerow(
            None if values[name] is None else values[name] if kind is int else float(values[name])
            for name, kind in _COLUMNS.items()
        )
    return text.getvalue().encode()


def _read_metrics(path: Path) -> list[Epoch]:
    with naming("read", path):
        require_regular(path.stat().st_mode)
        try:
            header, *rows = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
        except (ValueError, csv.Error) as error:
            raise FileError(f"not a table, or damaged ({one_line(error)})") from error
        if header != list(_COLUMNS):
            raise FileError("its columns are others than those of this version")
        return [_epoch(number, row) for number, row in enumerate(rows, start=1)]


def _epoch(number: int, row: list[str]) -> Epoch:
    if len(row) != len(_COLUMNS) or row[0] != str(number):
        raise FileError(f"the row of epoch {number} is missing or damaged")
    values: dict[str, Any] = {"epoch": number}
    for (name, kind), text in list(zip(_COLUMNS.items(), row, strict=True))[1:]:
        try:
            values[name] = None if not text and type(None) in get_args(kind) else float(text)
        except ValueError:
            raise FileError(f"{name} of epoch {number} is {text!r}; a number is needed") from None
    return Epoch(**values)
