"""Promise: every method trains on the same terms, and a grid of them resumes and is compared."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from sop_classify.methods.losses import loss_for
from torch import nn
from typer.testing import CliRunner

from sop_classify.methods.build import TRAININGS, training_for
from sop_classify.recipes import METHODS, recipe_for, resized, with_settings
from sop_classify.reports import comparison
from sop_classify.reports.comparison import PUBLISHED, read_runs, write_comparison
from sop_classify.training.loop import Training
from tests.helpers.command_line import app
from tests.helpers.labels import noisy, run, small_data

pytestmark = pytest.mark.usefixtures("one_thread")


def small(method, *settings, epochs=2):
    recipe = resized(recipe_for("cpu", method), epochs)
    rate = ["noise_rate=0.3"] if method == "coteaching+" else []
    return with_settings(recipe, ["batch_size=32", *rate, *settings])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_training_and_reports_alike(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    training = training_for(data, given, small(method), true_labels=data.train_labels, device="cpu")
    assert type(training) is TRAININGS.get(method, Training)
    epochs = run(training)
    assert epochs[-1].test_accuracy > 0.6
    several = training.num_networks == 2
    assert len(training.networks) == training.num_networks
    assert (epochs[-1].test_accuracy_ensemble is not None) == several
    assert all(0 <= e.memorized + e.recovered <= 1 for e in epochs)
    assert all(e.backward_passes >= 1 for e in epochs)
    assert all(e.forward_passes >= e.backward_passes for e in epochs)
    torch.testing.assert_close(training.probability.sum(1), torch.ones(96))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_continues_bit_for_bit(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    recipe = small(method, "ema=0.9", epochs=4)
    whole, first, second = (
        training_for(data, given, recipe, seed=seed, device="cpu") for seed in (0, 0, 5)
    )
    run(whole)
    epochs = first.epochs()
    next(epochs), next(epochs)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    run(second)
    theirs = second.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_no_method_sees_the_truth(method):
    data = small_data()
    given = noisy(data.train_labels, 30)
    known = training_for(data, given, small(method), true_labels=data.train_labels, device="cpu")
    unknown = training_for(data, given, small(method), device="cpu")
    for a, b in zip(run(known), run(unknown), strict=True):
        assert (a.train_loss, a.test_accuracy) == (b.train_loss, b.test_accuracy)
        assert b.memorized is None


def test_passes_are_what_the_methods_need():
    data = small_data()
    passes = {}
    for method in ("ce", "sop", "sop+", "elr", "elr+", "coteaching+"):
        *_, last = run(training_for(data, data.train_labels, small(method), device="cpu"))
        passes[method] = (last.forward_passes, last.backward_passes)
    assert passes == {
        "ce": (1, 1),
        "sop": (1, 1),
        "sop+": (2, 2),
        "elr": (1, 1),
        "elr+": (4, 2),
        "coteaching+": (2, 2),
    }


def test_a_method_of_two_networks_needs_two_objects():
    data, lone = small_data(), nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    for networks in (lone, [lone], [lone, lone]):
        with pytest.raises(ValueError, match="needs 2, each an object of its own"):
            training_for(data, data.train_labels, small("elr+"), network=networks, device="cpu")


def test_a_method_of_two_networks_is_no_loss():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="'dividemix' is no loss of one network"):
        loss_for(recipe_for("cpu", "dividemix"), 9, 3, generator=generator)


def test_two_networks_start_apart():
    data = small_data()
    training = training_for(data, data.train_labels, small("elr+"), device="cpu")
    first, second = training.networks
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_published_numbers_are_of_known_methods_and_plausible():
    for (noise, method), accuracy in PUBLISHED.items():
        assert method in METHODS
        assert noise.startswith("symmetric 0.") or noise == "worst"
        assert 70 < accuracy < 100


# --- compare-methods -------------------------------------------------------------------------


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
    stop, trained = Training._train_once, []

    def interrupted(self, on_batch):
        trained.append((self.recipe.method, self.epoch))
        if len(trained) == 4:
            raise KeyboardInterrupt
        return stop(self, on_batch)

    monkeypatch.setattr(Training, "_train_once", interrupted)
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
    lines = [line for line in text.splitlines() if line.startswith("| symmetric 0.2")]
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
    assert result.exit_code == 1
    assert "run.json" in result.stderr
    assert result.stderr.strip().count("\n") == 0


def test_equal_time_shortens_the_dear_ones(npz, tmp_path):
    arguments = ["--methods", "ce,elr+", "--equal-time", "--epochs", "6"]
    assert compare(npz, tmp_path / "grid", *arguments).exit_code == 0
    epochs = {row["method"]: row["epochs"] for row in read_runs(tmp_path / "grid")}
    assert epochs == {"ce": 6, "elr+": 2}


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
    assert recipes["symmetric-0.2-ce-0"]["activation_epochs"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "ce,magic"], "no method 'magic'"),
        (["--methods", "ce,,sop"], "--methods is 'ce,,sop'"),
        (["--seeds", "0,x"], "--seeds is '0,x'"),
        (["--seeds", "0,-1"], "--seeds is '0,-1'"),
        (["--noise", "heavy"], "--noise is 'heavy'"),
        (["--noise", "1.5"], "--noise is 1.5"),
        (["--noise", "worst"], "'worst'"),
        (["--set", "lr=fast"], "lr is 'fast'"),
        (["--set", "magic.lr=1"], "no setting 'magic.lr'"),
    ],
)
def test_bad_words_are_one_line(npz, tmp_path, arguments, message):
    result = compare(npz, tmp_path / "grid", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not (tmp_path / "grid").exists()


def test_a_table_of_nothing_is_empty(tmp_path):
    assert write_comparison(tmp_path, methods=METHODS).count("\n") == 1
    assert not (tmp_path / "comparison.png").exists()


def test_a_table_without_matplotlib(npz, tmp_path, monkeypatch):
    assert compare(npz, tmp_path, "--methods", "ce").exit_code == 0
    (tmp_path / "comparison.png").unlink()
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "| ce |" in comparison.write_comparison(tmp_path, methods=["ce"])
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


def test_published_recipes_can_be_built_small():
    data = small_data(number=40, side=32)
    for method in ("coteaching+", "elr"):
        recipe = resized(recipe_for("paper", method), 1)
        recipe = dataclasses.replace(recipe, network="small-cnn", noise_rate=0.2)
        (epoch,) = training_for(data, data.train_labels, recipe, device="cpu").epochs()
        assert np.isfinite(epoch.train_loss)


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
    assert result.exit_code == 1
    assert "--human-labels needs a --noise of aggre" in result.stderr
