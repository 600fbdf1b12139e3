"""Where labelled images come from: every source gives the same arrays, every bad one one line."""

import dataclasses
import functools
import hashlib
import http.server
import io
import math
import os
import pickle
import random
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision import datasets

from overparam.files import FileError
from sop_classify.data import npz
from sop_classify.data.image_data import ImageData, Indexed, subset
from sop_classify.data.loading import load_data

ROOT = Path(__file__).parents[3]


def rng(seed=0):
    return np.random.default_rng(seed)


def pixels(*shape, seed=0):
    return rng(seed).integers(0, 256, shape, np.uint8)


def arrays(train=12, test=6, side=5, classes=3):
    """What an .npz holds: labels 0, 1, 2, 0, ... and images that all differ."""
    images = pixels(train + test, side, side, 3)
    labels = np.arange(train + test) % classes
    return {
        "train_images": images[:train],
        "train_labels": labels[:train],
        "test_images": images[train:],
        "test_labels": labels[train:],
    }


def image_data(labels, **changes):
    labels = np.asarray(labels, np.int64)
    images = pixels(len(labels), 2, 3, 3)
    names = tuple(f"c{k}" for k in range(labels.max() + 1))
    fields = {"label_sets": {"other": labels[::-1] * 1}, "name": "made"} | changes
    return ImageData(images, labels, images[:1] ^ 255, labels[:1], names, **fields)


def saved(path, save=np.savez, **changes):
    """An .npz of `arrays` with some changed, or left out where they are None."""
    held = arrays() | changes
    save(path, **{key: value for key, value in held.items() if value is not None})
    return path


def refused(source, match, kind=FileError, **options):
    """The one line with which it is refused."""
    with pytest.raises(kind, match=match) as caught:
        load_data(path=source, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"cannot read '{source}': ") or kind is not FileError
    return line


# --- .npz ----------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.integers(2, 5), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99)
)
def test_npz_gives_back_what_was_saved(tmp_path_factory, classes, test, height, width, seed):
    path = tmp_path_factory.mktemp("npz") / "mine.v2.npz"
    train = classes + seed % 7
    labels = rng(seed).permutation(np.arange(train) % classes)
    images = pixels(train, height, width, 3, seed=seed)
    # Bright against dark: no test image is a training image.
    held = pixels(test, height, width, 3, seed=seed + 1) // 2 + 128
    images //= 2
    np.savez(
        path,
        train_images=images,
        train_labels=labels,
        test_images=held,
        test_labels=labels[:1].repeat(test),
    )
    data = load_data(path=path)
    for got, given_ in (
        (data.train_images, images),
        (data.train_labels, labels),
        (data.test_images, held),
        (data.test_labels, labels[:1].repeat(test)),
    ):
        np.testing.assert_array_equal(got, given_)
        assert got.flags.c_contiguous
    assert data.train_images.dtype == data.test_images.dtype == np.uint8
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert data.class_names == tuple(str(k) for k in range(classes))
    assert (data.name, dict(data.label_sets)) == ("mine.v2", {})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i4", ">i4", "u8", "<f2", "f4", ">f8"])
def test_labels_of_any_number_type(tmp_path, dtype, save):
    held = arrays()
    path = saved(
        tmp_path / "a.npz",
        save,
        train_labels=held["train_labels"].astype(dtype),
        test_labels=held["test_labels"].astype(dtype),
    )
    data = load_data(path=path)
    np.testing.assert_array_equal(data.train_labels, held["train_labels"])
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64


def test_class_names_and_label_sets(tmp_path):
    other = rng().permutation(arrays()["train_labels"])
    path = saved(
        tmp_path / "a.npz",
        class_names=np.array(["ant", "bée", "cat"]),
        worse=other.astype(np.uint8),
        better=other,
        too_large=other + 1,
        negative=other - 1,
        too_short=other[1:],
        weights=other / 2,
        sizes=np.stack([other, other]),
        remark=np.array("made by hand"),
    )
    data = load_data(path=path)
    assert data.class_names == ("ant", "bée", "cat")
    assert sorted(data.label_sets) == ["better", "worse"]
    for labels in data.label_sets.values():
        np.testing.assert_array_equal(labels, other)
        assert labels.dtype == np.int64


def test_names_allow_a_class_without_test_examples_and_bytes(tmp_path):
    names = np.array([b"x", b"y", b"z"])
    path = saved(tmp_path / "a.npz", class_names=names, test_labels=np.zeros(6, int))
    assert load_data(path=path).class_names == ("x", "y", "z")


