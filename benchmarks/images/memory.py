"""Peak memory of a fit, measured in a process of its own, beside what `memory_needed` predicts.

python -m benchmarks.images.memory [--threads 2]
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.logs import MEMORY
from benchmarks.options import parse, parser
from robustdip.fitting.loop import fit
from robustdip.fitting.memory import memory_needed
from robustdip.recipes import RECIPES

STEPS = 4  # the last of which grows s
CASES = [
    (recipe, side, width)
    for recipe in ("default", "paper")
    for side, width in ((128, 64), (256, 64), (512, 64), (256, 128), (512, 128))
]


def main() -> None:
    parse(parser(__doc__))
    for name, side, width in CASES:
        grown = isolated(measure, name, side, width)
        needed = memory_needed((side, side, 3), replace(RECIPES[name], width=width))
        settings = {"recipe": name, "side": side, "width": width, "steps": STEPS}
        MEMORY.record("images", settings, {"bytes": grown, "predicted_bytes": needed})
        print(f"{name} {side} {width}: {grown / 1e6:.0f} MB, predicted {needed / 1e6:.0f} MB")


def measure(name: str, side: int, width: int) -> int:
    """Bytes by which this process grows over a few steps."""
    recipe = replace(RECIPES[name], width=width, steps=STEPS)
    # The first step of an optimizer loads torch's compiler, which is no memory of the fit.
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0).step()
    before = peak()
    for step in fit(np.random.default_rng(0).random((side, side, 3), dtype=np.float32), recipe):
        _ = step.image
    return peak() - before


def peak() -> int:
    """The most bytes of memory that this process has held, by Linux's own account.

    `getrusage` would begin with what the process that started this one has held.
    """
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, with as many threads as this one."""
    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(torch.get_num_threads(),),
    ) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
