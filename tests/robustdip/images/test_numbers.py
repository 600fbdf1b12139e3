"""Values in units of their own: arrays, FITS, TIFF pages; what is read, and what is written."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from overparam.files import FileError
from robustdip.images import Picture, read_image, read_mask, read_pages, write_image
from robustdip.images.units import Numbers, Units, units_of
from robustdip.images.writing import check_output, natural_suffix, pages_bytes
from tests.helpers.command_line import ROOT

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">i2"]


def values_of(dtype, shape=(6, 5), seed=0):
    """Numbers over a wide range of a dtype."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (rng.normal(100, 50, shape)).astype(dtype)
    limits = np.iinfo(kind)
    return rng.integers(
        limits.min, limits.max, shape, kind.newbyteorder("="), endpoint=True
    ).astype(dtype)


# --- units ---------------------------------------------------------------------------------

finite = st.floats(-1e30, 1e30, allow_nan=False)


@settings(derandomize=True, max_examples=100)
@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=finite),
    st.sampled_from(["f4", "f8"]),
    st.data(),
)
def test_what_does_not_change_returns_exactly_and_what_does_within_the_rounding(
    values, dtype, data
):
    values = values.astype(dtype)
    units = units_of([values])
    numbers = Numbers(values, units, values.shape)
    pixels = numbers.pixels()
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    np.testing.assert_array_equal(numbers.restored(pixels), values, strict=True)
    changed = data.draw(hnp.arrays(np.float32, values.shape, elements=st.floats(0, 1, width=32)))
    made = numbers.restored(changed)
    # The map in 64 bits is the oracle; float32 rounds a pixel by at most 2**-25 and a value once.
    expected = units.low + changed.astype(float) * (units.high - units.low)
    allowed = units.span * 2.0**-24 + np.abs(expected) * 2.0**-23
    assert (np.abs(made.astype(float) - expected) <= allowed).all()


@settings(derandomize=True, max_examples=50)
@given(hnp.arrays(st.sampled_from([np.int16, np.int32, np.uint32, np.int64]), (4, 3)))
def test_whole_numbers_return_exactly_and_stay_in_their_range(values):
    numbers = Numbers(values, units_of([values]), values.shape)
    np.testing.assert_array_equal(numbers.restored(numbers.pixels()), values, strict=True)
    swapped = numbers.restored(1 - numbers.pixels())
    assert swapped.dtype == values.dtype
    if np.ptp(values.astype(float)):
        # In 64 bits the map itself rounds, by one part in 2**52 of the range.
        slack = numbers.units.span * 2.0**-22
        assert float(swapped.min()) >= float(values.min()) - slack
        assert float(swapped.max()) <= float(values.max()) + slack


def test_the_range_is_that_of_finite_values_and_fractions_stay():
    assert units_of([np.array([0.25, 0.5])]) == Units(0, 1)
    assert units_of([np.array([0.25, 1.5]), np.array([-3.0])]) == Units(-3, 1.5)
    assert units_of([np.array([np.nan, 2.0, np.inf, 4.0])]) == Units(2, 4)
    assert units_of([np.full(3, 7.0)]).low == 7
    assert units_of([np.array([0, 1], np.int32)]) == Units(0, 1)
    for bad in ([np.array([np.nan])], [], [np.array([-1.7e308, 1.7e308])]):
        with pytest.raises(ValueError, match=r"no finite value|too far"):
            units_of(bad)
    kept = Numbers(np.array([[2.0, 1e30], [4.0, 3.0]]), Units(2, 4), (2, 2))
    np.testing.assert_array_equal(kept.pixels(), [[0, 1], [1, 0.5]])


@pytest.mark.parametrize("value", [-1e30, -3.0, 0.0, 7.0, 1e20])
def test_one_value_alone_has_a_range_too(value):
    values = np.full((2, 3), value)
    numbers = Numbers(values, units_of([values]), (2, 3))
    assert numbers.units.span > 0
    assert not numbers.pixels().any()
    np.testing.assert_array_equal(numbers.restored(numbers.pixels()), values)


def test_whole_numbers_are_rounded_and_held_to_their_dtype():
    mapped = np.array([0.26, 0.24, -0.26, 1.0, 9.0, -9.0])
    made = Units(0, 10).from_unit(mapped, np.dtype(np.int8))
    assert made.tolist() == [3, 2, -3, 10, 90, -90]
    made = Units(0, 100).from_unit(mapped, np.dtype(np.int8))
    assert made.tolist() == [26, 24, -26, 100, 127, -128]
    largest = Units(0, 2.0**63).from_unit(np.array([1.0]), np.dtype(np.int64))
    assert 2**63 - 2**11 < largest[0] < 2**63  # a float of 64 bits has no more digits