def test_grey_and_fortran_order(tmp_path):
    held = arrays()
    grey = {key: held[key][..., 1] for key in ("train_images", "test_images")}
    data = load_data(path=saved(tmp_path / "grey.npz", **grey))
    for images, key in ((data.train_images, "train_images"), (data.test_images, "test_images")):
        for channel in range(3):
            np.testing.assert_array_equal(images[..., channel], grey[key])
    turned = np.asfortranarray(held["train_images"])
    data = load_data(path=saved(tmp_path / "turned.npz", train_images=turned))
    np.testing.assert_array_equal(data.train_images, held["train_images"])
    assert data.train_images.flags.c_contiguous


LABELS = arrays()["train_labels"]


def at(place, value, dtype=None):
    labels = LABELS.astype(dtype or LABELS.dtype)
    labels[place] = value
    return labels


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"test_labels": None}, r"it has no test_labels; train_images, train_labels,"),
        ({"train_images": None}, r"it has no train_images;"),
        ({"train_labels": at(3, -1)}, r"train_labels hold -1; labels are whole numbers from 0"),
        ({"train_labels": at(3, 1.5, float)}, r"train_labels hold 1\.5; labels are whole"),
        ({"train_labels": at(3, np.nan, float)}, r"train_labels hold nan; labels are whole"),
        ({"train_labels": at(3, np.inf, float)}, r"train_labels hold inf; labels are whole"),
        ({"train_labels": at(3, 2**63 + 7, np.uint64)}, r"hold 9223372036854775815; labels"),
        ({"train_labels": at(3, 4)}, r"class 3 has no training example; labels go up to 4"),
        ({"train_labels": at(3, 2**62)}, r"class 3 has no training example; labels go up to 46"),
        ({"train_labels": LABELS * 0 + 1}, r"class 0 has no training example"),
        ({"train_labels": LABELS * 0, "test_labels": LABELS[:6] * 0}, r"\('0',\); 2 or more"),
        ({"test_labels": LABELS[:6] + 1}, r"class '3' has no training example"),
        ({"train_labels": LABELS.astype(str)}, r"<U21; whole numbers .* names in class_names"),
        ({"train_labels": LABELS > 0}, r"train_labels are bool; whole numbers"),
        ({"train_labels": LABELS + 1j}, r"train_labels are complex128; whole numbers"),
        ({"train_labels": LABELS[None]}, r"train_labels have shape \(1, 12\); \(12,\) is"),
        ({"train_labels": LABELS[:, None, None]}, r"train_labels have shape \(12, 1, 1\);"),
        ({"train_labels": LABELS[:, None].repeat(2, 1)}, r"train_labels have shape \(12, 2\);"),
        ({"train_images": pixels(12, 5, 5, 2)}, r"shape \(12, 5, 5, 2\); \(N, H, W, 3\), or"),
        ({"train_labels": LABELS[:-1]}, r"train_labels have shape \(11,\); \(12,\) is needed"),
        ({"test_labels": np.int64(1)}, r"test_labels have shape \(\); \(6,\) is needed"),
        ({"test_labels": LABELS[:0]}, r"test_labels have shape \(0,\); \(6,\) is needed"),
        ({"train_images": pixels(12, 5, 5, 4)}, r"shape \(12, 5, 5, 4\); \(N, H, W, 3\), or"),
        ({"train_images": pixels(12, 3, 5, 5)}, r"shape \(12, 3, 5, 5\); \(N, H, W, 3\), or"),
        ({"train_images": pixels(12, 75)}, r"train_images have shape \(12, 75\);"),
        ({"train_images": pixels(0, 5, 5, 3)}, r"train_images have shape \(0, 5, 5, 3\);"),
        ({"test_images": pixels(6, 5, 4, 3)}, r"images are 5x5 and 5x4; one size is needed"),
        ({"test_images": np.ones((6, 5, 5, 3))}, r"test_images are float64; uint8, 0 to 255"),
        (
            {"class_names": np.array(["a", "b"])},
            r"train_labels go from 0 to 2; with 2 classes",
        ),
        ({"class_names": np.array(list("abcd"))}, r"class 'd' has no training example"),
        ({"class_names": np.array(list("aba"))}, r"\('a', 'b', 'a'\); 2 or more different"),
        ({"class_names": np.array([b"\xff", b"a", b"b"])}, r"can't decode|invalid|ordinal"),
    ],
)
def test_bad_npz_gets_one_line(tmp_path, changes, match):
    refused(saved(tmp_path / "bad.npz", **changes), match)


class Canary:
    def __reduce__(self):
        return os.mkdir, ("was-unpickled",)


@pytest.mark.parametrize("key", ["train_labels", "class_names", "extra"])
def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.npz", **{key: np.array([Canary()] * 12, object)})
    if key == "extra":
        assert load_data(path=path).label_sets == {}
    else:
        refused(path, f"{key} holds pickled objects, which are not read")
    assert not Path("was-unpickled").exists()


