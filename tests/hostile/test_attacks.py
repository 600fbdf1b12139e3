"""Attacks on the command line of other kinds: odd surroundings, places, options, runs and files."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from overparam.files import FileError
from robustdip import read_image
from tests.hostile.tally import held, some_slow
from tests.hostile.warm import ROOT, cold, environment

MEDIAN = ("denoise", "in.png", "--method", "median")
TINY = ("--recipe", "cpu", "--device", "cpu", "--epochs", "1", "--set", "batch_size=16",
        "--limit", "32", "--method", "ce")  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def one_error(ended, folder, expected=("in.png",)):
    """Refused in one line, with nothing printed and nothing written."""
    assert (ended.status, ended.stdout) == (1, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: "), line
    assert names(folder) == sorted(expected)
    held("attacks")
    return line


# --- JPEG files that end early, with the marker of the end ---------------------------------

JPEG_OPTIONS = {
    "baseline": {},
    "best": {"quality": 95, "subsampling": 0},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "progressive": {"progressive": True},
}


def jpeg(kind, mode, seed, size=(90, 120)):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    image = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **JPEG_OPTIONS[kind])
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", JPEG_OPTIONS)
def test_a_jpeg_that_ends_early_is_refused(tmp_path, kind, mode):
    path, rng, missed = tmp_path / "x.jpg", np.random.default_rng(50), 0
    tried = 0
    for seed in range(3):
        whole = jpeg(kind, mode, seed)
        path.write_bytes(whole)
        right = read_image(path).pixels
        begin = whole.rindex(b"\xff\xda") + 14  # the data of the last scan
        for cut in rng.integers(begin, len(whole) - 2, 15):
            path.write_bytes(whole[:cut].rstrip(b"\xff") + b"\xff\xd9")
            tried += 1
            with suppress(FileError):
                missed += not np.array_equal(read_image(path).pixels, right)
    # Not all cuts of progressive files are seen: what is missing may be details that are nothing.
    assert missed <= (tried // 4 if kind == "progressive" else 0), missed
    held("attacks", tried - missed)


def test_sound_jpegs_with_odd_bytes_are_read(tmp_path):
    whole = jpeg("baseline", "RGB", 1)
    scan, path = whole.index(b"\xff\xda"), tmp_path / "x.jpg"
    thumbnail = b"Exif\0\0" + whole
    odd = {
        "bytes after the end": whole + b"\xff\xd8junk\xff\xd9" * 3,
        "another picture after it": whole + jpeg("progressive", "L", 2),
        "fill bytes before markers": whole[:scan] + b"\xff" * 9 + whole[scan:-2] + b"\xff\xff\xd9",
        "an end in a comment": whole[:2] + b"\xff\xfe\0\x06\xff\xd9\xff\xda" + whole[2:],
        "a whole JPEG in a segment": whole[:2] + b"\xff\xe5"
        + (len(thumbnail) + 2).to_bytes(2) + thumbnail + whole[2:],
    }  # fmt: skip
    path.write_bytes(whole)
    right = read_image(path).pixels
    for name, data in odd.items():
        path.write_bytes(data)
        np.testing.assert_array_equal(read_image(path).pixels, right, err_msg=name)
        held("attacks")


def test_reading_in_threads_leaves_the_warning_filters(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(jpeg("baseline", "RGB", 3))
    before, stop = list(warnings.filters), threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            read_image(path)
            seen.append(warnings.filters == before)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert all(seen)
    assert warnings.filters == before
    held("attacks", len(threads))


# --- places --------------------------------------------------------------------------------

NO_PLACE = {
    "proc": "/proc/x.png",
    "proc of a process": "/proc/self/x.png",
    "descriptors": "/proc/self/fd/x.png",
    "sys": "/sys/x.png",
    "device": "/dev/full",
    "below a file": "in.png/x.png",
    "below a device": "/dev/null/x.png",
    "a folder that is not there": "none/x.png",
}


@pytest.mark.parametrize("option", ["-o", "--save-mask", "--compare"])
@pytest.mark.parametrize("name", some_slow(NO_PLACE, every=4))
def test_places_that_take_no_file(warm, folder, name, option):
    if option != "-o" and name == "device":
        pytest.skip("the same")
    one_error(warm.run(*MEDIAN, option, NO_PLACE[name], cwd=folder), folder)
    if option == "-o":
        one_error(warm.run("corrupt", "in.png", "-o", NO_PLACE[name], cwd=folder), folder)


@pytest.mark.parametrize("place", ["/proc/run", "/sys/run", "in.png", "in.png/run", "/dev/null"])
def test_folders_of_runs_that_take_no_file(warm, folder, npz, place):
    run = ("train-cifar", "--data", npz, *TINY, "--out", place)
    one_error(warm.run(*run, cwd=folder), folder)
    grid = ("compare-methods", "--data", npz, "--methods", "ce", "--device", "cpu", "--epochs", "1")
    one_error(warm.run(*grid, "--out", place, cwd=folder), folder)


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a small disk, or skips the test."""
    mounted = []

    def mount(options):
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
        )
        if done.returncode:
            pytest.skip("needs the right to mount")
        mounted.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("needs mount")
    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("what", ["read-only", "no inodes", "no bytes"])
