"""The command `train-cifar`: a run folder, the last epoch first, one clear line for bad input."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from sop_classify.labels.rate import estimate_noise_rate
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import adapted
from sop_classify.runs.model import read_model
from tests.helpers.command_line import app
from tests.helpers.labels import small_data

ROOT = Path(__file__).parents[3]
SMALL = ["--recipe", "cpu", "--epochs", "2", "--set", "batch_size=32", "--device", "cpu"]


def train(*arguments):
    return CliRunner().invoke(app, ["train-cifar", *map(str, arguments)])


def lines(text):
    return [line for line in text.splitlines() if line]


@pytest.fixture
def npz(tmp_path):
    data = small_data()
    path = tmp_path / "small.npz"
    np.savez(
        path,
        train_images=data.train_images,
        train_labels=data.train_labels,
        test_images=data.test_images,
        test_labels=data.test_labels,
        class_names=np.array(data.class_names),
        cifar10n_worse=np.roll(data.train_labels, 1),
    )
    return path


def test_a_run_is_a_folder(npz, tmp_path):
    out = tmp_path / "run"
    arguments = ["--data", npz, "--noise", "0.25", "--out", out, "--json", *SMALL]
    result = train(*arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    keys = {"accuracy", "best_accuracy", "memorized", "noise_rate", "estimated_noise_rate"}
    assert keys | {"issues_auroc", "seconds", "run"} <= summary.keys()
    assert summary["run"] == str(out)
    assert summary["noise_rate"] == 0.25
    assert 0 <= summary["accuracy"] <= summary["best_accuracy"] <= 1
    names = {path.name for path in out.iterdir()} - {"curves.png"}
    assert names == {
        "run.json",
        "metrics.csv",
        "labels.npz",
        "checkpoint.safetensors",
        "label_issues.csv",
        "transition_matrix.csv",
        "confusion_matrix.csv",
        "model.safetensors",
        "report.html",
    }
    labels = np.load(out / "labels.npz")
    assert (labels["given_labels"] != labels["true_labels"]).sum() == 24
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["test_accuracy"]) == summary["accuracy"]
    with (out / "label_issues.csv").open() as file:
        issues = list(csv.DictReader(file))
    assert list(issues[0]) == [
        "index",
        "is_label_issue",
        "label_score",
        "given_label",
        "predicted_label",
    ]
    assert sorted(int(row["index"]) for row in issues) == list(range(96))
    assert issues[0]["given_label"] in ("c0", "c1", "c2")

    description = json.loads((out / "run.json").read_text())
    assert description["status"] == "completed"
    assert description["recipe"]["epochs"] == 2
    assert description["noise"]["realised_rate"] == 0.25
    # A run that is there is not written over, and a finished one has nothing left to do.
    again = train(*arguments)
    assert again.exit_code == 1
    assert re.fullmatch(r"error: .*is not empty.*\n", again.stderr)
    resumed = train(*arguments, "--resume")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout) == summary


def test_what_people_read(npz, tmp_path):
    out = tmp_path / "run"
    result = train("--data", npz, "--noise", "0.25", "--out", out, *SMALL)
    assert result.exit_code == 0
    assert "24 of 96 labels are wrong (25.00%)" in result.stderr
    assert "warning" not in result.stderr
    assert re.search(r"epoch 2/2: loss [\d.]+, test accuracy [\d.]+%", result.stderr)
    first, *_, last = lines(result.stdout)
    assert re.fullmatch(r"test accuracy, last epoch: [\d.]+ % \(best [\d.]+ %\)", first)
    assert last == str(out)


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        # With 2 epochs the step sizes grow over 1.8 of them.
        (["activation_epochs=7"], 8),
        (["activation_epochs=4", "alpha_warmup=10"], 9),
        (["alpha_u=1", "alpha_v=1e-6"], r"\d+"),
    ],
)
def test_labels_that_would_not_be_given_up_in_time_are_warned_of(npz, tmp_path, settings, epochs):
    chosen = [word for setting in settings for word in ("--set", setting)]
    result = train("--data", npz, "--noise", "0.25", "--out", tmp_path / "run", *SMALL, *chosen)
    assert result.exit_code == 0
    warning = (
        f"warning: SOP gives up a label after {epochs} epochs of contradiction, and there are 2"
    )
    assert re.search(warning, result.stderr)


def test_rate_and_schedule_are_of_the_length_of_the_training(npz, tmp_path):
    def recipe(name, *arguments):
        arguments = ["--data", npz, "--out", tmp_path / name, "--device", "cpu", *arguments]
        result = train(*arguments, "--set", "batch_size=32")
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / name / "run.json").read_text())["recipe"]

    usual = recipe_for("cpu", "sop")
    short = adapted(usual, 96, epochs=2)
    assert short.lr == 0.24
    for name, given in (("option", ["--epochs", "2"]), ("setting", ["--set", "epochs=2"])):
        made = recipe(name, "--recipe", "cpu", *given)
        for field in ("lr", "activation_epochs", "alpha_warmup", "epochs"):
            assert made[field] == getattr(short, field)
    chosen = recipe("chosen", "--recipe", "cpu", "--epochs", "2", "--set", "lr=0.1")
    assert chosen["lr"] == 0.1
    paper = recipe("paper", "--recipe", "paper", "--epochs", "3", "--network", "small-cnn")
    assert (paper["lr"], paper["milestones"]) == (0.02, [1, 2])


def test_labels_of_unknown_truth(npz, tmp_path):
    result = train("--data", npz, "--out", tmp_path / "run", "--json", "-q", *SMALL)
    assert result.exit_code == 0
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    assert summary["noise_rate"] is summary["memorized"] is summary["issues_auroc"] is None
    assert 0 <= summary["estimated_noise_rate"] <= 1


def test_the_noise_rate_is_estimated_from_what_was_trained_on(npz, tmp_path):
    """Not the fraction of contradicted labels, in which the network's own errors are."""
    out = tmp_path / "run"
    result = train("--data", npz, "--noise", "0.25", "--out", out, "--json", "-q", *SMALL)
    given = np.load(out / "labels.npz")["given_labels"]
    averaged = load_file(out / "checkpoint.safetensors")["probability"]
    said = read_model(out).predict(np.load(npz)["train_images"])
    expected = estimate_noise_rate(
        given, said, training_labels=given, training_probability=said, averaged_probability=averaged
    ).estimate
    estimated = json.loads(result.stdout)["estimated_noise_rate"]
    assert estimated == pytest.approx(expected, abs=1e-4)
    assert estimated < (averaged.argmax(1) != given).mean() - 0.05


