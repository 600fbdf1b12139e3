"""The tables of the record of images/quality.py: PSNR and seconds of every method."""

import statistics
from collections import defaultdict
from collections.abc import Iterable

from benchmarks.images import quality
from benchmarks.markdown import Cell, Columns, cells_of, shown, spread, table, titles_of, values
from benchmarks.record import Line

# Corruption of the headline table, in its order.
_HEADLINE = (
    *(("salt-and-pepper", amount) for amount in (0.1, 0.5, 0.7)),
    *(("random-valued", amount) for amount in (0.1, 0.5, 0.7)),
    ("salt-and-pepper/pixel", 0.5),
    ("random-valued/pixel", 0.5),
    ("salt-and-pepper+gaussian", 0.5),
    ("random-valued+gaussian", 0.5),
    ("text", 0.1),
    ("scratches", 0.1),
    ("missing-lines", 0.1),
)
_SMALL = (("random-valued", 0.5), ("salt-and-pepper", 0.5), ("text", 0.1), ("scratches", 0.1))
_SIDE = 256
_IMAGES = ("F16", "Peppers", "Baboon", "kodim03")

Cells = dict[str, list[Line]]  # the lines of each image


def image_headline(lines: list[Line]) -> str:
    """The default recipe, the best other blind method, and interpolation with the true mask."""
    methods = _by_method(lines)
    rows = []
    for kind, amount in _HEADLINE:
        measured = methods[kind, amount]
        default = measured.get("default", {})
        seconds = [line for cell in default.values() for line in cell]
        rows.append(
            [
                f"{kind} {amount:.0%}",
                _mean(default, bold=True),
                *(quality.of_image(default, image) for image in _IMAGES),
                quality.counts(default),
                Cell(shown(statistics.median(values(seconds, "seconds")), ".0f"), seconds)
                if seconds
                else "",
                _best_blind(measured),
                _mean(measured.get("known-mask-linear", {})),
            ]
        )
    head = ["corruption", "default: mean", *_IMAGES, "n", "s"]
    return table([*head, "best of the other blind methods", "true mask + linear"], rows)


def image_summary(lines: list[Line]) -> str:
    """The README's: means over the four photographs for four kinds of corruption."""
    methods = _by_method(lines)
    rows = [
        [
            f"{kind} {amount:.0%}",
            _mean(methods[kind, amount].get("default", {}), name="input_psnr"),
            _mean(methods[kind, amount].get("default", {}), bold=True),
            _best_blind(methods[kind, amount]),
            _mean(methods[kind, amount].get("known-mask-linear", {})),
            quality.counts(methods[kind, amount].get("default", {})),
        ]
        for kind, amount in _SMALL
    ]
    head = ["corruption", "corrupted", "robustdip", "best of the other blind methods"]
    return table([*head, "true mask + linear", "n"], rows)


def image_methods(lines: list[Line]) -> str:
    """Every method: means over the four photographs, and its median seconds."""
    methods = _by_method(lines)
    kinds = [k for k in _HEADLINE if k[0] in ("random-valued", "salt-and-pepper", "text")]
    kinds = [k for k in kinds if k[1] in (0.1, 0.5)]
    rows = []
    for method in quality.ORDER:
        cells = [methods[kind].get(method, {}) for kind in kinds]
        if not any(cells):
            continue
        measured = [line for found in cells for cell in found.values() for line in cell]
        timed = [line for line in measured if "seconds" in line]
        seconds = statistics.median(values(timed, "seconds")) if timed else None
        told = "the mask" if method in quality.TOLD else ""
        rows.append([method, told, *map(_mean, cells), Cell(shown(seconds, ".1f"), timed)])
    head = [f"{kind} {amount:.0%}" for kind, amount in kinds]
    return table(["method", "is told", *head, "s"], rows)


def _by_method(lines: Iterable[Line]) -> dict[tuple[str, float], dict[str, Cells]]:
    """The lines of the usual side and steps by corruption and method, complete sets of images."""
    found: dict[tuple[str, float], dict[str, Cells]] = defaultdict(dict)
    chosen = [line for line in lines if line["image"] in _IMAGES and line.get("steps") is None]
    for row, cells in quality.rows_of(chosen).items():
        if row.side == _SIDE and set(cells) == set(_IMAGES):
            found[row.kind, row.amount][row.method] = cells
    for methods in found.values():
        if "default" in methods:
            for method, cells in methods.items():
                methods[method] = _same_seeds(cells, methods["default"])
    return found


def _same_seeds(cells: Cells, others: Cells) -> Cells:
    """The lines of the seeds that others have too: another seed is another damage."""
    kept: Cells = {}
    for image, lines in cells.items():
        seeds = {line["seed"] for line in others[image]}
        kept[image] = [line for line in lines if line["seed"] in seeds] or lines
    return kept


def _mean(cells: Cells, *, name: str = "psnr", bold: bool = False) -> Cell:
    """Mean over the images; of several seeds mean ± standard deviation of this."""
    text = spread(quality.of_each_seed(cells, name))
    text = f"**{text}**" if bold and text else text
    return Cell(text, [line for cell in cells.values() for line in cell])


def _best_blind(methods: dict[str, Cells]) -> Cell:
    means = {
        method: mean
        for method, cells in methods.items()
        if method not in ("default", *quality.TOLD)
        and (mean := quality.over_images(cells, "psnr")) is not None
    }
    if not means:
        return Cell("", ())
    best = max(means, key=lambda method: means[method])
    # Whether it is the best depends on all of them.
    lines = [line for method in means for cell in methods[method].values() for line in cell]
    return Cell(f"{means[best]:.2f} {best}", lines)


def large_images(lines: list[Line]) -> str:
    """Quality and seconds of larger sides."""
    return quality.tabulate(line for line in lines if line["side"] > _SIDE)


def usual_images(lines: list[Line]) -> str:
    """Every method on the four photographs."""
    return quality.tabulate(line for line in lines if line["side"] == _SIDE)


def uncertainty(lines: list[Line]) -> str:
    """How well the estimated standard deviation describes the error."""
    columns: Columns = {
        "uncertainty_rank_correlation": ("rank correlation with the error", 1, 2),
        "uncertainty_rms_ratio": ("RMS of errors / RMS of deviations", 1, 2),
        "within_one_deviation": ("within one deviation, %", 100, 0),
        "within_two_deviations": ("within two, %", 100, 0),
    }
    rows = []
    for (kind, amount), methods in _by_method(lines).items():
        used = [line for cell in methods.get("default", {}).values() for line in cell]
        if values(used, "uncertainty_rank_correlation"):
            rows.append([f"{kind} {amount:.0%}", *cells_of(used, columns), str(len(used))])
    return table(["corruption", *titles_of(columns), "n"], rows)
