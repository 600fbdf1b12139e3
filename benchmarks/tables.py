"""The tables of the documentation, each made from one record.

    python -m benchmarks.tables [NAME ...]

prints them; `python docs/build.py` writes them into the pages.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from benchmarks import logs
from benchmarks.images import ablation, frontier, quality
from benchmarks.images.contention import LOADS
from benchmarks.images.harm import SAME
from benchmarks.markdown import Cell, shown, spread, table, values
from benchmarks.record import Line, Log, is_current, machine, only_current

# Of an entry of the lines: its title, by what it is multiplied, and the digits printed.
Columns = dict[str, tuple[str, float, int]]


def _titles(columns: Columns) -> list[str]:
    return [title for title, _, _ in columns.values()]


def _cells(lines: list[Line], columns: Columns) -> list[Cell]:
    return [
        Cell(spread([scale * value for value in values(lines, name)], digits), lines)
        for name, (_, scale, digits) in columns.items()
    ]


# Images.

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
        ]
        for kind, amount in _SMALL
    ]
    head = ["corruption", "corrupted", "robustdip", "best of the other blind methods"]
    return table([*head, "true mask + linear"], rows)


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
    text = shown(quality.over_images(cells, name), ".2f")
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


def large_pictures(lines: list[Line]) -> str:
    """What is found and fitted in large pictures of which a few tiles are damaged."""
    rows = []
    for (scene, size, then, steps), used in _groups(lines, ("scene", "size", "then", "steps")):
        tiles, damaged = (sum(values(used, name)) for name in ("tiles", "damaged"))
        found, false = (sum(values(used, name)) for name in ("found", "false"))
        row: list[str | Cell] = [scene, size, then or ""]
        row.append("" if steps is None else str(steps or "all"))
        row.append(Cell(f"{found:.0f} of {damaged:.0f}", used))
        row.append(Cell(f"{false:.0f} of {tiles - damaged:.0f}", used))
        row += [Cell(f"{_average(used, name):.3g}", used) for name in ("work", "covered")]
        row.append(Cell(f"{_average(used, 'survey_cpu_seconds'):.1f}", used))
        if steps is None:
            row += [""] * 4
        else:
            row.append(Cell(f"{sum(values(used, 'copied')):.0f} of {tiles:.0f}", used))
            before, after = (_average(used, f"damage_psnr{end}") for end in ("_before", ""))
            row.append(Cell(f"{before:.1f}, {after:.1f}", used))
            row.append(Cell(f"{_average(used, 'cpu_seconds') / 60:.1f}", used))
            row.append(Cell(f"{max(values(used, 'peak_bytes')) / 1e9:.2f}", used))
        rows.append([*row, str(len(used))])
    head = ["picture", "pixels", "then", "steps", "damaged tiles found", "others fitted", "work"]
    head += ["covered", "survey, CPU s", "tiles copied", "PSNR of what is damaged, dB"]
    return table([*head, "CPU minutes", "GB", "n"], rows)


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
            rows.append([f"{kind} {amount:.0%}", *_cells(used, columns), str(len(used))])
    return table(["corruption", *_titles(columns), "n"], rows)


def no_early_stopping(lines: list[Line]) -> str:
    """PSNR of the last step, and how far below the best it is, with and without s."""
    runs: dict[tuple, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        unit = "pixel" if line["per_pixel"] else "element"
        condition = (line["image"], line["side"], line["kind"], unit, line["amount"])
        runs[condition][line["run"]].append(line)
    columns = {
        "last": ("default", "last"),
        "best - last": ("default", "drop"),
        "3x the steps: last": ("default x3", "last"),
        "without s, l1: best - last": ("dip-l1", "drop"),
        "without s, l2: best - last": ("dip-l2", "drop"),
    }
    rows = []
    for (image, side, kind, unit, amount), found in sorted(runs.items()):
        cells = [
            Cell(spread(values(used, name)), used)
            for run, name in columns.values()
            for used in [only_current(found[run])]
        ]
        rows.append([f"{image}, {side}x{side}", f"{kind} per {unit}", f"{amount:.0%}", *cells])
    return table(["image", "corruption", "amount", *columns], rows)


def step_time(lines: list[Line]) -> str:
    """Seconds of one step of the published network and of ours."""
    rows = []
    for line in lines:
        settings, results = line["settings"], line["results"]
        numbers = [f"{results[name]:.3f}" for name in ("published", "default")]
        rows.append(
            [
                f"{settings['side']}x{settings['side']}",
                str(settings["width"]),
                machine(line),
                *(Cell(text, [line]) for text in (*numbers, f"{results['ratio']:.1f}")),
            ]
        )
    return table(["image", "width", "on", "published, s", "default, s", "ratio"], rows)


def folder(lines: list[Line]) -> str:
    """Seconds of one command for a folder, and of one command a picture."""
    rows = []
    for line in lines:
        settings, results = line["settings"], line["results"]
        numbers = (
            f"{results['folder']:.0f}",
            f"{results['single']:.0f}",
            f"{results['ratio']:.2f}",
        )
        rows.append(
            [
                f"{settings['pictures']} of {settings['side']}x{settings['side']}",
                settings["method"],
                str(settings["workers"]),
                *(Cell(text, [line]) for text in numbers),
            ]
        )
    return table(["pictures", "method", "workers", "folder, s", "single, s", "ratio"], rows)


def seconds_to_quality(lines: list[Line]) -> str:
    """Seconds and steps until a PSNR is reached."""
    rows = []
    for line in lines:
        settings, results = line["settings"], line["results"]
        reached = results["reached"] | {"the end": results["last"]}
        for target, at in reached.items():
            numbers = (f"{at['psnr']:.2f}", str(at["step"]), f"{at['seconds']:.0f}")
            case = (f"{settings['image']}, {settings['side']}x{settings['side']}", machine(line))
            words = (*case, settings["recipe"], str(target))
            rows.append([*words, *(Cell(text, [line]) for text in numbers)])
    return table(["image", "on", "recipe", "target, dB", "PSNR (dB)", "steps", "s"], rows)


def shared_defects(lines: list[Line]) -> str:
    """Hot pixels found over several frames, and places that are false, of all seeds together."""
    rows = []
    for (frames, amount, then), used in _groups(lines, ("frames", "amount", "then")):
        hot, found, marked, false, pixels = (
            sum(values(used, name)) for name in ("hot", "found", "marked", "false", "pixels")
        )
        rows.append(
            [
                str(frames),
                f"{amount:.2%}",
                then,
                str(hot),
                Cell(f"{found / hot:.2%}" if hot else "", used),
                Cell(f"{1e4 * marked / pixels:.1f}", used),
                Cell(f"{1e4 * false / pixels:.2f}", used),
                str(len(used)),
            ]
        )
    head = ["frames", "hot", "then", "hot pixels", "found", "marked of 10,000"]
    return table([*head, "false of 10,000", "n"], rows)


_DAMAGED = ("kind", "then", "side", "image")


def damage(lines: list[Line]) -> str:
    """Gain by what a picture suffered, told nothing, told in one word, and with the true mask."""
    rows = []
    # Each way apart: a change of a detector concerns what is named alone.
    ways = [
        dict(_groups([line for line in lines if line["way"] == way], _DAMAGED))
        for way in ("auto", "named", "known")
    ]
    for case in sorted({case for of_way in ways for case in of_way}, key=_order):
        kind, then, side, image = case
        measured = [of_way.get(case, []) for of_way in ways]
        used = [line for each in measured for line in each]
        row: list[str | Cell] = [kind, then, f"{image}, {side}x{side}"]
        row.append(f"{_average(used, 'input_psnr'):.2f}")
        row += [Cell(f"{_average(each, 'psnr'):.2f}" if each else "", each) for each in measured]
        rows.append([*row, str(len({line["seed"] for line in used}))])
    head = ["damage", "then", "picture", "damaged", "auto", "named", "true mask", "n"]
    return table(head, rows)


def peers(lines: list[Line]) -> str:
    """Other programs on the same files: means over the pictures."""
    others = {line["method"] for line in lines} - {"robustdip"}
    methods = ["robustdip", *sorted(others)]
    rows = []
    for (grey, kind, amount, side), used in _groups(lines, ("grey", "kind", "amount", "side")):
        of = {name: [line for line in used if line["method"] == name] for name in methods}
        row: list[str | Cell] = [f"{kind} {amount:.0%}, {'grey' if grey else 'colour'}"]
        row.append(f"{side}x{side}")
        row.append(Cell(f"{_average(used, 'input_psnr'):.2f}", used))
        row += [Cell(f"{_average(mine, 'psnr'):.2f}" if mine else "", mine) for mine in of.values()]
        row.append(Cell(f"{_average(used, 'true_mask_linear_psnr'):.2f}", used))
        counts = {len(mine) for mine in of.values() if mine}
        rows.append([*row, "/".join(map(str, sorted(counts)))])
    return table(["corruption", "size", "corrupted", *methods, "true mask + linear", "n"], rows)


def harm(lines: list[Line]) -> str:
    """What is found and changed in pictures without damage."""
    rows = []
    for (picture, side, strength), used in _groups(lines, ("picture", "side", "jpeg")):
        flagged, unchanged = _average(used, "flagged"), min(values(used, "psnr"))
        rows.append(
            [
                picture,
                str(side),
                f"JPEG {strength}" if strength else "",
                Cell(f"{flagged:.3%}", used),
                Cell("unchanged" if unchanged >= SAME else f"{unchanged:.1f}", used),
                str(len(used)),
            ]
        )
    return table(["picture", "side", "then", "found corrupted", "PSNR to the input, dB", "n"], rows)


def _average(lines: list[Line], name: str) -> float:
    return statistics.fmean(values(lines, name))


def lone_pixels(lines: list[Line]) -> str:
    """PSNR at wrong pixels that stand alone, filled from their neighbours and fitted."""
    rows = []
    for (image, side), used in _groups(lines, ("image", "side")):
        row: list[str | Cell] = [image, f"{side}x{side}"]
        for wrong in ("one", "all"):
            found = [line["results"][wrong] for line in used]
            for way in ("filled", "fit", "linear"):
                mean = statistics.mean(each[way] for each in found)
                row.append(Cell(f"{mean:.2f}", used))
        rows.append([*row, str(len(used))])
    ways = ("filled", "fit", "linear")
    head = [f"{way}, {wrong}" for wrong in ("one channel", "all channels") for way in ways]
    return table(["photograph", "size", *head, "n"], rows)


def line_odds(lines: list[Line]) -> str:
    """The share of thin lines that is damage, beside the share that their odds say."""
    rows = []
    for line in lines:
        classes = line["classes"]
        edges = [each["least"] for each in classes[1:]]
        for each, most in zip(classes, [*edges, None], strict=True):
            least = each["least"]
            span = f"{least} to {most}"
            if least is None or most is None:
                span = f"below {most}" if least is None else f"above {least}"
            cells = (str(each["lines"]), f"{each['expected']:.0%}", f"{each['damage']:.0%}")
            rows.append([span, *(Cell(cell, [line]) for cell in cells)])
    return table(["log odds", "lines", "expected to be damage", "damage"], rows)


def seams(lines: list[Line]) -> str:
    """PSNR of a picture restored whole, in tiles, and in tiles with their seams elsewhere."""
    places = ("psnr_at_tiles", "psnr_at_moved", "psnr_neither")
    rows = []
    for (side, tile, kind, amount, method), used in _groups(
        lines, ("side", "tile", "kind", "amount", "method")
    ):
        row: list[str | Cell] = [f"{kind} {amount:.0%}, {side}x{side}, by `{method}`"]
        row.append("chosen" if tile is None else str(tile))
        for place in ("psnr", *places):
            means = [_mean_at(place, used, way) for way in ("whole", "tiles", "moved")]
            texts = ["-" if math.isnan(value) else f"{value:.2f}" for value in means]
            row.append(Cell(" / ".join(texts), used))
        # How far "tiles" is ahead at its own seams, less how far it is where "moved" has them.
        ahead = [_mean_at(p, used, "tiles") - _mean_at(p, used, "moved") for p in places[:2]]
        gain = (ahead[0] - ahead[1]) / 2
        row.append(Cell("" if math.isnan(gain) else f"{gain:+.2f}", used))
        rows.append([*row, str(len({line["seed"] for line in used}))])
    head = (
        "everywhere",
        "at the seams of tiles",
        "at those of moved",
        "at neither",
        "gain at a seam",
    )
    return table(["picture", "tile", *head, "n"], rows)


def _mean_at(place: str, lines: list[Line], way: str) -> float:
    """NaN if nothing was measured there: earlier records have not all places."""
    found = [line[place] for line in lines if line["way"] == way and place in line]
    return statistics.mean(found) if found else math.nan


def same_results(lines: list[Line]) -> str:
    """Codes that were compared, and gave the same."""
    rows = [
        [
            line["code"]["group"],
            line["before"],
            line["code"]["hash"],
            str(len(line["cases"])),
            ", ".join(name.strip() for name in line.get("differ", ())),
            "any" if line["up_to"] is None else f"{line['up_to']}x{line['up_to']}",
            str(line["commit"]),
        ]
        for line in lines
    ]
    head = ["results", "code before", "code after", "cases", "but not", "sizes up to", "commit"]
    return table(head, rows)


def memory(lines: list[Line]) -> str:
    """Bytes by which a process grows during a fit, beside the prediction."""
    rows = []
    for line in lines:
        settings, results = line["settings"], line["results"]
        predicted = results.get("predicted_bytes")
        rows.append(
            [
                settings["recipe"],
                f"{settings['side']}x{settings['side']}",
                str(settings["width"]),
                Cell(f"{results['bytes'] / 1e6:.0f}", [line]),
                Cell("" if predicted is None else f"{predicted / 1e6:.0f}", [line]),
            ]
        )
    return table(["recipe", "image", "width", "measured, MB", "predicted, MB"], rows)


def kills(lines: list[Line]) -> str:
    """Kills of a folder's run, and the pictures that were finished when they came."""
    rows = []
    for line in lines:
        settings, results = line["settings"], line["results"]
        finished = [kill["finished"] for kill in results["kills"]]
        rows.append(
            [
                settings["method"],
                f"{settings['pictures']} of {settings['side']}x{settings['side']}",
                Cell(str(len(finished)), [line]),
                Cell(", ".join(map(str, sorted(finished))), [line]),
            ]
        )
    return table(["method", "pictures", "kills", "finished pictures at each"], rows)


