"""Promise: finished tiles of a run that was killed are not fitted again, and nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from robustdip import RECIPES, denoise, write_image
from tests.helpers.command_line import done
from tests.helpers.images import small

DEFAULT = replace(small("default"), steps=2)


class Killed(Exception):
    pass


def picture():
    rng = np.random.default_rng(0)
    return rng.random((64, 140, 3), dtype=np.float32)


def killed_after(count):
    def on_step(step):
        if step.done > count:
            raise Killed

    return on_step


def counted(image, folder, **changes):
    """The result, and the numbers of the steps that were made for it."""
    steps = []
    arguments = {"method": DEFAULT, "tile": 64, "seed": 1, "every_tile": True} | changes
    made = denoise(image, keep=folder, on_step=lambda step: steps.append(step.done), **arguments)
    return made, steps


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("image", "corruption", "mask", "uncertainty")
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_killed_run_goes_on_with_the_same_result(tmp_path, count):
    image, folder = picture(), tmp_path / "kept"
    whole, steps = counted(image, None)
    assert steps == list(range(1, whole.tiles * 2 + 1))
    with pytest.raises(Killed):
        denoise(
            image, method=DEFAULT, tile=64, seed=1, every_tile=True, keep=folder,
            on_step=killed_after(count),
        )  # fmt: skip
    again, steps = counted(image, folder)
    assert steps[:1] == [count - count % 2 + 1]  # a tile that was not finished begins anew
    assert same(again, whole)
    assert (again.history, again.steps, again.fitted) == (whole.history, whole.steps, whole.tiles)
    assert again.disagreement == whole.disagreement


@pytest.mark.parametrize("change", [{"seed": 2}, {"method": replace(DEFAULT, lr=0.01)}])
def test_other_settings_begin_anew(tmp_path, change):
    image = picture()
    counted(image, tmp_path / "kept")
    _, steps = counted(image, tmp_path / "kept", **change)
    assert steps[0] == 1
    _, steps = counted(image, tmp_path / "kept")
    assert steps == []


def test_another_picture_and_a_broken_file_are_fitted(tmp_path):
    image, folder = picture(), tmp_path / "kept"
    whole, _ = counted(image, folder)
    other = image.copy()
    other[0, 0] = 0.5  # in the first tile only
    _, steps = counted(other, folder)
    assert steps == [1, 2]
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    again, steps = counted(image, folder)
    assert len(steps) == 2 * whole.tiles
    assert same(again, whole)


def test_where_nothing_can_be_kept_nothing_is(tmp_path):
    (tmp_path / "file").write_text("no folder")
    image = picture()
    whole, steps = counted(image, tmp_path / "file")
    assert len(steps) == 2 * whole.tiles
    counted(image, tmp_path / "missing" / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_keeps_tiles_until_the_result_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "default", DEFAULT)
    source, result = tmp_path / "in.png", tmp_path / "out.png"
    write_image(source, np.rint(255 * picture()).astype(np.uint8))
    arguments = ("denoise", source, "-o", result, "--tile", "64", "--every-tile")
    kept = tmp_path / ".out.png.tiles"
    kept.mkdir()
    (kept / "mine.txt").write_text("not of the program")
    (kept / ".0123456789abcdef.part").touch()  # left by a process that was killed
    done(*arguments)
    assert result.exists()
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]
    (kept / "mine.txt").unlink()
    done(*arguments, "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]
