"""One picture of `denoise`: how it is restored, with which masks, and what is said of it."""

import os
import shlex
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from robustdip.cli.compare import clean_floats, quality_of
from robustdip.cli.options import fits_extension, picture_from
from robustdip.cli.outputs import Outputs, place_of
from robustdip.cli.standard_streams import named_by_user
from robustdip.told import Told

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture
    from robustdip.images.units import Units
    from robustdip.recovery import Denoised, Step

__all__ = [
    "WARNING",
    "Job",
    "MaskFiles",
    "Masks",
    "Task",
    "default_path",
    "nothing_missing",
    "pages_from",
    "read_job",
    "record_of",
    "recovered",
    "require_file",
    "without_earlier_results",
]


WARNING = "warning: "
"""Before a remark on what is probably a mistake, which --quiet does not suppress."""


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
class MaskFiles:
    """The files that say where all pictures are damaged; None for one that is not given."""

    mask: Path | None = None
    add_mask: Path | None = None
    protect: Path | None = None
    defects: Path | None = None
    exact: bool = False
    """Whether `defects` join `mask`, else `add_mask`."""

    def paths(self) -> dict[str, Path]:
        """The files that are given, by the names of their options."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in named.items() if isinstance(path, Path)}

    def read(self, remarks: list[str]) -> "Masks":
        """Read the files; what a person should know of them is added to `remarks`."""
        from robustdip.images.masks import read_defects

        return Masks(
            mask=_marked(self.mask, remarks),
            add_mask=_marked(self.add_mask, remarks),
            protect=_marked(self.protect, remarks),
            defects=None if self.defects is None else read_defects(self.defects),
            exact=self.exact,
        )


@dataclass(frozen=True, eq=False)
class Masks:
    """Where samples are damaged exactly, damaged certainly, and certainly not damaged."""

    mask: "np.ndarray | None"
    add_mask: "np.ndarray | None"
    protect: "np.ndarray | None"
    defects: "np.ndarray | None" = None
    """Joined to `mask` if that is `exact`, else to `add_mask`."""
    exact: bool = False

    def fitted_to(self, picture: "Picture") -> "Masks":
        """The masks in the shape of a picture; refused before torch is loaded if sizes differ."""
        shape = picture.pixels.shape

        def fitted(name: str) -> "np.ndarray | None":
            marked: np.ndarray | None = getattr(self, name)
            if marked is None:
                return None
            if marked.shape[:2] != shape[:2]:
                which = "" if name == "mask" else f" of --{name.replace('_', '-')}"
                raise ValueError(
                    f"the mask{which} has shape {marked.shape}, the image {shape}; make them agree"
                )
            # Many programs save grey as RGB.
            return marked.max(axis=2) if marked.ndim > len(shape) else marked

        mask, add_mask, protect, defects = map(fitted, ("mask", "add_mask", "protect", "defects"))
        if defects is None:
            return Masks(mask, add_mask, protect)
        return Masks(mask, add_mask, protect).joined(defects, exact=self.exact)

    def joined(self, marked: "np.ndarray", *, exact: bool) -> "Masks":
        """With further damage, joined to `mask` if that is `exact`, else to `add_mask`."""
        if exact:
            return replace(self, mask=_either(self.mask, marked))
        return replace(self, add_mask=_either(self.add_mask, marked))


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


def nothing_missing(job: "Job", task: Task) -> bool:
    """Whether there is a value that stands for missing data, and no sample has it."""
    from robustdip.images.units import missing

    return task.no_data is not None and not any(
        missing(page.pixels if page.numbers is None else page.numbers.values, task.no_data).any()
        for page in job.pages
    )


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
        raise ValueError(f"it has {len(pages)} pages; --reference takes a file of one")
    fitted = _with_missing([masks.fitted_to(page) for page in pages], pages, task)
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


def _with_missing(masks: list[Masks], pages: "list[Picture]", task: Task) -> list[Masks]:
    """The masks of the pages, with what is missing or not finite, which is known to be damaged."""
    import numpy as np

    from robustdip.methods import METHODS

    bad = [_missing(page, task.no_data) for page in pages]
    if METHODS[task.method].needs_mask and (
        task.no_data is not None or any(each is not None for each in bad)
    ):
        # A page without anything missing, beside others of its file or with --no-data, is as it is.
        bad = [
            np.zeros(page.pixels.shape, bool) if each is None and known.mask is None else each
            for page, each, known in zip(pages, bad, masks, strict=True)
        ]
    return [
        known if each is None else _with_bad(known, each, task)
        for known, each in zip(masks, bad, strict=True)
    ]


def _missing(page: "Picture", no_data: float | None) -> "np.ndarray | None":
    """Where values are missing or not finite; None if none is."""
    from robustdip.images.units import missing

    if page.numbers is not None:
        return page.numbers.bad
    bad = None if no_data is None else missing(page.pixels, no_data)
    return bad if bad is not None and bad.any() else None


def _with_bad(masks: Masks, bad: "np.ndarray", task: Task) -> Masks:
    from robustdip.methods import METHODS

    method = METHODS[task.method]
    if not method.takes_mask:
        raise ValueError(
            f"{int(bad.sum())} values are missing or not finite, which a mask has to tell, and "
            f"method {task.method!r} takes none; use another"
        )
    if masks.protect is not None:  # there is no value to keep
        masks = replace(masks, protect=~_either(~masks.protect, bad))
    return masks.joined(bad, exact=masks.mask is not None or not method.takes_certain)


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
            kept = ~_spread(damaged, values.shape)
            if known.protect is not None:
                kept |= _spread(known.protect, values.shape)
            values = values[kept]
        clean.append(values)
    if not any(values.size for values in clean):
        return pages  # refused later, in words that say so
    units = units_of(clean)
    return [_in_units(page, units) for page in pages]


def _spread(mask: "np.ndarray", shape: tuple[int, ...]) -> "np.ndarray":
    """A mask (H, W) or of this shape, in this shape."""
    import numpy as np

    return np.broadcast_to(mask if mask.ndim == len(shape) else mask[..., None], shape)


def _in_units(page: "Picture", units: "Units") -> "Picture":
    if page.numbers is None or page.numbers.units == units:
        return page
    numbers = replace(page.numbers, units=units)
    return replace(page, numbers=numbers, pixels=numbers.pixels())


def _either(mask: "np.ndarray | None", marked: "np.ndarray") -> "np.ndarray":
    """Two masks, (H, W) or (H, W, 3), as one."""
    if mask is None:
        return marked
    if mask.ndim == marked.ndim:
        return mask | marked
    return (mask if mask.ndim == 3 else mask[..., None]) | (
        marked if marked.ndim == 3 else marked[..., None]
    )


def _marked(path: Path | None, remarks: list[str]) -> "np.ndarray | None":
    """Read a mask. Say what counts as marked if it is nothing, most of it, or not the usual."""
    from overparam.program import quiet_libraries
    from robustdip.images.masks import read_mask

    if path is None:
        return None
    with quiet_libraries():
        mask = read_mask(path)
    fraction = float(mask.marked.mean())
    said = f"{str(path)!r} marks {fraction:.3%} of the samples: {mask.rule}"
    if fraction == 0:
        remarks.append(f"{WARNING}{str(path)!r} marks nothing: {mask.rule} is marked")
    elif 0.5 < fraction < 1:
        remarks.append(f"{WARNING}{said}; invert it if that is wrong")
    elif mask.rule != "what is not black":
        remarks.append(said)
    return mask.marked
