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
    full-rank       68 channels enlarged, 32 convolved at full resolution: about twice the work
    two-networks    the mean of two, for twice the work
    no-average      the result is the last output, not a running average
    half-steps, twice-steps
    frozen-mask     s is estimated once, at the onset, and never again
    no-covariance   R = I: a pixel's channels tell nothing about each other's residuals
    global-covariance  one R for the whole image instead of one around each block
    no-histogram    p_c = 1: any value is as likely for a corrupted element
    no-streaks      damage that continues its neighbours counts like any other
    no-detail       detail with a large residual counts as corrupted
    no-shapes       neither printed letters nor lost lines are looked for
    one-beta        one β for the whole image instead of one around each pixel
    biased          what corruption costs on average, before the onset, is not subtracted
    no-kept         the result is the network's everywhere, clean elements too
    no-reach        the path of theta is not bounded: does nothing in the first 64 steps at least
    constant-rate   the rate does not decay over the second half
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.images import quality
from benchmarks.logs import ABLATION
from benchmarks.markdown import Cell, spread, table
from benchmarks.record import Line, only_current
from robustdip.corruption.base import Problem
from robustdip.corruption.channels import BLOCK, ChannelCovariance
from robustdip.corruption.descent import NoCorruption
from robustdip.corruption.mixture import Mixture, MixtureModel
from robustdip.corruption.mixture_estimate import MixtureEstimate
from robustdip.fitting.optimizers import ConstantRate
from robustdip.methods import DEFAULT
from robustdip.recipes import RECIPES, Recipe


class FrozenMask(MixtureModel):
    """b is estimated once, at the onset."""

    frozen = False

    def step(self, x: Tensor, average: Tensor, number: int) -> None:
        if self.frozen:
            return
        before = self.weight
        super().step(x, average, number)
        # Estimates before the onset do not judge yet: frozen there, s would never count.
        self.frozen = self.weight is not before and self.expected_cost is None


class NoHistogram(MixtureModel):
    """p_c = 1."""

    def density_of(self, counts: Tensor) -> Tensor:
        return torch.ones_like(counts)


class Biased(MixtureModel):
    """What corruption costs on average is not subtracted."""

    def expect_cost(self, corrupted_fraction: float) -> None:
        super().expect_cost(corrupted_fraction)
        self.expected_cost = None


class NoKept(MixtureModel):
    """The image is the network's, clean elements too."""

    def estimate(self, average: Tensor) -> MixtureEstimate:
        return NoKeptEstimate(**vars(super().estimate(average)))


class NoKeptEstimate(MixtureEstimate):
    @property
    def image(self) -> Tensor:
        return self.average


@dataclass(frozen=True, kw_only=True)
class Changed(Mixture):
    """The mixture's settings with another class of model."""

    model: type[MixtureModel]

    def start(self, problem: Problem) -> MixtureModel:
        return self.model(self, problem)


@dataclass(frozen=True)
class UnitCovariance:
    """R = I."""

    def around(self, x: Tensor, valid: Tensor) -> Tensor:
        unit = torch.eye(x.shape[1], device=x.device)
        return unit.expand(*(side // BLOCK for side in x.shape[2:]), *unit.shape)


Variant = Callable[[Recipe], Recipe]


def of_recipe(**changes: Any) -> Variant:
    return lambda recipe: replace(recipe, **changes)


def of_mixture(**changes: Any) -> Variant:
    return lambda recipe: replace(
        recipe, corruption_model=replace(recipe.corruption_model, **changes)
    )


def of_rate(**changes: Any) -> Variant:
    return lambda recipe: replace(recipe, rate=replace(recipe.rate, **changes))


def of_model(model: type[MixtureModel]) -> Variant:
    return lambda recipe: replace(
        recipe, corruption_model=Changed(model=model, **vars(recipe.corruption_model))
    )


def of_length(factor: float) -> Variant:
    return lambda recipe: replace(recipe, steps=max(1, round(factor * recipe.steps)))


def one_scale(recipe: Recipe) -> Recipe:
    # The whole image's β outweighs what a window says.
    scale = replace(recipe.corruption_model.scale, global_weight=1e9)
    return of_mixture(scale=scale)(recipe)


VARIANTS: dict[str, Variant] = {
    "default": of_recipe(),
    "l2": of_recipe(loss="l2"),
    "adam": of_recipe(optimizer="adam", lr=0.01, rate=ConstantRate()),
    "no-s": of_recipe(corruption_model=NoCorruption()),
    "no-onset": of_mixture(onset=0.0),
    "onset-0.6": of_mixture(onset=0.6),
    "onset-1.2": of_mixture(onset=1.2),
    "no-average": of_recipe(average=0.0),
    "full-rank": of_recipe(joined=1.0, finest=0.5),
    "two-networks": of_recipe(networks=2),
    "half-steps": of_length(0.5),
    "twice-steps": of_length(2),
    "frozen-mask": of_model(FrozenMask),
    "no-covariance": of_mixture(covariance=UnitCovariance()),
    "global-covariance": of_mixture(covariance=ChannelCovariance(global_weight=1e9)),
    "no-histogram": of_model(NoHistogram),
    "no-streaks": of_mixture(scratches=None),
    "no-detail": of_mixture(detail=None),
    "no-shapes": of_mixture(detectors=()),
    "one-beta": one_scale,
    "biased": of_model(Biased),
    "no-kept": of_model(NoKept),
    "no-reach": of_rate(bounded=False),
    "constant-rate": of_rate(constant=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    quality.add_grid(run, results=ABLATION.path)
    run.add_argument(
        "--variants",
        dest="methods",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        metavar="VARIANT",
        help=", ".join(VARIANTS),
    )
    command = commands.add_parser("table")
    command.add_argument("--steps", type=int, help="those of the measurement, if not the recipe's")
    command.add_argument("--results", type=Path, default=ABLATION.path)
    args = parser.parse_args()
    if args.command == "run":
        quality.measure_all(args, variant, quality.measure)
        return
    lines = replace(ABLATION, path=args.results).latest()
    lines = [line for line in lines if line.get("steps") == args.steps]
    if not lines:
        parser.error(f"{args.results} has no line with these steps")
    print(tabulate(lines), end="")


def variant(name: str, steps: int | None = None) -> Recipe:
    """The settings of a variant. `steps` replaces those of the default recipe."""
    recipe = RECIPES[DEFAULT]
    return VARIANTS[name](recipe if steps is None else replace(recipe, steps=steps))


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
