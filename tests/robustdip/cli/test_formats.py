"""`denoise` on files of numbers, with pages, units and values that are not finite."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from robustdip import RECIPES, read_image, write_image
from robustdip.cli.job import Task, read_job, record_of, recovered
from robustdip.cli.masks import Masks
from robustdip.cli.outputs import Outputs
from robustdip.images import read_pages
from robustdip.images.units import Units
from tests.helpers.command_line import done, refused, run
from tests.helpers.images import small

MEDIAN = ("--method", "median")
FIT = ("--steps", 3, "--device", "cpu", "-q")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(RECIPES, "default", small())


def scene(shape=(24, 20), dtype="f4", seed=0):
    """A ramp from 300 to 900 in which a tenth of the values is wrong."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(300, 900, int(np.prod(shape))).reshape(shape)
    return np.where(rng.random(shape) < 0.1, rng.uniform(300, 900, shape), ramp).astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", ">f4", "u2"])
def test_units_and_dtype_are_those_of_the_file(tmp_path, dtype):
    values = scene(dtype=dtype)
    np.save(tmp_path / "x.npy", values)
    result = done("denoise", tmp_path / "x.npy", *MEDIAN, "--json")
    record = json.loads(result.stdout)
    assert record["output"] == str(tmp_path / "x_denoised.npy")
    restored = np.load(tmp_path / "x_denoised.npy")
    assert restored.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    assert values.min() <= restored.min() <= restored.max() <= values.max()
    # The oracle: the median filter knows no units.
    from robustdip import denoise

    # Whole numbers of 16 bits have the range of the bits in use.
    low, high = (0, 1023) if dtype == "u2" else (float(values.min()), float(values.max()))
    unit = (values.astype("f8") - low) / (high - low)
    expected = low + (high - low) * denoise(unit.astype("f4"), method="median").image.astype("f8")
    allowed = 0.5 if restored.dtype.kind in "iu" else 1e-4
    assert np.abs(restored - expected).max() <= allowed + 1e-4
    assert record["units"] == [low, high]
    assert (restored == values).mean() > 0.1  # what did not change is that of the file, exactly


@pytest.mark.parametrize("dtype", ["f4", "u2", "u1"])
def test_what_is_removed_is_told_in_the_units_of_the_file(tmp_path, dtype):
    values = (scene() / (4 if dtype == "u1" else 1)).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    s, out = tmp_path / "s.npy", tmp_path / "y.npy"
    done("denoise", tmp_path / "x.npy", "-o", out, *MEDIAN, "--save-corruption", s,
         "--save-mask", tmp_path / "m.png", "--compare", tmp_path / "c.png",
         "--save-overlay", tmp_path / "o.png", "--report", tmp_path / "r.html")  # fmt: skip
    removed, restored = np.load(s), np.load(out)
    assert np.abs(removed).max() > 1
    np.testing.assert_allclose(values - removed, restored, atol=1e-3 if dtype == "f4" else 0.51)
    assert read_image(tmp_path / "c.png").pixels.shape == (24, 3 * 20 + 8, 3)


@pytest.mark.parametrize("method", ["default", "linear", "dip-l2"])
def test_values_that_are_not_finite_are_restored(tmp_path, method):
    values = scene()
    values[3, 4:9], values[10, 2], values[11, 3] = np.nan, np.inf, -np.inf
    bad = ~np.isfinite(values)
    np.save(tmp_path / "x.npy", values)
    steps = FIT if method != "linear" else ("-q",)
    mask = ("--save-mask", tmp_path / "m.png")
    done("denoise", tmp_path / "x.npy", "--method", method, *steps, *mask)
    restored = np.load(tmp_path / "x_denoised.npy")
    assert np.isfinite(restored).all()
    assert restored.min() >= 299
    assert restored.max() <= 901
    found = read_image(tmp_path / "m.png").pixels == 255
    assert found[bad].all()
    if method != "default":  # the mask is exact: all else is kept
        np.testing.assert_array_equal(found, bad)
        np.testing.assert_array_equal(restored[~bad], values[~bad])
    if method == "linear":
        line = refused("denoise", tmp_path / "x.npy", "-o", tmp_path / "y.npy", *MEDIAN)
        assert "7 values are missing or not finite" in line
        assert "method 'median' takes none" in line


