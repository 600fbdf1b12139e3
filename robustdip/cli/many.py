"""The run of `denoise` over many pictures: none stops the others, what is finished stays so."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import typer

from overparam.cores import free_cores
from overparam.program import interrupted_status, interruptible
from overparam.terminal import progress
from overparam.words import counted
from robustdip.cli.job import Task, require_file
from robustdip.cli.machine import worker_count
from robustdip.cli.manifest import Manifest, settings_hash
from robustdip.cli.masks import MaskFiles
from robustdip.cli.options import save
from robustdip.cli.outputs import Outputs
from robustdip.cli.pool import Pool
from robustdip.cli.remarks import WARNING
from robustdip.cli.worker import settings_message
from robustdip.methods import gives_mask_of_changes

if TYPE_CHECKING:
    from robustdip.overview import Outcome

__all__ = ["restore_many", "shapes_of"]

# What a user can correct; see `overparam.terminal.exit_on_error`.
_EXPECTED = (ValueError, OSError)


@dataclass
class _Report:
    """What is said of one picture when it is its turn."""

    record: dict[str, Any] | None = None
    errors: list[str] = field(default_factory=list)
    skipped: bool = False


def restore_many(
    pictures: list[tuple[Path, Outputs]],
    task: Task,
    masks: MaskFiles,
    *,
    out_dir: Path | None,
    make_folders: bool,
    report: Path | None,
    workers: int | None,
    engine: str,
    gpu_fraction: float | None,
    as_json: bool,
    force: bool,
    quiet: bool,
    passed_over: str = "",
) -> None:
    """Restore pictures by several processes; print each result in the order of the pictures.

    Parameters
    ----------
    pictures : list of (Path, Outputs)
    task, masks
        For all pictures.
    out_dir : Path or None
        The folder that gets the manifest; without it nothing is known of earlier runs.
    make_folders : bool
        Make the folders of the results.
    report : Path or None
        The page of all pictures; it needs `out_dir`.
    workers : int or None
        Processes at most; None decides by the machine.
    engine : {"local", "ray"}
        Processes of this machine, or tasks of a Ray cluster.
    gpu_fraction : float or None
        See `robustdip.cli.ray_pool.RayPool`.
    as_json, force, quiet : bool
        The options of the command.
    passed_over : str
        What the summary says of files that are no pictures.

    Raises
    ------
    typer.Exit
        With status 1 if a picture failed, and 128 plus the signal's number if one was received.
    """
    inputs = {
        _identity(path) for path in (*(path for path, _ in pictures), *masks.paths().values())
    }
    run = _Run(pictures, inputs - {None}, force=force, make_folders=make_folders, as_json=as_json)
    with ExitStack() as stack:
        if out_dir is not None:
            if make_folders:
                _make_folder(out_dir)
            else:
                from overparam.files import require_folder

                require_folder(out_dir)
            run.manifest = Manifest(out_dir, settings_hash(task, masks))
            stack.callback(run.manifest.close)
            if report is not None:
                run.begin_page(report, [path for path, _ in pictures])
        to_do = run.without_finished()
        interruption = stack.enter_context(interruptible())
        try:
            interruption.check()  # from now on a signal ends the processes first
            if to_do:
                settings = settings_message(task, masks)
                shapes = shapes_of([pictures[number][0] for number in to_do])
                if engine == "ray":
                    # Not before: it is for few, and slow to import.
                    from robustdip.cli.ray_pool import RayPool

                    ray = RayPool(settings, workers=workers, gpu_fraction=gpu_fraction)
                    pool: Pool | RayPool = stack.enter_context(ray)
                    devices = ray.places(shapes)
                else:
                    pool = stack.enter_context(Pool(settings))
                    devices = _devices(pool, shapes, len(to_do), workers, quiet)
                name = counted(len(pictures), "picture")
                begun = len(pictures) - len(to_do)
                show = stack.enter_context(progress(name, unit="picture", start=begun, quiet=quiet))
                fractions: dict[int, float] = {}
                for number, answer in pool.work(run.messages(to_do), devices=devices):
                    fractions[number] = answer.get("progress", 1)
                    if "progress" not in answer:
                        run.take(number, answer)
                    done = len(run.reports) + sum(
                        part for key, part in fractions.items() if key not in run.reports
                    )
                    show(round(done, 1), len(pictures))
                    interruption.check()  # a signal that comes while a line is written waits
        except KeyboardInterrupt:
            stack.close()  # the processes are gone and the bar is, before anything is said
            typer.echo(f"interrupted: {run.summary(passed_over)}", err=True)
            run.write_page(task)
            raise typer.Exit(interrupted_status()) from None
    run.print_ready()
    run.write_page(task)
    if run.complete and all(run.complete):  # of one among others it is usual
        pictures_of = counted(len(run.complete), "picture")
        typer.echo(f"{WARNING}no value of {pictures_of} is {task.no_data:g}", err=True)
    if not quiet:
        typer.echo(run.summary(passed_over), err=True)
    if any(said.errors for said in run.reports.values()) or run.page_failed:
        raise typer.Exit(1)


@dataclass
class _Run:
    """What has become of each picture, by its number."""

    pictures: list[tuple[Path, Outputs]]
    inputs: set[tuple[int, int] | None]
    """Files that must survive, by their numbers."""
    force: bool
    make_folders: bool
    as_json: bool
    manifest: Manifest | None = None
    reports: dict[int, _Report] = field(default_factory=dict)
    complete: list[bool] = field(default_factory=list)
    """Of each picture that was restored: whether no value is that of `--no-data`."""
    printed: int = 0
    stdout: IO[str] = field(default_factory=lambda: sys.stdout)
    """Standard output, also while a pool prints on sys.stdout."""
    page: Path | None = None
    """Where the page of all pictures will be, if one is wanted."""
    page_replaced: bool = False
    """Whether a file in its place may be replaced."""
    page_failed: bool = False

    def begin_page(self, page: Path, inputs: list[Path]) -> None:
        """Look whether the page can be written. One of an earlier run is replaced."""
        from overparam.files import check_target

        if self.manifest is None:
            raise ValueError("the page of many pictures needs the folder of the results")
        self.page, self.page_replaced = page, self.force or self.manifest.has_page(page)
        check_target(page, inputs=inputs, force=self.page_replaced, suffixes=(".html", ".htm"))
        self.manifest.enter_page(page)

    def write_page(self, task: Task) -> None:
        """Write the page of all pictures, if one is wanted; say where it is if not there."""
        if self.page is None:
            return
        from overparam.files import FileError
        from overparam.program import quiet_libraries
        from robustdip.overview import overview_page

        with quiet_libraries():
            facts = {"Method": task.method}
            changes = gives_mask_of_changes(task.method)
            share_of = "changed much" if changes else "found corrupted"
            html = overview_page(
                self.outcomes(task), folder=self.page.parent, facts=facts, share_of=share_of
            )
        try:
            save(self.page, html, force=self.page_replaced)
        except FileError as error:
            self.page_failed = True
            typer.echo(f"error: {error}", err=True)

    def outcomes(self, task: Task) -> "list[Outcome]":
        """What the page says of each picture."""
        from robustdip.overview import Outcome

        made: list[Outcome] = []
        for number, (source, outputs) in enumerate(self.pictures):
            said = self.reports.get(number)
            record = (said and said.record) or {}
            share, units = record.get("corrupted_fraction"), record.get("units")
            # A classical method moves values that it does not count as corrupted.
            changed = record.get("changed", share != 0)  # records of earlier versions lack it
            status = "failed" if said and said.errors else "done" if changed else "unchanged"
            page = outputs.result.with_suffix(".html")
            made.append(
                Outcome(
                    source,
                    status if said else "left",
                    result=Path(record["output"]) if record else None,
                    reason="; ".join(said.errors) if said else "",
                    share=share,
                    seconds=record.get("seconds"),
                    page=page if record and page != self.page and page.is_file() else None,
                    units=None if units is None else (units[0], units[1]),
                    extension=task.fits_extension,
                )
            )
        return made

    def without_finished(self) -> list[int]:
        """The numbers of the pictures that are to be restored."""
        for number, (source, outputs) in enumerate(self.pictures):
            found = self.manifest and self.manifest.finished(source, outputs.result)
            if found and not _lacks_page(outputs, found):
                record = {**found, "output": str(outputs.result), "status": "skipped"}
                self.reports[number] = _Report(record, skipped=True)
        return [number for number in range(len(self.pictures)) if number not in self.reports]

    def messages(self, to_do: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Check each picture when it is its turn, and say what a process has to do."""
        for number in to_do:
            source, outputs = self.pictures[number]
            try:
                require_file(source)
                if self.make_folders:
                    _make_folder(outputs.result.parent)
                force = self.force or self._is_own(source, outputs.result)
                others = [outputs.result] if _identity(outputs.result) in self.inputs else []
                outputs.check([source, *others], force=force)
                if self.manifest is not None:
                    self.manifest.begin(source, outputs.result)
            except _EXPECTED as error:
                self._fail(number, error)
            else:
                page = None if outputs.report is None else str(outputs.report)
                message = {"source": str(source), "result": str(outputs.result), "report": page}
                yield number, {**message, "force": force}

    def _is_own(self, source: Path, result: Path) -> bool:
        """Whether a file at the result's place is of an earlier run like this one."""
        if self.manifest is None:
            return False
        begun = self.manifest.was_begun(source, result)
        return begun or self.manifest.finished(source, result) is not None

    def take(self, number: int, answer: dict[str, Any]) -> None:
        """Note the last answer about a picture, enter it in the manifest, and print what may be."""
        source, outputs = self.pictures[number]
        if "died" in answer:
            errors = [f"cannot restore {str(source)!r}: {answer['died']}"]
        elif "error" in answer:
            errors = [answer["error"]]
            if "traceback" in answer:
                typer.echo(answer["traceback"], err=True, nl=False)
        else:
            errors = answer["failures"]
            self.complete.append(answer["nothing_missing"])
        report = self.reports[number] = _Report(answer.get("record"), errors)
        if self.manifest is not None:
            try:
                if report.record is not None and report.record["output"] == str(outputs.result):
                    self.manifest.finish(source, outputs.result, report.record)
                else:  # also where its name was taken meanwhile
                    self.manifest.fail(source, outputs.result)
            except _EXPECTED as error:
                report.errors.append(str(error))
        self.print_ready()

    def print_ready(self) -> None:
        """Print what is known of the next pictures, in their order."""
        while report := self.reports.get(self.printed):
            self.printed += 1
            if report.record is not None and (self.as_json or not report.skipped):
                shown = json.dumps(report.record) if self.as_json else self._shown(report)
                typer.echo(shown, file=self.stdout)
            elif self.as_json and report.record is None:
                source, _ = self.pictures[self.printed - 1]
                failure = {"source": str(source), "status": "failed", "error": report.errors[0]}
                typer.echo(json.dumps(failure), file=self.stdout)
            for error in report.errors:
                typer.echo(f"error: {error}", err=True)

    def summary(self, passed_over: str) -> str:
        """How many were done, skipped and failed."""
        reports = self.reports.values()
        failed = sum(bool(report.errors) for report in reports)
        skipped = sum(report.skipped for report in reports)
        left = len(self.pictures) - len(reports)
        parts = [
            f"{len(reports) - failed - skipped} done",
            f"{skipped} skipped",
            f"{failed} failed",
        ]
        parts += [f"{left} not done"] if left else []
        text = ", ".join(parts)
        if skipped:
            text += " (skipped: finished by an earlier run)"
        return f"{text}; passed over: {passed_over}" if passed_over else text

    def _shown(self, report: _Report) -> str | bytes:
        """The path of a result: as text on a terminal, where the bar makes way for it."""
        output: str = report.record["output"] if report.record else ""
        on_terminal = self.stdout.isatty() and output.isprintable()
        return output if on_terminal else os.fsencode(output)

    def _fail(self, number: int, error: Exception) -> None:
        from overparam.files import one_line

        self.reports[number] = _Report(errors=[one_line(error)])
        self.print_ready()


