"""Known corruption: the statistics asked for, a truthful mask, nothing else touched."""

import copy
import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustdip.kinds import KINDS
from robustdip.processing import bayer_colours, parse_step
from robustdip.synthetic import GROWN, corrupt, damage, random_valued, salt_and_pepper, text

BY_ELEMENT = [name for name, kind in KINDS.items() if kind.by_element]
BY_SHAPE = [name for name, kind in KINDS.items() if not kind.by_element and name != "hot-pixels"]
HASHES = {
    "salt-and-pepper": "9b22850c01d5",
    "random-valued": "cdb7168dd599",
    "scratches": "1948d9829784",
    "missing-lines": "6191c9fac688",
}
SOFT = ["soft-text", "watermark", "soft-scratches", "hair", "dust", "streaks"]
SHAPES = [(1, 1), (2, 3), (1, 40), (31, 33), (64, 65, 3), (20, 30, 4), (2, 3, 1)]


def clean(*shape, seed=1):
    """An image with no 0 and no 1, so that every extreme value is corruption."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape)


def rng(seed=0):
    return np.random.default_rng(seed)


def assert_binomial(count, total, probability):
    # 5 standard deviations: by luck once in two million.
    allowed = 5 * np.sqrt(total * probability * (1 - probability))
    assert abs(count - total * probability) <= allowed


def test_kinds():
    exact = ["salt-and-pepper", "random-valued", "text", "scratches", "missing-lines"]
    assert list(KINDS) == [*exact, "blocks", "hot-pixels", *SOFT]


def test_the_first_kinds_are_those_of_the_published_tables():
    # Hashes of the corrupted images as version 0.1 made them; text depends on the font library.
    image = np.random.default_rng(7).random((64, 65, 3))
    made = {}
    for kind in HASHES:
        corrupted, mask = corrupt(image, kind, 0.2, rng=rng(3))
        made[kind] = hashlib.sha256(corrupted.tobytes() + mask.tobytes()).hexdigest()[:12]
    assert made == HASHES


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.sampled_from(list(KINDS)),
    st.sampled_from(SHAPES),
    st.floats(0, 1),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
)
def test_the_mask_tells_the_truth(kind, shape, amount, dtype, per_pixel):
    image = clean(*shape).astype(dtype)
    before = image.copy()
    corrupted, mask = corrupt(image, kind, amount, rng=rng(), per_pixel=per_pixel)
    np.testing.assert_array_equal(image, before)
    assert corrupted.dtype == image.dtype
    assert corrupted.shape == mask.shape == shape
    assert mask.dtype == bool
    np.testing.assert_array_equal(corrupted[~mask], image[~mask])
    assert (corrupted[mask] != image[mask]).all()  # equal by chance once in 2**24
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1
    for array in (corrupted, mask):  # the caller owns both
        array[...] = 1
    np.testing.assert_array_equal(image, before)
    if len(shape) == 3 and (per_pixel or kind in BY_SHAPE):
        mask = corrupt(image, kind, amount, rng=rng(), per_pixel=per_pixel)[1]
        assert (mask == mask[..., :1]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_and_everything(kind, shape):
    image = clean(*shape)
    corrupted, mask = corrupt(image, kind, 0, rng=rng())
    assert not mask.any()
    np.testing.assert_array_equal(corrupted, image)
    mask = corrupt(image, kind, 1, rng=rng())[1]
    if kind == "hot-pixels" and len(shape) == 3:
        mask = mask.any(axis=2)
    assert mask.all()


@pytest.mark.parametrize("per_pixel", [False, True])
@pytest.mark.parametrize("amount", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("kind", BY_ELEMENT)
def test_realised_amount_is_binomial(kind, amount, per_pixel):
    image = clean(200, 210, 3)
    mask = corrupt(image, kind, amount, rng=rng(), per_pixel=per_pixel)[1]
    draws = mask[..., 0] if per_pixel else mask
    assert_binomial(draws.sum(), draws.size, amount)
    # Neighbours are independent: pairs side by side are both bad with probability amount**2.
    pairs = draws[:, 0::2] & draws[:, 1::2]
    assert_binomial(pairs.sum(), pairs.size, amount**2)
    any_bad = mask.any(axis=2)
    assert_binomial(any_bad.sum(), any_bad.size, amount if per_pixel else 1 - (1 - amount) ** 3)


@pytest.mark.parametrize("per_pixel", [False, True])
def test_salt_and_pepper_values(per_pixel):
    corrupted, mask = salt_and_pepper(clean(200, 210, 3), 0.5, rng=rng(), per_pixel=per_pixel)
    values = corrupted[mask].reshape(-1, 3)[:, 0] if per_pixel else corrupted[mask]
    assert set(np.unique(values)) == {0.0, 1.0}
    assert_binomial(values.sum(), values.size, 0.5)
    same = (corrupted == corrupted[..., :1]).all(axis=2)[mask.all(axis=2)]
    assert same.mean() == 1 if per_pixel else same.mean() < 0.5


@pytest.mark.parametrize("per_pixel", [False, True])
def test_random_values_are_uniform_and_independent(per_pixel):
    corrupted, mask = random_valued(clean(200, 210, 3), 0.5, rng=rng(), per_pixel=per_pixel)
    values = corrupted[mask]
    for level in (0.1, 0.25, 0.5, 0.9):
        assert_binomial((values < level).sum(), values.size, level)
    all_bad = corrupted[mask.all(axis=2)]
    assert abs(np.corrcoef(all_bad[:, 0], all_bad[:, 1])[0, 1]) < 5 / np.sqrt(len(all_bad))


@pytest.mark.parametrize("amount", [0.003, 0.05, 0.3, 0.8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["text", "scratches"])
def test_area_is_met_to_the_pixel(kind, shape, amount):
    mask = corrupt(clean(*shape), kind, amount, rng=rng())[1]
    area = shape[0] * shape[1]
    covered = mask.reshape(area, -1)[:, 0].sum()
    assert covered == round(amount * area)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("amount", [0.1, 0.5])
def test_missing_lines_are_whole_and_stuck(amount, seed):
    corrupted, mask = corrupt(clean(41, 60, 3), "missing-lines", amount, rng=rng(seed))
    rows, columns = mask.all(axis=(1, 2)), mask.all(axis=(0, 2))
    lines, axis = (rows, 0) if rows.any() else (columns, 1)
    np.testing.assert_array_equal(mask.any(axis=(1 - axis, 2)), lines)
    assert lines.sum() == round(amount * lines.size)
    lost = np.moveaxis(corrupted, axis, 0)[lines].reshape(lines.sum(), -1)
    assert (lost == lost[:, :1]).all()
    assert set(lost[:, 0]) <= {0.0, 1.0}


def test_missing_lines_take_both_directions_and_both_values():
    results = [corrupt(clean(8, 8), "missing-lines", 0.5, rng=rng(k)) for k in range(40)]
    assert {bool(mask[0].all() or mask[:, 0].sum() == 4) for _, mask in results} == {True, False}
    assert {value for corrupted, mask in results for value in corrupted[mask]} == {0.0, 1.0}


def test_a_word_has_one_colour():
    corrupted, mask = text(clean(96, 96, 3), 0.005, rng=rng())  # 46 pixels: one word, cut
    assert len(np.unique(corrupted[mask.all(axis=2)], axis=0)) == 1


def test_scratches_are_thin_and_change_colour():
    corrupted, mask = corrupt(clean(100, 100, 3), "scratches", 0.002, rng=rng())
    bad = mask.all(axis=2)
    assert len(np.unique(corrupted[bad], axis=0)) > 10
    neighbours = sum(np.roll(bad, step, axis)[bad] for step in (-1, 1) for axis in (0, 1))
    assert neighbours.mean() < 2.5  # a filled patch has 4


def test_blocks_are_whole_aligned_and_grey():
    for side, shape in ((8, (72, 80, 3)), (16, (160, 128, 3))):
        corrupted, mask = corrupt(clean(*shape), "blocks", 0.3, rng=rng())
        whole = mask[::side, ::side, 0]
        np.testing.assert_array_equal(mask[..., 0], whole.repeat(side, 0).repeat(side, 1))
        assert whole.sum() == round(0.3 * whole.size)
        assert (corrupted[mask.all(axis=2)].std(axis=1) == 0).all()
        assert whole[:, 1:][whole[:, :-1]].mean() > 0.5  # runs: it would be 0.3 without


def test_a_hot_pixel_has_the_colour_of_its_place_in_every_frame():
    frames = [clean(60, 71, 3, seed=seed) for seed in (1, 2)]
    results = [corrupt(frame, "hot-pixels", 0.05, rng=rng(4)) for frame in frames]
    (first, mask), (second, again) = results
    np.testing.assert_array_equal(mask, again)
    np.testing.assert_array_equal(
        mask.argmax(axis=2)[mask.any(axis=2)], bayer_colours((60, 71))[mask.any(axis=2)]
    )
    assert mask.sum(axis=2).max() == 1
    assert_binomial(mask.sum(), 60 * 71, 0.05)
    unclipped = mask & (first < 1) & (second < 1)
    np.testing.assert_allclose((first - frames[0])[unclipped], (second - frames[1])[unclipped])
    assert (first[mask] > frames[0][mask]).all()


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("amount", [0.03, 0.1, 0.3])
def test_soft_shapes_cover_the_area_up_to_one_shape(kind, amount):
    mask = corrupt(clean(200, 300), kind, amount, rng=rng())[1]
    assert amount <= mask.mean() + 1e-4
    assert mask.mean() <= 1.2 * amount + 0.03  # a watermark's word is never cut


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("seed", range(3))
def test_soft_shapes_have_soft_edges(kind, seed):
    # Over black and over white: value = (1 - a) x + a c, so the difference is 1 - a.
    black, white = np.zeros((128, 128, 3)), np.ones((128, 128, 3))
    over = [corrupt(image, kind, 0.1, rng=rng(seed))[0] for image in (black, white)]
    opacity = 1 - (over[1] - over[0])
    assert np.ptp(opacity, axis=2).max() < 1e-12
    assert opacity.min() >= 0
    assert opacity.max() <= 1
    mask = corrupt(black, kind, 0.1, rng=rng(seed))[1]
    np.testing.assert_array_equal(opacity > 1e-9, mask)
    inside = opacity[..., 0][mask[..., 0]]
    assert ((inside > 0.1) & (inside < 0.9 * inside.max())).mean() > 0.1
    if kind == "watermark":
        assert 0.35 <= inside.max() <= 0.65
    # The opacity changes by steps, not by jumps, but for letters, whose stems end in a pixel.
    jumps = np.abs(np.diff(opacity[..., 0], axis=1))
    assert np.quantile(jumps[jumps > 0], 0.5) < 0.7


@pytest.mark.parametrize("seed", range(3))
def test_dust_is_compact_and_hair_is_thin(seed):
    from scipy.ndimage import label, maximum_filter, minimum_filter

    blobs, hairs = (
        corrupt(clean(256, 256), kind, 0.04, rng=rng(seed))[1] for kind in ("dust", "hair")
    )
    opened = [maximum_filter(minimum_filter(mask, 7), 7) & mask for mask in (blobs, hairs)]
    assert opened[0].sum() > 0.6 * blobs.sum()
    assert opened[1].sum() < 0.2 * hairs.sum()
    assert label(blobs)[1] >= 3


@pytest.mark.parametrize("kind", KINDS)
def test_same_generator_same_result_and_no_global_state(kind):
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    state = copy.deepcopy(np.random.get_state()[1]), random.getstate()  # noqa: NPY002
    image = clean(40, 50, 3)
    first, second, other = (corrupt(image, kind, 0.2, rng=rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002
    assert random.getstate() == state[1]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_arguments_are_named(kind):
    image = clean(4, 5)
    for amount in (-0.1, 1.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"amount is {amount}"):
            corrupt(image, kind, amount, rng=rng())
    with pytest.raises(TypeError, match="uint8"):
        corrupt(np.zeros((4, 5), np.uint8), kind, 0.1, rng=rng())
    for shape in [(4,), (0, 4), (1, 2, 3, 4)]:
        with pytest.raises(ValueError, match="shape"):
            corrupt(np.zeros(shape), kind, 0.1, rng=rng())
    for value in (np.nan, 2.0, -1.0):
        with pytest.raises(ValueError, match=r"not finite|ranges from"):
            corrupt(np.full((4, 5), value), kind, 0.1, rng=rng())


def test_unknown_kind_suggests():
    with pytest.raises(ValueError, match=r"missing-lines, .*streaks; did you mean 'scratches'\?"):
        corrupt(clean(2, 2), "scratch", 0.1, rng=rng())
    with pytest.raises(ValueError, match=r"streaks$"):
        corrupt(clean(2, 2), "gaussian", 0.1, rng=rng())


# --- damage and what happens afterwards ------------------------------------------------------

CHAINS = [
    (),
    ("jpeg:85",),
    ("resize:0.5",),
    ("blur:0.7",),
    ("demosaic", "jpeg:92"),
    ("resize:1.7", "blur:1", "jpeg:75"),
]


def test_one_step_need_not_be_in_a_list_and_what_is_none_is_refused():
    image = clean(24, 24)
    one, many = (damage(image, "dust", amount=0.1, then=then) for then in ("blur:2", ["blur:2"]))
    np.testing.assert_array_equal(one.image, many.image)
    with pytest.raises(TypeError, match="image is a list; an array"):
        damage([[0.5]], "dust", amount=0.1)
    with pytest.raises(TypeError, match=r"rng is 0; numpy.random.default_rng\(SEED\)"):
        corrupt(image, "dust", 0.1, rng=0)
    with pytest.raises(TypeError, match="then has 3, which is no step; there are jpeg:QUALITY"):
        damage(image, "dust", amount=0.1, then=[3])


@pytest.mark.parametrize("then", CHAINS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_is_exact(kind, then):
    image = clean(37, 50, 3).astype(np.float32)
    result = damage(image, kind, amount=0.1, then=then, seed=2)
    again = damage(image, kind, amount=0.1, then=[parse_step(step) for step in then], seed=rng(2))
    np.testing.assert_array_equal(result.image, again.image)
    assert result.image.dtype == result.clean.dtype == np.float32
    np.testing.assert_allclose(result.clean + result.difference, result.image, atol=6e-8)
    np.testing.assert_array_equal(result.mask, np.abs(result.difference) > result.threshold)
    assert result.threshold == (GROWN if then else 0)
    # The clean reference knows nothing of the damage.
    np.testing.assert_array_equal(
        result.clean, damage(image, kind, amount=0, then=then, seed=9).image
    )
    assert result.mask.any()
    if not then:
        corrupted, mask = corrupt(image, kind, 0.1, rng=rng(2))
        np.testing.assert_array_equal(result.image, corrupted)
        np.testing.assert_array_equal(result.mask, mask)
        result.image[...] = 0
        np.testing.assert_array_equal(image, clean(37, 50, 3).astype(np.float32))


@pytest.mark.parametrize("then", [(), ("jpeg:50", "resize:0.3", "blur:2")])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (2, 3, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_tiny_and_grey_images(kind, shape, then):
    result = damage(clean(*shape), kind, amount=1, then=then, threshold=0)
    assert result.image.shape == result.mask.shape
    assert result.image.ndim == len(shape)
    assert result.mask.any()


def test_the_order_of_steps_counts():
    image = clean(40, 40, 3)
    one, other = (
        damage(image, "hair", amount=0.1, then=then)
        for then in (("jpeg:60", "resize:0.5"), ("resize:0.5", "jpeg:60"))
    )
    assert (one.image != other.image).any()


def test_compression_spreads_damage_and_the_threshold_bounds_it():
    image = clean(64, 64) * 0.2 + 0.4
    exact = damage(image, "dust", amount=0.05)
    low, high = (
        damage(image, "dust", amount=0.05, then=["jpeg:75"], threshold=threshold)
        for threshold in (0, 0.2)
    )
    assert low.mask.mean() > 1.5 * exact.mask.mean()
    assert high.mask.mean() < exact.mask.mean()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "rain"}, "unknown kind of corruption 'rain'"),
        ({"then": ["mpeg:3"]}, "no step 'mpeg:3'; there are jpeg:QUALITY, jpeg444:QUALITY"),
        ({"then": ["demosaic"]}, "demosaic takes an RGB image"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"amount": 2}, "amount is 2"),
    ],
)
def test_damage_names_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        damage(clean(4, 5), **{"kind": "dust", "amount": 0.1} | wrong)
