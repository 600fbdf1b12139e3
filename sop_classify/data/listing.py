"""Which labelled images a place on disk holds, and what there is no image: names alone are read.

Pixels are read by `sop_classify.data.pixels`.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from overparam.files import FileError, one_line, require_regular_file
from sop_classify.data.tables import read_table

__all__ = [
    "HIDDEN",
    "SPLITS",
    "Entry",
    "Listing",
    "Skipped",
    "list_images",
    "natural_order",
    "shown",
]

SPLITS = ("train", "val", "test")

HIDDEN = "it is hidden"
"""Why files are skipped of which no user wants to hear."""

_SYNONYMS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_METADATA = "metadata.csv"
# Names of columns, the first that is there counts. Those of Hugging Face and of pandas' examples.
_PATHS = ("path", "file_name", "filename", "file", "filepath", "image", "image_path")
_LABELS = ("label", "class", "category", "class_name", "target")
_SPLIT_NAMES = ("split", "set", "subset")


@dataclass(frozen=True)
class Skipped:
    """Something that is no labelled image, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """One labelled image.

    Attributes
    ----------
    path : str
        Its name in tables: below the folder or beside the table that lists it, with ``/``.
    label : str
        Name of its class.
    split : str
        One of `SPLITS`, or empty if nothing says it.
    others : tuple of (str, str)
        The other columns of its table, names and cells.
    """

    path: str
    label: str
    split: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listing:
    """The labelled images of a folder or a table.

    Attributes
    ----------
    place : Path
        What was listed.
    entries : tuple of Entry
        In the order of their splits, classes and names, or of the table.
    files : tuple of Path
        Where each entry is.
    skipped : tuple of Skipped
    by_folder : bool
        The labels are the names of folders, not cells of a table.
    """

    place: Path
    entries: tuple[Entry, ...]
    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    by_folder: bool


def list_images(place: Path) -> Listing:
    """List the images of a folder or a table, and their labels.

    Parameters
    ----------
    place : Path
        One of

        - a folder of classes: ``CLASS/*``, images at any depth below;
        - a folder of splits: ``train`` or ``training``, ``val``, ``valid``, ``validation``,
          ``eval`` or ``evaluation``, and ``test`` or ``testing``, with classes in each;
        - a folder with a ``metadata.csv``, in it or in each split;
        - a .csv or .tsv file with the columns ``path`` (or ``file_name``), ``label`` and, if
          wanted, ``split``.

    Returns
    -------
    Listing
        Every visible file in a class folder is an entry: whether it is an image is not known yet.
        Of a folder with a ``metadata.csv`` the files that it does not name are skipped.

    Raises
    ------
    FileError
        If it is none of these, or a table is damaged.
    """
    found = _Found(place if place.is_dir() else place.parent)
    if not place.is_dir():
        require_regular_file(place.stat().st_mode)
        found.add_table(place)
    elif (place / _METADATA).is_file():
        found.add_table(place / _METADATA)
        found.skip_unlisted(place)
    elif splits := _splits(place):
        for split in SPLITS:
            if split not in splits:
                continue
            if (splits[split] / _METADATA).is_file():
                found.add_table(splits[split] / _METADATA, split=split)
                found.skip_unlisted(splits[split])
            else:
                found.add_classes(splits[split], split=split)
        found.skip_others(place, splits.values())
    else:
        found.add_classes(place, split="")
    if not found.entries and not found.by_folder:
        if not found.skipped:
            raise FileError("its table has a header and no other row")
        first = found.skipped[0]
        raise FileError(
            f"no row of its table names a file with a label (first {first.path!r}: {first.reason})"
            "; paths begin in the folder of the table"
        )
    if not found.entries:
        raise FileError(
            "it has no images in class folders; give a folder CLASS/*, folders train/CLASS/* and "
            "val/CLASS/*, a table path,label or an .npz file"
        )
    return Listing(
        place,
        tuple(found.entries.values()),
        tuple(found.files.values()),
        tuple(found.skipped),
        found.by_folder,
    )


def shown(name: str) -> str:
    """A name as it is written in UTF-8: what UTF-8 does not have becomes an escape sequence."""
    return name.encode("utf-8", "backslashreplace").decode()


def natural_order(names: Sequence[str]) -> list[str]:
    """The names sorted; as numbers if all are whole numbers, so that 10 follows 9."""
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name) if numbers else (0, name))


