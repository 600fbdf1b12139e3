"""What `denoise` says was found in a picture, and what to do if nothing was."""

import re

import numpy as np
import pytest

from robustdip import RECIPES
from robustdip.images import read_image, write_image
from tests.helpers.command_line import done
from tests.helpers.images import small

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = ("--steps", 60, "--device", "cpu", "--force")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


@pytest.fixture
def clean(tmp_path):
    down, across = np.mgrid[:32, :40]
    ramps = np.stack([60 + 3 * down, 90 + 2 * across, 200 - 2 * down - across], axis=2)
    write_image(tmp_path / "clean.png", ramps.astype(np.uint8))
    return tmp_path / "clean.png"


@pytest.fixture
def bad(clean, tmp_path):
    done("corrupt", clean, "-o", tmp_path / "bad.png", "--amount", 0.1)
    return tmp_path / "bad.png"


def test_the_share_that_was_found_is_that_of_the_mask(bad, tmp_path):
    mask = tmp_path / "mask.png"
    result = done("denoise", bad, "-o", tmp_path / "out.png", "--save-mask", mask, *STEPS)
    (share,) = re.findall(r"^([\d.]+)% of the values were found wrong$", result.stderr, re.M)
    assert float(share) == pytest.approx(100 * (read_image(mask).pixels > 0).mean(), rel=1e-2)


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ((), "If you see damage, name it (--damage "),
        (("--damage", "dust"), "input; --strength 1 finds more, and --mask "),
        (("--damage", "dust", "--strength", 1), "input; --mask takes what you mark"),
    ],
)
def test_who_gets_the_input_back_is_told_so_and_what_to_do(clean, tmp_path, told, advice):
    out = tmp_path / "out.png"
    result = done("denoise", clean, "-o", out, *told, *STEPS)
    np.testing.assert_array_equal(read_image(out).pixels, read_image(clean).pixels)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("nothing wrong was found: the result is the input")
    assert advice in line


@pytest.mark.parametrize("extra", [("--quiet",), ("--method", "median"), ("--mask", "mask.png")])
def test_nothing_is_said_where_nothing_was_looked_for(bad, tmp_path, monkeypatch, extra):
    monkeypatch.chdir(tmp_path)
    write_image("mask.png", np.eye(32, 40, dtype=np.uint8) * 255)
    steps = () if "median" in extra else STEPS[:2]
    result = done("denoise", bad, "-o", tmp_path / "out.png", *extra, *steps)
    assert "found" not in result.stderr
