"""Corrupt half of an image with random values, recover it, and save the strip of the README.

    python examples/before_after.py

Writes examples/before_after.png: corrupted, recovered, clean. About a minute on two CPU cores.
"""

from pathlib import Path

import numpy as np

from robustdip import corrupt, denoise, read_image, write_image
from robustdip.images.picture import from_float, side_by_side, to_float
from robustdip.quality import psnr

HERE = Path(__file__).parent


def main() -> None:
    clean = to_float(read_image(HERE / "astronaut.png").pixels)
    corrupted, _ = corrupt(clean, "random-valued", 0.5, rng=np.random.default_rng(0))
    # What a file would hold: 8 bits a sample.
    result = denoise(from_float(corrupted, np.uint8), seed=0)
    restored = to_float(result.image)
    print(f"corrupted {psnr(clean, corrupted):.2f} dB, recovered {psnr(clean, restored):.2f} dB")
    write_image(HERE / "before_after.png", side_by_side([corrupted, restored, clean]))


if __name__ == "__main__":
    main()
