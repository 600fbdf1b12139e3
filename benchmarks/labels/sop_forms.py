"""SOP's three forms against each other: 1,000 digits, 40 % of the labels wrong, ten seeds.

    python -m benchmarks.labels.sop_forms [--seeds 10] [--noise 0.4]

The problem and all other settings are those of examples/digits.py, which were chosen with the
projected form. Two minutes on one CPU thread.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import torch

from benchmarks.record import write_record
from sop_classify.recipes import Recipe

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import digits

FORMS = get_args(get_type_hints(Recipe)["form"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--noise", type=float, default=0.4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for form in FORMS:
        found: dict[str, list[float]] = {"accuracy": [], "memorised": []}
        for seed in range(args.seeds):
            data = digits.load(seed=seed)
            given = digits.noisy(data, args.noise, seed=seed)
            _, history = digits.train(data, given, "sop", seed=seed, settings=[f"form={form}"])
            found["accuracy"].append(100 * history[-1].test_accuracy)
            found["memorised"].append(100 * (history[-1].memorized or 0.0))
        results[form] = {
            name: {"mean": round(statistics.mean(v), 2), "std": round(statistics.stdev(v), 2)}
            for name, v in found.items()
        }
        print(f"{form:10}", results[form], flush=True)
    write_record("sop_forms", vars(args) | {"unit": "per cent, last epoch", "threads": 1}, results)


if __name__ == "__main__":
    main()