def test_disks_that_take_no_file(warm, folder, npz, disk, what):
    options = {"no inodes": "nr_inodes=2", "no bytes": "size=4k"}.get(what, "size=64k")
    place = disk(options)
    if what == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    else:
        (place / "full").write_bytes(b"x" * 4096)
    expected = ["disk", "in.png"]
    for arguments in (
        (*MEDIAN, "-o", place / "x.png"),
        (*MEDIAN, "--out-dir", place),
        (*MEDIAN, "--save-corruption", place / "x.npy"),
        ("corrupt", "in.png", "-o", place / "x.png"),
        ("train-cifar", "--data", npz, *TINY, "--out", place / "run"),
    ):
        one_error(warm.run(*arguments, cwd=folder), folder, expected)
        assert names(place) == ([] if what == "read-only" else ["full"])


def test_a_disk_too_small_for_the_result(warm, folder, disk):
    """A byte has room, the result has not: it goes beside the input."""
    place = disk("size=8k")
    (place / "full").write_bytes(b"x" * 4096)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (80, 90, 3), np.uint8)).save(folder / "big.png")
    for command in ("denoise", "corrupt"):
        more = ("--method", "median") if command == "denoise" else ()
        ended = warm.run(command, "big.png", "-o", place / "x.png", *more, cwd=folder)
        assert ended.status == 1
        (line,) = ended.stderr.splitlines()
        assert line.endswith("No space left on device; the result is in 'x.png'")
        assert read_image(folder / "x.png").pixels.shape == (80, 90, 3)
        assert names(place) == ["full"]
        (folder / "x.png").unlink()
        held("attacks")


def test_a_limit_on_the_size_of_files(folder):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    process = cold("corrupt", "in.png", "-o", "x.png", cwd=folder, preexec_fn=limit)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = stderr.splitlines()
    assert line == "error: cannot write 'x.png': File too large"
    assert names(folder) == ["in.png"]
    held("attacks")


# --- surroundings --------------------------------------------------------------------------

