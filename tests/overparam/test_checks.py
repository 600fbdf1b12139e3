"""Promise: a parameter of a wrong type or range is refused in one line that names it."""

import numpy as np
import pytest
import torch

from overparam.checks import check_choice, check_count, check_real, check_type


@pytest.mark.parametrize("value", [0, 7, np.int64(3), np.uint8(9)])
def test_whole_numbers_pass_as_int(value):
    assert type(check_count("steps", value)) is int
    assert check_count("steps", value) == value


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.array([1, 2]), 1j])
def test_other_types_are_no_counts(value):
    with pytest.raises(TypeError, match=r"^steps is .*; a whole number is needed$"):
        check_count("steps", value)


@pytest.mark.parametrize(("value", "limits"), [(0, "from 1"), (11, "from 1 to 10")])
def test_counts_out_of_range(value, limits):
    most = 10 if "to" in limits else None
    with pytest.raises(ValueError, match=f"^steps is {value}; a whole number {limits} is needed$"):
        check_count("steps", value, least=1, most=most)


def test_the_limits_of_a_count_are_allowed():
    assert [check_count("steps", value, least=1, most=3) for value in (1, 2, 3)] == [1, 2, 3]
    for huge, word in ((10**5000, "large"), (-(10**5000), "small")):  # which Python does not print
        with pytest.raises(
            ValueError, match=f"^steps is too {word}; a whole number from 1 to 3 is"
        ):
            check_count("steps", huge, least=1, most=3)


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        ({"least": 0, "most": 1}, (0, 1), (np.nextafter(0, -1), np.nextafter(1, 2))),
        ({"above": 0, "below": 1}, (np.nextafter(0, 1), np.nextafter(1, 0)), (0, 1)),
    ],
)
def test_limits_of_reals_are_allowed_or_not(limits, inside, outside):
    for value in inside:
        assert check_real("rate", value, **limits) == value
    for value in outside:
        with pytest.raises(ValueError, match=r"^rate is .*; a finite number \w+ .*is needed$"):
            check_real("rate", value, **limits)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.25), np.int8(1)])
def test_real_numbers_pass_as_float(value):
    assert type(check_real("rate", value, above=0, most=1)) is float


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), -float("inf")])
def test_reals_out_of_range(value):
    words = "a finite number above 0 and at most 1 is needed"
    with pytest.raises(ValueError, match=f"^rate is {value}; {words}$"):
        check_real("rate", value, above=0, most=1)


@pytest.mark.parametrize("value", ["1", None, True, 1j, [1.0]])
def test_other_types_are_no_reals(value):
    with pytest.raises(TypeError, match=r"^rate is .*; a number is needed$"):
        check_real("rate", value)


def test_an_unbounded_real_is_finite():
    with pytest.raises(ValueError, match=r"^rate is nan; a finite number is needed$"):
        check_real("rate", float("nan"))


def test_types():
    assert check_type("data", 3, int) == 3
    with pytest.raises(TypeError, match=r"^data is a str; int is needed$"):
        check_type("data", "3", int)


def test_choices():
    assert check_choice("loss", "l1", ("l1", "l2")) == "l1"
    for wrong in ("l3", None, ["l1"]):
        with pytest.raises(ValueError, match="use one of l1, l2"):
            check_choice("loss", wrong, ("l1", "l2"))


def test_two_types_of_one_name_are_told_apart():
    """The message was that a Generator is needed and that it is a Generator."""
    with pytest.raises(
        TypeError, match=r"rng is a numpy\.\S*Generator; torch\S*\.Generator is need"
    ):
        check_type("rng", np.random.default_rng(0), torch.Generator)
