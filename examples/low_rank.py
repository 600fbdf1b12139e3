"""Low rank plus sparse: gradient descent beside the convex program
================================================================

::

    python examples/low_rank.py [--out examples/low_rank.png] [--seed 0]

Top: how far the two solutions are apart, over α = 1/λ (left: residuals that commute, as the theorem
assumes; middle: a planted problem, where they do not commute), and how often each recovers the
truth. Bottom: the still background and the moving objects of a short video whose light changes. For
α below ½√n the first curves stay apart because the steps run out, and at γ = 1e-8 because rounding
errors make the residuals commute no longer. Half a minute on two CPU cores.
"""
# sphinx_gallery_thumbnail_path = '../examples/low_rank.png'

import time
from pathlib import Path

import numpy as np
import torch
from figures import arguments, save
from matplotlib.figure import Figure
from skimage import data
from skimage.transform import resize
from torch import Tensor

from overparam.theory.low_rank import (
    descend_low_rank,
    planted,
    principal_component_pursuit,
    success_rate,
)

SIZE, FRAMES = 96, 40
INITS = (1e-2, 1e-4, 1e-8)


def circulant(n: int, generator: torch.Generator) -> Tensor:
    """A symmetric circulant Y of low rank plus sparse plus noise: its residuals always commute."""
    i = torch.arange(n)
    row = 4 * torch.cos(2 * torch.pi * 2 * i / n).double()
    row[[3, -3]] += 4
    row[[11, -11]] -= 3
    row += 0.2 * torch.randn(n, generator=generator, dtype=torch.float64)
    row = (row + row[-i % n]) / 2
    return row[(i[:, None] - i) % n]


def disagreement(y: Tensor, alphas: Tensor) -> Tensor:
    """‖X − X_convex‖_F / ‖X_convex‖_F for each γ of INITS (rows) and each α."""
    batch = y.expand(len(alphas), *y.shape)
    target = principal_component_pursuit(batch, lam=1 / alphas, psd=True).low_rank
    norm = torch.linalg.matrix_norm
    found = [
        descend_low_rank(batch, alpha=alphas, init=init, psd=True, tol=1e-4, max_steps=8000)
        for init in INITS
    ]
    return torch.stack([norm(f.low_rank - target) / norm(target) for f in found])


def video(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frames and their true background, both (FRAMES, SIZE, SIZE) in [0, 1].

    Light swells and moves across the scene: the background has rank 2. Three coins pass.
    """
    scene = np.asarray(resize(data.camera() / 255.0, (SIZE, SIZE), anti_aliasing=True))
    coin = resize(data.coins()[13:73, 297:357] / 255.0, (18, 18), anti_aliasing=True)
    disc = np.hypot(*np.mgrid[-8.5:9, -8.5:9]) < 8.5
    t = np.linspace(0, 2 * np.pi, FRAMES, endpoint=False)[:, None, None]
    ramp = np.linspace(-1, 1, SIZE)
    background = 0.8 * scene * (1 + 0.15 * np.sin(t) + 0.1 * np.cos(t) * ramp)
    frames = background.copy()
    rows = torch.randint(SIZE - 18, (3,), generator=generator)
    for row, speed, start in zip(rows.tolist(), (2, -3, 4), (0, 60, 30), strict=True):
        for k, frame in enumerate(frames):
            left = (start + speed * k) % (SIZE - 18)
            frame[row : row + 18, left : left + 18][disc] = coin[disc]
    return torch.from_numpy(frames).float(), torch.from_numpy(background).float()


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * float(torch.log10((a - b).square().mean()))


def main() -> None:
    args = arguments(__doc__, Path(__file__).with_suffix(".png"))
    generator = torch.Generator().manual_seed(args.seed)
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False)[:, 0]
    panels = top.subplots(1, 4)

    n = 30
    factors = torch.logspace(-2.4, 1.2, 13, base=2, dtype=torch.float64)
    x, s = planted(
        (n, n), rank=2, corrupted=0.08, generator=generator, psd=True, dtype=torch.float64
    )
    problems = {"circulant: residuals commute": circulant(n, generator), "planted rank 2": x + s}
    print("relative difference of X to the convex solution, lambda = 1/alpha")
    for axes, (title, y) in zip(panels, problems.items(), strict=False):
        curves = disagreement(y, factors * n**0.5)
        for init, curve in zip(INITS, curves, strict=True):
            axes.loglog(factors.numpy(), curve.numpy(), marker=".", label=rf"$\gamma$ = {init:g}")
            middle = float(curve[int(factors.log().abs().argmin())])
            print(f"  {title:30} gamma {init:5.0e}  alpha = sqrt(n): {middle:.1e}")
        axes.set(title=title, xlabel=r"$\alpha / \sqrt{n}$", ylim=(1e-4, 2))
        axes.set_xticks([0.25, 0.5, 1, 2], ["¼", "½", "1", "2"])
        axes.minorticks_off()
    panels[0].set_ylabel(r"$\|X - X_{convex}\| / \|X_{convex}\|$")
    panels[0].legend()

    ranks = range(1, 16, 2)
    parts = [0.02 + 0.05 * i for i in range(8)]
    solvers = {
        "gradient descent": lambda y: descend_low_rank(y, psd=True, max_steps=2000),
        "convex": lambda y: principal_component_pursuit(y, psd=True, tol=1e-4, max_steps=300),
    }
    print("planted 50 x 50 recovered to 5 %, mean over the grid")
    for axes, (name, solve) in zip(panels[2:], solvers.items(), strict=True):
        begin = time.perf_counter()
        rates = success_rate(
            solve,
            size=50,
            ranks=ranks,
            corrupted=parts,
            trials=4,
            generator=torch.Generator().manual_seed(args.seed),
            psd=True,
        )
        print(f"  {name:17} {rates.mean():.2f}  {time.perf_counter() - begin:.1f} s")
        axes.imshow(np.asarray(rates), origin="lower", cmap="gray", vmin=0, vmax=1)
        axes.set_xticks(range(0, 8, 2), [f"{100 * p:.0f}" for p in parts[::2]])
        axes.set_yticks(range(8), list(ranks))
        axes.set(title=f"recovered: {name}", xlabel="corrupted, %", ylabel="rank")

    frames, truth = video(generator)
    y = frames.reshape(FRAMES, -1).T
    print("background of the video (true rank 2)")
    print(f"  {'':17} rank   PSNR  seconds")
    still = frames.median(0).values.expand_as(frames)
    print(f"  {'median of frames':17} {1:4} {psnr(still, truth):6.2f}")
    shown = frames.shape[0] // 4
    pictures = {"frame": frames[shown]}
    for name, solve in (
        ("gradient descent", descend_low_rank),
        ("convex", lambda y: principal_component_pursuit(y, tol=1e-5, max_steps=500)),
    ):
        begin = time.perf_counter()
        split = solve(y)
        seconds = time.perf_counter() - begin
        back, front = (part.T.reshape(frames.shape) for part in (split.low_rank, split.sparse))
        rank = int(torch.linalg.matrix_rank(split.low_rank, rtol=3e-3))
        print(f"  {name:17} {rank:4} {psnr(back, truth):6.2f} {seconds:8.1f}")
        pictures[f"background: {name}\n{psnr(back, truth):.1f} dB, rank {rank}"] = back[shown]
        pictures[f"foreground: {name}"] = front[shown].abs()
    for axes, (title, picture) in zip(bottom.subplots(1, 5), pictures.items(), strict=True):
        axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1 if "fore" not in title else 0.6)
        axes.set_title(title)
        axes.axis("off")
    save(figure, args.out)


if __name__ == "__main__":
    main()
