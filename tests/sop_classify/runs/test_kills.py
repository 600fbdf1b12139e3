"""Promise: a run killed at any of its writes goes on or is started again; one process trains it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from overparam.files import FileError, MovedError, discard_unfinished
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import NETWORKS, with_settings
from sop_classify.records.lock import LOCK
from sop_classify.runs import results
from sop_classify.runs import run as runs
from sop_classify.runs.folder import require_new
from sop_classify.runs.grid import train_grid
from sop_classify.runs.job import Job
from sop_classify.runs.run import Run
from tests.helpers.command_line import ROOT
from tests.helpers.labels import TINY_NETWORK, noisy, small_data

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = small_data(number=48, tests=12)


def job(method="ce"):
    recipe = with_settings(recipe_for("cpu", method), ["epochs=2", "batch_size=32"])
    given = noisy(DATA.train_labels, 10)
    return Job(DATA, given, recipe, DATA.train_labels, device="cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(NETWORKS, "fast", TINY_NETWORK)
    monkeypatch.setattr(results, "draw_curves", lambda path, history: "not drawn")


def status(out):
    return json.loads((out / "run.json").read_text())["status"]


def go(out, *, resume):
    run = Run(job(), out)
    if resume:
        run.resume()
    else:
        run.start()
    return list(run.epochs())


def whole(out):
    go(out, resume=False)
    return load_file(out / "checkpoint.safetensors")


# --- killed --------------------------------------------------------------------------------


def killed_at(call, moment, train):
    """Whether a child that trains is killed at this call of os.replace or os.link."""
    child = os.fork()
    if child == 0:
        left = call
        for name in ("replace", "link"):
            original = getattr(os, name)

            def counted(*arguments, original=original):
                nonlocal left
                left -= 1
                if left == 0 and moment == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                original(*arguments)
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            setattr(os, name, counted)
        try:
            train()
        finally:
            os._exit(0)
    _, code = os.waitpid(child, 0)
    return os.WIFSIGNALED(code)


def program(what, root):
    """Kill a training at each of its writes, and see that it can be completed."""
    NETWORKS["fast"] = TINY_NETWORK
    results.draw_curves = lambda path, history: "not drawn"
    expected = whole(root / "whole")
    number = 0
    for moment in ("before", "after"):
        call = 1
        while True:
            out = root / f"{moment}-{call}"
            train = grid if what == "grid" else alone
            if not killed_at(call, moment, lambda out=out, train=train: train(out)):
                break
            folder = out / "run" if what == "grid" else out
            left = status(folder) if (folder / "run.json").exists() else None
            if what == "grid":
                grid(out)
            elif left is None:
                with pytest.raises(FileError, match=r"it holds no run\.json; start a run there"):
                    go(folder, resume=True)
                go(folder, resume=False)
            elif left == "starting" and what == "afresh":
                go(folder, resume=False)
            else:
                go(folder, resume=True)
            assert status(folder) == "completed"
            found = load_file(folder / "checkpoint.safetensors")
            assert found.keys() == expected.keys()
            assert all(bool((found[name] == expected[name]).all()) for name in expected)
            if left != "completed":  # else there was nothing to lock
                assert not (folder / LOCK).exists()
            call += 1
        number += call - 1
    # 4 files at the start, one of them twice; 2 for each of 2 epochs; 3 tables; the page and the
    # model; run.json twice; 3 of a grid, and its page.
    assert number == 2 * (16 if what != "grid" else 20), number


def alone(out):
    go(out, resume=False)


def grid(out):
    list(train_grid([("run", job())], out))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["resumed", "afresh", "grid"])
def test_a_run_killed_at_any_write_can_be_completed(tmp_path, what):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, __file__, what, str(tmp_path)], check=True, env=environment)


@pytest.mark.parametrize("resume", [True, False])
def test_a_start_killed_after_its_first_write(tmp_path, resume):
    out = tmp_path / "run"
    child = os.fork()
    if child == 0:
        run = Run(job(), out)
        run._write_state = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
        run.start()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    (out / ".0123456789abcdef.part").touch()  # as a process leaves that is killed while it writes
    assert sorted(path.name for path in out.iterdir()) == [
        ".0123456789abcdef.part",
        LOCK,
        "labels.npz",
        "run.json",
    ]
    assert status(out) == "starting"
    require_new(out)
    assert len(go(out, resume=resume)) == 2
    assert status(out) == "completed"


def test_a_start_killed_before_its_first_write(tmp_path):
    (tmp_path / ".0123456789abcdef.part").touch()
    (tmp_path / LOCK).write_text("1")
    require_new(tmp_path)
    assert len(go(tmp_path, resume=False)) == 2


@pytest.mark.parametrize("name", ["labels.npz", "metrics.csv", "thesis.tex", ".hidden"])
def test_files_of_others_are_not_taken_for_remains(tmp_path, name):
    (tmp_path / name).write_text("years of work")
    with pytest.raises(FileError, match="it is not empty"):
        go(tmp_path, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # Nor beside the record of a run that was starting.
    run = Run(job(), tmp_path / "run")
    run._write_state = lambda folder: None
    run.start()
    run._write(status="starting")
    del run
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match="it is not empty"):
        go(tmp_path / "run", resume=False)


# --- ended at once, as by a signal ---------------------------------------------------------


@pytest.mark.parametrize("place", ["require_unused", "_write_labels", "_write_state"])
def test_a_start_that_ends_at_once_leaves_nothing(tmp_path, monkeypatch, place):
    def leave(*_):
        assert (tmp_path / "runs" / "run" / LOCK).exists()
        discard_unfinished()
        os._exit(7)

    child = os.fork()
    if child == 0:
        if place == "require_unused":
            monkeypatch.setattr(runs, place, lambda folder: folder.is_dir() and leave())
        else:
            monkeypatch.setattr(Run, place, leave)
        Run(job(), tmp_path / "runs" / "run").start()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise FileError("No space left on device")

    monkeypatch.setattr(Run, "_write_state", full)
    with pytest.raises(FileError, match="No space"):
        go(tmp_path / "runs" / "run", resume=False)
    assert list(tmp_path.iterdir()) == []


# --- a folder that takes no more -----------------------------------------------------------


@pytest.mark.parametrize("why", ["full", "removed"])
def test_what_the_folder_does_not_take_goes_to_another(tmp_path, monkeypatch, why):
    expected = whole(tmp_path / "whole")
    out = tmp_path / "disk" / "run"
    run = Run(job(), out)
    run.start()
    epochs = run.epochs()
    next(epochs)
    real = os.fsync
    if why == "removed":
        shutil.rmtree(tmp_path / "disk")
        monkeypatch.chdir(tmp_path)
    else:
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        monkeypatch.chdir(tmp_path / "disk")

        def full(descriptor):
            if "/disk/" in os.readlink(f"/proc/self/fd/{descriptor}"):
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MovedError, match=r"cannot write .*; the run is in .*run', resume it there"):
        next(epochs)
    monkeypatch.undo()
    monkeypatch.setitem(NETWORKS, "fast", TINY_NETWORK)
    moved = tmp_path / ("run" if why == "removed" else "temporary/run")
    assert sorted(path.name for path in moved.iterdir()) == [
        "checkpoint.safetensors", "labels.npz", "metrics.csv", "run.json",
    ]  # fmt: skip
    assert go(moved, resume=True) == []  # both epochs are there
    assert status(moved) == "completed"
    found = load_file(moved / "checkpoint.safetensors")
    assert all(bool((found[name] == expected[name]).all()) for name in expected)
    if why == "full":  # what was there is whole, and goes on from the epoch before
        assert len(go(out, resume=True)) == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_run_in_the_current_folder_goes_to_another_too(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "run")
    run = Run(job(), ".")
    run.start()
    epochs = run.epochs()
    next(epochs)
    real = os.fsync

    def full(descriptor):
        if "/temporary/" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MovedError, match=r"cannot write .*temporary/run', resume it there"):
        next(epochs)
    monkeypatch.setattr(os, "fsync", real)
    assert go(tmp_path / "temporary" / "run", resume=True) == []  # both epochs are there


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_folder_that_takes_no_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="cannot write into '/proc/run'"):
        require_new("/proc/run")


# --- one process a folder ------------------------------------------------------------------


@pytest.fixture
def trained_elsewhere(tmp_path):
    """A folder in which a process trains until the test is over, and its number."""
    out = tmp_path / "run"
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        run = Run(job(), out)
        run.start()
        epochs = run.epochs()
        next(epochs)
        os.write(told, b"x")
        time.sleep(600)
    os.read(ready, 1)
    yield out, child
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_second_process_is_refused(trained_elsewhere, tmp_path):
    out, process = trained_elsewhere
    line = rf"'.*run': it is being trained by process {process}; wait until it ends, or choose"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for resume in (True, False):
        with pytest.raises(FileError, match=line) as caught:
            go(out, resume=resume)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=line):
        require_new(out)
    with pytest.raises(FileError, match=line):
        list(train_grid([("run", job())], tmp_path))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_lock_ends_with_its_process(tmp_path):
    out = tmp_path / "run"
    child = os.fork()
    if child == 0:
        run = Run(job(), out)
        run.start()
        epochs = run.epochs()
        next(epochs)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (out / LOCK).read_text() == f"{child}\n"
    assert [epoch.epoch for epoch in go(out, resume=True)] == [2]
    assert not (out / LOCK).exists()


def test_two_runs_of_one_process(tmp_path):
    first = Run(job(), tmp_path)
    first.start()
    with pytest.raises(FileError, match=f"process {os.getpid()};"):
        Run(job(), tmp_path).resume()
    epochs = first.epochs()
    next(epochs)
    epochs.close()
    assert len(go(tmp_path, resume=True)) == 1


def test_a_completed_run_needs_no_lock(tmp_path):
    go(tmp_path, resume=False)
    tmp_path.chmod(0o500)
    try:
        run = Run(job(), tmp_path)
        run.resume()
        assert run.summary()["accuracy"] is not None
        assert not (tmp_path / LOCK).exists()
    finally:
        tmp_path.chmod(0o700)


if __name__ == "__main__":
    program(sys.argv[1], Path(sys.argv[2]))
