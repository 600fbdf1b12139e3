"""Early stopping for a picture, and why s makes it unnecessary
============================================================

::

    python examples/image_prior.py [--out examples/image_prior.png] [--seed 0]

A deep image prior first learns the picture and then the noise; with the sparse term s it keeps the
picture. Half of the elements of a 96x96 photograph are replaced by random values. The same network
is fitted with squared error, with absolute error, and with s: the curves show PSNR over the steps,
the pictures the end of each run. Under a minute on two CPU cores.
"""
# sphinx_gallery_thumbnail_path = '../examples/image_prior.png'

from pathlib import Path

import numpy as np
from figures import arguments, save
from matplotlib.figure import Figure
from skimage import data

from robustdip.fitting.loop import fit
from robustdip.quality import psnr
from robustdip.recipes import RECIPES
from robustdip.synthetic import corrupt

EVERY = 10
CURVES = {"dip-l2": "squared error", "dip-l1": "absolute error", "default": "with s"}


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    clean = data.chelsea()[90:186, 180:276].astype(np.float32) / 255
    noisy, _ = corrupt(clean, "random-valued", 0.5, rng=np.random.default_rng(args.seed))
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    plot, *pictures = figure.subplots(1, 6, width_ratios=(2.2, 1, 1, 1, 1, 1))
    shown = {f"corrupted\n{psnr(clean, noisy):.1f} dB": noisy}
    print("PSNR in dB       best  at step   last")
    for name, title in CURVES.items():
        recipe = RECIPES[name]
        steps, values = [], []
        for step in fit(noisy, recipe, seed=args.seed):
            if step.number % EVERY == 0 or step.number == step.steps:
                image = step.image
                steps.append(step.number)
                values.append(psnr(clean, image))
        plot.plot(steps, values, label=title)
        best = int(np.argmax(values))
        print(f"{title:15} {values[best]:5.2f} {steps[best]:8}  {values[-1]:5.2f}")
        shown[f"{title}\nlast: {values[-1]:.1f} dB"] = image
    shown["clean"] = clean
    plot.set(xlabel="step", ylabel="PSNR, dB")
    plot.legend()
    for axes, (title, picture) in zip(pictures, shown.items(), strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    save(figure, args.out)


if __name__ == "__main__":
    main()
