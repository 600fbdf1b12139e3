"""Which score finds the wrong labels: AUROC of every candidate on finished runs.

    python -m benchmarks.labels.label_issues RUN... --data cifar10.npz

RUN is the folder of a finished run whose true labels are known, made by `accuracy` or
`method_comparison`, which note the code that trained it. All scores come from that one training.
"""

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.logs import LABEL_ISSUES
from benchmarks.options import parse, parser
from benchmarks.record import circumstances, stamped
from sop_classify.data.loading import load_data
from sop_classify.labels.issues import SCORES, auroc, f1, label_issues
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import read_recipe, recipe_for
from sop_classify.methods.sop import SOPLoss
from sop_classify.records.checkpoint import CHECKPOINT, read_checkpoint
from sop_classify.records.record import read_record
from sop_classify.training.single import Training


def main() -> None:
    options = parser(__doc__)
    options.add_argument("runs", nargs="+", type=Path)
    options.add_argument("--data", type=Path, required=True)
    args = parse(options)
    data = load_data(path=args.data)
    for folder in args.runs:
        line = {**case(folder), **measure(folder, data), **circumstances("labels")}
        line["code"] = stamped(folder.parent)  # that of the training
        LABEL_ISSUES.append(line)
        print(folder.name, line["auroc"], line["f1"])


def case(folder: Path) -> dict:
    record = json.loads((folder / "run.json").read_text())
    arguments, recipe = record["arguments"], record["recipe"]
    rate, kind = arguments.get("noise"), arguments.get("noise_type")
    usual = recipe_for(recipe["name"], recipe["method"]).epochs
    return {
        "data": record["data"]["name"],
        "limit": arguments.get("limit"),
        "noise": kind if rate is None else f"{kind} {rate:g}",
        "method": recipe["method"],
        "recipe": recipe["name"],
        "epochs": recipe["epochs"],
        "settings": "" if recipe["epochs"] == usual else f"epochs={recipe['epochs']}",
        "seed": record["seed"],
    }


def measure(folder: Path, data) -> dict:
    labels = np.load(folder / "labels.npz")
    given, true = labels["given_labels"], labels["true_labels"]
    if len(given) != len(data.train_labels):
        raise SystemExit(f"{folder} trained on a part of the data; only whole runs can be read")
    wrong = given != true
    training = training_for(data, given, read_recipe(read_record(folder).recipe))
    training.load_state_dict(read_checkpoint(folder / CHECKPOINT)[1])
    probabilities = {
        "averaged": training.probability.cpu().numpy(),
        "final": training.predict_training_images().cpu().numpy(),
    }
    areas = {"disagreements": auroc(-training.disagreements.cpu().numpy(), wrong)}
    found = {}
    for name, probability in probabilities.items():
        for score in SCORES:
            issues = label_issues(given, probability, score=score)
            areas[f"{score}, {name}"] = auroc(issues.label_score, wrong)
        found[name] = f1(issues.is_label_issue, wrong)
    if isinstance(training, Training) and isinstance(training.loss, SOPLoss):
        # The counters themselves: U and V are clamped at 1, where many are equal.
        u, v = training.loss.u[:, 0].abs(), training.loss.v.abs()
        v = v.scatter(1, torch.from_numpy(given)[:, None].to(v.device), 0).amax(1)
        areas |= {"u": auroc(-u.cpu().numpy(), wrong), "v": auroc(-v.cpu().numpy(), wrong)}
    return {
        "auroc": {name: _rounded(area) for name, area in areas.items()},
        "f1": {name: _rounded(value) for name, value in found.items()},
    }


def _rounded(value: float | None) -> float | None:
    """None stays: no label is wrong, or all are."""
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
