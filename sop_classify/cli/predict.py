"""The command `predict`: images in, their classes out, by the model of a run.

Only typer is imported here: `--help` answers before torch could be loaded.
"""

import glob
import json
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from overparam.terminal import exit_on_error, printable, progress
from sop_classify.cli.options import Device

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sop_classify.runs.model import Model

__all__ = ["RunFolder", "predict"]

_TOGETHER = 64  # images that are read before the network sees them

RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="Folder of a run of train or train-cifar; of find-label-errors DIR/training.",
    ),
]


def predict(
    run: RunFolder,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Image files, folders with images in them, and patterns in quotes, such as "
            "'photos/*.jpg'.",
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a table: path, and classes with their probabilities."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Number of classes to show for each image.")
    ] = 3,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list instead of lines.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace an existing --csv.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress on stderr.")
    ] = False,
) -> None:
    """Say which class images are of, by the network of a run.

    Images are resized, cropped and normalised as those of the training were. A file
    that cannot be read costs a line on stderr, and status 1 at the end; all others
    are predicted.
    """
    with exit_on_error():
        from overparam.files import check_target, save_file
        from sop_classify.runs.model import MODEL, read_model

        if "" in images:  # as a path it would be the current folder
            raise ValueError("one of IMAGES is ''; name a file, a folder or a pattern")
        files = _files([Path(word) for word in images])
        if table is not None:
            check_target(table, inputs=[*files, run / MODEL], force=force)
        model = read_model(run)
        top = min(top, len(model.class_names))
        found: list[dict[str, Any]] = []
        failed = 0
        with progress("predict", unit="image", quiet=quiet or len(files) <= _TOGETHER) as show:
            for start in range(0, len(files), _TOGETHER):
                show(start, len(files))
                paths, pixels = [], []
                for path, read in _read(files[start : start + _TOGETHER], model):
                    if isinstance(read, str):
                        failed += 1
                        typer.echo(f"error: {read}", err=True)
                    else:
                        paths.append(path)
                        pixels.append(read)
                found += _predicted(model, paths, pixels, top, device)
        if as_json:
            typer.echo(json.dumps(found))
        else:
            for each in found:
                typer.echo(_line(each))
        if table is not None:
            save_file(table, _table(found, top), replace=True)
        if failed:
            raise typer.Exit(1)


def _files(places: Sequence[Path]) -> list[Path]:
    """The files, and those in the folders at any depth, sorted; what is hidden is left out."""
    found: list[Path] = []
    for place in places:
        # A file may have the characters of a pattern in its name.
        is_pattern = glob.has_magic(str(place)) and not os.path.lexists(place)
        found += _matches(place) if is_pattern else _listed(place)
    if not found:
        raise ValueError(f"there is no file in {', '.join(repr(str(place)) for place in places)}")
    return found


def _listed(place: Path) -> list[Path]:
    return sorted(_inside(place)) if place.is_dir() else [place]


def _matches(pattern: Path) -> list[Path]:
    """The files that a pattern matches, alone or by their folder, each once."""
    matches = map(Path, glob.glob(str(pattern), recursive=True))
    found: dict[Path, Path] = {}  # `**` follows links, also in a circle: the shortest way counts
    for match in sorted(matches, key=lambda match: (len(match.parts), match)):
        if not match.is_dir() and os.path.isdir(os.path.realpath(match)):
            continue  # after forty links the system gives up
        for file in _listed(match):
            found.setdefault(file.parent.resolve() / file.name, file)
    if not found:
        raise ValueError(f"no file matches {str(pattern)!r}")
    return sorted(found.values())


def _inside(folder: Path) -> Iterator[Path]:
    """Visible files at any depth; links to folders are followed as when a training reads them."""
    seen: set[Path] = set()  # a folder that is linked from inside itself would never end
    for at, folders, names in os.walk(folder, followlinks=True):
        place = Path(at)
        if place.resolve() in seen:
            folders.clear()
            continue
        seen.add(place.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = (place / name for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _read(
    files: Sequence[Path], model: "Model"
) -> "Iterator[tuple[Path, NDArray[np.uint8] | str]]":
    """Every file with its pixels, or with the reason why there are none."""
    from overparam.files import FileError, file_errors
    from sop_classify.data.pixels import decode

    for file in files:
        try:
            with file_errors("read", file):
                yield file, decode(file, *model.image_size, bits=model.sample_bits)
        except FileError as error:
            yield file, str(error)


def _predicted(
    model: "Model", paths: list[Path], pixels: "list[NDArray[np.uint8]]", top: int, device: str
) -> list[dict[str, Any]]:
    import numpy as np

    from sop_classify.data.listing import shown

    if not paths:
        return []
    rows = []
    for path, p in zip(paths, model.predict(np.stack(pixels), device=device), strict=True):
        order = np.argsort(-p, kind="stable")[:top]
        rows.append(
            {
                "path": shown(str(path)),
                "classes": [model.class_names[label] for label in order],
                "probabilities": [round(float(p[label]), 6) for label in order],
            }
        )
    return rows


def _line(row: dict[str, Any]) -> str:
    pairs = zip(row["classes"], row["probabilities"], strict=True)
    classes = ", ".join(f"{printable(name)} {p:.1%}" for name, p in pairs)
    return f"{printable(row['path'])}: {classes}"


def _table(rows: Sequence[dict[str, Any]], top: int) -> bytes:
    from sop_classify.data.tables import csv_bytes

    cells = (
        [row["path"], *chain(*zip(row["classes"], row["probabilities"], strict=True))]
        for row in rows
    )
    names = [f"{name}_{place}" for place in range(1, top + 1) for name in ("class", "p")]
    return csv_bytes(cells, header=["path", *names])
