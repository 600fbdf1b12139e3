"""All methods on the same labels: runs `compare-methods` and records its finished runs.

    python -m benchmarks.labels.method_comparison FOLDER [OPTIONS of compare-methods]

Each finished run of the grid in FOLDER becomes one line of results/labels/method_comparison.jsonl.
Ctrl-C stops the grid, and what is finished is recorded; the same command goes on. A grid that was
begun with other code is refused.
"""

import argparse
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.code_hash import ROOT
from benchmarks.logs import METHOD_COMPARISON
from benchmarks.record import Line, circumstances, code, stamp
from sop_classify.methods.catalogue import METHODS
from sop_classify.records.record import read_record
from sop_classify.reports.comparison import read_runs

# Settings of a run that depend on its length.
_OWN = ("epochs", "warmup", "activation_epochs", "unlabelled", "teacher_ramp", "drop_ramp")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    args, options = parser.parse_known_args()
    stamp(args.folder, "labels")
    command = ["compare-methods", *options]
    # Ctrl-C reaches the grid too, which stops in order; this process waits for it.
    signal.signal(signal.SIGINT, lambda *_: None)
    program = [sys.executable, str(ROOT / "cli.py"), *command, "--out", str(args.folder)]
    status = subprocess.run(program).returncode
    words = " ".join(Path(word).name for word in command)
    recorded = [record(row, args.folder, words) for row in read_runs(args.folder)]
    print(f"{len(recorded)} runs are finished, {sum(recorded)} of them newly recorded")
    raise SystemExit(status)


def record(row: Line, folder: Path, command: str) -> bool:
    """Record a finished run; False if that was done before."""
    description = asdict(read_record(folder / row["run"]))
    settings = description["recipe"]
    recipe = {key: settings[key] for key in ("name", *_OWN) if key in settings}
    case = {**row, "budget": recipe["name"], "recipe": recipe}
    known = METHODS[row["method"]].published_accuracy
    published = known.get(row["noise"]) if case.pop("is_cifar10") else None
    if METHOD_COMPARISON.has(case | {"code": code("labels")}):
        return False
    ran = {name: description[name] for name in ("versions", "device_name", "threads", "precision")}
    line = {**case, "published": published, "compare_methods": command}
    METHOD_COMPARISON.append({**line, **circumstances("labels"), **ran})
    return True


if __name__ == "__main__":
    main()
