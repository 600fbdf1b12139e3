"""Promise: bad files among the images are skipped and listed; a folder of them is refused."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers.command_line import done, refused
from tests.helpers.labels import small_data

COMMANDS = ("train", "find-label-errors")
OPTIONS = ["--epochs", "1", "--set", "batch_size=32", "--device", "cpu", "-q"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def spoil(folder):
    """One file of each kind, and why it is skipped."""
    good = next(iter(folder.glob("*.png"))).read_bytes()
    half = len(good) // 2
    changed = bytes([good[half] ^ 255])
    (folder / "corrupt.png").write_bytes(good[:half] + changed + good[half + 1 :])
    (folder / "cut.png").write_bytes(good[:half])
    (folder / "empty.png").write_bytes(b"")
    (folder / ".hidden.png").write_bytes(good)
    (folder / "text.jpg").write_text("no image")
    Image.new("F", (16, 16)).save(folder / "mode.tiff")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    return {
        "corrupt.png": "damaged or cut short",
        "cut.png": "damaged or cut short",
        "empty.png": "it is empty",
        ".hidden.png": "it is hidden",
        "text.jpg": "not an image",
        "mode.tiff": "its pixels are F",
        "huge.png": "exceeds limit of",
        "gone.png": "No such file",
        "pipe.png": "it is a pipe",
    }


def mutated(folder, number):
    """Files with one to five changed bytes, every third cut as well."""
    rng = np.random.default_rng(0)
    good = [path.read_bytes() for path in sorted(folder.glob("[0-9]*.png"))[:4]]
    for at in range(number):
        data = bytearray(good[at % 4])
        for place in rng.integers(len(data), size=1 + at % 5):
            data[place] ^= int(rng.integers(1, 256))
        cut = len(data) if at % 3 else int(rng.integers(1, len(data)))
        (folder / f"mutated{at}.png").write_bytes(data[:cut])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """90 images of three classes, nine bad files, and 200 whose bytes were changed."""
    root = tmp_path_factory.mktemp("bad") / "data"
    data = small_data(90)
    for at, (image, label) in enumerate(zip(data.train_images, data.train_labels, strict=True)):
        path = root / data.class_names[label] / f"{at:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    reasons = {f"c1/{name}": reason for name, reason in spoil(root / "c1").items()}
    mutated(root / "c2", 200)
    return root, reasons


@pytest.mark.parametrize("command", COMMANDS)
def test_they_are_skipped_and_listed(folder, tmp_path, command, one_thread):
    root, reasons = folder
    out = tmp_path / "out"
    done(command, root, "--out", out, *OPTIONS)  # exit status 0
    with (out / "skipped.csv").open(newline="") as table:
        said = {row["path"]: row["reason"] for row in csv.DictReader(table)}
    for path, reason in reasons.items():
        assert reason in said[path], path
    assert not any("\n" in reason for reason in said.values())
    others = said.keys() - reasons.keys()
    assert all(path.startswith("c2/mutated") for path in others)
    assert len(others) > 190  # PNG has checksums
    with (out / ("split.csv" if command == "train" else "label_issues.csv")).open() as table:
        used = {row["path"] for row in csv.DictReader(table)}
    assert len(used) == 90 + 200 - len(others)
    assert not used & said.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_but_bad_files_is_one_line(tmp_path, command):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "x.png").write_bytes(b"no image")
    out = tmp_path / "out"
    line = refused(command, tmp_path / "data", "--out", out, "-q")
    assert "none of its 2 files is an image" in line
    assert not out.exists()
