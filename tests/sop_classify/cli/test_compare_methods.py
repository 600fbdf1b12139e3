"""The command `compare-methods`: a grid that resumes, and a table that says what failed."""

import csv
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from sop_classify.reports.comparison import read_runs, write_comparison
from sop_classify.training.loop import TrainingLoop
from tests.helpers.command_line import app
from tests.helpers.labels import noisy, small_data

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    data = small_data(number=60, tests=21)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    arrays = {"train_images": data.train_images, "train_labels": data.train_labels}
    arrays |= {"test_images": data.test_images, "test_labels": data.test_labels}
    np.savez(path, **arrays)
    return path


def compare(npz, out, *arguments):
    command = ["compare-methods", "--out", str(out), "--data", str(npz), "--device", "cpu"]
    command += ["--epochs", "2", "--set", "batch_size=20"]
    return CliRunner().invoke(app, [*command, *map(str, arguments)])


@pytest.mark.slow
def test_a_grid_resumes_and_becomes_a_table(npz, tmp_path, monkeypatch):
    out = tmp_path / "grid"
    grid = ["--methods", "ce,sop, coteaching+", "--noise", "0.2", "--seeds", "0,1"]
    stop, trained = TrainingLoop.train_once, []

    def interrupted(self, on_batch):
        trained.append((self.recipe.method, self.epoch))
        if len(trained) == 4:
            raise KeyboardInterrupt
        return stop(self, on_batch)

    monkeypatch.setattr(TrainingLoop, "train_once", interrupted)
    assert compare(npz, out, *grid).exit_code == 130
    assert json.loads((out / "symmetric-0.2-sop-0" / "run.json").read_text())["status"] == (
        "interrupted"
    )
    result = compare(npz, out, *grid)
    assert result.exit_code == 0, result.output
    # Two epochs of six runs, the one interrupted made again, nothing else twice.
    assert len(trained) == 13
    assert compare(npz, out, *grid).exit_code == 0
    assert len(trained) == 13

    with (out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["seed"]) for row in rows] == [
        (m, s) for m in ("ce", "coteaching+", "sop") for s in ("0", "1")
    ]
    text = (out / "comparison.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| symmetric-0.2")]
    assert [line.split(" | ")[1] for line in lines] == ["ce", "sop", "coteaching+"]
    mean = np.mean([100 * float(row["accuracy"]) for row in rows if row["method"] == "ce"])
    assert f"| {mean:.2f} ± " in lines[0]
    assert lines[0].endswith("|  | 2 |")  # nothing is published of these data
    assert "both networks" in text
    assert (out / "comparison.png").stat().st_size > 5000
    assert lines[0] in result.stdout

    # One noise file for all methods of a seed, and another for another seed.
    labels = {path.parent.name: np.load(path)["given_labels"] for path in out.glob("*/labels.npz")}
    assert (labels["symmetric-0.2-ce-0"] == labels["symmetric-0.2-coteaching+-0"]).all()
    assert (labels["symmetric-0.2-ce-0"] != labels["symmetric-0.2-ce-1"]).any()
    told = json.loads((out / "symmetric-0.2-coteaching+-0" / "run.json").read_text())
    assert told["recipe"]["noise_rate"] == pytest.approx(0.2, abs=0.05)


def test_published_numbers_stand_beside_cifar10_alone(tmp_path):
    data = small_data(number=60, tests=20, classes=10)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    path = tmp_path / "small.npz"
    arrays = {"train_images": data.train_images, "train_labels": data.train_labels}
    arrays |= {"test_images": data.test_images, "test_labels": data.test_labels}
    np.savez(path, class_names=names, **arrays)
    result = compare(path, tmp_path / "grid", "--methods", "ce")
    assert "| 86.98 | 1 |" in result.stdout
    record = tmp_path / "grid" / "symmetric-0.2-ce-0" / "run.json"
    record.write_text(record.read_text()[:-5])
    result = compare(path, tmp_path / "grid", "--table")
    assert (result.exit_code, result.stderr) == (0, "")
    *_, last = result.stdout.splitlines()
    assert re.match(r"Skipped: cannot read '.*run\.json': not JSON, or damaged", last)


