"""The tables of the records of labels."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator

from benchmarks.markdown import Cell, Columns, cells_of, shown, spread, table, titles_of, values
from benchmarks.record import Line, by_text, grouped, is_current, machine, only_current


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
            *cells_of(used, columns),
            str(len(used)),
        ]
        for (data, limit, noise, recipe, settings, method, _), used in grouped(chosen, names)
    ]
    return table(["data", "noise", "recipe", "method", *titles_of(columns), "n"], rows)


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
        [f"{float(noise):.0%}", methods[method], *cells_of(used, columns), str(len(used))]
        for (noise, method), used in grouped(chosen, ("noise", "method"))
    ]
    return table(["wrong labels", "method", *titles_of(columns), "n"], rows)


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
    groups = grouped(_by_present_names(lines), names)
    # An earlier number of epochs is shown only where there is no present one.
    present = {case[:-1] for case, used in groups if is_current(used[0])}
    groups = [(c, used) for c, used in groups if is_current(used[0]) or c[:-1] not in present]
    # Within a kind of noise the most accurate method comes first.
    groups.sort(key=lambda group: (by_text(group[0][:4]), -_accuracy(group[1])))
    rows = [
        [
            _data(data, limit),
            *(budget, noise, method, str(epochs)),
            *cells_of(used, columns),
            shown(used[0]["published"], ".2f"),
            str(len(used)),
        ]
        for (data, limit, budget, noise, method, epochs), used in groups
    ]
    head = ["data", "recipe", "noise", "method", "epochs", *titles_of(columns)]
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
        for line in only_current(lines)
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
    rows = []
    for case, measured in _by_case(lines):
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
    rows = []
    for case, measured in _by_case(lines):
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


def _by_case(lines: list[Line]) -> list[tuple[tuple[str, ...], list[Line]]]:
    """The lines by images, labels and network, one of each seed.

    A case with cleanlab and one without have the same training.
    """
    cases: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        cases[f"{line['limit']:,}", line["noise"], line["network"]].append(line)
    return [
        (case, list({line["seed"]: line for line in only_current(found)}.values()))
        for case, found in cases.items()
    ]


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
        for line in only_current(lines)
    ]
    return table(["network", "on", "ours, images/s", "plain loop, images/s", "ratio"], rows)


def _data(name: str, limit: int | None) -> str:
    return name if limit is None else f"{name}, {limit:,} images"
