"""The command line. Files in, files out; everything between is the library's.

Nothing heavier than typer is imported here: `--help` answers before torch could be loaded.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from overparam.terminal import errors, known_device, progress
from robustdip import __version__
from robustdip.methods import METHODS, check_method, names
from sop_classify.cli.compare_methods import compare_methods
from sop_classify.cli.train_cifar import train_cifar

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.reading import Picture
    from robustdip.recovery import Denoised

__all__ = ["app"]

app = typer.Typer(
    name="robustdip",
    help="Recover images, and train classifiers on labels, of which an unknown part is wrong.\n\n"
    "Try:  robustdip denoise corrupted.png\n\n"
    "      robustdip train-cifar --noise 0.2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

_ARRAYS = (".safetensors", ".npy")

# Whether a file can be read is for `read_image` to say: one line, of that IMAGE alone. Typer would
# make a usage error of it for all.
_path_argument = partial(typer.Argument, readable=False, show_default=False)
_path_option = partial(typer.Option, readable=False)

Kind = Literal["salt-and-pepper", "random-valued", "text", "scratches", "missing-lines"]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace outputs that exist.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of everything random.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        import torch

        from overparam.devices import pick_device

        device = pick_device("auto")
        typer.echo(f"robustdip {__version__}, torch {torch.__version__}, {device}")
        raise typer.Exit


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise typer.BadParameter(f"no method {name!r}; there are {', '.join(METHODS)}")
    return name


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="And exit.")
    ] = False,
) -> None:
    pass


@app.command()
def denoise(
    images: Annotated[list[Path], _path_argument(metavar="IMAGE...")],
    output: Annotated[
        Path | None, _path_option("--output", "-o", help="Result file; default NAME_denoised.png.")
    ] = None,
    out_dir: Annotated[
        Path | None, _path_option(help="Folder for the results, instead of beside the inputs.")
    ] = None,
    reference: Annotated[
        Path | None, _path_option(help="The clean image: reports PSNR and SSIM, guides nothing.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "--recipe",
            metavar="NAME",
            callback=_known_method,
            help=f"Fit of a network: {', '.join(names('fit'))}. "
            f"Classical: {', '.join(names('classical'))}. "
            f"Interpolation, needs --mask: {', '.join(names('interpolation'))}.",
        ),
    ] = "default",
    mask: Annotated[
        Path | None,
        _path_option(help="Image of the same size, not black where an element is known corrupted."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Gradient steps of a fit, instead of its own.")
    ] = None,
    seed: Seed = 0,
    device: Annotated[
        str, typer.Option(callback=known_device, help="auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    save_corruption: Annotated[
        Path | None, _path_option(help="s as .safetensors or .npy, or its size as an image.")
    ] = None,
    save_mask: Annotated[
        Path | None, _path_option(help="Image, white where an element was judged corrupted.")
    ] = None,
    save_uncertainty: Annotated[
        Path | None,
        _path_option(
            help="Standard deviation as .safetensors or .npy; or an image, white from a tenth of "
            "the range on."
        ),
    ] = None,
    compare: Annotated[
        Path | None, _path_option(help="Image of input, result and corruption side by side.")
    ] = None,
    as_json: Json = False,
    force: Force = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
) -> None:
    """Recover each IMAGE: nobody has to know how much is corrupted, where, or when to stop.

    If you do know where, give a --mask: all other elements are kept as they are. Ctrl-C saves the
    image so far.
    """
    save = {
        "corruption": save_corruption,
        "mask": save_mask,
        "uncertainty": save_uncertainty,
        "compare": compare,
    }
    extras = [path for path in save.values() if path is not None]
    if output is not None and out_dir is not None:
        raise typer.BadParameter("give -o or --out-dir, not both")
    if len(images) > 1 and (output is not None or reference is not None or extras):
        raise typer.BadParameter(
            "-o, --reference, --save-corruption, --save-mask, --save-uncertainty and --compare "
            "take one IMAGE"
        )
    with errors():
        jobs = [(image, output or _default_output(image, out_dir)) for image in images]
        check_method(
            method,
            mask=mask is not None,
            steps=steps,
            device=device,
            uncertainty=save_uncertainty is not None,
        )
        inputs = [*images, *(path for path in (reference, mask) if path is not None)]
        _require_distinct([target for _, target in jobs] + extras)
        _check_extras(save, inputs, force=force)
        known = None if mask is None else _read_mask(mask)
    options = {"method": method, "steps": steps, "seed": seed, "device": device}
    failed = False
    for image, target in jobs:
        try:
            with errors():
                _denoise_one(
                    image,
                    target,
                    inputs=inputs,
                    options=options,
                    mask=known,
                    reference=reference,
                    save=save,
                    as_json=as_json,
                    force=force,
                    quiet=quiet,
                )
        except typer.Exit as stop:
            if stop.exit_code != 1:
                raise
            failed = True  # one bad file must not stop the others
    if failed:
        raise typer.Exit(1)


@app.command()
def corrupt(
    image: Annotated[Path, _path_argument(metavar="IMAGE")],
    output: Annotated[Path, _path_option("--output", "-o", help="Where to write it.")],
    kind: Annotated[Kind, typer.Option(help="What to do to it.")] = "salt-and-pepper",
    amount: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of the elements, or of the area.")
    ] = 0.5,
    per_pixel: Annotated[
        bool, typer.Option("--per-pixel", help="All channels of a pixel together.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
    force: Force = False,
) -> None:
    """Corrupt an image on purpose, to try `denoise` on."""
    import dataclasses

    with errors():
        import numpy as np

        from robustdip.images.picture import from_float, to_float
        from robustdip.images.reading import check_output, read_image, write_image
        from robustdip.synthetic import corrupt as corrupt_array

        source = read_image(image)
        check_output(output, inputs=[image], force=force, image=source)
        noisy, mask = corrupt_array(
            to_float(source.pixels),
            kind,
            amount,
            rng=np.random.default_rng(seed),
            per_pixel=per_pixel,
        )
        pixels = from_float(noisy, source.pixels.dtype)
        write_image(output, dataclasses.replace(source, pixels=pixels))
    record = {"output": str(output), "kind": kind, "amount": amount, "per_pixel": per_pixel}
    record |= {"seed": seed, "corrupted_fraction": float(mask.mean())}
    typer.echo(json.dumps(record) if as_json else os.fsencode(output))


@app.command()
def compare(
    clean: Annotated[Path, _path_argument(metavar="CLEAN")],
    image: Annotated[Path, _path_argument(metavar="IMAGE")],
    as_json: Json = False,
) -> None:
    """PSNR and SSIM of IMAGE against CLEAN, alpha left aside."""
    with errors():
        from robustdip.images.reading import read_image

        quality = _quality(read_image(clean), read_image(image))
    if as_json:
        typer.echo(json.dumps(quality))
        return
    typer.echo(_quality_lines(quality))


def _denoise_one(
    image: Path,
    target: Path,
    *,
    inputs: list[Path],
    options: dict[str, Any],
    mask: "np.ndarray | None",
    reference: Path | None,
    save: dict[str, Path | None],
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    import dataclasses

    from robustdip.images.reading import check_output, read_image, write_image

    source = read_image(image)
    check_output(target, inputs=inputs, force=force, image=source)
    clean = None if reference is None else _like(source, read_image(reference))
    if mask is not None:
        mask = _mask_like(source, mask)

    # Only now, when nothing cheap is left to go wrong.
    from robustdip.recovery import denoise as recover

    with progress(image.name, quiet=quiet) as show:
        result = recover(
            source.pixels,
            mask=mask,
            reference=clean,
            on_step=lambda step: show(step.number, step.steps),
            **options,
        )
    restored = dataclasses.replace(source, pixels=result.image)
    write_image(target, restored)
    _save_extras(save, source, result)

    quality: dict[str, float | None] = {"psnr": None, "ssim": None}
    if clean is not None:
        quality = _quality_of(clean, result.image)
    record = {
        "output": str(target),
        "status": result.status,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        **quality,
        "method": options["method"],
        "recipe": None if result.recipe is None else result.recipe.name,
        "seed": result.seed,
        "device": result.device,
        "corrupted_fraction": float(result.mask.mean()),
    }
    typer.echo(json.dumps(record) if as_json else os.fsencode(target))
    if clean is not None and not quiet and not as_json:
        typer.echo(_quality_lines(quality), err=True)
    if result.status == "interrupted":
        if not quiet and result.recipe is not None:
            typer.echo(f"interrupted: saved step {result.steps} of {result.recipe.steps}", err=True)
        raise typer.Exit(130)


def _default_output(image: Path, folder: Path | None) -> Path:
    """NAME_denoised.png beside the input or in the folder."""
    return (folder or image.parent) / f"{image.stem}_denoised.png"


def _require_distinct(paths: list[Path]) -> None:
    seen: set[str] = set()
    for path in paths:
        name = os.path.join(os.path.realpath(path.parent), path.name)
        if name in seen:
            raise ValueError(f"two results would be written to {str(path)!r}; name them apart")
        seen.add(name)


def _like(source: "Picture", clean: "Picture") -> "np.ndarray":
    """The reference's pixels as floats, of the source's shape; one line if they do not match."""
    from robustdip.images.picture import to_float

    if clean.pixels.shape != source.pixels.shape:
        raise ValueError(
            f"the clean image has shape {clean.pixels.shape}, the other {source.pixels.shape}; "
            "they must agree in size and in being grey or colour"
        )
    return to_float(clean.pixels)


def _read_mask(path: Path) -> "np.ndarray":
    """True where a sample of the image is not zero."""
    from robustdip.images.reading import read_image

    return read_image(path).pixels > 0


def _mask_like(source: "Picture", mask: "np.ndarray") -> "np.ndarray":
    """The mask for the source; one line, before torch is loaded, if it has another size."""
    shape = source.pixels.shape
    if mask.shape[:2] != shape[:2]:
        raise ValueError(f"the mask has shape {mask.shape}, the image {shape}; make them agree")
    return mask.max(axis=2) if mask.ndim > len(shape) else mask  # many programs save grey as RGB


def _quality(clean: "Picture", image: "Picture") -> dict[str, float | None]:
    return _quality_of(_like(image, clean), image.pixels)


def _quality_of(clean: "np.ndarray", pixels: "np.ndarray") -> dict[str, float | None]:
    """`psnr` (None, for JSON has no infinity, if identical) and `ssim` of what the file holds."""
    import math

    from robustdip.images.picture import to_float
    from robustdip.quality import psnr, ssim

    image = to_float(pixels)
    value = psnr(clean, image)
    return {"psnr": value if math.isfinite(value) else None, "ssim": ssim(clean, image)}


def _quality_lines(quality: dict[str, float | None]) -> str:
    psnr, ssim = quality["psnr"], quality["ssim"]
    return "PSNR {}\nSSIM {}".format(
        "infinite (equal pixels)" if psnr is None else f"{psnr:.2f} dB",
        "not defined below 11 pixels" if ssim is None else f"{ssim:.4f}",
    )


def _check_extras(save: dict[str, Path | None], inputs: list[Path], *, force: bool) -> None:
    from overparam.files import check_target
    from robustdip.images.reading import check_output

    for what, path in save.items():
        floats = what in ("corruption", "uncertainty")
        if path is not None and floats and path.suffix.lower() in _ARRAYS:
            check_target(path, inputs=inputs, force=force)
        elif path is not None:
            check_output(path, inputs=inputs, force=force)


def _save_extras(save: dict[str, Path | None], source: "Picture", result: "Denoised") -> None:
    import numpy as np

    from overparam.files import replace_file
    from robustdip.images.picture import from_float, side_by_side
    from robustdip.images.reading import write_image

    size = from_float(np.abs(result.corruption), np.uint8)
    maps = {"corruption": (result.corruption, size)}
    if result.uncertainty is not None:
        shown = from_float((10 * result.uncertainty).clip(0, 1), np.uint8)
        maps["uncertainty"] = (result.uncertainty, shown)
    for what, (values, picture) in maps.items():
        path = save[what]
        if path is not None and path.suffix.lower() in _ARRAYS:
            replace_file(path, _array_bytes(path, what, values))
        elif path is not None:
            write_image(path, picture)
    if save["mask"] is not None:
        write_image(save["mask"], result.mask.astype(np.uint8) * 255)
    if save["compare"] is not None:
        write_image(save["compare"], side_by_side([source.pixels, result.image, size]))


def _array_bytes(path: Path, name: str, array: "np.ndarray") -> bytes:
    import io

    import numpy as np

    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array)})


app.command("train-cifar")(train_cifar)
app.command("compare-methods")(compare_methods)


if __name__ == "__main__":
    app()