def test_a_mask_joins_them_and_its_garbage_sets_no_range(tmp_path):
    values = scene()
    values[3, 4], values[5, 5:8] = np.nan, 1e20
    marked = np.zeros((24, 20), np.uint8)
    marked[5, 5:8] = 255
    np.save(tmp_path / "x.npy", values)
    write_image(tmp_path / "m.png", marked)
    options = ("--mask", tmp_path / "m.png", "--method", "linear", "--json")
    record = json.loads(done("denoise", tmp_path / "x.npy", *options).stdout)
    clean = (marked == 0) & np.isfinite(values)
    assert record["units"] == [values[clean].min(), values[clean].max()]
    restored = np.load(tmp_path / "x_denoised.npy")
    np.testing.assert_array_equal(restored[clean], values[clean])
    assert restored[5, 5:8] == pytest.approx(scene()[5, 4:9].mean(), abs=300)
    assert np.isfinite(restored).all()


def test_quality_is_told_in_the_range_of_the_clean_file(tmp_path):
    clean = np.linspace(300, 900, 24 * 20).reshape(24, 20)
    np.save(tmp_path / "clean.npy", clean)
    np.save(tmp_path / "x.npy", clean + 6)
    record = json.loads(
        done("compare", tmp_path / "clean.npy", tmp_path / "x.npy", "--json").stdout
    )
    assert record["psnr"] == pytest.approx(40, abs=1e-3)  # a hundredth of the range
    done("denoise", tmp_path / "x.npy", *MEDIAN, "--reference", tmp_path / "x.npy", "-q")
    done("corrupt", tmp_path / "clean.npy", "-o", tmp_path / "y.npy", "--amount", 0.2)
    damaged = np.load(tmp_path / "y.npy")
    assert 0.1 < (damaged != clean).mean() < 0.3
    assert set(np.unique(damaged[damaged != clean])) <= {300, 900}


