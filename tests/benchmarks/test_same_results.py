"""Promise: what is recorded as the same was compared, and only what was the same is."""

import shutil

import pytest

from benchmarks import code_hash, record, same_results
from benchmarks.record import Log


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A checkout with another constant; cases that read it, or that do not."""
    other = tmp_path / "before"
    for package in (*code_hash.PACKAGES, "benchmarks"):
        shutil.copytree(code_hash.ROOT / package, other / package)
    path = other / "robustdip" / "recipes.py"
    path.write_text(path.read_text().replace("steps=600", "steps=601"))

    def steps(checkout, folder):
        assert list(folder.iterdir()) == []
        return (checkout / "robustdip" / "recipes.py").read_text()

    def nothing(checkout, folder):
        return "same"

    cases = {
        "images": lambda: iter([("a", nothing)]),
        "named-damage": lambda: iter([("a", nothing), ("b", steps)]),
    }
    monkeypatch.setattr(same_results, "CASES", cases)
    monkeypatch.setattr(same_results, "SAME", Log(tmp_path / "same.jsonl"))
    return other


@pytest.mark.parametrize(("groups", "status"), [(["images"], 0), (["images", "named-damage"], 1)])
def test_the_same_is_recorded_and_a_difference_is_an_error(
    before, groups, status, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["same_results", str(before), "--groups", *groups])
    with pytest.raises(SystemExit) as stopped:
        same_results.main()
    assert stopped.value.code == status
    (line,) = same_results.SAME.lines()
    assert line["code"] == record.code("images")
    assert line["before"] not in ("", line["code"]["hash"])
    assert (line["cases"], line["up_to"]) == (["a"], 256)
    said = capsys.readouterr().out
    assert "same  a" in said
    assert ("DIFFERENT  b" in said) == bool(status)


def test_equal_code_needs_no_record(before, monkeypatch):
    monkeypatch.setattr("sys.argv", ["same_results", str(code_hash.ROOT), "--groups", "images"])
    with pytest.raises(SystemExit) as stopped:
        same_results.main()
    assert stopped.value.code == 0
    assert same_results.SAME.lines() == []


@pytest.mark.parametrize("name", ["text 0.1 jpeg:85", "train-cifar sop"])
def test_what_says_nothing_of_the_others_is_recorded_if_it_differs(before, monkeypatch, name):
    assert name in same_results.APART
    (_, nothing), (_, steps) = same_results.CASES["named-damage"]()
    cases = {"images": lambda: iter([("a", nothing), (name, steps)])}
    monkeypatch.setattr(same_results, "CASES", cases)
    monkeypatch.setattr("sys.argv", ["same_results", str(before), "--groups", "images"])
    with pytest.raises(SystemExit) as stopped:
        same_results.main()
    assert stopped.value.code == 1
    (line,) = same_results.SAME.lines()
    assert (line["cases"], line["differ"]) == (["a"], [name])