def contention(lines: list[Line]) -> str:
    """Milliseconds a step, and in brackets the ratio to all threads on the idle machine."""
    rows = []
    for line in lines:
        found: dict[tuple, dict[str, str]] = defaultdict(dict)
        for case in line["results"]["cases"]:
            way = case["job"], str(case["threads"]), case["spins"]
            found[way][case["load"]] = f"{case['ms']:.0f} ({case['ratio']:.2f})"
        for way, texts in found.items():
            cells = [Cell(texts.get(load, ""), [line]) for load in LOADS]
            rows.append([*way, str(line["results"]["cores"]), *cells])
    return table(["step of", "threads", "spins", "cores", *LOADS], rows)


# Labels.


def accuracy(lines: list[Line]) -> str:
    """Trainings: mean ± standard deviation over seeds, in per cent.

    Those with settings of their own were made to compare these, with the code of that time. They
    are shown only while it is the present one.
    """
    columns: Columns = {
        "accuracy": ("last epoch, %", 100, 2),
        "accuracy_flips": ("with mirror images, %", 100, 2),
        "best_accuracy": ("best epoch, %", 100, 2),
        "memorized": ("memorised, %", 100, 1),
        "issues_auroc": ("issues AUROC", 1, 4),
        "issues_f1": ("issues F1", 1, 3),
        "seconds": ("minutes", 1 / 60, 1),
    }
    names = ("data", "limit", "noise", "recipe", "settings", "method", "device")
    usual = map(_without_tests, _by_present_names(lines))
    chosen = [line for line in usual if is_current(line) or not line["settings"]]
    rows = [
        [
            _data(data, limit),
            noise,
            f"{recipe} {settings}".strip(),
            method,
            *_cells(used, columns),
            str(len(used)),
        ]
        for (data, limit, noise, recipe, settings, method, _), used in _groups(chosen, names)
    ]
    return table(["data", "noise", "recipe", "method", *_titles(columns), "n"], rows)


