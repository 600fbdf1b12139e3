"""`corrupt`: what happens afterwards, and the truth that it saves."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from robustdip.images import from_float, read_image, to_float, write_image
from robustdip.images.picture import Picture
from tests.helpers.command_line import LONG, done, python, refused, run


@pytest.fixture
def photo(tmp_path):
    down, across = np.mgrid[:41, :50] / 50
    grey = 0.5 + 0.4 * np.sin(4 * down + 7 * across)
    path = tmp_path / "photo.png"
    write_image(path, from_float(np.stack([grey, grey**2, 1 - grey], axis=2), np.uint8))
    return path


def pixels(path):
    return to_float(read_image(path).pixels)


@pytest.mark.parametrize(
    "then",
    [
        [],
        ["--then", "jpeg:80"],
        ["--then", "resize:0.5", "--then", "blur:0.7", "--then", "jpeg:90"],
        ["--then", "demosaic"],
    ],
)
def test_the_saved_truth_is_that_of_the_files(photo, tmp_path, then):
    out, clean, mask, size = (tmp_path / f"{name}.png" for name in ("o", "c", "m", "d"))
    difference = tmp_path / "d.npy"
    options = [photo, "-o", out, "--kind", "hair", "--amount", 0.1, "--save-mask", mask, *then]
    options += ["--save-clean", clean, "--json"]
    record = json.loads(done("corrupt", *options, "--save-difference", difference).stdout)
    truth = np.load(difference)
    assert truth.dtype == np.float32
    bytes_of_out = read_image(out).pixels
    np.testing.assert_array_equal(from_float(pixels(clean) + truth, np.uint8), bytes_of_out)
    marked = read_image(mask).pixels
    threshold = 8 / 255 if then else 0
    np.testing.assert_array_equal(marked, np.where(np.abs(truth) > threshold, 255, 0))
    assert record["corrupted_fraction"] == pytest.approx((marked > 0).mean())
    assert record["then"] == then[1::2]
    assert record["threshold"] == threshold
    assert 0 < record["corrupted_fraction"] < 0.5
    done("corrupt", *options, "--save-difference", size, "--force")
    shown = read_image(size).pixels
    np.testing.assert_array_equal(shown, from_float(np.abs(truth), np.uint8))
    done("corrupt", photo, "-o", tmp_path / "p.png", "--amount", 0, *then)
    np.testing.assert_array_equal(read_image(tmp_path / "p.png").pixels, read_image(clean).pixels)


def test_a_threshold_of_ones_own(photo, tmp_path):
    found = {}
    for threshold in (0, 0.3):
        options = ["--kind", "dust", "--amount", 0.2, "--threshold", threshold, "--json"]
        options += ["--then", "jpeg:70", "--force"]
        made = done("corrupt", photo, "-o", tmp_path / "o.png", *options).stdout
        found[threshold] = json.loads(made)["corrupted_fraction"]
    assert found[0] > found[0.3] > 0


@pytest.mark.parametrize("threshold", ["1", "2", "inf", "nan", "-0.1"])
def test_a_threshold_that_nothing_is_above_is_wrong_usage(photo, tmp_path, threshold):
    out = tmp_path / "o.png"
    result = run("corrupt", photo, "-o", out, "--threshold", threshold)
    assert (result.exit_code, out.exists()) == (2, False)
    assert f"Invalid value for '--threshold': {threshold} is not in [0, 1)" in result.stderr
    assert "[0<=x<1]" in done("corrupt", "--help").stdout


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colour", [False, True])
def test_grey_and_colour_with_alpha_and_depth(tmp_path, dtype, colour):
    rng = np.random.default_rng(0)
    full = np.iinfo(dtype).max
    samples = rng.integers(0, full, (15, 22, 3) if colour else (15, 22)).astype(dtype)
    alpha = np.full((15, 22), full, dtype)
    alpha[:8] = 0
    source, out = tmp_path / "a.png", tmp_path / "o.png"
    write_image(source, Picture(samples, alpha))
    chain = ["--then", "jpeg:90", "--then", "resize:2"]
    done("corrupt", source, "-o", out, "--kind", "watermark", "--amount", 0.2, *chain)
    made = read_image(out)
    assert made.pixels.dtype == dtype
    assert made.pixels.shape == (30, 44, *samples.shape[2:])
    assert made.alpha is not None
    assert made.alpha.shape == (30, 44)
    assert (made.alpha[:12] == 0).all()
    assert (made.alpha[20:] == full).all()


@pytest.mark.parametrize("kind", ["blocks", "hot-pixels", "dust", "hair", "watermark", "soft-text"])
def test_a_picture_of_one_pixel(tmp_path, kind):
    write_image(tmp_path / "x.png", np.full((1, 1, 3), 100, np.uint8))
    chain = ["--then", "demosaic", "--then", "resize:0.5", "--then", "jpeg:85"]
    done(
        "corrupt", tmp_path / "x.png", "-o", tmp_path / "y.png", "--kind", kind, "--amount", 1,
        *chain,
    )  # fmt: skip
    with Image.open(tmp_path / "y.png") as made:
        assert made.size == (1, 1)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("mpeg:3", "no step 'mpeg:3'; there are jpeg:QUALITY"),
        ("jpeg:0", "quality of jpeg is 0"),
        ("resize", "write resize:FACTOR"),
        ("blur:nan", "sigma of blur is nan"),
    ],
)
def test_a_bad_step_is_wrong_usage(photo, tmp_path, step, message):
    result = run("corrupt", photo, "-o", tmp_path / "o.png", "--then", "demosaic", "--then", step)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "o.png").exists()


def test_what_stops_the_writing_is_said_first(photo, tmp_path):
    out = tmp_path / "o.png"
    assert "two results" in refused("corrupt", photo, "-o", out, "--save-clean", out)
    assert "input" in refused("corrupt", photo, "-o", out, "--save-mask", photo, "--force")
    assert "'x.txt'" in refused("corrupt", photo, "-o", out, "--save-difference", "x.txt")
    write_image(tmp_path / "grey.png", np.zeros((4, 4), np.uint8))
    assert "demosaic takes an RGB image" in refused(
        "corrupt", tmp_path / "grey.png", "-o", out, "--then", "demosaic"
    )
    assert not out.exists()


def test_a_refusal_needs_no_scipy(tmp_path):
    script = (
        "import sys; from robustdip.__main__ import main\n"
        f"sys.argv = ['robustdip', 'corrupt', {str(tmp_path / 'none.png')!r}, '-o', 'x.png',"
        " '--then', 'blur:1']\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'scipy', 'skimage'} & set(sys.modules)), file=sys.stderr)"
    )
    result = python("-c", script)
    assert result.returncode == 1, LONG
    assert result.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", ["-o", "--save-clean", "--save-mask", "--save-difference"])
def test_what_is_too_large_for_its_format_is_refused_before_the_work(tmp_path, monkeypatch, option):
    monkeypatch.delattr("robustdip.synthetic.damage")
    source, path = tmp_path / "x.png", tmp_path / "y.webp"
    write_image(source, np.zeros((1, 1100, 3), np.uint8))
    options = [] if option == "-o" else ["-o", tmp_path / "o.png"]
    line = refused("corrupt", source, *options, option, path, "--then", "resize:15")
    assert line == (
        f"error: cannot write {str(path)!r}: WEBP holds at most 16383 pixels a side; use .png"
    )
    assert [made.name for made in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_file_that_cannot_be_written_does_not_cost_the_others(photo, tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = ["-m", "robustdip", "corrupt", photo, "-o", tmp_path / "noisy.png"]
    command += ["--kind", "missing-lines", "--amount", "0.1", "--save-mask", tmp_path / "mask.png"]
    ended = python(*command, preexec_fn=limit)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"error: cannot write '{tmp_path / 'noisy.png'}': File too large"
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png", "photo.png"]