@pytest.mark.parametrize("text", ["null", "[]", "{}", "7", '{"schema_version": 1}', ""])
def test_foreign_records_are_skipped_in_one_line(npz, tmp_path, text):
    out = tmp_path / "grid"
    (out / "foreign").mkdir(parents=True)
    (out / "foreign" / "run.json").write_text(text)
    result = compare(npz, out, "--table")
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("Skipped: ")]
    assert "foreign/run.json" in line


def test_a_folder_without_runs_gets_no_table(npz, tmp_path):
    for folder, message in ((tmp_path / "none", "No such file"), (tmp_path, "it holds no runs")):
        result = compare(npz, folder, "--table")
        assert (result.exit_code, result.stdout) == (1, "")
        assert message in result.stderr
    assert not list(tmp_path.glob("comparison.*"))


def test_a_foreign_record_stops_no_training(npz, tmp_path):
    out = tmp_path / "grid"
    (out / "foreign").mkdir(parents=True)
    (out / "foreign" / "run.json").write_text("null")
    result = compare(npz, out, "--methods", "ce,elr")
    assert result.exit_code == 0, result.output
    assert "| symmetric-0.2 | elr |" in result.stdout


@pytest.mark.slow
def test_equal_time_shortens_the_dear_ones(npz, tmp_path):
    arguments = ["--methods", "ce,sop+,elr+", "--equal-time", "--epochs", "6"]
    arguments += ["--set", "strong_share=0.2"]
    assert compare(npz, tmp_path / "grid", *arguments).exit_code == 0
    epochs = {row["method"]: row["epochs"] for row in read_runs(tmp_path / "grid")}
    assert epochs == {"ce": 6, "sop+": 5, "elr+": 2}


def test_rate_and_schedule_are_of_the_length_of_each_training(npz, tmp_path):
    settings = ["--set", "sop.epochs=3", "--set", "elr.lr=0.1"]
    assert compare(npz, tmp_path, "--methods", "ce,sop,elr", *settings).exit_code == 0
    recipes = {
        path.parent.name.split("-")[2]: json.loads(path.read_text())["recipe"]
        for path in tmp_path.glob("*/run.json")
    }
    assert {name: recipe["epochs"] for name, recipe in recipes.items()} == {
        "ce": 2,
        "sop": 3,
        "elr": 2,
    }
    assert recipes["sop"]["activation_epochs"] == pytest.approx(12 / 11)
    assert {name: recipe["lr"] for name, recipe in recipes.items()} == {
        "ce": 0.24,
        "sop": 0.24,
        "elr": 0.1,
    }


def test_settings_for_one_method(npz, tmp_path):
    settings = ["--set", "sop.activation_epochs=1", "--set", "pad=1"]
    result = compare(npz, tmp_path / "grid", "--methods", "ce,sop", *settings)
    assert result.exit_code == 0, result.output
    recipes = {
        path.parent.name: json.loads(path.read_text())["recipe"]
        for path in (tmp_path / "grid").glob("*/run.json")
    }
    assert {recipe["pad"] for recipe in recipes.values()} == {1}
    assert recipes["symmetric-0.2-sop-0"]["activation_epochs"] == 1
    assert "activation_epochs" not in recipes["symmetric-0.2-ce-0"]


