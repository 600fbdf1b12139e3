"""The command line: what it prints and where, its exit codes, and the files it leaves alone."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import robustdip.recovery
from overparam.terminal import progress
from robustdip import RECIPES, Picture, read_image, write_image
from tests.helpers.command_line import LONG, ROOT, done, is_quicker_than, python, refused, run
from tests.helpers.images import small

KEYS = ["source", "output", "status", "steps", "seconds", "psnr", "ssim", "method", "recipe"]
KEYS += ["seed", "device", "threads", "changed", "corrupted_fraction", "tiles", "fitted_tiles"]
KEYS += ["filled_pixels", "disagreement"]
KINDS = ["salt-and-pepper", "random-valued", "text", "scratches", "missing-lines"]


def noise(*shape, dtype=np.uint8, seed=0):
    high = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, high, shape, dtype, endpoint=True)


def denoised(*arguments, steps=2):
    return done("denoise", "--steps", steps, "--device", "cpu", *arguments)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


@pytest.fixture
def image(tmp_path):
    write_image(tmp_path / "in.png", noise(12, 10, 3))
    return tmp_path / "in.png"


@pytest.fixture
def no_fit(monkeypatch):
    """What is refused must be refused before anything is computed."""

    def denoise(*_, **__):
        pytest.fail("the fit was started")

    monkeypatch.setattr(robustdip.recovery, "denoise", denoise)


# --- denoise: what comes out, and where ----------------------------------------------------


def test_path_on_stdout_progress_with_the_time_left_on_stderr(image):
    before = image.read_bytes()
    result = denoised(image)
    out = image.with_name("in_denoised.png")
    assert result.stdout == f"{out}\n"
    assert re.fullmatch(
        r"in.png: step 1/2, \d+ s left\nin.png: step 2/2, 0 s left\n.*% of the values were found "
        r"wrong\n",
        result.stderr,
    )
    assert read_image(out).pixels.shape == (12, 10, 3)
    assert image.read_bytes() == before
    assert sorted(contents(image.parent)) == ["in.png", "in_denoised.png"]


def test_json_is_one_object_with_the_promised_keys(image, tmp_path):
    clean, out = tmp_path / "clean.png", tmp_path / "out.png"
    write_image(clean, noise(12, 10, 3, seed=1))
    result = denoised(image, "-o", out, "--reference", clean, "--json", "--seed", 7)
    record = json.loads(result.stdout)
    assert list(record) == KEYS
    assert record["output"] == str(out)
    assert (record["status"], record["steps"], record["recipe"]) == ("completed", 2, "default")
    assert (record["seed"], record["device"]) == (7, "cpu")
    assert 0 <= record["corrupted_fraction"] <= 1
    assert record["seconds"] > 0
    # What is reported is what the file holds, by definition and by the other command.
    error = np.mean((read_image(out).pixels / 255 - read_image(clean).pixels / 255) ** 2)
    assert record["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    again = json.loads(done("compare", clean, out, "--json").stdout)
    assert again == {"psnr": record["psnr"], "ssim": None}  # 10 pixels are too few for SSIM
    # The reference guides nothing.
    blind = json.loads(denoised(image, "--json", "--seed", 7, "--recipe", "default").stdout)
    assert blind["psnr"] is blind["ssim"] is None
    assert image.with_name("in_denoised.png").read_bytes() == out.read_bytes()


def test_the_seed_decides(image, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        denoised(image, "-o", tmp_path / f"{name}.png", "--seed", seed, "--recipe", "dip-l2")
    files = contents(tmp_path)
    assert files["a.png"] == files["b.png"] != files["c.png"]


def test_quiet_silences_progress_and_not_errors(image, tmp_path):
    assert denoised(image, "--quiet").stderr == ""
    assert "exists already" in refused("denoise", image, "--quiet")
    denoised(image, "-q", "--reference", image, "-o", tmp_path / "x.png")


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "100")

    def shown(terminal):
        monkeypatch.setenv("TERM", terminal)
        monkeypatch.setattr(sys, "stderr", Terminal())
        with progress("photo.png") as show:
            for number in range(1, 5):
                show(number, 4)
            return sys.stderr.getvalue()

    bar = shown("xterm")
    assert "photo.png" in bar
    assert "\x1b[" in bar  # moves the cursor
    # A bar needs a cursor that moves; without one there are lines, as in a file.
    lines = shown("dumb").splitlines()
    assert lines[-1] == "photo.png: step 4/4, 0 s left"
    assert len(lines) == 4


def test_out_dir(image, tmp_path):
    folder = tmp_path / "results"
    assert "does not exist; make it first" in refused("denoise", image, "--out-dir", folder)
    assert not folder.exists()
    folder.mkdir()
    result = denoised(image, "--out-dir", folder)
    assert result.stdout == f"{folder / 'in_denoised.png'}\n"
    assert f"'{image}' is a file" in refused("denoise", image, "--out-dir", image)


@pytest.mark.parametrize(
    ("name", "samples", "alpha"),
    [
        ("grey.png", noise(9, 8), None),
        ("one.png", noise(1, 1), None),
        ("rgba.png", noise(3, 2, 3), noise(3, 2, seed=1)),
        ("rgba.webp", noise(9, 8, 3), noise(9, 8, seed=1)),
        ("deep.png", noise(9, 8, dtype=np.uint16), None),
        ("deep.tif", noise(9, 8, 3, dtype=np.uint16), None),
        (
            "deep_alpha.png",
            noise(9, 8, 3, dtype=np.uint16),
            noise(9, 8, dtype=np.uint16, seed=1),
        ),
    ],
)
def test_depth_alpha_and_profile_are_kept(tmp_path, name, samples, alpha):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_image(tmp_path / name, Picture(samples, alpha, profile))
    denoised(tmp_path / name)
    for out in (tmp_path / f"{Path(name).stem}_denoised.png", tmp_path / "out.tif"):
        if out.suffix == ".tif":
            denoised(tmp_path / name, "-o", out)
        result = read_image(out)
        assert result.pixels.shape == samples.shape
        assert result.pixels.dtype == samples.dtype
        if samples.dtype == np.uint16 and samples.size > 9:
            assert (result.pixels % 257 != 0).any()  # more than 8 bits in disguise
        assert result.icc_profile == profile
        if alpha is None:
            assert result.alpha is None
        else:
            np.testing.assert_array_equal(result.alpha, alpha)


def test_palette_becomes_rgb_and_the_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    Image.fromarray(noise(9, 8, 3)).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(noise(9, 8, 3)).quantize(16).save(tmp_path / "palette.png")
    denoised(tmp_path / "turned.jpg", tmp_path / "palette.png")
    assert read_image(tmp_path / "turned_denoised.png").pixels.shape == (8, 9, 3)
    assert read_image(tmp_path / "palette_denoised.png").pixels.shape == (9, 8, 3)
    with Image.open(tmp_path / "turned_denoised.png") as out:
        assert not out.getexif()


@pytest.mark.slow
def test_corruption_mask_and_comparison_agree(tmp_path):
    ramp = np.add.outer(np.arange(40), np.arange(44))[..., None] + (70, 90, 110)
    write_image(tmp_path / "clean.png", ramp.astype(np.uint8))
    image, out = tmp_path / "in.png", tmp_path / "out.png"
    done("corrupt", tmp_path / "clean.png", "-o", image, "--amount", 0.3)
    mask, strip = tmp_path / "mask.png", tmp_path / "strip.png"
    options = ["--save-mask", mask, "--compare", strip, "--force", "--json", "-o", out]
    for suffix in ("npy", "safetensors", "png"):
        path = tmp_path / f"s.{suffix}"
        result = denoised(image, *options, "--save-corruption", path, steps=50)
    record = json.loads(result.stdout)

    s = np.load(tmp_path / "s.npy")
    assert (s.shape, s.dtype) == ((40, 44, 3), np.float32)
    np.testing.assert_array_equal(load_file(tmp_path / "s.safetensors")["corruption"], s)
    size = read_image(tmp_path / "s.png").pixels
    assert np.abs(size / 255 - np.abs(s)).max() < 0.5 / 255 + 1e-6
    restored, given = read_image(out).pixels, read_image(image).pixels
    assert np.abs(given / 255 - s - restored / 255).max() < 0.5 / 255 + 1e-6
    marked = read_image(mask).pixels
    assert marked.shape == (40, 44, 3)
    assert set(np.unique(marked)) == {0, 255}
    assert (marked == 255).mean() == pytest.approx(record["corrupted_fraction"])
    assert np.abs(s[marked == 255]).mean() > 10 * np.abs(s[marked == 0]).mean()
    views = read_image(strip).pixels
    assert views.shape == (40, 3 * 44 + 2 * 4, 3)
    for place, view in enumerate((given, restored, size)):
        np.testing.assert_array_equal(views[:, place * 48 :][:, :44], view)


def test_grey_extras_of_a_deep_image(tmp_path):
    write_image(tmp_path / "in.png", noise(12, 11, dtype=np.uint16))
    paths = [tmp_path / name for name in ("s.npy", "mask.png", "strip.png")]
    names = ("--save-corruption", "--save-mask", "--compare")
    denoised(tmp_path / "in.png", *(x for pair in zip(names, paths, strict=True) for x in pair))
    assert np.load(paths[0]).shape == read_image(paths[1]).pixels.shape == (12, 11)
    assert read_image(paths[2]).pixels.shape == (12, 3 * 11 + 2 * 4, 3)


# --- several inputs ------------------------------------------------------------------------


def test_one_bad_input_does_not_stop_the_others(image, tmp_path):
    last, bad = tmp_path / "last.png", tmp_path / "bad.png"
    last.write_bytes(image.read_bytes())
    bad.write_bytes(image.read_bytes()[:40])
    result = run("denoise", image, bad, tmp_path / "none.png", last, "--steps", 2, "-q", "--json")
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record.get("output", "none")).name for record in records] == [
        "in_denoised.png",
        "none",
        "none",
        "last_denoised.png",
    ]
    assert [Path(record["source"]).name for record in records] == [
        "in.png", "bad.png", "none.png", "last.png"
    ]  # fmt: skip
    assert records[2]["status"] == "failed"
    assert "none.png" in records[2]["error"]
    errors = result.stderr.splitlines()
    assert [error.split(":")[0] for error in errors] == ["error"] * 2
    assert "bad.png" in errors[0]
    assert "none.png" in errors[1]
    assert (tmp_path / "last_denoised.png").read_bytes() == (
        tmp_path / "in_denoised.png"
    ).read_bytes()
    # All of them once more: what is there stays, and that is a failure.
    result = run("denoise", image, last, "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("exists already") == 2


@pytest.mark.usefixtures("no_fit")
def test_two_results_of_one_name_are_refused(image, tmp_path):
    other = tmp_path / "in.bmp"
    write_image(other, noise(3, 3))
    assert "two results would be written to" in refused("denoise", image, other, "--force")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    assert "is named twice" in refused("denoise", image, tmp_path / "folder/../in.png")
    assert "is named twice" in refused("denoise", image, tmp_path / "link" / "in.png", "--force")
    for extra in ("--save-mask", "--save-corruption", "--compare"):
        line = refused("denoise", image, "-o", tmp_path / "x.png", extra, tmp_path / "x.png")
        assert "two results" in line


# --- nothing is overwritten ----------------------------------------------------------------


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize("option", ["--output", "--save-mask", "--save-corruption", "--compare"])
def test_what_exists_is_refused_before_the_fit(image, tmp_path, option):
    there = tmp_path / "there.png"
    there.write_text("precious")
    assert "'" + str(there) + "': it exists already" in refused("denoise", image, option, there)
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "nowhere.png")
    assert "it exists already" in refused("denoise", image, option, dangling)
    assert there.read_text() == "precious"


def test_force_replaces_the_result_and_not_what_a_link_leads_to(image, tmp_path):
    target, link = tmp_path / "target.png", image.with_name("in_denoised.png")
    target.write_text("precious")
    link.symlink_to(target)
    denoised(image, "--force")
    assert target.read_text() == "precious"
    assert read_image(link).pixels.shape == (12, 10, 3)
    assert not link.is_symlink()


@pytest.mark.usefixtures("no_fit")
def test_inputs_survive_force_under_any_name(image, tmp_path):
    clean = tmp_path / "clean.png"
    write_image(clean, noise(12, 10, 3, seed=2))
    (tmp_path / "soft.png").symlink_to(image)
    (tmp_path / "hard.png").hardlink_to(image)
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)
    for alias in ("in.png", "soft.png", "hard.png", "folder/../in.png"):
        for option in ("-o", "--save-mask", "--save-corruption", "--compare"):
            line = refused("denoise", image, option, tmp_path / alias, "--force")
            assert "it is an input; choose another name" in line
    for option in ("-o", "--save-mask", "--save-corruption", "--compare"):
        line = refused("denoise", image, "--reference", clean, option, clean, "--force")
        assert "it is an input" in line
    assert "it is an input" in refused("corrupt", image, "-o", tmp_path / "soft.png", "--force")
    assert contents(tmp_path) == before


def test_a_second_call_with_the_same_glob_skips_its_own_results(image, tmp_path):
    denoised(image)
    second, before = tmp_path / "in_denoised.png", contents(tmp_path)
    skipped = f"skipped {str(second)!r}: it is the result of {str(image)!r}\n"
    result = run("denoise", *sorted(tmp_path.glob("*.png")), "--steps", 2, "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(skipped)
    assert "exists already" in result.stderr.splitlines()[1]
    assert contents(tmp_path) == before
    result = done("denoise", second, image, "--steps", 3, "-q", "--force")
    assert (result.stdout, result.stderr) == (f"{second}\n", skipped)
    assert contents(tmp_path).keys() == before.keys()
    # By itself it is an image like any other.
    assert "in_denoised_denoised.png" in denoised(second).stdout


@pytest.mark.usefixtures("no_fit")
def test_outputs_that_cannot_be_are_refused_before_the_fit(image, tmp_path, monkeypatch):
    deep = tmp_path / "deep.png"
    write_image(deep, noise(3, 3, dtype=np.uint16))
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for arguments, why in [
        ((image, "-o", tmp_path / "x.gif"), "unknown suffix '.gif'; use one of .png"),
        ((image, "-o", tmp_path / "x"), "unknown suffix ''"),
        ((image, "-o", tmp_path / "none" / "x.png"), "does not exist; make it first"),
        (
            (image, "-o", folder, "--force"),
            f"it is a folder; name a file in it, or give --out-dir {folder}",
        ),
        ((image, "-o", "."), "'.': it is a folder; name a file in it, or give --out-dir ."),
        ((image, "--save-mask", folder, "--force"), "it is a folder; name a file"),
        ((deep, "-o", tmp_path / "x.jpg"), "JPEG holds 8 bits a sample and the image has 16"),
        ((image, "--save-mask", tmp_path / "x.npz"), "unknown suffix '.npz'"),
        ((image, "--save-corruption", tmp_path / "x.pt"), "unknown suffix '.pt'"),
        ((image, "--save-corruption", tmp_path / "x.fits"), "name it .npy or .safetensors"),
        ((image, "--compare", tmp_path / "none" / "x.png"), "does not exist; make it first"),
    ]:
        assert why in refused("denoise", *arguments)
    assert refused("corrupt", image, "-o", ".").endswith("'.': it is a folder; name a file in it")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert f"the folder '{tmp_path}' is not writable" in refused("denoise", image)


# --- what goes wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["denoise"], "IMAGE"),
        (["denoise", "x.png", "--recipe", "none"], "default, fast, best, paper, dip-l1"),
        (["denoise", "x.png", "--device", "gpu"], "auto, cpu, cuda"),
        (["denoise", "x.png", "--steps", "0"], "steps"),
        (["denoise", "x.png", "--steps", "many"], "steps"),
        (["denoise", "x.png", "--seed", "-1"], "seed"),
        (["denoise", "x.png", "--seed", str(2**63)], "seed"),
        (["denoise", "x.png", "-o", "y.png", "--out-dir", "."], "not both"),
        (["denoise", "x.png", "y.png", "-o", "z.png"], "take one IMAGE"),
        (["denoise", "x.png", "y.png", "--reference", "z.png"], "take one IMAGE"),
        (["denoise", "x.png", "y.png", "--save-mask", "z.png"], "take one IMAGE"),
        (["denoise", "x.png", "--fast"], "--fast"),
        (["denoise", "-x.png"], "-x"),
        (["corrupt", "x.png"], "output"),
        (["corrupt", "x.png", "-o", "y.png", "--kind", "rain"], "rain"),
        (["corrupt", "x.png", "-o", "y.png", "--amount", "1.5"], "amount"),
        (["corrupt", "x.png", "-o", "y.png", "--amount", "-0.1"], "amount"),
        (["corrupt", "x.png", "-o", "y.png", "--amount", "nan"], "amount"),
        (["compare", "x.png"], "IMAGE"),
        (["recover", "x.png"], "recover"),
        ([], "denoise"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("no_fit")
def test_usage_errors_exit_2(arguments, why):
    result = run(*arguments)
    assert result.exit_code == 2
    assert why in " ".join((result.stderr + (result.stdout if not arguments else "")).split())
    assert "Traceback" not in result.stderr


def make_bad(folder):
    """Files that are no image, with the words that the message must hold."""
    sound = io.BytesIO()
    Image.fromarray(noise(40, 50, 3)).save(sound, "PNG")
    bomb = bytearray(sound.getvalue())
    bomb[16:24] = (30_000).to_bytes(4) * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4)
    frames = [Image.fromarray(noise(4, 4, 3, seed=k)) for k in range(3)]
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes(sound.getvalue()[:-300])
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "two\nlines.png").write_text("text")
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nowhere")
    Image.new("CMYK", (4, 4)).save(folder / "cmyk.tif")
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "gif.gif")
    os.mkfifo(folder / "pipe.png")
    return {
        "text.png": "not an image",
        "empty.png": "not an image",
        "cut.png": "damaged or cut short",
        "bomb.png": "900000000 pixels",
        "two\nlines.png": "not an image",
        "folder.png": "it is a folder",
        "dangling.png": "No such file",
        "none.png": "No such file",
        "cmyk.tif": "its pixels are CMYK; save it as grey or RGB",
        "moving.webp": "3 frames or pages; save the one wanted",
        "gif.gif": "it is a file of the format GIF, which is not read; save it as PNG",
        "pipe.png": "it is a pipe or a device",
        "x" * 300: "too long",
    }


@pytest.mark.usefixtures("no_fit")
def test_bad_files_are_one_line_each(image, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, why in make_bad(folder).items():
        lines = [
            refused("denoise", folder / name),
            refused("denoise", image, "--reference", folder / name),
            refused("corrupt", folder / name, "-o", tmp_path / "out.png"),
            refused("compare", folder / name, image),
            refused("compare", image, folder / name),
        ]
        for line in lines:
            assert line.startswith(f"error: cannot read {str(folder / name)!r}: ")
            assert why in line
    assert not (tmp_path / "out.png").exists()


def test_bad_files_are_refused_within_a_second_without_torch(image, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    paths = [str(folder / name) for name in make_bad(folder)]
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tests.helpers.command_line import app\n"
        "for path in sys.argv[1:]:\n"
        "    for more in ([], ['--save-mask', path + '_mask.png']):\n"
        "        result = CliRunner().invoke(app, ['denoise', path, *more])\n"
        "        assert result.exit_code == 1, result\n"
        "    assert CliRunner().invoke(app, ['compare', path, path]).exit_code == 1\n"
        "print('torch' in sys.modules)"
    )
    begin = time.monotonic()
    result = python("-c", script, *paths)
    assert result.stdout == "False\n", result.stderr
    assert time.monotonic() - begin < len(paths)  # a second each: it takes one for them all
    # From outside: no traceback, nothing on stdout.
    result = python("-m", "robustdip", "denoise", folder / "bomb.png", image, "-o", "x.png")
    assert result.returncode == 2
    result = python("-m", "robustdip", "denoise", folder / "bomb.png")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("no_fit")
def test_a_reference_that_does_not_match_is_refused(image, tmp_path):
    for samples in (noise(12, 11, 3), noise(10, 12, 3), noise(12, 10)):
        write_image(tmp_path / "clean.png", samples)
        line = refused("denoise", image, "--reference", tmp_path / "clean.png")
        assert str(samples.shape) in line
        assert "(12, 10, 3)" in line


def test_a_reference_may_have_another_depth(image, tmp_path):
    deep = noise(12, 10, 3, dtype=np.uint16, seed=1)
    write_image(tmp_path / "clean.png", deep)
    record = json.loads(denoised(image, "--reference", tmp_path / "clean.png", "--json").stdout)
    error = np.mean((read_image(record["output"]).pixels / 255 - deep / 65535) ** 2)
    assert record["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-4)


def test_no_memory_and_divergence_are_one_line(image, tmp_path, monkeypatch):
    memory_free = robustdip.recovery.memory_free
    monkeypatch.setattr(robustdip.recovery, "memory_free", lambda device: 1000)
    line = refused("denoise", image, "-q")
    assert "10x12 needs about" in line
    assert "make the image or the tile smaller" in line
    monkeypatch.setattr(robustdip.recovery, "memory_free", memory_free)
    monkeypatch.setitem(RECIPES, "default", replace(RECIPES["default"], lr=1e30))
    line = refused("denoise", image, "-q")
    assert "recipe 'default' (lr=1e+30" in line
    assert sorted(contents(tmp_path)) == ["in.png"]


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_a_device_that_is_not_there(image):
    assert "'cuda' is not there (0 CUDA devices); use cpu" in refused(
        "denoise", image, "--device", "cuda"
    )


def test_a_disk_that_fills_up_leaves_no_trace(image, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refused("denoise", image, "--steps", 2, "-q")
    assert f"cannot write '{tmp_path / 'in_denoised.png'}': No space left" in line
    assert sorted(contents(tmp_path)) == ["in.png"]


# --- names and places ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-x", "a b", "bild-\u00e4\u2603", "a\nb", ".hidden", "a.b"])
def test_any_name_works(image, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    image.rename(f"{name}.png")
    result = denoised("--force", "--", f"{name}.png")  # what follows -- is no option
    assert result.stdout == f"{name}_denoised.png\n"
    assert sorted(contents(tmp_path)) == sorted([f"{name}.png", f"{name}_denoised.png"])
    record = done("corrupt", "-o", f"./{name}_bad.png", "--json", "--", f"{name}.png").stdout
    assert Path(json.loads(record)["output"]).exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs bytes for names, and /proc")
def test_bytes_for_a_name_and_a_read_only_working_folder(image, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        image.rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system wants UTF-8")
    # No HOME, no DISPLAY, and the strict encoding of most locales.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment["PYTHONIOENCODING"] = "utf-8:strict"
    result = python(
        *("-m", "robustdip", "denoise", tmp_path / name, "--steps", 1, "-q"),
        cwd="/proc",
        env=environment,
        text=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == os.fsencode(tmp_path) + b"/caf\xe9_denoised.png\n"
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"caf\xe9.png", b"caf\xe9_denoised.png"]


# --- Ctrl-C --------------------------------------------------------------------------------


@contextlib.contextmanager
def started(*arguments, **options):
    """A command in its own process, which hears SIGINT even if this one was started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "robustdip", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **LONG}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, **options
    )
    signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_ctrl_c_saves_the_image_so_far(image, tmp_path):
    options = ("--steps", 400, "--recipe", "dip-l1", "--json", "--device", "cpu")
    with started("denoise", image, *options, stderr=subprocess.PIPE) as process:
        assert process.stderr.readline().startswith("in.png: step 20/400, ")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    record = json.loads(stdout)
    assert record["status"] == "interrupted"
    assert 20 <= record["steps"] < 400
    assert f"interrupted: saved step {record['steps']} of 400" in stderr
    assert "Traceback" not in stderr
    out = tmp_path / "in_denoised.png"
    with Image.open(out) as picture:
        picture.verify()
    pixels = read_image(out).pixels
    assert pixels.shape == (12, 10, 3)
    assert np.ptp(pixels) > 0
    assert sorted(contents(tmp_path)) == ["in.png", "in_denoised.png"]


