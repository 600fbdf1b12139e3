"""SIGKILL at every call that writes: nothing precious is lost, and the same command works again."""

import os
import time

import numpy as np
import pytest

from robustdip import read_image
from tests.hostile.tally import held

DENOISE = ("denoise", "in.png", "--method", "median", "--save-mask", "mask.png",
           "--save-corruption", "s.npy", "--compare", "strip.png", "-o", "out.png")  # fmt: skip
CORRUPT = ("corrupt", "in.png", "-o", "out.png")
OUTPUTS = {"denoise": ["mask.png", "out.png", "s.npy", "strip.png"], "corrupt": ["out.png"]}
CALLS = ("link", "replace", "fsync", "unlink", "open", "chmod", "fstat", "urandom")
PRECIOUS = b"precious"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def aged(folder):
    """As if the kill had been some time ago."""
    for part in folder.glob(".*.part"):
        os.utime(part, (time.time() - 60,) * 2)


def kill_everywhere(warm, folder, command, call, *, force, most):
    """Kill at the n-th call for n = 1, 2, ... until a run is not reached; how often it was."""
    outputs = OUTPUTS[command[0]]
    typed = (*command, "--force") if force else command
    for number in range(1, most + 1):
        if force:
            for name in outputs:
                (folder / name).write_bytes(PRECIOUS)
        ended = warm.run(*typed, cwd=folder, kill=(call, number))
        if ended.status == 0:
            break
        assert ended.status == -9, ended
        whole = []
        for name in outputs:
            path = folder / name
            if not path.exists():
                assert not force, name  # there was a file, and there is one
                continue
            data = path.read_bytes()
            if data == PRECIOUS:
                assert force
            else:
                whole.append(name)
                assert len(data) > len(PRECIOUS), name  # written whole or not at all
                if path.suffix == ".png":
                    read_image(path)
        visible = [name for name in names(folder) if not name.startswith(".")]
        assert visible == sorted({"in.png", *whole, *(outputs if force else [])})
        aged(folder)
        # What was finished is told apart from what was not: it is refused, or replaced by force.
        again = warm.run(*typed, cwd=folder)
        if whole and not force:
            assert again.status == 1
            assert "it exists already" in again.stderr
            again = warm.run(*command, "--force", cwd=folder)
        assert again.status == 0, again
        assert names(folder) == sorted(["in.png", *outputs])  # no stale part
        for name in outputs:
            (folder / name).unlink()
        held("kills")
    for name in outputs:
        (folder / name).unlink(missing_ok=True)
    return number - 1


@pytest.mark.parametrize("force", [False, True])
def test_a_kill_at_a_rename(warm, folder, force):
    call = "replace" if force else "link"
    assert kill_everywhere(warm, folder, CORRUPT, call, force=force, most=3) == 1


@pytest.mark.slow
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("command", [DENOISE, CORRUPT], ids=["denoise", "corrupt"])
@pytest.mark.parametrize("call", CALLS)
def test_a_kill_at_any_write(warm, folder, command, call, force):
    writes = len(OUTPUTS[command[0]])
    reached = kill_everywhere(warm, folder, command, call, force=force, most=40)
    assert reached < 40
    # One of each for each output; a folder's file is replaced only by force.
    if call == "fsync" or call == ("replace" if force else "link"):
        assert reached == writes


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace", "fsync", "mkdir", "unlink"])
def test_a_training_killed_at_any_write_goes_on(warm, tmp_path, npz, call):
    """Resumed, or started anew, with the same command as a killed grid would."""
    command = ("compare-methods", "--data", npz, "--methods", "ce", "--noise", "0.2",
               "--device", "cpu", "--epochs", "1", "--set", "batch_size=16",
               "--limit", "32")  # fmt: skip
    # The first three writes and about every third of the others: each takes two trainings.
    gaps = np.random.default_rng(list(call.encode())).integers(2, 5, size=20)
    numbers = [1, 2, 3, *(3 + np.cumsum(gaps)).tolist()]
    reached = 0
    for number in numbers:
        grid = tmp_path / str(number)
        ended = warm.run(*command, "--out", grid, cwd=tmp_path, kill=(call, number))
        if ended.status == 0:
            break
        assert ended.status == -9, ended
        reached += 1
        if grid.exists():
            for folder in (grid, *grid.iterdir()):
                aged(folder) if folder.is_dir() else None
        again = warm.run(*command, "--out", grid, cwd=tmp_path)
        assert again.status == 0, (number, again)
        assert (grid / "comparison.csv").exists()
        assert not list(grid.rglob(".*.part")), number
        held("kills")
    assert 0 < reached < len(numbers)
