"""The program run in this process or in one of its own, and what is expected of it."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from robustdip.__main__ import commands

app = commands()
ROOT = Path(__file__).parents[2]
LONG = {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "300"}  # messages on one line, not in a box


def run(*arguments, given=None):
    """Run a command here; an error that it does not handle itself fails the test.

    Standard input holds the bytes that are `given`.
    """
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, words, input=given, env=LONG)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def refused(*arguments):
    """The one line on stderr of a command that fails, with nothing on stdout."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **LONG}
    options = {"capture_output": True, "text": True, "timeout": 120, "env": environment} | options
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def measured(*arguments, **options):
    """As `python`, with the processor's seconds and the kilobytes that it took at its peak.

    A clock on the wall would measure what else the machine does.
    """
    script = (
        "import resource, subprocess, sys\n"
        "status = subprocess.run([sys.executable, *sys.argv[1:]]).returncode\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)\n"
        "sys.exit(status)"
    )
    result = python("-c", script, *arguments, **options)
    *lines, last = result.stderr.splitlines(keepends=True)
    result.stderr = "".join(lines)
    seconds, kilobytes = last.split()
    return result, float(seconds), int(kilobytes)


def is_quicker_than(limit, *arguments, **options):
    """Whether a call takes fewer of the processor's seconds: one of three calls.

    A core that is shared with another process takes up to twice as long for the same work.
    """
    return any(measured(*arguments, **options)[1] < limit for _ in range(3))