def test_every_truncation_and_flip_is_caught(tmp_path):
    path, bad = saved(tmp_path / "a.npz"), tmp_path / "bad.npz"
    whole, good = path.read_bytes(), arrays()
    for length in range(0, len(whole), 37):
        bad.write_bytes(whole[:length])
        refused(bad, "not an .npz file, or a damaged one")
    caught = 0
    for place in range(0, len(whole), 7):
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            data = load_data(path=bad)
        except FileError:
            caught += 1
        else:  # a time stamp, say
            for key, value in good.items():
                np.testing.assert_array_equal(getattr(data, key), value)
    assert caught > 0.7 * len(range(0, len(whole), 7))


def test_absurd_sizes_take_no_memory(tmp_path, monkeypatch):
    header = io.BytesIO()
    absurd = {"descr": "|u1", "fortran_order": False, "shape": (10**13, 32, 32, 3)}
    np.lib.format.write_array_header_1_0(header, absurd)
    path = saved(tmp_path / "a.npz", train_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", header.getvalue() + bytes(100))
    refused(path, r"train_images.npy is damaged: it declares uint8 of shape \(10000000000000, 32,")
    path = saved(tmp_path / "b.npz")
    needed = sum(values.nbytes for values in arrays().values())
    monkeypatch.setattr(npz, "memory_free", lambda: needed - 1)
    refused(path, f"its arrays need {needed} bytes of memory, and {needed - 1} are free")
    monkeypatch.setattr(npz, "memory_free", lambda: needed)
    load_data(path=path)


BOMBS = {
    "shapes that do not fit": ({"train_images": (2_700_000, 32, 32, 3)}, "train_labels have shape"),
    "more than there is": (
        {"train_images": (2_700_000, 32, 32, 3), "train_labels": (2_700_000,)},
        r"its arrays need \d+ bytes of memory, and 4000000000 are free",
    ),
    "names": ({"class_names": (8 * 10**9,)}, "bytes of memory, and 4000000000 are free"),
    "a third set of labels": (
        {"train_images": (10**9, 1, 1, 3), "train_labels": (10**9,), "other": (10**9,)},
        "bytes of memory, and 4000000000 are free",
    ),
}


def of_zeros(path, shapes):
    """An .npz whose arrays, all zeros, have eight gigabytes; made without that much memory."""
    small = {key: value for key, value in arrays().items() if key not in shapes}
    np.savez(path, **small)
    zeros = bytes(2**24)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, shape in shapes.items():
            header = io.BytesIO()
            about = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(header, about)
            left = math.prod(shape)
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                stream.write(header.getvalue())
                while left:
                    left -= stream.write(zeros[: min(left, len(zeros))])


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_costs_neither_time_nor_memory(tmp_path, monkeypatch, kind):
    shapes, message = BOMBS[kind]
    of_zeros(tmp_path / "bomb.npz", shapes)
    monkeypatch.setattr(npz, "memory_free", lambda: 4 * 10**9)
    tracemalloc.start()  # numpy's arrays included
    begin = time.perf_counter()
    refused(tmp_path / "bomb.npz", message)
    seconds = time.perf_counter() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 2e8


def test_a_header_that_is_a_bomb(tmp_path):
    path = saved(tmp_path / "a.npz")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x02\x00" + (2**28).to_bytes(4, "little") + b" " * 2**28
        archive.writestr("other.npy", header)
    tracemalloc.start()
    refused(path, "not an .npz file, or a damaged one")
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()


def test_memory_that_is_free():
    assert 10**7 < npz.memory_free() < 10**15


@pytest.mark.parametrize("number", [4, 12])  # 12: as many as the training images
def test_validation_images_of_an_npz_are_told_to_be_unused(tmp_path, number):
    path = saved(tmp_path / "a.npz", val_images=pixels(number, 5, 5, 3), val_labels=LABELS[:number])
    message = "^a: val_images and val_labels left unused; accuracies are those on the test images$"
    with pytest.warns(UserWarning, match=message) as caught:
        data = load_data(path=path)
    assert [each.filename for each in caught] == [__file__]
    assert data.label_sets == {}
    assert len(data.train_images) == 12


@pytest.mark.parametrize("grey", ["(N, H, W)", "(N, H, W, 1)"])
def test_shapes_of_keras(tmp_path, grey):
    images = {"train_images": pixels(12, 5, 5), "test_images": 255 - pixels(6, 5, 5)}
    if grey == "(N, H, W, 1)":
        images = {key: value[..., None] for key, value in images.items()}
    labels = {"train_labels": LABELS[:, None], "test_labels": LABELS[:6, None]}
    data = load_data(path=saved(tmp_path / "a.npz", **images, **labels, other=LABELS[:, None]))
    assert data.train_images.shape == (12, 5, 5, 3)
    np.testing.assert_array_equal(data.train_images[..., 2], pixels(12, 5, 5))
    np.testing.assert_array_equal(data.train_labels, LABELS)
    np.testing.assert_array_equal(data.label_sets["other"], LABELS)


def test_paths_that_are_no_file(tmp_path):
    refused(tmp_path / "none.npz", "No such file or directory")
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "it is a pipe or a device")
    (tmp_path / "text.npz").write_text("hello")
    refused(tmp_path / "text.npz", "not an .npz file, or a damaged one")
    with pytest.raises(FileError, match=r"cannot read 'a\\nb': .*No such file"):
        load_data(path="a\nb")