def test_a_value_that_is_not_finite_is_bad_and_never_returns():
    values = np.array([[np.nan, 1.0], [np.inf, 3.0]], np.float32)
    numbers = Numbers(values, units_of([values]), (2, 2))
    np.testing.assert_array_equal(numbers.bad, [[True, False], [True, False]])
    restored = numbers.restored(numbers.pixels())
    np.testing.assert_array_equal(restored, [[1, 1], [1, 3]])


# --- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 1), (2, 6, 5)])
def test_npy_keeps_shape_dtype_and_values(tmp_path, dtype, shape):
    values = values_of(dtype, shape)
    np.save(tmp_path / "x.npy", values)
    pages = read_pages(tmp_path / "x.npy")
    assert len(pages) == (2 if shape[0] == 2 else 1)
    for page in pages:
        assert page.pixels.shape == ((6, 5, 3) if shape == (6, 5, 3) else (6, 5))
        if page.pixels.dtype == np.float32:
            assert 0 <= page.pixels.min() <= page.pixels.max() <= 1
    again = np.load(io.BytesIO(pages_bytes(tmp_path / "y.npy", pages)))
    np.testing.assert_array_equal(again, values)
    assert again.dtype.newbyteorder("=") == values.dtype.newbyteorder("=")
    assert natural_suffix(tmp_path / "x.npy") == ".npy"


def test_bool_arrays_are_black_and_white_and_masks(tmp_path):
    marked = np.zeros((6, 5), bool)
    marked[2, 3] = True
    np.save(tmp_path / "m.npy", marked)
    np.testing.assert_array_equal(read_image(tmp_path / "m.npy").pixels, marked * np.uint8(255))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy").marked, marked)
    for dtype in ("i4", "f4"):
        for mask in (marked, ~(marked & False)):  # all of it too: units must not hide it
            np.save(tmp_path / "m.npy", mask.astype(dtype))
            np.testing.assert_array_equal(read_mask(tmp_path / "m.npy").marked, mask)


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.npy"

    def refused(write):
        write()
        with pytest.raises(FileError) as caught:
            read_image(path)
        message = str(caught.value)
        assert message.startswith(f"cannot read {str(path)!r}: ")
        assert "\n" not in message
        return message

    assert "real numbers" in refused(lambda: np.save(path, np.ones((3, 3), complex)))
    assert "its shape is (4,)" in refused(lambda: np.save(path, np.ones(4)))
    assert "its shape is (5, 5, 4)" in refused(lambda: np.save(path, np.ones((5, 5, 4))))
    assert "nothing in it" in refused(lambda: np.save(path, np.ones((0, 4))))
    assert "no finite value" in refused(lambda: np.save(path, np.full((3, 3), np.nan)))
    objects = np.array([[1, None]], object)
    assert "not an array" in refused(lambda: np.save(path, objects, allow_pickle=True))
    assert "not an array" in refused(lambda: path.write_text("text"))
    assert "not an array" in refused(lambda: path.write_bytes(b"PK\3\4 no archive"))
    header = np.lib.format.magic(1, 0) + b"\x0a\0{'descr': \n"
    assert "not an array" in refused(lambda: path.write_bytes(header))
    assert "3 frames or pages" in refused(lambda: np.save(path, np.ones((3, 6, 5))))
    np.savez(tmp_path / "x.npz", a=1)
    assert "several arrays" in refused(lambda: path.write_bytes((tmp_path / "x.npz").read_bytes()))


def test_formats_that_cannot_hold_units_or_pages_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", values_of("f4"))
    np.save(tmp_path / "stack.npy", values_of("u1", (3, 6, 5)))
    pages = read_pages(tmp_path / "x.npy")
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".ppm"):
        with pytest.raises(FileError, match=r"units; use \.npy, \.fits or \.tif"):
            pages_bytes(tmp_path / f"y{suffix}", pages)
        with pytest.raises(FileError, match=r"one picture and there are 3; use \.tif"):
            pages_bytes(tmp_path / f"y{suffix}", read_pages(tmp_path / "stack.npy"))
    with pytest.raises(FileError, match="alpha"):
        write_image(tmp_path / "y.npy", Picture(values_of("u1"), values_of("u1")))


