"""The record of a finished `compare-methods`: its runs, what they ran on, table and figure.

    python cli.py compare-methods --out FOLDER ...
    python -m benchmarks.labels.method_comparison FOLDER NAME "the command that made it"

Writes results/NAME.json, .md and .png. What all runs share stands once, the rest in every run.
"""

import json
import shutil
import sys
from pathlib import Path

from benchmarks.record import RESULTS, write_record
from sop_classify.recipes import METHODS
from sop_classify.reports.comparison import read_runs, write_comparison

_SHARED = ("versions", "device_name", "threads", "precision")
_OWN = ("epochs", "warmup", "activation_epochs", "unlabelled", "teacher_ramp", "drop_ramp")


def main() -> None:
    folder, name, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    write_comparison(folder, methods=METHODS)
    rows = read_runs(folder)
    records = {
        row["run"]: json.loads((folder / row["run"] / "run.json").read_text()) for row in rows
    }
    shared = {
        key: sorted({json.dumps(record.get(key), sort_keys=True) for record in records.values()})
        for key in _SHARED
    }
    settings = {
        "compare_methods": command,
        "runs_under": {
            key: [json.loads(value) for value in values] for key, values in shared.items()
        },
    }
    results = [
        {**row, "recipe": {key: records[row["run"]]["recipe"][key] for key in ("name", *_OWN)}}
        for row in rows
    ]
    write_record(name, settings, results)
    for suffix in ("md", "png"):
        shutil.copyfile(folder / f"comparison.{suffix}", RESULTS / f"{name}.{suffix}")
    print(f"{len(rows)} runs")


if __name__ == "__main__":
    main()
