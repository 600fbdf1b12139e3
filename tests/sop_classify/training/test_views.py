"""Promise: a batch of views is what slicing each padded image by hand gives."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from sop_classify.training.views import Views, crop, cutout, draw_views, normalise, shrink

SIZES = st.integers(1, 9)


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """No pixel is black, so that black is always padding or a hole."""
    shape = (count, height, width, 3)
    return torch.randint(1, 256, shape, generator=gen(seed), dtype=torch.uint8)


def assert_binomial(count: float, total: int, probability: float) -> None:
    # 5 standard deviations: by luck once in two million.
    allowed = 5 * np.sqrt(total * probability * (1 - probability))
    assert abs(count - total * probability) <= allowed


@settings(derandomize=True, max_examples=100, deadline=None)
@given(SIZES, SIZES, st.integers(0, 12), st.sampled_from(["reflect", "black"]), st.data())
def test_crop_equals_pad_slice_and_mirror(height, width, pad, fill, data):
    if fill == "reflect":  # numpy goes on to and fro; a crop that far out is of no use
        pad = min(pad, height - 1, width - 1)
    number = 5
    images = pictures(number, height, width)
    before = images.clone()
    index = torch.tensor(data.draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=6)))
    views = draw_views(len(index), pad=pad, generator=gen(data.draw(st.integers(0, 999))))
    if data.draw(st.booleans()):  # the corners themselves
        views = replace(views, offset=views.offset.sign() * pad)

    ours = crop(images, index, views, fill=fill)

    assert torch.equal(images, before)
    assert ours.dtype == torch.uint8
    assert ours.shape == (len(index), height, width, 3)
    for one, row, (down, right), flip in zip(
        ours.numpy(), index.tolist(), views.offset.tolist(), views.flip.tolist(), strict=True
    ):
        image = images[row].numpy()
        border = ((pad, pad), (pad, pad), (0, 0))
        if fill == "reflect":
            padded = np.pad(image, border, mode="reflect")
        else:
            padded = np.pad(image, border)
        top, left = pad + down, pad + right
        expected = padded[top : top + height, left : left + width]
        np.testing.assert_array_equal(one, expected[:, ::-1] if flip else expected)


def test_crop_reflects_by_default_and_gives_a_copy():
    images = pictures(2, 4, 6)
    index = torch.tensor([1])
    still = Views(torch.tensor([[0, 0]]), torch.tensor([False]), torch.zeros(1, 2))
    shifted = Views(torch.tensor([[2, -1]]), torch.tensor([False]), torch.zeros(1, 2))
    assert torch.equal(crop(images, index, shifted), crop(images, index, shifted, fill="reflect"))
    view = crop(images, index, still)
    assert torch.equal(view, images[1:])
    view.zero_()
    assert (images > 0).all()


def test_views_are_picked_by_index():
    views = draw_views(9, pad=3, generator=gen(0))
    index = torch.tensor([4, 0, 4])
    some = views[index]
    assert torch.equal(some.offset, views.offset[index])
    assert torch.equal(some.flip, views.flip[index])
    assert torch.equal(some.centre, views.centre[index])


@pytest.mark.parametrize("pad", [0, 1, 4])
def test_draws_are_uniform_and_independent(pad):
    number = 20_000
    views = draw_views(number, pad=pad, generator=gen(1))
    offset, flip = views.offset, views.flip
    assert offset.dtype == torch.int64
    assert offset.shape == (number, 2)
    assert flip.dtype == torch.bool
    assert flip.shape == (number,)
    assert_binomial(flip.sum().item(), number, 0.5)
    share = 1 / (2 * pad + 1)
    assert offset.abs().max() <= pad
    for value in range(-pad, pad + 1):
        for axis in (0, 1):
            hits = offset[:, axis] == value
            assert_binomial(hits.sum().item(), number, share)
            assert_binomial((hits & flip).sum().item(), number, share / 2)
        both = (offset == value).all(1)
        assert_binomial(both.sum().item(), number, share**2)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 15), st.integers(0, 9999))
def test_cutout_equals_a_slice_around_the_centre(height, width, size, seed):
    images = pictures(3, height, width)
    before = images.clone()
    views = draw_views(3, pad=0, generator=gen(seed))
    ours = cutout(images, views, size=size)
    assert torch.equal(images, before)
    assert ours.dtype == torch.uint8
    for one, image, (down, right) in zip(ours, images, views.centre.tolist(), strict=True):
        expected = image.clone()
        top, left = int(down * height) - size // 2, int(right * width) - size // 2
        expected[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
        assert torch.equal(one, expected)


def test_cutout_is_centred_anywhere():
    """Size 1 is the centre alone: every pixel is as likely, the corners too."""
    number = 20_000
    images = torch.ones(1, 1, 1, 1, dtype=torch.uint8).expand(number, 4, 5, 3)
    views = draw_views(number, pad=2, generator=gen(2))
    holes = cutout(images, views, size=1)[..., 0] == 0
    assert (holes.sum((1, 2)) == 1).all()
    for hits in holes.sum(0).flatten().tolist():
        assert_binomial(hits, number, 1 / 20)
    # Of a side of 16 in 32 pixels about 0.77² is left of the area after clipping.
    views = draw_views(2000, pad=2, generator=gen(3))
    area = cutout(torch.ones(2000, 32, 32, 3, dtype=torch.uint8), views, size=16) == 0
    expected = np.mean([min(k + 8, 32) - max(k - 8, 0) for k in range(32)]) ** 2
    assert area[..., 0].sum((1, 2)).double().mean().item() == pytest.approx(expected, rel=0.05)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.integers(1, 4), SIZES, SIZES, st.integers(0, 9999))
def test_normalise_equals_float64(batch, height, width, seed):
    images = torch.randint(256, (batch, height, width, 3), generator=gen(seed), dtype=torch.uint8)
    before = images.clone()
    mean, std = torch.rand(2, 3, generator=gen(seed + 1))
    std = std + 0.05
    ours = normalise(images, mean, std, dtype=torch.float32)
    expected = (images.numpy() / 255.0 - mean.double().numpy()) / std.double().numpy()
    assert ours.dtype == torch.float32
    assert ours.shape == (batch, 3, height, width)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(images, before)


def test_normalise_rounds_once_to_half_precision():
    images = pictures(2, 5, 7)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.2, 0.3])
    half = normalise(images, mean, std, dtype=torch.bfloat16)
    assert half.is_contiguous(memory_format=torch.channels_last)
    full = normalise(images, mean, std, dtype=torch.float32)
    assert torch.equal(half, full.to(torch.bfloat16))


def test_the_generator_alone_decides():
    state = torch.get_rng_state()
    numpy_state = copy.deepcopy(np.random.get_state()[1])  # noqa: NPY002
    images = pictures(50, 9, 9)
    first, again, other = (draw_views(50, pad=3, generator=gen(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.offset, again.offset)
    assert torch.equal(first.flip, again.flip)
    assert not torch.equal(first.offset, other.offset)
    assert not torch.equal(first.flip, other.flip)
    seeds = (5, 5, 6)
    views = [draw_views(len(images), pad=3, generator=gen(seed)) for seed in seeds]
    holes = [cutout(images, drawn, size=4) for drawn in views]
    assert torch.equal(holes[0], holes[1])
    assert not torch.equal(holes[0], holes[2])
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(12, 50), st.integers(12, 50), st.floats(0.05, 0.999))
def test_shrink_is_pillows_antialiased_resize(height, width, scale):
    images = pictures(2, height, width)

    ours = shrink(images, scale=scale)

    for side, new in zip((height, width), ours.shape[1:3], strict=True):
        assert new % 4 == 0
        assert new == 12 or side * scale - 4 < new <= side * scale
    size = (ours.shape[2], ours.shape[1])
    for small, image in zip(ours.numpy(), images.numpy(), strict=True):
        theirs = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        # Both round between two passes, PyTorch with fewer bits.
        assert np.abs(small.astype(int) - theirs).max() <= 1


def test_shrink_leaves_small_and_full_images_alone():
    assert torch.equal(shrink(pictures(2, 11, 9), scale=0.5), pictures(2, 11, 9))
    assert torch.equal(shrink(pictures(2, 31, 33), scale=1.0), pictures(2, 31, 33))
