"""Promise: `denoise` and `robustdip denoise --method` reach every method, told what it needs."""

import json
from dataclasses import replace

import numpy as np
import pytest

import robustdip.recovery
from robustdip import (
    RECIPES,
    Picture,
    classical,
    corrupt,
    denoise,
    read_image,
    write_image,
)
from robustdip.images.picture import from_float, to_float
from robustdip.methods import METHODS, check_method, names
from tests.helpers import command_line

pytestmark = pytest.mark.usefixtures("one_thread")
FITS, CLASSICAL, INTERPOLATIONS = (names(k) for k in ("fit", "classical", "interpolation"))


def done(*arguments):
    return command_line.done("denoise", *arguments)


def refused(*arguments):
    return command_line.refused("denoise", *arguments)


def damaged(*shape, dtype=np.uint8, seed=0):
    """A ramp with 30 % salt and pepper, and where that is."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0.1, 0.5, shape[0]), np.linspace(0.1, 0.4, shape[1]))
    clean = np.broadcast_to(ramp.reshape(*ramp.shape, *[1] * (len(shape) - 2)), shape)
    noisy, mask = corrupt(clean, "salt-and-pepper", 0.3, rng=rng)
    return (noisy.astype(dtype) if dtype == np.float32 else from_float(noisy, dtype)), mask


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, width=16))


@pytest.fixture
def no_work(monkeypatch):
    """What is refused must be refused before anything is computed."""

    def fail(*_, **__):
        pytest.fail("a method was started")

    monkeypatch.setattr(robustdip.recovery, "fit", fail)
    monkeypatch.setattr(classical, "INTERPOLATIONS", dict.fromkeys(INTERPOLATIONS, fail))
    monkeypatch.setattr(classical, "METHODS", dict.fromkeys(CLASSICAL, fail))


@pytest.fixture
def files(tmp_path):
    """An image and a mask of its corruption."""
    noisy, mask = damaged(12, 10, 3)
    write_image(tmp_path / "in.png", noisy)
    write_image(tmp_path / "mask.png", mask.astype(np.uint8) * 255)
    return tmp_path / "in.png", tmp_path / "mask.png"


# --- names ---------------------------------------------------------------------------------


def test_the_names_are_those_of_the_library():
    assert FITS == tuple(RECIPES)
    assert CLASSICAL == tuple(classical.METHODS)
    assert INTERPOLATIONS == tuple(classical.INTERPOLATIONS)
    assert tuple(METHODS) == (*FITS, *CLASSICAL, *INTERPOLATIONS)


def test_help_lists_them_all():
    text = " ".join(command_line.run("denoise", "--help").stdout.split())
    for name in (*METHODS, "--method", "--mask"):
        assert name in text
    assert "--recipe" not in text  # the older name still works
    assert "needs --mask: linear, biharmonic" in text


# --- the library ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 1), (7, 9, 3)])
def test_classical_methods_give_what_they_give(name, shape):
    noisy, _ = damaged(*shape, dtype=np.float32)
    before = noisy.copy()
    result = denoise(noisy, method=name)
    expected = classical.METHODS[name](noisy)
    np.testing.assert_array_equal(result.image, expected)
    np.testing.assert_array_equal(result.corruption, noisy - expected)
    np.testing.assert_array_equal(result.mask, np.abs(noisy - expected) > 0.1)
    assert result.mask.any()
    assert (result.image.dtype, result.mask.dtype) == (np.float32, bool)
    assert (result.recipe, result.history, result.steps) == (None, [], 0)
    assert (result.status, result.device) == ("completed", "cpu")
    assert result.seconds > 0
    np.testing.assert_array_equal(noisy, before)


@pytest.mark.parametrize("name", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_interpolation_fills_the_mask(name, dtype):
    noisy, mask = damaged(9, 8, 3, dtype=dtype)
    result = denoise(noisy, method=name, mask=mask)
    floats = noisy if dtype == np.float32 else to_float(noisy)
    expected = classical.interpolate(floats, mask, method=name)
    given_back = expected if dtype == np.float32 else from_float(expected, dtype)
    np.testing.assert_array_equal(result.image, given_back)
    np.testing.assert_array_equal(result.image[~mask], noisy[~mask])
    np.testing.assert_array_equal(result.mask, mask)
    assert result.image.dtype == dtype
    pixels = mask.any(axis=2)
    one = denoise(noisy, method=name, mask=pixels)
    np.testing.assert_array_equal(one.mask, np.repeat(pixels[..., None], 3, axis=2))
    np.testing.assert_array_equal(
        classical.interpolate(floats, pixels, method=name),
        classical.interpolate(floats, one.mask, method=name),
    )
    mask.flags.writeable = False
    grey = denoise(noisy[..., 0], method=name, mask=mask[..., 0])
    np.testing.assert_array_equal(grey.image, result.image[..., 0])
    np.testing.assert_array_equal(grey.mask, mask[..., 0])


NO_MASK = "default, fast, best, dip-l1, dip-l2, dip-es-wmv, linear, biharmonic do"
REFUSALS = [
    ({"method": "none"}, "no method 'none'; there are default, fast, best, paper"),
    ({"method": "linear"}, "method 'linear' fills the elements of a mask; give one"),
    ({"method": "biharmonic"}, "method 'biharmonic' fills the elements of a mask"),
    ({"method": "median", "mask": True}, f"method 'median' takes no mask; {NO_MASK}"),
    ({"method": "extremes-linear", "mask": True}, "'extremes-linear' takes no mask"),
    ({"method": "paper", "mask": True}, f"method 'paper' takes no mask; {NO_MASK}"),
    ({"method": "median", "steps": 5}, f"'median' takes no steps; {', '.join(FITS)} do"),
    ({"method": "linear", "mask": True, "steps": 5}, "method 'linear' takes no steps"),
    ({"method": "tv-l1", "device": "cuda"}, "'tv-l1' runs on the CPU only; leave the device at"),
    ({"method": "linear", "mask": True, "device": "cpu"}, "'linear' runs on the CPU only"),
]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(("told", "message"), REFUSALS)
def test_what_a_method_cannot_use_is_refused(told, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_method(told["method"], **{k: v for k, v in told.items() if k != "method"})
    assert "\n" not in str(caught.value)
    noisy, mask = damaged(9, 8)
    with pytest.raises(ValueError, match=message):
        denoise(noisy, **told | ({"mask": mask} if "mask" in told else {}))


def test_what_a_method_can_use_is_not():
    for name in METHODS:
        check_method(name, mask=name in INTERPOLATIONS)
    for name in FITS:
        check_method(name, steps=3, device="cuda:1", mask=name != "paper", tiles=True)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", [("--tile", 64), ("--every-tile",)])
def test_tiles_of_a_method_without_a_fit_are_refused(tmp_path, option):
    write_image(tmp_path / "photo.png", damaged(9, 8)[0])
    line = refused(tmp_path / "photo.png", "--method", "median", *option)
    assert "method 'median' takes the whole picture at once" in line


def test_workers_for_one_picture_are_remarked_on(tmp_path):
    write_image(tmp_path / "photo.png", damaged(9, 8)[0])
    result = done(tmp_path / "photo.png", "--method", "median", "--workers", 2)
    assert "--workers is for several images" in result.stderr


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("image", "mask", "error", "message"),
    [
        (np.zeros((4, 5)), np.ones((4, 5), bool), ValueError, "marks every element"),
        (np.zeros((4, 5)), np.zeros((5, 4), bool), ValueError, r"mask has shape \(5, 4\)"),
        (np.zeros((4, 5)), np.zeros((4, 5)), TypeError, "mask is float64; bool is needed"),
        (np.full((4, 5), 2.0), np.eye(4, 5, dtype=bool), ValueError, "image ranges from 2 to 2"),
        (np.zeros((4, 5), int), np.eye(4, 5, dtype=bool), TypeError, "image is int64"),
    ],
)
def test_bad_arrays_are_refused_alike(image, mask, error, message):
    for method in ("linear", "default"):
        with pytest.raises(error, match=message):
            denoise(image, method=method, mask=mask)


# --- the command ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLASSICAL, *INTERPOLATIONS])
def test_a_classical_method_writes_its_image(files, tmp_path, name):
    image, mask = files
    told = ["--mask", mask] if name in INTERPOLATIONS else []
    result = done(image, "--method", name, *told, "--json", "-o", tmp_path / "out.png")
    assert result.stderr == ""
    record = json.loads(result.stdout)
    assert (record["method"], record["recipe"]) == (name, None)
    assert (record["status"], record["steps"], record["device"]) == ("completed", 0, "cpu")
    noisy, known = read_image(image).pixels, read_image(mask).pixels > 0
    expected = denoise(noisy, method=name, mask=known if told else None)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png").pixels, expected.image)
    assert record["corrupted_fraction"] == pytest.approx(expected.mask.mean())


def test_recipe_is_another_name_of_the_option(files, tmp_path):
    image, _ = files
    for option in ("--method", "--recipe"):
        result = done(
            *(image, option, "dip-l1", "--steps", 2, "--json", "-q"),
            *("-o", tmp_path / f"{option}.png"),
        )
        record = json.loads(result.stdout)
        assert (record["method"], record["recipe"], record["steps"]) == ("dip-l1", "dip-l1", 2)
    one, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("--method", "--recipe"))
    assert one == other


@pytest.mark.parametrize("method", ["median", "linear", "default"])
@pytest.mark.parametrize(
    ("shape", "dtype", "with_alpha"),
    [
        ((9, 8), np.uint8, False),
        ((9, 8, 3), np.uint8, True),
        ((9, 8), np.uint16, False),
        ((9, 8, 3), np.uint16, True),
    ],
)
def test_depth_and_alpha_are_kept(tmp_path, method, shape, dtype, with_alpha):
    noisy, mask = damaged(*shape, dtype=dtype)
    rng = np.random.default_rng(1)
    alpha = rng.integers(0, np.iinfo(dtype).max, shape[:2], dtype) if with_alpha else None
    write_image(tmp_path / "in.png", Picture(noisy, alpha))
    # Any number but zero marks: 1 of 255 too.
    write_image(tmp_path / "mask.png", mask.astype(np.uint8))
    told = [] if method == "median" else ["--mask", tmp_path / "mask.png"]
    told += ["--steps", 2] if method == "default" else []
    done(tmp_path / "in.png", "--method", method, *told, "-q")
    result = read_image(tmp_path / "in_denoised.png")
    assert (result.pixels.shape, result.pixels.dtype) == (shape, dtype)
    if with_alpha:
        np.testing.assert_array_equal(result.alpha, alpha)
    if method != "median":
        np.testing.assert_array_equal(result.pixels[~mask], noisy[~mask])
    assert (result.pixels[mask] != noisy[mask]).mean() > 0.9


def test_extras_of_a_classical_method(files, tmp_path):
    image, _ = files
    clean = tmp_path / "clean.png"
    write_image(clean, damaged(12, 10, 3, seed=1)[0])
    paths = {name: tmp_path / f"{name}.png" for name in ("out", "judged", "strip")}
    s = tmp_path / "s.npy"
    result = done(
        *(image, "--method", "median", "--json", "--reference", clean, "-o", paths["out"]),
        *("--save-corruption", s, "--save-mask", paths["judged"], "--compare", paths["strip"]),
    )
    record = json.loads(result.stdout)
    noisy, restored = to_float(read_image(image).pixels), to_float(read_image(paths["out"]).pixels)
    corruption = np.load(s)
    np.testing.assert_allclose(noisy - corruption, restored, atol=0.5 / 255 + 1e-6)
    judged = read_image(paths["judged"]).pixels
    np.testing.assert_array_equal(judged, (np.abs(corruption) > 0.1) * 255)
    assert read_image(paths["strip"]).pixels.shape == (12, 3 * 10 + 2 * 4, 3)
    error = np.mean((restored - to_float(read_image(clean).pixels)) ** 2)
    assert record["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-4)


def test_the_mask_that_was_saved_can_be_given_again(files, tmp_path):
    """What --save-mask writes is what --mask reads; the command gives what the library gives."""
    image, _ = files
    judged, again = tmp_path / "judged.png", tmp_path / "again.png"
    done(image, "--method", "median", "--save-mask", judged)
    out = tmp_path / "out.png"
    result = done(
        *(image, "--mask", judged, "--steps", 3, "--seed", 2, "--device", "cpu", "--json"),
        *("-o", out, "--save-mask", again),
    )
    assert again.read_bytes() == judged.read_bytes()
    noisy, mask = read_image(image).pixels, read_image(judged).pixels > 0
    expected = denoise(noisy, mask=mask, steps=3, seed=2)
    np.testing.assert_array_equal(read_image(out).pixels, expected.image)
    record = json.loads(result.stdout)
    assert record["corrupted_fraction"] == pytest.approx(mask.mean())
    assert record["recipe"] == "default"


def test_grey_and_colour_masks(files, tmp_path):
    image, mask = files
    noisy, known = read_image(image).pixels, read_image(mask).pixels > 0
    pixels = known.any(axis=2)
    write_image(tmp_path / "grey_mask.png", pixels.astype(np.uint8) * 255)
    write_image(tmp_path / "grey.png", noisy[..., 1])
    cases = [
        (image, "grey_mask.png", noisy, pixels),  # of pixels, for all channels
        (tmp_path / "grey.png", "grey_mask.png", noisy[..., 1], pixels),
        (tmp_path / "grey.png", "mask.png", noisy[..., 1], pixels),  # in any channel
    ]
    for source, name, samples, expected in cases:
        done(source, "--method", "linear", "--mask", tmp_path / name, "--force")
        result = read_image(tmp_path / f"{source.stem}_denoised.png").pixels
        image_expected = denoise(samples, method="linear", mask=expected).image
        np.testing.assert_array_equal(result, image_expected)


def test_one_mask_serves_several_images(files, tmp_path):
    image, mask = files
    second, small = tmp_path / "second.png", tmp_path / "small.png"
    write_image(second, damaged(12, 10, 3, seed=5)[0])
    write_image(small, damaged(5, 5, 3)[0])
    result = command_line.run(
        "denoise", image, small, second, "--mask", mask, "--method", "biharmonic", "-q"
    )
    assert result.exit_code == 1  # the small one
    assert len(result.stdout.splitlines()) == 2
    (line,) = result.stderr.splitlines()
    reason = "the mask has shape (12, 10, 3), the image (5, 5, 3); make them agree"
    assert line == f"error: cannot restore {str(small)!r}: {reason}"
    for path in (image, second):
        assert path.with_name(f"{path.stem}_denoised.png").exists()


@pytest.mark.usefixtures("no_work")
def test_refused_in_one_line_before_anything_is_done(files, tmp_path):
    image, mask = files
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for told, message in REFUSALS[1:]:
        options = ["--method", told["method"]]
        options += ["--mask", mask] if "mask" in told else []
        options += [
            x for name in ("steps", "device") if name in told for x in (f"--{name}", told[name])
        ]
        # Once, however many the images.
        assert message.removesuffix(" do").replace("\\", "") in refused(image, mask, *options)
    write_image(tmp_path / "all.png", np.full((12, 10), 255, np.uint8))
    write_image(tmp_path / "turned.png", np.eye(10, 12, dtype=np.uint8))
    for name, message in [
        ("all.png", "mask marks every element as corrupted"),
        ("turned.png", "the mask has shape (10, 12), the image (12, 10, 3); make them agree"),
        ("none.png", "none.png': No such file"),
    ]:
        for method in ("linear", "default"):
            assert message in refused(image, "--method", method, "--mask", tmp_path / name, "-q")
    for option in ("-o", "--save-mask"):
        line = refused(image, "--mask", mask, option, mask, "--force")
        assert "it is an input" in line
    assert all(path.read_bytes() == content for path, content in before.items())
    assert not (tmp_path / "in_denoised.png").exists()


def test_an_unknown_method_is_a_usage_error(files):
    result = command_line.run("denoise", files[0], "--method", "none")
    assert result.exit_code == 2
    assert f"no method 'none'; there are {', '.join(METHODS)}" in " ".join(result.stderr.split())


def test_a_fit_that_stops_early_is_reported_so(files, monkeypatch):
    early = replace(RECIPES["dip-es-wmv"], window=4, patience=6, steps=300)
    monkeypatch.setitem(RECIPES, "dip-es-wmv", early)
    result = done(files[0], "--method", "dip-es-wmv", "--json", "--device", "cpu")
    record = json.loads(result.stdout)
    assert record["status"] == "completed"
    assert record["steps"] < 300
    taken = record["steps"]
    assert result.stderr.splitlines()[-1] == f"in.png: step {taken}/{taken}, 0 s left"


# --- uncertainty ---------------------------------------------------------------------------


def test_uncertainty_as_numbers_and_as_a_picture(tmp_path):
    noisy = tmp_path / "noisy.png"
    write_image(noisy, Picture(damaged(34, 40, 3)[0]))
    targets = {suffix: tmp_path / f"deviation.{suffix}" for suffix in ("npy", "png")}
    for suffix, target in targets.items():
        out = tmp_path / f"{suffix}_out.png"
        done(noisy, "--steps", "4", "-o", out, "--save-uncertainty", target)
    numbers = np.load(targets["npy"], allow_pickle=False)
    assert numbers.dtype == np.float32
    assert numbers.max() > 0
    picture = read_image(targets["png"]).pixels
    assert picture.shape == numbers.shape == (34, 40, 3)
    np.testing.assert_allclose(picture, (2550 * numbers).clip(0, 255), atol=1)


@pytest.mark.parametrize("method", ["median", "dip-l1", "paper"])
def test_a_method_without_it_says_so_at_once(tmp_path, no_work, method):
    noisy = tmp_path / "noisy.png"
    write_image(noisy, Picture(damaged(34, 40, 3)[0]))
    line = refused(noisy, "--method", method, "--save-uncertainty", tmp_path / "u.npy")
    assert "gives no uncertainty; default, fast, best do" in line
    assert sorted(tmp_path.iterdir()) == [noisy]
