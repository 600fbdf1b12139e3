"""One file of `denoise`: its restoration with progress, until Ctrl-C, and what is said after it."""

import json
import os
from typing import TYPE_CHECKING

import typer

from overparam.program import Interruption, interrupted_status, interruptible
from overparam.terminal import progress
from robustdip.cli.compare import quality_lines
from robustdip.cli.found import found_lines
from robustdip.cli.job import Job, Task, record_of, recovered
from robustdip.cli.remarks import say
from robustdip.cli.standard_streams import STREAM, print_file

if TYPE_CHECKING:
    from robustdip.recovery import Denoised, Step

__all__ = ["restore_one"]


def restore_one(
    job: Job, task: Task, *, as_json: bool, force: bool, quiet: bool, printed: bool
) -> None:
    """Restore a file that was read and checked, write its results, and say what was found.

    Parameters
    ----------
    job : Job
    task : Task
    as_json : bool
        Print an object in place of the path.
    force : bool
        Allow replacing results that exist.
    quiet : bool
        Neither progress nor remarks.
    printed : bool
        The result goes to standard output, and all else to standard error.

    Raises
    ------
    ValueError
        If a result could not be written to its place.
    typer.Exit
        After Ctrl-C, when what is finished was saved.
    """
    with interruptible() as interruption:
        results = _restored(job, task, interruption, quiet=quiet)
        interruption.hold()
        written, failures = job.outputs.write(job.pages, results, method=task.method, force=force)
        if written is not None and printed:
            print_file(written)
        if written is not None and (as_json or not printed):
            record = record_of(job, task, results, STREAM if printed else written)
            # The result is alone on standard output.
            typer.echo(json.dumps(record) if as_json else os.fsencode(written), err=printed)
            say(found_lines(job, task, results), quiet=quiet)
            if job.clean is not None and not quiet and not as_json:
                typer.echo(quality_lines(record), err=True)
        if failures:
            raise ValueError("; ".join(failures))
    last = results[-1]
    if last.status == "interrupted" and last.recipe is not None:
        saved = f"step {last.steps} of {last.recipe.steps}"
        if last.tiles > 1:
            saved = f"{last.fitted} finished tiles of {last.tiles}, the input elsewhere"
            if not printed:  # else they are gone with the scratch folder of the result
                saved += "; with --force it goes on from there"
        typer.echo(f"interrupted: saved {saved}", err=True)
        raise typer.Exit(interrupted_status())
    if interruption.received:
        typer.echo(f"interrupted: {str(written)!r} was finished", err=True)
        raise typer.Exit(interrupted_status())


def _restored(job: Job, task: Task, interruption: Interruption, *, quiet: bool) -> "list[Denoised]":
    results: list[Denoised] = []
    with progress(job.source.name, quiet=quiet) as show:

        def on_step(step: "Step") -> None:
            interruption.check()
            pages = len(job.pages)
            show(len(results) * step.total + step.done, pages * step.total)
            if step.done == step.total and len(results) + 1 == pages:
                interruption.hold()  # a signal now would only lose the last step

        for page in range(len(job.pages)):
            result = recovered(job, task, page=page, on_step=on_step)
            results.append(result)
            if result.status == "interrupted" and len(job.pages) > 1:
                raise KeyboardInterrupt  # half of the pages are no result
    return results