def test_image_size_is_a_check_for_npz(tmp_path):
    path = saved(tmp_path / "a.npz")
    assert load_data(path=path, image_size=5).train_images.shape == (12, 5, 5, 3)
    refused(path, "image_size is 32 and the images are 5x5; only", ValueError, image_size=32)
    oblong = {"train_images": pixels(12, 5, 4, 3), "test_images": pixels(6, 5, 4, 3, seed=1)}
    wide = saved(tmp_path / "b.npz", **oblong)
    refused(wide, "image_size is 5 and the images are 5x4; only", ValueError, image_size=5)
    refused(path, "image_size is 0; a whole number from 1", ValueError, image_size=0)
    refused(path, "dataset is 'mnist'; use one of cifar10, c", ValueError, dataset="mnist")
    with pytest.raises(ValueError, match=r"use one of .*, or path= for data of your own"):
        load_data("mine.npz")


# --- overlap -------------------------------------------------------------------------------


def with_overlap(tmp_path, test, shared):
    held = arrays(train=30, test=test, side=4)
    held["train_images"][20:] = held["train_images"][10:20]  # the first of equals is told
    places = rng(test).choice(test, shared, replace=False)
    held["test_images"][places] = held["train_images"][rng(1).integers(0, 30, shared)]
    return saved(tmp_path / "a.npz", **held), held


@pytest.mark.parametrize(("test", "shared"), [(1, 1), (6, 6), (499, 1), (1000, 3)])
def test_overlap_is_a_warning_that_names_the_caller(tmp_path, test, shared):
    path, held = with_overlap(tmp_path, test, shared)
    equal = (held["test_images"][:, None] == held["train_images"]).all(axis=(2, 3, 4))
    first = equal.any(axis=1).argmax()
    assert equal.any(axis=1).sum() == shared
    message = (
        f"a: {shared} of {test} test images are also training images "
        rf"\(test image {first} is training image {equal[first].argmax()}\)"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        data = load_data(path=path)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(data.test_images, held["test_images"])


# --- image folder --------------------------------------------------------------------------

SPLITS = ("train", "test")


def folder(root, sizes=((16, 16),), classes=("cat", "ant"), suffix=".png", mode="RGB"):
    """Two training images and one test image a class, all different; returns them by path."""
    made = {}
    for split, number in (("train", 2), ("test", 1)):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for place in range(number):
                width, height = sizes[len(made) % len(sizes)]
                image = Image.fromarray(pixels(height, width, 3, seed=len(made))).convert(mode)
                path = root / split / name / f"{place}{suffix}"
                image.save(path)
                made[path] = image
    return made


def test_folder_is_read_exactly_and_sorted(tmp_path):
    made = folder(tmp_path / "animals", classes=("cat", "ant", "Bee"))
    data = load_data(path=tmp_path / "animals")
    assert data.class_names == ("Bee", "ant", "cat")
    assert data.name == "animals"
    np.testing.assert_array_equal(data.train_labels, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(data.test_labels, [0, 1, 2])
    for split, images in (("train", data.train_images), ("test", data.test_images)):
        paths = sorted(path for path in made if path.parts[-3] == split)
        np.testing.assert_array_equal(images, np.stack([np.asarray(made[path]) for path in paths]))


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        (".png", "1"),
        (".png", "L"),
        (".png", "LA"),
        (".png", "P"),
        (".bmp", "RGB"),
        (".ppm", "RGB"),
        (".tif", "RGB"),
        (".tif", "CMYK"),
        (".jpg", "L"),
        (".jpg", "CMYK"),
        (".webp", "RGB"),
    ],
)
def test_every_format_becomes_rgb(tmp_path, suffix, mode):
    folder(tmp_path, suffix=suffix, mode=mode, sizes=((17, 17),))
    data = load_data(path=tmp_path)
    with Image.open(tmp_path / "train" / "ant" / f"0{suffix}") as image:
        np.testing.assert_array_equal(data.train_images[0], np.asarray(image.convert("RGB")))
    assert data.train_images.shape == (4, 17, 17, 3)