def test_floats_from_0_to_1_are_compared_with_samples_of_any_depth(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    off = pixels // 2 + 51
    write_image(tmp_path / "clean.png", pixels // 2)
    np.save(tmp_path / "x.npy", off / 255)
    expected = -20 * np.log10(51 / 255)
    for pair in (("clean.png", "x.npy"), ("x.npy", "clean.png")):
        line = done("compare", *(tmp_path / name for name in pair), "--json").stdout
        assert json.loads(line)["psnr"] == pytest.approx(expected, abs=1e-4)
    line = done("denoise", tmp_path / "x.npy", *MEDIAN, "--reference", tmp_path / "clean.png",
                "--json").stdout  # fmt: skip
    restored = np.load(tmp_path / "x_denoised.npy")
    error = -10 * np.log10(np.mean((restored - pixels // 2 / 255) ** 2))
    assert json.loads(line)["psnr"] == pytest.approx(error, abs=1e-4)


def test_a_reference_may_go_beyond_the_range_of_the_damaged_file(tmp_path):
    clean = np.linspace(300, 900, 24 * 20).reshape(24, 20)
    bad = clean.copy()
    bad[0, :3] = bad[-1, -3:] = 600  # dead pixels, where the extremes were
    np.save(tmp_path / "clean.npy", clean)
    np.save(tmp_path / "bad.npy", bad)
    for options in MEDIAN, FIT:
        done("denoise", tmp_path / "bad.npy", *options, "--reference", tmp_path / "clean.npy",
             "--force")  # fmt: skip


def test_the_difference_of_corrupt_is_told_in_the_units_of_the_file(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(300, 900, 24 * 20).reshape(24, 20))
    bad, clean, change = (tmp_path / f"{name}.npy" for name in ("bad", "clean", "change"))
    done(
        "corrupt", tmp_path / "x.npy", "-o", bad, "--save-clean", clean, "--save-difference", change
    )
    np.testing.assert_allclose(np.load(change), np.load(bad) - np.load(clean), atol=1e-3)


def test_what_is_marked_and_protected_counts_in_the_range(tmp_path):
    values = scene()
    values[3, 3] = 5_000  # a true peak under a sloppy mask
    np.save(tmp_path / "x.npy", values)
    marked = np.zeros(values.shape, np.uint8)
    marked[2:5, 2:5] = 255
    write_image(tmp_path / "add.png", marked)
    write_image(tmp_path / "peak.png", np.where(values == 5_000, np.uint8(255), np.uint8(0)))
    result = done("denoise", tmp_path / "x.npy", *FIT, "--json", "--add-mask", tmp_path / "add.png",
                  "--protect", tmp_path / "peak.png")  # fmt: skip
    assert json.loads(result.stdout)["units"][1] == 5_000
    assert np.load(tmp_path / "x_denoised.npy")[3, 3] == 5_000


def test_values_that_are_not_finite_have_no_psnr(tmp_path):
    values = np.arange(24.0 * 20).reshape(24, 20)
    np.save(tmp_path / "x.npy", values)
    values[3, 4] = np.nan
    np.save(tmp_path / "holed.npy", values)
    for arguments in (
        ("compare", tmp_path / "x.npy", tmp_path / "holed.npy"),
        ("compare", tmp_path / "holed.npy", tmp_path / "x.npy"),
        ("denoise", tmp_path / "x.npy", *MEDIAN, "--reference", tmp_path / "holed.npy"),
    ):
        line = refused(*arguments)
        assert "holed.npy' has 1 value that is not finite" in line
    assert not (tmp_path / "x_denoised.npy").exists()


@pytest.mark.parametrize("shape", [(24, 20), (24, 20, 3)])
def test_what_is_not_finite_cannot_be_protected(tmp_path, shape):
    values = np.linspace(300, 900, int(np.prod(shape))).reshape(shape).astype("f4")
    values[5, 5] = np.nan
    np.save(tmp_path / "x.npy", values)
    kept = np.zeros((24, 20), np.uint8)
    kept[3:8, 3:8] = 255
    write_image(tmp_path / "kept.png", kept)
    done("denoise", tmp_path / "x.npy", "--protect", tmp_path / "kept.png", *FIT,
         "--save-mask", tmp_path / "mask.png")  # fmt: skip
    found = read_image(tmp_path / "mask.png").pixels
    np.testing.assert_array_equal(found[3:8, 3:8] > 0, np.isnan(values[3:8, 3:8]))
    restored, inside = np.load(tmp_path / "x_denoised.npy"), kept > 0
    inside[5, 5] = False
    np.testing.assert_array_equal(restored[inside], values[inside])
    assert np.isfinite(restored).all()


def test_pages_share_the_range_of_what_is_not_known_to_be_damaged(tmp_path):
    stack = np.stack([scene(), 3 * scene() - 50, scene()])
    stack[1, 3, 4] = np.nan
    stack[:, 0, 0] = 1e9
    np.save(tmp_path / "x.npy", stack)
    marked = np.zeros(stack.shape[1:], bool)
    marked[0, 0] = True
    task = Task(method="default", steps=None, seed=0, device="cpu")
    made = Outputs(tmp_path / "y.npy")
    masks = Masks(None, marked, None)
    job = read_job(tmp_path / "x.npy", made, task, masks, inputs=[], force=False)
    clean = stack[:, ~marked]
    expected = Units(np.nanmin(clean), np.nanmax(clean))
    assert [page.numbers.units for page in job.pages] == 3 * [expected]
    for page, values in zip(job.pages, stack, strict=True):
        place = (values - expected.low) / expected.span
        np.testing.assert_allclose(page.pixels[5:], place[5:], atol=1e-6)


def test_json_counts_all_pages_together(tmp_path):
    np.save(tmp_path / "x.npy", np.stack([scene(), scene()]))
    task = Task(method="median", steps=None, seed=0, device="auto")
    made = Outputs(tmp_path / "y.npy")
    masks = Masks(None, None, None)
    job = read_job(tmp_path / "x.npy", made, task, masks, inputs=[], force=False)
    page = recovered(job, task)
    first = replace(page, steps=30, tiles=6, fitted=4, filled=2, disagreement=0.25)
    second = replace(page, steps=10, tiles=6, fitted=1, filled=3)
    record = record_of(job, task, [first, second], made.result)
    names = ("pages", "steps", "tiles", "fitted_tiles", "filled_pixels", "disagreement")
    assert [record[name] for name in names] == [2, 40, 12, 5, 5, 0.25]


def test_tiff_pages_stay_pages(tmp_path):
    pages = np.random.default_rng(0).integers(0, 255, (3, 16, 12, 3), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="rgb", metadata=None)
    record = json.loads(done("denoise", tmp_path / "x.tif", *MEDIAN, "--json").stdout)
    assert record["pages"] == 3
    assert record["output"] == str(tmp_path / "x_denoised.tif")
    restored = read_pages(tmp_path / "x_denoised.tif")
    for number, page in enumerate(restored):  # each as if it were alone
        write_image(tmp_path / "page.png", pages[number])
        done("denoise", tmp_path / "page.png", *MEDIAN, "--force")
        alone = read_image(tmp_path / "page_denoised.png").pixels
        np.testing.assert_array_equal(page.pixels, alone, strict=True)
    result = run("denoise", tmp_path / "x.tif", "-o", tmp_path / "y.png", *MEDIAN)
    assert "one picture and there are 3" in result.stderr
    for option in ("--save-mask", "--report", "--reference"):
        there = tmp_path / "x.html" if option == "--report" else tmp_path / "page.png"
        line = refused("denoise", tmp_path / "x.tif", "-o", tmp_path / "y.tif", option, there,
                       *MEDIAN, "--force")  # fmt: skip
        assert "x.tif' has 3 pages" in line
    # In a folder too.
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "x.tif").rename(folder / "x.tif")
    done("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN, "-q")
    again = (tmp_path / "out" / "x_denoised.tif").read_bytes()
    assert again == (tmp_path / "x_denoised.tif").read_bytes()


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", ">i4"])
def test_a_value_that_stands_for_missing_data(tmp_path, dtype):
    values = np.add.outer(np.linspace(0, 30, 24), np.linspace(0, 50, 20)).astype(dtype)
    hole = np.zeros(values.shape, bool)
    hole[:3, :4] = hole[10:13, 5:9] = True
    np.save(tmp_path / "x.npy", np.where(hole, -9999, values).astype(dtype))
    options = (tmp_path / "x.npy", "--no-data", -9999, "--method", "linear", "--json")
    said = json.loads(done("denoise", *options).stdout)
    restored = np.load(tmp_path / "x_denoised.npy")
    np.testing.assert_array_equal(restored[~hole], values[~hole])
    assert restored[hole].min() >= 0  # also where it is the lowest value
    assert np.abs(restored.astype(float) - values)[hole].max() < 8
    assert said["units"] == [float(values[~hole].min()), float(values.max())]
    assert said["corrupted_fraction"] == hole.mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_zeros_of_a_picture_may_be_missing_data(tmp_path, channels):
    pixels = np.full((20, 30, channels), 500, np.uint16)
    pixels[..., 0] += 100
    pixels[4:6, 7:9] = 0
    pixels[10, 10, 0] = 0  # with the others it is a colour
    write_image(tmp_path / "x.png", pixels[..., 0] if channels == 1 else pixels)
    out = tmp_path / "o.png"
    done("denoise", tmp_path / "x.png", "-o", out, "--no-data", 0, "--method", "linear")
    expected = pixels.copy()
    expected[4:6, 7:9] = pixels[0, 0]
    if channels == 1:
        expected[10, 10] = 600
    np.testing.assert_array_equal(read_image(out).pixels.reshape(pixels.shape), expected)
    line = refused("denoise", tmp_path / "x.png", "-o", out, "--no-data", 0, *MEDIAN, "--force")
    assert "values are missing or not finite" in line
    assert run("denoise", tmp_path / "x.png", "--no-data", "nan").exit_code == 2


def test_a_value_that_is_far_away_makes_no_equal_pictures(tmp_path):
    """-3.4e38 stands for missing data in many elevation models."""
    for name, low in (("clean.npy", 0), ("wide.npy", -100)):
        values = np.linspace(low, 0.5, 400, dtype=np.float32).reshape(20, 20)
        np.save(tmp_path / name, values)
        values[3, 3] = np.finfo(np.float32).min
        np.save(tmp_path / "x.npy", values)
        line = done("compare", tmp_path / name, tmp_path / "x.npy", "--json").stdout
        assert json.loads(line)["psnr"] < -600
        assert -1 <= json.loads(line)["ssim"] <= 1


def strict(text):
    """JSON as its standard has it, without Infinity and NaN."""

    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", [1.7e308, np.finfo(np.float64).max, -1.7e308])
def test_json_of_the_largest_numbers_is_json(tmp_path, value):
    np.save(tmp_path / "x.npy", np.full((12, 12), value))
    np.save(tmp_path / "small.npy", np.linspace(0, 1, 144).reshape(12, 12))
    files = (tmp_path / "x.npy", "--reference", tmp_path / "small.npy")
    record = strict(done("denoise", *files, *MEDIAN, "--json").stdout)
    assert record["psnr"] < -600
    assert -1 <= record["ssim"] <= 1
    low, high = record["units"]
    assert low < high
    assert value in (low, high)
    np.testing.assert_array_equal(np.load(tmp_path / "x_denoised.npy"), value)
    compared = done("compare", tmp_path / "small.npy", tmp_path / "x.npy", "--json").stdout
    assert strict(compared) == {key: record[key] for key in ("psnr", "ssim")}


def test_fits_with_header_extension_and_bad_values(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    values = scene()
    values[4, 4] = np.nan
    image = fits.ImageHDU(values, name="SCI")
    image.header["EXPTIME"] = 30.0
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(scene(seed=1)), image]).writeto(
        tmp_path / "x.fits"
    )
    options = ("--extension", "SCI", "--method", "linear")
    done("denoise", tmp_path / "x.fits", *options)
    with fits.open(tmp_path / "x_denoised.fits") as file:
        assert file["SCI"].header["EXPTIME"] == 30.0
        restored = file["SCI"].data
        np.testing.assert_array_equal(restored[np.isfinite(values)], values[np.isfinite(values)])
        assert np.isfinite(restored).all()
    # The reference, and the frames of a shared mask, are of the same extension.
    same = ("--extension", "SCI", "--reference", tmp_path / "x.fits", "--json", "--force")
    values[4, 4] = 600
    image.data = values
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(scene(seed=1)), image]).writeto(
        tmp_path / "x.fits", overwrite=True
    )
    record = json.loads(done("denoise", tmp_path / "x.fits", *same, *MEDIAN).stdout)
    assert record["psnr"] > 15  # 5 dB from another extension
    # So are the two that are compared.
    other = [fits.PrimaryHDU(), fits.ImageHDU(scene(seed=1)), fits.ImageHDU(scene(), name="SCI")]
    fits.HDUList(other).writeto(tmp_path / "y.fits")
    files = (tmp_path / "x.fits", tmp_path / "y.fits")
    assert json.loads(done("compare", *files, "--json", "--extension", "1").stdout)["psnr"] is None
    assert json.loads(done("compare", *files, "--json", "--extension", "SCI").stdout)["psnr"] > 10
    # A file of another format has no extension.
    np.save(tmp_path / "y.npy", scene())
    mixed = (tmp_path / "x.fits", tmp_path / "y.npy", "--json", "--extension", "SCI")
    assert json.loads(done("compare", *mixed).stdout)["psnr"] > 10
    reference = ("--extension", "SCI", "--reference", tmp_path / "y.npy", "--json", "--force")
    done("denoise", tmp_path / "x.fits", *reference, *MEDIAN)
    line = refused("denoise", tmp_path / "x.fits", "--extension", "7", *MEDIAN, "--force")
    assert "no image in extension 7; there is 1, 2 SCI" in line


def test_a_page_or_a_file_without_anything_missing_stays_as_it_is(tmp_path):
    """Beside one that has a hole, or where it is said what a hole would be."""
    whole = np.add.outer(np.linspace(0, 30, 24), np.linspace(0, 50, 20)).astype("f4")
    holed = whole.copy()
    holed[3:6, 4:7] = np.nan
    tifffile.imwrite(tmp_path / "two.tif", np.stack([holed, whole]), photometric="minisblack")
    done("denoise", tmp_path / "two.tif", "-o", tmp_path / "o.tif", "--method", "biharmonic")
    filled, same = tifffile.imread(tmp_path / "o.tif")
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(same, whole)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, values in (("a", np.nan_to_num(holed, nan=-9999)), ("b", whole)):
        np.save(folder / f"{name}.npy", values)
    out = ("--out-dir", tmp_path / "out", "--no-data", -9999, "--method", "linear", "--workers", 1)
    done("denoise", folder, *out)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "b_denoised.npy"), whole)
    line = refused("denoise", folder / "b.npy", "--method", "linear")
    assert "fills the elements of a mask; give one" in line


