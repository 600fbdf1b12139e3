"""A step of a fit and of a training while other processes compute: milliseconds, against idle.

    python -m benchmarks.images.contention [--side 256] [--seconds 6] [--repeats 3] [--quick]

Median of the steps of `robustdip.fit` (default recipe, random image) and of a training on labels
(`--method sop`, recipe `cpu`, random images of 32x32), each in a process of its own: with nothing
else, with another process that computes on one core, with one on every core, and two of a kind at
once. Each with one thread and with all, with `GOMP_SPINCOUNT` as the program sets it and as GNU
OpenMP does, and as the program chooses its threads. Run it on an idle machine. `--quick` is a try.
"""

import dataclasses
import itertools
import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from benchmarks.code_hash import ROOT
from benchmarks.logs import CONTENTION
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from overparam.cores import free_cores

JOBS = ("denoise", "labels")
LOADS = ("idle", "one core", "all cores", "two at once")
FEWEST = 3  # steps: a step may take seconds on a busy machine
HOG = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--seconds", type=float, default=6, help="of each measurement")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--quick", action="store_true", help="less than two minutes")
    options.add_argument("--child", choices=JOBS, help="for the script itself")
    args = parse(options)
    if args.child:
        child(args.child, side=args.side, seconds=args.seconds)
        return
    loads, repeats = LOADS, args.repeats

    cores = sorted(os.sched_getaffinity(0))
    # One thread waits for no other, however long it would spin.
    ways = [(1, "1000"), (len(cores), "1000"), (len(cores), "default"), ("chosen", "1000")]
    if args.quick:
        args.side, args.seconds, loads, repeats, ways = 128, 1, LOADS[:2], 1, ways[1::2]
    steps: dict[tuple, list[float]] = {}
    for _, job, load, way in itertools.product(range(repeats), JOBS, loads, ways):
        found = measured(job, load, way, cores=cores, side=args.side, seconds=args.seconds)
        steps.setdefault((job, load, way), []).extend(found)
        print(job, load, *way, f"{1000 * statistics.median(found):.1f} ms", flush=True)
    results = []
    for (job, load, (threads, spins)), found in steps.items():
        idle = statistics.median(steps[job, "idle", (len(cores), "1000")])
        middle = statistics.median(found)
        case = {"job": job, "load": load, "threads": threads, "spins": spins}
        results.append({**case, "ms": 1000 * middle, "ratio": middle / idle, "steps": len(found)})
        print(
            f"{job}, {load}, {threads} threads, {spins} spins: {1000 * middle:.1f} ms, "
            f"{middle / idle:.2f} of idle, {len(found)} steps"
        )
    CONTENTION.record("images", settings_of(args), {"cores": len(cores), "cases": results})


def measured(
    job: str, load: str, way: tuple, *, cores: list[int], side: int, seconds: float
) -> list[float]:
    """The seconds of the steps of one measurement."""
    threads, spins = way
    busy = {"one core": cores[:1], "all cores": cores}.get(load, [])
    with ExitStack() as stack:
        for core in busy:
            stack.enter_context(running([sys.executable, "-c", HOG, str(core)]))
        environment = {
            key: text
            for key, text in os.environ.items()
            if key not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT")
        }
        environment |= {} if spins == "default" else {"GOMP_SPINCOUNT": spins}
        command = [sys.executable, "-m", "benchmarks.images.contention", "--child", job]
        command += ["--side", str(side), "--seconds", str(seconds)]
        children = []
        for _ in range(2 if load == "two at once" else 1):
            chosen = free_cores() if threads == "chosen" else threads
            environment["OMP_NUM_THREADS"] = str(chosen)
            children.append(stack.enter_context(running(command, env=environment)))
            # The second of two looks for free cores while the first computes.
            if children[-1].stdout.readline() != b"ready\n":
                raise RuntimeError("the process that is measured did not start")
        for process in children:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        return [step for process in children for step in json.loads(process.stdout.readline())]


@contextmanager
def running(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """A process that is gone at the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes, **options) as process:
        try:
            yield process
        finally:
            process.kill()


class Enough(Exception):
    """The measurement is over."""


def child(job: str, *, side: int, seconds: float) -> None:
    """Print that it is ready, compute till a line comes, and print the seconds of later steps."""
    times: list[float] = []
    last = end = 0.0

    def on_step(_: object) -> None:
        nonlocal last, end
        now = time.perf_counter()
        if not last:
            print("ready", flush=True)
        elif end:
            times.append(now - last)
        elif select.select([sys.stdin], [], [], 0)[0]:
            end = now + seconds
        if end and now >= end and len(times) >= FEWEST:
            raise Enough
        last = now

    try:
        fit_on(side, on_step) if job == "denoise" else train(on_step)
    except Enough:
        print(json.dumps(times), flush=True)


def fit_on(side: int, on_step: Callable[[object], None]) -> None:
    from robustdip.fitting.loop import fit
    from robustdip.recipes import RECIPES

    image = np.random.default_rng(0).random((side, side, 3), dtype=np.float32)
    while True:
        for step in fit(image, RECIPES["default"], device="cpu"):
            on_step(step.loss)


def train(on_step: Callable[[object], None], batches: int = 8) -> None:
    from sop_classify.data.image_data import ImageData
    from sop_classify.methods.build import training_for
    from sop_classify.methods.catalogue import recipe_for

    recipe = dataclasses.replace(recipe_for("cpu", "sop"), epochs=10**6)
    rng = np.random.default_rng(0)
    number = batches * recipe.batch_size
    images = rng.integers(0, 256, (number, 32, 32, 3), np.uint8)
    labels = np.arange(number) % 10
    data = ImageData(images, labels, images[:10], labels[:10], tuple("abcdefghij"), "random")
    for _ in training_for(data, labels, recipe, device="cpu").epochs(on_batch=on_step):
        pass


if __name__ == "__main__":
    main()
