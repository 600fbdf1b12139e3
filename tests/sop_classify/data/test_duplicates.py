"""Images that are there twice."""

import io
import itertools
import time

import numpy as np
from PIL import Image
from skimage import data as skimage_data

from sop_classify.data.duplicates import DuplicateSet, difference_hash, find_duplicates


def photographs(number=60, side=32):
    """Different parts of real photographs."""
    rng = np.random.default_rng(0)
    pictures = [skimage_data.astronaut(), skimage_data.chelsea(), skimage_data.coffee()]
    parts = []
    for at in range(number):
        picture = pictures[at % 3]
        y, x = (int(rng.integers(0, size - 100)) for size in picture.shape[:2])
        part = Image.fromarray(picture[y : y + 96, x : x + 96]).resize((side, side))
        parts.append(np.asarray(part))
    return np.stack(parts)


def jpeg(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90)
    return np.asarray(Image.open(stream))


def test_exact_and_near_duplicates_are_found_and_no_others():
    images = photographs()
    assert find_duplicates(images) == []
    doubled = np.concatenate([images, images[[3]], jpeg(images[7])[None]])
    assert find_duplicates(doubled) == [
        DuplicateSet((3, 60), exact=True),
        DuplicateSet((7, 61), exact=False),
    ]


def test_one_set_holds_all_copies():
    images = photographs(10)
    copies = np.concatenate([images, images[[2, 2]], jpeg(images[2])[None]])
    assert find_duplicates(copies) == [DuplicateSet((2, 10, 11, 12), exact=False)]


def test_similar_drawings_are_no_duplicates():
    # One stroke at another place: hashes of the small strokes differ little, or not at all.
    images = np.zeros((20, 16, 16, 3), np.uint8)
    for at in range(20):
        images[at, :, 4 + at % 8] = 255
        images[at, at % 16, 2:14] = 255
    assert find_duplicates(images[:16]) == []


def test_the_hash_by_hand():
    rising = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    images = np.stack([rising, rising[:, ::-1]])[..., None].repeat(3, axis=3)
    assert difference_hash(images).tolist() == [2**64 - 1, 0]


def test_sets_are_those_of_all_pairs():
    """Flat pictures have equal hashes: which of them are alike is decided by their pixels."""
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 60, (60, 1, 1, 3)).repeat(16, axis=1).repeat(16, axis=2)
    images = flat.astype(np.uint8)
    group = list(range(60))
    for i, j in itertools.combinations(range(60), 2):
        alike = np.abs(images[i].astype(int) - images[j]).mean() <= 8
        if alike and group[i] != group[j]:
            old, new = group[j], group[i]
            group = [new if each == old else each for each in group]
    sets = [tuple(i for i in range(60) if group[i] == each) for each in dict.fromkeys(group)]
    expected = [DuplicateSet(each, exact=False) for each in sets if len(each) > 1]
    assert 1 < len(expected) < 20
    assert find_duplicates(images) == expected


def blocks(bits):
    """Images of 72x64 pixels whose hashes have these bits, shape (n, 8, 8)."""
    steps = np.where(bits, 6, -6).cumsum(axis=2)
    levels = np.concatenate([np.zeros((len(bits), 8, 1), int), steps], axis=2) + 120
    return levels.repeat(8, axis=1).repeat(8, axis=2)[..., None].repeat(3, axis=3).astype(np.uint8)


def test_hashes_may_differ_in_three_bits_wherever_they_are():
    rng = np.random.default_rng(0)
    scene = rng.random((8, 8)) < 0.5
    scene[:, -1] = True
    for number, alike in ((1, True), (3, True), (4, False)):
        for _ in range(10):
            other = scene.copy()
            rows = rng.permutation(8)[:number]
            other[rows, -1] = False  # the last step of some rows: pixels hardly differ
            images = blocks(np.stack([scene, other]))
            one, two = difference_hash(images)
            assert bin(int(one) ^ int(two)).count("1") == number
            assert find_duplicates(images) == [DuplicateSet((0, 1), exact=False)] * alike


def test_of_more_than_a_thousand_images_the_last_count_too():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1500, 8, 9, 3), np.uint8)
    images[1490] = images[1480] ^ 1
    images[1400] = images[3] ^ 1
    images[1450] = images[1300]
    assert find_duplicates(images) == [
        DuplicateSet((3, 1400), exact=False),
        DuplicateSet((1300, 1450), exact=True),
        DuplicateSet((1480, 1490), exact=False),
    ]


def test_many_pictures_of_one_scene_or_of_nothing_take_no_time_for_each_pair():
    """Measured: .1 s of CPU time each; 5 s where all pairs are compared."""
    rng = np.random.default_rng(0)
    scene = rng.integers(3, 252, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)
    frames = (scene + rng.integers(-2, 3, (600, 32, 32, 3))).astype(np.uint8)
    flat = rng.integers(0, 256, (600, 1, 1, 3), np.uint8).repeat(32, axis=1).repeat(32, axis=2)
    begin = time.process_time()
    assert [len(each.index) for each in find_duplicates(frames)] == [600]
    assert len(find_duplicates(flat)) > 10
    assert time.process_time() - begin < 3