def test_of_a_loss_that_explains_wrong_labels_the_contradicted_are_counted(npz, tmp_path):
    out = tmp_path / "run"
    made = train("--data", npz, "--method", "ce", "--out", out, "--json", "-q", *SMALL)
    averaged = load_file(out / "checkpoint.safetensors")["probability"]
    given = np.load(out / "labels.npz")["given_labels"]
    estimated = json.loads(made.stdout)["estimated_noise_rate"]
    assert estimated == pytest.approx((averaged.argmax(1) != given).mean())


def test_the_default_folder_is_named_after_the_run(npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for noise in (["--noise", "0.25"], []):
        assert train("--data", npz, "--method", "ce", "-q", *noise, *SMALL).exit_code == 0
    names = sorted(path.name.split("-", 2)[2] for path in (tmp_path / "runs").iterdir())
    assert names == ["small-ce-as-given-0", "small-ce-symmetric-0.25-0"]


def test_methods_and_kinds_of_noise(npz, tmp_path):
    for i, arguments in enumerate(
        [
            ["--method", "ce", "--noise", "0.2", "--noise-type", "instance"],
            ["--method", "sop+", "--noise", "0.2", "--limit", "60"],
        ]
    ):
        out = tmp_path / str(i)
        result = train("--data", npz, "--out", out, *arguments, "--json", "-q", *SMALL)
        assert result.exit_code == 0, result.output
        assert (out / "label_issues.csv").exists()


def test_the_labels_of_people(npz, tmp_path):
    # small.npz has three classes; labels of CIFAR-10N must fit its ten.
    result = train("--data", npz, "--noise-type", "worst", "--out", tmp_path / "run", *SMALL)
    labels = np.load(npz)
    assert result.exit_code == 0, result.output
    saved = np.load(tmp_path / "run" / "labels.npz")
    np.testing.assert_array_equal(saved["given_labels"], labels["cifar10n_worse"])
    missing = train("--data", npz, "--noise-type", "aggre", "--out", tmp_path / "b", *SMALL)
    assert missing.exit_code == 1
    assert "it has no 'aggre_label'" in missing.stderr


def test_the_labels_of_people_beside_a_column_of_labels_and_a_large_suffix(npz, tmp_path):
    with np.load(npz) as file:
        arrays = dict(file)
    columns = {key: values[:, None] for key, values in arrays.items() if values.ndim == 1}
    del columns["class_names"]
    np.savez(tmp_path / "columns.npz", **arrays | columns)
    place = (tmp_path / "columns.npz").rename(tmp_path / "COLUMNS.NPZ")
    result = train("--data", place, "--noise-type", "worst", "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "run" / "labels.npz") as saved:
        np.testing.assert_array_equal(saved["given_labels"], arrays["cifar10n_worse"])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (
            ["--noise", "1"],
            r"the noise rate is 1.0; a finite number at least 0 and below 1 is needed",
        ),
        (["--noise", "-0.1"], r"the noise rate is -0.1"),
        (["--noise", "nan"], r"the noise rate is nan"),
        (["--noise", "0.2", "--noise-type", "worst"], "noise 'worst' are labels of people"),
        (["--noise", "0.2", "--noise-type", "asymmetric"], "cifar10.*10 classes"),
        (["--noise-type", "instance"], "noise 'instance' needs a rate"),
        (["--noise-type", "asymmetric"], "noise 'asymmetric' needs a rate"),
        (["--noise", "0.2", "--mapping", "cifar10"], "mapping 'cifar10' is for asymmetric noise"),
        (["--mapping", "cifar10"], "noise 'symmetric' needs a rate"),
        (["--method", "coteaching+"], "noise_rate is 0.0; coteaching.* has to know"),
        (["--limit", "2"], "cannot keep 2 training examples"),
        (["--limit", "97"], "cannot keep 97"),
        (["--set", "epoch=3"], "no setting 'epoch'; did you mean 'epochs'"),
        (["--method", "ce", "--set", "mixup=4"], "method 'ce' has no setting 'mixup'; it has netw"),
        (["--set", "lr=1e308"], r"lr is 1e\+308; a finite number above 0 and at most 1e\+30 is"),
        (["--set", "lr=0"], r"lr is 0.0; a finite number above 0"),
        (["--set", "learning_rate=1"], "no setting 'learning_rate'; did you mean 'lr'"),
        (["--set", "batch_size=x"], "batch_size is 'x'; a whole number is needed"),
        (["--set", "momentum"], "has no value; write momentum=VALUE"),
        (["--set", "network=vgg"], "network is 'vgg'; use one of fast"),
        (["--data", "nothing.npz"], "cannot read 'nothing.npz'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(npz, tmp_path, arguments, why):
    out = tmp_path / "run"
    result = train("--data", npz, "--out", out, *SMALL, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = lines(result.stderr)
    assert re.match(f"error: .*{why}", line), line
    assert not out.exists()


def test_usage_errors_exit_2(npz):
    assert train("--data", npz, "--resume").exit_code == 2
    for option in ("--method", "--recipe", "--network", "--noise-type", "--mapping"):
        result = train("--data", npz, option, "magic")
        assert result.exit_code == 2
        assert "magic" in result.stderr
    assert train("--device", "tpu").exit_code == 2
    for noise in ([], ["--noise", "0.2"]):
        result = train("--data", npz, *noise, "--human-labels", "x.pt")
        assert result.exit_code == 2
        assert "--human-labels needs a --noise-type of aggre" in result.stderr


def test_a_changed_setting_on_resume_is_named(npz, tmp_path):
    out = tmp_path / "run"
    start = ["--data", npz, "--noise", "0.25", "--out", out, *SMALL]
    assert train(*start).exit_code == 0
    changed = train(*start, "--resume", "--set", "lr=0.5", "--seed", "3")
    assert changed.exit_code == 1
    (line,) = lines(changed.stderr)
    assert "recipe.lr" in line
    assert "seed" in line


def test_ctrl_c_keeps_what_is_done_and_exits_130(npz, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "cli.py", "train-cifar", "--data", npz, "--noise", "0.25", "--out"]
    command += [out, "--json", *SMALL, "--epochs", "100000"]
    with subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 120
        metrics = out / "metrics.csv"
        while not metrics.exists() or metrics.read_text().count("\n") < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert re.search(r"interrupted: \d+ of 100000 epochs are in .*; continue with --resume", stderr)
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize(
    ("command", "methods"),
    [
        (["train-cifar", "--method", "elr"], ["elr"]),
        (["compare-methods", "--methods", "ce,elr"], ["ce", "elr"]),
        (["train", "--method", "elr"], ["elr"]),
    ],
)
def test_help_on_settings(command, methods):
    result = CliRunner().invoke(app, [*command, "--set", "help"])
    assert (result.exit_code, result.stderr) == (0, "")
    titles = [line for line in result.stdout.splitlines() if line.startswith("settings of")]
    assert [title.split()[3].rstrip(",") for title in titles] == methods
    assert "target_decay    number at least 0 and below 1" in result.stdout
    text = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "300"}).stdout
    assert "--set help lists" in text


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (["train"], "DATA"),
        (["train", "data"], "--out"),
        (["find-label-errors", "data"], "--out"),
        (["compare-methods", "--methods", "ce"], "--out"),
    ],
)
def test_settings_are_listed_without_what_else_a_command_needs(command, missing):
    listed = CliRunner().invoke(app, [*command, "--set", "help"])
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert "batch_size" in listed.stdout
    without = CliRunner().invoke(app, command)
    assert (without.exit_code, without.stdout) == (2, "")
    assert f"{missing} is missing; only --set help does without it" in without.stderr
    text = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "300"}).stdout
    assert text.count("[required]") == 1 + (command[0] != "compare-methods")


