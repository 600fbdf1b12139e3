"""A folder of pictures by one command with several processes, against one command a picture.

    python -m benchmarks.images.folder [--pictures 64] [--side 256] [--steps 600] [--workers 2]

Both restore the same pictures (crops of photographs of scikit-image, half of their values random)
with the default recipe, or that of --method. Each call of the program counts from its start to its
end. A single call uses the threads that it takes by itself. Run it on an idle machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from skimage import data

from benchmarks.code_hash import ROOT
from benchmarks.logs import FOLDER
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from robustdip.images import from_float, to_float, write_image
from robustdip.synthetic import damage

PHOTOS = (data.astronaut, data.coffee, data.chelsea, data.rocket)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--pictures", type=int, default=64)
    options.add_argument("--side", type=int, default=256)
    options.add_argument("--steps", type=int, help="of a fit; the recipe's by default")
    options.add_argument("--method", default="default")
    options.add_argument("--workers", type=int, default=2)
    args = parse(options)

    steps = [] if args.steps is None else ["--steps", str(args.steps)]
    how = ["--method", args.method, *steps, "--quiet"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = pictures(folder / "in", count=args.pictures, side=args.side)
        workers = ["--workers", str(args.workers)]
        out = folder / "out"
        together = seconds(folder / "in", "--out-dir", out, *workers, *how)
        missing = args.pictures - len(list(out.glob("*.png")))
        if missing:
            raise SystemExit(f"{missing} pictures of the folder have no result")
        single = [
            seconds(path, "-o", folder / f"single{number}.png", *how)
            for number, path in enumerate(paths)
        ]
    results = {"folder": together, "single": sum(single), "ratio": sum(single) / together}
    print(
        f"folder {together:.1f} s, single calls {sum(single):.1f} s: ratio {results['ratio']:.2f}"
    )
    FOLDER.record("images", settings_of(args), results)


def pictures(folder: Path, *, count: int, side: int) -> list[Path]:
    """Crops of photographs at places of their own, each with half of its values random."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        photo = PHOTOS[number % len(PHOTOS)]()
        top, left = (rng.integers(0, max(1, size - side)) for size in photo.shape[:2])
        crop = to_float(np.ascontiguousarray(photo[top : top + side, left : left + side]))
        noisy = damage(crop, "random-valued", amount=0.5, seed=number).image
        made.append(folder / f"{number:03}.png")
        write_image(made[-1], from_float(noisy, np.uint8))
    return made


def seconds(*arguments: object) -> float:
    """How long a call of `denoise` takes."""
    command = [sys.executable, "-m", "robustdip", "denoise", *map(str, arguments)]
    begin = time.perf_counter()
    # This process's own number of threads is no matter of the program's.
    environment = {key: text for key, text in os.environ.items() if key != "OMP_NUM_THREADS"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
