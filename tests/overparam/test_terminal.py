"""Promise: errors are one line, names are shown as they are, and what is a bug stays visible."""

import io
import sys

import pytest
import typer

from overparam.terminal import exit_on_error, known_device, progress


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("two\n\tlines\n\n"), 1, "error: two lines"),
        (ValueError("no file 'a  b.png'"), 1, "error: no file 'a  b.png'"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (MemoryError(), 1, "error: MemoryError"),
        (FloatingPointError("diverged"), 1, "error: diverged"),
        (KeyboardInterrupt(), 130, "interrupted: nothing more was written"),
    ],
)
def test_errors_are_one_line(capsys, error, status, line):
    with pytest.raises(typer.Exit) as caught, exit_on_error():
        raise error
    assert caught.value.exit_code == status
    assert capsys.readouterr() == ("", f"{line}\n")


def test_bugs_and_exits_pass(capsys):
    for passing in (TypeError("bug"), typer.Exit(3), SystemExit(4)):
        with pytest.raises(type(passing)) as caught, exit_on_error():
            raise passing
        assert caught.value is passing
    assert capsys.readouterr() == ("", "")


def test_devices():
    for name in ("auto", "cpu", "cuda", "cuda:1", "mps"):
        assert known_device(name) == name
    for name in ("gpu", "cuda:", "cuda:x", "", "cpu\n"):
        with pytest.raises(typer.BadParameter, match="there are auto, cpu, cuda"):
            known_device(name)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, name, terminal="xterm"):
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(name) as show:
        before = sys.stderr.getvalue()
        show(1, 2)
        show(2, 2)
    return before, sys.stderr.getvalue()


@pytest.mark.parametrize(
    "name", ["[red]x.png", "a[/b].png", "x[0].png", "[bold]", "{x}.png", "%s.png", "\\[x].png"]
)
def test_a_bar_shows_a_name_as_it_is(monkeypatch, name):
    before, text = shown(monkeypatch, name)
    assert before == ""  # nothing to undo for a command that ends before its first step
    assert name in text
    assert "\x1b[?25l" in text  # the cursor is hidden, and shown again
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_control_characters_of_a_name_do_not_reach_the_terminal(monkeypatch, terminal):
    _, text = shown(monkeypatch, "a\x1b[31m\nb\x07.png", terminal)
    assert r"a\x1b[31m\nb\x07.png" in text
    assert "\x1b[31m" not in text
    assert "\x07" not in text


def test_quiet_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("x", quiet=True) as show:
        show(1, 2)
    assert sys.stderr.getvalue() == ""
