"""Promise: the documentation prints what the records say, and the check sees when it does not."""

import importlib.util
import sys
from pathlib import Path

import pytest

from benchmarks import tables
from tests.helpers.command_line import python

ROOT = Path(__file__).parents[2]
NAME = "labels/sop-step"


@pytest.fixture
def build(tmp_path, monkeypatch, one_thread):
    """docs/build.py for a folder with two pages and an example."""
    specification = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setattr(sys, "path", [*sys.path])  # it puts the root in front
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FIGURES", {})
    (tmp_path / "docs").mkdir()
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "hello.py").write_text("print('hello  \\n\\nworld')")
    empty = f"before\n<!-- table: {NAME} -->\n<!-- end -->\nafter\n"
    (tmp_path / "docs" / "page.md").write_text(empty)
    (tmp_path / "README.md").write_text(
        "<!-- output of examples/hello.py -->\nold\n<!-- end -->\n" + empty
    )

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["build.py", *arguments])
        try:
            module.main()
        except SystemExit as stop:
            if isinstance(stop.code, str):  # a message
                raise
            return int(stop.code or 0)
        return 0

    return run


def test_blocks_are_filled_and_an_edited_number_is_found(build, tmp_path, capsys):
    assert build("--check") == 1
    assert build() == 0
    page = tmp_path / "docs" / "page.md"
    filled = page.read_text()
    assert filled == (
        f"before\n<!-- table: {NAME} -->\n\n{tables.render(NAME)}\n<!-- end -->\nafter\n"
    )
    assert (
        (tmp_path / "README.md")
        .read_text()
        .startswith(
            "<!-- output of examples/hello.py -->\n```\nhello\n\nworld\n```\n<!-- end -->\n"
        )
    )
    assert build("--check") == 0

    row = tables.render(NAME).splitlines()[2]
    number = next(word for word in row.split() if word.isdigit() and len(word) > 2)
    page.write_text(filled.replace(number, "1"))
    capsys.readouterr()
    assert build("--check") == 1
    assert capsys.readouterr().out == (
        f"docs/page.md: table {NAME} is not that of its record; run python docs/build.py {NAME}\n"
    )
    assert build("labels") == 0  # the names below it
    assert page.read_text() == filled


def test_only_what_is_named_is_made(build, tmp_path):
    assert build("examples") == 0
    readme = (tmp_path / "README.md").read_text()
    assert "world" in readme
    assert f"<!-- table: {NAME} -->\n<!-- end -->" in readme


def test_numbers_of_earlier_code_are_found_if_asked_for(build, monkeypatch, capsys):
    made = "| x | y |\n|---|---|\n| 1 † | 2 |\n\n† measured with earlier code (commit abc)\n"
    monkeypatch.setattr(tables, "render", lambda name: made)
    assert build(NAME) == 0
    assert build("--check") == 0
    capsys.readouterr()
    assert build("--check", "--current") == 1
    assert f"docs/page.md: table {NAME} has numbers of earlier code (1)" in capsys.readouterr().out
    monkeypatch.setattr(tables, "render", lambda name: made.replace(" †", ""))
    assert build(NAME) == 0
    assert build("--check", "--current") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["magic"], "there is no 'magic'; there are examples/hello, labels/sop-step"),
        (["--current"], "--current needs --check"),
    ],
)
def test_wrong_arguments_are_one_line(build, arguments, message, capsys):
    assert build(*arguments) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_table_is_named(build, tmp_path):
    (tmp_path / "docs" / "page.md").write_text("<!-- table: magic -->\n<!-- end -->\n")
    with pytest.raises(SystemExit, match=r"page\.md: there is no table 'magic'"):
        build("--check")


def test_the_pages_are_those_of_the_records():
    """What CI checks: no table of README.md or docs was edited by hand."""
    done = python("docs/build.py", "--check", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