def test_a_setting_for_all_is_for_those_that_have_it(npz, tmp_path):
    arguments = ["--methods", "ce,elr", "--set", "regularisation=1", "--budget", "cpu"]
    result = compare(npz, tmp_path / "grid", *arguments)
    assert result.exit_code == 0, result.output
    recipes = [json.loads(p.read_text())["recipe"] for p in (tmp_path / "grid").glob("*/run.json")]
    assert {r["method"]: r.get("regularisation") for r in recipes} == {"ce": None, "elr": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "ce,magic"], "no method 'magic'"),
        (["--methods", "ce,,sop"], "--methods is 'ce,,sop'"),
        (["--seeds", "0,x"], "--seeds is '0,x'"),
        (["--seeds", "0,-1"], "--seeds is '0,-1'"),
        (["--seeds", "9223372036854775808"], "--seeds is '9223372036854775808'"),
        (["--noise", "heavy"], "noise is 'heavy'"),
        (["--noise", "heavy:0.2"], "no noise 'heavy'"),
        (["--noise", "symmetric:x"], "noise is 'symmetric:x'"),
        (["--noise", "1.5"], "the noise rate is 1.5"),
        (["--noise", "worst"], "'worst'"),
        (["--noise", "worst:0.2"], "noise 'worst' are labels of people; it has no rate"),
        (["--noise", "asymmetric"], "noise 'asymmetric' needs a rate"),
        (["--noise", "instance"], "noise 'instance' needs a rate"),
        (["--noise", "symmetric"], "noise 'symmetric' needs a rate"),
        (["--noise", "0.2,asymmetric:0.2"], "no mapping of 3 classes; there are cifar10 (10 "),
        (["--set", "lr=fast"], "lr is 'fast'"),
        (["--set", "lr=1e308"], "lr is 1e+308"),
        (["--set", "activation_epochs=1e-3"], "activation_epochs is 0.001; from init=0.03 it must"),
        (["--set", "magic.lr=1"], "no setting 'magic.lr'"),
        (["--methods", "ce,sop", "--set", "mixup=1"], "method 'ce' has no setting 'mixup'; it has"),
        (["--methods", "ce,sop", "--set", "ce.init=0.1"], "method 'ce' has no setting 'init'"),
        (["--methods", "ce,sop", "--set", "elr.pad=1"], "is for 'elr', which is not in --methods"),
    ],
)
def test_bad_words_are_one_line(npz, tmp_path, arguments, message):
    result = compare(npz, tmp_path / "grid", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not (tmp_path / "grid").exists()


def test_a_table_of_nothing_is_empty(tmp_path):
    assert write_comparison(tmp_path).count("\n") == 1
    assert not (tmp_path / "comparison.png").exists()


def test_a_table_without_matplotlib(npz, tmp_path, monkeypatch):
    assert compare(npz, tmp_path, "--methods", "ce").exit_code == 0
    (tmp_path / "comparison.png").unlink()
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "| ce |" in write_comparison(tmp_path)
    assert not (tmp_path / "comparison.png").exists()


def test_the_same_settings_train_the_same_in_a_grid_and_alone(npz, tmp_path):
    assert compare(npz, tmp_path / "grid", "--methods", "elr").exit_code == 0
    alone = [
        "train-cifar",
        "--data",
        str(npz),
        "--noise",
        "0.2",
        "--method",
        "elr",
        "--epochs",
        "2",
    ]
    alone += ["--set", "batch_size=20", "--device", "cpu", "--out", str(tmp_path / "alone")]
    assert CliRunner().invoke(app, alone).exit_code == 0
    rows = []
    for folder in (tmp_path / "grid" / "symmetric-0.2-elr-0", tmp_path / "alone"):
        with (folder / "metrics.csv").open() as file:
            rows.append([row["train_loss"] for row in csv.DictReader(file)])
    assert rows[0] == rows[1]


def test_drawn_noise_and_peoples_in_one_grid(npz, tmp_path):
    data = dict(np.load(npz))
    people = tmp_path / "people.npz"
    labels = noisy(data["train_labels"], 10)
    np.savez(people, worse_label=labels, clean_label=data["train_labels"])
    noise = ["--methods", "ce", "--noise", "0.2,worst", "--human-labels"]
    result = compare(npz, tmp_path / "grid", *noise, people)
    assert result.exit_code == 0, result.output
    runs = {path.parent.name: np.load(path) for path in (tmp_path / "grid").glob("*/labels.npz")}
    assert sorted(runs) == ["symmetric-0.2-ce-0", "worst-ce-0"]
    np.testing.assert_array_equal(runs["worst-ce-0"]["given_labels"], labels)

    # A wrong file of the second case is found before the first is trained.
    result = compare(npz, tmp_path / "other", *noise, tmp_path / "none.npz")
    assert result.exit_code == 1
    assert "none.npz" in result.stderr
    assert not (tmp_path / "other").exists()
    result = compare(npz, tmp_path / "other", *noise[:3], "0.2", "--human-labels", people)
    assert result.exit_code == 2
    assert "--human-labels needs a --noise of aggre" in result.stderr


def test_a_method_that_diverges_stops_no_other(npz, tmp_path):
    out = tmp_path / "grid"
    arguments = ["--methods", "ce,elr,sop", "--set", "ce.lr=1e30", "--set", "ce.optimizer=sgd"]
    arguments += ["--set", "ce.ema=0.5"]
    result = compare(npz, out, *arguments)
    assert result.exit_code == 1
    *_, last = result.stderr.splitlines()
    assert last == "error: 1 run failed: symmetric-0.2-ce-0"
    assert "symmetric-0.2-ce-0: failed: the loss is " in result.stderr
    assert [row["method"] for row in read_runs(out)] == ["elr", "sop"]
    lines = result.stdout.splitlines()
    (failed,) = [line for line in lines if line.startswith("| symmetric-0.2 | ce |")]
    assert failed.endswith("|  | 0 (1 failed) |")
    assert any(line.startswith("Failed: symmetric-0.2-ce-0: the loss is ") for line in lines)
    assert result.stdout.strip() in (out / "comparison.md").read_text()
    # The table says so for as long as it is true.
    table = compare(npz, out, "--table")
    assert (table.exit_code, table.stdout) == (0, result.stdout)


def test_what_a_killed_start_has_left_is_no_other_file(npz, tmp_path):
    (tmp_path / "symmetric-0.2-ce-0").mkdir()
    (tmp_path / "symmetric-0.2-ce-0" / ".lock").touch()
    result = compare(npz, tmp_path, "--methods", "ce", "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "comparison.csv").exists()


def test_a_folder_of_other_files_is_left_alone(npz, tmp_path):
    (tmp_path / "comparison.md").write_text("mine")
    result = compare(npz, tmp_path, "--methods", "ce")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "it holds 'comparison.md' and no runs" in result.stderr
    assert (tmp_path / "comparison.md").read_text() == "mine"


def test_a_damaged_run_is_named_with_what_to_do(npz, tmp_path):
    run = tmp_path / "symmetric-0.2-ce-0"
    run.mkdir()
    (run / "run.json").write_text("{")
    result = compare(npz, tmp_path, "--methods", "ce")
    assert result.exit_code == 1
    assert f"remove {str(run)!r} to train it anew" in result.stderr


def test_runs_do_not_go_into_the_data(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
    for command in (["compare-methods"], ["train-cifar", "--noise", "0.2"]):
        words = [*command, "--data", str(tmp_path), "--out", str(tmp_path / "train" / "run")]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "it is inside the data" in result.stderr
    assert not (tmp_path / "train" / "run").exists()


def test_an_option_and_a_setting_that_contradict_each_other(npz, tmp_path):
    for number in (0, 3):
        setting = ("--set", f"epochs={number}")
        result = compare(npz, tmp_path / "out", "--methods", "ce", *setting)
        assert result.exit_code == 2
        assert f"--epochs 2 and --set epochs={number} contradict each other" in result.stderr
        words = ["train-cifar", "--epochs", "2", *setting, "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "contradict each other" in result.stderr
    assert not (tmp_path / "out").exists()


def test_runs_that_differ_in_more_than_their_seeds_are_named(npz, tmp_path):
    assert compare(npz, tmp_path / "out", "--methods", "ce").exit_code == 0
    more = ["--methods", "ce", "--seeds", "1", "--limit", "40"]
    result = compare(npz, tmp_path / "out", *more)
    assert result.exit_code == 0, result.output
    line = "Unlike: the runs of ce with noise symmetric-0.2 have different limit (40, None)"
    assert line in result.stdout
    assert "Unlike" in (tmp_path / "out" / "comparison.md").read_text()
