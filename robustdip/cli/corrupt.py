"""The command `corrupt`: known damage on a clean image."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from overparam.terminal import exit_on_error
from robustdip.cli.options import (
    Force,
    Json,
    Seed,
    path_argument,
    path_option,
    picture_from,
    refuse_standard_streams,
)
from robustdip.cli.outputs import (
    check_array_or_image,
    map_bytes,
    require_distinct,
    save_all,
)
from robustdip.kinds import KINDS
from robustdip.processing import Resize, apply, parse_step, usage

if TYPE_CHECKING:
    from robustdip.images.picture import Picture

__all__ = ["corrupt"]


def _known_kind(name: str) -> str:
    if name not in KINDS:
        raise typer.BadParameter(f"no kind {name!r}; there are {', '.join(KINDS)}")
    return name


def _below_one(threshold: float | None) -> float | None:
    if threshold is not None and not 0 <= threshold < 1:  # no difference is above 1
        raise typer.BadParameter(f"{threshold:g} is not in [0, 1): from 0, and below 1")
    return threshold


def _known_steps(texts: list[str]) -> list[str]:
    for text in texts:
        try:
            parse_step(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return texts


def corrupt(
    image: Annotated[Path, path_argument(metavar="IMAGE", help="The clean image.")],
    output: Annotated[Path, path_option("--output", "-o", help="File for the corrupted image.")],
    kind: Annotated[
        str, typer.Option(metavar="KIND", callback=_known_kind, help=f"One of {', '.join(KINDS)}.")
    ] = "salt-and-pepper",
    amount: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of the samples, or of the area.")
    ] = 0.5,
    then: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP",
            callback=lambda texts: _known_steps(texts or []),
            help=f"What happens afterwards: {usage()}. May be repeated; the order counts.",
        ),
    ] = None,
    per_pixel: Annotated[
        bool, typer.Option("--per-pixel", help="Corrupt all channels of a pixel together.")
    ] = False,
    seed: Seed = 0,
    save_clean: Annotated[
        Path | None,
        path_option(help="Save what the output would be without the damage: the clean reference."),
    ] = None,
    save_mask: Annotated[
        Path | None,
        path_option(help="Save an image that is white where output and clean reference differ."),
    ] = None,
    save_difference: Annotated[
        Path | None,
        path_option(
            help="Save output minus clean reference: as .safetensors or .npy, or its size as an "
            "image."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="<float range> [0<=x<1]",
            callback=_below_one,
            help="Difference above which the mask is white, as a fraction of the range.",
            show_default="0; with --then 8/255",
        ),
    ] = None,
    as_json: Json = False,
    force: Force = False,
) -> None:
    """Corrupt a clean image, to test `denoise` on it.

    With --then the result is processed as files are: --kind hair --then resize:0.5 --then jpeg:85.
    The clean reference is processed in the same way.
    """
    with exit_on_error():
        images = [path for path in (output, save_clean, save_mask) if path is not None]
        wanted = [*images, *([] if save_difference is None else [save_difference])]
        refuse_standard_streams([image, *wanted])
        require_distinct(wanted)
        from robustdip.images.writing import check_output, image_bytes

        def check(made: "Picture | None" = None, truth: "Picture | None" = None) -> None:
            for path in (output, save_clean):
                if path is not None:
                    check_output(path, inputs=[image], force=force, image=made)
            if save_mask is not None:
                check_output(save_mask, inputs=[image], force=force, image=truth)
            if save_difference is not None:
                check_array_or_image(save_difference, inputs=[image], force=force, image=truth)

        check()
        source = picture_from(image)
        steps = [parse_step(step) for step in then or []]
        resizing = [step for step in steps if isinstance(step, Resize)]
        check(*_blank(source, resizing))

        import numpy as np

        from robustdip.images.picture import from_float, to_float
        from robustdip.synthetic import Damaged, damage

        bad = None if source.numbers is None else source.numbers.bad
        if source.numbers is not None and bad is not None:
            if steps:
                raise ValueError(
                    f"{int(bad.sum())} values of {str(image)!r} are missing (NaN), which --then "
                    "would spread; fill them first"
                )
            numbers = dataclasses.replace(source.numbers, keeps_bad=True)
            source = dataclasses.replace(source, numbers=numbers)
        white = source.white
        exact = damage(
            to_float(source.pixels, white=white),
            kind,
            amount=amount,
            then=steps,
            seed=seed,
            per_pixel=per_pixel,
            threshold=threshold,
        )
        alpha = source.alpha
        if alpha is not None:  # nothing but its size changes
            alpha = from_float(apply(to_float(alpha), resizing), alpha.dtype)

        def as_file(values: np.ndarray) -> "Picture":
            pixels = from_float(values, source.pixels.dtype, white=white)
            return dataclasses.replace(source, pixels=pixels, alpha=alpha)

        noisy, clean = as_file(exact.image), as_file(exact.clean)
        # The truth about the files, whose samples are rounded.
        damaged, whole = (to_float(made.pixels, white=white) for made in (noisy, clean))
        truth = Damaged(damaged, whole, exact.threshold)
        mask = truth.mask if bad is None else truth.mask & ~bad
        difference = truth.difference if bad is None else np.where(bad, 0, truth.difference)
        files = [(output, image_bytes(output, noisy))]
        if save_clean is not None:
            files.append((save_clean, image_bytes(save_clean, clean)))
        if save_mask is not None:
            files.append((save_mask, image_bytes(save_mask, mask.astype(np.uint8) * 255)))
        if save_difference is not None:
            size = from_float(np.abs(difference), np.uint8)
            data = map_bytes(save_difference, "difference", source.unit * difference, size)
            files.append((save_difference, data))
        (written, *_), failures = save_all(files, force=force, source=image)
        record = {"output": str(written), "kind": kind, "amount": amount, "then": then or []}
        record |= {"per_pixel": per_pixel, "seed": seed, "threshold": truth.threshold}
        record |= {"corrupted_fraction": float(mask.mean())}
        if written is not None:
            typer.echo(json.dumps(record) if as_json else os.fsencode(written))
        if failures:
            raise ValueError("; ".join(failures))


def _blank(source: "Picture", resizing: list[Resize]) -> "tuple[Picture, Picture]":
    """Pictures without content of what will be written: the result, and the truth about it."""
    import numpy as np

    from robustdip.images.picture import Picture

    height, width = source.pixels.shape[:2]
    size = (  # each side is resized alone
        apply(np.zeros((height, 1), np.float32), resizing).shape[0],
        apply(np.zeros((1, width), np.float32), resizing).shape[1],
    )
    shape = (*size, *source.pixels.shape[2:])
    pixels = np.broadcast_to(source.pixels.dtype.type(0), shape)  # takes no memory
    alpha = None if source.alpha is None else np.broadcast_to(source.alpha.dtype.type(0), size)
    made = dataclasses.replace(source, pixels=pixels, alpha=alpha)
    return made, Picture(np.broadcast_to(np.uint8(0), shape))
