"""Steps of processing: what each does to an image, and how it is written."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from robustdip.processing import (
    STEPS,
    Blur,
    Demosaic,
    Jpeg,
    Jpeg444,
    Resize,
    apply,
    bayer_colours,
    parse_step,
    usage,
)


def image(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(dtype)


def smooth(height, width):
    """An RGB image whose channels are smooth and differ by smooth amounts."""
    down, across = np.mgrid[:height, :width] / max(height, width)
    grey = 0.5 + 0.3 * np.sin(3 * down + 2 * across)
    return np.stack([grey, grey - 0.1 * down, grey + 0.1 * across], axis=2)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("jpeg:85", Jpeg(85)),
        ("jpeg444:85", Jpeg444(85)),
        ("resize:0.5", Resize(0.5)),
        ("blur:.7", Blur(0.7)),
        ("demosaic", Demosaic()),
    ],
)
def test_a_step_is_parsed(text, step):
    assert parse_step(text) == step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "no step ''; there are jpeg:QUALITY, jpeg444:QUALITY, resize:FACTOR, blur:SIGMA",
        ),
        ("jpg:85", "no step 'jpg:85'"),
        ("jpeg", "'jpeg' is no step; write jpeg:QUALITY"),
        ("demosaic:3", "'demosaic:3' is no step; write demosaic"),
        ("jpeg:8.5", "quality of jpeg is '8.5'; a whole number is needed"),
        ("jpeg:0", "quality of jpeg is 0; a whole number from 1 to 100 is needed"),
        ("jpeg:101", "quality of jpeg is 101"),
        ("resize:0", "factor of resize is 0"),
        ("resize:nan", "factor of resize is nan"),
        ("resize:17", "factor of resize is 17"),
        ("blur:-1", "sigma of blur is -1"),
        ("blur:wide", "sigma of blur is 'wide'; a number is needed"),
    ],
)
def test_a_bad_step_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_step(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_step_is_in_the_usage():
    assert usage() == "jpeg:QUALITY, jpeg444:QUALITY, resize:FACTOR, blur:SIGMA, demosaic"
    assert [entry.split(":")[0] for entry in usage().split(", ")] == list(STEPS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (17, 30), (9, 8, 1), (1, 1, 3), (17, 30, 3)])
@pytest.mark.parametrize("step", [Jpeg(50), Resize(0.3), Resize(2), Blur(3), Demosaic()])
def test_any_image_stays_one(step, shape, dtype):
    if isinstance(step, Demosaic) and shape[2:] != (3,):
        with pytest.raises(ValueError, match="RGB"):
            step.apply(image(*shape))
        return
    given = image(*shape, dtype=dtype)
    before = given.copy()
    result = step.apply(given)
    np.testing.assert_array_equal(given, before)
    assert result.dtype == given.dtype
    assert result.shape[2:] == given.shape[2:]
    assert result.min() >= 0
    assert result.max() <= 1
    sides = (
        [max(1, round(step.factor * side)) for side in shape[:2]]
        if isinstance(step, Resize)
        else list(shape[:2])
    )
    assert list(result.shape[:2]) == sides


@pytest.mark.parametrize("step", [Jpeg(90), Resize(0.5), Blur(2), Demosaic()])
def test_a_flat_image_stays_flat(step):
    flat = np.full((16, 21, 3), 102 / 255)
    np.testing.assert_allclose(step.apply(flat), 102 / 255, atol=1e-6)


@pytest.mark.parametrize(("step", "settings"), [(Jpeg, {}), (Jpeg444, {"subsampling": 0})])
def test_jpeg_is_that_of_pillow(tmp_path, step, settings):
    samples = (255 * smooth(40, 50)).astype(np.uint8)
    Image.fromarray(samples).save(tmp_path / "x.jpg", quality=70, **settings)
    with Image.open(tmp_path / "x.jpg") as decoded:
        expected = np.asarray(decoded) / 255
    np.testing.assert_allclose(step(70).apply(samples / 255), expected, atol=1e-12)


def test_jpeg_refuses_four_channels():
    with pytest.raises(ValueError, match="jpeg takes 1 or 3 channels; the image has 4"):
        Jpeg(70).apply(image(4, 4, 4))


def test_resize_averages_before_it_drops_pixels():
    rows = np.tile([0.0, 1.0], (32, 16))  # stripes of one pixel become grey
    np.testing.assert_allclose(Resize(0.5).apply(rows)[:, 2:-2], 0.5, atol=0.02)


def test_blur_leaves_the_channels_apart():
    given = image(20, 20, 3)
    expected = np.stack([gaussian_filter(given[..., k], 0.7) for k in range(3)], axis=2)
    np.testing.assert_allclose(Blur(0.7).apply(given), expected, atol=1e-12)


@pytest.mark.parametrize("size", [(40, 51), (41, 50)])
def test_demosaicing_keeps_what_the_sensor_saw_and_guesses_the_rest_well(size):
    given = smooth(*size)
    result = Demosaic().apply(given)
    seen = bayer_colours(size)[..., np.newaxis] == np.arange(3)
    np.testing.assert_array_equal(result[seen], given[seen])
    # A wrong colour at a wrong place would be off by up to 0.1.
    assert np.abs(result - given)[2:-2, 2:-2].max() < 0.003


def test_demosaicing_is_linear_and_exact_on_ramps():
    down, across = np.mgrid[:20, :30]
    ramp = 0.1 + 0.01 * down + 0.02 * across
    given = np.stack([ramp, ramp + 0.1, ramp - 0.05], axis=2)
    np.testing.assert_allclose(Demosaic().apply(given)[2:-2, 2:-2], given[2:-2, 2:-2], atol=1e-12)


def test_demosaicing_spreads_a_hot_pixel_by_two_pixels():
    given = np.full((21, 21, 3), 0.25)
    hot = given.copy()
    hot[10, 10, 0] = 1.0  # red, at an even row and column
    changed = np.argwhere((Demosaic().apply(hot) != Demosaic().apply(given)).any(axis=2))
    assert np.abs(changed - 10).max() == 2
    assert len(changed) > 9


def test_steps_are_applied_in_order_to_a_copy():
    given = image(12, 12, 3)
    np.testing.assert_array_equal(
        apply(given, [Blur(1), Jpeg(80)]), Jpeg(80).apply(Blur(1).apply(given))
    )
    apply(given, [])[...] = 5
    assert given.max() <= 1
