"""How well the errors that were planted in the digits of scikit-learn are found, and counted.

    python -m benchmarks.labels.planted_errors --seeds 0-9

One training of SOP by the `cpu` recipe for each kind and rate of errors and each seed, a tenth held
out, as `robustdip find-label-errors --no-mirror --epochs 11` does it. Compared are the probability
of the given label, averaged over the epochs, at the end, half of each, and 65 % of the first; the
last with `class_weights` too, as find-label-errors has it; and the margin of the averages.
"""

import time

import numpy as np

from benchmarks.logs import PLANTED_ERRORS
from benchmarks.options import parse, parser
from benchmarks.record import circumstances, code
from sop_classify.cli.own_images import fitted
from sop_classify.data.images import LabelledImages, hold_out
from sop_classify.labels.class_weights import class_weights, weighted
from sop_classify.labels.issues import auroc, f1, label_issues
from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.labels.synthetic import second_choice_noise, symmetric_noise
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import recipe_for

CASES = (
    *(("symmetric", rate) for rate in (0.05, 0.2, 0.4)),
    *(("second choice", rate) for rate in (0.05, 0.2)),
)
EPOCHS = 11


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", default="0-9", help="first-last")
    args = parse(options)
    first, last = map(int, args.seeds.split("-"))
    images, labels = digits()
    for seed in range(first, last + 1):
        for kind, rate in CASES:
            noise = f"{kind} {rate:g}"
            line = {"data": "digits", "noise": noise, "seed": seed}
            if not PLANTED_ERRORS.has(line | {"code": code("label-errors")}):
                line |= measure(images, labels, kind, rate, seed) | circumstances("label-errors")
                PLANTED_ERRORS.append(line)
                print(noise, seed, line["auroc"], line["noise_rate"], flush=True)


def digits():
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    small = np.rint(data.images * 255 / 16).astype(np.uint8)
    bicubic = Image.Resampling.BICUBIC
    large = np.stack([np.asarray(Image.fromarray(x).resize((16, 16), bicubic)) for x in small])
    return np.repeat(large[..., None], 3, axis=3), data.target.astype(np.int64)


def measure(images, labels, kind, rate, seed) -> dict:
    rng = np.random.default_rng(seed)
    if kind == "symmetric":
        given = symmetric_noise(labels, rate, 10, rng=rng)
    else:
        given = second_choice_noise(images, labels, rate, 10, rng=rng)
    names = tuple("0123456789")
    paths = tuple(map(str, range(len(labels))))
    data = LabelledImages("digits", images, given, names, paths, ("train",) * len(labels))
    data = hold_out(data, 0.1, seed=seed)
    train, val = data.index("train"), data.index("val")
    pair = data.image_data()
    recipe = fitted(recipe_for("cpu", "sop"), len(train), epochs=EPOCHS, mirror=False)
    training = training_for(pair, pair.train_labels, recipe, seed=seed, device="cpu")
    begin = time.perf_counter()
    for _ in training.epochs():
        pass
    seconds = time.perf_counter() - begin
    averaged = training.probability.numpy()
    end = training.predict_training_images().numpy()
    held_out = training.predict(images[val]).numpy()
    wrong = given[train] != labels[train]
    kinds = {
        "averaged": averaged,
        "end": end,
        "half": (averaged + end) / 2,
        "65 %": 0.65 * averaged + 0.35 * end,
    }
    weights = class_weights(given[train], averaged)
    kinds["weighted"] = weighted(kinds["65 %"], weights)
    judged = {
        name: label_issues(given[train], p, score="self_confidence") for name, p in kinds.items()
    }
    judged["margin, averaged"] = label_issues(given[train], averaged, score="normalized_margin")
    chosen = judged["weighted"]
    rate_ = estimate_noise_rate(
        given[val],
        held_out,
        training_labels=given[train],
        training_probability=end,
        averaged_probability=averaged,
        seed=seed,
    )
    return {
        "auroc": {name: round(auroc(j.label_score, wrong) or 0, 4) for name, j in judged.items()},
        "f1": {name: round(f1(j.is_label_issue, wrong) or 0, 4) for name, j in judged.items()},
        "precision_50": float(wrong[chosen.worst_first[:50]].mean()),
        "wrong": float((given != labels).mean()),
        "contradicted": {name: float(j.is_label_issue.mean()) for name, j in judged.items()},
        "noise_rate": [round(v, 4) for v in (rate_.estimate, rate_.low, rate_.high)],
        "accuracy": float((held_out.argmax(1) == labels[val]).mean()),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