def test_a_value_that_no_sample_has_is_probably_a_mistake(tmp_path):
    np.save(tmp_path / "x.npy", scene())
    result = done("denoise", tmp_path / "x.npy", *FIT, "--no-data", -32768)
    assert result.stderr == f"warning: no value of '{tmp_path / 'x.npy'}' is -32768\n"


def test_that_value_is_said_of_standard_input_by_its_name(tmp_path):
    write_image(tmp_path / "x.png", np.zeros((4, 5), np.uint8))
    given = (tmp_path / "x.png").read_bytes()
    result = run("denoise", "-", "-o", tmp_path / "y.png", "--no-data", 7, *MEDIAN, given=given)
    assert (result.exit_code, result.stderr) == (0, "warning: no value of '-' is 7\n")


def test_a_value_that_no_picture_of_many_has_is_probably_a_mistake(tmp_path):
    for name, low in (("a", 300), ("b", -9999)):
        values = scene()
        values[3, 4] = low
        np.save(tmp_path / f"{name}.npy", values)
    files = (tmp_path / "a.npy", tmp_path / "b.npy")
    many = ("denoise", *files, "--method", "linear", "--workers", 1, "-q", "--force", "--no-data")
    assert done(*many, -32768).stderr == "warning: no value of 2 pictures is -32768\n"
    assert done(*many, -9999).stderr == ""  # one of them has it


