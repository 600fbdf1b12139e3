"""Seconds of an epoch of every method, relative to cross entropy, measured in turns.

    python -m benchmarks.labels.method_cost --data cifar10.npz [--limit 5000] [--rounds 3]

One network, batch size and image pipeline for all (recipe `cpu` or `fast`), 40 % symmetric noise.
The first epoch, a warm-up, does not count. Beside them what the papers' hours say.
"""

import statistics
from pathlib import Path

import numpy as np

from benchmarks.logs import METHOD_COST
from benchmarks.options import parse, parser
from benchmarks.record import settings_of
from sop_classify.data.image_data import subset
from sop_classify.data.loading import load_data
from sop_classify.labels.synthetic import symmetric_noise
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import METHODS, recipe_for
from sop_classify.recipes import with_settings

NOISE = 0.4


def main() -> None:
    options = parser(__doc__, device="auto")
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--limit", type=int, default=5000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--recipe", default="cpu", choices=["cpu", "fast"])
    args = parse(options)
    rng = np.random.default_rng(0)
    data, _ = subset(load_data(path=args.data), args.limit, rng=rng)
    given = symmetric_noise(data.train_labels, NOISE, len(data.class_names), rng=rng)
    trainings = {}
    for method in METHODS:
        settings = [f"epochs={args.rounds + 1}", "flips=false"]
        settings += {"coteaching+": ["warmup=1", "drop_ramp=0", f"noise_rate={NOISE}"]}.get(
            method, []
        )
        settings += ["warmup=1"] if method == "dividemix" else []
        recipe = with_settings(recipe_for(args.recipe, method), settings)
        trainings[method] = training_for(data, given, recipe, device=args.device)
    epochs = {method: training.epochs() for method, training in trainings.items()}
    seen: dict[str, list] = {method: [] for method in METHODS}
    for number in range(args.rounds + 1):
        for method in METHODS:
            epoch = next(epochs[method])
            if number:
                seen[method].append(epoch)
    plain = [epoch.seconds for epoch in seen["ce"]]
    results = {}
    for method, history in seen.items():
        seconds = [epoch.seconds for epoch in history]
        results[method] = {
            "seconds": round(statistics.median(seconds), 2),
            "times_ce": round(
                statistics.median(a / b for a, b in zip(seconds, plain, strict=True)), 2
            ),
            "published_times_ce": METHODS[method].published_cost,
            "forward_passes": round(statistics.mean(e.forward_passes for e in history), 2),
            "backward_passes": round(statistics.mean(e.backward_passes for e in history), 2),
        }
        print(f"{method:12}", results[method], flush=True)
    device = str(trainings["ce"].device)
    settings = settings_of(args) | {
        "noise": NOISE,
        "device": device,
        "unit": "seconds of an epoch, median; ratios within a round",
    }
    METHOD_COST.record("labels", settings, results, device=device)


if __name__ == "__main__":
    main()
