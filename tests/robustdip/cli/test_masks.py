"""The loop of a person: look at what was found, correct it, restore again."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from robustdip import RECIPES
from robustdip.images import read_image, write_image
from tests.helpers.command_line import done, refused, run
from tests.helpers.images import small

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = ("--steps", 12, "--device", "cpu", "--force")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


@pytest.fixture
def bad(tmp_path):
    """A smooth picture with salt-and-pepper noise."""
    down, across = np.mgrid[:32, :40]
    clean = np.stack([60 + 3 * down, 90 + 2 * across, 200 - 2 * down - across], axis=2)
    write_image(tmp_path / "clean.png", clean.astype(np.uint8))
    done("corrupt", tmp_path / "clean.png", "-o", tmp_path / "bad.png", "--amount", 0.1)
    return tmp_path / "bad.png"


def test_save_edit_and_restore_again(bad, tmp_path):
    mask, out = tmp_path / "mask.png", tmp_path / "out.png"
    done("denoise", bad, "-o", out, "--save-mask", mask, *STEPS)
    found = read_image(mask).pixels > 0

    # The editor: a white stroke over what was found, and on another layer a rectangle to keep.
    with Image.open(mask) as opened:
        painted = opened.convert("RGB")
    ImageDraw.Draw(painted).line([(3, 3), (30, 20)], fill="white", width=3)
    painted.save(mask)
    keep = Image.new("RGBA", painted.size)
    ImageDraw.Draw(keep).rectangle([20, 0, 39, 12], fill=(0, 0, 0, 255))
    keep.save(tmp_path / "keep.png")
    added, kept = np.asarray(painted) > 0, np.asarray(keep)[..., 3] > 0
    assert (added & ~found).any()
    assert (added & kept[..., None]).any()

    options = ["--add-mask", mask, "--protect", tmp_path / "keep.png", "--save-mask"]
    options += [tmp_path / "second.png", "--save-overlay", tmp_path / "overlay.png", "--json"]
    result = done("denoise", bad, "-o", out, *options, *STEPS)
    given, restored = read_image(bad).pixels, read_image(out).pixels
    second = read_image(tmp_path / "second.png").pixels > 0
    np.testing.assert_array_equal(restored[kept], given[kept])
    replaced = added & ~kept[..., None]
    assert second[replaced].all()
    assert (restored != given)[replaced].mean() > 0.9
    assert not second[kept].any()
    assert json.loads(result.stdout)["corrupted_fraction"] == pytest.approx(second.mean())
    assert "keep.png" in result.stderr
    assert "what is not transparent" in result.stderr
    drawn = read_image(tmp_path / "overlay.png").pixels
    np.testing.assert_array_equal((drawn == (255, 0, 255)).all(axis=2), second.any(axis=2))

    # Exactly this: nothing else is touched.
    done("denoise", bad, "-o", out, "--mask", mask, *STEPS)
    np.testing.assert_array_equal(read_image(out).pixels[~added], given[~added])


def test_a_mask_of_most_of_the_picture_is_remarked_on(bad, tmp_path):
    light = np.full((32, 40), 255, np.uint8)
    light[3, 3] = 0  # black on white
    write_image(tmp_path / "m.png", light)
    options = ["denoise", bad, "-o", tmp_path / "o.png", *STEPS, "--add-mask", tmp_path / "m.png"]
    remark = "marks 99.922% of the samples: what is not black; invert it if that is wrong"
    assert remark in done(*options).stderr
    assert remark in done(*options, "--quiet").stderr  # it is probably a mistake


def test_a_mask_that_marks_nothing_is_remarked_on(bad, tmp_path):
    write_image(tmp_path / "m.png", np.zeros((32, 40), np.uint8))
    options = ["-o", tmp_path / "o.png", "--method", "linear", "--mask", tmp_path / "m.png"]
    assert (
        "m.png' marks nothing: what is not black is marked" in done("denoise", bad, *options).stderr
    )


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("colour_of_mask", [False, True])
def test_grey_and_colour_masks_fit_grey_and_colour_pictures(tmp_path, colour, colour_of_mask):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (16, 20, 3) if colour else (16, 20)).astype(np.uint8)
    mask = np.zeros((16, 20, 3) if colour_of_mask else (16, 20), np.uint8)
    mask[4:8, 5:15] = 255
    write_image(tmp_path / "x.png", picture)
    write_image(tmp_path / "m.png", mask)
    done("denoise", tmp_path / "x.png", "--protect", tmp_path / "m.png", *STEPS)
    made = read_image(tmp_path / "x_denoised.png").pixels
    np.testing.assert_array_equal(made[4:8, 5:15], picture[4:8, 5:15])


def test_what_does_not_fit_is_refused(bad, tmp_path):
    out = tmp_path / "never.png"
    write_image(tmp_path / "m.png", np.full((31, 40), 255, np.uint8))
    options = ["denoise", bad, "-o", out]
    for option in ("--add-mask", "--protect"):
        line = refused(*options, option, tmp_path / "m.png")
        assert f"the mask of {option} has shape (31, 40), the image (32, 40, 3)" in line
        assert "'median' takes no add-mask" in refused(
            *options, option, tmp_path / "m.png", "--method", "median"
        )
        assert "none.png" in refused(*options, option, tmp_path / "none.png")
        both = run(*options, option, tmp_path / "m.png", "--mask", tmp_path / "m.png")
        assert both.exit_code == 2
        assert "--mask decides every sample" in both.stderr
    line = refused(*options, "--protect", tmp_path / "m.png", "--save-overlay", tmp_path / "m.png")
    assert "it is an input" in line
    many = run("denoise", bad, bad, "--save-overlay", tmp_path / "v.png")
    assert many.exit_code == 2
    assert "--save-overlay" in many.stderr
    assert not out.exists()


def test_what_is_probably_a_mistake_is_said_with_quiet_too(tmp_path):
    bad, mask = tmp_path / "bad.png", tmp_path / "m.npy"
    write_image(bad, np.full((20, 30), 100, np.uint8))
    options = [bad, "-o", tmp_path / "o.png", "--mask", mask, "--method", "linear", "--force", "-q"]
    inverted = np.full((20, 30), 255, np.uint8)
    inverted[3, 4] = 0
    np.save(mask, inverted)
    assert "invert it if that is wrong" in done("denoise", *options).stderr
    np.save(mask, np.where(inverted > 0, 0, np.nan))
    assert "some of its values are not finite" in refused("denoise", *options)
