"""Pictures that use 10, 12 or 14 of their 16 bits are restored as pictures of so many bits."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from robustdip import denoise, shared_defects
from robustdip.images import (
    overlay,
    read_image,
    read_pages,
    side_by_side,
    white_of,
    write_image,
)
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
    expected = 2**bits - 1 if bits <= 14 else 65535
    assert white_of(np.array([[0, most], [most // 2, 0]], np.uint16)) == expected


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


@pytest.mark.parametrize("way", ["mask", "add_mask", None])
def test_a_stuck_sample_does_not_set_the_range(way):
    whole = levels(12)
    whole[1::5, ::3] = 0
    stuck = whole.copy()
    stuck[7, 9] = 65535 if way is None else 40000
    known = {} if way is None else {way: stuck > 4095}
    result = denoise(stuck, method=small(), device="cpu", **known)
    assert result.white == 4095
    if way == "mask":
        assert result.image[7, 9] <= 4095
    # What is not found wrong is what it was, also beyond the range.
    kept = ~result.mask & (np.abs(result.corruption) == 0)
    np.testing.assert_array_equal(result.image[kept], stuck[kept])
    floats = stuck.clip(max=4095) / np.float32(4095)
    expected = denoise(floats.astype(np.float32), method=small(), device="cpu", **known)
    np.testing.assert_array_equal(result.mask, expected.mask)
    # A true picture of 16 bits has values between.
    assert denoise(whole * np.uint16(10), method="median").white == 65535


def test_marks_of_missing_data_are_few_and_far():
    def white(*more):
        return white_of(np.array([*range(256, 1256), *more], np.uint16))

    assert white(*[65535] * 50) == 2047
    assert white(*[65535] * 200) == 65535  # too many
    assert white(65535, 60000) == white(65535, 65534) == 65535  # something between
    assert white_of(np.array([0] * 50 + [65535], np.uint16)) == 65535  # two values


def test_a_reference_of_another_depth_has_a_range_of_its_own():
    eight = levels(8).astype(np.uint8)
    twelve = levels(12)
    noisy = twelve.copy()
    noisy[1::4, ::4] = 0
    last = [
        denoise(image, method=small(steps=5), reference=reference, device="cpu").history[-1]["psnr"]
        for image, reference in ((noisy, twelve), (noisy, eight), (noisy, twelve / 4095))
    ]
    np.testing.assert_allclose(last, last[0], atol=0.2)  # eight bits are rounded


def test_quality_is_relative_to_the_clean_picture(tmp_path):
    paths = {}
    for name, change in {"clean": 0, "less": 4095, "more": 4096, "stuck": 65535}.items():
        pixels = levels(12, side=32)
        if change:
            pixels[5, 5] = change
        paths[name] = tmp_path / f"{name}.png"
        write_image(paths[name], pixels)
    write_image(tmp_path / "eight.png", levels(8, side=32).astype(np.uint8))

    def value(one, other):
        return json.loads(done("compare", one, other, "--json").stdout)["psnr"]

    less, more, stuck = (value(paths["clean"], paths[name]) for name in ("less", "more", "stuck"))
    assert less > more > stuck
    assert value(tmp_path / "eight.png", paths["clean"]) > 50


def test_files_whose_white_is_zero_and_pgm_files_keep_their_bits(tmp_path):
    pixels = levels(12)
    tifffile.imwrite(tmp_path / "x.tif", 4095 - pixels, photometric="miniswhite")
    tifffile.imwrite(
        tmp_path / "pages.tif", np.stack([4095 - pixels] * 2), photometric="miniswhite"
    )
    (tmp_path / "x.pgm").write_bytes(b"P5 24 24 4095\n" + pixels.astype(">u2").tobytes())
    for found in (
        read_image(tmp_path / "x.tif"),
        *read_pages(tmp_path / "pages.tif"),
        read_image(tmp_path / "x.pgm"),
    ):
        np.testing.assert_array_equal(found.pixels, pixels)


def test_the_byte_order_of_fits_can_be_shown_and_written(tmp_path):
    pixels = levels(12)
    big = pixels.astype(">u2")
    write_image(tmp_path / "x.png", big)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png").pixels, pixels)
    np.testing.assert_array_equal(
        side_by_side([big, big], white=4095), side_by_side([pixels, pixels], white=4095)
    )
    mask = pixels > 4000
    np.testing.assert_array_equal(overlay(big, mask, white=4095), overlay(pixels, mask, white=4095))


def test_frames_with_a_saturated_pixel_or_a_mask():
    rng = np.random.default_rng(0)
    frames = [rng.integers(1200, 1700, (32, 32)).astype(np.uint16) for _ in range(8)]
    for frame in frames:
        frame[5, 7] = 3700
    frames[0][20, 20] = 65535
    assert np.argwhere(shared_defects(frames) > 0.5).tolist() == [[5, 7]]
    for frame in frames:
        frame[5, 7] = 65535
    assert np.argwhere(shared_defects(frames) > 0.5).tolist() == [[5, 7]]
    with pytest.raises(ValueError, match="frame 1: it has masked values"):
        shared_defects([np.ma.masked_array(frame, mask=frame > 4000) for frame in frames])


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
