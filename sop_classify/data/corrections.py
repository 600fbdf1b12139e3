"""What a person's corrections change in a data set, and the corrected data set as new files.

The data is never written. docs/label_issues.md describes the table of corrections.
"""

import filecmp
import io
import math
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np

from overparam.files import (
    FileError,
    check_target,
    file_errors,
    replace_file,
    require_folder,
    unfinished,
)
from sop_classify.data.images import data_set_in
from sop_classify.data.listing import SPLITS, Entry, Listing, list_images, shown
from sop_classify.data.npz import read_arrays, whole_labels
from sop_classify.data.tables import csv_bytes, read_table

__all__ = [
    "Correction",
    "Labelled",
    "Plan",
    "count_too_rare",
    "plan",
    "read_corrections",
    "read_labels",
    "undo_csv",
    "write_csv",
    "write_folder",
    "write_new",
    "write_npz",
]

_NUMBER = re.compile(r"-\d+(\.[^./]*)?$")  # what `_places` adds to a name
# Columns of the label_issues.csv of find-label-errors; those of train, of the same meaning.
_SUGGESTED = ("path", "given", "suggested", "is_label_issue", "label_quality")
_OF_TRAIN = ("file", "given_label", "predicted_label", "is_label_issue", "label_score")
ACTIONS = ("accept", "relabel", "keep", "drop")


@dataclass(frozen=True)
class Correction:
    """One decision: a row of the table.

    Attributes
    ----------
    line : int
        Its line in the table.
    path, given, corrected, action : str
        As docs/label_issues.md says; the action is one of `ACTIONS`.
    """

    line: int
    path: str
    given: str
    corrected: str
    action: str


@dataclass(frozen=True)
class Labelled:
    """The labels of a data set: its entries, and where they come from.

    Attributes
    ----------
    place : Path
    entries : tuple of Entry
    classes : frozenset of str
    listing : Listing or None
        Of image files; None for an .npz file.
    """

    place: Path
    entries: tuple[Entry, ...]
    classes: frozenset[str]
    listing: Listing | None


@dataclass(frozen=True)
class Plan:
    """What corrections change.

    Attributes
    ----------
    labelled : Labelled
    relabelled : mapping of str to str
        The new class by path.
    dropped : frozenset of str
        Paths of images to leave out.
    already : int
        Decisions that are fulfilled before anything is done.
    by_name : int
        Those of them of which only the name tells: the image is not there, and one of its name is
        in the folder of the corrected class.
    absent : int
        Decisions to drop or to keep an image that is not there: dropped before, or never there.
    problems : tuple of str
        Decisions that cannot be carried out, a line each.
    """

    labelled: Labelled
    relabelled: Mapping[str, str]
    dropped: frozenset[str]
    already: int
    by_name: int
    absent: int
    problems: tuple[str, ...]

    def kept(self) -> list[tuple[int, Entry]]:
        """The images that stay, with their new class; each with its position."""
        return [
            (at, replace(entry, label=self.relabelled.get(entry.path, entry.label)))
            for at, entry in enumerate(self.labelled.entries)
            if entry.path not in self.dropped
        ]


def read_corrections(table: Path, *, worst: int | None = None) -> list[Correction]:
    """Read a table of corrections, or a label_issues.csv, whose suggestions are then accepted.

    That of `train` is taken too, if it names files.

    Parameters
    ----------
    table : Path
    worst : int, optional
        Take only so many suggestions of a label_issues.csv: those of the lowest `label_quality`,
        (of `train`: `label_score`), in whatever order the rows are.

    Raises
    ------
    FileError
        If it is damaged, a column is missing, or a row has no path or another action; or `worst`
        is given for a table of corrections, or for suggestions without a `label_quality`.
    """
    with file_errors("read", table):
        columns, rows = read_table(table)
        for names in (_SUGGESTED, _OF_TRAIN):
            if set(names[:4]) <= set(columns):
                return _suggestions(rows, names, worst=worst)
        if set(_OF_TRAIN[1:4]) <= set(columns) and "action" not in columns:
            raise FileError(
                "it is a label_issues.csv without names of files; make one by find-label-errors"
            )
        if worst is not None:
            raise FileError("it is no label_issues.csv; only of those the worst can be taken")
        for name in ("path", "given", "corrected", "action"):
            if name not in columns:
                raise FileError(f"it has no column {name!r}")
        corrections = []
        for line, cells in rows:
            path, given, corrected, action = (
                shown(cells.get(name, "")) for name in ("path", "given", "corrected", "action")
            )
            # A spreadsheet begins what is typed with a capital.
            each = Correction(line, path, given, corrected, action.strip().lower())
            if each.action not in ACTIONS:
                raise FileError(
                    f"line {line} has the action {each.action!r}; use {', '.join(ACTIONS)}"
                )
            if not each.path or (each.action in ("accept", "relabel") and not each.corrected):
                missing = "corrected class" if each.path else "path"
                raise FileError(f"line {line} has no {missing}")
            corrections.append(each)
        return corrections


