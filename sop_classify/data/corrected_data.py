"""The corrected data set as new files: a table, an .npz file, or a folder of images.

The data is never written.
"""

import filecmp
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
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
from sop_classify.data.correction_plan import Plan
from sop_classify.data.listing import SPLITS, Listing, shown
from sop_classify.data.npz import read_arrays
from sop_classify.data.tables import csv_bytes

__all__ = ["undo_csv", "write_csv", "write_folder", "write_new", "write_npz"]


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
        If the data is an .npz file, two classes differ in spaces at their end alone, or the table
        exists with other contents or cannot be written.
    """
    listing = _listing(changes)
    for label in sorted(changes.labelled.classes):
        # Spaces at the end of a label, as people type them, do not count in a table.
        if label != label.rstrip() and label.rstrip() in changes.labelled.classes:
            raise FileError(
                f"the classes {label.rstrip()!r} and {label!r} would be one in a table; write a "
                "folder, or rename one of them"
            )
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

    An array has a row for each image of a split if its first axis is as long as the labels of the
    split, and its name begins with that of the split, or, for "train", with that of none. It has
    not if it is ``class_names``, or has the shape of one image, with its channels or without, as a
    ``mean_image`` of (32, 32, 3) beside 32 images of that size.

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
        pixels = arrays[f"{split}_images"].shape if f"{split}_images" in arrays else ()
        places |= {entry.path: f"{split}_images[{at}]" for at, (_, entry) in enumerate(rows)}
        index = np.array([at for at, _ in rows], np.int64)
        new = np.array(
            [int(e.label) if listed is None else listed.index(e.label) for _, e in rows], np.int64
        )
        for other, values in arrays.items():
            # What is shaped like the labels of "train" belongs to its images, see read_npz.
            belongs = other.startswith(f"{split}_") or (split == "train" and _no_split(other))
            one = other == "class_names" or values.shape in (pixels[1:], pixels[1:3])
            if belongs and not one and values.shape[:1] == (size,):
                arrays[other] = values[index]
        # Their type may be too small for a class that had no image.
        same = new.astype(arrays[key].dtype)
        arrays[key] = (same if (same == new).all() else new).reshape(arrays[key].shape)
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
        source = listing.place.resolve()
        own = {source}
        if not source.is_dir():  # a table: beside it a folder is no part of the data
            own = {file.parent.resolve() for file in listing.files} - {source.parent}
        if any(target.resolve().is_relative_to(folder) for folder in own):
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
    left = {entry.label for _, entry in changes.kept()}
    rows = [
        # A class that has lost all of its images is a new one when they come back.
        (places[path], given[path].split, label, old, "relabel", old not in left)
        for path, label in changes.relabelled.items()
        for old in [given[path].label]
    ]
    return csv_bytes(rows, header=("path", "split", "given", "corrected", "action", "new_class"))


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


def _place_of(file: Path, listing: Listing) -> Path:
    """Where an image is, by its own name: of links that lead to one file, each is an image."""
    if ".." in file.parts:  # behind a link to a folder it leads elsewhere
        return file.parent.resolve() / file.name
    root = listing.place if listing.place.is_dir() else listing.place.parent
    if file.is_relative_to(root):
        return root.resolve() / file.relative_to(root)
    return Path(os.path.abspath(file))


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
