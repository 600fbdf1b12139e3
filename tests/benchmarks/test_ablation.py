"""Promise: each variant of the ablation changes what its name says, and nothing else."""

import statistics
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.images import ablation
from benchmarks.record import plain
from robustdip.corruption.channels import BLOCK
from robustdip.corruption.mixture import Mixture, MixtureModel
from robustdip.recipes import RECIPES
from robustdip.synthetic import corrupt
from tests.helpers.benchmarks import grid, line, lines
from tests.helpers.images import array, model_of, scene, tensor, with_mixture


def changes(one, other) -> set[str]:
    """Names of the fields in which two settings differ."""
    return {f.name for f in fields(other) if getattr(one, f.name) != getattr(other, f.name)}


@pytest.mark.slow
def test_every_variant_changes_the_result(command, small, picture, tmp_path, capsys):
    results = tmp_path / "lines.jsonl"
    noise = ("--kinds", "random-valued", "--amounts", 0.3)
    variants = list(ablation.VARIANTS)
    arguments = grid(picture, results, *noise, "--steps", 12)
    command("images.ablation", *arguments, "--variants", *variants)
    values = {one["method"]: (one["psnr"], one["ssim"]) for one in lines(results)}
    assert list(values) == variants
    default = values.pop("default")
    # No path is bounded within 64 steps: `test_rates` goes on. Of so few steps the onset is two
    # fifths in any case. The narrow network has 16 channels everywhere. Noise has no shapes, does
    # not run on and is no detail: see the next tests.
    same = ("no-reach", "onset-0.6", "onset-1.2", "full-rank", "no-streaks", "no-shapes")
    for name in (*same, "no-detail"):
        del values[name]
    assert default not in values.values()

    before = results.read_bytes()
    command("images.ablation", *arguments, "--variants", *variants)
    assert results.read_bytes() == before
    capsys.readouterr()
    command("images.ablation", "table", "--steps", 12, "--results", results)
    rows = capsys.readouterr().out.splitlines()[2 : 2 + len(variants)]
    assert [row.split(" | ")[0] for row in rows] == [f"| {name}" for name in variants]
    change = values["l2"][0] - default[0]
    assert rows[1] == f"| l2 | {values['l2'][0]:.2f} ({change:+.2f}) | {change:+.2f} | 1 |"


@pytest.mark.parametrize(
    ("kind", "variant"), [("scratches", "no-streaks"), ("missing-lines", "no-shapes")]
)
def test_a_shape_not_looked_for_changes_the_result(
    command, small, picture, tmp_path, *, kind, variant
):
    results = tmp_path / "lines.jsonl"
    damage = ("--kinds", kind, "--amounts", 0.2)
    variants = ("--variants", "default", variant)
    command("images.ablation", *grid(picture, results, *damage, "--steps", 12), *variants)
    default, without = lines(results)
    assert default["psnr"] != without["psnr"]


def estimated(name: str) -> tuple[MixtureModel, torch.Tensor]:
    """The variant's model after two estimates on a network's guess, and the guess."""
    clean, guess = scene()
    # Of random values the histogram is even, with the default recipe too.
    noisy, _ = corrupt(clean, "salt-and-pepper", 0.3, rng=np.random.default_rng(0))
    recipe = ablation.VARIANTS[name](RECIPES["default"])
    model = model_of(tensor(noisy), recipe=recipe)
    for _ in range(2):
        model.reestimate(tensor(guess))
    return model, tensor(guess)


def off_diagonal(gain: torch.Tensor) -> bool:
    return not torch.equal(gain, torch.diag_embed(gain.diagonal(dim1=-2, dim2=-1)))


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("no-histogram", lambda m, x: bool((m.value_density == 1).all())),
        ("one-beta", lambda m, x: float(m.scale.max() - m.scale.min()) < 1e-6),
        ("no-covariance", lambda m, x: not off_diagonal(m.gain)),
        ("global-covariance", lambda m, x: bool(
            ((m.gain - m.gain[:, :1, :1]).abs() < 1e-5).all())),
        ("no-kept", lambda m, x: torch.equal(m.estimate(x).image, x)),
        ("no-streaks", lambda m, x: m.scratch_density is None),
        ("no-onset", lambda m, x: m.onset == 0),
        ("onset-0.6", lambda m, x: m.onset == round(0.6 * 64)),
        ("onset-1.2", lambda m, x: m.onset == round(1.2 * 64)),
    ],
)  # fmt: skip
def test_a_variant_is_what_it_says(name, holds):
    assert holds(*estimated(name))
    assert not holds(*estimated("default"))


