"""Promise: finished tiles of a run that was killed are not fitted again, and nothing changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import robustdip
from robustdip import RECIPES, denoise, write_image
from robustdip.cli.outputs import Outputs
from robustdip.images import Picture
from robustdip.inputs import check_image
from robustdip.tiling.kept import digest
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


def test_a_result_is_known_by_all_that_decides_it(monkeypatch):
    image, recipe, device = picture(), DEFAULT, torch.device("cpu")
    one, other = np.zeros((2, 64, 140), bool)
    one[:5], other[:9] = True, True
    cases = [
        *({name: each} for name in ("mask", "add_mask", "protect") for each in (one, other)),
        {"add_mask": one, "protect": other},
        {},
    ]
    odds = np.zeros((64, 140, 2), np.float32)
    looks = [{}, {"found": one}, {"found": other}, {"shape_odds": odds}, {"shape_odds": odds + 1}]

    def digests():
        made = [
            digest(check_image(image, **known), recipe, seed=0, device=device, seen=seen)
            for known in cases
            for seen in looks
        ]
        part = check_image(image)
        for changed, seed, place in (
            (recipe, 1, device),
            (replace(recipe, lr=0.01), 0, device),
            (recipe, 0, torch.device("meta")),
        ):
            made.append(digest(part, changed, seed=seed, device=place, seen={}))
        made.append(digest(check_image(image[:, ::-1]), recipe, seed=0, device=device, seen={}))
        # The same numbers in another shape.
        turned = check_image(image.reshape(140, 64, 3))
        return [*made, digest(turned, recipe, seed=0, device=device, seen={})]

    before = digests()
    assert len(set(before)) == len(before) == 45
    assert digests() == before
    monkeypatch.setattr(robustdip, "__version__", "0")
    assert not set(digests()) & set(before)


def test_what_only_the_whole_picture_shows_counts_too(tmp_path):
    """A lost line has one value from end to end."""
    short, whole = picture(), picture()
    short[10, :64] = whole[10] = 0
    counted(short, tmp_path / "kept")
    made, steps = counted(whole, tmp_path / "kept")
    assert steps[:2] == [1, 2]  # the first tile looks the same
    assert made.mask[10].all()


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


@pytest.mark.parametrize(("status", "left"), [("interrupted", True), ("completed", False)])
def test_an_interrupted_run_can_go_on_after_its_result_was_written(tmp_path, status, left):
    outputs = Outputs(tmp_path / "out.png")
    outputs.kept.mkdir()
    (outputs.kept / "tile.safetensors").touch()
    image = np.rint(255 * picture()).astype(np.uint8)
    result = replace(denoise(image, method="median"), status=status)
    written, failures = outputs.write([Picture(image)], [result], method="median", force=False)
    assert (written, failures) == (outputs.result, [])
    assert outputs.kept.exists() == left
