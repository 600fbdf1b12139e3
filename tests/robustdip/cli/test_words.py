"""What one tells the command about the damage, in words."""

import numpy as np
import pytest

from robustdip import RECIPES
from robustdip.images import read_image, write_image
from tests.helpers.command_line import done, refused, run
from tests.helpers.images import small

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = ("--steps", 12, "--device", "cpu", "--force", "--quiet")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


@pytest.fixture
def bad(tmp_path):
    """A smooth picture with light and dark specks of one pixel."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[:32, :40]
    pixels = np.stack([60 + 3 * down, 90 + 2 * across, 120 + down + across], axis=2)
    pixels[rng.random(down.shape) < 0.05] = 250
    pixels[rng.random(down.shape) < 0.05] = 5
    write_image(tmp_path / "bad.png", pixels.astype(np.uint8))
    return tmp_path / "bad.png"


def test_only_what_is_bright_is_removed(bad, tmp_path):
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    words = ["--damage", "pixels", "--damage", "dust", "--only", "bright", "--strength", 0.2]
    done("denoise", bad, "-o", out, "--save-mask", mask, *words, "--max-size", 5, *STEPS)
    given, found = read_image(bad).pixels, read_image(mask).pixels > 0
    assert found[given == 250].mean() > 0.5
    assert not found[given == 5].any()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--damage", "rain"], "damage is 'rain'; use one of auto, pixels, text"),
        (["--damage", "auto", "--damage", "text"], "'auto' alone"),
        (["--only", "grey"], "only is 'grey'; use one of bright, dark"),
        (["--strength", 3], "Invalid value"),
        (["--max-size", 0], "Invalid value"),
        (["--mask", "x.png", "--damage", "dust"], "--mask says where the damage is"),
    ],
)
def test_words_that_do_not_exist_are_wrong_usage(bad, words, line):
    result = run("denoise", bad, *words)
    assert result.exit_code == 2
    assert line in result.stderr


def test_who_is_told_nothing_says_so(bad, tmp_path):
    assert "takes no damage" in refused("denoise", bad, "--method", "median", "--damage", "dust")
    line = refused("denoise", bad, "--method", "dip-l1", "--strength", 0.5)
    assert "takes no damage, strength" in line
    assert not list(tmp_path.glob("*denoised*"))
