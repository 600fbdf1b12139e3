"""Pictures that use 10, 12 or 14 of their 16 bits are restored as pictures of so many bits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from robustdip import denoise, shared_defects
from robustdip.images import read_image, white_of, write_image
from robustdip.synthetic import random_valued
from tests.helpers.command_line import done
from tests.helpers.images import small


def levels(bits: int, *, side: int = 24) -> np.ndarray:
    """A piece of a photograph, with the highest value of these bits somewhere."""
    piece = data.camera()[100 : 100 + side, 200 : 200 + side] / 255
    piece[0, 0] = 1
    return np.rint(piece * (2**bits - 1)).astype(np.uint16)


@settings(derandomize=True, max_examples=40)
@given(st.integers(8, 16), st.data())
def test_the_range_is_that_of_the_fewest_bits(bits, drawn):
    most = drawn.draw(st.integers(2 ** (bits - 1) if bits > 8 else 0, 2**bits - 1))
    assert white_of(np.array([[0, most], [most // 2, 0]], np.uint16)) == 2**bits - 1


def test_other_samples_have_one_range():
    assert white_of(np.zeros((2, 2), np.uint8)) == 255
    assert white_of(np.zeros((2, 2), np.float32)) == 1
    with pytest.raises(TypeError, match="uint8 or uint16"):
        white_of(np.zeros(3, np.int32))


@pytest.mark.parametrize(
    "method", [small(), "median", "tv-l1"], ids=lambda m: getattr(m, "name", m)
)
@pytest.mark.parametrize("dtype", ["uint16", ">u2"])
def test_the_result_is_that_of_floats(method, dtype):
    clean = levels(12)
    floats = (clean / np.float32(4095)).astype(np.float32)
    floats, _ = random_valued(floats, 0.2, rng=np.random.default_rng(0))
    whole = np.rint(floats * 4095).astype(dtype)
    floats = whole.astype(np.float32) / np.float32(4095)
    found = denoise(whole, method=method, reference=clean)
    expected = denoise(floats, method=method, reference=clean / np.float32(4095))
    assert found.image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.image, np.rint(expected.image * np.float32(4095)))
    np.testing.assert_array_equal(found.corruption, expected.corruption)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.mask.any()
    assert found.history == expected.history


def test_a_mask_leaves_the_others_as_they_are():
    whole = levels(12)
    mask = np.zeros(whole.shape, bool)
    mask[5:7, 8] = True
    found = denoise(whole, method="linear", mask=mask).image
    np.testing.assert_array_equal(found[~mask], whole[~mask])
    assert found.max() <= 4095


def test_defects_that_stay_are_found_in_the_bits_in_use():
    rng = np.random.default_rng(0)
    frames = [rng.integers(1200, 1700, (32, 32)).astype(np.uint16) for _ in range(8)]
    for frame in frames:
        frame[5, 7] = 3700
    found = shared_defects(frames)
    assert np.argwhere(found > 0.5).tolist() == [[5, 7]]
    np.testing.assert_allclose(found, shared_defects([f * np.uint16(16) for f in frames]))


def test_the_commands(tmp_path):
    clean, bad, made = (tmp_path / f"{name}.png" for name in ("clean", "bad", "made"))
    page, strip = tmp_path / "page.html", tmp_path / "strip.png"
    write_image(clean, levels(12, side=48))
    done("corrupt", clean, "-o", bad, "--kind", "random-valued", "--amount", 0.2)
    assert 3000 < read_image(bad).pixels.max() <= 4095
    options = ["--method", "tv-l1", "--reference", clean, "--report", page, "--compare", strip]
    said = json.loads(done("denoise", bad, "-o", made, *options, "--json").stdout)
    assert said["units"] == [0, 4095]
    assert said["psnr"] > 20
    assert "12 bits" in page.read_text()
    assert read_image(strip).pixels[:, :48].mean() > 64  # black, if white were 65535
    result = read_image(made).pixels
    assert (result.dtype, white_of(result)) == (np.uint16, 4095)
    error = np.mean((result / 4095 - levels(12, side=48) / 4095) ** 2)
    assert said["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-3)
    compared = json.loads(done("compare", clean, made, "--json").stdout)
    assert compared["psnr"] == pytest.approx(said["psnr"], abs=1e-6)
