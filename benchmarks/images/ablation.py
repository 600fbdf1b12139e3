"""What each ingredient of the default recipe is worth: the recipe with one thing changed at a time.

    python -m benchmarks.images.ablation run IMAGE... [--variants ...] [--side 256] [--kinds ...]
                                  [--amounts ...] [--seeds ...] [--threads 2] [--isolate]
    python -m benchmarks.images.ablation table [--steps ...]

The cases are those of benchmarks/images/quality.py, each one line of results/ablation.jsonl, so a killed
run resumes. The variants:

    l2              mean square instead of the absolute loss
    adam            Adam at rate 0.01 instead of orthogonalised momentum
    no-s            s = 0
    no-onset        s counts from its first growth on
    onset-0.6, onset-1.2  steps a pixel of the side before s counts, instead of 0.8
    wide-finest     64 channels at full resolution too, for 1.6 times the work
    two-networks    the mean of two, for twice the work
    no-average      the result is the last output, not a running average
    half-steps, twice-steps
    frozen-mask     s is estimated once, at the onset, and never again
    no-covariance   R = I: a pixel's channels tell nothing about each other's residuals
    global-covariance  one R for the whole image instead of one around each block
    no-histogram    p_c = 1: any value is as likely for a corrupted element
    no-streaks      damage that continues its neighbours counts like any other
    no-shapes       neither printed letters nor lost lines are looked for
    one-beta        one β for the whole image instead of one around each pixel
    biased          what corruption costs on average, before the onset, is not subtracted
    no-kept         the result is the network's everywhere, clean elements too
    no-reach        the path of theta is not bounded: does nothing in the first 64 steps at least
    constant-rate   the rate does not decay over the second half
"""

import argparse
import math
import statistics
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.images import quality as denoise
from benchmarks.record import RESULTS
from robustdip.corruption import mixture as evidence
from robustdip.corruption.mixture import Evidence
from robustdip.corruption.scratches import Streaks
from robustdip.fitting import loop as fitting
from robustdip.recipes import DEFAULT, RECIPES, Recipe

LINES = RESULTS / "ablation.jsonl"


class FrozenMask(Evidence):
    frozen = False

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        if self.frozen:
            return
        before = self.weight
        super().step(x, average, number)
        # Growths before the onset do not judge yet: frozen there, s would never count.
        self.frozen = self.weight is not before and self.expected is None


class NoHistogram(Evidence):
    def _estimate(self, length: Tensor, evident: Tensor) -> None:
        super()._estimate(length, evident)
        self.density = torch.ones_like(self.density)


class Biased(Evidence):
    def _admit(self, share: float) -> None:
        super()._admit(share)
        self.expected = None


class NoKept(Evidence):
    def restored(self, average: Tensor) -> Tensor:
        return average


def _instead(kind: type[Evidence]) -> AbstractContextManager:
    return patch.object(
        fitting, "separation_for", lambda recipe, y, inside, **_: kind(recipe, y, inside)
    )


def _no_shapes(y: Tensor, inside: Tensor) -> Tensor:
    return torch.zeros_like(y, dtype=torch.bool)


