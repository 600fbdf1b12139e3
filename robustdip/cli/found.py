"""What `denoise` says of a restored picture: how much was wrong, or what to do if nothing was."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from overparam.words import counted, percent
from robustdip.cli.job import Job, Task
from robustdip.methods import METHODS
from robustdip.told import DAMAGE, Told

if TYPE_CHECKING:
    from robustdip.images.picture import Picture
    from robustdip.recovery import Denoised

__all__ = ["found_lines"]


def found_lines(job: Job, task: Task, results: "list[Denoised]") -> Iterator[str]:
    """Lines for a person, of the pages whose fits were completed.

    Parameters
    ----------
    job : Job
    task : Task
    results : list of Denoised
        One of each page.
    """
    for result, page, masks in zip(results, job.pages, job.masks, strict=True):
        if result.status != "completed":
            continue
        if result.tiles > 1:
            yield _tiles_line(result)
        if METHODS[task.method].takes_certain and masks.mask is None:
            yield _wrong_line(result, page, told=task.told)


def _wrong_line(result: "Denoised", page: "Picture", *, told: Told) -> str:
    if result.mask.any():
        return f"{percent(float(result.mask.mean()))}% of the values were found wrong"
    line = "nothing wrong was found"
    if (result.image == page.pixels).all():
        line += ": the result is the input"
    if told.damage != ("auto",):
        more = "--strength 1 finds more, and " if told.strength < 1 else ""
        return f"{line}; {more}--mask takes what you mark"
    kinds = ", ".join(name for name in DAMAGE if name != "auto")
    return f"{line}. If you see damage, name it (--damage {kinds}) or mark it (--mask)"


def _tiles_line(result: "Denoised") -> str:
    line = f"{result.fitted} of {result.tiles} tiles were fitted"
    more = ""
    if result.filled:
        alone = counted(
            result.filled, "pixel that stands alone was", "pixels that stand alone were"
        )
        line = f"{alone} filled from those around; {line}"
        more = "else "
    if result.fitted < result.tiles:
        line += f"; nothing {more}wrong was seen in the others, which are as they were"
    if result.disagreement is not None:
        line += f"; where they overlap they differ by {result.disagreement:.2%} of the range"
    return line