def _by_present_names(lines: Iterable[Line]) -> Iterator[Line]:
    """The lines of trainings with the names that data and noise have now."""
    for line in lines:
        data, noise = line["data"].removesuffix("-reencoded"), line["noise"].replace(" ", "-")
        yield {**line, "data": data, "noise": noise}


def _without_tests(line: Line) -> Line:
    """The line without how often its run was tested, which decides no result of the last epoch."""
    words = line["settings"].split()
    return {**line, "settings": " ".join(w for w in words if not w.startswith("test_every="))}


def label_summary(lines: list[Line]) -> str:
    """The README's: cross entropy and SOP on all of CIFAR-10."""
    columns: Columns = {
        "accuracy": ("test accuracy, %", 100, 2),
        "memorized": ("wrong labels memorised, %", 100, 1),
        "issues_auroc": ("wrong labels found, AUROC", 1, 3),
    }
    methods = {"ce": "cross entropy", "sop": "SOP"}
    chosen = [
        line
        for line in map(_without_tests, lines)
        if (line["limit"], line["recipe"], line["settings"]) == (None, "cpu", "")
        and line["noise"] in ("0.2", "0.4")
        and line["method"] in methods
    ]
    rows = [
        [f"{float(noise):.0%}", methods[method], *_cells(used, columns), str(len(used))]
        for (noise, method), used in _groups(chosen, ("noise", "method"))
    ]
    return table(["wrong labels", "method", *_titles(columns), "n"], rows)


