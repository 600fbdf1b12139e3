"""Arrays of a caller: what was not read does not come back, and a reference has one scale."""

import numpy as np
import pytest

from robustdip.inputs import check_image, check_mask, check_reference


@pytest.mark.parametrize("way", ["mask", "add_mask"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -3.0, 7.0])
def test_a_value_that_was_not_read_never_comes_back(way, bad):
    """Also where the result is the 0 that stood in its place."""
    image = np.full((4, 5), 0.5)
    image[1, 2] = bad
    given = check_image(image, **{way: image != 0.5})
    assert given.values[1, 2] == 0
    restored = given.as_given(given.values)
    assert restored[1, 2] == 0
    restored[1, 2] = 0.5
    np.testing.assert_array_equal(restored, 0.5)


@pytest.mark.parametrize("most", [900, 4095, 16383, 40000])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_reference_of_other_bits_is_in_the_range_of_the_image(most, order):
    image = np.array([[0, 4095], [17, 900]], order)
    clean = np.array([[0, most], [17, 900]], "u2")
    values = check_reference(clean, check_image(image))[..., 0]
    np.testing.assert_allclose(values, clean / 4095, rtol=1e-6)


def test_a_reference_of_another_kind_of_samples_is_in_its_own_range():
    given = check_image(np.array([[0, 4095], [17, 900]], np.uint16))
    clean = np.array([[0, 255], [1, 56]], np.uint8)
    np.testing.assert_allclose(check_reference(clean, given)[..., 0], clean / 255, rtol=1e-6)
    floats = clean / 255
    np.testing.assert_allclose(check_reference(floats, given)[..., 0], floats, rtol=1e-6)


def test_a_checked_mask_is_an_array_of_its_own():
    mask = np.zeros((4, 5, 3), bool)
    checked = check_mask(mask, (4, 5, 3))
    checked[0, 0, 0] = True
    assert not mask.any()
    wide = check_mask(mask[..., 0], (4, 5, 3))
    wide[1, 2, 0] = True  # of one channel
    assert wide.sum() == 1


def test_messages_count_and_say_what_to_do():
    for holes, match in {
        1: "image has 1 value that is not finite; put numbers there, or mark the places in",
        2: "image has 2 values that are not finite; put numbers there, or mark the places",
    }.items():
        image = np.full((4, 4), 0.5)
        image[0, :holes] = np.nan
        with pytest.raises(ValueError, match=match):
            check_image(image)
    with pytest.raises(
        ValueError, match=r"shape \(9, 4, 5\); .*; give the pages of a stack one by"
    ):
        check_image(np.zeros((9, 4, 5)))
    with pytest.raises(ValueError, match=r"shape \(4,\); \(H, W\) or \(H, W, 1 to 4\) is needed$"):
        check_image(np.zeros(4))