class _Found:
    """Entries in the making, by path."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.entries: dict[str, Entry] = {}
        self.files: dict[str, Path] = {}
        self.skipped: list[Skipped] = []
        self.by_folder = True

    def skip(self, path: Path, reason: str) -> None:
        self.skipped.append(Skipped(self._name(path), reason))

    def _name(self, path: Path) -> str:
        return shown(Path(os.path.relpath(path, self._root)).as_posix())

    def _add(
        self, file: Path, label: str, split: str, others: tuple[tuple[str, str], ...] = ()
    ) -> None:
        name = self._name(file)
        earlier = self.entries.get(name)
        if earlier is None:
            self.entries[name] = Entry(name, shown(label), split, others)
            self.files[name] = file
        elif (earlier.label, earlier.split) == (shown(label), split):
            self.skip(file, "it is listed twice")
        else:
            was, now = (
                f"{one!r} in {part}" if part else repr(one)
                for one, part in ((earlier.label, earlier.split), (shown(label), split))
            )
            self.skip(file, f"it is listed before as {was}, here as {now}: the first row counts")

    # --- folders ---------------------------------------------------------------------------

    def add_classes(self, folder: Path, *, split: str) -> None:
        for entry in self._visible(folder):
            if not entry.is_dir():
                self.skip(entry, "it is in no class folder")
                continue
            files = list(self._files(entry, {_identity(self._root), _identity(folder)}))
            if not files:
                self.skip(entry, "the class folder is empty")
            for file in files:
                self._add(file, entry.name, split)

    def skip_unlisted(self, folder: Path) -> None:
        """Skip the files of a folder, at any depth, that its metadata.csv does not name."""
        named = {*self.entries, *(each.path for each in self.skipped)}
        begun = len(self.skipped)
        files = list(self._files(folder, set()))
        # What a row names is told once.
        self.skipped[begun:] = [each for each in self.skipped[begun:] if each.path not in named]
        for file in files:
            if file != folder / _METADATA and self._name(file) not in named:
                self.skip(file, f"no row of {_METADATA} names it")

    def skip_others(self, folder: Path, known: Iterable[Path]) -> None:
        chosen = set(known)
        for entry in self._visible(folder):
            if entry not in chosen:
                self.skip(entry, "it is outside the folders of the splits")

    def _files(self, folder: Path, above: set[tuple[int, int]]) -> Iterator[Path]:
        """Files at any depth; a link to a folder above itself ends there."""
        identity = _identity(folder)
        if identity in above:
            self.skip(folder, "it is a link to a folder above it")
            return
        for entry in self._visible(folder):
            if entry.is_dir():
                yield from self._files(entry, above | {identity})
                continue
            try:
                status = entry.stat()
            except OSError as error:
                self.skip(entry, one_line(error))
                continue
            if not stat.S_ISREG(status.st_mode):
                self.skip(entry, "it is a pipe or a device, not a file")
            elif not status.st_size:
                self.skip(entry, "it is empty")
            else:
                yield entry

    def _visible(self, folder: Path) -> list[Path]:
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            self.skip(folder, one_line(error))
            return []
        hidden = [e for e in entries if e.name.startswith(".") or e.name == "__MACOSX"]
        for entry in hidden:
            self.skip(entry, HIDDEN)
        return [entry for entry in entries if entry not in set(hidden)]

    # --- tables ----------------------------------------------------------------------------

    def add_table(self, table: Path, *, split: str = "") -> None:
        self.by_folder = False
        columns, rows = read_table(table)
        for names in (_PATHS, _LABELS):
            if not set(names) & set(columns):
                is_metadata = table.name == _METADATA
                raise FileError(
                    f"{table.name} has no column {names[0]!r} (nor {', '.join(names[1:])}); it has "
                    f"{', '.join(list(columns)[:8])}"
                    + ("; rename it if the folders are the classes" if is_metadata else "")
                )
        # Another column with a class would contradict a label that is corrected.
        read = {"", *_LABELS, *(_first(names, columns) for names in (_PATHS, _SPLIT_NAMES))}
        others = {column: written for column, written in columns.items() if column not in read}
        for number, cells in rows:
            name, label, said = (
                next((cells.get(column, "").rstrip() for column in names if column in columns), "")
                for names in (_PATHS, _LABELS, _SPLIT_NAMES)
            )
            if said and said.lower() not in _SYNONYMS:
                raise FileError(
                    f"line {number} of {table.name} has split {said!r}; use one of "
                    f"{', '.join(_SYNONYMS)}"
                )
            file = _named(table.parent, name)
            if not name or not label:
                where = f"line {number} of {table.name}"
                self.skipped.append(
                    Skipped(shown(name) or where, "it has no label" if name else "it has no path")
                )
            elif reason := _unreadable(file):
                self.skip(file, reason)
            else:
                told = tuple((written, cells.get(at, "")) for at, written in others.items())
                self._add(file, label, _SYNONYMS[said.lower()] if said else split, told)


def _first(names: Sequence[str], columns: Iterable[str]) -> str:
    """The first of the names that a table has."""
    there = set(columns)
    return next((name for name in names if name in there), "")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _splits(folder: Path) -> dict[str, Path]:
    """The folders of the splits; a folder that holds no folder is a class, whatever its name."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        split = _SYNONYMS.get(entry.name.lower())
        if split is None or not entry.is_dir():
            continue
        inner = (e for e in entry.iterdir() if not e.name.startswith("."))
        if not any(e.is_dir() or e.name == _METADATA for e in inner):
            continue
        if split in found:
            raise FileError(
                f"it has {found[split].name}/ and {entry.name}/, which mean the same; keep one"
            )
        found[split] = entry
    if found and "train" not in found:
        names = ", ".join(f"{path.name}/" for path in found.values())
        raise FileError(f"it has {names} and no train/; name the training images train/")
    return found


def _named(folder: Path, name: str) -> Path:
    """The file that a table calls so: Windows separates folders by what is a letter elsewhere."""
    file, there = folder / name, folder / name.replace("\\", "/")
    return there if there != file and _unreadable(file) and not _unreadable(there) else file


def _unreadable(file: Path) -> str:
    """Why there is no file to read, or nothing."""
    try:
        status = file.stat()
        require_regular_file(status.st_mode)
    except (OSError, ValueError) as error:
        return one_line(error)
    return "" if status.st_size else "it is empty"
