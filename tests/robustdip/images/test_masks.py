"""Mask files of all common modes say the same; the overlay shows what they mark."""

import numpy as np
import pytest
from PIL import Image

from overparam.files import FileError
from robustdip.images import overlay, read_mask, write_image
from robustdip.images.picture import Picture

MARKED = np.zeros((9, 12), bool)
MARKED[2:5, 3:9] = True
GREY = (MARKED * 255).astype(np.uint8)
WHITE, BLACK = np.full((9, 12), 255, np.uint8), np.zeros((9, 12), np.uint8)


def saved(path, *bands, mode):
    image = Image.fromarray(np.dstack(bands) if len(bands) > 1 else bands[0])
    image = image.convert(mode) if image.mode != mode else image
    image.save(path)
    return path


def sparse_layer(path, paint=(255, 255, 255)):
    """Paint on a layer whose transparent pixels are black underneath, as editors save it."""
    bands = ((MARKED * value).astype(np.uint8) for value in paint)
    return saved(path, *bands, GREY, mode="RGBA")


MODES = {
    "1": lambda p: saved(p, GREY, mode="1"),
    "L": lambda p: saved(p, GREY, mode="L"),
    "LA": lambda p: saved(p, GREY, WHITE, mode="LA"),
    "RGB": lambda p: saved(p, GREY, GREY, GREY, mode="RGB"),
    "RGBA": lambda p: saved(p, GREY, GREY, GREY, WHITE, mode="RGBA"),
    "P": lambda p: saved(p, GREY, mode="P"),
    "16 bit": lambda p: (write_image(p, GREY.astype(np.uint16) * 257), p)[1],
    "16 bit, faint": lambda p: (write_image(p, MARKED.astype(np.uint16)), p)[1],
    "LA, black paint": lambda p: saved(p, BLACK, GREY, mode="LA"),
    "RGBA, black paint": lambda p: saved(p, BLACK, BLACK, BLACK, GREY, mode="RGBA"),
    "RGBA, red paint": lambda p: saved(p, WHITE, BLACK, BLACK, GREY, mode="RGBA"),
    "RGBA, white layer": sparse_layer,
    "RGBA, red layer": lambda p: sparse_layer(p, paint=(200, 0, 0)),
    "16 bit alpha": lambda p: (
        write_image(p, Picture(BLACK.astype(np.uint16), GREY.astype(np.uint16) * 257)),
        p,
    )[1],
}


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_mark_the_same(tmp_path, mode):
    mask = read_mask(MODES[mode](tmp_path / "mask.png"))
    marked = mask.marked if mask.marked.ndim == 2 else mask.marked.any(axis=2)
    np.testing.assert_array_equal(marked, MARKED)
    if mask.marked.ndim == 3:
        np.testing.assert_array_equal(mask.marked, np.dstack([MARKED] * 3))
    assert mask.rule == {
        "LA, black paint": "what is not transparent",
        "RGBA, black paint": "what is not transparent",
        "RGBA, red paint": "what is not transparent",
        "16 bit alpha": "what is not transparent",
        "RGBA, white layer": "what is not transparent",
        "RGBA, red layer": "what is not transparent",
    }.get(mode, "what is not black")


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "ppm"])
def test_all_formats_mark_the_same(tmp_path, suffix):
    write_image(tmp_path / f"mask.{suffix}", GREY)
    marked = read_mask(tmp_path / f"mask.{suffix}").marked
    np.testing.assert_array_equal(marked.reshape(9, 12, -1).all(axis=2), MARKED)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_compressed_mask_is_cut_at_half(tmp_path, suffix):
    big = np.kron(GREY, np.ones((9, 9), np.uint8))
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(big).save(path, quality=50)
    with Image.open(path) as decoded:
        assert (np.asarray(decoded.convert("L"))[big == 0] > 0).any()  # black is not black any more
    mask = read_mask(path)
    np.testing.assert_array_equal(mask.marked.reshape(*big.shape, -1).any(axis=2), big > 0)
    assert mask.rule == "what is brighter than half"


def test_a_colour_marks_its_channels(tmp_path):
    bands = [GREY, BLACK, np.roll(GREY, 1, axis=0)]
    mask = read_mask(saved(tmp_path / "mask.png", *bands, mode="RGB"))
    np.testing.assert_array_equal(mask.marked, np.dstack(bands) > 0)


def test_a_flat_colour_with_flat_alpha_marks_everything_or_nothing(tmp_path):
    assert read_mask(saved(tmp_path / "w.png", WHITE, WHITE, mode="LA")).marked.all()
    assert not read_mask(saved(tmp_path / "b.png", BLACK, WHITE, mode="LA")).marked.any()
    assert not read_mask(saved(tmp_path / "t.png", WHITE, BLACK, mode="LA")).marked.any()


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"mask")
    with pytest.raises(FileError, match="not an image"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_the_overlay_is_the_picture_in_grey_and_the_mask_in_magenta(shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    mask = np.zeros(shape, bool)
    mask.reshape(9, 12, -1)[2:5, 3:9, -1] = True  # one channel is enough
    drawn = overlay(pixels, mask)
    assert (drawn.shape, drawn.dtype) == ((9, 12, 3), np.uint8)
    assert (drawn[MARKED] == (255, 0, 255)).all()
    rest = drawn[~MARKED]
    assert (rest == rest[:, :1]).all()
    expected = pixels.reshape(9, 12, -1).mean(axis=2)[~MARKED] / np.iinfo(dtype).max
    np.testing.assert_allclose(rest[:, 0] / 255, expected, atol=0.51 / 255)