def comparison(lines: list[Line]) -> str:
    """All methods for about the same time."""
    columns: Columns = {
        "seconds": ("s", 1, 0),
        "accuracy": ("last epoch, %", 100, 1),
        "accuracy_ensemble": ("both networks, %", 100, 1),
        "best_accuracy": ("best epoch, %", 100, 1),
        "memorized": ("memorised, %", 100, 1),
        "issues_auroc": ("issues AUROC", 1, 3),
        "forward_passes": ("forward", 1, 1),
        "backward_passes": ("backward", 1, 1),
    }
    names = ("data", "limit", "budget", "noise", "method", "epochs")
    groups = _groups(_by_present_names(lines), names)
    # An earlier number of epochs is shown only where there is no present one.
    present = {case[:-1] for case, used in groups if is_current(used[0])}
    groups = [(c, used) for c, used in groups if is_current(used[0]) or c[:-1] not in present]
    # Within a kind of noise the most accurate method comes first.
    groups.sort(key=lambda group: (_order(group[0][:4]), -_accuracy(group[1])))
    rows = [
        [
            _data(data, limit),
            *(budget, noise, method, str(epochs)),
            *_cells(used, columns),
            shown(used[0]["published"], ".2f"),
            str(len(used)),
        ]
        for (data, limit, budget, noise, method, epochs), used in groups
    ]
    head = ["data", "recipe", "noise", "method", "epochs", *_titles(columns)]
    return table([*head, "published, %", "n"], rows)


