"""Quality and cost of every method on every kind of corruption.

    python -m benchmarks.images.quality run IMAGE... [--side 256] [--kinds ...] [--amounts ...]
                                 [--methods ...] [--seeds ...] [--threads 2] [--isolate]
    python -m benchmarks.images.quality table [--side ...] [--kinds ...] [--methods ...]
                                 [--images ...]
    python -m benchmarks.images.quality figure [the same]

Each case is one line of results/images/quality.jsonl, so a killed run resumes where it was; a case
that failed, or was measured with other code or settings, is measured again. Images are resized by
Lanczos. A kind ends in /pixel when all channels of a pixel are corrupted together, and then in
+gaussian when the clean elements have Gaussian noise of 5 of 255 grey levels as well. Methods are
the recipes, the classical ones (`robustdip.classical.METHODS`) and three that know which elements
are bad: known-mask-linear, known-mask-biharmonic, and oracle-mask, which is the default recipe
fitted to the others. PSNR and SSIM are those of the last step, in float, against the clean image.

`table` prints all methods, `figure` writes quality.png beside the lines. A number that was measured
with earlier code is marked; it is shown only where there is none of the present code.
"""

import argparse
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr

from benchmarks.images.memory import isolated, peak
from benchmarks.logs import QUALITY
from benchmarks.markdown import STALE, STALE_NOTE, Cell, shown, spread, table, values
from benchmarks.options import add_machine
from benchmarks.record import Line, circumstances, code, is_current, only_current, plain
from robustdip.classical import METHODS, interpolate
from robustdip.corruption.descent import NoCorruption
from robustdip.inputs import check_image
from robustdip.kinds import KINDS
from robustdip.methods import DEFAULT
from robustdip.quality import psnr, ssim
from robustdip.recipes import RECIPES, Recipe
from robustdip.recovery import denoise
from robustdip.synthetic import corrupt
from robustdip.tiling.plan import plan
from robustdip.tiling.survey import core_side

Case = dict[str, Any]
# Of path, case, recipe (None for a classical method) and device, the line to record.
Measure = Callable[[Path, Case, Recipe | None, str], Line]

SPLIT = ("salt-and-pepper", "random-valued")  # the kinds that can hit one channel of a pixel alone
SPARSE = (*SPLIT, *(f"{kind}/pixel" for kind in SPLIT), *(k for k in KINDS if k not in SPLIT))
CORRUPTIONS = [f"{kind}{under}" for under in ("", "+gaussian") for kind in SPARSE]
GAUSSIAN = 5 / 255
INTERPOLATED: dict[str, Literal["linear", "biharmonic"]] = {
    "known-mask-linear": "linear",
    "known-mask-biharmonic": "biharmonic",
}
ORACLE = "oracle-mask"
TOLD = (*INTERPOLATED, ORACLE)
ORDER = (*RECIPES, *METHODS, *TOLD)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    add_grid(run, results=QUALITY.path)
    run.add_argument(
        "--methods",
        nargs="+",
        choices=ORDER,
        default=[DEFAULT],
        metavar="METHOD",
        help=", ".join(ORDER),
    )
    for name in ("table", "figure"):
        command = commands.add_parser(name)
        command.add_argument("--side", nargs="+", type=int)
        for option in ("--kinds", "--methods", "--images"):
            command.add_argument(option, nargs="+", help="as they are called in the table")
        command.add_argument("--results", type=Path, default=QUALITY.path)
    args = parser.parse_args()
    if args.command == "run":
        measure_all(args, recipe_of, measure)
        return
    lines = [
        line
        for line in replace(QUALITY, path=args.results).latest()
        if (args.side is None or line["side"] in args.side)
        and (args.kinds is None or line["kind"] in args.kinds)
        and (args.methods is None or label(line) in args.methods)
        and (args.images is None or line["image"] in args.images)
    ]
    if not lines:
        parser.error(f"{args.results} has no such line")
    if args.command == "table":
        print(tabulate(lines), end="")
    else:
        draw(lines, args.results.with_suffix(".png"))