def _unit(x: Tensor, inside: Tensor) -> Tensor:
    unit = torch.eye(x.shape[1], device=x.device)
    return unit.expand(*(side // evidence.BLOCK for side in x.shape[2:]), *unit.shape)


_schedule = fitting._schedule


def _unbounded(optimizers, bases, recipe: Recipe, number: int, *, reach: float) -> None:
    _schedule(optimizers, bases, recipe, number, reach=math.inf)


def _constant(optimizers, bases, recipe: Recipe, number: int, *, reach: float) -> None:
    # The decay is stated in fractions of the steps: in so many, these are the first half.
    endless = replace(recipe, steps=100 * recipe.steps)
    _schedule(optimizers, bases, endless, number, reach=reach)


SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "l2": {"loss": "l2"},
    "adam": {"optimizer": "adam", "lr": 0.01},
    "no-s": {"separation": "none"},
    "no-onset": {"onset": 0.0},
    "onset-0.6": {"onset": 0.6},
    "onset-1.2": {"onset": 1.2},
    "no-average": {"average": 0.0},
    "wide-finest": {"finest": 1.0},
    "two-networks": {"networks": 2},
}
STEPS = {"half-steps": 0.5, "twice-steps": 2}
PATCHES: dict[str, AbstractContextManager] = {
    "frozen-mask": _instead(FrozenMask),
    "no-covariance": patch.object(evidence, "_covariance", _unit),
    "global-covariance": patch.object(evidence, "_EVERYWHERE", 1e9),
    "no-histogram": _instead(NoHistogram),
    "no-streaks": patch.object(Streaks, "density", lambda self, bad: torch.zeros_like(bad)),
    "no-shapes": patch.multiple(evidence, overlays=_no_shapes, lost_lines=_no_shapes),
    # The whole image's β outweighs what a window says.
    "one-beta": patch.object(Evidence, "prior", 1e9),
    "biased": _instead(Biased),
    "no-kept": _instead(NoKept),
    "no-reach": patch.object(fitting, "_schedule", _unbounded),
    "constant-rate": patch.object(fitting, "_schedule", _constant),
}
VARIANTS = (*SETTINGS, *STEPS, *PATCHES)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    denoise.add_grid(run, results=LINES)
    run.add_argument(
        "--variants",
        dest="methods",
        nargs="+",
        choices=VARIANTS,
        default=VARIANTS,
        metavar="VARIANT",
        help=", ".join(VARIANTS),
    )
    table = commands.add_parser("table")
    table.add_argument("--steps", type=int, help="those of the measurement, if not the recipe's")
    table.add_argument("--results", type=Path, default=LINES)
    args = parser.parse_args()
    if args.command == "run":
        denoise.measure_all(args, variant, measure)
        return
    # Only what belongs to the default recipe as it is now can be compared with it.
    lines = [line for line in denoise.newest(args.results) if _is_current(line, args.steps)]
    if not lines:
        parser.error(f"{args.results} has no line of the default recipe with these steps")
    print(tabulate(lines), end="")


def variant(name: str, steps: int | None = None) -> Recipe:
    """The settings of a variant. `steps` replaces those of the default recipe."""
    recipe = RECIPES[DEFAULT]
    given = recipe.steps if steps is None else steps
    scaled = max(1, round(given * STEPS.get(name, 1)))
    return replace(recipe, steps=scaled, **SETTINGS.get(name, {}))


def measure(path: Path, case: denoise.Case, recipe: Recipe | None, device: str) -> denoise.Line:
    with PATCHES.get(case["method"], nullcontext()):
        return denoise.measure(path, case, recipe, device)


def _is_current(line: denoise.Line, steps: int | None) -> bool:
    if line["method"] not in VARIANTS:
        return False
    recipe = asdict(variant(line["method"], steps))
    return denoise.identity(line) == denoise.identity(line | {"recipe": recipe})


def tabulate(lines: list[denoise.Line]) -> str:
    """PSNR, mean ± std over seeds, and in brackets the mean difference to default, seed by seed."""
    found: dict[str, dict[tuple, dict[int, float]]] = {name: {} for name in VARIANTS}
    for line in lines:
        case = tuple(line[name] for name in ("image", "side", "kind", "amount"))
        seeds = found[line["method"]].setdefault(case, {})
        if "error" not in line:
            seeds[line["seed"]] = line["psnr"]
    columns = sorted({case for cells in found.values() for case in cells})
    head = [f"{image}, {side}x{side}, {kind} {amount:.0%}" for image, side, kind, amount in columns]
    table = [
        f"| variant | {' | '.join(head)} | mean difference | n |",
        "|" + "---|" * (len(columns) + 3),
    ]
    for name, cells in found.items():
        if not cells:
            continue
        words, differences = [], []
        for case in columns:
            psnrs, default = cells.get(case, {}), found["default"].get(case, {})
            word = denoise.spread(list(psnrs.values()))
            paired = [psnrs[seed] - default[seed] for seed in psnrs.keys() & default.keys()]
            if paired and name != "default":
                differences.append(statistics.mean(paired))
                word += f" ({differences[-1]:+.2f})"
            words.append(word or ("failed" if case in cells else ""))
        whole = len(differences) == len(columns)
        mean = f"{statistics.mean(differences):+.2f}" if whole else ""
        count = "/".join(map(str, sorted({len(psnrs) for psnrs in cells.values()})))
        table.append(f"| {name} | {' | '.join(words)} | {mean} | {count} |")
    return "\n".join(table) + "\n"


if __name__ == "__main__":
    main()
