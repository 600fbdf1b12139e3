"""The command `denoise`: its options, what contradicts in them, and who does the work."""

import dataclasses
import math
import os
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from overparam.terminal import exit_on_error, known_device
from overparam.words import counted
from robustdip.cli.job import Task, default_path, read_job, without_earlier_results
from robustdip.cli.manifest import results_in
from robustdip.cli.masks import MaskFiles, nothing_missing
from robustdip.cli.one import restore_one
from robustdip.cli.options import (
    Extension,
    Force,
    Quiet,
    Seed,
    path_argument,
    path_option,
    refuse_standard_streams,
)
from robustdip.cli.outputs import Outputs, check_array_or_image, require_distinct
from robustdip.cli.remarks import WARNING, say
from robustdip.cli.shared_mask import DEFECT_SIZE, find_shared, frames_that_fit, save_shared
from robustdip.cli.sources import find_sources, results_of
from robustdip.cli.standard_streams import (
    STREAM,
    by_its_name,
    named_by_user,
    require_no_terminal,
    scratch_folder,
    standard_input,
)
from robustdip.methods import METHODS, check_method, names
from robustdip.told import DAMAGE, LARGEST_SIZE, Told

__all__ = ["denoise"]


def _known_method(name: str | None) -> str | None:
    if name is not None and name not in METHODS:
        raise typer.BadParameter(f"no method {name!r}; there are {', '.join(METHODS)}")
    return name


def _known_damage(words: list[str] | None) -> list[str] | None:
    _told(damage=words or "auto")
    return words


def _known_engine(name: str) -> str:
    if name not in ("local", "ray"):
        raise typer.BadParameter(f"no engine {name!r}; there are local, ray")
    return name


def _known_side(only: str | None) -> str | None:
    _told(only=only)
    return only


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number; what is not finite counts anyway")
    return value


