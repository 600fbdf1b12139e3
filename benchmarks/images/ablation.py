"""What each ingredient of the default recipe is worth: the recipe with one thing changed at a time.

    python -m benchmarks.images.ablation run IMAGE... [--variants ...] [--side 256] [--kinds ...]
                                  [--amounts ...] [--seeds ...] [--threads 2] [--isolate]
    python -m benchmarks.images.ablation table [--steps ...]

The cases are those of benchmarks/images/quality.py, each one line of results/images/ablation.jsonl,
so a killed run resumes. The variants:

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
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.images import quality as denoise
from benchmarks.logs import ABLATION
from benchmarks.markdown import Cell, spread, table
from benchmarks.record import Line, only_current
from robustdip.corruption import mixture as evidence
from robustdip.corruption.mixture import Evidence
from robustdip.corruption.scratches import Streaks
from robustdip.fitting import loop as fitting
from robustdip.recipes import DEFAULT, RECIPES, Recipe


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    denoise.add_grid(run, results=ABLATION.path)
    run.add_argument(
        "--variants",
        dest="methods",
        nargs="+",
        choices=VARIANTS,
        default=VARIANTS,
        metavar="VARIANT",
        help=", ".join(VARIANTS),
    )
    command = commands.add_parser("table")
    command.add_argument("--steps", type=int, help="those of the measurement, if not the recipe's")
    command.add_argument("--results", type=Path, default=ABLATION.path)
    args = parser.parse_args()
    if args.command == "run":
        denoise.measure_all(args, variant, measure)
        return
    lines = replace(ABLATION, path=args.results).latest()
    lines = [line for line in lines if line.get("steps") == args.steps]
    if not lines:
        parser.error(f"{args.results} has no line with these steps")
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


def tabulate(lines: list[Line]) -> str:
    """PSNR, mean ± std over seeds, and in brackets the mean difference to default, seed by seed."""
    found: dict[str, dict[tuple, list[Line]]] = {name: {} for name in VARIANTS}
    for line in lines:
        case = tuple(line[name] for name in ("image", "side", "kind", "amount"))
        if line["method"] in found:  # a variant that is no more is not shown
            found[line["method"]].setdefault(case, []).append(line)
    columns = sorted({case for cells in found.values() for case in cells})
    head = [f"{image}, {side}x{side}, {kind} {amount:.0%}" for image, side, kind, amount in columns]
    rows = []
    for name, cells in found.items():
        if not cells:
            continue
        words, differences = [], []
        default = {case: _by_seed(found["default"].get(case, [])) for case in columns}
        measured = {case: _by_seed(cells.get(case, [])) for case in columns}
        for case in columns:
            psnrs = {seed: line["psnr"] for seed, line in measured[case].items()}
            word, paired = spread(list(psnrs.values())), psnrs.keys() & default[case].keys()
            if paired and name != "default":
                change = statistics.mean(psnrs[s] - default[case][s]["psnr"] for s in paired)
                differences.append(change)
                word += f" ({change:+.2f})"
            used = [*measured[case].values(), *(default[case][seed] for seed in paired)]
            words.append(Cell(word or ("failed" if case in cells else ""), used))
        whole = len(differences) == len(columns)
        mean = f"{statistics.mean(differences):+.2f}" if whole else ""
        every = [line for word in words for line in word.lines]
        count = "/".join(map(str, sorted({len(measured[case]) for case in cells})))
        rows.append([name, *words, Cell(mean, every), count])
    return table(["variant", *head, "mean difference", "n"], rows)


def _by_seed(lines: list[Line]) -> dict[int, Line]:
    return {line["seed"]: line for line in only_current(lines) if "error" not in line}


if __name__ == "__main__":
    main()