@pytest.mark.parametrize("where", ["recovery.fit", "images.reading.open_image"])
def test_ctrl_c_before_the_first_step_writes_nothing(image, tmp_path, monkeypatch, where):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"robustdip.{where}", stop)
    result = run("denoise", image, "--steps", 5, "--json")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "interrupted: nothing more was written\n"
    assert sorted(contents(tmp_path)) == ["in.png"]


# --- the other commands --------------------------------------------------------------------


def test_corrupt_writes_every_kind_as_told(image, tmp_path):
    clean = read_image(image).pixels
    for kind in KINDS:
        out = tmp_path / f"{kind}.png"
        result = done("corrupt", image, "-o", out, "--kind", kind, "--amount", 0.4, "--json")
        record = json.loads(result.stdout)
        assert {key: record[key] for key in ("output", "kind", "amount", "per_pixel", "seed")} == {
            "output": str(out),
            "kind": kind,
            "amount": 0.4,
            "per_pixel": False,
            "seed": 0,
        }
        changed = (read_image(out).pixels != clean).mean()
        assert 0.2 < changed <= record["corrupted_fraction"] < 0.6
        assert result.stderr == ""


def test_corrupt_options(image, tmp_path):
    clean, paths = read_image(image).pixels, iter(range(100))

    def corrupted(*options):
        out = tmp_path / f"{next(paths)}.png"
        assert done("corrupt", image, "-o", out, *options).stdout == f"{out}\n"
        return read_image(out).pixels

    np.testing.assert_array_equal(corrupted("--amount", 0), clean)
    assert set(np.unique(corrupted("--amount", 1))) == {0, 255}
    together = corrupted("--per-pixel", "--amount", 0.5)
    one_value = (together == together[..., :1]).all(axis=2)
    black_or_white = one_value & np.isin(together[..., 0], (0, 255))
    assert 0.3 < black_or_white.mean() < 0.7
    assert (together == clean)[~black_or_white].all()
    np.testing.assert_array_equal(corrupted("--seed", 5), corrupted("--seed", 5))
    assert (corrupted("--seed", 5) != corrupted("--seed", 6)).any()
    # The defaults are those the help states.
    np.testing.assert_array_equal(
        corrupted(), corrupted("--kind", "salt-and-pepper", "--amount", 0.5, "--seed", 0)
    )


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
def test_corrupt_keeps_depth_and_alpha(tmp_path, shape):
    samples = noise(*shape, dtype=np.uint16)
    alpha = noise(9, 8, dtype=np.uint16, seed=1)
    write_image(tmp_path / "in.png", Picture(samples, alpha))
    done("corrupt", tmp_path / "in.png", "-o", tmp_path / "out.png", "--amount", 0.2)
    result = read_image(tmp_path / "out.png")
    assert result.pixels.dtype == np.uint16
    np.testing.assert_array_equal(result.alpha, alpha)
    kept = ~np.isin(result.pixels, (0, 65535))
    assert kept.mean() > 0.6
    np.testing.assert_array_equal(result.pixels[kept], samples[kept])


