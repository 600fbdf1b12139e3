"""Promise: a program ends in order, whatever happens to its standard streams and with signals."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.command_line import python

ROOT = Path(__file__).parents[2]
START = "import sys\nfrom overparam import program\n"
PRINTS = (
    START
    + """
def command():
    for number in range(3):
        print("result", number, flush=True)
        print("progress", number, file=sys.stderr)
    open(sys.argv[1], "w").write("saved")
sys.exit(program.run(command))
"""
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and streams")


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def launched(script, *arguments, shell=""):
    """The script in a process of its own, redirected as a shell would."""
    code = f'exec "$0" -c "$1" "${{@:2}}" {shell}'
    command = ["bash", "-c", code, sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())


FULL_STDOUT = "error: cannot write to standard output: No space left on device\n"
PROGRESS = "progress 0\nprogress 1\nprogress 2\n"
RESULTS = "result 0\nresult 1\nresult 2\n"


@pytest.mark.parametrize(
    ("shell", "status", "stdout", "stderr"),
    [
        ("", 0, RESULTS, PROGRESS),
        (">&-", 0, "", PROGRESS),
        ("2>&-", 0, RESULTS, ""),
        (">&- 2>&- <&-", 0, "", ""),
        (">/dev/full", 1, "", PROGRESS + FULL_STDOUT),
        ("2>/dev/full", 0, RESULTS, ""),
        (">/dev/full 2>/dev/full", 1, "", ""),
        (">/dev/full 2>&-", 1, "", ""),
    ],
)
def test_streams_that_fail_cost_no_result(tmp_path, shell, status, stdout, stderr):
    result = launched(PRINTS, tmp_path / "out", shell=shell)
    assert (result.returncode, result.stdout, result.stderr) == (status, stdout, stderr)
    assert (tmp_path / "out").read_text() == "saved"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_costs_no_result(tmp_path, stream):
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if stream == "stdout" else "stdout"
    options = {stream: writing, other: subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTS, tmp_path / "out"], text=True, env=environment(), **options
    )
    os.close(writing)
    seen = process.communicate(timeout=60)
    assert process.returncode == 0
    assert {"stdout": seen[0], "stderr": seen[1]}[other] == {"stdout": RESULTS, "stderr": PROGRESS}[
        other
    ]
    assert (tmp_path / "out").read_text() == "saved"


def test_the_number_of_a_closed_stream_is_not_given_to_a_file(tmp_path):
    script = START + (
        "import os\n"
        "def command():\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        assert file.fileno() > 2\n"
        "        os.write(1, b'noise of a C library'); os.write(2, b'noise')\n"
        "sys.exit(program.run(command))"
    )
    assert launched(script, tmp_path / "out", shell=">&- 2>&- <&-").returncode == 0
    assert (tmp_path / "out").read_text() == ""


def test_a_closed_standard_input_is_empty():
    script = START + "sys.exit(program.run(lambda: print(sys.stdin.buffer.read())))"
    result = launched(script, shell="<&-")
    assert (result.returncode, result.stdout, result.stderr) == (0, "b''\n", "")


def test_a_terminal_in_non_blocking_mode_gets_everything():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    script = START + "sys.exit(program.run(lambda: print('x' * 300_000)))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, env=environment()
    )
    os.close(writing)
    time.sleep(1)  # the pipe, which holds 64 kB, is full by now
    with open(reading, "rb") as pipe:
        assert len(pipe.read()) == 300_001
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


def test_a_name_that_is_no_utf8_is_printed_in_every_locale():
    script = START + "sys.exit(program.run(lambda: print('caf\\udce9', chr(0xE9))))"
    strict = {**environment(), "PYTHONIOENCODING": "utf-8:strict"}  # as in most locales
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, timeout=60, env=strict)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == b"caf\xe9 \xc3\xa9\n"


@pytest.mark.parametrize(
    ("ending", "status"),
    [("pass", 0), ("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('words')", 1), ("1 / 0", 1)],
)
def test_the_status_is_that_of_the_command(ending, status):
    script = START + f"def command():\n    {ending}\nsys.exit(program.run(command))"
    result = launched(script)
    assert result.returncode == status
    assert ("ZeroDivisionError" in result.stderr) == ("/" in ending)


def test_remarks_of_libraries_are_dropped_and_errors_are_not():
    script = START + (
        "import logging, os, warnings\n"
        "def command():\n"
        "    warnings.warn('remark'); logging.getLogger('lib').error('remark')\n"
        "    with program.quiet_libraries(): os.write(2, b'remark')\n"
        "    print('error', file=sys.stderr)\n"
        "    os.write(2, b'crash')\n"
        "sys.exit(program.run(command))"
    )
    assert launched(script).stderr == "error\ncrash"


def test_a_current_folder_that_is_gone_is_one_line(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = 'cd "$0"; rmdir "$0"; exec "$1" -c "$2"'
    script = START + "sys.exit(program.run(lambda: print('not reached')))"
    result = subprocess.run(
        ["bash", "-c", code, gone, sys.executable, script],
        capture_output=True,
        text=True,
        env=environment(),
    )
    line = "error: the current folder no longer exists; change to another\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", line)


# --- signals -------------------------------------------------------------------------------

WAITS = (
    START
    + """
