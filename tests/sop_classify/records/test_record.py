"""Promise: run.json and metrics.csv of this and of earlier versions are read, all else refused."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from overparam.files import FileError
from sop_classify.methods.catalogue import read_recipe, recipe_for
from sop_classify.recipes import NETWORKS, with_settings
from sop_classify.records.checkpoint import CHECKPOINT, checkpoint_bytes
from sop_classify.records.record import differences, read_metrics, read_record, write_record
from sop_classify.reports.comparison import read_runs, write_comparison
from sop_classify.runs.job import Job
from sop_classify.runs.run import Run
from tests.helpers.labels import TINY_NETWORK, noisy, small_data

# Written by `train-cifar --noise 0.3 --recipe cpu --epochs 4 --set batch_size=32` (DivideMix with
# --set warmup=1) at commit bb547a2, when a recipe had the settings of all methods.
EARLIER = Path(__file__).parent / "earlier"
# Settings of SOP that earlier runs do not have, and what they did.
LATER = {"class_guard": 0.0, "alpha_warmup": 0.0, "strong_share": 1.0}
EARLIER_SETTINGS = {"mixup": 0, "noise_rate": 0.0, "unlabelled_ramp": 16.0, "alpha_ratio": 0.1}


@pytest.mark.parametrize("method", ["sop", "dividemix"])
def test_an_earlier_run_is_read(method):
    record, history = read_record(EARLIER / method), read_metrics(EARLIER / method)
    assert (record.status, record.seed, len(history)) == ("completed", 0, 4)
    assert record.results["accuracy"] == history[-1].test_accuracy
    settings = ["epochs=4", "batch_size=32"]
    # Defaults were others, and there was no class_guard and no alpha_warmup.
    sop = ["alpha_ratio=0.1", "class_guard=0", "alpha_warmup=0", "activation_epochs=7"]
    settings += ["warmup=1"] if method == "dividemix" else sop
    recipe = with_settings(recipe_for("cpu", method), settings)
    assert read_recipe(record.recipe) == recipe
    assert len(record.recipe) > len(dataclasses.asdict(recipe))
    # So that it can go on, and be told from a run with other settings.
    old = dataclasses.asdict(record)
    if method == "sop":
        old["recipe"] |= LATER  # which a `Run` fills in
    now = dataclasses.asdict(record) | {"recipe": dataclasses.asdict(recipe)}
    assert differences(old, now) == []
    other = with_settings(recipe, ["lr=0.5"])
    now["recipe"] = dataclasses.asdict(other)
    assert differences(old, now) == ["recipe.lr=0.09, now 0.5"]


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(EARLIER, tmp_path / "runs")
    return tmp_path / "runs"


def test_earlier_runs_are_compared(folder):
    rows = {row["method"]: row for row in read_runs(folder)}
    assert list(rows) == ["dividemix", "sop"]
    assert {row["noise"] for row in rows.values()} == {"symmetric-0.3"}
    assert rows["sop"]["epochs"] == 4
    assert rows["dividemix"]["accuracy_ensemble"] == 1
    assert "| symmetric-0.3 | sop | 96.67 |" in write_comparison(folder)


def test_a_record_is_written_as_it_was_read(folder):
    before = (folder / "sop" / "run.json").read_text()
    write_record(folder / "sop", read_record(folder / "sop"))
    assert (folder / "sop" / "run.json").read_text() == before


def _of_earlier(recipe, *, without):
    """Settings as an earlier version wrote them: those of other methods too, and none of later."""
    return {key: v for key, v in (EARLIER_SETTINGS | recipe).items() if key not in without}


@pytest.mark.parametrize(("method", "came_later"), [("ce", {}), ("sop", LATER)])
def test_an_earlier_run_goes_on(tmp_path, monkeypatch, method, came_later):
    monkeypatch.setitem(NETWORKS, "fast", TINY_NETWORK)
    data = small_data(number=60)
    settings = [
        "epochs=3",
        "batch_size=32",
        *(f"{key}={value}" for key, value in came_later.items()),
    ]
    recipe = with_settings(recipe_for("cpu", method), settings)
    job = Job(data, noisy(data.train_labels, 10), recipe, device="cpu")
    whole = Run(job, tmp_path / "whole")
    whole.start()
    list(whole.epochs())
    out = tmp_path / "stopped"
    run = Run(job, out)
    run.start()
    epochs = run.epochs()
    next(epochs)
    epochs.close()

    saved = json.loads((out / "run.json").read_text())
    saved["recipe"] = _of_earlier(saved["recipe"], without=came_later)
    (out / "run.json").write_text(json.dumps(saved))
    with safe_open(out / CHECKPOINT, framework="pt") as file:
        stamp = json.loads(file.metadata()["run"])
    del stamp["sha256"]
    stamp["recipe"] = _of_earlier(stamp["recipe"], without=came_later)
    state = load_file(out / CHECKPOINT)
    (out / CHECKPOINT).write_bytes(checkpoint_bytes(state, stamp))

    resumed = Run(job, out)
    resumed.resume()
    assert [epoch.epoch for epoch in resumed.epochs()] == [2, 3]
    ours, theirs = (load_file(where / CHECKPOINT) for where in (out, tmp_path / "whole"))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


STRANGE = {
    "null": "it is not the record of a run",
    "[]": "it is not the record of a run",
    "{}": "it is not the record of a run",
    '"text"': "it is not the record of a run",
    "": "not JSON, or damaged",
    '{"status": "completed", "method": "sop"}': "it is not the record of a run",
    '{"schema_version": 0}': "its schema_version is 0; 1 can be read",
    '{"schema_version": 1}': "it is damaged: status is missing or malformed",
}


@pytest.mark.parametrize("text", STRANGE)
def test_a_strange_record_is_one_line(folder, text):
    (folder / "other").mkdir()
    (folder / "other" / "run.json").write_text(text)
    reason = rf"cannot read '.*other/run\.json': {STRANGE[text]}"
    with pytest.raises(FileError, match=reason) as caught:
        read_runs(folder)
    assert "\n" not in str(caught.value)
    # The comparison of the others is made all the same.
    table = write_comparison(folder)
    assert "| symmetric-0.3 | sop | 96.67 |" in table
    *_, last = table.splitlines()
    assert re.match(rf"Skipped: {reason}", last)


CHANGES = {
    "status": ("status", "done"),
    "seed": ("seed", "1"),
    "threads": ("threads", True),
    "recipe.method": ("recipe", {}),
    "data.fingerprint": ("data", {"name": "a", "train_images": 1, "class_names": []}),
    "data.train_images": ("data", {"name": "a", "train_images": None, "class_names": []}),
    "results": ("results", None),
    "noise": ("noise", 0.3),
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_malformed_part_is_named(folder, key):
    path = folder / "sop" / "run.json"
    record = json.loads(path.read_text())
    part, value = CHANGES[key]
    path.write_text(json.dumps(record | {part: value}))
    with pytest.raises(FileError, match=f"it is damaged: {key} is missing or malformed"):
        read_record(folder / "sop")
    del record[part]
    path.write_text(json.dumps(record))
    with pytest.raises(FileError, match=f"it is damaged: {part} is missing or malformed"):
        read_record(folder / "sop")


@pytest.mark.parametrize("key", ["accuracy", "best_accuracy", "seconds", "training_seconds"])
@pytest.mark.parametrize("value", [None, "fast", True, [], float("nan"), float("inf"), 10**400])
def test_results_that_a_completed_run_has(folder, key, value):
    path = folder / "sop" / "run.json"
    record = json.loads(path.read_text())
    record["results"][key] = value
    path.write_text(json.dumps(record))
    with pytest.raises(FileError, match=f"damaged: results.{key} is missing or malformed"):
        read_runs(folder)
    assert f"damaged: results.{key} is missing" in write_comparison(folder)
    record["results"] = {}
    path.write_text(json.dumps(record))
    with pytest.raises(FileError, match=r"damaged: results\.accuracy is missing or malformed"):
        read_record(folder / "sop")


@pytest.mark.parametrize(
    "arguments",
    [
        {"noise_type": "symmetric", "noise": "x"},
        {"noise_type": "symmetric", "noise": [1]},
        {"noise_type": [1], "noise": 0.2},
        {"noise_type": "asymmetric", "noise": 0.2, "mapping": [1]},
        {"noise_type": "worst", "noise": 0.2},
    ],
)
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_arguments_that_are_none(folder, arguments, status):
    path = folder / "sop" / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"arguments": arguments, "status": status}))
    (line,) = [x for x in write_comparison(folder).splitlines() if x.startswith("Skipped: ")]
    assert "sop/run.json': its arguments are damaged: " in line


def test_noise_that_is_none_is_one_line(folder):
    path = folder / "sop" / "run.json"
    record = json.loads(path.read_text())
    record["arguments"]["noise_type"] = "heavy"
    path.write_text(json.dumps(record))
    with pytest.raises(
        FileError,
        match=r"run\.json': its arguments are damaged: no noise 'heavy'; there are symmetric, ",
    ):
        read_runs(folder)
    record["arguments"] = {}
    path.write_text(json.dumps(record))
    assert [row["noise"] for row in read_runs(folder)] == ["symmetric-0.3", "as given"]