def count_too_rare(table: Path) -> int:
    """How many suggestions are not accepted, because the class is too rare to judge its labels.

    Parameters
    ----------
    table : Path
        A label_issues.csv; of a table of corrections it is 0.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    with file_errors("read", table):
        _, rows = read_table(table)
        return sum(
            _true(line, cells, "is_label_issue") and _true(line, cells, "too_rare")
            for line, cells in rows
        )


def _suggestions(
    rows: Iterable[tuple[int, Mapping[str, str]]], names: Sequence[str], *, worst: int | None
) -> list[Correction]:
    """The suggestions; `names` are the columns of path, given, suggested, doubt and quality."""
    found: list[tuple[float, Correction]] = []
    for line, cells in rows:
        path, given, suggested = (shown(cells.get(name, "")) for name in names[:3])
        if _true(line, cells, "is_label_issue") and not _true(line, cells, "too_rare"):
            if not path or not suggested:
                raise FileError(f"line {line} has no {'suggested class' if path else 'path'}")
            # A person may have sorted the table by something else.
            quality = 0.0 if worst is None else _quality(line, cells, names[4])
            found.append((quality, Correction(line, path, given, suggested, "accept")))
    return [each for _, each in sorted(found, key=itemgetter(0))][:worst]


def _quality(line: int, cells: Mapping[str, str], name: str) -> float:
    said = cells.get(name, "")
    try:
        quality = float(said)
    except ValueError:
        quality = math.nan
    if math.isnan(quality):
        raise FileError(
            f"line {line} has the {name} {said!r}; to take the worst, a number is needed"
        )
    return quality


def _true(line: int, cells: Mapping[str, str], name: str) -> bool:
    """Whether a cell says True; a spreadsheet writes TRUE, in other languages another word."""
    said = cells.get(name, "").strip().lower()
    if said not in ("true", "false", "1", "0", ""):
        raise FileError(f"line {line} has the {name} {said!r}; use True or False")
    return said in ("true", "1")


def read_labels(place: Path) -> Labelled:
    """Read the labels of image files or of an .npz file; the pixels are not read.

    Raises
    ------
    FileError
        If there are none, or they are in files of torchvision.
    """
    with file_errors("read", place):
        if (name := data_set_in(place)) is not None:
            raise FileError(
                f"it has {name} in torchvision's files, which are left as they are; corrections go "
                "to images in files, tables and .npz files"
            )
        if place.suffix.lower() != ".npz":
            listing = list_images(place)
            classes = frozenset(entry.label for entry in listing.entries)
            return Labelled(place, listing.entries, classes, listing)
        keys = {split: f"{split}_labels" for split in SPLITS}
        arrays = read_arrays(
            place, lambda headers: {"class_names", *keys.values()} & headers.keys()
        )
        if "train_labels" not in arrays:
            raise FileError("it has no train_labels")
        labels = {
            split: whole_labels(key, arrays[key].reshape(-1))
            for split, key in keys.items()
            if key in arrays
        }
        most = max(int(each.max(initial=0)) for each in labels.values())
        names = arrays.get("class_names", np.arange(most + 1)).astype(str).ravel().tolist()
        if len(names) <= most:
            raise FileError(f"it has {len(names)} class_names, and labels go up to {most}")
        entries = tuple(
            Entry(f"{split}_images[{at}]", shown(names[int(label)]), split)
            for split, each in labels.items()
            for at, label in enumerate(each)
        )
        return Labelled(place, entries, frozenset(map(shown, names)), None)


def plan(labelled: Labelled, corrections: Iterable[Correction]) -> Plan:
    """Compare the corrections with the data.

    A correction is a problem if its image is not there, if the image has neither the given nor the
    corrected class now, if the corrected class is none of the data's, or if another line decides
    otherwise. What was applied before is no problem. In an .npz file the given class is needed,
    because its images have numbers, and those after a dropped one move up.
    """
    by_path = {entry.path: entry for entry in labelled.entries}
    # Of an image that was moved, and may have got a number.
    places = by_path.keys() | {_NUMBER.sub(r"\1", path) for path in by_path}
    relabelled: dict[str, str] = {}
    dropped: set[str] = set()
    problems, already, by_name, absent = [], 0, 0, 0
    decisions = [_as_in_data(each, labelled, by_path.keys()) for each in corrections]
    lines: dict[str, dict[tuple[str, str], int]] = {}  # of each path, the first of each wish
    for each in decisions:
        lines.setdefault(each.path, {}).setdefault(_wish(each), each.line)
    for each in decisions:
        where = f"line {each.line}, {each.path!r}"
        others = [line for wish, line in lines[each.path].items() if wish != _wish(each)]
        if others:  # nobody knows which of them counts
            problems.append(f"{where}: line {others[0]} decides otherwise")
            continue
        if each.line != lines[each.path][_wish(each)]:
            continue
        entry = by_path.get(each.path)
        change = each.action in ("accept", "relabel")
        if change and each.corrected not in labelled.classes:
            problems.append(f"{where}: the data has no class {each.corrected!r}")
        elif entry is None and not change:
            absent += 1
        elif entry is None and _moved(labelled, each) in places:
            already += 1
            by_name += 1
        elif entry is None:
            example = next(iter(by_path), "")
            problems.append(f"{where}: it is not in the data, where paths are like {example!r}")
        elif each.action == "keep":
            continue
        elif labelled.listing is None and not each.given:
            problems.append(f"{where}: in an .npz file the given class is needed too")
        elif change and entry.label == each.corrected:
            already += 1
        elif each.given not in ("", entry.label):
            problems.append(f"{where}: its class is {entry.label!r}, not {each.given!r}")
        elif change:
            relabelled[entry.path] = each.corrected
        else:
            dropped.add(entry.path)
    return Plan(labelled, relabelled, frozenset(dropped), already, by_name, absent, tuple(problems))


def _as_in_data(correction: Correction, labelled: Labelled, paths: Collection[str]) -> Correction:
    """With names as the data has them: without spaces at their end, and a path from its root.

    A table of data may have absolute paths, paths that begin with ./, and backslashes of Windows.
    """
    given, corrected = (
        said if said in labelled.classes else said.rstrip()
        for said in (correction.given, correction.corrected)
    )
    path = correction.path
    if path not in paths:
        path = path.rstrip()
        forms = [path, os.path.normpath(path), os.path.normpath(path.replace("\\", "/"))]
        if labelled.listing is not None:
            place = labelled.listing.place
            root = place if place.is_dir() else place.parent
            forms.append(os.path.relpath(path, root))
        path = next((form for form in forms if form in paths), path)
    return replace(correction, path=path, given=given, corrected=corrected)


def _wish(correction: Correction) -> tuple[str, str]:
    """What a line wants: whether by accepting or by relabelling is the same."""
    change = correction.action in ("accept", "relabel")
    return ("relabel", correction.corrected) if change else (correction.action, "")


def _moved(labelled: Labelled, correction: Correction) -> str:
    """Where the image is after the correction, if folders are classes; else nothing."""
    if labelled.listing is None or not labelled.listing.by_folder:
        return ""
    parts = correction.path.split("/")
    for at in range(min(2, len(parts) - 1)):  # CLASS/... or SPLIT/CLASS/...
        if parts[at] == correction.given or (
            not correction.given and parts[at] in labelled.classes
        ):
            return "/".join([*parts[:at], correction.corrected, *parts[at + 1 :]])
    return ""


# --- what is written -------------------------------------------------------------------------


def _place_of(file: Path, listing: Listing) -> Path:
    """Where an image is, by its own name: of links that lead to one file, each is an image."""
    if ".." in file.parts:  # behind a link to a folder it leads elsewhere
        return file.parent.resolve() / file.name
    root = listing.place if listing.place.is_dir() else listing.place.parent
    if file.is_relative_to(root):
        return root.resolve() / file.relative_to(root)
    return Path(os.path.abspath(file))


def write_csv(target: Path, changes: Plan) -> dict[str, str]:
    """Write a new table path,label,split; paths are those of the old files, from the new table.

    The other columns of a table follow as they are.

    Returns
    -------
    dict
        The new path of every image, by its old one.

    Raises
    ------
    FileError
        If the data is an .npz file, the table exists with other contents, or cannot be written.
    """
    listing = _listing(changes)
    folder = target.resolve().parent
    # Each split may have a table of its own, of which one writes a name large and one small.
    others: dict[str, str] = {}
    for entry in listing.entries:
        for name, _ in entry.others:
            others.setdefault(name.lower(), name)
    rows: list[tuple[str, ...]] = []
    for at, entry in changes.kept():
        cells = {name.lower(): cell for name, cell in entry.others}
        path = os.path.relpath(_place_of(listing.files[at], listing), folder)
        rows.append((path, entry.label, entry.split, *(cells.get(name, "") for name in others)))
    write_new(target, csv_bytes(rows, header=("path", "label", "split", *others.values())))
    return {
        entry.path: shown(Path(row[0]).as_posix())
        for (_, entry), row in zip(changes.kept(), rows, strict=True)
    }


def write_npz(target: Path, changes: Plan) -> dict[str, str]:
    """Write a new .npz file with the new labels, without the dropped rows; other arrays as before.

    Returns
    -------
    dict
        The new path of every image, by its old one: rows after a dropped one move up.

    Raises
    ------
    FileError
        If the data is no .npz file, or the new one exists with other contents or cannot be written.
    """
    if changes.labelled.listing is not None:
        raise FileError("the data is no .npz file; give a folder or a .csv file to write")
    with file_errors("read", changes.labelled.place):
        arrays = read_arrays(changes.labelled.place, lambda headers: headers.keys())
    names = arrays.get("class_names")
    listed = None if names is None else [shown(name) for name in names.astype(str).ravel()]
    stays = changes.kept()
    places: dict[str, str] = {}
    starts = 0
    for split in SPLITS:
        if (key := f"{split}_labels") not in arrays:
            continue
        labels = arrays[key].reshape(-1)
        size = labels.size
        rows = [(at - starts, entry) for at, entry in stays if 0 <= at - starts < size]
        starts += size
        places |= {entry.path: f"{split}_images[{at}]" for at, (_, entry) in enumerate(rows)}
        index = np.array([at for at, _ in rows], np.int64)
        new = [int(e.label) if listed is None else listed.index(e.label) for _, e in rows]
        for other, values in arrays.items():
            # What is shaped like the labels of "train" belongs to its images, see read_npz.
            belongs = other.startswith(f"{split}_") or (split == "train" and _no_split(other))
            if belongs and other != "class_names" and values.shape[:1] == (size,):
                arrays[other] = values[index]
        arrays[key] = np.array(new, arrays[key].dtype).reshape(arrays[key].shape)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    write_new(target, stream.getvalue())
    return places


def _no_split(name: str) -> bool:
    return not name.startswith(tuple(f"{split}_" for split in SPLITS))


def write_folder(target: Path, changes: Plan, *, link: bool = False) -> dict[str, str]:
    """Write a new folder of classes, or of splits and classes, whole or not at all.

    Parameters
    ----------
    target : Path
        New or empty. If it holds exactly these files, nothing is done.
    changes : Plan
    link : bool
        Make symbolic links instead of copies.

    Returns
    -------
    dict
        The new path of every image, by its old one.

    Raises
    ------
    FileError
        If the data is an .npz file, a class cannot be the name of a folder, or the folder holds
        something else, lies in the data, or cannot be written.
    """
    listing = _listing(changes)
    places = _places(listing, changes)
    new = {listing.entries[at].path: shown(place) for at, place in places.items()}
    with file_errors("write", target):
        source = listing.place if listing.place.is_dir() else listing.place.parent
        if target.resolve().is_relative_to(source.resolve()):
            raise FileError("it is inside the data, which stays as it is; choose another place")
        if target.exists() and (held := _files_below(target)):
            if held == set(places.values()) and all(
                _same(target / place, listing.files[at], link=link) for at, place in places.items()
            ):
                return new
            raise FileError("it is not empty; choose another folder")
        require_folder(target.parent)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name[:50]}-", suffix=".part",
                                     dir=target.parent))  # fmt: skip
        files = [part / place for place in places.values()]
        folders = {part / up for place in places.values() for up in Path(place).parents}
        # A signal that ends the program at once removes what is named here.
        with unfinished(*sorted(folders | {part}), *files):
            for at, place in places.items():
                file = part / place
                file.parent.mkdir(parents=True, exist_ok=True)
                with file_errors("copy", listing.files[at]):  # it may have gone
                    if link:
                        file.symlink_to(listing.files[at].resolve())
                    else:
                        shutil.copy2(listing.files[at], file)
            part.chmod(0o777 & ~_umask())
            if target.is_dir():
                target.rmdir()
            part.rename(target)
    return new


def undo_csv(changes: Plan, places: Mapping[str, str]) -> bytes:
    """The corrections that turn the new data into the old; dropped images are only in the old.

    Parameters
    ----------
    changes : Plan
    places : mapping
        New paths by old ones, as the function returns them that wrote the new data.
    """
    given = {entry.path: entry for entry in changes.labelled.entries}
    rows = [
        (places[path], given[path].split, label, given[path].label, "relabel")
        for path, label in changes.relabelled.items()
    ]
    return csv_bytes(rows, header=("path", "split", "given", "corrected", "action"))


def write_new(target: Path, content: bytes) -> None:
    """Write a new file; one with the same contents may be there.

    Raises
    ------
    FileError
        If it has other contents, or cannot be written.
    """
    if target.is_file() and target.read_bytes() == content:
        return
    check_target(target)
    replace_file(target, content)


def _listing(changes: Plan) -> Listing:
    if changes.labelled.listing is None:
        raise FileError("the data is an .npz file; give a new .npz file to write")
    return changes.labelled.listing


def _places(listing: Listing, changes: Plan) -> dict[int, str]:
    """Where each image that stays will be below the new folder, by its position."""
    root = listing.place if listing.place.is_dir() else listing.place.parent
    places: dict[int, str] = {}
    numbers: Counter[str] = Counter()
    splits = any(entry.split for entry in listing.entries)
    # An image that gets the old name of another would be taken for that one when the same
    # corrections are applied once more.
    taken = (
        {file.relative_to(root).as_posix() for file in listing.files}
        if listing.by_folder
        else set[str]()
    )
    # Those that stay where they are first, so that a newcomer gives way.
    for at, entry in sorted(changes.kept(), key=lambda item: item[1].path in changes.relabelled):
        file = listing.files[at]
        if listing.by_folder:
            parts = list(file.relative_to(root).parts)
            if entry.path not in changes.relabelled:
                places[at] = "/".join(parts)
                continue
            parts[1 if entry.split else 0] = _folder_name(entry.label)
        else:
            # A row without a split is a training image, where others have one.
            split = entry.split or ("train" if splits else "")
            parts = [*filter(None, [split]), _folder_name(entry.label), file.name]
        wanted = place = "/".join(parts)
        while place in taken:
            numbers[wanted] += 1
            name = f"{file.stem}-{numbers[wanted] + 1}{file.suffix}"
            place = "/".join([*parts[:-1], name])
        taken.add(place)
        places[at] = place
    return places


def _folder_name(label: str) -> str:
    if "/" in label or "\\" in label or "\0" in label or label.startswith("."):
        raise FileError(f"class {label!r} cannot be the name of a folder; write a .csv file")
    return label


def _same(place: Path, file: Path, *, link: bool) -> bool:
    """Whether what was written earlier is a copy of the file, or a link to it."""
    if link or place.is_symlink():
        return link and place.is_symlink() and place.resolve() == file.resolve()
    return filecmp.cmp(place, file, shallow=False)


def _files_below(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise FileError("it is a file")
    return {
        (Path(at) / name).relative_to(folder).as_posix()
        for at, _, names in os.walk(folder)
        for name in names
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
