"""Promise: a batch gets what torchvision's AutoAugment would give each of its images alone."""

import math
import random
from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import AutoAugment, AutoAugmentPolicy

from sop_classify.training.auto_augment import _VARIANTS, POLICY, _transformed, auto_augment

ORACLE = AutoAugment(AutoAugmentPolicy.CIFAR10)
PRIVATE = ["_policies", "_AUGMENTATION_SPACE", "_apply_image_or_video_transform", "_fill"]
MISSING = [name for name in PRIVATE if not hasattr(ORACLE, name)]
needs_oracle = pytest.mark.skipif(bool(MISSING), reason=f"this torchvision has no {MISSING}")
LEVELS = range(10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, generator=generator(seed), dtype=torch.uint8)


def natural_images(count: int, height: int, width: int) -> Tensor:
    """Smooth, of low contrast, some constant: what random bytes never are."""
    waves = torch.randn(count, 3, 4, 4, generator=generator(1)) * 30 + 120
    images = torch.nn.functional.interpolate(waves, (height, width), mode="bilinear")
    images[0] = 77
    images[1, 1] = 0
    return images.round().clamp(0, 255).to(torch.uint8)


def alone(image: Tensor, operation: str, level: int, sign: int) -> Tensor:
    """One operation by torchvision, on one image."""
    magnitudes, signed = ORACLE._AUGMENTATION_SPACE[operation]
    values = magnitudes(10, *image.shape[-2:])
    magnitude = 0.0 if values is None else float(values[level])
    if signed:
        magnitude *= sign
    result = ORACLE._apply_image_or_video_transform(
        image, operation, magnitude, ORACLE.interpolation, ORACLE._fill
    )
    assert isinstance(result, Tensor)
    return result


def outcomes(image: Tensor) -> dict[bytes, float]:
    """Every result that torchvision's policy can have for an image, with its probability."""

    @cache
    def after(pixels: bytes, operation: str, level: int | None) -> Counter[bytes]:
        start = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(image.shape)
        return Counter(
            alone(start, operation, level or 0, sign).numpy().tobytes() for sign in (1, -1)
        )

    found: dict[bytes, float] = defaultdict(float)
    for pair in ORACLE._policies:
        branches = {image.numpy().tobytes(): 1 / len(ORACLE._policies)}
        for operation, probability, level in pair:
            following: dict[bytes, float] = defaultdict(float)
            for pixels, weight in branches.items():
                following[pixels] += weight * (1 - probability)
                for result, of_two in after(pixels, operation, level).items():
                    following[result] += weight * probability * of_two / 2
            branches = {pixels: weight for pixels, weight in following.items() if weight > 0}
        for pixels, weight in branches.items():
            found[pixels] += weight
    return found


@needs_oracle
def test_the_policy_is_torchvisions():
    assert POLICY == tuple(
        tuple((operation, probability, level or 0) for operation, probability, level in pair)
        for pair in ORACLE._policies
    )


@needs_oracle
@pytest.mark.parametrize("operation", sorted({name for pair in POLICY for name, _, _ in pair}))
@pytest.mark.parametrize("size", [(32, 32), (31, 17), (5, 64), (2, 3), (1, 1)])
def test_a_group_equals_its_images_alone(operation, size):
    """All ten magnitudes and both directions, though the policy uses some of them only."""
    images = torch.cat([random_images(4, 3, *size), natural_images(4, *size)])
    signed = ORACLE._AUGMENTATION_SPACE[operation][1]
    for level in LEVELS:
        for sign in (1, -1) if signed else (1,):
            expected = torch.stack([alone(image, operation, level, sign) for image in images])
            result = _transformed(images, operation, sign * level)
            assert torch.equal(result, expected), (operation, level, sign)


@needs_oracle
@pytest.mark.parametrize("count", [1, 7, 60])
def test_an_image_gets_a_result_of_its_own(count):
    """No image receives another's pixels, whatever the sorting into groups did."""
    images = random_images(count, 3, 9, 7)
    result = auto_augment(images, generator=generator(count))
    for image, changed in zip(images, result, strict=True):
        assert outcomes(image)[changed.numpy().tobytes()] > 0