def test_the_unit_covariance_has_the_shape_of_the_real_one():
    x = torch.rand(1, 3, 32, 40)
    found = ablation.UnitCovariance().around(x, torch.ones_like(x))
    assert found.shape == (32 // BLOCK, 40 // BLOCK, 3, 3)


def steps_of(name: str, count: int) -> list[MixtureModel]:
    """Weights and expected costs after each step; the guess wanders from step to step."""
    clean, guess = scene()
    noisy, _ = corrupt(clean, "random-valued", 0.3, rng=np.random.default_rng(0))
    default = with_mixture(replace(RECIPES["default"], steps=count), refresh=0)
    model = model_of(tensor(noisy), recipe=ablation.VARIANTS[name](default))
    seen = []
    for number in range(1, count + 1):
        x = tensor(guess + 0.01 * number)
        model.step(x, x, number)
        seen.append((model.weight, model.expected_cost is not None))
    return seen


def test_a_frozen_mask_stays():
    frozen = [weight for weight, _ in steps_of("frozen-mask", 12)]  # the onset is at step 4
    default = [weight for weight, _ in steps_of("default", 12)]
    first = next(i for i, weight in enumerate(frozen) if torch.equal(weight, frozen[-1]))
    assert 0 < first < 5
    assert all(torch.equal(weight, frozen[-1]) for weight in frozen[first:])
    assert torch.equal(default[first], frozen[first])  # the first estimate that judges
    assert not torch.equal(default[first + 1], default[first])


def test_only_the_default_expects_corruption_to_cost():
    default = [expects for _, expects in steps_of("default", 12)]
    assert default[1]
    assert not any(default[4:])
    assert [expects for _, expects in steps_of("biased", 12)] == 12 * [False]


@pytest.mark.parametrize(
    ("name", "number", "steps", "before", "after"),
    [
        ("constant-rate", 90, 90, 0.02, 1.0),
        ("constant-rate", 10, 90, 0.5, 0.5),  # the warm-up stays
        ("constant-rate", 200, 200, 0.02 / 8, 1 / 8),  # and so does the bound
        ("no-reach", 200, 1000, 1 / 8, 1.0),
        ("no-reach", 200, 200, 0.02 / 8, 0.02),  # the decay stays
    ],
)
def test_rates(name, number, steps, before, after):
    pixels = 100**2 / 2  # a reach of 100
    default = RECIPES["default"].rate
    changed = ablation.variant(name).rate
    assert default.factor(number, steps, clean_pixels=pixels) == pytest.approx(before)
    assert changed.factor(number, steps, clean_pixels=pixels) == pytest.approx(after)


def test_differences_are_those_of_the_same_seed():
    def one(method: str, seed: int, value: float, **more) -> dict:
        return line("a", method, value, seed=seed, **more)

    table = ablation.tabulate(
        [
            one("default", 0, 10.0),
            one("default", 1, 20.0),
            one("default", 0, 7.0, kind="text"),
            one("no-s", 1, 18.0),
            one("no-s", 2, 99.0),
            one("l2", 0, 0.0, error="DivergedError: the loss is nan"),
            one("l2", 0, 9.5, kind="text"),
            one("no-kept", 0, 11.0),
            one("no-kept", 0, 6.0, kind="text"),
        ]
    )
    spread = [f"± {statistics.stdev(values):.2f}" for values in ([10, 20], [18, 99])]
    assert table.splitlines() == [
        "| variant | a, 64x64, random-valued 50% | a, 64x64, text 50% | mean difference | n |",
        "|---|---|---|---|---|",
        f"| default | 15.00 {spread[0]} | 7.00 |  | 1/2 |",
        "| l2 | failed | 9.50 (+2.50) |  | 0/1 |",
        f"| no-s | 58.50 {spread[1]} (-2.00) |  |  | 2 |",
        "| no-kept | 11.00 (+1.00) | 6.00 (-1.00) | +0.00 | 1 |",
    ]


def test_a_variant_is_the_default_with_one_thing_changed():
    default = replace(RECIPES["default"], steps=100)
    for name in ablation.VARIANTS:
        recipe = ablation.variant(name, 100)
        changed = {
            f.name for f in fields(default) if getattr(recipe, f.name) != getattr(default, f.name)
        }
        expected = {"default": 0, "full-rank": 2, "adam": 3}.get(name, 1)
        assert len(changed) == expected, name
        if changed == {"corruption_model"} and isinstance(recipe.corruption_model, Mixture):
            model, before = recipe.corruption_model, default.corruption_model
            inner = [
                f.name for f in fields(before) if getattr(model, f.name) != getattr(before, f.name)
            ]
            assert len(inner) == (0 if isinstance(model, ablation.Changed) else 1), name
    assert ablation.variant("half-steps", 100).steps == 50
    assert ablation.variant("twice-steps").steps == 2 * RECIPES["default"].steps


def test_a_record_tells_the_variants_apart():
    written = [str(plain(ablation.variant(name))) for name in ablation.VARIANTS]
    assert len(set(written)) == len(ablation.VARIANTS)


def test_the_image_of_a_variant_is_a_picture(picture):
    clean = np.asarray(Image.open(picture), np.float32) / 255
    model = model_of(tensor(clean), recipe=ablation.variant("no-kept"))
    np.testing.assert_array_equal(array(model.estimate(tensor(clean)).image), clean)
