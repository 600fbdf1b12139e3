"""The program: the commands of both packages, run as `robustdip` or `python -m robustdip`.

At the top nothing is imported but what answers a signal: typer takes a tenth of a second.
"""

import sys
from typing import TYPE_CHECKING

from overparam import program

if TYPE_CHECKING:
    import typer

__all__ = ["commands", "main"]


def main() -> None:
    """Run the command line, and exit."""
    sys.exit(program.run(_run))


def _run() -> None:
    if "" in sys.argv[1:]:  # as a path it would be the current folder
        print("error: an argument is empty; is a variable of the shell not set?", file=sys.stderr)
        sys.exit(1)
    commands()()


def commands() -> "typer.Typer":
    """Gather the commands of both packages in one program."""
    import typer

    from robustdip.cli.compare import compare
    from robustdip.cli.corrupt import corrupt
    from robustdip.cli.denoise import denoise
    from robustdip.cli.options import Version
    from sop_classify.cli.apply_corrections import apply_corrections
    from sop_classify.cli.compare_methods import compare_methods
    from sop_classify.cli.export import export
    from sop_classify.cli.find_label_errors import find_label_errors
    from sop_classify.cli.make_example_labels import make_example_labels
    from sop_classify.cli.predict import predict
    from sop_classify.cli.train import train
    from sop_classify.cli.train_cifar import train_cifar

    app = typer.Typer(
        name="robustdip",
        help="Restore damaged images, and train classifiers on partly wrong labels.\n\n"
        "Try:  robustdip denoise corrupted.png\n\n"
        "      robustdip train-cifar --noise 0.2",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(version: Version = False) -> None:
        pass

    for command in (
        *(denoise, corrupt, compare, train_cifar, compare_methods),
        *(find_label_errors, apply_corrections, make_example_labels),
        *(train, predict, export),
    ):
        app.command(command.__name__.replace("_", "-"))(command)
    return app


if __name__ == "__main__":
    main()