@pytest.mark.parametrize(("command", "extra"), [("export", "onnx"), ("train", "pretrained")])
def test_help_names_the_extra_that_is_needed(command, extra):
    """Brackets are markup there unless they are escaped."""
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
    assert f"pip install 'robustdip[{extra}]'" in text


def test_no_epochs_are_refused(npz, tmp_path):
    out = tmp_path / "run"
    result = train("--data", npz, "--recipe", "cpu", "--set", "epochs=0", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: epochs is 0; a whole number from 1 to ")
    assert not out.exists()


@pytest.mark.parametrize("results", [None, {}, {"accuracy": None}, {"accuracy": "high"}])
def test_a_completed_run_with_damaged_results_is_one_line(npz, tmp_path, results):
    out = tmp_path / "run"
    arguments = ["--data", npz, "--out", out, "--method", "ce", "-q", *SMALL]
    assert train(*arguments).exit_code == 0
    saved = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(saved | {"results": results}))
    result = train(*arguments, "--resume")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = lines(result.stderr)
    assert re.match(r"error: cannot read '.*run\.json': it is damaged: results", line)


def test_an_image_folder_names_the_files_of_its_labels(tmp_path):
    data = small_data(number=60, tests=15)
    for split, images, labels in [
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ]:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            place = tmp_path / "data" / split / f"c{label}" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place)
    out = tmp_path / "run"
    assert train("--data", tmp_path / "data", "--out", out, "-q", *SMALL).exit_code == 0
    with (out / "label_issues.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[4:] == ["predicted_label", "file"]
    assert len({row["file"] for row in rows}) == 60
    for row in rows:
        assert row["file"].split("/")[:2] == ["train", row["given_label"]]
        assert (tmp_path / "data" / row["file"]).exists()


@pytest.mark.parametrize(
    ("method", "flags", "told"), [("sop", [], True), ("sop", ["-q"], False), ("ce", [], False)]
)
def test_many_classes_are_said_to_take_long(npz, tmp_path, monkeypatch, method, flags, told):
    """The estimate of the rate of wrong labels says nothing while it computes."""
    monkeypatch.setattr("sop_classify.cli.train_cifar._MANY_CLASSES", 3)
    result = train("--data", npz, "--out", tmp_path / "run", "--method", method, *flags, *SMALL)
    assert result.exit_code == 0, result.output
    note = "note: after the last epoch the rate of wrong labels is estimated, with 3 classes for"
    assert (note in result.stderr) == told