def _lacks_page(outputs: Outputs, record: dict[str, Any]) -> bool:
    """Whether a report is wanted of a picture that was finished, and is not there."""
    if outputs.report is None or "pages" in record:  # of several pages there is none
        return False
    return not os.path.isfile(outputs.report)


def _devices(
    pool: Pool,
    shapes: list[tuple[int, int, int, int]],
    pictures: int,
    workers: int | None,
    quiet: bool,
) -> list[str]:
    """What each process computes on, one entry a process."""
    from overparam.memory import memory_free

    # The process tells, because this one has not imported torch.
    needs = pool.ask({"shapes": shapes})
    if "error" in needs:
        raise ValueError(needs["error"])
    names: list[str] = needs["devices"]
    cores = workers or (len(names) if needs["gpu"] else free_cores())
    memory = None if needs["gpu"] else memory_free()
    count, limited = worker_count(
        pictures=pictures, cores=cores, memory_each=needs["bytes"], memory_free=memory
    )
    if limited and not quiet:
        typer.echo(f"memory allows {count} of these pictures at a time", err=True)
    return [names[number % len(names)] for number in range(count)]


def shapes_of(paths: list[Path]) -> list[tuple[int, int, int, int]]:
    """The pages and shapes that pictures have, from the headers.

    What cannot be read does not count, and all pages of a file count as its largest. Of files of
    numbers the size tells, as if they were one square and of 32 bits.
    """
    from overparam.files import FileError
    from overparam.image_files import open_image
    from robustdip.images.numeric import FITS, NPY
    from robustdip.images.tiff_pages import has_pages, page_sizes

    found = {(1, 1, 1)}
    for path in paths:
        try:
            if path.suffix.lower() in (*NPY, *FITS):
                side = math.isqrt(path.stat().st_size // 4)
                sizes = [(side, side)]
            elif has_pages(path):
                sizes = page_sizes(path)
            else:
                with open_image(path, header_only=True) as image:
                    sizes = [(image.height, image.width)]
        except (FileError, OSError):
            continue
        if sizes:
            found.add((len(sizes), *max(sizes, key=math.prod)))
    return [(*shape, 3) for shape in sorted(found)]


def _make_folder(folder: Path) -> None:
    from overparam.files import FileError, file_errors

    with file_errors("write into", folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise FileError("it is no folder") from None


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for every name of a file; None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
