"""The command `make-example-labels`: real images, a known part of them in wrong class folders.

Only typer and the standard library are imported here: `--help` answers at once.
"""

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer

from overparam.terminal import exit_on_error
from sop_classify.cli.options import one_of

__all__ = ["make_example_labels"]

_KINDS = ("symmetric", "pairs", "second-choice")
# Digits that look alike, each into the other.
_PAIRS = {1: 7, 7: 1, 3: 8, 8: 3, 4: 9, 9: 4, 5: 6, 6: 5}


def make_example_labels(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the images.")],
    errors_: Annotated[
        str,
        typer.Option(
            "--errors",
            help="Which class a wrong label is: any, one that looks alike, or the one that a weak "
            "classifier takes the image for.",
            **one_of("kind of errors", _KINDS),
        ),
    ] = "symmetric",
    rate: Annotated[
        float, typer.Option(help="Fraction of the labels to make wrong, in [0, 1).")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the errors.")] = 0,
) -> None:
    """Make a folder of 1,797 handwritten digits in which some labels are wrong.

    To try find-label-errors. The digits are those of scikit-learn. OUT-truth.csv, beside
    the folder, has the true labels.
    """
    with exit_on_error():
        from overparam.checks import check_real
        from overparam.files import (
            FileError,
            check_target,
            file_errors,
            replace_file,
            unfinished,
        )

        check_real("rate", rate, least=0, below=1)
        with file_errors("write", out):
            if out.exists():
                raise FileError("it exists already; choose another name")
        truth = out.with_name(f"{out.name}-truth.csv")
        check_target(truth)
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise ValueError(
                "the digits are those of scikit-learn; install it: pip install scikit-learn"
            ) from None
        import numpy as np
        from PIL import Image

        from sop_classify.labels import synthetic

        digits: Any = load_digits()
        images = np.rint(digits.images * 255 / 16).astype(np.uint8)
        labels, rng = digits.target.astype(np.int64), np.random.default_rng(seed)
        if errors_ == "symmetric":
            given = synthetic.symmetric_noise(labels, rate, 10, rng=rng)
        elif errors_ == "pairs":
            given = synthetic.asymmetric_noise(labels, rate, 10, mapping=_PAIRS, rng=rng)
        else:
            given = synthetic.second_choice_noise(images[..., None], labels, rate, 10, rng=rng)
        rows = [("path", "label", "given")]
        rows += [
            (f"{wrong}/{at:04}.png", str(true), str(wrong))
            for at, (true, wrong) in enumerate(zip(labels, given, strict=True))
        ]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        folders = [out / str(label) for label in range(10)]
        files = [out / path for path, *_ in rows[1:]]
        with file_errors("write", out), unfinished(out, *folders, *files):
            out.mkdir()
            for folder in folders:
                folder.mkdir()
            for file, image in zip(files, images, strict=True):
                Image.fromarray(image).save(file)
            replace_file(truth, text.getvalue().encode())
        wrong = int((given != labels).sum())
        typer.echo(f"{wrong} of {len(labels)} labels are wrong: {out}, the truth in {truth}")
