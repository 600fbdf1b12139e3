"""The tables of the documentation, each made from one record.

    python -m benchmarks.tables [NAME ...]

prints them; `python docs/build.py` writes them into the pages.
"""

import argparse
from collections.abc import Callable

from benchmarks import logs
from benchmarks.images import ablation, frontier, quality_tables
from benchmarks.images import tables as image_tables
from benchmarks.labels import tables as label_tables
from benchmarks.markdown import table
from benchmarks.record import Line, Log
from benchmarks.theory import tables as theory_tables


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


TABLES: dict[str, tuple[Log, Callable[[list[Line]], str]]] = {
    # The README's.
    "readme/images": (logs.QUALITY, quality_tables.image_summary),
    "readme/labels": (logs.ACCURACY, label_tables.label_summary),
    # Those of docs/benchmarks.md.
    "images/headline": (logs.QUALITY, quality_tables.image_headline),
    "images/methods": (logs.QUALITY, quality_tables.image_methods),
    "images/all": (logs.QUALITY, quality_tables.usual_images),
    "images/large": (logs.QUALITY, quality_tables.large_images),
    "images/large-pictures": (logs.LARGE, image_tables.large_pictures),
    "images/recipes": (logs.QUALITY, frontier.tabulate),
    "same-results": (logs.SAME_RESULTS, same_results),
    "images/uncertainty": (logs.QUALITY, quality_tables.uncertainty),
    "images/ablation": (logs.ABLATION, ablation.tabulate),
    "images/no-early-stopping": (logs.NO_EARLY_STOPPING, image_tables.no_early_stopping),
    "images/step-time": (logs.STEP_TIME, image_tables.step_time),
    "images/folder": (logs.FOLDER, image_tables.folder),
    "images/seconds-to-quality": (logs.SECONDS_TO_QUALITY, image_tables.seconds_to_quality),
    "images/shared-defects": (logs.SHARED_DEFECTS, image_tables.shared_defects),
    "images/damage": (logs.DAMAGE, image_tables.damage),
    "images/kills": (logs.KILLS, image_tables.kills),
    "images/contention": (logs.CONTENTION, image_tables.contention),
    "images/harm": (logs.HARM, image_tables.harm),
    "images/peers": (logs.PEERS, image_tables.peers),
    "images/line-odds": (logs.LINE_ODDS, image_tables.line_odds),
    "images/seams": (logs.SEAMS, image_tables.seams),
    "images/lone-pixels": (logs.LONE_PIXELS, image_tables.lone_pixels),
    "images/memory": (logs.MEMORY, image_tables.memory),
    "labels/accuracy": (logs.ACCURACY, label_tables.accuracy),
    "labels/comparison": (logs.METHOD_COMPARISON, label_tables.comparison),
    "labels/issues": (logs.LABEL_ISSUES, label_tables.label_issues),
    "labels/cost": (logs.METHOD_COST, label_tables.method_cost),
    "labels/errors": (logs.LABEL_ERRORS, label_tables.label_errors),
    "labels/corrections": (logs.LABEL_ERRORS, label_tables.corrections),
    "labels/noise-rates": (logs.LABEL_ERRORS, label_tables.noise_rates),
    "labels/folder-memory": (logs.FOLDER_MEMORY, label_tables.folder_memory),
    "labels/planted-errors": (logs.PLANTED_ERRORS, label_tables.planted_errors),
    "labels/sop-forms": (logs.SOP_FORMS, label_tables.sop_forms),
    "labels/sop-step": (logs.SOP_STEP, label_tables.sop_step),
    "labels/throughput": (logs.THROUGHPUT, label_tables.throughput),
    "theory/linear": (logs.LINEAR_SOLVER, theory_tables.linear_solver),
    "theory/low-rank": (logs.LOW_RANK, theory_tables.low_rank),
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
