"""What `robustdip train FOLDER` needs of memory, from the first image to the report.

    python -m benchmarks.labels.folder_memory [--images 10000] [--size 224] [--network small-cnn]

Makes a folder of JPEGs of that size in ten classes, trains one epoch on it in a process of its
own, and records that process's largest resident set (`resource.getrusage`), in which the file of
pixels that is mapped into memory is counted too. One epoch has all that a run does, so more would
only take longer; a small network, because the images are what is measured.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.code_hash import ROOT
from benchmarks.logs import FOLDER_MEMORY
from benchmarks.options import parse, parser

CLASSES = 10


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--network", default="small-cnn")
    options.add_argument("--methods", nargs="+", default=["sop"])
    args = parse(options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "data", args.images, args.size)
        for method in args.methods:
            settings = {"images": args.images, "size": args.size, "network": args.network}
            settings |= {"method": method, "epochs": 1}
            found = measure(folder, method, args)
            FOLDER_MEMORY.record("labels", settings, found)
            print(settings, found, flush=True)


def write_images(folder: Path, number: int, side: int) -> None:
    """Smooth random pictures, whose colour goes with the class."""
    rng = np.random.default_rng(0)
    for at in range(number):
        coarse = rng.integers(0, 200, (7, 7, 3), dtype=np.uint8)
        coarse[..., at % 3] += at % CLASSES * 5
        path = folder / f"class{at % CLASSES}" / f"{at}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR).save(path)


def measure(folder: Path, method: str, args) -> dict[str, float]:
    command = [sys.executable, "cli.py", "train", str(folder / "data"), "--size", str(args.size)]
    command += ["--out", str(folder / method), "--network", args.network, "--method", method]
    command += ["--epochs", "1", "--device", "cpu", "--quiet"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    environment["OMP_NUM_THREADS"] = str(args.threads)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the largest child so far
    cache = sum(p.stat().st_size for p in (folder / "cache").rglob("*") if p.is_file())
    return {
        "largest_resident_GB": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "mapped_pixels_GB": round(cache / 1e9, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
    }


if __name__ == "__main__":
    main()