def _accuracy(lines: list[Line]) -> float:
    return statistics.mean(values(lines, "accuracy"))


def label_issues(lines: list[Line]) -> str:
    """AUROC of each score that a training yields."""
    cases: dict[tuple, list[Line]] = {}
    for line in _by_present_names(lines):
        cases.setdefault((line["data"], line["noise"], line["method"]), []).append(line)
    lines = [line for measured in cases.values() for line in only_current(measured)]
    scores = list(dict.fromkeys(name for line in lines for name in line["auroc"]))
    rows = [
        [
            line["noise"],
            line["method"],
            *(Cell(shown(line["auroc"].get(name), ".3f"), [line]) for name in scores),
        ]
        for line in lines
    ]
    return table(["noise", "method", *scores], rows)


def method_cost(lines: list[Line]) -> str:
    """Seconds of an epoch relative to cross entropy, measured and published."""
    rows = [
        [
            machine(line),
            method,
            *(
                Cell(shown(cost[name], form), [line])
                for name, form in (
                    ("seconds", ".2f"),
                    ("times_ce", ".2f"),
                    ("forward_passes", ".1f"),
                    ("backward_passes", ".1f"),
                )
            ),
            shown(cost["published_times_ce"], ".1f"),
        ]
        for line in lines
        for method, cost in line["results"].items()
    ]
    head = ["on", "method", "s an epoch", "times ce", "forward", "backward"]
    return table([*head, "times ce, published"], rows)


