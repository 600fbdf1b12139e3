"""Which results of a folder are finished? A file of JSON lines, which outlives a killed run."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import robustdip
from robustdip.cli.job import Task
from robustdip.cli.masks import MaskFiles
from robustdip.cli.outputs import place_of

try:
    import fcntl
except ImportError:  # Windows, where two runs in one folder are not told of each other
    fcntl = None

__all__ = ["NAME", "Manifest", "results_in", "settings_hash"]

NAME = ".robustdip.jsonl"

Record = dict[str, Any]


class Manifest:
    """The record of a folder of results, open for one run at a time.

    A result is entered twice: before it is begun, so that a file that a killed run had just
    written is known to be its own, and when it is finished or has failed.

    Parameters
    ----------
    folder : Path
        Where the results go; it exists.
    settings : str
        What `settings_hash` gives for this run.

    Raises
    ------
    FileError
        If the file cannot be written, or another run has it open.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        from overparam.files import FileError, file_errors

        self._folder, self._settings = folder, settings
        path = folder / NAME
        with file_errors("write", path):
            self._stream: IO[bytes] = path.open("a+b")
            if fcntl is not None:
                try:
                    fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._stream.close()
                    raise FileError("another run is writing into this folder") from None
                except OSError:  # a file system without locks: runs are not told of each other
                    pass
        self._pages: set[str] = set()
        self._begun: dict[str, Record] = {}
        self._entries = self._read()

    def close(self) -> None:
        """Let another run have it."""
        self._stream.close()

    def finished(self, source: Path, result: Path) -> Record | None:
        """Find what was said of a result that need not be made again; None if it must be.

        It need not if the picture, the masks and the settings are those that it was made with, and
        the file is there with the size that was written.
        """
        entry = self._entry(source, result)
        if entry is None or entry.get("state") != "finished":
            return None
        with suppress(OSError):
            if result.stat().st_size == entry.get("result_size"):
                return entry.get("record")
        return None

    def was_begun(self, source: Path, result: Path) -> bool:
        """Whether a file at the result's place would be of an earlier run like this one."""
        entry = self._entry(source, result)
        return entry is not None and entry.get("state") == "begun"

    def begin(self, source: Path, result: Path) -> None:
        """Enter that a result is being made of a picture as it is now."""
        self._begun[self._name(result)] = self._inputs(source)
        self._enter(source, result, {"state": "begun"})

    def fail(self, source: Path, result: Path) -> None:
        """Enter that no result was made: a file that is there later is not of this run."""
        self._enter(source, result, {"state": "failed"})

    def finish(self, source: Path, result: Path, record: Record) -> None:
        """Enter that a result is there."""
        size = result.stat().st_size
        self._enter(source, result, {"state": "finished", "result_size": size, "record": record})

    def has_page(self, page: Path) -> bool:
        """Whether a page of the results at this place is that of an earlier run."""
        return self._name(page) in self._pages

    def enter_page(self, page: Path) -> None:
        """Enter that a page of the results will be written."""
        self._write({"page": self._name(page)})

    def _entry(self, source: Path, result: Path) -> Record | None:
        """The last entry of a result, if it is of this picture, these masks and settings."""
        entry = self._entries.get(self._name(result))
        if entry is None:
            return None
        with suppress(OSError):
            here, inputs = self._places(source), self._inputs(source)
            same_place = any(entry.get(name) == place for name, place in here.items())
            # As earlier versions entered it.
            same_place |= entry.get("source") == os.path.abspath(source)
            if same_place and entry.items() >= inputs.items():
                return entry
        return None

    def _enter(self, source: Path, result: Path, state: Record) -> None:
        name = self._name(result)
        # Meanwhile the picture may have been changed, of which this is no result, or removed.
        inputs = self._begun.get(name) or self._inputs(source)
        entry = {"result": name, **self._places(source), **inputs, **state}
        self._write(entry)
        self._entries[name] = entry

    def _write(self, line: Record) -> None:
        from overparam.files import file_errors

        with file_errors("write", self._folder / NAME):
            self._stream.write(json.dumps(line).encode() + b"\n")
            self._stream.flush()

    def _inputs(self, source: Path) -> Record:
        found = source.stat()
        return {
            "source_size": found.st_size,
            "source_mtime_ns": found.st_mtime_ns,
            "settings": self._settings,
        }

    def _places(self, source: Path) -> Record:
        """Where a picture is, links to folders followed: either may stay when folders are moved."""
        place = place_of(source)
        found = {"source": place}
        with suppress(ValueError):  # another drive of Windows
            found["source_from_here"] = os.path.relpath(place, os.path.realpath(self._folder))
        return found

    def _name(self, result: Path) -> str:
        return os.path.relpath(result, self._folder)

    def _read(self) -> dict[str, Record]:
        self._stream.seek(0)
        data = self._stream.read()
        if data and not data.endswith(b"\n"):  # a run was killed while it wrote its last line
            self._stream.write(b"\n")
        entries: dict[str, Record] = {}
        for line in data.splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and isinstance(entry.get("result"), str):
                    entries[entry["result"]] = entry
                elif isinstance(entry, dict) and isinstance(entry.get("page"), str):
                    self._pages.add(entry["page"])
        return entries


def results_in(folder: Path) -> set[str]:
    """The places (`place_of`) of the results of earlier runs that are entered in a folder."""
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except OSError:
        return set()
    found: set[str] = set()
    for line in lines:
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict) and entry.get("state") == "finished":
                found.add(place_of(folder / str(entry.get("result"))))
    return found


def settings_hash(task: Task, masks: MaskFiles) -> str:
    """Hash what decides a result besides the picture: the version, the task and the masks' bytes.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    files = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in masks.paths().items()
    }
    settings = [robustdip.__version__, asdict(task), files, masks.exact]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
