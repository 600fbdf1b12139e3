"""Which pictures do the arguments of `denoise` name? Files, folders, patterns, and lists."""

import codecs
import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from robustdip.cli.job import default_path
from robustdip.cli.outputs import place_of

__all__ = ["Source", "Sources", "find_sources", "results_of"]


@dataclass(frozen=True)
class Source:
    """A picture that is to be restored.

    Attributes
    ----------
    path : Path
    folder : Path
        The sub-folder of the results' folder that its result goes to; the same as the folder that
        it was found in, below the one that was named.
    """

    path: Path
    folder: Path = Path()


@dataclass
class Sources:
    """All pictures, in the order in which they are restored.

    Attributes
    ----------
    pictures : list of Source
    collected : bool
        Whether a folder, a pattern or a list was given, however many pictures it holds.
    hidden, others : int
        Files of folders that were passed over: names that begin with a dot, and files whose
        suffix is that of no picture.
    """

    pictures: list[Source] = field(default_factory=list)
    collected: bool = False
    hidden: int = 0
    others: int = 0

    def passed_over(self) -> str:
        """Those two numbers in words; empty if there is nothing to say."""
        counts = ((self.hidden, "hidden"), (self.others, "of other formats"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)


def find_sources(
    arguments: list[Path], *, listed: Path | None = None, out_dir: Path | None = None
) -> Sources:
    """Find the pictures that are named.

    Parameters
    ----------
    arguments : list of Path
        A file; a folder, of which all pictures are taken, also those of its folders; or, where no
        such file exists, a pattern with ``*``, ``?``, ``[...]`` or ``**``. Links to folders are not
        followed, neither in a folder nor by ``**``.
    listed : Path, optional
        A file with one further argument a line, patterns excepted; ``-`` is standard input.
    out_dir : Path, optional
        The folder of the results, needed if a folder is named. It is left out where it lies inside
        that folder.

    Raises
    ------
    FileError
        If a folder is named without `out_dir`, nothing matches, or the list cannot be read.
    """
    from overparam.files import FileError, file_errors

    found = Sources()
    collected: set[str] = set()

    def add(source: Source) -> None:
        """Take a picture that was collected, unless it was before."""
        place = place_of(source.path)
        if place not in collected:
            collected.add(place)
            found.pictures.append(source)

    def add_path(path: Path) -> None:
        if os.path.isdir(path) and out_dir is not None:
            found.collected = True
            before = len(found.pictures)
            for source in _below(path, found, without=out_dir):
                add(source)
            if len(found.pictures) == before and not collected:
                with file_errors("read", path):
                    of_a_format = " of a format that is read" if found.others else ""
                    raise FileError(f"it is a folder without pictures{of_a_format}")
        else:
            found.pictures.append(Source(path))

    for path in arguments:
        if not os.path.lexists(path) and glob.has_magic(str(path)):
            found.collected = True
            base = _fixed_part(path)
            pattern = os.path.join(glob.escape(str(base)), path.relative_to(base))
            matches = _without_links(sorted(map(Path, glob.glob(pattern, recursive=True))), path)
            files = [match for match in matches if not os.path.isdir(match)]
            if not files:
                raise FileError(f"no file matches {str(path)!r}")
            for match in files:
                add(Source(match, match.parent.relative_to(base)))
        else:
            add_path(path)
    if listed is not None:
        found.collected = True
        for line in _lines(listed):
            add_path(Path(line))
        if not found.pictures:
            raise FileError(f"{str(listed)!r} lists no file")
    return found


def results_of(sources: Sources, out_dir: Path | None) -> list[Path]:
    """The default result of each picture, in the folders of `out_dir`.

    Where a folder holds a.jpg and a.png, their results are a.jpg_denoised.png and
    a.png_denoised.png, and those of a.png and a.npy are told apart in the same way, because the
    reports beside them have one suffix.

    Raises
    ------
    FileError
        If two pictures that were named one by one, or are in two folders, have one result.
    """
    paths = [
        default_path(source.path, None if out_dir is None else out_dir / source.folder)
        for source in sources.pictures
    ]
    if sources.collected:
        # Again, because a.jpg_denoised.png may be the result of an a.jpg.png too.
        while paths != (apart := _told_apart(paths, sources.pictures)):
            paths = apart
    _require_one_each(paths, sources.pictures)
    return paths


def _require_one_each(paths: list[Path], pictures: list[Source]) -> None:
    from overparam.files import FileError

    made: dict[str, Path] = {}
    for path, source in zip(paths, pictures, strict=True):
        first = made.setdefault(place_of(path), source.path)
        if first is not source.path:
            if place_of(first) == place_of(source.path):
                raise FileError(f"{str(first)!r} is named twice; name it once")
            raise FileError(
                f"two results would be written to {str(path)!r}, of {str(first)!r} and "
                f"{str(source.path)!r}; restore them into two folders"
            )


def _told_apart(paths: list[Path], pictures: list[Source]) -> list[Path]:
    """The same results; where several pictures have one, it gets the whole name of each."""
    stems = [place_of(path.with_suffix("")) for path in paths]
    often = Counter(stems)
    return [
        path.with_name(f"{source.path.name}_denoised{path.suffix}") if often[stem] > 1 else path
        for source, path, stem in zip(pictures, paths, stems, strict=True)
    ]


def _below(folder: Path, found: Sources, *, without: Path) -> Iterator[Source]:
    """Pictures of a folder and its folders, sorted; what is passed over is counted."""
    from robustdip.images.writing import SUFFIXES

    result = os.path.realpath(without)
    if os.path.realpath(folder) == result:
        result = ""  # results beside the pictures: they are told apart by their names
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) != result
        )
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith("."):
                found.hidden += 1
            elif path.suffix.lower() not in SUFFIXES:
                found.others += 1
            else:
                yield Source(path, path.parent.relative_to(folder))


def _raise(error: OSError) -> None:
    from overparam.files import file_errors

    with file_errors("read", error.filename):
        raise error


def _fixed_part(pattern: Path) -> Path:
    """The folder in which a pattern begins; its name may have brackets too."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part) and not os.path.isdir(fixed / part):  # a folder "scans [3]"
            break
        fixed /= part
    return fixed


def _without_links(matches: list[Path], pattern: Path) -> list[Path]:
    """What a pattern matches, but for what lies behind a link to a folder after its ``**``.

    One that leads up would be followed forty times.
    """
    if "**" not in pattern.parts:
        return matches
    first = pattern.parts.index("**")

    def direct(match: Path) -> bool:
        parts = match.parts
        return not any(os.path.islink(Path(*parts[:n])) for n in range(first + 1, len(parts)))

    return list(filter(direct, matches))


def _lines(path: Path) -> list[str]:
    """The lines of a list, without empty ones, with names of any bytes."""
    from overparam.files import FileError, file_errors, require_regular_file

    with file_errors("read", path):
        if path == Path("-"):
            data = sys.stdin.buffer.read()
        else:
            require_regular_file(path.stat().st_mode)
            data = path.read_bytes()
        if b"\0" in data:
            raise FileError("it is no list of names: it holds a null character")
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines()  # which Windows' editor puts first
    return [os.fsdecode(line) for line in lines if line.strip()]