def test_corrupt_overwrites_only_by_force(image, tmp_path):
    out = tmp_path / "out.png"
    out.write_text("precious")
    assert "exists already" in refused("corrupt", image, "-o", out)
    assert out.read_text() == "precious"
    done("corrupt", image, "-o", out, "-f")
    assert read_image(out).pixels.shape == (12, 10, 3)
    for path, why in [("none/x.png", "make it first"), ("x.gif", "suffix"), ("", "folder")]:
        assert why in refused("corrupt", image, "-o", tmp_path / path)


def test_compare_measures(tmp_path):
    clean = noise(20, 30, 3) // 2
    paths = tmp_path / "clean.png", tmp_path / "off.png"
    write_image(paths[0], clean)
    write_image(paths[1], clean + 51)
    expected = -20 * np.log10(51 / 255)
    text = done("compare", *paths)
    assert text.stdout.startswith(f"PSNR {expected:.2f} dB\nSSIM 0.")
    assert text.stderr == ""
    record = json.loads(done("compare", *paths, "--json").stdout)
    assert record["psnr"] == pytest.approx(expected, abs=1e-4)
    assert 0 < record["ssim"] < 1
    # Depth and alpha do not matter, the samples do.
    deep = Picture(clean.astype(np.uint16) * 257, noise(20, 30, dtype=np.uint16))
    paths = tmp_path / "clean.png", tmp_path / "deep.png"
    write_image(paths[1], deep)
    same = done("compare", *paths).stdout
    assert same == "PSNR infinite (equal pixels)\nSSIM 1.0000\n"
    record = json.loads(done("compare", *paths, "--json").stdout)
    assert record == {"psnr": None, "ssim": pytest.approx(1)}
    write_image(tmp_path / "small.png", noise(20, 10, 3))
    line = refused("compare", tmp_path / "clean.png", tmp_path / "small.png")
    assert "(20, 30, 3)" in line
    assert "(20, 10, 3)" in line
    tiny = done("compare", tmp_path / "small.png", tmp_path / "small.png").stdout
    assert tiny == "PSNR infinite (equal pixels)\nSSIM not defined below 11 pixels\n"


