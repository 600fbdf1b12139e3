"""Promise: `denoise --engine ray` gives the same files, also when processes are lost."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robustdip import write_image
from tests.helpers.command_line import LONG, ROOT, done, refused, run

MEDIAN = ("--method", "median", "--workers", 2)


@pytest.fixture
def folder(tmp_path):
    """Four pictures, and a file that is none."""
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        write_image(root / f"{number}.png", rng.integers(0, 256, (400, 400, 3), np.uint8))
    (root / "bad.png").write_text("no picture")
    return root


def results(folder):
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def descendants(pid):
    """All processes below one, and how they call themselves."""
    found, waiting = {}, [pid]
    while waiting:
        place = Path(f"/proc/{waiting.pop()}")
        try:
            below = (place / "task" / place.name / "children").read_text().split()
            found[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        waiting += map(int, below)
    return found


def test_without_ray_one_line_says_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    many = ("denoise", folder, "--out-dir", tmp_path / "out", *MEDIAN)
    line = refused(*many, "--engine", "ray")
    assert line == "error: --engine ray needs ray; install it: pip install 'robustdip[ray]'"
    assert run(*many, "--engine", "beam").exit_code == 2
    assert run("denoise", folder / "1.png", "--engine", "ray").exit_code == 2


def test_the_one_picture_that_is_left_of_several_goes_to_ray_too(folder, monkeypatch):
    """It was restored here, and nothing said so."""
    monkeypatch.setitem(sys.modules, "ray", None)
    write_image(folder / "1_denoised.png", np.zeros((9, 9), np.uint8))
    several = (folder / "1.png", folder / "1_denoised.png")
    result = run("denoise", *several, *MEDIAN, "--engine", "ray", "--force")
    assert result.exit_code == 1
    skipped, error = result.stderr.splitlines()
    assert skipped.endswith(f"it is the result of {str(several[0])!r}")
    assert error.startswith("error: --engine ray needs ray")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the processes")
@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(folder, tmp_path):
    expected, out = tmp_path / "expected", tmp_path / "out"
    mask = tmp_path / "mask.png"
    write_image(mask, np.pad(np.full((9, 9), 255, np.uint8), (0, 391)))
    how = ("--method", "linear", "--mask", mask, "--workers", 2)
    alone = run("denoise", folder, "--out-dir", expected, *how, "--quiet")
    command = ("denoise", folder, "--out-dir", out, *how, "--quiet")
    killed = None
    with subprocess.Popen(
        [sys.executable, "-m", "robustdip", *map(str, command), "--engine", "ray"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", **LONG},
    ) as process:
        while process.poll() is None and killed is None:
            time.sleep(0.005)
            manifest = out / ".robustdip.jsonl"
            if manifest.exists() and '"begun"' in manifest.read_text():
                busy = [
                    pid
                    for pid, name in descendants(process.pid).items()
                    if name.startswith("ray::_restored")
                ]
                if busy:
                    killed = busy[0]
                    os.kill(killed, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=240)
    assert killed is not None, stderr
    # Nothing is lost, nothing is there twice, and all is as without Ray.
    assert results(out) == results(expected)
    assert (process.returncode, stderr) == (alone.exit_code, alone.stderr)
    assert stdout.replace(str(out), str(expected)) == alone.stdout
    entries = [json.loads(line) for line in (out / ".robustdip.jsonl").read_text().splitlines()]
    finished = [entry["result"] for entry in entries if entry["state"] == "finished"]
    assert sorted(finished) == [f"{number}_denoised.png" for number in range(4)]
    # A run without Ray takes up where it ended.
    (folder / "bad.png").unlink()
    assert "0 done, 4 skipped, 0 failed" in done(*command[:-1]).stderr
