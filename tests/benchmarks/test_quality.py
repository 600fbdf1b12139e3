"""Promise: the grid of qualities resumes, loses no case, and its table says what its lines say.

Numbers here are of no interest: the pictures are tiny and the steps few.
"""

import statistics
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.images import quality
from benchmarks.record import plain
from robustdip import recovery
from robustdip.classical import METHODS, median
from robustdip.quality import psnr
from robustdip.synthetic import corrupt
from tests.helpers.benchmarks import grid, line, lines


@pytest.mark.slow
def test_a_grid_is_measured_once_and_shown(command, small, picture, tmp_path, capsys):
    results = tmp_path / "new" / "lines.jsonl"
    kinds = ("--kinds", "random-valued/pixel", "text+gaussian", "--amounts", 0.1, 0.3)
    methods = ("--methods", "default", "median", "known-mask-linear")
    command("images.quality", *grid(picture, results, *kinds, *methods))
    found = lines(results)
    assert len({(line["kind"], line["amount"], line["method"]) for line in found}) == 12
    assert len(found) == 12
    assert not any("peak_bytes" in line or "error" in line for line in found)

    before = results.read_bytes()
    command("images.quality", *grid(picture, results, *kinds, *methods))
    assert results.read_bytes() == before

    # Other settings are another measurement, of the methods that have settings.
    command("images.quality", *grid(picture, results, *kinds, *methods, "--steps", 1))
    assert [line["method"] for line in lines(results)[12:]] == ["default"] * 4
    assert {line["recipe"]["steps"] for line in lines(results)[12:]} == {1}

    capsys.readouterr()
    command("images.quality", "table", "--results", results, "--kinds", "text+gaussian")
    table = capsys.readouterr().out
    labels = [row.split(" | ")[3] for row in table.splitlines()[2:]]
    assert labels == 2 * ["default (steps=1)", "default (steps=2)", "median", "known-mask-linear"]
    first = next(line for line in found if line["kind"] == "text+gaussian")
    assert f"| {first['psnr']:.2f} | {first['psnr']:.2f} | {first['ssim']:.4f} |" in table

    command("images.quality", "figure", "--results", results, "--side", 32)
    with Image.open(results.with_suffix(".png")) as figure:
        pixels = np.asarray(figure.convert("L"))
    assert min(pixels.shape) > 200
    assert pixels.std() > 5


def test_a_line_says_what_was_measured(command, small, picture, tmp_path):
    results = tmp_path / "lines.jsonl"
    methods = ("--methods", "default", "dip-l1", "median")
    options = ("--kinds", "random-valued", "--seeds", 3)
    command("images.quality", *grid(picture, results, *methods, *options))
    fitted, without, filtered = lines(results)

    clean = np.asarray(Image.open(picture), np.float32) / 255
    noisy, bad = corrupt(clean, "random-valued", 0.5, rng=np.random.default_rng(3))
    result = recovery.denoise(noisy, method=replace(small, steps=2), seed=3, device="cpu")
    hits = sum(a and b for a, b in zip(result.mask.flat, bad.flat, strict=True))
    assert fitted["psnr"] == pytest.approx(psnr(clean, result.image), abs=1e-3)
    assert fitted["precision"] == pytest.approx(hits / result.mask.sum(), abs=1e-4)
    assert fitted["recall"] == pytest.approx(hits / bad.sum(), abs=1e-4)
    assert fitted["recipe"] == plain(replace(small, steps=2))
    assert without["precision"] is without["recall"] is None  # it judges nothing
    assert filtered["psnr"] == pytest.approx(psnr(clean, median(noisy)), abs=1e-3)
    assert filtered["input_psnr"] == pytest.approx(psnr(clean, noisy), abs=1e-3)


def test_from_which_side_on_pictures_are_in_tiles_is_that_of_the_program(monkeypatch):
    assert [side for side in (256, 383, 384, 512) if quality.in_tiles(side)] == [384, 512]
    monkeypatch.setattr(quality, "core_side", lambda given, recipe: 128)
    assert quality.in_tiles(256)


def test_a_failure_is_recorded_and_tried_again(command, picture, tmp_path, monkeypatch, capsys):
    results = tmp_path / "lines.jsonl"
    arguments = grid(picture, results, "--methods", "median", "tv-l1", "--kinds", "text")

    def diverge(image):
        raise recovery.DivergedError("the loss is nan")

    with monkeypatch.context() as patched:
        patched.setitem(METHODS, "median", diverge)
        with pytest.raises(SystemExit, match=r"1 cases failed: their lines in .*lines\.jsonl"):
            command("images.quality", *arguments)
    failed, other = lines(results)
    assert failed["error"] == "DivergedError: the loss is nan"
    assert other["method"] == "tv-l1"
    assert other["psnr"] > 0
    command("images.quality", "table", "--results", results)
    assert "| 0 (1 failed) |" in capsys.readouterr().out
    command("images.quality", *arguments)
    capsys.readouterr()
    assert [line["method"] for line in lines(results)] == ["median", "tv-l1", "median"]
    command("images.quality", "table", "--results", results)
    assert "failed" not in capsys.readouterr().out


