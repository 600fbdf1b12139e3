"""The benchmark of all methods, run small: a grid is begun, recorded once, and not mixed."""

import json

import numpy as np
import pytest

from benchmarks.labels import method_comparison
from benchmarks.record import Log
from tests.helpers.benchmarks import lines
from tests.helpers.labels import small_data


@pytest.fixture
def compared(tmp_path, command, monkeypatch):
    """Compare two methods on small data; the records, and the exit status."""
    data = small_data(number=60, tests=21)
    arrays = {"train_images": data.train_images, "train_labels": data.train_labels}
    arrays |= {"test_images": data.test_images, "test_labels": data.test_labels}
    np.savez(tmp_path / "small.npz", **arrays)
    log = Log(tmp_path / "comparison.jsonl")
    monkeypatch.setattr(method_comparison, "METHOD_COMPARISON", log)
    options = ["--data", tmp_path / "small.npz", "--device", "cpu", "--methods", "ce,sop"]
    options += ["--noise", "0.2", "--seeds", "0", "--epochs", "1", "--set", "batch_size=20"]

    def run() -> tuple[list[dict], object]:
        with pytest.raises(SystemExit) as stop:
            command("labels.method_comparison", tmp_path / "grid", *options)
        return (lines(log.path) if log.path.exists() else []), stop.value.code

    return run


@pytest.mark.slow
def test_a_new_grid_is_recorded_once(compared, tmp_path):
    recorded, status = compared()
    assert status == 0
    assert [(line["method"], line["noise"]) for line in recorded] == [
        ("ce", "symmetric-0.2"),
        ("sop", "symmetric-0.2"),
    ]
    for line in recorded:
        rows = (tmp_path / "grid" / line["run"] / "metrics.csv").read_text().splitlines()
        columns = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
        assert line["accuracy"] == pytest.approx(float(columns["test_accuracy"]), abs=1e-4)
    assert compared() == (recorded, 0)


def test_a_grid_of_other_code_is_refused(compared, tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / ".code.json").write_text(json.dumps({"group": "labels", "hash": "0" * 16}))
    recorded, status = compared()
    assert not recorded
    assert "code that has changed" in str(status)
