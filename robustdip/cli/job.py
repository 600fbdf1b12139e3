"""One picture of `denoise`: how it is restored, with which masks, and what is said of it."""

import os
import shlex
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from robustdip.cli.compare import clean_floats, quality_of
from robustdip.cli.masks import Masks, spread, with_missing
from robustdip.cli.options import fits_extension, picture_from
from robustdip.cli.outputs import Outputs, place_of
from robustdip.cli.standard_streams import named_by_user
from robustdip.told import Told

if TYPE_CHECKING:
    from robustdip.images.picture import Picture
    from robustdip.images.units import Units
    from robustdip.recovery import Denoised, Step

__all__ = [
    "Job",
    "Task",
    "default_path",
    "pages_from",
    "read_job",
    "record_of",
    "recovered",
    "require_file",
    "without_earlier_results",
]


@dataclass(frozen=True)
class Task:
    """How to restore, for all pictures: values that JSON knows."""

    method: str
    steps: int | None
    seed: int
    device: str
    extension: str | None = None
    """Of FITS files: the number or name."""
    no_data: float | None = None
    """The value that stands for missing data."""
    tile: int | None = None
    every_tile: bool = False
    told: Told = Told()

    @property
    def fits_extension(self) -> int | str | None:
        """The number or name of `extension`."""
        return fits_extension(self.extension)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Task":
        """The task whose `dataclasses.asdict` went through JSON."""
        known: dict[str, Any] = {**values, "told": Told(**values["told"])}
        return cls(**known)


@dataclass(frozen=True)
class Job:
    """One file, as it was read and checked, and where its results go."""

    source: Path
    pages: "list[Picture]"
    masks: list[Masks]
    """Of each page."""
    clean: "Picture | None"
    outputs: Outputs


def default_path(image: Path, folder: Path | None) -> Path:
    """NAME_denoised.png beside the input or in the folder.

    The suffix is the input's if only its format holds what is in it.
    """
    from robustdip.images.writing import natural_suffix

    return (folder or image.parent) / f"{image.stem}_denoised{natural_suffix(image)}"


def without_earlier_results(
    images: list[Path], outputs: list[Outputs], *, earlier: Collection[str] = ()
) -> Iterator[tuple[Path, Outputs]]:
    """Leave out each image that is the default result of another: ``denoise *.png`` once more.

    Parameters
    ----------
    images : list of Path
    outputs : list of Outputs
    earlier : collection of str
        Places (`place_of`) of results of earlier runs, which are left out too.
    """
    sources = {place_of(made.result): image for image, made in zip(images, outputs, strict=True)}
    for image, made in zip(images, outputs, strict=True):
        source = sources.get(place_of(image))
        if source is not None and source != image:
            typer.echo(f"skipped {str(image)!r}: it is the result of {str(source)!r}", err=True)
        elif place_of(image) in earlier:
            typer.echo(f"skipped {str(image)!r}: it is a result of an earlier run", err=True)
        else:
            yield image, made


def require_file(image: Path) -> None:
    """Refuse what is no file before the outputs are looked at, and those before it is decoded."""
    from overparam.files import FileError, file_errors, require_regular_file

    with file_errors("read", image):
        mode = os.stat(image).st_mode
        if stat.S_ISDIR(mode):
            folder = shlex.quote(str(image))
            raise FileError(
                "it is a folder; say where its results go: "
                f"robustdip denoise {folder} --out-dir OUT"
            )
        require_regular_file(mode)


def pages_from(path: Path, task: Task) -> "list[Picture]":
    """Read a file for a command: its one picture, or each of its pages."""
    from overparam.program import quiet_libraries
    from robustdip.images.reading import read_pages

    with quiet_libraries():
        return read_pages(path, extension=task.fits_extension)


def read_job(
    source: Path,
    outputs: Outputs,
    task: Task,
    masks: Masks,
    *,
    inputs: list[Path],
    force: bool,
    reference: Path | None = None,
) -> Job:
    """Read a file and check all that could stop the writing of its results after the computation.

    Parameters
    ----------
    source : Path
    outputs : Outputs
    task : Task
    masks : Masks
    inputs : list of Path
        Files that must survive.
    force : bool
        Allow replacing results that exist.
    reference : Path, optional
        The clean picture.

    Raises
    ------
    FileError, ValueError
        If the file cannot be read, a result not be written, or sizes differ.
    """
    require_file(source)
    outputs.check(inputs, force=force)
    pages = [_without_data(page, task.no_data) for page in pages_from(source, task)]
    outputs.check(inputs, force=force, pages=pages)
    if reference is not None and len(pages) > 1:
        name = str(named_by_user(source))
        raise ValueError(f"{name!r} has {len(pages)} pages; --reference takes a file of one")
    fitted = with_missing(
        [masks.fitted_to(page) for page in pages],
        pages,
        method=task.method,
        no_data=task.no_data,
    )
    pages = _in_clean_units(pages, fitted)
    clean = None
    if reference is not None:
        from robustdip.images.numeric import FITS

        is_fits = reference.suffix.lower() in FITS
        clean = picture_from(reference, extension=task.fits_extension if is_fits else None)
    if clean is not None:
        clean_floats(clean, pages[0])  # refuses another shape
    return Job(source, pages, fitted, clean, outputs)


