"""Peak memory of a fit, measured in a process of its own, beside what `memory_needed` foretells.

python -m benchmarks.images.memory
"""

import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np

from benchmarks.record import write_record
from robustdip.fitting.loop import fit
from robustdip.recipes import RECIPES
from robustdip.recovery import memory_needed

CASES = [
    (recipe, side, width)
    for recipe in ("default", "paper")
    for side, width in ((128, 64), (256, 64), (512, 64), (256, 128), (512, 128))
]


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name: str, side: int, width: int) -> int:
    """Bytes that the process grew by over four steps, the last of which grows s."""
    recipe = replace(RECIPES[name], width=width, steps=4)
    before = peak()
    for step in fit(np.random.default_rng(0).random((side, side, 3), dtype=np.float32), recipe):
        _ = step.image
    return peak() - before


def main() -> None:
    if len(sys.argv) > 1:
        print(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        return
    results = []
    for name, side, width in CASES:
        command = [sys.executable, __file__, name, str(side), str(width)]
        grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        foretold = memory_needed((side, side, 3), replace(RECIPES[name], width=width))
        results.append({"recipe": name, "side": side, "width": width, "bytes": grown})
        print(f"{name} {side} {width}: {grown / 1e6:.0f} MB, foretold {foretold / 1e6:.0f} MB")
    write_record("memory", {"steps": 4}, results)


if __name__ == "__main__":
    main()
