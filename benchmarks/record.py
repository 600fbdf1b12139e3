"""Records: what was measured, with which settings, code and versions, on what machine.

A log is a file of JSON lines. Lines are only ever appended: a case that is measured again, because
its code or settings changed, gets another line, and the old one stays.
"""

import argparse
import datetime
import fcntl
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.code_hash import PACKAGES, ROOT, code_hash
from overparam.files import replace_file

RESULTS = Path(__file__).parent / "results"
_STAMP = ".code.json"  # hidden, for compare-methods refuses a folder with other files
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow", "scikit-image")

Line = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A file of measurements, one JSON object a line.

    Attributes
    ----------
    path : Path
        The file; it need not exist yet.
    key : tuple of str
        The entries of a line that say which case was measured. An entry that is missing is None.
    """

    path: Path
    key: tuple[str, ...] = ("settings",)

    def lines(self) -> list[Line]:
        """Return all lines, the oldest first; a last line without its line break is no line.

        Raises
        ------
        ValueError
            If another line is not JSON.
        """
        if not self.path.exists():
            return []
        *rows, _ = self.path.read_bytes().split(b"\n")
        found = []
        for number, row in enumerate(rows, start=1):
            try:
                found.append(json.loads(row))
            except ValueError as error:
                raise ValueError(f"{self.path}:{number} is not JSON: {error}") from None
        return found

    def append(self, line: Line) -> None:
        """Append a line, in the place of one that a killed run left incomplete."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two processes may share the work
            file.seek(0)
            complete = file.read().rfind(b"\n") + 1
            file.truncate(complete)
            file.write(json.dumps(line).encode() + b"\n")

    def record(self, group: str, settings: Line, results: Any, *, device: str = "cpu") -> None:
        """Append what was measured with these settings."""
        self.append(
            {**circumstances(group, device=device), "settings": settings, "results": results}
        )

    def has(self, case: Line) -> bool:
        """Whether the case was measured with the code and the recipe that it names.

        The file is read anew: two processes may share the work. Lines with an error do not count.
        """
        wanted = self._identity(case)
        return any(self._identity(line) == wanted for line in self.lines() if "error" not in line)

    def latest(self) -> list[Line]:
        """Return one line a case: the last that was measured with the present code, if any was.

        They come in the order in which they were measured.
        """
        kept: dict[str, Line] = {}
        for line in self.lines():
            case = _text(line, self.key)
            if case not in kept or is_current(line) or not is_current(kept[case]):
                kept.pop(case, None)
                kept[case] = line
        return list(kept.values())

    def _identity(self, line: Line) -> str:
        found = line.get("code")
        if found is not None and is_current(line):
            found = code(found["group"])
        return _text({**line, "code": found}, (*self.key, "recipe", "code"))


SAME = Log(RESULTS / "same_results.jsonl", ("code", "before"))
"""Codes whose results are the same, bit for bit; see `benchmarks.same_results`."""


def _text(line: Line, names: Iterable[str]) -> str:
    return json.dumps([line.get(name) for name in names], sort_keys=True)


def code(group: str) -> dict[str, str]:
    """What a record says of the code that it was measured with; see `benchmarks.code_hash`."""
    return {"group": group, "hash": code_hash(group)}


def is_current(line: Line) -> bool:
    """Whether a line was measured with the code as it is now, or with code that gives the same."""
    found = line.get("code")
    if found is None:
        return False
    group = found["group"]
    same = _same_code(group, code_hash(group)).get(found["hash"])
    if same is None or _among(same.differ, line):
        return False
    if same.up_to == math.inf:
        return True
    settings = line.get("settings")  # in records of labels they are a text
    side = settings.get("side") if isinstance(settings, dict) else line.get("side")
    return side is not None and side <= same.up_to


def trained_by(method: str, *, short: bool = False) -> str:
    """The name of the case of `benchmarks.same_results` that trains by a method.

    A short training has the settings that the program chooses for its few steps; the other one has
    those of the recipe, as on all of CIFAR.
    """
    return f"train-cifar {method}{', short' if short else ''}"


def _among(differ: frozenset[str], line: Line) -> bool:
    """Whether a line is of the cases that differ, or may be.

    A training is of its method, and short unless it has all images and the recipe's epochs. Of
    pictures those may differ that were compressed or changed in size after the damage.
    """
    if line["code"]["group"] != "labels":
        return bool(differ and (line.get("then") or line.get("jpeg")))
    if not differ or "method" not in line:
        return bool(differ)
    settings = line.get("settings")
    whole = line.get("limit", 0) is None and isinstance(settings, str) and "epochs=" not in settings
    return trained_by(line["method"]) in differ or (
        not whole and trained_by(line["method"], short=True) in differ
    )


class _Same(NamedTuple):
    """What is known to be the same."""

    up_to: float  # the largest side of a picture
    differ: frozenset[str]  # cases that are not

    def before(self, change: Line) -> "_Same":
        """The same, if a change of code came between."""
        up_to = min(self.up_to, change["up_to"] or math.inf)
        return _Same(up_to, self.differ.union(change.get("differ", ())))


