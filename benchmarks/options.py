"""The options that all measurements share."""

import argparse

import torch

from overparam.program import keep_memory


def parser(doc: str | None, *, device: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of the script.

    Parameters
    ----------
    doc : str or None
        `__doc__` of the script.
    device : str, optional
        The default of ``--device``; without it there is no such option.
    """
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_machine(made, device=device)
    return made


def add_machine(parser: argparse.ArgumentParser, *, device: str | None = None) -> None:
    """Add ``--threads`` and ``--device``."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    if device is not None:
        parser.add_argument("--device", default=device, help="auto, cpu, cuda or cuda:N")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line, and set the number of threads and what the program sets of memory."""
    args = parser.parse_args()
    keep_memory()
    torch.set_num_threads(args.threads)
    return args
