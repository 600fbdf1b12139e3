"""Promise: every script is in the index, explains itself, and the GPU runs call what exists."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from benchmarks import logs, tables
from tests.helpers.command_line import done

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted(
    str(path.relative_to(BENCHMARKS).with_suffix(""))
    for path in BENCHMARKS.rglob("*.py")
    if "\ndef main(" in path.read_text() and path.name != "tables.py"
)
SHELL = sorted(str(path.relative_to(ROOT)) for path in BENCHMARKS.rglob("*.sh"))
# What a script calls with the options that it does not know itself.
PASSED_ON = {"benchmarks.labels.method_comparison": "compare-methods"}


@pytest.fixture
def help_of(command, capsys):
    """What a script prints with --help, in this process: the libraries are loaded once."""

    def printed(module: str, *words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            command(module.removeprefix("benchmarks."), *words, "--help")
        assert stop.value.code == 0
        return capsys.readouterr().out

    return printed


@pytest.mark.parametrize("script", [*SCRIPTS, "tables"])
def test_help_says_what_a_script_does(script, help_of):
    module = f"benchmarks.{script.replace('/', '.')}"
    printed = help_of(module)
    assert printed.startswith("usage: ")
    assert (importlib.import_module(module).__doc__ or "").strip() in printed


def rows() -> list[list[str]]:
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    return [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("| `")
    ]


def test_every_script_is_in_the_index():
    assert sorted(row[0].strip("`").removesuffix(".py") for row in rows()) == SCRIPTS


def test_the_index_names_records_and_tables_that_exist():
    named = {}
    for script, record, quoted, minutes in rows():
        assert minutes
        for name in re.findall("`([^`]+)`", quoted):
            if not name.endswith(".png"):
                named[name] = record.strip("`")
                assert named[name] == f"results/{script.strip('`').removesuffix('.py')}.jsonl"
    paths = {name: log.path for name, (log, _) in tables.TABLES.items()}
    assert {name: BENCHMARKS / path for name, path in named.items()} == paths
    assert all(path.is_relative_to(logs.RESULTS) for path in paths.values())


@pytest.mark.parametrize("shell", SHELL)
def test_the_gpu_runs_call_what_exists(shell, help_of):
    text = (ROOT / shell).read_text().replace("\\\n", " ")
    called = 0
    for line in text.splitlines():
        # `run` of gpu_cifar.sh is a function that calls the script of its own line.
        if re.match(r"\w+\) run ", line):
            line = "python3 -m benchmarks.labels.accuracy run " + line.partition(" run ")[2]
        for path in re.findall(r"tests/\S+\.py", line):
            assert (ROOT / path).is_file()
        if not (found := re.search(r"-m (benchmarks\.\S+)(.*)", line)):
            continue
        called += 1
        module, words = found[1], shlex.split(found[2].split("||")[0].split("|")[0].rstrip(" ;}"))
        command = words[:1] if words[:1] in (["run"], ["table"]) else []
        known = help_of(module, *command)
        if module in PASSED_ON:
            known += done(PASSED_ON[module], "--help").stdout
        for option in [word for word in words if word.startswith("--")]:
            assert option in known, line
        if module == "benchmarks.tables":
            assert set(words) <= set(tables.TABLES)
    assert called >= 2