# --- TIFF ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "u4"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize("count", [1, 2])
def test_tiffs_of_any_numbers_return_exactly(tmp_path, dtype, shape, count):
    values = values_of(dtype, (count, *shape))
    tifffile.imwrite(
        tmp_path / "x.tif", values, photometric="rgb" if len(shape) == 3 else "minisblack",
        metadata=None,
    )  # fmt: skip
    pages = read_pages(tmp_path / "x.tif")
    assert len(pages) == count
    (tmp_path / "y.tif").write_bytes(pages_bytes("y.tif", pages))
    again = tifffile.imread(tmp_path / "y.tif", key=range(count))
    np.testing.assert_array_equal(again.reshape(values.shape), values)
    assert again.dtype == values.dtype
    assert natural_suffix(tmp_path / "x.tif") == ".tif"


def test_the_name_of_a_result_opens_no_pipe(tmp_path):
    """That could wait for ever, and the picture is refused later."""
    os.mkfifo(tmp_path / "pipe.tif")
    opened = threading.Thread(target=natural_suffix, args=[tmp_path / "pipe.tif"], daemon=True)
    opened.start()
    opened.join(10)
    assert not opened.is_alive()
    assert natural_suffix(tmp_path / "pipe.tif") == ".png"


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pages_keep_depth_alpha_size_profile_and_orientation(tmp_path, bands, dtype):
    made = [values_of(dtype, (6 + number, 5, bands), seed=number) for number in range(3)]
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for samples in made:
            file.write(
                samples.squeeze(2) if bands == 1 else samples,
                photometric="minisblack" if bands == 1 else "rgb",
                extrasamples=["unassalpha"] if bands == 4 else None,
                extratags=[(274, 3, 1, 3, True)],  # upside down
                iccprofile=b"profile",
                metadata=None,
            )
    for path in (tmp_path / "x.tif", tmp_path / "y.tif"):
        pages = read_pages(path)
        assert len(pages) == 3
        for page, samples in zip(pages, made, strict=True):
            upright = samples[::-1, ::-1]
            pixels = upright[..., 0] if bands == 1 else upright[..., :3]
            np.testing.assert_array_equal(page.pixels, pixels, strict=True)
            assert page.icc_profile == b"profile"
            if bands == 4:
                np.testing.assert_array_equal(page.alpha, upright[..., 3])
        (tmp_path / "y.tif").write_bytes(pages_bytes("y.tif", pages))
    with pytest.raises(FileError, match=r"of one size and depth, and these differ; use \.tif"):
        pages_bytes("y.npy", [Picture(page.pixels) for page in pages])


def test_what_a_later_page_has_is_not_dropped_by_a_format_that_cannot_hold_it():
    pixels = values_of("u1")
    for later, why in (
        (Picture(pixels, alpha=pixels), "alpha"),
        (Picture(pixels, icc_profile=b"profile"), "colour profile"),
        (Picture(values_of("u2")), "size and depth"),  # 255 would no longer be white
    ):
        with pytest.raises(FileError, match=why):
            pages_bytes("y.npy", [Picture(pixels), later])


def test_floats_keep_their_profile(tmp_path):
    values = values_of(np.float32, (6, 5, 3), seed=0)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", iccprofile=b"profile")
    (page,) = read_pages(tmp_path / "x.tif")
    assert page.icc_profile == b"profile"
    (tmp_path / "y.tif").write_bytes(pages_bytes("y.tif", [page]))
    assert read_pages(tmp_path / "y.tif")[0].icc_profile == b"profile"
    with pytest.raises(FileError, match=r"cannot hold the image's colour profile; use \.tif"):
        pages_bytes("y.npy", [page])


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate"])
def test_numbers_and_pages_that_other_programs_have_compressed(tmp_path, compression):
    path = tmp_path / "x.tif"
    for dtype in ("f4", "i4", "u2", "u1"):
        first, second = values_of(dtype, seed=0), values_of(dtype, (9, 4), seed=1)
        pages = [Image.fromarray(values) for values in (first, second)]
        pages[0].save(path, compression=compression, save_all=True, append_images=pages[1:])
        read = [page.values() for page in read_pages(path)]
        np.testing.assert_array_equal(read[0], first, strict=True)
        np.testing.assert_array_equal(read[1], second, strict=True)
    colours = values_of("u1", (6, 5, 3))
    page = Image.fromarray(colours)
    page.save(path, compression=compression, save_all=True, append_images=[page])
    np.testing.assert_array_equal(read_pages(path)[1].pixels, colours, strict=True)
    # White that is zero, and a page that lies on its side.
    page = Image.fromarray(colours[..., 0])
    tags = {"compression": compression, "tiffinfo": {262: 0, 274: 6}}
    page.save(path, save_all=True, append_images=[page], **tags)
    turned = np.rot90(colours[..., 0], -1)  # Pillow has inverted them too
    np.testing.assert_array_equal(read_pages(path)[0].pixels, turned, strict=True)


