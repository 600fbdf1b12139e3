"""Promise: a record knows the code that was measured, and loses no line."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import code_hash, record
from benchmarks.record import Log
from tests.helpers.benchmarks import grid, line, lines

CLASSICAL = "robustdip/classical.py"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of the packages, of which alone the code is hashed."""
    root = tmp_path / "checkout"
    for package in code_hash.PACKAGES:
        shutil.copytree(code_hash.ROOT / package, root / package)
    monkeypatch.setattr(code_hash, "ROOT", root)
    code_hash.code_hash.cache_clear()
    yield root
    code_hash.code_hash.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    """Change one place of a file."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    code_hash.code_hash.cache_clear()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)
    code_hash.code_hash.cache_clear()


def hashes() -> dict[str, str]:
    code_hash.code_hash.cache_clear()
    return {group: code_hash.code_hash(group) for group in code_hash.GROUPS}


def changed(before: dict[str, str]) -> set[str]:
    return {group for group, found in hashes().items() if found != before[group]}


# The hash of the code.


def test_a_constant_changes_the_hash_of_its_groups_alone(checkout):
    before = hashes()
    edit(checkout / "robustdip" / "recipes.py", "steps=600", "steps=601")
    assert changed(before) == {"images", "named-damage", "large"}
    edit(checkout / "robustdip" / "recipes.py", "steps=601", "steps=600")
    assert changed(before) == set()
    append(checkout / "overparam" / "muon.py", "A = 1\n")
    assert changed(before) == {"images", "named-damage", "large", "labels", "label-errors"}


@pytest.mark.parametrize("words", ["# a comment\n", "\n\n\n", '"""Text that nothing reads."""\n'])
def test_words_do_not_change_the_hash(checkout, words):
    before = hashes()
    append(checkout / CLASSICAL, words)
    assert changed(before) == set()
    append(checkout / CLASSICAL, "pass\n")
    assert changed(before) == {"classical"}


def test_docstrings_layout_and_errors_do_not_change_the_hash(checkout):
    path = checkout / CLASSICAL
    path.write_text("def f(x, y=1):\n    if x:\n        raise ValueError('no')\n    return x+y\n")
    before = hashes()
    path.write_text(
        'def f(\n    x,\n    y=1,\n):\n    """Add."""\n    if x:\n'
        "        raise ValueError(f'x is {x}')  # why\n    return (x + y)\n"
    )
    assert changed(before) == set()
    path.write_text("def f(x, y=1):\n    if x:\n        raise TypeError('no')\n    return x+y\n")
    assert changed(before) == {"classical"}


def test_a_new_file_belongs_to_its_group(checkout):
    before = hashes()
    (checkout / "robustdip" / "corruption" / "new.py").write_text("A = 1\n")
    assert changed(before) == {"images", "named-damage", "large"}


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("robustdip/corruption/blobs.py", "named-damage"),
        ("sop_classify/labels/rate.py", "label-errors"),
    ],
)
def test_what_no_fit_or_training_depends_on_is_in_one_group(checkout, path, group):
    before = hashes()
    with (checkout / path).open("a") as file:
        file.write("A = 1\n")
    assert changed(before) == {group}


def test_a_group_without_files_is_an_error(checkout):
    (checkout / CLASSICAL).unlink()
    with pytest.raises(ValueError, match=r"classical\.py matches no file"):
        hashes()
    with pytest.raises(ValueError, match="no group of code 'magic'; use one of images, "):
        code_hash.code_hash("magic")


def test_a_changed_constant_marks_the_cell_and_measures_again(
    checkout, command, picture, tmp_path, capsys
):
    results = tmp_path / "lines.jsonl"
    case = grid(picture, results, "--methods", "median", "--kinds", "text")

    def table() -> str:
        capsys.readouterr()
        command("images.quality", "table", "--results", results)
        return capsys.readouterr().out

    command("images.quality", *case)
    (first,) = lines(results)
    value = f"{first['psnr']:.2f}"
    assert f"| median | {value} | {value} |" in table()

    append(checkout / CLASSICAL, "# only words\n")
    command("images.quality", *case)
    assert lines(results) == [first]
    assert f"| median | {value} | {value} |" in table()

    edit(checkout / CLASSICAL, "size: int = 5", "size: int = 7")
    stale = table()
    assert f"| median | {value} † | {value} † |" in stale
    assert f"† measured with earlier code (commit {first['commit']})" in stale
    command("images.quality", *case)
    old, new = lines(results)
    assert old == first
    assert new["code"]["hash"] != first["code"]["hash"]
    assert f"| median | {value} | {value} |" in table()


# Lines.


def test_a_line_cut_short_is_ignored_and_replaced(tmp_path):
    log = Log(tmp_path / "new" / "log.jsonl")
    assert log.lines() == []
    log.append({"a": 1})
    log.append({"a": 2})
    whole = log.path.read_bytes()
    for length in range(len(whole) // 2, len(whole)):  # killed while the second line was written
        log.path.write_bytes(whole[:length])
        assert log.lines() == [{"a": 1}]
    log.append({"a": 3})
    assert lines(log.path) == log.lines() == [{"a": 1}, {"a": 3}]


def test_the_command_names_files_without_folders_and_kinds_whole(command, picture, tmp_path):
    log = tmp_path / "folder" / "quality.jsonl"
    command(
        "images.quality", "run", picture, "--side", 16, "--kinds", "random-valued/pixel",
        "--amounts", 0.5, "--methods", "median", "--results", log,
    )  # fmt: skip
    (recorded,) = lines(log)
    words = recorded["command"].split()
    assert words[3] == picture.name
    assert words[words.index("--kinds") + 1] == "random-valued/pixel"
    assert words[-1] == log.name


def test_a_killed_run_goes_on(command, picture, tmp_path):
    results = tmp_path / "lines.jsonl"
    case = grid(picture, results, "--methods", "median", "tv-l1", "--kinds", "text")
    command("images.quality", *case)
    whole = results.read_bytes()
    results.write_bytes(whole[:-20])
    command("images.quality", *case)
    assert [found["method"] for found in lines(results)] == ["median", "tv-l1"]


def test_a_damaged_line_is_named(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl:2 is not JSON"):
        log.lines()


def test_a_case_is_its_key_its_recipe_and_its_code(tmp_path):
    log = Log(tmp_path / "log.jsonl", ("image",))
    case = {"image": "a", "recipe": {"steps": 3}, "code": record.code("images")}
    log.append({**case, "error": "ValueError: no"})
    assert not log.has(case)
    log.append({**case, "psnr": 1.0})
    assert log.has(case)
    assert log.has({**case, "psnr": 2.0})
    for name, other in (("image", "b"), ("recipe", None), ("code", record.code("theory"))):
        assert not log.has({**case, name: other})


def test_the_present_code_wins_over_a_later_line_of_other_code(tmp_path):
    log = Log(tmp_path / "log.jsonl", ("image", "method", "seed"))
    old = {"code": None}
    for found in (
        line("a", "default", 1.0, **old),
        line("a", "default", 2.0),
        line("a", "default", 3.0, **old),
        line("b", "default", 4.0, **old),
        line("b", "default", 5.0, code={"group": "images", "hash": "other"}),
        line("c", "default", 6.0),
        line("c", "default", 7.0),
    ):
        log.append(found)
    assert [found["psnr"] for found in log.latest()] == [2, 5, 7]


def test_numbers_of_code_that_gives_the_same_are_current(tmp_path, monkeypatch):
    """Along a chain of changes, and for pictures that are no larger than those compared."""
    monkeypatch.setattr(record, "SAME", Log(tmp_path / "same.jsonl"))
    now = code_hash.code_hash("images")
    for before, after, up_to in (("a", "b", 256), ("b", now, 512), ("x", "y", None)):
        made = {"code": {"group": "images", "hash": after}, "before": before, "up_to": up_to}
        record.SAME.append(made)
    # Code before b whose pictures that were compressed after the damage came out otherwise.
    made = {"code": {"group": "images", "hash": "b"}, "before": "c", "up_to": 256}
    record.SAME.append({**made, "differ": ["text 0.1 jpeg:85"]})
    record._same_code.cache_clear()

    def current(name: str, **settings) -> bool:
        return record.is_current({"code": {"group": "images", "hash": name}, **settings})

    assert current(now)
    assert current("a", side=256)
    assert current("b", settings={"side": 512})
    assert not current("a", side=257)
    assert not current("b", side=513)
    assert not current("b")  # of any size
    assert current("b", side=64, then="jpeg:85")
    assert not current("c", side=64, then="jpeg:85")
    assert not current("c", side=64, jpeg=85)
    assert current("c", side=64, then="", jpeg=0)
    assert not current("b", settings="epochs=3")
    assert current(now, settings="epochs=3")
    assert not current("x", side=1)
    assert not record.is_current({"code": {"group": "labels", "hash": "b"}, "side": 1})
    # What is current is not measured again.
    log = Log(tmp_path / "x.jsonl", ("side",))
    log.append({"side": 64, "code": {"group": "images", "hash": "a"}})
    assert log.has({"side": 64, "code": {"group": "images", "hash": now}})
    assert not log.has({"side": 64, "code": {"group": "images", "hash": "x"}})
    record._same_code.cache_clear()


def test_trainings_of_a_method_that_was_left_alone_are_current(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "SAME", Log(tmp_path / "same.jsonl"))
    now = code_hash.code_hash("labels")
    for before, after, differ in (("a", "b", ["train-cifar elr"]), ("b", now, ["train-cifar sop"])):
        made = {"code": {"group": "labels", "hash": after}, "before": before, "up_to": None}
        record.SAME.append({**made, "differ": differ})
    record._same_code.cache_clear()

    def current(name: str, **line) -> bool:
        return record.is_current({"code": {"group": "labels", "hash": name}, **line})

    assert current("b", method="ce", settings="epochs=3")
    assert current("b", method="elr")
    assert not current("b", method="sop")
    assert not current("b", settings={"threads": 1})  # of nobody knows which methods
    assert not current("a", method="elr")
    assert current("a", method="sop+")
    assert not current("a", method="sop")
    assert current(now, method="sop")
    record._same_code.cache_clear()


def test_short_trainings_may_differ_where_whole_ones_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "SAME", Log(tmp_path / "same.jsonl"))
    made = {"code": {"group": "labels", "hash": code_hash.code_hash("labels")}, "up_to": None}
    record.SAME.append({**made, "before": "a", "differ": ["train-cifar sop, short"]})
    record._same_code.cache_clear()

    def current(**line) -> bool:
        return record.is_current({"code": {"group": "labels", "hash": "a"}, **line})

    assert current(method="sop", limit=None, settings="test_every=11")
    assert not current(method="sop", limit=5_000, settings="test_every=11")
    assert not current(method="sop", limit=None, settings="epochs=14 test_every=14")
    assert not current(method="sop", limit=None)  # of unknown length
    assert not current(method="sop", settings="test_every=11")
    assert current(method="ce", limit=5_000, settings="")
    record._same_code.cache_clear()


# Circumstances.


def git(folder: Path, *arguments: str) -> str:
    options = ("-c", "user.name=a", "-c", "user.email=a@b")
    environment = {name: v for name, v in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *options, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_a_cell_shows_lines_of_one_code(tmp_path):
    """Also of two earlier ones: the mean of both would be of no code at all."""

    def measured(seed: int, value: float, code: str) -> dict:
        made = {"group": "images", "hash": code}
        return line("a", "default", value, seed=seed, code=made)

    old = [measured(seed, 30.0, "old") for seed in range(3)]
    log = Log(tmp_path / "x.jsonl", ("image", "seed"))
    log.path.write_text(
        "".join(f"{json.dumps(each)}\n" for each in [*old, measured(1, 33.0, "new")])
    )
    shown = record.only_current(log.latest())
    assert [(each["seed"], each["psnr"]) for each in shown] == [(1, 33.0)]
    present = line("a", "default", 34.0, seed=2)
    assert record.only_current([present, *shown]) == [present]
    assert record.only_current([]) == []


def test_dirty_is_about_the_packages_alone(tmp_path, monkeypatch):
    for package in code_hash.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text("A = 1\n")
    (tmp_path / "results.jsonl").write_text("{}\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    commit = git(tmp_path, "rev-parse", "--short", "HEAD")
    monkeypatch.setattr(record, "ROOT", tmp_path)

    (tmp_path / "results.jsonl").write_text("{}\n{}\n")
    (tmp_path / "new.txt").write_text("new")
    assert record.circumstances("theory")["commit"] == commit
    (tmp_path / "robustdip" / "new.py").write_text("B = 1\n")
    assert record.circumstances("theory")["commit"] == f"{commit}-dirty"
    # A copy inside of another repository is not of its commits.
    monkeypatch.setattr(record, "ROOT", tmp_path / "robustdip")
    assert record.circumstances("theory")["commit"] is None


def test_a_record_needs_no_git(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "ROOT", tmp_path)
    assert record.circumstances("theory")["commit"] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    found = record.circumstances("theory")
    assert found["commit"] is None
    assert found["code"] == {"group": "theory", "hash": code_hash.code_hash("theory")}
    assert found["threads"] >= 1
    assert json.loads(json.dumps(found)) == found


def test_a_folder_of_runs_belongs_to_one_code(checkout, tmp_path):
    folder = tmp_path / "runs"
    record.stamp(folder, "labels")
    record.stamp(folder, "labels")
    assert record.stamped(folder) == record.code("labels")
    append(checkout / "sop_classify" / "recipes.py", "A = 1\n")
    with pytest.raises(SystemExit, match="was begun with code that has changed since"):
        record.stamp(folder, "labels")
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "run").mkdir()
    assert record.stamped(tmp_path / "older") is None
    with pytest.raises(SystemExit, match="does not say which code made its runs"):
        record.stamp(tmp_path / "older", "labels")
