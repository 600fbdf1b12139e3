"""Promise: no result is lost, whatever happens to files, streams and the process meanwhile."""

import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustdip import read_image, recovery, write_image
from tests.helpers.command_line import (
    LONG,
    ROOT,
    done,
    is_quicker_than,
    measured,
    python,
    refused,
    run,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and streams")

FIT = ("--steps", "2", "--device", "cpu")


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder]
        mounted = shutil.which("mount") and subprocess.run(command, capture_output=True)
        if not mounted or mounted.returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


@pytest.fixture
def image(tmp_path):
    write_image(tmp_path / "in.png", noise(12, 10, 3))
    return tmp_path / "in.png"


def test_a_result_has_the_longest_name_that_the_file_system_takes(tmp_path):
    source = tmp_path / f"{'x' * (255 - len('_denoised.png'))}.png"
    write_image(source, noise(12, 10, 3))
    done("denoise", source, "--method", "median", "-q")
    assert len(names(tmp_path)) == 2


# --- files that appear meanwhile -----------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch):
    """Something that happens after the image was restored, before anything is saved."""

    def set_event(event):
        restored = recovery.denoise

        def late(*arguments, **options):
            result = restored(*arguments, **options)
            event()
            return result

        monkeypatch.setattr(recovery, "denoise", late)

    return set_event


def test_a_file_that_appears_during_the_fit_is_not_overwritten(image, tmp_path, meanwhile):
    late, free = tmp_path / "late.png", tmp_path / "late-2.png"
    meanwhile(lambda: late.write_text("precious"))
    result = done("denoise", image, "-o", late, *FIT, "-q", "--json")
    warning = f"warning: {str(late)!r} has appeared in the meantime; the result is in {str(free)!r}"
    assert result.stderr == warning + "\n"
    assert json.loads(result.stdout)["output"] == str(free)
    assert late.read_text() == "precious"
    assert read_image(free).pixels.shape == (12, 10, 3)
    assert names(tmp_path) == ["in.png", "late-2.png", "late.png"]


def test_nor_is_one_that_takes_the_name_of_an_extra(image, tmp_path, meanwhile):
    extras = {
        "--save-corruption": "s.npy",
        "--save-mask": "mask.png",
        "--save-uncertainty": "u.safetensors",
        "--compare": "strip.png",
    }
    paths = [tmp_path / name for name in extras.values()]
    meanwhile(lambda: [path.write_text("precious") for path in paths])
    told = [str(word) for pair in zip(extras, paths, strict=True) for word in pair]
    result = done("denoise", image, *told, *FIT, "-q")
    assert result.stderr.count("has appeared in the meantime") == 4
    for path in paths:
        assert path.read_text() == "precious"
        assert path.with_stem(f"{path.stem}-2").stat().st_size > 0


def test_by_force_it_is_replaced(image, tmp_path, meanwhile):
    late = tmp_path / "late.png"
    meanwhile(lambda: late.write_text("not precious"))
    assert done("denoise", image, "-o", late, *FIT, "-q", "--force").stderr == ""
    assert read_image(late).pixels.shape == (12, 10, 3)
    assert names(tmp_path) == ["in.png", "late.png"]


def test_force_keeps_the_permissions_of_what_it_replaces(image, tmp_path):
    out = tmp_path / "out.png"
    out.touch(0o600)
    done("denoise", image, "-o", out, *FIT, "--force")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    done("corrupt", image, "-o", out, "--force")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_an_extra_that_cannot_be_written_costs_nothing_else(image, tmp_path, meanwhile):
    folder = tmp_path / "folder"
    folder.mkdir()
    meanwhile(folder.rmdir)
    mask, strip = folder / "mask.png", tmp_path / "strip.png"
    result = run("denoise", image, "--save-mask", mask, "--compare", strip, *FIT, "-q")
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path / 'in_denoised.png'}\n"
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cannot write {str(mask)!r}: the folder")
    assert line.endswith(f"; the result is in {str(tmp_path / 'mask.png')!r}")
    assert names(tmp_path) == ["in.png", "in_denoised.png", "mask.png", "strip.png"]