def sop_forms(lines: list[Line]) -> str:
    """The forms of SOP on digits."""
    rows = [
        [
            form,
            *(
                Cell(f"{found[name]['mean']:.1f} ± {found[name]['std']:.1f}", [line])
                for name in ("accuracy", "memorised")
            ),
            Cell(str(found["accuracy"].get("least", "")), [line]),  # older lines lack it
            str(line["settings"]["seeds"]),
        ]
        for line in lines
        for form, found in line["results"].items()
    ]
    return table(["form", "test accuracy, %", "memorised, %", "worst seed, %", "n"], rows)


def planted_errors(lines: list[Line]) -> str:
    """How well errors planted in digits are found by each score, and counted."""
    cases: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        cases[line["noise"]].append(line)
    scores = list(dict.fromkeys(name for line in lines for name in line["auroc"]))
    rows = []
    for noise, measured in cases.items():
        # Earlier records have other scores.
        aurocs = [[line["auroc"].get(name) for line in measured] for name in scores]
        found = [[value for value in column if value is not None] for column in aurocs]
        first = [100 * line["precision_50"] for line in measured]
        missed = [100 * abs(line["noise_rate"][0] - line["wrong"]) for line in measured]
        cells = [spread(column, 4) if column else "" for column in found]
        cells += [spread(first, 1), spread(missed, 1)]
        rows.append([noise, *(Cell(cell, measured) for cell in cells), str(len(measured))])
    head = ["errors", *scores, "right of the first 50, %", "rate missed by, points", "n"]
    return table(head, rows)


def label_errors(lines: list[Line]) -> str:
    """What one training of ours finds, and what cleanlab finds with five."""
    cases: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        if line["cleanlab"]:
            training = f"{line['network']}, {line['epochs']} epochs"
            cases[f"{line['limit']:,}", line["noise"], training].append(line)
    measures = ("auroc", "average_precision", "precision_100", "precision_500")
    rows = []
    for case, lines in cases.items():
        measured = only_current(lines)
        theirs = [
            {m: max(line[f"cleanlab {s}"][m] for s in _CLEANLAB) for m in measures}
            for line in measured
        ]
        both = [
            f"{spread([line['ours'][m] for line in measured], 3)} / "
            f"{spread([each[m] for each in theirs], 3)}"
            for m in measures
        ]
        ratios = [line["folds"]["seconds"] / line["ours"]["seconds"] for line in measured]
        wrong = spread([100 * line["wrong"] for line in measured], 1)
        cells = [wrong, *both, spread(ratios, 1)]
        rows.append([*case, *(Cell(cell, measured) for cell in cells), str(len(measured))])
    head = ["images", "labels", "network", "wrong, %", "AUROC", "average precision"]
    return table([*head, "precision at 100", "at 500", "time of cleanlab / ours", "n"], rows)


_CLEANLAB = ("self_confidence", "normalized_margin")


def corrections(lines: list[Line]) -> str:
    """What is left, and how well a network learns, once the right suggestions are accepted."""
    cases: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        cases[f"{line['limit']:,}", line["noise"], line["network"]].append(line)
    rows = []
    for case, lines in cases.items():
        measured = _one_a_seed(lines)
        cells = [
            spread([line["corrected"]["accepted"] for line in measured], 0),
            spread([100 * line["wrong"] for line in measured], 1),
            spread([100 * line["corrected"]["wrong"] for line in measured], 1),
            spread([100 * line["ours"]["accuracy"] for line in measured], 1),
            spread([100 * line["corrected"]["accuracy"] for line in measured], 1),
        ]
        rows.append([*case, *(Cell(cell, measured) for cell in cells), str(len(measured))])
    head = ["images", "labels", "network", "suggestions accepted", "wrong before, %", "after, %"]
    return table([*head, "accuracy before, %", "after, %", "n"], rows)


