"""Run the examples and write what they print into method.md; their figures are made anew.

    python docs/method.py [NAME ...]

NAME is an example, say low_rank; all by default. Minutes on two CPU cores.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "method.md"
BLOCK = re.compile(r"<!-- output of (examples/(\w+)\.py) -->\n.*?<!-- end -->\n", re.DOTALL)


def main() -> None:
    wanted = sys.argv[1:]
    page = PAGE.read_text()
    names = [match[2] for match in BLOCK.finditer(page)]
    if unknown := set(wanted) - set(names):
        raise SystemExit(f"no example {', '.join(sorted(unknown))} in {PAGE.name}: {names}")
    for name in wanted or names:
        print(f"examples/{name}.py", flush=True)
        done = subprocess.run(
            [sys.executable, f"examples/{name}.py"], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"examples/{name}.py failed:\n{done.stderr}")
        # After each: what is done is kept if a later one fails.
        page = BLOCK.sub(lambda match: _filled(match, name, done.stdout), page)  # noqa: B023
        PAGE.write_text(page)


def _filled(match: re.Match[str], name: str, output: str) -> str:
    if match[2] != name:
        return match[0]
    lines = "\n".join(line.rstrip() for line in output.strip().splitlines())
    return f"<!-- output of {match[1]} -->\n```\n{lines}\n```\n<!-- end -->\n"


if __name__ == "__main__":
    main()
