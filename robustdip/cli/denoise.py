"""The command `denoise`: read, check, restore, save, report; one image after the other."""

import dataclasses
import json
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.program import Interruption, interrupted_status, interruptible
from overparam.terminal import exit_on_error, known_device, progress
from robustdip.cli.compare import clean_floats, quality_lines, quality_of
from robustdip.cli.options import (
    Force,
    Json,
    Quiet,
    Seed,
    path_argument,
    path_option,
    picture_from,
    refuse_standard_streams,
    save,
)
from robustdip.cli.outputs import (
    Outputs,
    check_array_or_image,
    map_bytes,
    place_of,
    require_distinct,
)
from robustdip.methods import METHODS, check_method, names

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture
    from robustdip.recovery import Denoised, Step

__all__ = ["denoise"]


def _known_method(name: str | None) -> str | None:
    if name is not None and name not in METHODS:
        raise typer.BadParameter(f"no method {name!r}; there are {', '.join(METHODS)}")
    return name


def denoise(
    images: Annotated[
        list[Path], path_argument(metavar="IMAGE...", help="PNG, JPEG, TIFF, WebP, BMP or PPM.")
    ],
    output: Annotated[
        Path | None,
        path_option(
            "--output", "-o", help="File for the result.", show_default="NAME_denoised.png"
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        path_option(help="Folder for the results.", show_default="the folder of each IMAGE"),
    ] = None,
    reference: Annotated[
        Path | None,
        path_option(
            help="The clean image: PSNR and SSIM of the result are printed. "
            "It does not influence the result."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            callback=_known_method,
            help=f"Fit of a network: {', '.join(names('fit'))}. "
            f"Classical: {', '.join(names('classical'))}. "
            f"Interpolation, needs --mask: {', '.join(names('interpolation'))}.",
        ),
    ] = "default",
    recipe: Annotated[  # the name that --method had at first
        str | None, typer.Option(hidden=True, callback=_known_method)
    ] = None,
    mask: Annotated[
        Path | None,
        path_option(
            help="Image of the same size that is not black where the damage is known to be: "
            "exactly there. Opaque on transparent works too."
        ),
    ] = None,
    add_mask: Annotated[
        Path | None,
        path_option(help="Such an image of damage that is certain; more is looked for."),
    ] = None,
    protect: Annotated[
        Path | None,
        path_option(help="Such an image of what is certainly not damaged: it is kept as it is."),
    ] = None,
    shared_mask: Annotated[
        bool,
        typer.Option(
            "--shared-mask",
            help="Find the defects that stay in place in all IMAGEs, which must be of one camera "
            "or scanner and of different scenes, and restore them too.",
        ),
    ] = False,
    defects: Annotated[
        Path | None,
        path_option(help="A map of such defects that --save-defects has saved, or a mask."),
    ] = None,
    save_defects: Annotated[
        Path | None,
        path_option(
            help="Save the map that --shared-mask finds: the probabilities as .npy, or as an image "
            "that is white where there is a defect."
        ),
    ] = None,
    defect_size: Annotated[
        float,
        typer.Option(min=1, max=200, help="Width in pixels of the largest defects of that map."),
    ] = 3.0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Gradient steps of a fit.", show_default="the method's"),
    ] = None,
    seed: Seed = 0,
    device: Annotated[
        str, typer.Option(callback=known_device, help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    save_corruption: Annotated[
        Path | None,
        path_option(
            help="Save what was removed: as .safetensors or .npy, or its size as an image."
        ),
    ] = None,
    save_mask: Annotated[
        Path | None, path_option(help="Save an image that is white where damage was found.")
    ] = None,
    save_uncertainty: Annotated[
        Path | None,
        path_option(
            help="Save the standard deviation of the result: as .safetensors or .npy, or as an "
            "image that is white from a tenth of the range on."
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        path_option(help="Save an image of input, result and removed damage side by side."),
    ] = None,
    save_overlay: Annotated[
        Path | None,
        path_option(help="Save the picture in grey with the damage that was found in magenta."),
    ] = None,
    report: Annotated[
        Path | None,
        path_option(help="Save an .html page to look at: before and after, damage, curves."),
    ] = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Restore each IMAGE. The amount and the place of the damage need not be known.

    If you know the place, give a --mask: all other samples are kept as they are. If you know some
    of it, correct what --save-mask found: --add-mask is damaged too, --protect is not. Ctrl-C saves
    the image as it is after the last finished step.
    """
    extras = [save_corruption, save_mask, save_uncertainty, compare, save_overlay, report]
    if output is not None and out_dir is not None:
        raise typer.BadParameter("give -o or --out-dir, not both")
    if len(images) > 1 and any(path is not None for path in (output, reference, *extras)):
        raise typer.BadParameter(
            "-o, --reference, --save-corruption, --save-mask, --save-uncertainty, --compare, "
            "--save-overlay and --report take one IMAGE"
        )
    if mask is not None and not (add_mask is None and protect is None):
        raise typer.BadParameter(
            "--mask decides every sample; give it without --add-mask and --protect"
        )
    if save_defects is not None and not shared_mask:
        raise typer.BadParameter("--save-defects saves what --shared-mask finds; give both")
    if shared_mask and defects is not None:
        raise typer.BadParameter("give --shared-mask or --defects, not both")
    task = _Task(method=recipe or method, steps=steps, seed=seed, device=device)
    with exit_on_error():
        outputs = [Outputs(output or _default_output(image, out_dir), *extras) for image in images]
        jobs = list(_without_earlier_results(images, outputs))
        mapped = shared_mask or defects is not None
        # A method that judges the other samples is told of the map; others take it as their mask.
        exact = mask is not None or not METHODS[task.method].takes_certain
        check_method(
            task.method,
            mask=mask is not None or (mapped and exact),
            certain=not (add_mask is None and protect is None) or (mapped and not exact),
            steps=steps,
            device=device,
            uncertainty=save_uncertainty is not None,
        )
        written = [path for _, made in jobs for path in made.paths()]
        require_distinct([*written, *([] if save_defects is None else [save_defects])])
        others = [path for path in (reference, mask, add_mask, protect, defects) if path]
        inputs = [*(image for image, _ in jobs), *others]
        refuse_standard_streams(inputs)
        remarks: list[str] = []
        masks = _Masks(
            mask=_marked(mask, remarks),
            add_mask=_marked(add_mask, remarks),
            protect=_marked(protect, remarks),
        )
        if save_defects is not None:
            refuse_standard_streams([save_defects])
            check_array_or_image(save_defects, inputs=inputs, force=force)
        if shared_mask:  # all images are read before the first is restored
            for image, made in jobs:
                _require_file(image)
                made.check(inputs, force=force)
        if mapped:
            found = _defects([image for image, _ in jobs], defects, max_size=defect_size)
            if save_defects is not None:
                white = (found > 0.5).astype("uint8") * 255
                save(save_defects, map_bytes(save_defects, "defects", found, white), force=force)
            if shared_mask:
                remarks.append(f"{int((found > 0.5).sum())} pixels are wrong in all images")
            masks = dataclasses.replace(masks, defects=found > 0.5, exact=exact)
    failed = False
    for image, made in jobs:
        try:
            with exit_on_error():
                _require_file(image)
                made.check(inputs, force=force)
                picture = picture_from(image)
                made.check(inputs, force=force, picture=picture)
                clean = (
                    None if reference is None else clean_floats(picture_from(reference), picture)
                )
                job = _Job(image.name, picture, masks.fitted_to(picture), clean, made)
                while remarks and not quiet:
                    typer.echo(remarks.pop(0), err=True)
                _restore_and_save(job, task, as_json=as_json, force=force, quiet=quiet)
        except typer.Exit as stop:
            if stop.exit_code != 1:
                raise
            failed = True  # one bad file must not stop the others
    if failed:
        raise typer.Exit(1)


# --- before the computation ----------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    """How to restore, for all images."""

    method: str
    steps: int | None
    seed: int
    device: str


@dataclass(frozen=True, eq=False)
class _Masks:
    """Where samples are damaged exactly, damaged certainly, and certainly not damaged."""

    mask: "np.ndarray | None"
    add_mask: "np.ndarray | None"
    protect: "np.ndarray | None"
    defects: "np.ndarray | None" = None
    """Joined to `mask` if that is `exact`, else to `add_mask`."""
    exact: bool = False

    def fitted_to(self, picture: "Picture") -> "_Masks":
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
            return _Masks(mask, add_mask, protect)
        if self.exact:
            return _Masks(_either(mask, defects), add_mask, protect)
        return _Masks(mask, _either(add_mask, defects), protect)


@dataclass(frozen=True)
class _Job:
    """One image, as it was read and checked, and where its results go."""

    name: str
    picture: "Picture"
    masks: _Masks
    clean: "np.ndarray | None"
    outputs: Outputs


def _default_output(image: Path, folder: Path | None) -> Path:
    """NAME_denoised.png beside the input or in the folder."""
    return (folder or image.parent) / f"{image.stem}_denoised.png"


def _without_earlier_results(
    images: list[Path], outputs: list[Outputs]
) -> Iterator[tuple[Path, Outputs]]:
    """Leave out each image that is the default result of another: ``denoise *.png`` once more."""
    sources = {place_of(made.result): image for image, made in zip(images, outputs, strict=True)}
    for image, made in zip(images, outputs, strict=True):
        source = sources.get(place_of(image))
        if source is None or source == image:
            yield image, made
        else:
            typer.echo(f"skipped {str(image)!r}: it is the result of {str(source)!r}", err=True)


def _require_file(image: Path) -> None:
    """Refuse what is no file before the outputs are looked at, and those before it is decoded."""
    from overparam.files import FileError, file_errors, require_regular_file

    with file_errors("read", image):
        mode = os.stat(image).st_mode
        if stat.S_ISDIR(mode):
            folder = shlex.quote(str(image))
            raise FileError(
                f"it is a folder; give its images: robustdip denoise {folder}/*.png --out-dir OUT"
            )
        require_regular_file(mode)


def _either(mask: "np.ndarray | None", defects: "np.ndarray") -> "np.ndarray":
    """A mask (H, W) or (H, W, 3) together with defects (H, W)."""
    if mask is None:
        return defects
    return mask | (defects if mask.ndim == 2 else defects[..., None])


def _defects(images: list[Path], path: Path | None, *, max_size: float) -> "np.ndarray":
    """The map of a file, or the probabilities of defects that all images share."""
    if path is not None:
        from robustdip.images.masks import read_defects

        return read_defects(path)
    from robustdip.defects import shared_defects

    return shared_defects([picture_from(image).pixels for image in images], max_size=max_size)


def _marked(path: Path | None, remarks: list[str]) -> "np.ndarray | None":
    """Read a mask. Remark what counts as marked if it is most of the picture, or not the usual."""
    from overparam.program import quiet_libraries
    from robustdip.images.masks import read_mask

    if path is None:
        return None
    with quiet_libraries():
        mask = read_mask(path)
    fraction = float(mask.marked.mean())
    if 0.5 < fraction < 1 or mask.rule != "what is not black":
        advice = "; invert it if that is wrong" if fraction > 0.5 else ""
        remarks.append(f"{str(path)!r} marks {fraction:.3%} of the samples: {mask.rule}{advice}")
    return mask.marked


# --- the computation -----------------------------------------------------------------------


def _restore_and_save(job: _Job, task: _Task, *, as_json: bool, force: bool, quiet: bool) -> None:
    with interruptible() as interruption:
        result = _restored(job, task, interruption, quiet=quiet)
        interruption.hold()
        written, failures = job.outputs.write(job.picture, result, method=task.method, force=force)
        if written is not None:
            _report(job, task, result, written, as_json=as_json, quiet=quiet)
        if failures:
            raise ValueError("; ".join(failures))
    if result.status == "interrupted" and result.recipe is not None:
        typer.echo(f"interrupted: saved step {result.steps} of {result.recipe.steps}", err=True)
        raise typer.Exit(interrupted_status())
    if interruption.received:
        typer.echo(f"interrupted: {str(written)!r} was finished", err=True)
        raise typer.Exit(interrupted_status())


def _restored(job: _Job, task: _Task, interruption: Interruption, *, quiet: bool) -> "Denoised":
    # Only now, when no cheap check is left that could fail: torch takes seconds to import.
    from robustdip.recovery import denoise as recover

    with progress(job.name, quiet=quiet) as show:

        def on_step(step: "Step") -> None:
            interruption.check()
            show(step.number, step.steps)
            if step.number == step.steps:
                interruption.hold()  # a signal now would only lose the last step

        return recover(
            job.picture.pixels,
            method=task.method,
            mask=job.masks.mask,
            add_mask=job.masks.add_mask,
            protect=job.masks.protect,
            reference=job.clean,
            steps=task.steps,
            seed=task.seed,
            device=task.device,
            on_step=on_step,
        )


def _report(
    job: _Job, task: _Task, result: "Denoised", written: Path, *, as_json: bool, quiet: bool
) -> None:
    quality: dict[str, float | None] = {"psnr": None, "ssim": None}
    if job.clean is not None:
        quality = quality_of(job.clean, result.image)
    record = {
        "output": str(written),
        "status": result.status,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        **quality,
        "method": task.method,
        "recipe": None if result.recipe is None else result.recipe.name,
        "seed": result.seed,
        "device": result.device,
        "corrupted_fraction": float(result.mask.mean()),
    }
    typer.echo(json.dumps(record) if as_json else os.fsencode(written))
    if job.clean is not None and not quiet and not as_json:
        typer.echo(quality_lines(quality), err=True)
