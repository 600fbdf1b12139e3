"""Which score finds the wrong labels: AUROC of every candidate on finished runs.

    python -m benchmarks.labels.label_issues RUN... --data cifar10.npz

RUN is the folder of a run of which the truth is known. All scores come from that one training.
Records go to results/label_issues.jsonl.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import RESULTS, circumstances
from sop_classify.data.loading import load_data
from sop_classify.labels.issues import SCORES, auroc, f1, label_issues
from sop_classify.methods.build import training_for
from sop_classify.methods.sop import SOPLoss
from sop_classify.recipes import Recipe
from sop_classify.runs.checkpoint import read_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    data = load_data(path=args.data)
    for folder in args.runs:
        line = {"run": folder.name, **measure(folder, data), **circumstances()}
        with (RESULTS / "label_issues.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(folder.name, line["auroc"], line["f1"])


def measure(folder: Path, data) -> dict:
    labels = np.load(folder / "labels.npz")
    given, true = labels["given_labels"], labels["true_labels"]
    if len(given) != len(data.train_labels):
        raise SystemExit(f"{folder} trained on a part of the data; only whole runs can be read")
    wrong = given != true
    recipe = Recipe(**json.loads((folder / "run.json").read_text())["recipe"])
    training = training_for(data, given, recipe)
    training.load_state_dict(read_checkpoint(folder / "checkpoint.safetensors")[1])
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
    if isinstance(training.loss, SOPLoss):
        # The counters themselves: U and V are clamped at 1, where many are equal.
        u, v = training.loss.u[:, 0].abs(), training.loss.v.abs()
        v = v.scatter(1, torch.from_numpy(given)[:, None].to(v.device), 0).amax(1)
        areas |= {"u": auroc(-u.cpu().numpy(), wrong), "v": auroc(-v.cpu().numpy(), wrong)}
    return {
        "auroc": {name: round(area, 4) for name, area in areas.items()},
        "f1": {name: round(value, 4) for name, value in found.items()},
    }


if __name__ == "__main__":
    main()