def add_grid(parser: argparse.ArgumentParser, *, results: Path) -> None:
    """Add the options that choose the cases, except the methods, and how they are measured."""
    parser.add_argument("images", nargs="+", type=_file)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=CORRUPTIONS,
        default=list(SPLIT),
        metavar="KIND",
        help=", ".join(CORRUPTIONS),
    )
    parser.add_argument("--amounts", nargs="+", type=float, default=[0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    add_machine(parser, device="auto")
    parser.add_argument(
        "--isolate",
        action="store_true",
        help="a process for each case, and its peak memory recorded (of the host, not of a GPU)",
    )
    parser.add_argument("--results", type=Path, default=results)


def _file(name: str) -> Path:
    if not Path(name).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {name}")
    return Path(name)


# Measuring.


def measure_all(
    args: argparse.Namespace,
    recipe_of: Callable[[str, int | None], Recipe | None],
    measure: Measure,
) -> None:
    """Measure the cases that are not yet recorded. One that fails is recorded and passed over."""
    torch.set_num_threads(args.threads)
    log = replace(QUALITY, path=args.results)
    fitted = "large" if in_tiles(args.side) else "images"
    failed = 0
    for path, case in cases(args):
        recipe = recipe_of(case["method"], args.steps)
        group = "classical" if recipe is None else fitted
        decided = {"steps": None} if recipe is None else {"recipe": plain(recipe)}
        decided = {**decided, "code": code(group)}
        if log.has(case | decided):
            continue
        work = (path, case, recipe, args.device)
        try:
            if args.isolate:
                # A child's peak counts from what its parent held when it started the child. Here
                # that is the libraries, which the child needs too: this process measures nothing.
                line = isolated(_with_peak, measure, *work)
            else:
                line = measure(*work)
        except Exception as error:
            line = {**case, "error": f"{type(error).__name__}: {error}"}
            failed += 1
        device = line.get("device", "cpu")
        log.append(line | decided | circumstances(group, device=device))
        printed = (*log.key, "psnr", "ssim", "recall", "seconds", "peak_bytes", "error")
        print({name: line[name] for name in printed if name in line}, flush=True)
    if failed:
        raise SystemExit(f"{failed} cases failed: their lines in {args.results} tell why")


def in_tiles(side: int) -> bool:
    """Whether dense damage of a picture of this side is fitted in tiles, whose code counts then."""
    dense = np.random.default_rng(0).random((64, 64, 3), np.float32)
    core = core_side(check_image(dense), RECIPES[DEFAULT])
    return len(plan((side, side), core=core)) > 1


def cases(args: argparse.Namespace) -> Iterator[tuple[Path, Case]]:
    for seed, kind, amount, method, path in product(
        args.seeds, args.kinds, args.amounts, args.methods, args.images
    ):
        case = (path.stem, args.side, kind, amount, method, seed, args.steps)
        yield path, dict(zip(QUALITY.key, case, strict=True))


def recipe_of(method: str, steps: int | None = None) -> Recipe | None:
    """The settings of a method; None for one that has no recipe."""
    recipe = RECIPES.get(DEFAULT if method == ORACLE else method)
    return recipe if recipe is None or steps is None else replace(recipe, steps=steps)


def measure(path: Path, case: Case, recipe: Recipe | None, device: str) -> Line:
    clean = load(path, case["side"])
    noisy, bad = corrupted(clean, case["kind"], case["amount"], seed=case["seed"])
    method, mask, extra = case["method"], None, {}
    begin = time.perf_counter()
    if recipe is not None:
        told: dict[str, Any] = {"mask": bad} if method == ORACLE else {}
        result = denoise(noisy, method=recipe, seed=case["seed"], device=device, **told)
        if result.status == "interrupted":  # it returns what it has, which is no measurement
            raise KeyboardInterrupt
        image, extra = result.image, {"device": result.device}
        if result.uncertainty is not None:
            extra |= calibration(image - clean, result.uncertainty)
        if method != ORACLE and not isinstance(recipe.corruption_model, NoCorruption):
            mask = result.mask
    elif method in INTERPOLATED:
        image = interpolate(noisy, bad, method=INTERPOLATED[method])
    else:
        image = METHODS[method](noisy)
    seconds = time.perf_counter() - begin
    return {
        **case,
        "psnr": round(psnr(clean, image), 3),
        "ssim": None if (similarity := ssim(clean, image)) is None else round(similarity, 4),
        "input_psnr": round(psnr(clean, noisy), 3),
        "precision": None if mask is None else _fraction(bad, among=mask),
        "recall": None if mask is None else _fraction(mask, among=bad),
        "seconds": round(seconds, 2),
        **extra,
    }


def calibration(error: np.ndarray, deviation: np.ndarray) -> dict[str, float]:
    """How the estimated deviation ranks the elements, and how often the error is within it."""
    size = np.abs(error)
    ranked = spearmanr(size.ravel(), deviation.ravel())
    return {
        "uncertainty_rank_correlation": round(float(np.asarray(ranked)[0]), 3),
        "uncertainty_rms_ratio": round(math.sqrt((size**2).mean() / (deviation**2).mean()), 3),
        "within_one_deviation": round(float((size <= deviation).mean()), 3),
        "within_two_deviations": round(float((size <= 2 * deviation).mean()), 3),
    }


def load(path: Path, side: int) -> np.ndarray:
    """(side, side, 3) float32 in [0, 1]."""
    picture = Image.open(path).convert("RGB")
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255


def corrupted(
    clean: np.ndarray, kind: str, amount: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The corrupted image, and which of its elements were replaced."""
    sparse, _, under = kind.partition("+")
    name, _, unit = sparse.partition("/")
    rng = np.random.default_rng(seed)
    if under:
        # From a stream of its own: the elements replaced are those of the kind without it.
        noise = rng.spawn(1)[0].normal(0, GAUSSIAN, clean.shape)
        clean = (clean + noise).clip(0, 1).astype(clean.dtype)
    return corrupt(clean, name, amount, rng=rng, per_pixel=unit == "pixel")


def _fraction(mask: np.ndarray, *, among: np.ndarray) -> float | None:
    return round(float(mask[among].mean()), 4) if among.any() else None


def _with_peak(measure: Measure, *work: Any) -> Line:
    return measure(*work) | {"peak_bytes": peak()}


# Showing.


def label(line: Line) -> str:
    """The method, and the steps if they are not those of its recipe."""
    steps = line.get("steps")
    return line["method"] if steps is None else f"{line['method']} (steps={steps})"


class Row(NamedTuple):
    """What a row of the table is about."""

    side: int
    kind: str
    amount: float
    method: str
    label: str


Rows = dict[Row, dict[str, list[Line]]]  # the lines of each image


def rows_of(lines: Iterable[Line]) -> Rows:
    """The lines by row and image, in the order of the table: blind methods first.

    Where an image has lines of the present code, those of earlier code are left out.
    """
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for line in lines:
        row = Row(line["side"], line["kind"], line["amount"], line["method"], label(line))
        rows[row][line["image"]].append(line)

    def place(row: Row) -> tuple:
        kind, method = _rank(row.kind, CORRUPTIONS), _rank(row.method, ORDER)
        return row.side, kind, row.amount, method, row.label

    return {
        row: {image: only_current(cell) for image, cell in rows[row].items()}
        for row in sorted(rows, key=place)
    }


def _rank(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else -1  # a name that is no more


def tabulate(lines: Iterable[Line]) -> str:
    """Means over images of the means over seeds, and each image's mean ± std over seeds.

    The former only where a method has all images that any has on the same corruption.
    """
    rows = rows_of(lines)
    images = sorted({image for cells in rows.values() for image in cells})
    head = ["side", "corruption", "amount", "method", "PSNR (dB)", *images]
    head += ["SSIM", "precision", "recall", "s", "MB", "n"]
    complete = defaultdict(set)
    for row, cells in rows.items():
        complete[row[:3]] |= set(cells)
    return table(
        head,
        [
            [
                *(str(row.side), row.kind, f"{row.amount:.0%}", row.label),
                *_numbers(cells, images, whole=set(cells) == complete[row[:3]]),
            ]
            for row, cells in rows.items()
        ],
    )


def _numbers(cells: dict[str, list[Line]], images: Iterable[str], *, whole: bool) -> list[Cell]:
    lines = [line for cell in cells.values() for line in cell]
    means = cells if whole else {}
    seconds, peaks = values(lines, "seconds"), values(lines, "peak_bytes")
    failed = sum("error" in line for line in lines)
    count = counts(cells) + (f" ({failed} failed)" if failed else "")
    return [
        Cell(shown(over_images(means, "psnr"), ".2f"), lines),
        *(of_image(cells, image) for image in images),
        Cell(shown(over_images(means, "ssim"), ".4f"), lines),
        Cell(shown(over_images(means, "precision"), ".3f"), lines),
        Cell(shown(over_images(means, "recall"), ".3f"), lines),
        Cell(shown(statistics.median(seconds) if seconds else None, ".1f"), lines),
        Cell(shown(max(peaks) / 1e6 if peaks else None, ".0f"), lines),
        Cell(count, ()),
    ]


def of_image(cells: dict[str, list[Line]], image: str) -> Cell:
    """PSNR of one image."""
    lines = cells.get(image, [])
    return Cell(spread(values(lines, "psnr")), lines)


def counts(cells: dict[str, list[Line]]) -> str:
    """How many seeds the images have."""
    found = sorted({len(values(cell, "psnr")) for cell in cells.values()})
    return "/".join(map(str, found))


def over_images(cells: dict[str, list[Line]], name: str) -> float | None:
    """Mean over the images of the mean over the seeds; None if an image has no value."""
    each = [values(cell, name) for cell in cells.values()]
    return statistics.mean(map(statistics.mean, each)) if each and all(each) else None


def of_each_seed(cells: dict[str, list[Line]], name: str) -> list[float]:
    """Mean over the images, of each seed that all images have."""
    each = [
        {line["seed"]: line[name] for line in cell if line.get(name) is not None}
        for cell in cells.values()
    ]
    seeds = sorted(set.intersection(*map(set, each))) if each else []
    return [statistics.mean(values[seed] for values in each) for seed in seeds]


def draw(lines: Iterable[Line], path: Path) -> None:
    """PSNR over the amount, a panel for each kind, a line for each method.

    In a panel every point is the mean over the same images: those of all its methods and amounts
    together. Points that lack one of them are left out. A method of which a point was measured with
    earlier code is marked.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows = rows_of(lines)
    old = {
        row.label
        for row, cells in rows.items()
        if not all(is_current(line) for cell in cells.values() for line in cell)
    }
    methods = sorted({(_rank(row.method, ORDER), row.method, row.label) for row in rows})
    panels = list(dict.fromkeys((row.side, row.kind) for row in rows))
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(1 + 4 * across, 1.5 + 3 * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False, sharex=True).flat)
    for spare in axes[len(panels) :]:
        spare.remove()
    drawn = {}
    for axis, panel in zip(axes, panels, strict=False):
        here = {row: cells for row, cells in rows.items() if (row.side, row.kind) == panel}
        images = {image for cells in here.values() for image in cells}
        for number, (_, method, name) in enumerate(methods):
            points = [
                (100 * row.amount, value)
                for row, cells in here.items()
                if row.label == name
                and set(cells) == images
                and (value := over_images(cells, "psnr")) is not None
            ]
            if points:
                style = "s--" if method in TOLD else "o-"
                colour = colormaps["tab20"](number % 20)
                (drawn[name],) = axis.plot(
                    *zip(*points, strict=True), style, color=colour, markersize=3
                )
        side, kind = panel
        count = f"{len(images)} image{'s' if len(images) > 1 else ''}"
        axis.set_title(f"{kind}, {side}x{side}, {count}", size=9)
        axis.tick_params(labelbottom=True)
        axis.grid(alpha=0.3)
    legend = {
        f"{name} {STALE}" if name in old else name: drawn[name]
        for *_, name in methods
        if name in drawn
    }
    figure.legend(
        list(legend.values()),
        list(legend),
        loc="outside upper center",
        ncols=across,
        fontsize=8,
        title=STALE_NOTE if old else None,
        title_fontsize=8,
    )
    figure.supxlabel("corrupted (%)")
    figure.supylabel("PSNR (dB)")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
