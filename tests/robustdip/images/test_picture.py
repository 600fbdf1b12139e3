"""Promise: samples return from float exactly, whatever their depth; bad floats are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robustdip.images.picture import from_float, side_by_side, to_float


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
