"""The tables of the other records of pictures."""

import math
import statistics
from collections import defaultdict

from benchmarks.images.contention import LOADS
from benchmarks.images.harm import SAME
from benchmarks.markdown import (
    Cell,
    average,
    spread,
    table,
    values,
)
from benchmarks.record import Line, by_text, grouped, machine, only_current


def large_pictures(lines: list[Line]) -> str:
    """What is found and fitted in large pictures of which a few tiles are damaged."""
    rows = []
    for (scene, size, then, steps), used in grouped(lines, ("scene", "size", "then", "steps")):
        tiles, damaged = (sum(values(used, name)) for name in ("tiles", "damaged"))
        found, false = (sum(values(used, name)) for name in ("found", "false"))
        row: list[str | Cell] = [scene, size, then or ""]
        row.append("" if steps is None else str(steps or "all"))
        row.append(Cell(f"{found:.0f} of {damaged:.0f}", used))
        row.append(Cell(f"{false:.0f} of {tiles - damaged:.0f}", used))
        row += [Cell(f"{average(used, name):.3g}", used) for name in ("work", "covered")]
        row.append(Cell(f"{average(used, 'survey_cpu_seconds'):.1f}", used))
        if steps is None:
            row += [""] * 4
        else:
            row.append(Cell(f"{sum(values(used, 'copied')):.0f} of {tiles:.0f}", used))
            before, after = (average(used, f"damage_psnr{end}") for end in ("_before", ""))
            row.append(Cell(f"{before:.1f}, {after:.1f}", used))
            row.append(Cell(f"{average(used, 'cpu_seconds') / 60:.1f}", used))
            row.append(Cell(f"{max(values(used, 'peak_bytes')) / 1e9:.2f}", used))
        rows.append([*row, str(len(used))])
    head = ["picture", "pixels", "then", "steps", "damaged tiles found", "others fitted", "work"]
    head += ["covered", "survey, CPU s", "tiles copied", "PSNR of what is damaged, dB"]
    return table([*head, "CPU minutes", "GB", "n"], rows)


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
    for (frames, amount, then), used in grouped(lines, ("frames", "amount", "then")):
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
        dict(grouped([line for line in lines if line["way"] == way], _DAMAGED))
        for way in ("auto", "named", "known")
    ]
    for case in sorted({case for of_way in ways for case in of_way}, key=by_text):
        kind, then, side, image = case
        measured = [of_way.get(case, []) for of_way in ways]
        used = [line for each in measured for line in each]
        row: list[str | Cell] = [kind, then, f"{image}, {side}x{side}"]
        row.append(f"{average(used, 'input_psnr'):.2f}")
        row += [Cell(f"{average(each, 'psnr'):.2f}" if each else "", each) for each in measured]
        rows.append([*row, str(len({line["seed"] for line in used}))])
    head = ["damage", "then", "picture", "damaged", "auto", "named", "true mask", "n"]
    return table(head, rows)


def peers(lines: list[Line]) -> str:
    """Other programs on the same files: means over the pictures."""
    others = {line["method"] for line in lines} - {"robustdip"}
    methods = ["robustdip", *sorted(others)]
    rows = []
    for (grey, kind, amount, side), used in grouped(lines, ("grey", "kind", "amount", "side")):
        of = {name: [line for line in used if line["method"] == name] for name in methods}
        row: list[str | Cell] = [f"{kind} {amount:.0%}, {'grey' if grey else 'colour'}"]
        row.append(f"{side}x{side}")
        row.append(Cell(f"{average(used, 'input_psnr'):.2f}", used))
        row += [Cell(f"{average(mine, 'psnr'):.2f}" if mine else "", mine) for mine in of.values()]
        row.append(Cell(f"{average(used, 'true_mask_linear_psnr'):.2f}", used))
        counts = {len(mine) for mine in of.values() if mine}
        rows.append([*row, "/".join(map(str, sorted(counts)))])
    return table(["corruption", "size", "corrupted", *methods, "true mask + linear", "n"], rows)


def harm(lines: list[Line]) -> str:
    """What is found and changed in pictures without damage."""
    rows = []
    for (picture, side, strength), used in grouped(lines, ("picture", "side", "jpeg")):
        flagged, unchanged = average(used, "flagged"), min(values(used, "psnr"))
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


def lone_pixels(lines: list[Line]) -> str:
    """PSNR at wrong pixels that stand alone, filled from their neighbours and fitted."""
    rows = []
    for (image, side), used in grouped(lines, ("image", "side")):
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
    for (side, tile, kind, amount, method), used in grouped(
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
