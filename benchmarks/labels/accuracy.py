"""Accuracy, memorisation, label issues and time of every method under label noise.

    python -m benchmarks.labels.accuracy run --data cifar10.npz [--noise 0.2 0.4] [--methods ce sop]
                                     [--seeds 0 1] [--recipe cpu] [--threads 2] [--set K=V ...]
    python -m benchmarks.labels.accuracy table

A case is one call of `cli.py train-cifar`, and becomes one line of results/label_noise.jsonl; a
killed call goes on where it was. --noise takes rates of symmetric noise and names of human label
sets. Accuracies are those of the last epoch; the best is kept beside it.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, circumstances

ROOT = Path(__file__).parents[2]
LINES = RESULTS / "label_noise.jsonl"
KEY = ("data", "limit", "noise", "method", "recipe", "settings", "device", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--limit", type=int)
    run.add_argument("--noise", nargs="+", default=["0.2"])
    run.add_argument("--methods", nargs="+", default=["ce", "sop"])
    run.add_argument("--seeds", nargs="+", type=int, default=[0])
    run.add_argument("--recipe", default="cpu")
    run.add_argument("--set", nargs="+", default=[], dest="settings")
    run.add_argument("--device", default="auto")
    run.add_argument("--compile", action="store_true")
    run.add_argument("--threads", type=int, default=os.cpu_count())
    run.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmark")
    commands.add_parser("table")
    args = parser.parse_args()
    if args.command == "table":
        print_table()
        return
    done = {tuple(str(line[name]) for name in KEY) for line in read_lines()}
    for seed in args.seeds:
        for noise in args.noise:
            for method in args.methods:
                values = (args.data.stem, args.limit, noise, method, args.recipe)
                case = dict(
                    zip(KEY, (*values, " ".join(args.settings), args.device, seed), strict=True)
                )
                if tuple(str(case[name]) for name in KEY) in done:
                    continue
                line = measure(case, args)
                RESULTS.mkdir(exist_ok=True)
                with LINES.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print({k: line[k] for k in (*KEY, "accuracy", "memorized", "seconds")}, flush=True)


def measure(case: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    out = args.runs / "-".join(str(value) for value in case.values() if value)
    rate = case["noise"][0].isdigit()
    noise = ["--noise", case["noise"]] if rate else ["--noise-type", case["noise"]]
    command = ["cli.py", "train-cifar", *noise, "--method", case["method"], "--recipe"]
    command += [case["recipe"], "--seed", str(case["seed"]), "--device", args.device]
    command += [word for setting in args.settings for word in ("--set", setting)]
    command += ["--limit", str(case["limit"])] if case["limit"] else []
    command += ["--compile"] if args.compile else []
    command += ["--data", str(args.data), "--out", str(out), "--json"]
    command += ["--resume"] if (out / "run.json").exists() else []
    out.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True
    )
    summary = json.loads(done.stdout)
    summary.pop("run")
    description = json.loads((out / "run.json").read_text())
    with (out / "metrics.csv").open() as file:
        *_, last = csv.DictReader(file)
    hidden = ("--data", "--out")
    shown = [
        w
        for before, w in zip(["", *command], command, strict=False)
        if w not in hidden and before not in hidden
    ]  # folders say nothing
    return {
        **case,
        **summary,
        "last_epoch": {key: float(value) for key, value in last.items() if value},
        "recipe_used": description["recipe"],
        "device_used": description["device_name"],
        **circumstances(),
        "threads": args.threads,
        "train_command": " ".join(["python", *shown]),
    }


def read_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def print_table() -> None:
    """Mean ± standard deviation over seeds, in per cent, one row a case."""
    rows: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for line in read_lines():
        rows[tuple(line[name] for name in KEY if name != "seed")].append(line)
    columns = {
        "accuracy": "last epoch",
        "accuracy_flips": "with flips",
        "best_accuracy": "best epoch",
        "memorized": "memorised",
        "issues_auroc": "issues AUROC",
        "issues_f1": "issues F1",
    }
    print(f"| data | noise | recipe | method | {' | '.join(columns.values())} | minutes | n |")
    print("|" + "---|" * (len(columns) + 6))
    for (data, limit, noise, method, recipe, settings, _), lines in sorted(rows.items(), key=str):
        shown = [
            _spread([100 * v for x in lines if (v := x.get(key)) is not None]) for key in columns
        ]
        # A record without seconds was made while something else used the processor.
        times = [line["seconds"] for line in lines if "seconds" in line]
        minutes = f"{statistics.median(times) / 60:.1f}" if times else ""
        size = data if limit is None else f"{data}, {limit:,}"
        print(
            f"| {size} | {noise} | {recipe} {settings} | {method} | {' | '.join(shown)} "
            f"| {minutes} | {len(lines)} |"
        )


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


if __name__ == "__main__":
    main()
