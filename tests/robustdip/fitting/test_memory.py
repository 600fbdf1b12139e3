"""Promise: a fit takes the memory that is foretold; what is refused would not have fitted."""

from dataclasses import replace

import pytest

from benchmarks.images.memory import isolated, measure
from robustdip.fitting.memory import memory_needed
from robustdip.recipes import RECIPES

DEFAULT = RECIPES["default"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "dip-l1"])
def test_the_estimate_is_what_a_fit_takes(name):
    measured = isolated(measure, name, 192, 64)
    assert 0.75 < memory_needed((192, 192, 3), RECIPES[name]) / measured < 1.3


def test_more_channels_and_patterns_need_more():
    grey, colour, alpha = (memory_needed((256, 256, c), DEFAULT) for c in (1, 3, 4))
    assert grey < colour < alpha
    # A pattern costs the same for each: 2, 8 and 16 of them.
    assert alpha - colour == pytest.approx((colour - grey) * 8 / 6, rel=1e-6)
    assert memory_needed((256, 256), DEFAULT) == grey
    # Without the mixture, the channels of the picture hardly count.
    simple = RECIPES["dip-l1"]
    assert memory_needed((256, 256, 1), simple) == memory_needed((256, 256, 3), simple) < colour


def test_narrow_parts_of_the_network_need_less():
    full = replace(DEFAULT, joined=1.0, finest=1.0)
    for name, value in (("joined", 0.5), ("finest", 0.25)):
        narrow = replace(full, **{name: value})
        assert memory_needed((256, 256, 3), narrow) < memory_needed((256, 256, 3), full)
