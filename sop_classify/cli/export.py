"""The command `export`: the model of a run as a file for other programs.

Only typer is imported here: `--help` answers before torch could be loaded.
"""

from pathlib import Path
from typing import Annotated

import typer

from overparam.terminal import exit_on_error
from sop_classify.cli.predict import RunFolder

__all__ = ["export"]


def export(
    run: RunFolder,
    onnx: Annotated[Path, typer.Option("--onnx", help="New file.")],
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    r"""Export the network of a run to ONNX.

    The input "images" is float32 (N, 3, H, W), RGB in [0, 1], any N; the network's
    normalisation is part of the graph. The output "probabilities" is (N, classes).
    Class names are in the metadata, as JSON, under "class_names". The file is
    compared with PyTorch before it is written. Needs pip install 'robustdip\[onnx]'.
    """
    with exit_on_error():
        from overparam.files import check_target, replace_file

        check_target(onnx, force=force, suffixes=(".onnx",))
        from sop_classify.runs.model import read_model
        from sop_classify.runs.onnx import onnx_bytes

        data, difference = onnx_bytes(read_model(run))
        replace_file(onnx, data)
        typer.echo(f"{onnx}: {len(data) / 1e6:.1f} MB, within {difference:.0e} of PyTorch")
