"""The benchmark of a folder, run small: that it measures what it says."""

import pytest

from benchmarks.images import folder
from benchmarks.record import Log


@pytest.mark.slow
def test_a_folder_against_single_calls(tmp_path, command, monkeypatch):
    log = Log(tmp_path / "folder.jsonl")
    monkeypatch.setattr(folder, "FOLDER", log)
    command("images.folder", "--pictures", 2, "--side", 16, "--method", "median")
    (line,) = log.latest()
    results = line["results"]
    assert results["ratio"] == pytest.approx(results["single"] / results["folder"])
    assert min(results.values()) > 0
    assert line["settings"]["pictures"] == 2
