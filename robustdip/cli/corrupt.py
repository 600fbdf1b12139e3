"""The command `corrupt`: known damage on a clean image."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated

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
    save,
)
from robustdip.kinds import KINDS

__all__ = ["corrupt"]


def _known_kind(name: str) -> str:
    if name not in KINDS:
        raise typer.BadParameter(f"no kind {name!r}; there are {', '.join(KINDS)}")
    return name


def corrupt(
    image: Annotated[Path, path_argument(metavar="IMAGE", help="The clean image.")],
    output: Annotated[Path, path_option("--output", "-o", help="File for the corrupted image.")],
    kind: Annotated[
        str, typer.Option(metavar="KIND", callback=_known_kind, help=f"One of {', '.join(KINDS)}.")
    ] = "salt-and-pepper",
    amount: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of the samples, or of the area.")
    ] = 0.5,
    per_pixel: Annotated[
        bool, typer.Option("--per-pixel", help="Corrupt all channels of a pixel together.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
    force: Force = False,
) -> None:
    """Corrupt a clean image, to test `denoise` on it."""
    with exit_on_error():
        refuse_standard_streams([image, output])
        from robustdip.images.writing import check_output, image_bytes

        check_output(output, inputs=[image], force=force)
        source = picture_from(image)
        check_output(output, inputs=[image], force=force, image=source)

        import numpy as np

        from robustdip.images.picture import from_float, to_float
        from robustdip.synthetic import corrupt as corrupted

        noisy, mask = corrupted(
            to_float(source.pixels),
            kind,
            amount,
            rng=np.random.default_rng(seed),
            per_pixel=per_pixel,
        )
        pixels = from_float(noisy, source.pixels.dtype)
        data = image_bytes(output, dataclasses.replace(source, pixels=pixels))
        written = save(output, data, force=force)
        record = {"output": str(written), "kind": kind, "amount": amount, "per_pixel": per_pixel}
        record |= {"seed": seed, "corrupted_fraction": float(mask.mean())}
        typer.echo(json.dumps(record) if as_json else os.fsencode(written))
