"""Signals at any moment, from the first millisecond to the last, for commands that compute."""

import itertools
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from robustdip import RECIPES, fit, read_image
from robustdip.images.picture import from_float, to_float
from tests.hostile.tally import held
from tests.hostile.warm import ROOT, cold, environment

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STEPS = 8
FIT = ("--method", "paper", "--device", "cpu", "--steps", STEPS)
TRAIN = ("--recipe", "cpu", "--device", "cpu", "--epochs", "4", "--set", "batch_size=8",
         "--set", "activation_epochs=2")  # fmt: skip

WAITS = "import time\nprint('ready', flush=True)\ntime.sleep(60)"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def check_ended(status, stderr, number, own=()):
    """Status 0 or 128 + n, and at most one line beside progress and what a command says itself."""
    assert status in (0, 128 + number), (status, stderr)
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    lines = [line for line in stderr.splitlines() if not line.startswith(tuple(own))]
    assert len(lines) == (status != 0), stderr
    assert all(line.startswith("interrupted: ") for line in lines)
    return lines[0] if lines else ""


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """The image after every step, by the library; computed once."""
    found = {}

    def images(path):
        if not found:
            pixels = read_image(path).pixels
            recipe = RECIPES["paper"]
            for step in itertools.islice(fit(to_float(pixels), recipe, device="cpu"), STEPS):
                found[step.number] = from_float(step.image, np.uint8)
        return found

    return images


def seconds_of(warm, *arguments, cwd):
    """How long a command takes on this machine now."""
    begin = time.perf_counter()
    assert warm.run(*arguments, cwd=cwd).status == 0
    return time.perf_counter() - begin


def moments(seconds, number, seed):
    """Random moments of a run, each with a signal; a tenth of them later than its end."""
    rng = np.random.default_rng(seed)
    drawn = (np.arange(number) + rng.random(number)) / number * 1.1 * seconds
    return zip(drawn, itertools.cycle(SIGNALS), strict=False)


def signalled(warm, *arguments, cwd, after, number, twice=False):
    started = warm.start(*arguments, cwd=cwd)
    time.sleep(after)
    started.send_signal(number)
    if twice:
        started.send_signal(number)
    return started.wait()


def check_denoise(warm, folder, steps, number, after, *, twice=False):
    ended = signalled(
        warm, "denoise", "in.png", "--json", *FIT, cwd=folder, after=after, number=number,
        twice=twice,
    )  # fmt: skip
    line = check_ended(ended.status, ended.stderr, number, own=["in.png: step "])
    out = folder / "in_denoised.png"
    if ended.stdout:
        record = json.loads(ended.stdout)
        saved = read_image(out).pixels
        np.testing.assert_array_equal(saved, steps(folder / "in.png")[record["steps"]])
        if ended.status and record["status"] == "interrupted":
            assert line == f"interrupted: saved step {record['steps']} of {STEPS}"
        else:
            assert record["steps"] == STEPS
    else:
        assert not out.exists()
        assert line == "interrupted: nothing more was written"
    assert names(folder) == (["in.png", out.name] if ended.stdout else ["in.png"])
    out.unlink(missing_ok=True)
    held("signals")
    return ended.status


@pytest.mark.slow
def test_a_few_moments_of_denoise(warm, folder, steps, one_thread):
    seconds = seconds_of(warm, "denoise", "in.png", "-o", "x.png", *FIT, cwd=folder)
    (folder / "x.png").unlink()
    for after, number in moments(seconds, 2, seed=0):
        check_denoise(warm, folder, steps, number, after)


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_any_moment_of_denoise(warm, folder, steps, one_thread, twice):
    seconds = seconds_of(warm, "denoise", "in.png", "-o", "x.png", *FIT, cwd=folder)
    (folder / "x.png").unlink()
    statuses = {
        check_denoise(warm, folder, steps, number, after, twice=twice)
        for after, number in moments(seconds, 15, seed=1 + twice)
    }
    assert len(statuses) >= 3  # all signals arrived in time somewhere


@pytest.mark.slow
def test_any_moment_of_corrupt(warm, folder):
    arguments = ("corrupt", "in.png", "-o", "out.png", "--kind", "text")
    seconds = seconds_of(warm, *arguments, cwd=folder)
    whole = (folder / "out.png").read_bytes()
    (folder / "out.png").unlink()
    for after, number in moments(seconds, 25, seed=3):
        ended = signalled(warm, *arguments, cwd=folder, after=after, number=number)
        check_ended(ended.status, ended.stderr, number)
        made = (folder / "out.png").exists()
        assert names(folder) == (["in.png", "out.png"] if made else ["in.png"])
        if made:
            assert (folder / "out.png").read_bytes() == whole
            (folder / "out.png").unlink()
        assert made or ended.status
        held("signals")


@pytest.mark.slow
def test_any_moment_of_a_training(warm, tmp_path, npz):
    """The run can be started again, or resumed to the result of an undisturbed run.

    SOP has all the state that others have, and u and v.
    """
    arguments = ("train-cifar", "--data", npz, "--noise", "0.2", "--method", "sop", *TRAIN[:-2])
    seconds = seconds_of(warm, *arguments, "--out", "whole", cwd=tmp_path)
    whole = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    accuracies = [row.split(",")[1:3] for row in whole]
    own = ["run: epoch ", "epoch ", "warning: SOP gives up", "10 of 48", "9 of 48"]
    resumed = 0
    for place, (after, number) in enumerate(moments(seconds, 8, seed=4)):
        folder = tmp_path / f"{place}" / "run"
        folder.parent.mkdir()
        command = (*arguments, "--out", folder)
        ended = signalled(warm, *command, cwd=tmp_path, after=after, number=number)
        check_ended(ended.status, ended.stderr, number, own=own)
        held("signals")
        assert not list(folder.glob(".*.part"))
        record = folder / "run.json"
        status = json.loads(record.read_text())["status"] if record.exists() else "starting"
        assert status in ("starting", "interrupted", "running", "completed")
        assert status == "completed" or ended.status
        resumable = status != "starting"  # else the same command starts again
        resumed += resumable
        again = warm.run(*command, *(["--resume"] if resumable else []), cwd=tmp_path)
        assert again.status == 0, again
        rows = (folder / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[1:3] for row in rows] == accuracies
        held("signals")
    assert resumed > 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_anything_is_imported(folder, number):
    """What the packages import first waits here until it is over."""
    (folder / "lazy_loader.py").write_text(WAITS)
    without = {**environment(), "PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        [sys.executable, ROOT / "cli.py", "denoise", "in.png"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=without,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert (
        check_ended(process.returncode, stderr, number) == "interrupted: nothing more was written"
    )
    held("signals")


@pytest.mark.slow
def test_the_start_of_the_program(folder):
    """From a twentieth of a second; before, a busy machine is still starting Python itself."""
    rng = np.random.default_rng(5)
    for number, _ in itertools.product(SIGNALS, range(4)):
        process = cold("denoise", "in.png", *FIT, cwd=folder)
        time.sleep(rng.uniform(0.15, 1.0))
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        check_ended(process.returncode, stderr, number, own=["in.png: step "])
        assert names(folder) == (["in.png", "in_denoised.png"] if stdout else ["in.png"])
        (folder / "in_denoised.png").unlink(missing_ok=True)
        held("signals")