def test_compressed_pages_that_pillow_shortens_are_refused_in_words(tmp_path):
    path = tmp_path / "x.tif"
    for values in (values_of("f8"), np.stack(2 * [values_of("u2", (6, 5, 3))])):
        photometric = "rgb" if values.ndim == 4 else "minisblack"
        tifffile.imwrite(path, values, photometric=photometric, compression="zlib", metadata=None)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for page in file.pages:
                page.tags[259].overwrite(5)  # as if they were LZW
        with pytest.raises(FileError, match=f"{values.itemsize * 8} bits a pixel in LZW"):
            read_pages(path)


def test_pages_that_are_damaged_or_in_other_colours_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values_of("u1", (2, 6, 5, 4)), photometric="separated", metadata=None)
    with pytest.raises(FileError, match="SEPARATED colours"):
        read_pages(path)
    tifffile.imwrite(path, values_of("f4", (2, 60, 50)), compression="zlib", metadata=None)
    data = bytearray(path.read_bytes())
    for cut in (len(data) // 3, len(data) // 2):
        path.write_bytes(data[:cut])
        with pytest.raises(FileError, match=r"damaged|not an image"):
            read_pages(path)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_stack_that_was_cut_short_is_refused_and_not_read_as_fewer_pages(tmp_path, bigtiff):
    """The pixels of all pages come before what is said of the second."""
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values_of("f4", (3, 60, 50)), photometric="minisblack", bigtiff=bigtiff)
    data = path.read_bytes()
    assert len(read_pages(path)) == 3
    for cut in (1000, 20_000):
        path.write_bytes(data[:-cut])
        with pytest.raises(FileError, match=r"cut short \(what follows page 1 is missing"):
            read_pages(path)


# --- FITS ----------------------------------------------------------------------------------


@pytest.fixture
def fits():
    return pytest.importorskip("astropy.io.fits")


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u1", "u2"])
def test_fits_keeps_header_extension_and_values(tmp_path, fits, dtype):
    values, cube = values_of(dtype), values_of(dtype, (1, 2, 6, 5), seed=1)
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "M31"
    image = fits.ImageHDU(values, name="SCI")
    image.header["EXPTIME"] = 12.5
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))], name="TAB")
    fits.HDUList([primary, table, image, fits.ImageHDU(cube, name="CUBE")]).writeto(
        tmp_path / "x.fits"
    )
    for extension in (None, 2, "SCI", "sci"):
        (page,) = read_pages(tmp_path / "x.fits", extension=extension)
        np.testing.assert_array_equal(page.values(), values)
    (tmp_path / "y.fits").write_bytes(pages_bytes("y.fits", [page]))
    with fits.open(tmp_path / "y.fits") as file:
        np.testing.assert_array_equal(file[1].data, values)
        assert file[1].data.dtype.newbyteorder("=") == values.dtype
        assert (file[0].header["OBJECT"], file[1].header["EXPTIME"]) == ("M31", 12.5)
        assert file[1].name == "SCI"
        file.verify("exception")
    pages = read_pages(tmp_path / "x.fits", extension="CUBE")
    assert len(pages) == 2
    (tmp_path / "y.fits").write_bytes(pages_bytes("y.fits", pages))
    with fits.open(tmp_path / "y.fits") as file:
        np.testing.assert_array_equal(file["CUBE"].data, cube)
    for extension in (1, 9, "NONE"):
        with pytest.raises(FileError, match="there is 2 SCI, 3 CUBE"):
            read_pages(tmp_path / "x.fits", extension=extension)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fits_takes_the_numbers_of_other_files(tmp_path, fits, dtype):
    """Half floats, which it has none of, become float32; they ended in an error after the fit."""
    values = values_of(dtype)
    np.save(tmp_path / "x.npy", values)
    write_image(tmp_path / "x.fits", read_image(tmp_path / "x.npy"))
    written = fits.getdata(tmp_path / "x.fits")
    np.testing.assert_array_equal(written, values)
    assert written.dtype.kind == values.dtype.kind
    assert written.dtype.itemsize == max(values.itemsize, 4 if values.dtype.kind == "f" else 1)