@pytest.mark.parametrize(
    ("sizes", "image_size", "side"),
    [
        (((64, 64),), None, 64),
        (((65, 65),), None, 32),
        (((48, 20),), None, 32),
        (((32, 32), (32, 33)), None, 32),
        (((9, 9),), None, 16),
        (((9, 9),), 9, 9),
        (((400, 30), (1, 1)), 5, 5),
    ],
)
def test_sizes(tmp_path, sizes, image_size, side):
    made = folder(tmp_path, sizes=sizes)
    data = load_data(path=tmp_path, image_size=image_size)
    assert data.train_images.shape[1:] == data.test_images.shape[1:] == (side, side, 3)
    original = made[tmp_path / "test" / "ant" / "0.png"]
    expected = ImageOps.fit(original, (side, side), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(data.test_images[0], np.asarray(expected))


def test_hidden_files_do_not_matter(tmp_path):
    folder(tmp_path)
    before = load_data(path=tmp_path)
    (tmp_path / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / ".cache").mkdir()
    after = load_data(path=tmp_path)
    np.testing.assert_array_equal(before.train_images, after.train_images)


def bomb(side, path):
    Image.new("1", (side, side)).save(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def gone(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere.png")


def gif(path):
    Image.new("P", (6, 6)).save(path, "GIF")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # Pillow's own
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda path: path.write_text("hello"), "not an image, or a damaged one"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (gif, "it is a file of the format GIF, which is not read; save it as PNG"),
        # Beyond twice the limit Pillow raises, below it only warns.
        (functools.partial(bomb, 20_000), r"Image size \(400000000 .*; crop or downscale it first"),
        (functools.partial(bomb, 10_000), r"Image size \(100000000 .*; crop or downscale it first"),
        (cut, r"damaged or cut short \("),
        (pipe, "it is a pipe or a device, not a file"),
        (gone, "No such file or directory"),
    ],
)
def test_a_bad_image_is_left_out_and_named(tmp_path, spoil, match):
    folder(tmp_path)
    whole = load_data(path=tmp_path)
    spoil(tmp_path / "train" / "cat" / "1.png")
    with pytest.warns(UserWarning, match=f"1 file left out, first 'train/cat/1.png': {match}"):
        data = load_data(path=tmp_path)
    np.testing.assert_array_equal(data.train_images, whole.train_images[:3])
    np.testing.assert_array_equal(data.test_images, whole.test_images)


def test_bad_folders(tmp_path):
    folder(tmp_path)
    (tmp_path / "test" / "dog").mkdir()
    (tmp_path / "test" / "cat" / "0.png").rename(tmp_path / "test" / "dog" / "0.png")
    refused(tmp_path, "class 'dog' is in test and has no training image")
    (tmp_path / "train" / "cat").rename(tmp_path / "cat")
    (tmp_path / "test" / "dog").rename(tmp_path / "dog")
    refused(tmp_path, "it has one class of training images, 'ant'; 2 or more classes are")
    (tmp_path / "cat").rename(tmp_path / "train" / "cat")
    (tmp_path / "test").rename(tmp_path / "other")
    refused(tmp_path, "neither cifar-10-batches-py nor .* nor test images; give an image folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "it has no images in class folders; give a folder")


def test_a_table(tmp_path):
    """The same reader: a table with test images instead of folders."""
    made = folder(tmp_path / "a")
    whole = load_data(path=tmp_path / "a")
    rows = [f"{path},{path.parts[-2]},{path.parts[-3]}" for path in sorted(made)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split", *rows]))
    data = load_data(path=tmp_path / "table.csv")
    np.testing.assert_array_equal(np.sort(data.train_labels), np.sort(whole.train_labels))
    for label in (0, 1):
        of_class, same = data.train_labels == label, whole.train_labels == label
        np.testing.assert_array_equal(data.train_images[of_class], whole.train_images[same])


def test_files_are_known_by_their_place(tmp_path):
    folder(tmp_path / "a", sizes=((16, 16), (16, 16)))
    data = load_data(path=tmp_path / "a")
    assert len(data.train_files) == len(data.train_images)
    for file, image in zip(data.train_files, data.train_images, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / file)), image)
    part, index = subset(data, 3, rng=rng(0))
    assert part.train_files == tuple(data.train_files[i] for i in index)


def test_a_class_whose_name_is_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    folder(tmp_path / "a", classes=(name, "ant"))
    data = load_data(path=tmp_path / "a")
    assert data.class_names == ("ant", r"caf\udce9")
    assert {file.split("/")[1] for file in data.train_files} == {"ant", r"caf\udce9"}


def test_folder_overlap_is_a_warning(tmp_path):
    folder(tmp_path)
    same = (tmp_path / "train" / "ant" / "1.png").read_bytes()
    (tmp_path / "test" / "cat" / "0.png").write_bytes(same)
    with pytest.warns(UserWarning, match=r"1 of 2 test .* \(test image 1 is training image 1\)"):
        load_data(path=tmp_path)


# --- CIFAR ---------------------------------------------------------------------------------


def batch(number, classes, key, seed):
    """A batch as CIFAR's python version has it: rows of 3072 bytes, all red first."""
    labels = (np.arange(number) % classes).tolist()
    return {"data": pixels(number, 3072, seed=seed), key: labels}


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Small files of both formats, whose md5 sums torchvision is told are the right ones."""
    expected = {}
    for dataset, classes, key in (("CIFAR10", 10, "labels"), ("CIFAR100", 100, "fine_labels")):
        reader = getattr(datasets, dataset)
        home = tmp_path / "root" / reader.base_folder
        home.mkdir(parents=True)
        names = [f"{dataset} {k}" for k in range(classes)]
        parts = {
            entry[0]: batch(classes, classes, key, place)
            for place, entry in enumerate(reader.train_list)
        }
        test = batch(7, classes, key, 9)
        test["data"][:3] = parts[reader.train_list[0][0]]["data"][:3]  # official: no complaint
        meta = {reader.meta["key"]: names}
        content = parts | {reader.test_list[0][0]: test, reader.meta["filename"]: meta}
        sums = {}
        for name, value in content.items():
            (home / name).write_bytes(pickle.dumps(value, protocol=2))
            sums[name] = hashlib.md5((home / name).read_bytes()).hexdigest()
        for attribute in ("train_list", "test_list"):
            listed = [[name, sums[name]] for name, _ in getattr(reader, attribute)]
            monkeypatch.setattr(reader, attribute, listed)
        monkeypatch.setattr(reader, "meta", reader.meta | {"md5": sums[reader.meta["filename"]]})
        rows = np.concatenate([part["data"] for part in parts.values()])
        expected[dataset.lower()] = (
            rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            [label for part in parts.values() for label in part[key]],
            test["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
            test[key],
            tuple(names),
        )
    return tmp_path / "root", expected


def assert_is_cifar(data, dataset, expected):
    for field, value in zip(dataclasses.fields(ImageData), expected, strict=False):
        np.testing.assert_array_equal(getattr(data, field.name), value)
    assert data.name == dataset
    assert data.train_images.flags.c_contiguous
    assert data.class_names == expected[4]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_cifar_folder(cifar, dataset):
    root, expected = cifar
    assert_is_cifar(load_data(dataset, path=root), dataset, expected[dataset])
    assert_is_cifar(load_data(dataset, path=root, image_size=32), dataset, expected[dataset])


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_cifar_default_root(cifar, dataset, monkeypatch):
    root, expected = cifar
    root.rename(root.parent / "robustdip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent))
    assert_is_cifar(load_data(dataset, download=False), dataset, expected[dataset])
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(root.parent))
    (root.parent / ".cache").mkdir()
    (root.parent / "robustdip").rename(root.parent / ".cache" / "robustdip")
    assert_is_cifar(load_data(dataset, download=False), dataset, expected[dataset])


@pytest.mark.parametrize("download", [True, False])
def test_a_user_without_a_home_is_told_what_to_set(monkeypatch, download):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(FileError, match=r"no home folder .*; set HOME or XDG_CACHE_HOME, or say"):
        load_data(download=download)


def test_a_cache_in_the_home_of_an_unknown_user(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    with pytest.raises(FileError, match="no home folder"):
        load_data(download=False)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_cifar_is_not_unpickled_unless_its_sum_is_right(cifar, name, monkeypatch, tmp_path):
    root, _ = cifar
    monkeypatch.chdir(tmp_path)
    (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Canary()))
    line = refused(root, "cifar-10-batches-py is missing, incomplete or corrupt; as data give")
    assert "download=True" not in line
    assert not Path("was-unpickled").exists()
    (root / "cifar-10-batches-py" / name).unlink()
    refused(root, "cifar-10-batches-py is missing, incomplete or corrupt; as data give")


def test_cifar_of_the_other_kind(cifar):
    root, _ = cifar
    (root / "cifar-100-python").rename(root / "gone")
    refused(root, "it holds cifar10; choose that dataset instead of cifar100", dataset="cifar100")


@pytest.fixture
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def served(tmp_path, no_proxy):
    """The address of a server of a new folder, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # of tarfile
def test_cifar_is_downloaded_once(cifar, served, monkeypatch, tmp_path, capsys):
    (root, expected), (address, folder) = cifar, served
    archive = folder / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "cifar-100-python", "cifar-100-python")
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "url", f"{address}/cifar.tar.gz")
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", digest)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    assert_is_cifar(load_data("cifar100"), "cifar100", expected["cifar100"])
    assert capsys.readouterr().out == ""  # standard output is for results
    archive.unlink()
    assert_is_cifar(load_data("cifar100"), "cifar100", expected["cifar100"])