import time
def command():
    with program.interruptible() as interruption:
        if {checked}:
            interruption.check()
        if {held}:
            interruption.hold()
        try:
            print("ready", flush=True)
            for _ in range({slices}):
                time.sleep(0.01)
                if {checked}:
                    interruption.check()
        except KeyboardInterrupt:
            print("saved", flush=True)
            interruption.hold()
            time.sleep(1)  # longer than all signals take
    print("received" if interruption.received else "finished", flush=True)
    if interruption.received:
        sys.exit(program.interrupted_status())
sys.exit(program.run(command))
"""
)
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def signalled(script, numbers):
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)  # till it has written the line
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.1)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_with_nothing_to_save_a_signal_ends_the_program_at_once(number):
    script = WAITS.format(checked=False, held=False, slices=6000)
    line = "interrupted: nothing more was written\n"
    assert signalled(script, [number]) == (128 + number, "", line)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("others", [[], SIGNALS])
def test_with_something_to_save_signals_interrupt_once(number, others):
    script = WAITS.format(checked=True, held=False, slices=6000)
    expected = (128 + number, "saved\nreceived\n", "")
    assert signalled(script, [number, *others]) == expected


@pytest.mark.parametrize("number", SIGNALS)
def test_while_results_are_saved_signals_wait(number):
    script = WAITS.format(checked=True, held=True, slices=50)
    assert signalled(script, [number, number]) == (128 + number, "received\n", "")


def test_an_interrupt_that_a_library_swallows_comes_again():
    script = START + (
        "import time\n"
        "def command():\n"
        "    with program.interruptible() as interruption:\n"
        "        interruption.check()\n"
        "        try: print('ready', flush=True); time.sleep(60)\n"
        "        except KeyboardInterrupt: pass\n"
        "        try: interruption.check()\n"
        "        except KeyboardInterrupt: print('again', flush=True)\n"
        "sys.exit(program.run(command))"
    )
    assert signalled(script, [signal.SIGINT]) == (0, "again\n", "")


def test_ignored_signals_stay_ignored():
    """nohup, and a shell's background jobs."""
    script = WAITS.format(checked=False, held=False, slices=50)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signalled(script, [signal.SIGHUP]) == (0, "finished\n", "")
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_after_the_end_of_the_command_signals_change_nothing(number):
    script = START + (
        "import atexit, time\n"
        "def command():\n"
        "    atexit.register(lambda: (print('ready', flush=True), time.sleep(0.5)))\n"
        "sys.exit(program.run(command))"
    )
    assert signalled(script, [number, number]) == (0, "", "")


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("7", "7")])
def test_threads_do_not_spin_unless_the_user_says_so(given, expected):
    script = START + "import os\nprogram.run(lambda: print(os.environ['GOMP_SPINCOUNT']))"
    chosen = {name: value for name, value in environment().items() if name != "GOMP_SPINCOUNT"}
    chosen |= {} if given is None else {"GOMP_SPINCOUNT": given}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=chosen
    )
    assert done.stdout == f"{expected}\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
@pytest.mark.parametrize(("given", "times"), [({}, 1), ({"MALLOC_ARENA_MAX": "4"}, 20)])
def test_freed_memory_is_used_again_unless_the_user_sets_the_allocator(given, times):
    """Twenty arrays of 60 MB, one after another: counted are the pages that the system clears."""
    script = START + (
        "from resource import RUSAGE_SELF, getrusage\n"
        "def command():\n"
        "    before = getrusage(RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(20): bytearray(60_000_000)\n"
        "    print(getrusage(RUSAGE_SELF).ru_minflt - before)\n"
        "program.run(command)"
    )
    chosen = {
        name: value
        for name, value in environment().items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=chosen | given,
    )
    pages = 60_000_000 / os.sysconf("SC_PAGESIZE")
    assert int(done.stdout) == pytest.approx(times * pages, rel=0.1)


def test_the_library_leaves_the_environment_alone():
    script = "import os\nbefore = dict(os.environ)\nimport robustdip, sop_classify, overparam\n"
    script += "robustdip.denoise, sop_classify.train\nassert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=environment())


def test_an_empty_argument_is_no_path():
    result = python("-m", "robustdip", "denoise", "", "--out-dir", "out")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: an argument is empty")