def recovered(
    job: Job, task: Task, *, page: int = 0, on_step: "Callable[[Step], None] | None" = None
) -> "Denoised":
    """Restore one page of a job."""
    from overparam.program import share_cores

    # Only now, when no cheap check is left that could fail: torch takes seconds to import.
    share_cores()
    from robustdip.recovery import denoise

    masks = job.masks[page]
    reference = None
    if job.clean is not None:
        # For the history alone. Damage may have hidden the extremes that set the range of a file of
        # floats, and the clean values lie beyond it then.
        reference = clean_floats(job.clean, job.pages[page]).clip(0, 1)
    return denoise(
        job.pages[page].pixels,
        method=task.method,
        mask=masks.mask,
        add_mask=masks.add_mask,
        protect=masks.protect,
        reference=reference,
        steps=task.steps,
        damage=task.told.damage,
        strength=task.told.strength,
        only=task.told.only,
        max_size=task.told.max_size,
        tile=task.tile,
        every_tile=task.every_tile,
        keep=job.outputs.kept,
        seed=task.seed,
        device=task.device,
        on_step=on_step,
    )


def record_of(job: Job, task: Task, results: "list[Denoised]", written: Path) -> dict[str, Any]:
    """What `--json` prints of a finished file; of several pages, all together."""
    quality: dict[str, float | None] = {"psnr": None, "ssim": None}
    if job.clean is not None:
        quality = quality_of(job.clean, replace(job.pages[0], pixels=results[0].image))
    last = results[-1]
    samples = sum(result.mask.size for result in results)
    disagreements = [made.disagreement for made in results if made.disagreement is not None]
    record = {
        "source": str(named_by_user(job.source)),
        "output": str(written),
        "status": last.status,
        "steps": sum(result.steps for result in results),
        "seconds": round(sum(result.seconds for result in results), 3),
        **quality,
        "method": task.method,
        "recipe": None if last.recipe is None else last.recipe.name,
        "seed": last.seed,
        "device": last.device,
        "threads": None if last.recipe is None else _threads(),
        "changed": any(
            bool((result.image != page.pixels).any())
            for page, result in zip(job.pages, results, strict=True)
        ),
        "corrupted_fraction": float(sum(result.mask.sum() for result in results) / samples),
        "tiles": sum(result.tiles for result in results),
        "fitted_tiles": sum(result.fitted for result in results),
        "filled_pixels": sum(result.filled for result in results),
        "disagreement": max(disagreements, default=None),
    }
    numbers = job.pages[0].numbers
    if numbers is not None and job.pages[0].measured:
        record["units"] = [numbers.units.low, numbers.units.high]
    elif len(results) == 1 and job.pages[0].pixels.dtype.itemsize == 2:  # each page has its own
        record["units"] = [0.0, float(last.white)]
    return record if len(results) == 1 else record | {"pages": len(results)}


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _without_data(page: "Picture", no_data: float | None) -> "Picture":
    """The page, which knows what stands for missing data in its numbers."""
    if page.numbers is None or no_data is None:
        return page
    return replace(page, numbers=replace(page.numbers, no_data=no_data))


def _in_clean_units(pages: "list[Picture]", masks: list[Masks]) -> "list[Picture]":
    """Set one range for all pages, from the values that are not known to be damaged."""
    import numpy as np

    from robustdip.images.units import units_of

    clean: list[np.ndarray] = []
    for page, known in zip(pages, masks, strict=True):
        if page.numbers is None or not page.measured:
            return pages
        values = page.numbers.values
        damaged = known.add_mask if known.mask is None else known.mask
        if damaged is not None:
            kept = ~spread(damaged, values.shape)
            if known.protect is not None:
                kept |= spread(known.protect, values.shape)
            values = values[kept]
        clean.append(values)
    if not any(values.size for values in clean):
        return pages  # refused later, in words that say so
    units = units_of(clean)
    return [_in_units(page, units) for page in pages]


def _in_units(page: "Picture", units: "Units") -> "Picture":
    if page.numbers is None or page.numbers.units == units:
        return page
    numbers = replace(page.numbers, units=units)
    return replace(page, numbers=numbers, pixels=numbers.pixels())