def test_a_wrong_download_is_refused(served, monkeypatch, tmp_path):
    address, folder = served
    (folder / "cifar.tar.gz").write_bytes(b"<html>log in first</html>")
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    with pytest.raises(FileError, match=r"cannot download cifar10 in .*-py is missing, incomplete"):
        load_data()


def test_without_a_network_the_ways_out_are_said(no_proxy, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(FileError) as caught:
        load_data()
    line = str(caught.value)
    assert line.startswith(f"cannot download cifar10 in '{tmp_path / 'robustdip'}': cifar-10-batch")
    for said in ("refused", "folder that holds it", "image folder (train/<class>", ".npz file"):
        assert said in line
    assert "\n" not in line
    with pytest.raises(FileError, match=r"cannot find cifar100 in .*: cifar-100-python is missing"):
        load_data("cifar100", download=False)


# --- ImageData -----------------------------------------------------------------------------


def test_image_data_checks_itself():
    good = image_data([0, 1, 2, 1])
    for changes, kind, match in (
        ({"train_images": good.train_images / 1}, TypeError, "train_images are float64; uint8"),
        ({"train_images": np.ma.masked_array(good.train_images)}, TypeError, "a masked array"),
        ({"train_labels": np.ma.masked_array(good.train_labels)}, TypeError, "a masked array"),
        ({"train_labels": good.train_labels / 1}, TypeError, "train_labels are float64; integers"),
        ({"train_labels": [[1], [1, 2]]}, TypeError, "train_labels are no array"),
        ({"train_images": None}, TypeError, "train_images are a NoneType; an array of numbers"),
        ({"class_names": (1, 2, 3)}, TypeError, "a class name is a int; str is needed"),
        ({"name": None}, TypeError, "name is a NoneType; str is needed"),
        ({"train_files": ("a",)}, ValueError, "there are 1 train_files and 4 training images"),
        ({"test_images": good.test_images[..., :2]}, ValueError, r"have shape \(1, 2, 3, 2\)"),
        ({"train_labels": good.train_labels - 1}, ValueError, "train_labels go from -1 to 1; with"),
        (
            {"label_sets": {"w": good.train_labels + 1}},
            ValueError,
            "w go from 1 to 3; with 3",
        ),
        ({"label_sets": {"w": good.train_labels[1:]}}, ValueError, r"w have shape \(3,\); \(4,\)"),
        ({"class_names": ("a", "b", "c", "d")}, ValueError, "class 'd' has no training example"),
    ):
        with pytest.raises(kind, match=match):
            dataclasses.replace(good, **changes)


@pytest.mark.parametrize("dtype", ["i4", "u1", ">i8", "u8"])
def test_image_data_takes_other_arrays_for_what_they_are(dtype):
    good = image_data([0, 1, 2, 1])
    images, labels = good.train_images[:, ::-1], good.train_labels.astype(dtype)
    frozen = np.array(good.test_images)
    frozen.flags.writeable = False
    data = dataclasses.replace(
        good,
        train_images=images,
        train_labels=labels[:, None],
        test_images=frozen,
        label_sets={"w": labels[::-1]},
    )
    assert data.train_images.flags.c_contiguous
    np.testing.assert_array_equal(data.train_images, images)
    assert data.test_images is frozen  # not copied
    assert data.train_labels.dtype == data.label_sets["w"].dtype == np.int64
    np.testing.assert_array_equal(data.train_labels, [0, 1, 2, 1])
    np.testing.assert_array_equal(data.label_sets["w"], [1, 2, 1, 0])
    tensors = dataclasses.replace(good, train_images=torch.from_numpy(good.train_images))
    assert isinstance(tensors.train_images, np.ndarray)


# --- subset --------------------------------------------------------------------------------

CLASS_SIZES = st.lists(st.integers(1, 30), min_size=2, max_size=6)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(CLASS_SIZES, st.floats(0, 1), st.integers(0, 2**32))
def test_subset_is_stratified(sizes, share, seed):
    labels = rng(seed).permutation(np.arange(len(sizes)).repeat(sizes))
    data = image_data(labels)
    number = len(sizes) + round(share * (len(labels) - len(sizes)))
    part, index = subset(data, number, rng=rng(seed))
    assert index.dtype == np.int64
    assert len(index) == number
    assert (np.diff(index) > 0).all()
    np.testing.assert_array_equal(part.train_images, data.train_images[index])
    np.testing.assert_array_equal(part.train_labels, labels[index])
    np.testing.assert_array_equal(part.label_sets["other"], data.label_sets["other"][index])
    assert part.test_images is data.test_images
    assert part.test_labels is data.test_labels
    assert (part.class_names, part.name) == (data.class_names, data.name)
    # A divisor method that rounds up: no class could give one up to another's gain.
    kept = np.bincount(part.train_labels)
    assert kept.min() >= 1
    open_ = kept < sizes
    if open_.any():
        assert ((kept - 1) / sizes).max() <= (kept / sizes)[open_].min() + 1e-12


def test_subset_is_balanced_uniform_and_reproducible():
    data = image_data(np.arange(12) % 3)
    random.seed(1)
    before = random.getstate()
    counts = np.zeros(12)
    generator = rng(3)
    for _ in range(600):
        part, index = subset(data, 5, rng=generator)
        assert sorted(np.bincount(part.train_labels)) == [1, 2, 2]
        counts[index] += 1
    assert random.getstate() == before
    # Each example is kept with probability 5/12: within five standard deviations.
    assert np.abs(counts - 250).max() < 5 * np.sqrt(600 * 5 / 12 * 7 / 12)
    first, again, other = (subset(data, 6, rng=rng(seed))[1] for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    whole, index = subset(data, 12, rng=rng())
    np.testing.assert_array_equal(index, np.arange(12))
    np.testing.assert_array_equal(whole.train_images, data.train_images)


def test_subset_refuses_impossible_numbers():
    data = image_data([0, 1, 2, 2, 1, 0, 0])
    for number in (0, 2, 8):
        with pytest.raises(
            ValueError, match=f"keep {number} training .*; choose 3, one a class, to 7"
        ):
            subset(data, number, rng=rng())


# --- Indexed -------------------------------------------------------------------------------


class Listed:
    """The least that is a map-style data set, with a list for an item."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return [float(index), index % 2, "more"]


@pytest.mark.parametrize("shuffle", [False, True])
def test_indexed_in_a_loader(shuffle):
    images, labels = torch.randn(11, 3, 2, 2), torch.arange(11) % 4
    dataset = torch.utils.data.TensorDataset(images, labels)
    generator = torch.Generator().manual_seed(1)
    loader = torch.utils.data.DataLoader(
        Indexed(dataset), batch_size=4, shuffle=shuffle, generator=generator
    )
    seen = []
    for some, their_labels, index in loader:
        assert index.dtype == torch.int64
        assert torch.equal(some, images[index])
        assert torch.equal(their_labels, labels[index])
        seen += index.tolist()
    assert sorted(seen) == list(range(11))
    assert (seen == sorted(seen)) is not shuffle


def test_indexed_items():
    indexed = Indexed(Listed())
    assert len(indexed) == 5
    assert indexed[3] == (3.0, 1, "more", 3)
    assert indexed[-1] == (4.0, 0, "more", 4)
    assert indexed[torch.tensor(2)][-1] == indexed[np.int64(2)][-1] == 2
    assert type(indexed[np.int64(2)][-1]) is int
    assert [item[-1] for item in indexed] == [0, 1, 2, 3, 4]
    for index in (5, -6):
        with pytest.raises(IndexError):
            indexed[index]
    # A part of a part still counts from 0 in the part that was indexed.
    part = torch.utils.data.Subset(Listed(), [4, 2])
    assert Indexed(part)[0] == (4.0, 0, "more", 0)


def test_indexed_refuses_streams_and_dictionaries():
    with pytest.raises(TypeError, match="generator has no length or no items"):
        Indexed(item for item in Listed())
    with pytest.raises(TypeError, match=r"an example is a dict; \(image, label\) is needed"):
        Indexed([{"image": 1, "label": 2}])[0]


# --- the whole -----------------------------------------------------------------------------


def test_importing_is_light():
    script = (
        "import sys, sop_classify.data.image_data\n"
        "heavy = {'torch', 'torchvision', 'robustdip', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "[]\n"


WHOLE = os.environ.get("ROBUSTDIP_CIFAR10", "")


@pytest.mark.skipif(not WHOLE, reason="ROBUSTDIP_CIFAR10 names no .npz of CIFAR-10")
def test_the_whole_of_cifar10():
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no test image is a training image
        data = load_data(path=WHOLE)
    assert time.process_time() - start < 5
    assert data.train_images.shape == (50_000, 32, 32, 3)
    assert data.test_images.shape == (10_000, 32, 32, 3)
    assert (np.bincount(data.train_labels) == 5_000).all()
    assert (np.bincount(data.test_labels) == 1_000).all()
    assert data.class_names[:2] == ("airplane", "automobile")
    # The rates of wrong labels that CIFAR-10N states (arXiv 2110.12088, table 1), in percent.
    for key, rate in (("aggre", 9.03), ("random1", 17.23), ("random2", 18.12), ("worse", 40.21)):
        wrong = data.label_sets[f"cifar10n_{key}"] != data.train_labels
        assert abs(100 * wrong.mean() - rate) < 0.03
    part, _ = subset(data, 5_000, rng=rng())
    assert (np.bincount(part.train_labels) == 500).all()