@pytest.mark.parametrize(
    ("option", "width", "height"),
    [
        ("--compare", 5460, 3),  # three times as wide, and gaps
        ("--save-overlay", 16384, 2),
        ("--save-mask", 2, 16384),
        ("--save-corruption", 16384, 2),
    ],
)
def test_what_is_too_large_for_its_format_is_refused_before_the_fit(
    tmp_path, meanwhile, option, width, height
):
    source, shown = tmp_path / "in.png", tmp_path / "x.webp"
    write_image(source, noise(height, width, 3))
    meanwhile(lambda: pytest.fail("it was restored"))
    line = refused("denoise", source, option, shown, "--method", "median", "-q")
    assert line == (
        f"error: cannot write {str(shown)!r}: WEBP holds at most 16383 pixels a side; use .png"
    )
    assert names(tmp_path) == ["in.png"]


@pytest.mark.parametrize("printed", [False, True])
def test_who_is_told_to_go_on_has_the_finished_tiles(image, tmp_path, monkeypatch, printed):
    """Those of a result on standard output are gone with its scratch folder."""
    restored = recovery.denoise

    def stopped(*arguments, **options):
        result = restored(*arguments, **options)
        return replace(result, status="interrupted", tiles=4, fitted=1)

    monkeypatch.setattr(recovery, "denoise", stopped)
    out = "-" if printed else tmp_path / "x.png"
    result = run("denoise", image, "-o", out, *FIT, "-q")
    assert result.exit_code == 130
    line = "interrupted: saved 1 finished tiles of 4, the input elsewhere"
    assert result.stderr == line + ("\n" if printed else "; with --force it goes on from there\n")


# --- places that take no file --------------------------------------------------------------

FULL_FOLDER = Path("/proc")  # which os.access calls writable for root


@pytest.mark.skipif(not FULL_FOLDER.is_dir(), reason="needs /proc")
@pytest.mark.parametrize("option", ["-o", "--out-dir", "--save-mask", "--save-corruption"])
def test_a_folder_that_takes_no_file_is_refused_before_the_fit(image, tmp_path, meanwhile, option):
    meanwhile(lambda: pytest.fail("it was restored"))
    value = FULL_FOLDER if option == "--out-dir" else FULL_FOLDER / "x.png"
    line = refused("denoise", image, option, value, *FIT)
    assert "cannot write '/proc/" in line
    assert names(tmp_path) == ["in.png"]