# --- help ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "denoise", "corrupt", "compare"])
def test_help_takes_less_than_half_a_second(command):
    arguments = ["-m", "robustdip", *command.split(), "--help"]
    assert is_quicker_than(0.5, *arguments)
    result = python("-X", "importtime", *arguments)
    loaded = result.stderr
    assert result.returncode == 0
    assert "robustdip" in loaded
    heavy = ("torch", "numpy", "PIL", "skimage", "scipy", "tifffile", "safetensors")
    assert not [name for name in heavy if f" {name}\n" in loaded]


def test_help_has_a_short_name():
    assert done("-h").stdout == done("--help").stdout
    assert done("denoise", "-h").stdout == done("denoise", "--help").stdout


def test_help_names_every_option_recipe_and_kind():
    text = done("denoise", "--help").stdout
    options = (
        "--output -o --out-dir --reference --method --steps --seed --device --json --force -f "
    )
    options += "--save-corruption --save-mask --compare --quiet -q"
    assert set(options.split()) <= set(text.replace(",", " ").split())
    assert all(name in text for name in [*RECIPES, "cpu", "cuda", "mps", "NAME_denoised.png"])
    text = done("corrupt", "--help").stdout
    assert all(name in text for name in [*KINDS, "--amount", "--per-pixel", "--seed", "--json"])
    assert "0.5" in text
    assert "--json" in done("compare", "--help").stdout


def test_the_version():
    assert f"robustdip {robustdip.__version__}, torch " in done("--version").stdout


def test_one_program_under_three_names():
    def text(*command):
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT), **LONG},
        )
        assert result.returncode == 0
        return [line for line in result.stdout.splitlines() if "Usage:" not in line]

    expected = text(sys.executable, "-m", "robustdip", "--help")
    assert text(sys.executable, str(ROOT / "cli.py"), "--help") == expected
    # What an installer makes of [project.scripts]; the one installed may be of another checkout.
    (script,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    module, _, function = script.partition(":")
    entry = f"import sys; from {module} import {function}; sys.exit({function}())"
    assert text(sys.executable, "-c", entry, "--help") == expected
