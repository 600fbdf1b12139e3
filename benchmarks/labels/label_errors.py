"""The wrong labels that one training finds, beside those that cleanlab finds with five.

    python -m benchmarks.labels.label_errors --data cifar10.npz [--noise symmetric:0.2 worst]
                                             [--human CIFAR-10_human.pt] [--seeds 0 1] [--most 1]

Ours is what `robustdip find-label-errors` does: SOP with a tenth held out, and the score of its
label_issues.csv. Cleanlab's is what its tutorials do: cross entropy in five folds, and the scores
`cleanlab.rank.get_label_quality_scores` gives to the probabilities of images that were not trained
on. Both have the same network, number of epochs, views and rule for the learning rate; by default
FastNet with a quarter of its channels and smaller images at first, so that a case takes minutes of
one thread.
Then a person, who is simulated by the truth, looks at the 2,000 labels of lowest score and accepts
the suggestions that are right, and SOP is trained again: how many labels are still wrong, and what
the accuracy on the test images is, before and after.

A call does at most --most trainings (by default all that are missing) and keeps what each gives in
--runs, in a folder named after the hash of the code; once the seven of a case are there, it becomes
a line of results/labels/label_errors.jsonl. --ours leaves cleanlab out: it has a line of its own.
Seconds are those of the processor. Needs `pip install cleanlab scikit-learn`.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.code_hash import ROOT, code_hash
from benchmarks.logs import LABEL_ERRORS
from benchmarks.options import parse, parser
from benchmarks.record import circumstances, code, stamp
from overparam.files import replace_file
from sop_classify.cli.own_images import fitted
from sop_classify.data.image_data import ImageData
from sop_classify.data.images import LabelledImages, hold_out
from sop_classify.data.loading import load_data
from sop_classify.labels.issues import auroc
from sop_classify.labels.label_noise import LabelNoise
from sop_classify.labels.noisy import NoisyLabels, noisy_labels
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import NETWORKS, Recipe, with_settings
from sop_classify.runs.label_errors import judged_by
from sop_classify.training.networks import FastNet

NOISE = ("symmetric:0.05", "symmetric:0.2", "instance:0.2", "aggre", "random1", "worst")
FOLDS = 5
REVIEWED = 2_000
SETTINGS = ("start_scale=0.5", "full_scale_at=0.8")
NARROW = {
    "fast-half": "benchmarks.labels.label_errors:half_width",
    "fast-quarter": "benchmarks.labels.label_errors:quarter_width",
}


def half_width(num_classes: int) -> nn.Module:
    """FastNet with half of its channels: a quarter of the work."""
    return FastNet(num_classes, widths=(32, 128, 128))


def quarter_width(num_classes: int) -> nn.Module:
    """FastNet with a quarter of its channels."""
    return FastNet(num_classes, widths=(16, 64, 64))


@dataclass(frozen=True)
class Case:
    """Images, labels and a seed."""

    data: str
    limit: int
    noise: str
    network: str
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        return "-".join(map(str, vars(self).values())).replace(":", "-")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--human", type=Path, help="labels of people, see train-cifar")
    options.add_argument("--noise", nargs="+", default=list(NOISE))
    options.add_argument("--limit", type=int, default=10_000)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--network", default="fast-quarter", help="fast-half, or one of train's")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--most", type=int, default=10**9, help="trainings in this call")
    options.add_argument("--ours", action="store_true", help="without cleanlab")
    options.add_argument("--runs", type=Path, default=ROOT / "runs" / "label-errors")
    args = parse(options)
    NETWORKS.update(NARROW)
    folder = args.runs / code_hash("label-errors")
    stamp(folder, "label-errors")
    data = load_data(path=args.data)
    left = args.most
    for seed in args.seeds:
        for noise in args.noise:
            case = Case(args.data.stem, args.limit, noise, args.network, args.epochs, seed)
            cleanlab = not args.ours
            line = {**vars(case), "cleanlab": cleanlab}
            if LABEL_ERRORS.has(line | {"code": code("label-errors")}):
                continue
            parsed = LabelNoise.parse(noise)
            human = (args.human or args.data) if parsed.is_human else None
            labels = noisy_labels(data, parsed, seed=seed, limit=args.limit, human_labels=human)
            wanted = [
                "ours",
                "corrected",
                *(f"fold{fold}" for fold in range(FOLDS if cleanlab else 0)),
            ]
            paths = {part: folder / f"{case.name}-{part}.npz" for part in wanted}
            for part in (part for part, path in paths.items() if not path.exists()):
                if left == 0:
                    print("more is left")
                    return
                left -= 1
                if part == "ours":
                    found = ours(labels, case)
                elif part == "corrected":
                    found = ours(corrected(labels, np.load(paths["ours"])), case)
                else:
                    found = fold(labels, case, int(part[4:]))
                save(paths[part], found)
                print(case.name, part, round(float(found["seconds"]), 1), flush=True)
            line |= results({part: np.load(path) for part, path in paths.items()}, data.test_labels)
            LABEL_ERRORS.append(line | circumstances("label-errors"))
            print(line, flush=True)
    print("complete")


def recipe(method: str, case: Case, number: int) -> Recipe:
    usual = fitted(recipe_for("cpu", method), number, epochs=case.epochs, mirror=True)
    return with_settings(usual, (*SETTINGS, f"network={case.network}"))


def ours(labels: NoisyLabels, case: Case) -> dict[str, Any]:
    """One training of SOP, and its judgement of all labels, as find-label-errors makes it."""
    begin = time.process_time()
    images = LabelledImages(
        name=labels.data.name,
        images=labels.data.train_images,
        labels=labels.given_labels,
        class_names=labels.data.class_names,
        paths=tuple(map(str, labels.index)),
        splits=("train",) * len(labels.index),
    )
    images = hold_out(images, 0.1, seed=case.seed)
    train, val = images.index("train"), images.index("val")
    pair = images.image_data()
    chosen = recipe("sop", case, len(train))
    training = training_for(pair, pair.train_labels, chosen, seed=case.seed, device="cpu")
    for _ in training.epochs():
        pass
    judged = judged_by(training, images, "train", "val")
    seconds = time.process_time() - begin
    loss: Any = training.loss  # type: ignore[attr-defined]
    return {
        "given": labels.given_labels,
        "true": labels.true_labels,
        "train": train,
        "val": val,
        "score": judged.issues.label_score,
        "suggested": judged.issues.predicted_label,
        "probability": judged.probability,
        "averaged": training.probability.numpy(),
        "final": training.predict(pair.train_images, flips=True).numpy(),
        "held_out": training.predict(images.images[val], flips=True).numpy(),
        "test": training.predict(labels.data.test_images).numpy().argmax(1),
        "disagreements": training.disagreements.numpy(),
        "u": loss.u.numpy(),
        "v": loss.v.numpy(),
        "seconds": seconds,
    }


def corrected(labels: NoisyLabels, found: Any) -> NoisyLabels:
    """The labels after somebody who knows the truth has accepted the right suggestions."""
    worst = np.argsort(found["score"], kind="stable")[:REVIEWED]
    suggested = found["suggested"][worst]
    right = suggested == found["true"][worst]
    given = labels.given_labels.copy()
    given[worst[right]] = suggested[right]
    return replace(labels, given_labels=given)


def fold(labels: NoisyLabels, case: Case, number: int) -> dict[str, Any]:
    """One of the five trainings of a cross-validation, and its probabilities for the rest."""
    from sklearn.model_selection import StratifiedKFold

    begin = time.process_time()
    data, given = labels.data, labels.given_labels
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=case.seed)
    train, rest = list(folds.split(given, given))[number]
    part = ImageData(
        data.train_images[train], given[train], data.train_images[rest], given[rest],
        data.class_names, data.name,
    )  # fmt: skip
    chosen = recipe("ce", case, len(train))
    training = training_for(part, given[train], chosen, seed=case.seed, device="cpu")
    for _ in training.epochs():
        pass
    probability = training.predict(part.test_images).numpy()
    return {"rest": rest, "probability": probability, "seconds": time.process_time() - begin}


def save(path: Path, arrays: dict[str, Any]) -> None:
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    replace_file(path, buffer.getvalue())


def results(parts: dict[str, Any], test_labels: np.ndarray) -> dict[str, Any]:
    """What a line says of a case; accuracies are those on the test images."""
    one = parts["ours"]
    given, true, val = one["given"], one["true"], one["val"]
    wrong = given != true
    rate = estimate_noise_rate(
        given[val],
        one["held_out"],
        training_labels=given[one["train"]],
        training_probability=one["final"],
        averaged_probability=one["averaged"],
    )
    found: dict[str, Any] = {
        "wrong": float(wrong.mean()),
        "noise_rate": [round(value, 4) for value in (rate.estimate, rate.low, rate.high)],
        "ours": {
            **measures(one["score"], wrong),
            "accuracy": float((one["test"] == test_labels).mean()),
            "seconds": round(float(one["seconds"]), 1),
        },
    }
    again = parts["corrected"]
    found["corrected"] = {
        "accepted": int((again["given"] != given).sum()),
        "wrong": float((again["given"] != true).mean()),
        "accuracy": float((again["test"] == test_labels).mean()),
    }
    folds = [part for name, part in parts.items() if name.startswith("fold")]
    if folds:
        import cleanlab
        from cleanlab.rank import get_label_quality_scores

        probability = np.empty((len(given), one["probability"].shape[1]), np.float32)
        for part in folds:
            probability[part["rest"]] = part["probability"]
        for method in ("self_confidence", "normalized_margin"):
            score = get_label_quality_scores(given, probability, method=method)
            found[f"cleanlab {method}"] = measures(score, wrong)
        found["folds"] = {
            "accuracy": float((probability.argmax(1) == true).mean()),
            "seconds": round(float(sum(part["seconds"] for part in folds)), 1),
            "cleanlab": cleanlab.__version__,
        }
    return found


def measures(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    worst = np.argsort(score, kind="stable")
    return {
        "auroc": round(auroc(score, wrong) or 0, 4),
        "average_precision": round(float(average_precision_score(wrong, -score)), 4),
        "precision_100": round(float(wrong[worst[:100]].mean()), 3),
        "precision_500": round(float(wrong[worst[:500]].mean()), 3),
    }


if __name__ == "__main__":
    main()