@cache
def _same_code(group: str, present: str) -> dict[str, _Same]:
    """The present hash of a group's code, and those before it up to the last change of results."""
    changes = [line for line in SAME.lines() if line["code"]["group"] == group]
    found: dict[str, _Same] = {}
    left = {present: _Same(math.inf, frozenset())}
    while left:
        found |= left
        left = {
            line["before"]: left[after].before(line)
            for line in changes
            if (after := line["code"]["hash"]) in left and line["before"] not in found
        }
    return found


def plain(settings: Any) -> Any:
    """Settings as JSON knows them: dataclasses with the names of their types, also nested ones."""
    if is_dataclass(settings) and not isinstance(settings, type):
        values = {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}
        return {"type": type(settings).__name__, **values}
    if isinstance(settings, tuple | list):
        return [plain(value) for value in settings]
    return settings.__name__ if isinstance(settings, type) else settings


def only_current(lines: list[Line]) -> list[Line]:
    """The lines of one code, which one cell of a table shows: the present one, or the last used.

    Lines of several codes have no mean: the damage that is restored may be another.
    """
    current = [line for line in lines if is_current(line)]
    return current or [line for line in lines if line.get("code") == lines[-1].get("code")]


def grouped(lines: Iterable[Line], names: tuple[str, ...]) -> list[tuple[tuple, list[Line]]]:
    """The lines by the given entries; of a group those of the present code, if it has any."""
    groups: dict[tuple, list[Line]] = defaultdict(list)
    for line in lines:
        groups[tuple(line.get(name) for name in names)].append(line)
    return [(case, only_current(groups[case])) for case in sorted(groups, key=by_text)]


def by_text(case: tuple) -> tuple[str, ...]:
    """A key to sort cases whose entries are of several types."""
    return tuple(map(str, case))


def stamp(folder: Path, group: str) -> None:
    """Note in a folder of runs which code makes them; SystemExit if other code began it."""
    found = stamped(folder)
    if found is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise SystemExit(f"{folder} does not say which code made its runs; use another folder")
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / _STAMP, json.dumps(code(group)).encode())
    elif found != code(group):
        raise SystemExit(f"{folder} was begun with code that has changed since; use another folder")


def stamped(folder: Path) -> dict[str, str] | None:
    """The code that made the runs of a folder, as `stamp` noted it; None if it is not known."""
    path = folder / _STAMP
    return json.loads(path.read_text()) if path.exists() else None


def settings_of(args: argparse.Namespace) -> Line:
    """The options of a command, without the folders of files, which say nothing."""
    return {
        name: value.stem if isinstance(value, Path) else value for name, value in vars(args).items()
    }


def circumstances(group: str, *, device: str = "cpu") -> Line:
    """Everything besides the settings that the numbers of this run may depend on.

    Parameters
    ----------
    group : str
        The code that was measured: a name of `benchmarks.code_hash.GROUPS`.
    device : str
        What was computed on: "cpu", "cuda" or "cuda:N".
    """
    on_gpu = device.startswith("cuda")
    return {
        "date": datetime.date.today().isoformat(),
        "command": _command(),
        "commit": _commit(),
        "code": code(group),
        "processor": _processor(),
        "device_name": torch.cuda.get_device_name(device) if on_gpu else _processor(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    }


def machine(line: Line) -> str:
    """The device of a record, and the threads where it is the processor."""
    name = line.get("device_name") or line.get("gpu") or line["processor"]
    if name != line["processor"]:
        return name
    return f"{name}, {line['threads']} thread{'s' if line['threads'] > 1 else ''}"


def _command() -> str:
    """The command line, with the names of files but not of their folders, which say nothing."""
    specification = sys.modules["__main__"].__spec__  # None for a file that is run by its path
    program = Path(sys.argv[0]).name if specification is None else f"-m {specification.name}"
    return " ".join(["python", program, *map(_without_folders, sys.argv[1:])])


def _without_folders(word: str) -> str:
    """The name of a file or folder; other words whole, for kinds of corruption have a slash too."""
    path = Path(word)
    return path.name if path.is_absolute() or path.exists() else word


def _commit() -> str | None:
    """The commit, marked if the packages differ from it; None if it is not known."""
    try:
        # The first line is empty unless the repository is that of a folder further up.
        prefix, commit = _git("rev-parse", "--show-prefix", "--short", "HEAD").splitlines()
        changed = _git("status", "--porcelain", "--", *PACKAGES)
    except (OSError, subprocess.CalledProcessError):
        return None
    return None if prefix else f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def _processor() -> str:
    features = [
        name
        for name, found in (
            ("AMX", "_is_amx_tile_supported"),
            ("AVX512-bf16", "_is_avx512_bf16_supported"),
        )
        if getattr(torch.cpu, found, bool)()
    ]
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model} ({', '.join(features) or 'no bf16'})"