@pytest.fixture
def gone(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_a_folder_that_is_removed_during_the_fit(image, tmp_path, meanwhile, gone, monkeypatch):
    """The folder of the input takes the result, under a free name."""
    (tmp_path / "x.png").write_text("precious")
    meanwhile(gone.rmdir)
    result = run("denoise", image, "-o", gone / "x.png", *FIT, "-q", "--json", "--force")
    assert result.exit_code == 1
    saved = tmp_path / "x-2.png"
    assert json.loads(result.stdout)["output"] == str(saved)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cannot write {str(gone / 'x.png')!r}: the folder")
    assert line.endswith(f"; the result is in {str(saved)!r}")
    assert read_image(saved).pixels.shape == (12, 10, 3)
    assert (tmp_path / "x.png").read_text() == "precious"
    assert names(tmp_path) == ["in.png", "x-2.png", "x.png"]


def test_a_folder_that_is_removed_with_the_input_in_it(tmp_path, meanwhile, monkeypatch, gone):
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    write_image(gone / "in.png", noise(12, 10, 3))
    meanwhile(lambda: shutil.rmtree(gone))
    result = run("denoise", gone / "in.png", *FIT, "-q")
    assert (result.exit_code, result.stdout) == (1, "in_denoised.png\n")
    assert result.stderr.rstrip().endswith("; the result is in 'in_denoised.png'")
    assert names(current) == ["in_denoised.png"]


def test_a_picture_of_standard_input_is_not_kept_in_its_scratch_folder(
    image, tmp_path, meanwhile, monkeypatch, gone
):
    """That folder is removed when the program ends."""
    current = tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    meanwhile(gone.rmdir)
    result = run("denoise", "-", "-o", gone / "x.png", *FIT, "-q", given=image.read_bytes())
    assert (result.exit_code, result.stdout) == (1, "x.png\n")
    assert result.stderr.rstrip().endswith("; the result is in 'x.png'")
    assert names(current) == ["x.png"]


def test_without_any_other_place_the_temporary_folder_takes_it(
    tmp_path, meanwhile, monkeypatch, gone
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(gone)
    write_image(gone / "in.png", noise(12, 10, 3))
    meanwhile(lambda: shutil.rmtree(gone))
    result = run("denoise", gone / "in.png", *FIT, "-q")
    assert (result.exit_code, result.stdout) == (1, f"{temporary / 'in_denoised.png'}\n")
    assert names(temporary) == ["in_denoised.png"]


def test_with_no_place_at_all_the_error_says_so(image, tmp_path, meanwhile, gone, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    meanwhile(lambda: monkeypatch.setattr(os, "fsync", full))
    line = refused("denoise", image, "-o", gone / "x.png", *FIT, "-q")
    assert line == f"error: cannot write {str(gone / 'x.png')!r}: No space left on device"
    assert names(tmp_path) == ["folder", "in.png"]


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_disk_that_is_full(image, tmp_path, meanwhile, gone, moment):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", gone], check=True)
    try:

        def fill():
            with suppress(OSError), open(gone / "full", "wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass

        extra = ("--save-corruption", gone / "s.npy")
        if moment == "before":
            fill()
            meanwhile(lambda: pytest.fail("it was restored"))
            line = refused("denoise", image, "-o", gone / "x.png", *extra, *FIT, "-q")
            assert line.endswith("takes no file: No space left on device")
        else:
            meanwhile(fill)
            result = run("denoise", image, "-o", gone / "x.png", *extra, *FIT, "-q")
            assert (result.exit_code, result.stdout) == (1, f"{tmp_path / 'x.png'}\n")
            assert result.stderr.count("No space left on device; the result is in") == 2
            assert read_image(tmp_path / "x.png").pixels.shape == (12, 10, 3)
            assert np.load(tmp_path / "s.npy").shape == (12, 10, 3)
        assert names(gone) == ["full"]
    finally:
        subprocess.run(["umount", gone], check=True)


@pytest.mark.slow
def test_two_processes_with_one_output_both_keep_their_result(image, tmp_path):
    """Each looks before its fit, when there is nothing."""
    other = tmp_path / "other.png"
    write_image(other, noise(12, 10, 3, seed=1))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "robustdip", "denoise", source, "-o", "out.png", "-q", *FIT],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        for source in (image, other)
    ]
    printed = sorted(process.communicate()[0].strip() for process in processes)
    statuses = [process.returncode for process in processes]
    if statuses == [0, 0]:
        assert printed == ["out-2.png", "out.png"]
    else:  # one was done before the other looked
        assert sorted(statuses) == [0, 1]
    assert names(tmp_path) == sorted({"in.png", "other.png", *printed} - {""})


def test_what_a_killed_process_has_left_is_removed(image, tmp_path):
    part = tmp_path / ".0123456789abcdef.part"
    part.write_bytes(b"half")
    os.utime(part, (1, 1))
    done("denoise", image, *FIT)
    assert names(tmp_path) == ["in.png", "in_denoised.png"]


# --- standard streams ----------------------------------------------------------------------

REDIRECTIONS = {
    "closed": ">&-",
    "full": ">/dev/full",
    "unread": "> >(true)",
    "read a line": "> >(head -1 >/dev/null)",
}
COMMANDS = {
    "denoise": ("denoise", "in.png", "-o", "out.png", *FIT),
    "denoise --json": ("denoise", "in.png", "-o", "out.png", "--json", *FIT),
    "median": ("denoise", "in.png", "-o", "out.png", "--method", "median"),
    "corrupt": ("corrupt", "in.png", "-o", "out.png"),
    "compare": ("compare", "in.png", "in.png"),
    "version": ("--version",),
    "help": ("denoise", "--help"),
    "refused": ("corrupt", "none.png", "-o", "out.png"),
    "misused": ("denoise", "--none"),
}
STREAMS = [
    *((name, "") for name in REDIRECTIONS),
    *(("", name) for name in REDIRECTIONS),
    ("closed", "closed"),
    ("full", "full"),
    ("full", "closed"),
    ("unread", "unread"),
]
FAST = [("corrupt", streams) for streams in STREAMS] + [
    ("denoise --json", ("unread", "full")),
    ("denoise", ("closed", "closed")),
    ("compare", ("full", "")),
    ("help", ("unread", "")),
    ("refused", ("", "full")),
]
SLOW = [case for case in itertools.product(COMMANDS, STREAMS) if case not in FAST]


@pytest.mark.parametrize(
    ("name", "streams"),
    [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
    ids=lambda value: value if isinstance(value, str) else f"stdout {value[0]} stderr {value[1]}",
)
def test_a_stream_that_fails_costs_no_result(image, tmp_path, name, streams):
    out, err = streams
    redirected = REDIRECTIONS.get(out, "") + (f" 2{REDIRECTIONS[err]}" if err else "")
    result = subprocess.run(
        [
            "bash",
            "-c",
            f'exec "$0" -m robustdip "$@" {redirected}',
            sys.executable,
            *COMMANDS[name],
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LONG},
        timeout=120,
    )
    expected = {"refused": 1, "misused": 2}.get(name)
    if expected is None:
        expected = 1 if out == "full" else 0  # what was asked for could not be printed
    assert result.returncode == expected, result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    made = "-o" in COMMANDS[name] and name != "refused"
    assert names(tmp_path) == (["in.png", "out.png"] if made else ["in.png"])
    if made:
        assert read_image(tmp_path / "out.png").pixels.shape == (12, 10, 3)
    if out == "full" and not err and name not in ("refused", "misused"):
        last = result.stderr.splitlines()[-1]
        assert last == "error: cannot write to standard output: No space left on device"


# --- signals -------------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "interrupted: nothing more was written"


def started(*arguments, cwd, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "robustdip", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **LONG},
        **options,
    )


@pytest.mark.parametrize(
    "number",
    [SIGNALS[0], *(pytest.param(number, marks=pytest.mark.slow) for number in SIGNALS[1:])],
)
def test_a_signal_during_the_fit_saves_a_finished_step(image, tmp_path, number):
    steps = ("--device", "cpu", "--method", "paper")
    with started("denoise", image, "--steps", 100, "--json", *steps, cwd=tmp_path) as process:
        assert process.stderr.readline().startswith("in.png: step ")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    record = json.loads(stdout)
    assert record["status"] == "interrupted"
    assert stderr.splitlines()[-1] == f"interrupted: saved step {record['steps']} of 100"
    assert names(tmp_path) == ["in.png", "in_denoised.png"]
    # The published rates do not depend on the number of steps: as many steps give the same image.
    done("denoise", image, "--steps", record["steps"], *steps, "-q", "-o", tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "in_denoised.png").read_bytes()


def moment(number, seconds, image, tmp_path):
    """A signal after so many seconds of a run; True if the run was over before."""
    process = started("denoise", image, *FIT, cwd=tmp_path)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, 128 + number), stderr
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    lines = [line for line in stderr.splitlines() if not line.startswith("in.png: step ")]
    lines = [line for line in lines if not line.endswith("of the values were found wrong")]
    assert len(lines) == (process.returncode != 0), stderr
    out = tmp_path / "in_denoised.png"
    if stdout or process.returncode == 0:
        assert read_image(out).pixels.shape == (12, 10, 3)
    assert names(tmp_path) == (["in.png", out.name] if out.exists() else ["in.png"])
    out.unlink(missing_ok=True)
    return process.returncode == 0


def test_a_signal_during_the_start_is_one_line(image, tmp_path):
    # Till the first tenth of a second a busy machine may still be starting Python itself.
    for number, seconds in zip(SIGNALS, (0.2, 0.3, 0.5), strict=True):
        assert not moment(number, seconds, image, tmp_path)


@pytest.mark.slow
def test_a_signal_at_any_moment_leaves_a_result_or_nothing(image, tmp_path):
    begin = time.monotonic()
    assert moment(signal.SIGINT, 60, image, tmp_path)  # undisturbed
    seconds = time.monotonic() - begin
    # One moment in each twelfth of the run; the last may come too late.
    places = (np.arange(12) + np.random.default_rng(0).random(12)) / 12
    moments = zip(0.2 + places * (seconds - 0.1), itertools.cycle(SIGNALS), strict=False)
    early = [not moment(number, after, image, tmp_path) for after, number in moments]
    assert sum(early) >= 4


@pytest.mark.slow
def test_ctrl_c_typed_on_a_terminal(image, tmp_path):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "robustdip", "denoise", image, "--steps", "5000"],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    text, typed, deadline = "", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([parent], [], [], 0.1)[0]:
            try:
                text += os.read(parent, 65536).decode()
            except OSError:  # the other end is closed
                break
        if not typed and re.search(r"\d+/5000", text):
            os.write(parent, b"\x03")
            typed = True
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in text
    assert re.search(r"interrupted: saved step \d+ of 5000", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown again
    assert names(tmp_path) == ["in.png", "in_denoised.png"]
    os.close(parent)


# --- names and places ----------------------------------------------------------------------


def test_a_folder_is_told_what_to_type(image, tmp_path):
    folder = tmp_path / "my scans"
    folder.mkdir()
    line = refused("denoise", folder)
    assert line.endswith(
        f"it is a folder; say where its results go: robustdip denoise '{folder}' --out-dir OUT"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("denoise", "in.png", "--mask", "-"),
        ("denoise", "in.png", "--reference", "-"),
        ("denoise", "in.png", "--save-mask", "-"),
        ("corrupt", "-", "-o", "x.png"),
        ("corrupt", "in.png", "-o", "-"),
        ("compare", "-", "in.png"),
        ("compare", "in.png", "-"),
    ],
)
def test_a_dash_is_no_file_where_no_stream_is_used(image, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    line = refused(*arguments)
    assert line == "error: '-' is no file: standard input and output are not used; name a file"
    assert names(tmp_path) == ["in.png"]


def test_a_file_called_dash_can_be_named_by_its_folder(image, tmp_path):
    (tmp_path / "-").write_bytes(image.read_bytes())
    done("denoise", tmp_path / "-", *FIT)
    assert names(tmp_path) == ["-", "-_denoised.png", "in.png"]


@pytest.mark.slow
def test_neither_a_home_nor_a_known_user_is_needed(image, tmp_path):
    script = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(f'getpwuid(): uid not found: {uid}')\n"
        "pwd.getpwuid = unknown\n"
        "from robustdip.__main__ import main\n"
        "main()"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **LONG}
    arguments = ("denoise", image, *FIT, "--reference", image)
    result = python("-c", script, *arguments, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"[\d.]+% of the values were found wrong", lines.pop(2))
    assert [line.split()[0] for line in lines] == ["in.png:", "in.png:", "PSNR", "SSIM"]


