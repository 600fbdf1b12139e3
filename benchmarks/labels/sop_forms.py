"""SOP's forms, with and without `class_guard`: 1,000 digits, 40 % of the labels wrong, ten seeds.

    python -m benchmarks.labels.sop_forms [--seeds 10] [--noise 0.4]

The problem and all other settings are those of examples/digits.py, which were chosen with the
projected form. 15 minutes on one CPU thread.
"""

import statistics
import sys
from itertools import product
from pathlib import Path
from typing import get_args

from benchmarks.logs import SOP_FORMS
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from sop_classify.methods.catalogue import SOPForm

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import digits  # pyright: ignore[reportMissingImports]

FORMS = get_args(SOPForm)
GUARDS = (0.0, 0.5)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--noise", type=float, default=0.4)
    options.set_defaults(threads=1)  # on so little, a second one loses more than it gains
    args = parse(options)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for form, guard in product(FORMS, GUARDS):
        found: dict[str, list[float]] = {"accuracy": [], "memorised": []}
        for seed in range(args.seeds):
            data = digits.load(seed=seed)
            given = digits.noisy(data, args.noise, seed=seed)
            settings = [f"form={form}", f"class_guard={guard}"]
            _, history = digits.train(data, given, "sop", seed=seed, settings=settings)
            found["accuracy"].append(100 * history[-1].test_accuracy)
            found["memorised"].append(100 * (history[-1].memorized or 0.0))
        case = {
            name: {"mean": round(statistics.mean(v), 2), "std": round(statistics.stdev(v), 2)}
            for name, v in found.items()
        }
        case["accuracy"]["least"] = round(min(found["accuracy"]), 2)
        results[f"{form}, class_guard={guard:g}"] = case
        print(f"{form:10} {guard:g}", case, flush=True)
    settings = settings_of(args) | {"unit": "per cent, last epoch"}
    SOP_FORMS.record("labels", settings, results)


if __name__ == "__main__":
    main()