def test_ctrl_c_is_no_measurement(command, small, picture, tmp_path, monkeypatch):
    def interrupted(image, **options):
        result = recovery.denoise(image, **options)
        return replace(result, status="interrupted")

    monkeypatch.setattr(quality, "denoise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command("images.quality", *grid(picture, tmp_path / "lines.jsonl"))
    assert not (tmp_path / "lines.jsonl").exists()


@pytest.mark.slow
def test_isolated_cases_tell_their_peak_memory(command, picture, tmp_path):
    arguments = ("--methods", "median", "--kinds", "text")
    here, apart = tmp_path / "here.jsonl", tmp_path / "apart.jsonl"
    command("images.quality", *grid(picture, here, *arguments))
    command("images.quality", *grid(picture, apart, *arguments, "--isolate"))
    (line,) = lines(apart)
    assert line["peak_bytes"] > 50e6  # the libraries alone take more
    assert line["psnr"] == lines(here)[0]["psnr"]


@pytest.mark.parametrize("kind", ["random-valued", "salt-and-pepper/pixel", "text"])
def test_gaussian_noise_lies_under_the_sparse_noise(kind):
    clean = np.tile(np.linspace(0, 1, 256, dtype=np.float32)[:, None, None], (1, 256, 3))
    sparse, bad = quality.corrupted(clean, kind, 0.3, seed=0)
    both, still_bad = quality.corrupted(clean, f"{kind}+gaussian", 0.3, seed=0)
    np.testing.assert_array_equal(bad, still_bad)
    np.testing.assert_array_equal(both[bad], sparse[bad])
    assert both.dtype == np.float32
    assert 0 == both[~bad].min() < both[~bad].max() == 1
    inner = ~bad & (np.abs(clean - 0.5) < 0.35)  # far from where it is clipped
    noise = (both - clean)[inner]
    assert noise.std() == pytest.approx(5 / 255, rel=0.02)
    assert abs(noise.mean()) < 4 * (5 / 255) / np.sqrt(inner.sum())


def test_a_case_without_corruption_has_no_recall():
    mask, none = np.array([True, True, False, False]), np.zeros(4, bool)
    assert quality._fraction(mask, among=np.array([True, False, True, True])) == 0.3333
    assert quality._fraction(mask, among=none) is None


def test_means_are_over_images_of_means_over_seeds():
    told, blind = "known-mask-linear", "median"
    table = quality.tabulate(
        [
            line("a", told, 30.0, peak_bytes=2_000_000),
            line("a", told, 31.0, seed=1, peak_bytes=5_000_000, seconds=3.0),
            line("a", told, 35.0, seed=2, seconds=9.0),
            line("b", told, 20.0, ssim=0.7),
            line("a", blind, 10.0),
            line("a", blind, 10.0, amount=0.1, precision=0.25, recall=0.5),
            line("b", told, 1.0, amount=0.1, ssim=None),
            line("a", told, 1.0, amount=0.1),
        ]
    )
    spread = statistics.stdev([30, 31, 35])
    whole = (30 + 31 + 35) / 3 / 2 + 20 / 2
    assert table.splitlines() == [
        "| side | corruption | amount | method | PSNR (dB) | a | b | SSIM | precision | recall "
        "| s | MB | n |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        "| 64 | random-valued | 10% | median |  | 10.00 |  |  |  |  | 1.0 |  | 1 |",
        f"| 64 | random-valued | 10% | {told} | 1.00 | 1.00 | 1.00 |  |  |  | 1.0 |  | 1 |",
        "| 64 | random-valued | 50% | median |  | 10.00 |  |  |  |  | 1.0 |  | 1 |",
        f"| 64 | random-valued | 50% | {told} | {whole:.2f} | 32.00 ± {spread:.2f} | 20.00 "
        "| 0.6000 |  |  | 2.0 | 5 | 1/3 |",
    ]


def test_lines_of_earlier_code_stand_under_the_name_of_their_method():
    old = {"code": None, "commit": "0ld"}
    recipes = [{"steps": 600}, {"steps": 600, "renamed": 1}]
    lines = [line("a", "default", 1.0, recipe=recipes[0], **old)]
    lines += [line("a", "default", 3.0, recipe=recipes[1], seed=1, **old)]
    (row,) = quality.tabulate(lines).splitlines()[2:3]
    spread = statistics.stdev([1, 3])
    assert f"| default | 2.00 † | 2.00 ± {spread:.2f} † |" in row
    # A line of the present code takes the place of all of them in its cell.
    lines += [line("a", "default", 7.0), line("b", "default", 5.0, **old)]
    table = quality.tabulate(lines)
    assert "| default | 6.00 † | 7.00 | 5.00 † |" in table
    assert table.endswith("\n\n† measured with earlier code (commit 0ld)\n")


def test_every_point_of_a_panel_is_the_mean_over_the_same_images(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot

    def recorded(axis, *arguments, **options):
        drawn.append(arguments[:2])
        return plot(axis, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", recorded)
    quality.draw(
        [
            line("a", "median", 10.0, amount=0.1),
            line("b", "median", 20.0, amount=0.1),
            line("a", "median", 1.0),  # b is missing
            line("a", "median", 6.0, amount=0.7),
            line("b", "median", 8.0, amount=0.7),
            line("a", "tv-l1", 30.0, amount=0.1),
        ],
        tmp_path / "figure.png",
    )
    assert drawn == [(pytest.approx((10, 70)), (15, 7))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no.png"], "there is no file no.png"),
        (["run", __file__, "--kinds", "text/pixel"], "invalid choice: 'text/pixel'"),
        (["run", __file__, "--methods", "magic"], "invalid choice: 'magic'"),
        (["table", "--results", "none.jsonl"], "none.jsonl has no such line"),
    ],
)
def test_wrong_arguments_are_one_line(command, arguments, message, capsys):
    with pytest.raises(SystemExit):
        command("images.quality", *arguments)
    assert message in capsys.readouterr().err
