"""Defects that stay in place are found over frames of different scenes, and nothing else is."""

import importlib

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from skimage import data

from robustdip import shared_defects
from robustdip.images import from_float, to_float
from robustdip.synthetic import damage, hot_pixels

SIDE = 128


def scenes(count, *, seed=0, side=SIDE):
    """Crops of photographs, mirrored or not."""
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(length - side + 1) for length in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        yield to_float(crop[:, ::-1] if rng.random() < 0.5 else crop)


def damaged(count, kind, amount, then, *, seed=0):
    made = [damage(x, kind, amount=amount, then=then, seed=seed) for x in scenes(count, seed=seed)]
    change = np.mean([np.abs(one.difference).max(axis=2) for one in made], axis=0)
    return [from_float(one.image, np.uint8) for one in made], change


def test_hot_pixels_of_ten_frames():
    # Over 8 seeds 251 of 251 are found, and 0.15 of 10,000 places are false. More in
    # benchmarks/images/shared_defects.py.
    hit = total = false = 0
    for seed in range(4):
        frames, _ = damaged(10, "hot-pixels", 2e-3, ["demosaic", "jpeg:92"], seed=seed)
        black = np.zeros((SIDE, SIDE, 3))
        hot = hot_pixels(black, 2e-3, rng=np.random.default_rng(seed))[1].any(axis=2)
        found = shared_defects(frames) > 0.5
        hit, total = hit + int((found & hot).sum()), total + int(hot.sum())
        false += int((found & ~binary_dilation(hot, np.ones((5, 5), bool))).sum())
    assert total > 100
    assert hit >= 0.99 * total
    assert false <= 1e-4 * 4 * SIDE**2


@pytest.mark.parametrize("max_size", [3, 40])
def test_sound_frames_have_no_defects(max_size):
    assert (shared_defects(list(scenes(8)), max_size=max_size) < 0.5).all()


def test_what_is_in_one_frame_only_is_no_defect():
    frames = list(scenes(8))
    for number, frame in enumerate(frames):
        frame[10 + 9 * number, 20:23] = 1.0
    assert (shared_defects(frames) < 0.5).all()


def test_dust_needs_its_size():
    frames, change = damaged(10, "dust", 0.03, ["jpeg:92"], seed=1)
    strong, none = change > 32 / 255, change < 2 / 255
    small, large = (shared_defects(frames, max_size=size) > 0.5 for size in (3, 40))
    assert small[strong].mean() < 0.3
    assert large[strong].mean() > 0.8
    assert large[none].mean() < 0.03  # the squares of the map are larger than the dust


def test_grey_deep_and_float_frames_agree():
    frames, _ = damaged(6, "hot-pixels", 2e-3, [])
    grey = [frame[..., 1] for frame in frames]
    plain = shared_defects(grey)
    assert plain.shape == (SIDE, SIDE)
    assert plain.dtype == np.float32
    assert 0 < (plain > 0.5).mean() < 0.01
    for other in (
        [frame[..., None] for frame in grey],
        [frame.astype(np.uint16) * 257 for frame in grey],
        [frame / 255 for frame in grey],
    ):
        np.testing.assert_allclose(shared_defects(other), plain, atol=1e-3)


def test_strips_leave_no_seam(monkeypatch):
    frames, _ = damaged(5, "hot-pixels", 5e-3, ["demosaic"])
    whole = shared_defects(frames)
    module = importlib.import_module("robustdip.defects")
    monkeypatch.setattr(module, "_STRIP", 7 * SIDE * 5)
    np.testing.assert_allclose(shared_defects(frames), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 3, 3), (17, 31)])
def test_tiny_frames(shape):
    frames = [np.random.default_rng(seed).random(shape) for seed in range(4)]
    for max_size in (3, 20):
        found = shared_defects(frames, max_size=max_size)
        assert found.shape == shape[:2]
        assert np.isfinite(found).all()


def test_dark_frames_show_hot_pixels():
    frames = [np.random.default_rng(seed).normal(0.02, 0.004, (40, 40)) for seed in range(5)]
    frames = [frame.clip(0, 1) for frame in frames]
    for frame in frames:
        frame[7, 9] = frame[30, 31] = 0.5
    assert np.argwhere(shared_defects(frames) > 0.5).tolist() == [[7, 9], [30, 31]]


def test_one_scene_is_refused():
    (scene,) = scenes(1)
    frames = [(scene + np.random.default_rng(k).normal(0, 0.01, scene.shape)) for k in range(6)]
    with pytest.raises(ValueError, match=r"the frames show one scene, .* different scenes"):
        shared_defects([frame.clip(0, 1) for frame in frames])


@pytest.mark.parametrize(
    ("frames", "options", "kind", "message"),
    [
        ([], {}, ValueError, "there are 0 frames; at least 3 are needed"),
        ([np.zeros((2, 2))], {}, ValueError, "there is 1 frame; at least 3 are needed"),
        (2 * [np.zeros((4, 4))], {}, ValueError, "there are 2 frames"),
        (
            [*2 * [np.zeros((4, 4))], np.zeros((4, 5))],
            {},
            ValueError,
            r"frame 3 has shape \(4, 5\), the first \(4, 4\)",
        ),
        ([*2 * [np.zeros((4, 4))], np.full((4, 4), 2.0)], {}, ValueError, "frame 3: image ranges"),
        (3 * [np.zeros((4, 4), int)], {}, TypeError, "frame 1: image is int64"),
        (3 * [np.zeros((4, 4))], {"max_size": 0}, ValueError, "max_size is 0"),
        (3 * [np.zeros((4, 4))], {"max_size": "big"}, TypeError, "max_size is 'big'"),
    ],
)
def test_bad_frames_are_named(frames, options, kind, message):
    with pytest.raises(kind, match=message):
        shared_defects(frames, **options)