def noise_rates(lines: list[Line]) -> str:
    """The estimated fraction of wrong labels beside the true one, one training each."""
    cases: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        cases[f"{line['limit']:,}", line["noise"], line["network"]].append(line)
    rows = []
    for case, lines in cases.items():
        measured = _one_a_seed(lines)
        wrong = [100 * line["wrong"] for line in measured]
        found = [100 * line["noise_rate"][0] for line in measured]
        missed = max(abs(f - w) for f, w in zip(found, wrong, strict=True))
        inside = sum(
            r[1] <= line["wrong"] <= r[2] for line in measured for r in [line["noise_rate"]]
        )
        cells = [
            spread(wrong, 1),
            spread(found, 1),
            f"{missed:.1f}",
            f"{inside} of {len(measured)}",
        ]
        rows.append([*case, *(Cell(cell, measured) for cell in cells)])
    head = ["images", "labels", "network", "wrong, %", "estimated, %", "missed by at most, points"]
    return table([*head, "within the interval"], rows)


def _one_a_seed(lines: list[Line]) -> list[Line]:
    """One line of each seed: a case with cleanlab and one without have the same training."""
    return list({line["seed"]: line for line in only_current(lines)}.values())


def folder_memory(lines: list[Line]) -> str:
    """The largest resident set of a training on a folder."""
    rows = [
        [
            f"{settings['images']:,} of {settings['size']}x{settings['size']}",
            settings["network"],
            Cell(f"{results['largest_resident_GB']:.2f}", [line]),
            Cell(f"{results['mapped_pixels_GB']:.2f}", [line]),
        ]
        for line in lines
        for settings, results in [(line["settings"], line["results"])]
    ]
    return table(
        ["images", "network", "at most, GB", "of which pixels mapped from a file, GB"], rows
    )


def sop_step(lines: list[Line]) -> str:
    """Microseconds of the loss and its step, by the number of examples."""
    sizes = list(dict.fromkeys(size for line in lines for size in line["results"]))
    rows = [
        [machine(line), *(Cell(shown(line["results"].get(n), ".0f"), [line]) for n in sizes)]
        for line in lines
    ]
    head = [f"microseconds at {int(size):,} examples" for size in sizes]
    return table(["on", *head], rows)


def throughput(lines: list[Line]) -> str:
    """Images a second through a training step."""
    rows = [
        [
            line["settings"]["network"],
            machine(line),
            Cell(str(line["results"]["ours"]), [line]),
            Cell(str(line["results"]["plain_loop"]), [line]),
            Cell(f"{line['results']['ratio']:.2f}", [line]),
        ]
        for line in lines
    ]
    return table(["network", "on", "ours, images/s", "plain loop, images/s", "ratio"], rows)


def _groups(lines: Iterable[Line], names: tuple[str, ...]) -> list[tuple[tuple, list[Line]]]:
    """The lines by the given entries; of a group those of the present code, if it has any."""
    groups: dict[tuple, list[Line]] = defaultdict(list)
    for line in lines:
        groups[tuple(line.get(name) for name in names)].append(line)
    return [(case, only_current(groups[case])) for case in sorted(groups, key=_order)]


def _order(case: tuple) -> tuple:
    return tuple(map(str, case))


def _data(name: str, limit: int | None) -> str:
    return name if limit is None else f"{name}, {limit:,} images"


# Theory.


def linear_solver(lines: list[Line]) -> str:
    """Seconds of the limit of descent and of a general convex solver."""
    rows = []
    for line in lines:
        results = line["results"]
        numbers = (
            f"{1000 * results['n200_seconds']['limit']:.1f}",
            f"{1000 * results['n200_seconds']['cvxpy']:.1f}",
            f"{results['n200_times_faster']:.1f}",
            f"{results['n2000_usual_gamma']['seconds']:.2f}",
            f"{results['n2000_small_gamma']['seconds']:.2f}",
        )
        rows.append([machine(line), *(Cell(text, [line]) for text in numbers)])
    head = ["on", "N = 200: ours, ms", "cvxpy, ms", "ratio"]
    return table([*head, "N = 2,000, gamma = 1e-6: s", "gamma = 1e-20: s"], rows)


