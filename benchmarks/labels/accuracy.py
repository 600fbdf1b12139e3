"""Accuracy, memorisation, label issues and time of every method under label noise.

    python -m benchmarks.labels.accuracy run --data cifar10.npz [--noise 0.2 0.4] [--methods ce sop]
                                     [--seeds 0 1] [--recipe cpu] [--threads 2] [--set K=V ...]
    python -m benchmarks.labels.accuracy table

A case is one call of `cli.py train-cifar`, and becomes one line of results/labels/accuracy.jsonl; a
killed call resumes where it was. --noise takes rates of symmetric noise and names of human label
sets. Accuracies are those of the last epoch; the best is kept beside it. Runs go to a folder named
after the hash of the code, below --runs, so that no run is resumed with other code.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.code_hash import ROOT, code_hash
from benchmarks.logs import ACCURACY
from benchmarks.record import circumstances, code, stamp
from benchmarks.tables import render


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        print(render("labels/accuracy"), end="")
        return
    args.runs /= code_hash("labels")
    stamp(args.runs, "labels")
    for seed in args.seeds:
        for noise in args.noise:
            for method in args.methods:
                values = (args.data.stem, args.limit, noise, method, args.recipe)
                values = (*values, " ".join(args.settings), args.device, seed)
                case = dict(zip(ACCURACY.key, values, strict=True))
                if ACCURACY.has(case | {"code": code("labels")}):
                    continue
                line = measure(case, args)
                ACCURACY.append(line)
                printed = (*ACCURACY.key, "accuracy", "memorized", "seconds")
                print({name: line[name] for name in printed}, flush=True)


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
        **circumstances("labels"),
        "device_name": description["device_name"],
        "threads": args.threads,
        "train_command": " ".join(["python", *shown]),
    }


if __name__ == "__main__":
    main()