# --- what needs no tensor ------------------------------------------------------------------

REFUSALS = {
    "version": ("--version",),
    "missing": ("denoise", "none.png"),
    "folder": ("denoise", "."),
    "suffix": ("denoise", "in.png", "-o", "out.gif"),
    "exists": ("denoise", "large.png", "-o", "in.jpg"),
    "text": ("denoise", "text.png"),
    "bomb": ("denoise", "bomb.png"),
    "mask": ("denoise", "in.png", "--mask", "large.png"),
    "method": ("denoise", "in.png", "--method", "linear"),
    "steps": ("denoise", "in.png", "--method", "median", "--steps", "3"),
    "reference": ("denoise", "in.png", "--reference", "none.png"),
    "compare": ("compare", "in.png", "large.png"),
    "corrupt": ("corrupt", "in.png", "-o", "none/x.png"),
    "usage": ("denoise", "in.png", "--device", "gpu"),
}


def test_refusals_that_need_no_tensor_are_quick_and_small(image, tmp_path):
    write_image(tmp_path / "large.png", noise(800, 900))
    (tmp_path / "in.jpg").touch()
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "bomb.png").write_bytes(
        image.read_bytes()[:16] + b"\0\0\xff\xff" * 2 + image.read_bytes()[24:]
    )
    for name, arguments in REFUSALS.items():
        result, seconds, kilobytes = measured("-m", "robustdip", *arguments, cwd=tmp_path)
        assert result.returncode == {"version": 0, "usage": 2}.get(name, 1), (name, result.stderr)
        if name not in ("version", "usage"):
            (line,) = result.stderr.splitlines()
            assert line.startswith("error: ")
        assert kilobytes < 100_000, name
        command = ("-m", "robustdip", *arguments)
        # Importing torch alone takes longer on any processor.
        assert seconds < 1 or is_quicker_than(1, *command, cwd=tmp_path), name


def test_remarks_of_c_libraries_do_not_reach_the_terminal(tmp_path):
    import tifffile

    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise(20, 30, 3), compression="zlib", photometric="rgb")
    data = bytearray(path.read_bytes())
    data[len(data) - 500] ^= 255  # libtiff prints what is wrong with it
    path.write_bytes(data)
    result = python("-m", "robustdip", "denoise", path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cannot read {str(path)!r}: damaged or cut short")