def _told(**facts: Any) -> Told:
    """What is told about the damage; a word that is not known is wrong usage."""
    try:
        return Told(**facts)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def denoise(
    images: Annotated[
        list[Path] | None,
        path_argument(
            metavar="IMAGE",
            help="PNG, JPEG, TIFF, WebP, BMP, PPM, .npy or FITS; a folder, for all that is in it; "
            "a pattern in quotes, such as 'scans/*.png'; or '-', standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        path_option(
            "--output",
            "-o",
            help="File for the result; '-' is standard output.",
            show_default="NAME_denoised.png",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        path_option(help="Folder for the results.", show_default="the folder of each IMAGE"),
    ] = None,
    from_file: Annotated[
        Path | None,
        path_option(
            help="A list of further IMAGEs, files or folders, one a line; '-' is standard input."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="Processes that restore several IMAGEs side by side, each on one thread.",
            show_default="the cores that are free, or one a GPU",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            callback=_known_engine,
            help="What runs them: this machine, or a Ray cluster (RAY_ADDRESS).",
        ),
    ] = "local",
    gpu_fraction: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="With --engine ray: the part of a GPU that each IMAGE takes.",
            show_default="1 where there are GPUs",
        ),
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
        float | None,
        typer.Option(
            min=1,
            max=200,
            help="Width in pixels of the largest defects that --shared-mask looks for.",
            show_default=f"{DEFECT_SIZE:g}",
        ),
    ] = None,
    no_data: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE",
            callback=_finite,
            help="The value that stands for missing data, such as 0 of depth or -9999 of "
            "elevation: where all channels of a pixel have it, it is restored. NaN always is.",
        ),
    ] = None,
    extension: Extension = None,
    damage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            callback=_known_damage,
            help="What is wrong, if you know it; several may be given. "
            + "; ".join(f"{name}: {words}" for name, words in DAMAGE.items())
            + ".",
            show_default="auto",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(min=-1, max=1, help="From -1, removes too little, to 1, removes too much."),
    ] = 0.0,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="bright|dark",
            callback=_known_side,
            help="Remove only what is brighter, or darker, than the picture.",
        ),
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=LARGEST_SIZE,
            help="Width in pixels of the widest stroke, line or blob to remove.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Gradient steps of a fit.", show_default="the method's"),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=64,
            metavar="PIXELS",
            help="Largest side of what is fitted at once. Larger pictures are fitted in tiles that "
            "overlap, and those in which nothing wrong is seen are kept as they are.",
            show_default="512 above a megapixel, about 290 with dense damage",
        ),
    ] = None,
    every_tile: Annotated[
        bool,
        typer.Option("--every-tile", help="Fit tiles in which nothing wrong is seen too."),
    ] = False,
    seed: Seed = 0,
    device: Annotated[
        str,
        typer.Option(
            callback=known_device, help="Where a fit is computed: auto, cpu, cuda, cuda:N or mps."
        ),
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
        path_option(
            help="Save an .html page to look at: before and after, damage, curves. Of many IMAGEs, "
            "with --out-dir: all of them, small, with what became of each."
        ),
    ] = None,
    report_each: Annotated[
        bool,
        typer.Option(
            "--report-each", help="Of many IMAGEs: such a page of each too, beside its result."
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object on stdout, of many IMAGEs one a line."),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Restore each IMAGE. The amount and the place of the damage need not be known.

    If you know the place, give a --mask: all other samples are kept as they are. If you know some
    of it, correct what --save-mask found: --add-mask is damaged too, --protect is not. Ctrl-C saves
    the image as it is after the last finished step.

    Many: denoise DIR --out-dir OUT restores the images of DIR and its folders side by side; started
    again, it goes on where it was stopped.
    """
    extras = [save_corruption, save_mask, save_uncertainty, compare, save_overlay]
    named = images or []
    _demand(named or from_file, "give an IMAGE, a folder or a pattern, or --from-file")
    _demand(output is None or out_dir is None, "give -o or --out-dir, not both")
    _demand(
        mask is None or (add_mask is None and protect is None),
        "--mask decides every sample; give it without --add-mask and --protect",
    )
    _demand(
        save_defects is None or shared_mask,
        "--save-defects saves what --shared-mask finds; give both",
    )
    _demand(
        defect_size is None or shared_mask,
        "--defect-size is that of the defects that --shared-mask finds; give both",
    )
    _demand(not shared_mask or defects is None, "give --shared-mask or --defects, not both")
    told = _told(damage=damage or "auto", strength=strength, only=only, max_size=max_size)
    _demand(
        mask is None or not told.anything,
        "--mask says where the damage is; give it without --damage, --strength, --only and "
        "--max-size",
    )
    task = Task(
        method=recipe or method,
        told=told,
        steps=steps,
        seed=seed,
        device=device,
        extension=extension,
        no_data=no_data,
        tile=tile,
        every_tile=every_tile,
    )
    with exit_on_error(), ExitStack() as stack:
        found = find_sources(named, listed=from_file, out_dir=out_dir)
        paths = [source.path for source in found.pictures]
        many = found.collected or len(paths) > 1
        _demand(
            not many or all(path is None for path in (output, reference, *extras)),
            "-o, --reference, --save-corruption, --save-mask, --save-uncertainty, --compare and "
            "--save-overlay take one IMAGE",
        )
        _demand(
            not many or report is None or out_dir is not None,
            "--report of many IMAGEs needs --out-dir",
        )
        _demand(many or engine != "ray", "--engine ray takes many IMAGEs; a folder may hold one")
        _demand(
            gpu_fraction is None or engine == "ray", "--gpu-fraction is for --engine ray; give both"
        )
        _demand(
            many or not report_each, "--report-each takes many IMAGEs; give --report FILE for one"
        )
        _demand(
            STREAM not in paths or not (many or out_dir is not None),
            "'-' is one IMAGE, on standard input; give it with -o",
        )
        printed = output == STREAM or (STREAM in paths and output is None)
        if printed or STREAM in paths:
            scratch = stack.enter_context(scratch_folder())
            if printed:
                require_no_terminal()
            if STREAM in paths:
                paths = [standard_input(scratch)]
                stack.enter_context(by_its_name(paths[0]))
            if printed:
                output = scratch / default_path(paths[0], None).name
        if output is not None:
            _refuse_folder(output)
        results = results_of(found, out_dir) if output is None else [output]
        pages = [result.with_suffix(".html") if report_each else None for result in results]
        outputs = [
            Outputs(result, *extras, report=page if many else report)
            for result, page in zip(results, pages, strict=True)
        ]
        earlier = results_in(out_dir) if out_dir is not None and found.collected else ()
        jobs = list(without_earlier_results(paths, outputs, earlier=earlier))
        mapped = shared_mask or defects is not None
        # A method that judges the other samples is told of the map; others take it as their mask.
        exact = mask is not None or not METHODS[task.method].takes_certain
        check_method(
            task.method,
            mask=mask is not None or (mapped and exact) or _mask_may_follow(task, paths),
            certain=not (add_mask is None and protect is None) or (mapped and not exact),
            told=task.told.anything,
            steps=steps,
            device=device,
            uncertainty=save_uncertainty is not None,
            tiles=tile is not None or every_tile,
        )
        written = [path for _, made in jobs for path in made.paths()]
        overview = report if many else None
        require_distinct([*written, *(path for path in (save_defects, overview) if path)])
        others = [path for path in (reference, mask, add_mask, protect, defects) if path]
        inputs = [*(image for image, _ in jobs), *others]
        refuse_standard_streams(inputs)
        remarks: list[str] = []
        files = MaskFiles(mask, add_mask, protect, defects, exact)
        masks = files.read(remarks)
        if save_defects is not None:
            refuse_standard_streams([save_defects])
            check_array_or_image(save_defects, inputs=inputs, force=force)
        if shared_mask:
            if out_dir is None:
                for _, made in jobs:
                    made.check(inputs, force=force)
            elif not found.collected:  # else it is made, and says what an earlier run has finished
                _require_folder(out_dir)
            frames = [image for image, _ in jobs]
            fitting = frames_that_fit(frames, extension=task.fits_extension)
            if len(fitting) < len(frames):
                remarks.append(
                    f"the map is of {len(fitting)} of the {len(frames)} images: more do not fit "
                    "into memory at once"
                )
            shared = find_shared(
                fitting, extension=task.fits_extension, max_size=defect_size or DEFECT_SIZE
            )
            wrong = int((shared > 0.5).sum())
            remarks.append(f"{counted(wrong, 'pixel is', 'pixels are')} wrong in all images")
            path = stack.enter_context(scratch_folder()) / "defects.npy"
            save_shared(shared, path, wanted=save_defects, force=force)
            files = dataclasses.replace(files, defects=path)
        # On Ray also the one that is left of several: `denoise *.png` once more.
        if found.collected or len(jobs) > 1 or overview is not None or engine == "ray":
            # Not before: what starts processes takes a while to import.
            from robustdip.cli.many import restore_many

            say(remarks, quiet=quiet)
            restore_many(
                jobs,
                task,
                files,
                out_dir=out_dir,
                make_folders=found.collected,
                report=overview,
                workers=workers,
                engine=engine,
                gpu_fraction=gpu_fraction,
                as_json=as_json,
                force=force,
                quiet=quiet,
                passed_over=found.passed_over(),
            )
            return
        if workers is not None:
            remarks.append("--workers is for several images; one has the cores that are free")
        for image, made in jobs:
            job = read_job(
                image, made, task, masks, inputs=inputs, force=force, reference=reference
            )
            if nothing_missing(job.pages, task.no_data):
                name = str(named_by_user(image))
                remarks.append(f"{WARNING}no value of {name!r} is {task.no_data:g}")
            say(remarks, quiet=quiet)
            restore_one(job, task, as_json=as_json, force=force, quiet=quiet, printed=printed)


def _demand(kept: object, message: str) -> None:
    """Refuse a command whose options contradict each other: wrong usage, exit status 2."""
    if not kept:
        raise typer.BadParameter(message)


def _require_folder(folder: Path) -> None:
    from overparam.files import require_folder

    require_folder(folder)


def _refuse_folder(output: Path) -> None:
    """Say of `-o FOLDER` which option takes one."""
    from overparam.files import FileError, file_errors

    if os.path.isdir(output) and not os.path.islink(output):
        with file_errors("write", output):
            folder = shlex.quote(str(output))
            raise FileError(f"it is a folder; name a file in it, or give --out-dir {folder}")


def _mask_may_follow(task: Task, paths: list[Path]) -> bool:
    """Whether a method that needs a mask may find one in the files: what is missing or NaN."""
    from robustdip.images.numeric import may_hold_nan

    if not METHODS[task.method].needs_mask:
        return False
    return task.no_data is not None or any(map(may_hold_nan, paths))