def test_fits_from_a_picture_and_damaged_ones(tmp_path, fits):
    for shape in ((6, 5), (6, 5, 3)):
        write_image(tmp_path / "x.fits", values_of("u1", shape))
        with fits.open(tmp_path / "x.fits") as file:
            expected = values_of("u1", shape)
            planes = expected if len(shape) == 2 else np.moveaxis(expected, 2, 0)
            np.testing.assert_array_equal(file[0].data, planes)
    (tmp_path / "x.fits").write_text("no FITS file")
    with pytest.raises(FileError, match="no FITS file, or a damaged one"):
        read_pages(tmp_path / "x.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(FileError, match="no extension with an image"):
        read_pages(tmp_path / "empty.fits")
    write_image(tmp_path / "x.png", values_of("u1"))
    with pytest.raises(FileError, match="no FITS file, which alone"):
        read_pages(tmp_path / "x.png", extension=1)


@pytest.mark.parametrize("blank", [False, True])
def test_what_a_header_says_of_the_old_values_is_not_kept(tmp_path, fits, blank):
    values = np.arange(30, dtype=np.int16).reshape(6, 5)
    image = fits.PrimaryHDU(values)
    image.header["OBJECT"] = "M31"
    if blank:  # is NaN when it is read
        image.header["BLANK"] = 7
    image.writeto(tmp_path / "x.fits", checksum=True)
    (page,) = read_pages(tmp_path / "x.fits")
    assert (page.bad is not None) == blank
    changed = page.with_pixels(1 - page.pixels)
    (tmp_path / "y.fits").write_bytes(pages_bytes("y.fits", [changed]))
    with fits.open(tmp_path / "y.fits", checksum=True) as file:  # a warning if it is wrong
        header = file[0].header
        assert header["OBJECT"] == "M31"
        assert not {"CHECKSUM", "DATASUM", "BLANK"} & set(header)
        assert np.isfinite(file[0].data).all()


@pytest.mark.parametrize("card", ["FOO BAR =                    1", "OBJECT  = 'a\tb'"])
def test_a_header_that_breaks_the_standard_costs_no_result(tmp_path, fits, card):
    """Programs of telescopes write spaces in keywords, and tabs."""
    header = fits.PrimaryHDU(np.eye(4, dtype=np.float32)).header
    header["OBSERVER"], header["CARD"] = "me", 1
    text = header.tostring().replace(header.cards["CARD"].image, card.ljust(80))
    data = np.eye(4, dtype=">f4").tobytes().ljust(2880, b"\0")
    (tmp_path / "x.fits").write_bytes(text.encode() + data)
    pages = read_pages(tmp_path / "x.fits")
    (tmp_path / "y.fits").write_bytes(pages_bytes("y.fits", pages))
    with fits.open(tmp_path / "y.fits") as file:
        assert file[0].header["OBSERVER"] == "me"
        np.testing.assert_array_equal(file[0].data, np.eye(4))


def test_without_astropy_a_result_in_fits_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "astropy", None)
    picture = Picture(np.zeros((4, 4), np.uint8))
    with pytest.raises(FileError, match="FITS files need astropy; install it: pip install"):
        check_output(tmp_path / "x.fits", image=picture)
    check_output(tmp_path / "x.fits")  # before a picture is known


def test_without_astropy_one_line_says_what_to_install(tmp_path):
    (tmp_path / "x.fits").write_bytes(b"SIMPLE  =")
    script = (
        "import sys; sys.modules['astropy'] = None\n"
        "from robustdip.images import read_image\n"
        "try: read_image(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "x.fits"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert result.stdout.endswith(
        ": FITS files need astropy; install it: pip install 'robustdip[astronomy]'\n"
    ), result.stderr


@pytest.mark.parametrize("name", ["x.npy", "stack.npy", "x.fits", "x.tif", "pages.tif"])
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path, name):
    if name.endswith(".fits"):
        pytest.importorskip("astropy.io.fits")
    path = tmp_path / name
    if name == "pages.tif":
        tifffile.imwrite(
            path,
            values_of("u1", (3, 40, 30)),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
        )
    elif name == "stack.npy":
        np.save(path, values_of("i4", (3, 40, 30)))
    else:
        np.save(tmp_path / "source.npy", values_of("f4", (40, 30)))
        path.write_bytes(pages_bytes(path, read_pages(tmp_path / "source.npy")))
    sound, rng, refused = path.read_bytes(), np.random.default_rng(0), []
    for trial in range(120):
        data = bytearray(sound)
        if trial % 3 == 0:
            data = data[: rng.integers(len(data))]
        else:  # mostly in the header, where it matters
            for place in rng.integers(0, min(len(data), 400 if trial % 3 == 1 else 10**9), 3):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            pages = read_pages(path)
        except FileError as error:
            refused.append(str(error))
        else:
            for page in pages:
                assert np.isfinite(page.pixels).all()
    assert len(refused) >= 30
    assert all(line.startswith(f"cannot read {str(path)!r}: ") for line in refused)
    assert not any("\n" in line for line in refused)
