"""run.json and metrics.csv: what a run writes down about itself. Only this module reads them.

Without PyTorch, so that the table of many runs is fast.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from overparam.files import FileError, file_errors, one_line, replace_file, require_regular_file
from sop_classify.training.evaluation import Epoch

__all__ = [
    "METRICS",
    "RECORD",
    "RunRecord",
    "differences",
    "has_record",
    "read_metrics",
    "read_record",
    "write_metrics",
    "write_record",
]

RECORD, METRICS = "run.json", "metrics.csv"

_SCHEMA = 1
_STATUSES = ("starting", "running", "completed", "interrupted", "failed")
# What must not change between the start of a run and its end. The recipe includes the number of
# epochs, over which every schedule runs.
_FIXED = ("recipe", "arguments", "seed", "data")
# The results that every completed run has.
_NEEDED = ("accuracy", "best_accuracy", "seconds", "training_seconds")
# What is read from the parts of a record.
_PARTS = {
    "recipe": {"method": str},
    "data": {"name": str, "train_images": int, "class_names": list, "fingerprint": str},
}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run.json holds.

    Attributes
    ----------
    status : {"starting", "running", "completed", "interrupted", "failed"}
    recipe : dict
        Every setting of the recipe.
    arguments : dict
        How the data came to be: from `NoisyLabels.arguments` "noise_type", "noise" (the rate asked
        for), "mapping" and "limit", and from the command line "dataset".
    seed : int
    data : dict
        "name", "train_images" and "test_images" (numbers), "classes", "class_names", and
        "fingerprint", a SHA-256 sum of everything that weights and metrics depend on.
    noise : dict or None
        "type", "rate" and "realised_rate", if the truth is known.
    device, device_name, precision, threads, compile, versions
        What the last bits of the results may depend on besides the settings.
    resumed : list of dict
        The epoch of each continuation, and what had changed about the machine.
    results : dict
        Of a completed run, see `sop_classify.runs.results.write_results`. Of a failed one "error".
    """

    status: str
    recipe: dict[str, Any]
    arguments: dict[str, Any]
    seed: int
    data: dict[str, Any]
    noise: dict[str, Any] | None
    device: str
    device_name: str
    precision: str
    threads: int
    compile: bool
    versions: dict[str, Any]
    resumed: list[dict[str, Any]]
    results: dict[str, Any]


def has_record(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / RECORD).exists()


def write_record(folder: Path, record: RunRecord) -> None:
    """Write run.json whole or not at all; FileError if that fails."""
    # What JSON does not know, such as a path, is written as its str.
    text = json.dumps(
        {"schema_version": _SCHEMA, **dataclasses.asdict(record)}, indent=1, default=str
    )
    replace_file(folder / RECORD, text.encode() + b"\n")


def read_record(folder: Path) -> RunRecord:
    """Read run.json.

    Raises
    ------
    FileError
        If it is missing or damaged, or is not the record of a run of this version.
    """
    path = folder / RECORD
    with file_errors("read", path):
        require_regular_file(path.stat().st_mode)
        try:
            values = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise FileError(f"not JSON, or damaged ({one_line(error)})") from error
        if not isinstance(values, dict) or "schema_version" not in values:
            raise FileError("it is not the record of a run")
        if values["schema_version"] != _SCHEMA:
            raise FileError(
                f"its schema_version is {values['schema_version']!r}; {_SCHEMA} can be read"
            )
        kinds = get_type_hints(RunRecord)
        wrong = [
            key for key, kind in kinds.items() if key not in values or not _is(values[key], kind)
        ]
        if not wrong:
            wrong += ["status"] if values["status"] not in _STATUSES else []
            for key, parts in _PARTS.items():
                bad = [part for part, kind in parts.items() if not _is(values[key].get(part), kind)]
                wrong += [f"{key}.{part}" for part in bad]
            if values["status"] == "completed":
                wrong += _damaged_results(values["results"])
        if wrong:
            raise FileError(f"it is damaged: {wrong[0]} is missing or malformed")
        return RunRecord(**{key: values[key] for key in kinds})


def _damaged_results(results: Mapping[str, Any]) -> list[str]:
    """Results of a completed run that are missing or no numbers; most may be None."""
    found = {**dict.fromkeys(_NEEDED), **results}
    return [
        f"results.{key}"
        for key, value in found.items()
        if not (_is_number(value) or key == "curves" or (value is None and key not in _NEEDED))
    ]


def _is_number(value: Any) -> bool:
    # Within the range of float, and not NaN.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of the type of a field, as far as JSON distinguishes types."""
    if type(None) in get_args(kind):
        return value is None or _is(value, get_args(kind)[0])
    plain = get_origin(kind) or kind
    return isinstance(value, plain) and (plain is bool or not isinstance(value, bool))


def differences(old: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs in the parts of two records that must not change while a run goes on.

    Settings that only the old recipe has are no difference: earlier versions wrote the settings of
    all methods into every recipe. The recipe's source is a remark.

    Parameters
    ----------
    old, now : mapping
        As `dataclasses.asdict` makes them of a `RunRecord`, or parts of that.

    Returns
    -------
    list of str
        ``"recipe.lr=0.1, now 0.2"`` and so on, by name.
    """
    before, after = _flat(old), _flat(now)
    return [
        "other images or labels"  # two hashes tell a reader nothing
        if key == "data.fingerprint"
        else f"{key}={before.get(key)!r}, now {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
        and not (key.startswith("recipe.") and key not in after)
        and key != "recipe.source"
    ]


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    # As it reads after it was written: a tuple is a list, a path is its name.
    fixed = json.loads(json.dumps({key: record.get(key) for key in _FIXED}, default=str))
    flat = {}
    for key, value in fixed.items():
        inner = value if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    return flat


# --- metrics.csv ---------------------------------------------------------------------------

_COLUMNS = get_type_hints(Epoch)


def write_metrics(folder: Path, history: Sequence[Epoch]) -> None:
    """Write metrics.csv, a row for each epoch, whole or not at all. An unknown value is empty."""
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
    replace_file(folder / METRICS, text.getvalue().encode())


def read_metrics(folder: Path) -> list[Epoch]:
    """Read metrics.csv.

    Raises
    ------
    FileError
        If it is missing or damaged, or was written by another version.
    """
    path = folder / METRICS
    with file_errors("read", path):
        require_regular_file(path.stat().st_mode)
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