NAME = "f\u00fc\u4e2d\u2603 [red].png"
SURROUNDINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "utf-16": {"PYTHONIOENCODING": "utf-16"},
    "no width": {"COLUMNS": "0"},
    "odd width": {"COLUMNS": "many", "LINES": "-1"},
    "no terminal": {"TERM": ""},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "optimized": {"PYTHONOPTIMIZE": "2"},
    "developer": {"PYTHONDEVMODE": "1"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "no temporary folder": {"TMPDIR": "/none", "TEMP": "/none", "TMP": "/none"},
    "no home": {"HOME": "/none"},
    "no path": {"PATH": ""},
    "threads": {"OMP_NUM_THREADS": "nonsense"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_odd_surroundings(folder, name):
    os.rename(folder / "in.png", folder / NAME)
    process = subprocess.run(
        [sys.executable, ROOT / "cli.py", "corrupt", NAME, "-o", "o\u2603.png"],
        cwd=folder,
        env={**environment(), **SURROUNDINGS[name]},
        capture_output=True,
        timeout=200,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == b""
    assert names(folder) == [NAME, "o\u2603.png"]
    held("attacks")


# --- signals that do not end a program -----------------------------------------------------


@pytest.mark.slow
def test_a_pause_and_signals_of_a_terminal_change_nothing(warm, folder):
    started = warm.start(*MEDIAN, "-o", "x.png", cwd=folder)
    for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGWINCH, signal.SIGURG, signal.SIGCHLD):
        time.sleep(0.02)
        started.send_signal(number)
    started.send_signal(signal.SIGCONT)
    ended = started.wait()
    assert ended.status == 0, ended
    assert names(folder) == ["in.png", "x.png"]
    held("attacks")


# --- options -------------------------------------------------------------------------------

ODD_SETTINGS = [
    "lr", "lr=", "=1", "=", "", "lr==1", "lr=1,2", "lr=nan", "lr=-inf", "lr=1e309", "lr=0x1",
    "lr=true", "lr=None", "LR=1", "lr =1", "batch_size=1.5", "batch_size=0", "batch_size=-1",
    "batch_size=1e2", "batch_size=99999999999999999999", "epochs=0", "epochs=\u0665.\u0665",
    "method=sop", "network=../x", "name=x", "__class__=x", "seed=1",
]  # fmt: skip


@pytest.mark.parametrize("setting", some_slow(ODD_SETTINGS, every=9))
def test_odd_settings(warm, folder, npz, setting):
    command = ("train-cifar", "--data", npz, "--recipe", "cpu", "--device", "cpu", "--out", "run",
               "--limit", "32")  # fmt: skip
    one_error(warm.run(*command, "--set", setting, cwd=folder), folder)


ODD_GRIDS = [
    ("--seeds", "1e3"), ("--seeds", "0,,1"), ("--seeds", ""), ("--seeds", "-1"), ("--seeds", "0x1"),
    ("--noise", "nan"), ("--noise", "1"), ("--noise", "-0.1"), ("--noise", "symmetric:"),
    ("--noise", ":0.2"), ("--noise", "symmetric:0.2:0.3"), ("--noise", "asymmetric"),
    ("--noise", "inf"), ("--noise", "0,2"), ("--methods", ""), ("--methods", "ce,"),
    ("--methods", "CE"), ("--methods", "../ce"), ("--set", "elr.lr=1"), ("--set", "ce.none=1"),
    ("--set", ".lr=1"), ("--limit", "1"),
]  # fmt: skip


@pytest.mark.parametrize("options", some_slow(ODD_GRIDS, every=9), ids=" ".join)
def test_odd_grids(warm, folder, npz, options):
    command = ("compare-methods", "--data", npz, "--methods", "ce", "--device", "cpu",
               "--epochs", "1", "--out", "grid")  # fmt: skip
    one_error(warm.run(*command, *options, cwd=folder), folder)


# --- tampered folders of runs --------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(warm, npz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    command = ("train-cifar", "--data", npz, "--noise", "0.2", *TINY, "-q", "--out", "run")
    assert warm.run(*command, cwd=folder).status == 0
    record = json.loads((folder / "run" / "run.json").read_text())
    record["status"] = "interrupted"
    (folder / "run" / "run.json").write_text(json.dumps(record))
    return folder / "run"


def replaced(path, kind, precious):
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "link to another file":
        path.symlink_to(precious)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes({"empty": b"", "zeros": bytes(1000), "text": b"precious"}[kind])


KINDS = ["folder", "pipe", "link to itself", "link to another file", "device", "empty", "zeros",
         "text"]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", some_slow(KINDS, every=4))
@pytest.mark.parametrize("name", ["run.json", "metrics.csv", "checkpoint.safetensors", ".lock"])
def test_files_of_a_run_that_are_others(warm, npz, trained, tmp_path, name, kind):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    shutil.copytree(trained, tmp_path / "run")
    replaced(tmp_path / "run" / name, kind, precious)
    command = ("train-cifar", "--data", npz, "--noise", "0.2", *TINY, "-q", "--out", "run")
    ended = warm.run(*command, "--resume", cwd=tmp_path)
    assert precious.read_bytes() == b"precious"
    assert "Traceback" not in ended.stderr
    if name == ".lock" and ended.status == 0:
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "completed"
    else:
        assert (ended.status, ended.stdout) == (1, ""), ended
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
    held("attacks")
