"""Recover one photograph from four kinds of damage
=================================================

::

    python examples/before_after.py [--out examples/before_after.png] [--seed 0]

Damages the picture, runs ``denoise`` with its default recipe, which is told neither the kind of the
damage nor its amount, and draws damaged above recovered with the PSNR of each. About a minute per
kind of damage on two CPU cores.
"""
# sphinx_gallery_thumbnail_path = '../examples/before_after.png'

from pathlib import Path

import numpy as np
from figures import arguments, save
from matplotlib.figure import Figure

from robustdip import corrupt, denoise, read_image
from robustdip.images import from_float, to_float
from robustdip.quality import psnr

PICTURE = Path(__file__).parent / "astronaut.png"
DAMAGE = {
    "salt-and-pepper": (0.7, "salt-and-pepper, 70 %"),
    "text": (0.1, "printed text, 10 % of the area"),
    "scratches": (0.1, "scratches, 10 % of the area"),
    "random-valued": (0.5, "random values, 50 %"),
}
GAP, TITLE, DPI = 8, 22, 100  # pixels, pixels, pixels per inch


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    clean = to_float(read_image(PICTURE).pixels)
    height, width = clean.shape[:2]
    across, down = len(DAMAGE) * (width + GAP) + GAP, 2 * (height + TITLE) + GAP
    figure = Figure(figsize=(across / DPI, down / DPI))
    for column, (kind, (amount, title)) in enumerate(DAMAGE.items()):
        damaged, _ = corrupt(clean, kind, amount, rng=np.random.default_rng(args.seed))
        # Eight bits per sample, as in a file.
        recovered = denoise(from_float(damaged, np.uint8), seed=args.seed).image
        before, after = psnr(clean, damaged), psnr(clean, to_float(recovered))
        print(f"{title:32} {before:5.2f} dB  ->  {after:5.2f} dB", flush=True)
        rows = ((damaged, f"{title}: {before:.1f} dB"), (recovered, f"recovered: {after:.1f} dB"))
        for row, (picture, caption) in enumerate(rows, 1):
            # The axes are as large as the picture, so that no pixel is resampled.
            left, bottom = GAP + column * (width + GAP), down - row * (height + TITLE)
            place = (left / across, bottom / down, width / across, height / down)
            axes = figure.add_axes(place)
            axes.imshow(picture, interpolation="nearest")
            axes.set_title(caption, fontsize=8, pad=4)
            axes.axis("off")
    save(figure, args.out, dpi=DPI)


if __name__ == "__main__":
    main()
