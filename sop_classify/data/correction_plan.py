"""What corrections change in a data set, and which of them cannot be carried out."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, file_errors
from sop_classify.data.corrections import Correction
from sop_classify.data.images import data_set_in
from sop_classify.data.listing import SPLITS, Entry, Listing, list_images, shown
from sop_classify.data.npz import read_arrays, whole_labels

__all__ = ["Labelled", "Plan", "plan", "read_labels"]

# What `sop_classify.data.corrected_data.write_folder` adds to a name that is taken.
_NUMBER = re.compile(r"-\d+(\.[^./]*)?$")
# Beyond it are labels that are none, such as -1 stored without a sign; each class gets a name.
_LARGEST_LABEL = 10**6


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
        names = _class_names(arrays.get("class_names"), labels)
        entries = tuple(
            Entry(f"{split}_images[{at}]", names[int(label)], split)
            for split, each in labels.items()
            for at, label in enumerate(each)
        )
        return Labelled(place, entries, frozenset(names), None)


def _class_names(named: NDArray[Any] | None, labels: Mapping[str, NDArray[np.int64]]) -> list[str]:
    """The names of the classes of an .npz file by their numbers, which are names without others."""
    most = max(int(each.max(initial=0)) for each in labels.values())
    if named is None:
        if most > _LARGEST_LABEL:
            raise FileError(f"labels go up to {most}; without class_names {_LARGEST_LABEL} is most")
        return [str(label) for label in range(most + 1)]
    names = [shown(name) for name in named.astype(str).ravel()]
    if len(names) <= most:
        raise FileError(f"it has {len(names)} class_names, and labels go up to {most}")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise FileError(f"two of its {len(names)} class_names are {twice[0]!r}; rename one")
    return names


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
        if change and not _is_class(labelled, each):
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


def _is_class(labelled: Labelled, correction: Correction) -> bool:
    """Whether the data has the corrected class, or may get it."""
    names = labelled.classes
    if correction.corrected in names or not correction.new_class:
        return correction.corrected in names
    # The classes of an .npz file are its class_names, or numbers.
    return labelled.listing is not None or all(
        name.isdecimal() for name in (correction.corrected, *names)
    )


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
