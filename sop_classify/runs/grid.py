"""Many runs in one folder, each resumed if it was stopped, and their comparison."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from overparam.errors import DivergedError, NotEnoughMemoryError
from overparam.files import FileError
from sop_classify.records.record import has_record
from sop_classify.reports.comparison import write_comparison
from sop_classify.runs.job import Job
from sop_classify.runs.run import Run
from sop_classify.training.evaluation import Epoch

__all__ = ["train_grid"]


def train_grid(
    jobs: Iterable[tuple[str, Job]],
    folder: Path,
    *,
    on_batch: Callable[[float], None] | None = None,
) -> Iterator[tuple[str, Epoch | DivergedError | NotEnoughMemoryError]]:
    """Run one job after the other, and write the comparison of all runs after each.

    A completed run is not repeated, and a stopped one goes on. If a run diverges or needs too much
    memory, the next one begins.

    Parameters
    ----------
    jobs : iterable of (str, Job)
        Each with the name of its folder. Taken one at a time, so that only one set of data has to
        be in memory.
    folder : Path
        Holds the folders of the runs, and comparison.html, .md, .csv and .png.
    on_batch : callable, optional
        As in `Training.epochs`.

    Yields
    ------
    name : str
    epoch : Epoch or error
        An epoch when it is on disk, or the error that ended the run.

    Raises
    ------
    FileError
        If a run cannot be read or written.
    ValueError
        If a run to resume was made with other settings or data.
    """
    for name, job in jobs:
        try:
            run = Run(job, folder / name)
            if has_record(run.folder):
                _resume(run)
            else:
                run.start()
            with closing(run.epochs(on_batch=on_batch)) as epochs:
                for epoch in epochs:
                    yield name, epoch
        except (DivergedError, NotEnoughMemoryError) as error:
            yield name, error
        write_comparison(folder)


def _resume(run: Run) -> None:
    try:
        run.resume()
    except FileError as error:
        raise FileError(f"{error}; remove {str(run.folder)!r} to train it anew") from error