def low_rank(lines: list[Line]) -> str:
    """Seconds and error of descent and of the convex program on a 500 x 500 matrix."""
    rows = []
    for line in lines:
        for name in ("descent", "pursuit"):
            found = line["results"][f"n=500 {name}"]
            numbers = (
                f"{found['seconds']:.2f}",
                str(found["steps"]),
                f"{found['relative error of X']:.1e}",
            )
            rows.append([machine(line), name, *(Cell(text, [line]) for text in numbers)])
    return table(["on", "method", "s", "steps", "relative error of X"], rows)


TABLES: dict[str, tuple[Log, Callable[[list[Line]], str]]] = {
    # The README's.
    "readme/images": (logs.QUALITY, image_summary),
    "readme/labels": (logs.ACCURACY, label_summary),
    # Those of docs/benchmarks.md.
    "images/headline": (logs.QUALITY, image_headline),
    "images/methods": (logs.QUALITY, image_methods),
    "images/all": (logs.QUALITY, usual_images),
    "images/large": (logs.QUALITY, large_images),
    "images/large-pictures": (logs.LARGE, large_pictures),
    "images/recipes": (logs.QUALITY, frontier.tabulate),
    "same-results": (logs.SAME_RESULTS, same_results),
    "images/uncertainty": (logs.QUALITY, uncertainty),
    "images/ablation": (logs.ABLATION, ablation.tabulate),
    "images/no-early-stopping": (logs.NO_EARLY_STOPPING, no_early_stopping),
    "images/step-time": (logs.STEP_TIME, step_time),
    "images/folder": (logs.FOLDER, folder),
    "images/seconds-to-quality": (logs.SECONDS_TO_QUALITY, seconds_to_quality),
    "images/shared-defects": (logs.SHARED_DEFECTS, shared_defects),
    "images/damage": (logs.DAMAGE, damage),
    "images/kills": (logs.KILLS, kills),
    "images/contention": (logs.CONTENTION, contention),
    "images/harm": (logs.HARM, harm),
    "images/peers": (logs.PEERS, peers),
    "images/line-odds": (logs.LINE_ODDS, line_odds),
    "images/seams": (logs.SEAMS, seams),
    "images/lone-pixels": (logs.LONE_PIXELS, lone_pixels),
    "images/memory": (logs.MEMORY, memory),
    "labels/accuracy": (logs.ACCURACY, accuracy),
    "labels/comparison": (logs.METHOD_COMPARISON, comparison),
    "labels/issues": (logs.LABEL_ISSUES, label_issues),
    "labels/cost": (logs.METHOD_COST, method_cost),
    "labels/errors": (logs.LABEL_ERRORS, label_errors),
    "labels/corrections": (logs.LABEL_ERRORS, corrections),
    "labels/noise-rates": (logs.LABEL_ERRORS, noise_rates),
    "labels/folder-memory": (logs.FOLDER_MEMORY, folder_memory),
    "labels/planted-errors": (logs.PLANTED_ERRORS, planted_errors),
    "labels/sop-forms": (logs.SOP_FORMS, sop_forms),
    "labels/sop-step": (logs.SOP_STEP, sop_step),
    "labels/throughput": (logs.THROUGHPUT, throughput),
    "theory/linear": (logs.LINEAR_SOLVER, linear_solver),
    "theory/low-rank": (logs.LOW_RANK, low_rank),
}


def render(name: str) -> str:
    """The table of this name in Markdown; a sentence if nothing is recorded."""
    log, make = TABLES[name]
    lines = log.latest()
    return make(lines) if lines else "Not measured yet.\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TABLES))
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in TABLES]:
        parser.error(f"there is no table {unknown[0]!r}")
    for name in args.names or TABLES:
        print(f"{name}\n\n{render(name)}")


if __name__ == "__main__":
    main()