def test_what_is_missing_stays_so_when_a_file_is_corrupted(tmp_path):
    values = scene()
    values[2, 3] = values[7] = np.nan
    np.save(tmp_path / "x.npy", values)
    names = {name: tmp_path / f"{name}.npy" for name in ("bad", "clean", "difference")}
    mask = tmp_path / "mask.png"
    saved = ("--save-clean", names["clean"], "--save-difference", names["difference"])
    done(
        *("corrupt", tmp_path / "x.npy", "-o", names["bad"], *saved, "--save-mask", mask),
        *("--kind", "random-valued", "--amount", 0.3),
    )
    bad, clean, difference = (np.load(path) for path in names.values())
    np.testing.assert_array_equal(clean, values)
    missing = np.isnan(values)
    np.testing.assert_array_equal(np.isnan(bad), missing)
    assert 0.1 < (bad != values)[~missing].mean() < 0.5
    assert not difference[missing].any()
    assert not read_image(mask).pixels[missing].any()
    line = refused("corrupt", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--then", "blur:1")
    assert "21 values" in line
    assert "fill them first" in line


@pytest.mark.parametrize("suffix", [".fits.gz", ".npy.gz"])
def test_compressed_files_are_to_be_unpacked(tmp_path, suffix):
    (tmp_path / f"x{suffix}").write_bytes(b"\x1f\x8b")
    line = refused("denoise", tmp_path / f"x{suffix}", "-o", tmp_path / "o.npy", *MEDIAN)
    assert "it is compressed (.gz); unpack it first" in line


def test_numbers_by_another_name(tmp_path):
    with (tmp_path / "x.png").open("wb") as stream:
        np.save(stream, scene())
    line = refused("denoise", tmp_path / "x.png", *MEDIAN)
    assert "it is a .npy file by another name; let its name end in .npy" in line