@needs_oracle
def test_results_are_as_frequent_as_torchvisions():
    """All outcomes of one image by enumeration: pairs, order, probabilities and signs at once."""
    image, count = random_images(3, 9, 7), 200_000
    expected = outcomes(image)
    assert sum(expected.values()) == pytest.approx(1)
    assert len(expected) > 90  # or different results fell together and the test is blunt
    source, batch = generator(2), image.expand(2000, -1, -1, -1)
    # Many calls: a choice that did not come from the generator would repeat in each of them.
    results = [auto_augment(batch, generator=source) for _ in range(count // len(batch))]
    seen = Counter(row.tobytes() for row in torch.cat(results).numpy())
    assert set(seen) <= set(expected)
    for pixels, p in expected.items():
        assert abs(seen[pixels] - count * p) < 5 * math.sqrt(count * p * (1 - p))


def test_each_distinct_pair_is_one_group():
    assert len(_VARIANTS) == len(set(_VARIANTS)) == 53
    assert ("Color", 0) in _VARIANTS  # no direction
    assert ("Posterize", 7) in _VARIANTS
    assert ("Posterize", -7) not in _VARIANTS


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    count=st.sampled_from([0, 1, 2, 7, 64]),
    height=st.integers(0, 33),
    width=st.integers(0, 33),
    seed=st.integers(0, 2**32),
)
def test_any_size(count, height, width, seed):
    images = random_images(count, 3, height, width, seed=seed)
    before = images.clone()
    first, second = (auto_augment(images, generator=generator(seed)) for _ in range(2))
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)
    assert torch.equal(images, before)


def test_only_the_generator_draws_and_it_moves_on():
    images = random_images(50, 3, 32, 32)
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002
    source = generator(4)
    first, second = (auto_augment(images, generator=source) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert str(np.random.get_state()) == str(numpy_state)  # noqa: NPY002


def test_result_shares_no_memory():
    images = random_images(7, 3, 8, 8)
    before = images.clone()
    auto_augment(images, generator=generator()).fill_(0)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.to(memory_format=torch.channels_last),
        lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),  # (B, H, W, 3) of a file
        lambda x: x.repeat_interleave(2, dim=0)[::2],
        lambda x: torch.nn.functional.pad(x, (4, 4, 4, 4))[..., 4:-4, 4:-4],
    ],
    ids=["channels_last", "permuted", "strided", "crop"],
)
def test_memory_layout_does_not_matter(layout):
    images = random_images(300, 3, 31, 17)
    expected = auto_augment(images, generator=generator(3))
    laid_out = layout(images)
    assert torch.equal(laid_out, images)
    assert torch.equal(auto_augment(laid_out, generator=generator(3)), expected)


def test_no_pixel_is_read_back():
    """Meta tensors have no values: any branch or size that depends on a pixel raises."""
    images = torch.empty(2000, 3, 32, 32, dtype=torch.uint8, device="meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        images[0, 0, 0, 0].item()
    result = auto_augment(images, generator=generator())
    assert result.is_meta
    assert result.shape == images.shape


def test_bad_images_are_named():
    with pytest.raises(TypeError, match=r"images are torch\.float32: give uint8"):
        auto_augment(torch.zeros(2, 3, 8, 8), generator=generator())
    for shape in [(3, 8, 8), (2, 1, 8, 8), (2, 8, 8, 3), (1, 2, 3, 8, 8)]:
        with pytest.raises(ValueError, match=r"images have shape .*expected \(B, 3, H, W\)"):
            auto_augment(torch.zeros(shape, dtype=torch.uint8), generator=generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpus_images():
    """Same draws; a fused multiply-add may move a truncation by one level, or break a tie."""
    images = natural_images(2000, 32, 32)
    expected = auto_augment(images, generator=generator(5))
    result = auto_augment(images.cuda(), generator=generator(5)).cpu()
    apart = (result.int() - expected.int()).abs() > 1
    assert apart.float().mean() < 0.01
