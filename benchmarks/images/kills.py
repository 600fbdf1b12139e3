"""The run of a folder is killed at random moments and resumed, with the results of one run.

    python -m benchmarks.images.kills [--kills 20] [--pictures 4] [--side 48] [--steps 40]

A run of `denoise` over a folder is killed (SIGKILL) at a random moment between its start and a
tenth after the time that an undisturbed run took; the next one goes on where it was. A run that
comes to its end is followed by one in an empty folder. After every kill each result that is there
must have the bytes of the undisturbed run, and in the end all must be there; else it fails.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.code_hash import ROOT
from benchmarks.images.folder import pictures
from benchmarks.logs import KILLS
from benchmarks.options import parse, parser
from benchmarks.record import settings_of


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--pictures", type=int, default=4)
    options.add_argument("--side", type=int, default=48)
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--method", default="default")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    args = parse(options)

    how = ["--method", args.method, "--workers", str(args.workers)]
    if args.method in ("default", "fast", "best"):
        how += ["--steps", str(args.steps), "--device", "cpu"]
    with tempfile.TemporaryDirectory() as name:
        pictures(Path(name) / "in", count=args.pictures, side=args.side)
        results = killed_and_resumed(
            Path(name) / "in", Path(name), how, kills=args.kills, seed=args.seed
        )
    finished = [kill["finished"] for kill in results["kills"]]
    print(f"{len(finished)} kills with {finished} pictures finished: the same bytes in the end")
    KILLS.record("images", settings_of(args), results)


def killed_and_resumed(
    root: Path, folder: Path, how: Sequence[str], *, kills: int, seed: int
) -> dict:
    """Kill and resume runs over the pictures of `root`, with results in `folder`.

    Returns the seconds of an undisturbed run, and of each kill the seconds after which it came and
    how many pictures were finished then. SystemExit if a result has other bytes, or is missing.
    """
    begin = time.perf_counter()
    status = started(root, folder / "expected", how).wait()
    seconds = time.perf_counter() - begin
    expected = results_of(folder / "expected")
    if status or len(expected) != len(list(root.iterdir())):
        raise SystemExit(f"the undisturbed run ended with status {status}")
    rng, out = np.random.default_rng(seed), folder / "out"
    made = []
    while len(made) < kills:
        process = started(root, out, how)
        after = rng.uniform(0, 1.1) * seconds
        try:
            status = process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        found = results_of(out)
        if not found.items() <= expected.items():
            raise SystemExit(f"other results after {after:.2f} s: {sorted(found)}")
        if status >= 0:
            shutil.rmtree(out)  # it came to its end before
        else:
            made.append({"after": round(after, 3), "finished": len(found)})
            print(f"kill {len(made)}: {len(found)} finished", flush=True)
    status = started(root, out, how).wait()
    if status or results_of(out) != expected:
        raise SystemExit(f"the last run ended with status {status}: {sorted(results_of(out))}")
    return {"seconds": seconds, "kills": made}


def started(root: Path, out: Path, how: Sequence[str]) -> subprocess.Popen:
    """A run over all pictures of a folder."""
    command = [sys.executable, "-m", "robustdip", "denoise", str(root), "--out-dir", str(out)]
    return subprocess.Popen([*command, *how, "--quiet"], stdout=subprocess.DEVNULL, cwd=ROOT)


def results_of(out: Path) -> dict[str, bytes]:
    """All results of a folder by their names; hidden files are none."""
    return {path.name: path.read_bytes() for path in out.glob("[!.]*")}


if __name__ == "__main__":
    main()
