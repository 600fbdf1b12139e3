"""Promise: samples return from float exactly, whatever their depth; bad floats are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from overparam.files import FileError
from robustdip.images import pages_bytes, read_image
from robustdip.images.picture import Picture, from_float, side_by_side, to_float


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@settings(derandomize=True, max_examples=50)
@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(max_dims=3)))
def test_floats_return_exactly(pixels):
    floats = to_float(pixels)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(from_float(floats, pixels.dtype), pixels, strict=True)


def test_every_16_bit_level_returns_and_bad_floats_are_refused():
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(from_float(to_float(levels), "uint16"), levels)
    np.testing.assert_array_equal(from_float([-1.0, 0.0, 1.0, 9.0], np.uint8), [0, 0, 255, 255])
    np.testing.assert_array_equal(from_float([0.4 / 255, 0.6 / 255], np.uint8), [0, 1])
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            from_float([0.5, bad], np.uint8)
    with pytest.raises(TypeError, match="floating point"):
        from_float([0, 1], np.uint8)
    with pytest.raises(TypeError, match="uint8 or uint16"):
        from_float([0.5], np.int32)
    with pytest.raises(TypeError, match="uint8 or uint16"):
        to_float(np.zeros(3))


def test_side_by_side():
    grey, colour = noise(6, 5), noise(6, 7, 3)
    strip = side_by_side([grey, colour, to_float(colour), colour.astype(np.uint16) * 257])
    assert strip.shape == (6, 5 + 7 + 7 + 7 + 3 * 4, 3)
    np.testing.assert_array_equal(strip[:, :5], np.dstack([grey] * 3))
    assert (strip[:, 5:9] == 255).all()
    for start in (9, 20, 31):
        np.testing.assert_array_equal(strip[:, start : start + 7], colour)
    with pytest.raises(ValueError, match=r"heights \[5, 6\]"):
        side_by_side([grey, noise(5, 5)])


SAMPLES = np.zeros((4, 5), np.uint8)
HOLES = np.ma.array(SAMPLES, mask=np.eye(4, 5) > 0)


@pytest.mark.parametrize(
    ("facts", "error", "match"),
    [
        ({"pixels": HOLES}, TypeError, "^pixels are masked in places; no file keeps that"),
        ({"alpha": HOLES}, TypeError, "^alpha is masked in places; no file keeps that"),
        ({"alpha": "alpha.png"}, TypeError, "^alpha is a str; an array is needed"),
        (
            {"pixels": np.dstack([SAMPLES] * 4)},
            ValueError,
            r"alpha is apart, Picture\(pixels",
        ),
        ({"icc_profile": "sRGB"}, TypeError, "^icc_profile is a str; bytes is needed"),
        ({"dpi": 300}, TypeError, "^dpi is a int; tuple is needed"),
        ({"dpi": (300,)}, ValueError, r"^dpi is \(300,\); \(across, down\) is needed"),
        ({"dpi": ("300", "300")}, TypeError, "^dpi is '300'; a number is needed"),
        ({"dpi": (300, -1)}, ValueError, "^dpi is -1; a finite number above 0"),
        ({"dpi": (300, 1e9)}, ValueError, "^dpi is 1000000000.0; a finite number above 0"),
    ],
)
def test_what_no_file_holds_is_refused_when_a_picture_is_made(facts, error, match):
    """Masks were lost, and the others ended in errors of the libraries that write."""
    with pytest.raises(error, match=match):
        Picture(**({"pixels": SAMPLES} | facts))


def test_a_masked_array_without_a_masked_value_is_an_array():
    assert Picture(np.ma.array(SAMPLES)).pixels.shape == (4, 5)


def test_other_floats_than_those_of_a_file_of_numbers(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(3, 4))
    picture = read_image(tmp_path / "x.npy")
    with pytest.raises(TypeError, match="pixels are float64; float32 as in the file is needed"):
        picture.with_pixels(picture.pixels.astype(np.float64))


def test_a_file_needs_a_page():
    with pytest.raises(FileError, match=r"cannot write 'x.tif': there are no pages"):
        pages_bytes("x.tif", [])
