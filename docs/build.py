"""Fill the generated parts of README.md and docs/*.md: tables, figures and outputs of examples.

    python docs/build.py [NAME ...]             # everything, or what has this name
    python docs/build.py --check [--current]    # change nothing; 1 if a table is not its record's

A table stands between <!-- table: NAME --> and <!-- end -->, where NAME is one of
`benchmarks.tables.TABLES`. What an example prints stands between
<!-- output of examples/NAME.py --> and <!-- end -->. On the command line a NAME stands also for all
names below it: `images` makes every table and figure of images, `readme` the tables of README.md,
and `examples` runs every example.
Tables and figures take seconds, the examples minutes on two CPU cores.

--check compares the tables; --current demands as well that they hold no number of earlier code.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is not installed

from benchmarks import logs, tables  # noqa: E402
from benchmarks.images import frontier, no_early_stopping, quality  # noqa: E402
from benchmarks.markdown import STALE  # noqa: E402

BLOCK = re.compile(
    r"(?P<begin><!-- (?:table: (?P<table>\S+)|output of (?P<example>\S+)\.py) -->\n)"
    r"(?P<text>.*?)(?P<end><!-- end -->\n)",
    re.DOTALL,
)


class Block(NamedTuple):
    """A generated part of a page."""

    page: Path
    name: str
    is_table: bool
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--current", action="store_true", help="with --check")
    args = parser.parse_args()
    if args.current and not args.check:
        parser.error("--current needs --check")
    blocks = list(blocks_of(pages()))
    figures = {} if args.check else FIGURES
    known = {*(block.name for block in blocks), *figures}
    for name in args.names:
        if not any(_stands_for(name, other) for other in known):
            parser.error(f"there is no {name!r}; there are {', '.join(sorted(known))}")

    def wanted(name: str) -> bool:
        return not args.names or any(_stands_for(given, name) for given in args.names)

    blocks = [block for block in blocks if wanted(block.name)]
    if args.check:
        found = list(faults([block for block in blocks if block.is_table], current=args.current))
        print("\n".join(found) or "every table is that of its record")
        raise SystemExit(bool(found))
    for name, draw in figures.items():
        if wanted(name):
            print(name, flush=True)
            draw()
    # Tables first: they take seconds. Each is written at once: a later failure loses nothing.
    for block in sorted(blocks, key=lambda block: not block.is_table):
        print(f"{block.page.relative_to(ROOT)}: {block.name}", flush=True)
        replace_block(block, table_text(block) if block.is_table else output(block))


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks_of(pages: list[Path]) -> Iterator[Block]:
    """All generated parts of the pages."""
    for page in pages:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            name = match["table"] or match["example"]
            yield Block(page, name, is_table=match["table"] is not None, text=match["text"])


def faults(blocks: list[Block], *, current: bool) -> Iterator[str]:
    """A line for each table that is not what its record gives, or not of the present code."""
    for block in blocks:
        text = table_text(block)
        where = f"{block.page.relative_to(ROOT)}: table {block.name}"
        if block.text != text:
            yield f"{where} is not that of its record; run python docs/build.py {block.name}"
        elif current and (count := text.count(f" {STALE} |")):
            yield f"{where} has numbers of earlier code ({count}); measure them again"


def table_text(block: Block) -> str:
    if block.name not in tables.TABLES:
        raise SystemExit(f"{block.page}: there is no table {block.name!r} in benchmarks/tables.py")
    return f"\n{tables.render(block.name)}\n"


def output(block: Block) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, f"{block.name}.py"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{block.name}.py failed:\n{done.stderr}")
    lines = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
    return f"```\n{lines}\n```\n"


def replace_block(block: Block, text: str) -> None:
    """Write the text into its page, read anew: an earlier block may have changed it."""

    def filled(match: re.Match[str]) -> str:
        name = match["table"] or match["example"]
        return match["begin"] + text + match["end"] if name == block.name else match[0]

    page = block.page.read_text(encoding="utf-8")
    block.page.write_text(BLOCK.sub(filled, page), encoding="utf-8")


def _draw_quality() -> None:
    # The kinds that were measured at several amounts, at the usual side.
    lines = [
        line
        for line in logs.QUALITY.latest()
        if line["side"] == 256 and line["kind"] in quality.SPLIT
    ]
    quality.draw(lines, logs.QUALITY.path.with_suffix(".png"))


def _draw_no_early_stopping() -> None:
    no_early_stopping.draw(logs.NO_EARLY_STOPPING.latest(), no_early_stopping.FIGURE)


def _draw_frontier() -> None:
    frontier.draw(logs.QUALITY.latest(), frontier.FIGURE)


FIGURES: dict[str, Callable[[], None]] = {
    "images/frontier.png": _draw_frontier,
    "images/quality.png": _draw_quality,
    "images/no-early-stopping.png": _draw_no_early_stopping,
}


def _stands_for(given: str, name: str) -> bool:
    return name == given or name.startswith(f"{given}/")


if __name__ == "__main__":
    main()
