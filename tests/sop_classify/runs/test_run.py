"""Promise: a training that was stopped goes on as if it had not been, or says why it cannot."""

import csv
import dataclasses
import errno
import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from overparam.errors import DivergedError
from overparam.files import FileError
from sop_classify.data.image_data import ImageData
from sop_classify.methods.build import training_for
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import NETWORKS
from sop_classify.records.checkpoint import checkpoint_bytes, read_checkpoint
from sop_classify.runs import results
from sop_classify.runs import run as runs
from sop_classify.runs.job import Job
from sop_classify.runs.model import read_model
from sop_classify.runs.run import Run, train
from sop_classify.training.evaluation import Epoch
from tests.helpers.labels import TINY_NETWORK

FILES = ["checkpoint.safetensors", "labels.npz", "metrics.csv", "run.json"]
TABLES = ["confusion_matrix.csv", "label_issues.csv", "transition_matrix.csv"]
NOT_DRAWN = sorted([*FILES, *TABLES, "model.safetensors", "report.html"])
AT_THE_END = sorted([*NOT_DRAWN, "curves.png"])

# Between them every part of a state: Muon and SGD, averaged weights, u and v, none of them.
SMALL = {"epochs": 4, "batch_size": 64}
EVERYTHING = replace(recipe_for("cpu", "sop+"), **SMALL, ema=0.9, cutout=4)
STEPS = replace(
    recipe_for("paper", "sop"), **SMALL, network="fast", milestones=(2, 3), nesterov=True
)
PLAIN = replace(recipe_for("cpu", "ce"), **SMALL)


def no_curves(path, history):
    return "not drawn"  # a third of a second each


@pytest.fixture(autouse=True, scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "fast", TINY_NETWORK)
        patch.setattr(results, "draw_curves", no_curves)
        yield


@pytest.fixture
def curves(monkeypatch):
    monkeypatch.setattr(results, "draw_curves", DRAW_CURVES)


DRAW_CURVES = results.draw_curves


def pictures(number=200, side=16, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (number + 40, side, side, 3), dtype=np.uint8)
    labels = np.arange(number + 40) % 4
    return ImageData(
        images[:number], labels[:number], images[number:], labels[number:], tuple("abcd"), "tiny"
    )


DATA = pictures()
GIVEN = np.where(np.arange(200) % 5 == 0, (DATA.train_labels + 1) % 4, DATA.train_labels)


def go(out, *, recipe=PLAIN, data=DATA, labels=GIVEN, true=DATA.train_labels, **options):
    return train(data, labels, recipe=recipe, true_labels=true, device="cpu", out=out, **options)


def job(**changes):
    options = {"true_labels": DATA.train_labels, "device": "cpu"}
    return Job(DATA, GIVEN, PLAIN, **(options | changes))


def stopped(out, epochs=2, **options):
    """A run closed after some epochs."""
    training = go(out, **options)
    for _ in range(epochs):
        next(training)
    training.close()  # type: ignore[attr-defined]
    return out


def record(out):
    return json.loads((out / "run.json").read_text())


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def rows(out, *, without=("seconds", "evaluation_seconds")):
    with (out / "metrics.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    return [{key: text for key, text in row.items() if key not in without} for row in table]


def tensors(out):
    return load_file(out / "checkpoint.safetensors")


def differing(one, other):
    """Names of the tensors that are not the same in every bit."""
    assert one.keys() == other.keys()
    return [
        name
        for name, tensor in one.items()
        if tensor.dtype != other[name].dtype
        or tensor.numpy().tobytes() != other[name].numpy().tobytes()
    ]


def stamp_of(out):
    with safe_open(out / "checkpoint.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["run"])


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# --- goes on bit for bit -------------------------------------------------------------------

RECIPES_BY_NAME = {"everything": EVERYTHING, "steps": STEPS, "plain": PLAIN}


def in_new_process(*words):
    """This file as a program, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-W", "error", __file__, *map(str, words)], check=True, env=environment
    )


def program(what, root):
    NETWORKS["fast"] = TINY_NETWORK
    if what == "second":
        results.draw_curves = no_curves
    for name, recipe in RECIPES_BY_NAME.items():
        if what == "first":
            assert len(list(go(root / name / "whole", recipe=recipe))) == 4
            results.draw_curves = no_curves  # once is enough to see what it imports
            stopped(root / name / "halves", recipe=recipe)
        else:
            for half in ("halves", "tampered"):
                resumed = list(go(root / name / half, recipe=recipe, resume=True))
                assert [epoch.epoch for epoch in resumed] == [3, 4]
    assert "matplotlib.pyplot" not in sys.modules


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    root = tmp_path_factory.mktemp("processes")
    in_new_process("first", root)
    for name in RECIPES_BY_NAME:
        shutil.copytree(root / name / "halves", root / name / "tampered")
        tamper(root / name / "tampered")
    in_new_process("second", root)
    return root


def tamper(out):
    """Other random numbers from here on, in a checkpoint that is otherwise sound."""
    state, stamp = tensors(out), stamp_of(out)
    del stamp["sha256"]
    state["generator"] = torch.Generator().manual_seed(1).get_state()
    (out / "checkpoint.safetensors").write_bytes(checkpoint_bytes(state, stamp))


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES_BY_NAME)
def test_two_epochs_and_two_in_a_new_process_are_four(processes, name):
    whole, halves = processes / name / "whole", processes / name / "halves"
    assert differing(tensors(whole), tensors(halves)) == []
    assert stamp_of(whole) == stamp_of(halves)
    assert rows(whole) == rows(halves)
    assert len(rows(whole)) == 4
    found = [record(out)["results"] for out in (whole, halves)]
    for result in found:
        del result["curves"]
        assert result.pop("seconds") > 0
        assert result.pop("training_seconds") > 0
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES_BY_NAME)
def test_with_other_random_numbers_they_are_not(processes, name):
    whole, tampered = processes / name / "whole", processes / name / "tampered"
    different = differing(tensors(whole), tensors(tampered))
    assert {"generator", "network.head.weight", "probability"} <= set(different)
    assert rows(whole)[:2] == rows(tampered)[:2]
    assert rows(whole)[2:] != rows(tampered)[2:]


@pytest.mark.slow
def test_the_states_compared_are_whole(processes):
    names = tensors(processes / "everything" / "whole")
    parts = {".".join(name.split(".")[:2]) for name in names if "." in name}
    assert {"loss.u", "loss.v", "ema.module", "optimizer.0", "optimizer.1"} <= parts
    assert {"generator", "mirrored", "probability", "disagreements", "epoch"} <= set(names)
    assert any(
        tensor.ndim == 4 and name.startswith("optimizer.0")
        for name, tensor in tensors(processes / "steps" / "whole").items()
    )


# --- what is in the folder -----------------------------------------------------------------


def test_a_seed_of_numpy_is_a_seed(tmp_path):
    """It was no number of JSON, and the run could not start."""
    stopped(tmp_path, epochs=1, seed=np.int64(3))
    assert record(tmp_path)["seed"] == 3
    assert len(list(go(tmp_path, seed=3, resume=True))) == 3


def test_a_model_predicts_images_of_bytes_alone(tmp_path):
    """Floats in [0, 1] were divided by 255 again: all images were black."""
    list(go(tmp_path, recipe=replace(PLAIN, epochs=1)))
    model = read_model(tmp_path)
    images = DATA.test_images[:3]
    expected = model.predict(images)
    np.testing.assert_array_equal(model.predict(torch.from_numpy(images)), expected)
    np.testing.assert_array_equal(model.predict(np.asfortranarray(images)), expected)
    assert model.predict(images[:0]).shape == (0, 4)
    for match, wrong in {
        "images are float64; uint8, 0 to 255, is needed": images / 255,
        "images are int64; uint8": images.tolist(),
        "images are a masked array": np.ma.array(images),
        "images are a NoneType; an array of numbers": None,
    }.items():
        with pytest.raises(TypeError, match=match):
            model.predict(wrong)
    with pytest.raises(ValueError, match=r"shape \(16, 16, 3\); \(n, 16, 16, 3\) is needed"):
        model.predict(images[0])


@pytest.mark.usefixtures("curves")
def test_the_files_say_what_was_done(tmp_path):
    out = tmp_path / "deep" / "run"
    arguments = {"noise_type": "symmetric", "noise": 0.2, "data": Path("x"), "limit": None}
    epochs = list(go(out, recipe=EVERYTHING, seed=3, arguments=arguments))
    assert sorted(contents(out)) == AT_THE_END

    saved = record(out)
    assert saved["schema_version"] == 1
    assert saved["status"] == "completed"
    assert saved["recipe"] == json.loads(json.dumps(dataclasses.asdict(EVERYTHING)))
    assert saved["arguments"] == {**arguments, "data": "x"}
    assert (saved["seed"], saved["device"], saved["threads"]) == (3, "cpu", torch.get_num_threads())
    assert saved["precision"] in ("float32", "bfloat16")
    assert set(saved["versions"]) == {"python", "robustdip", "torch", "torchvision", "numpy"}
    assert saved["versions"]["torch"] == torch.__version__
    assert saved["noise"] == {"type": "symmetric", "rate": 0.2, "realised_rate": 0.2}
    sizes = {key: saved["data"][key] for key in ("name", "train_images", "test_images", "classes")}
    assert sizes == {"name": "tiny", "train_images": 200, "test_images": 40, "classes": 4}
    assert saved["data"]["class_names"] == list("abcd")

    found, last = saved["results"], epochs[-1]
    assert found["accuracy"] == last.test_accuracy
    assert found["best_accuracy"] == max(epoch.test_accuracy for epoch in epochs)
    assert found["accuracy_ema_flips"] == last.test_accuracy_ema_flips is not None
    # Of the images as they are; the epochs report predictions on augmented views.
    training = training_for(DATA, GIVEN, EVERYTHING, device="cpu")
    training.load_state_dict(tensors(out))
    predicted = training.predict_training_images().argmax(1).numpy()
    wrong = GIVEN != DATA.train_labels
    assert found["memorized"] == pytest.approx((predicted == GIVEN)[wrong].mean())
    assert found["recovered"] == pytest.approx((predicted == DATA.train_labels)[wrong].mean())
    assert found["noise_rate"] == 0.2
    assert found["training_seconds"] == sum(epoch.seconds for epoch in epochs)

    with np.load(out / "labels.npz", allow_pickle=False) as labels:
        assert set(labels) == {"given_labels", "true_labels"}
        np.testing.assert_array_equal(labels["given_labels"], GIVEN)
        np.testing.assert_array_equal(labels["true_labels"], DATA.train_labels)
    with Image.open(out / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > picture.height > 200


def test_metrics_hold_every_epoch_to_the_last_digit(tmp_path):
    epochs = list(go(tmp_path, recipe=STEPS, true=None))
    table = rows(tmp_path, without=())
    assert list(table[0]) == [field.name for field in dataclasses.fields(Epoch)]
    read = [{k: float(text) if text else None for k, text in row.items()} for row in table]
    assert read == [dataclasses.asdict(epoch) for epoch in epochs]
    assert read[0]["memorized"] is None  # nobody knows, so nothing is written
    with np.load(tmp_path / "labels.npz") as labels:
        assert set(labels) == {"given_labels"}
    assert record(tmp_path)["noise"] is None


def test_the_checkpoint_is_the_state(tmp_path):
    run = Run(Job(DATA, GIVEN, EVERYTHING, device="cpu"), tmp_path)
    run.start()
    for epoch in run.epochs():
        assert run.saved == epoch.epoch == stamp_of(tmp_path)["epoch"]
        assert differing(tensors(tmp_path), run.training.state_dict()) == []
        assert len(rows(tmp_path)) == epoch.epoch
        assert record(tmp_path)["status"] == "running"
    assert run.summary() == {**record(tmp_path)["results"], "run": str(tmp_path)}


def test_a_checkpoint_of_shared_and_strided_tensors(tmp_path):
    weight = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    state = {"a": weight, "b": weight, "c": weight[..., ::2], "d": torch.tensor(3), "e": weight[:0]}
    (tmp_path / "checkpoint.safetensors").write_bytes(checkpoint_bytes(state, {}))
    saved = tensors(tmp_path)
    assert all(torch.equal(saved[name], tensor) for name, tensor in state.items())


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [epoch.epoch for epoch in go(None)] == [1, 2, 3, 4]
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="resume needs out"):
        next(go(None, resume=True))


def test_the_labels_of_the_data_are_the_default(tmp_path):
    next(train(DATA, recipe=PLAIN, device="cpu", out=tmp_path))
    with np.load(tmp_path / "labels.npz") as labels:
        np.testing.assert_array_equal(labels["given_labels"], DATA.train_labels)


@pytest.mark.usefixtures("curves")
def test_without_matplotlib_there_are_no_curves(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    list(go(tmp_path))
    assert "robustdip[plot]" in record(tmp_path)["results"]["curves"]
    assert sorted(contents(tmp_path)) == NOT_DRAWN


def legacy_numpy_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002, it is the one that must not change


def test_global_state_is_left_alone(tmp_path):
    def state():
        return torch.get_rng_state().tolist(), random.getstate(), legacy_numpy_state()

    before = state()
    list(go(tmp_path, recipe=EVERYTHING))
    assert state() == before


# --- stops ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert len(list(go(out))) == 4
    return out


def assert_as_if_never_stopped(out, whole):
    assert rows(out) == rows(whole)
    assert differing(tensors(out), tensors(whole)) == []
    assert record(out)["status"] == "completed"
    assert sorted(contents(out)) == NOT_DRAWN


def test_ctrl_c_within_an_epoch_keeps_the_one_before(tmp_path, whole):
    def interrupt(done):
        if done > 1.4:
            signal.raise_signal(signal.SIGINT)

    run = Run(job(), tmp_path)
    run.start()
    with pytest.raises(KeyboardInterrupt):
        list(run.epochs(on_batch=interrupt))
    assert record(tmp_path)["status"] == "interrupted"
    assert run.saved == stamp_of(tmp_path)["epoch"] == len(rows(tmp_path)) == 1
    assert sorted(contents(tmp_path)) == FILES

    assert [epoch.epoch for epoch in go(tmp_path, resume=True)] == [2, 3, 4]
    assert_as_if_never_stopped(tmp_path, whole)
    assert record(tmp_path)["resumed"] == [{"epoch": 1}]


@pytest.mark.parametrize("epochs", [0, 4])
def test_a_stop_before_the_first_epoch_or_after_the_last(tmp_path, whole, epochs):
    run = Run(job(), tmp_path)
    run.start()
    generator = run.epochs()
    for _ in range(epochs):
        next(generator)
    del generator, run  # epochs=0: as after SIGKILL, nothing was told
    assert len(list(go(tmp_path, resume=True))) == 4 - epochs
    assert_as_if_never_stopped(tmp_path, whole)


def test_a_table_ahead_of_the_checkpoint_is_cut(tmp_path, whole, monkeypatch):
    out = tmp_path / "run"
    replace_file = runs.replace_file

    def killed(path, data):
        if path.name == "checkpoint.safetensors" and len(rows(out)) == 3:
            raise KeyboardInterrupt
        replace_file(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            list(go(out))
    assert (stamp_of(out)["epoch"], len(rows(out))) == (2, 3)
    assert len(list(go(out, resume=True))) == 2
    assert_as_if_never_stopped(out, whole)


def test_a_completed_run_is_left_alone(whole):
    before = contents(whole)
    assert list(go(whole, resume=True)) == []
    assert contents(whole) == before
    run = Run(job(), whole)
    run.resume()
    assert (run.record.status, run.saved, len(run.history)) == ("completed", 4, 4)
    assert run.summary()["accuracy"] == run.history[-1].test_accuracy


def test_a_loss_that_diverges_is_a_failed_run(tmp_path):
    with pytest.raises(DivergedError, match="lr"):
        list(go(tmp_path, recipe=replace(STEPS, lr=1e30, momentum=0.99)))
    saved = record(tmp_path)
    assert saved["status"] == "failed"
    assert saved["results"]["error"].startswith("the loss is ")


def test_another_machine_is_on_record(tmp_path):
    out = stopped(tmp_path / "run")
    saved = record(out)
    saved["threads"] = 999
    (out / "run.json").write_text(json.dumps(saved))
    list(go(out, resume=True))
    assert record(out)["resumed"] == [{"epoch": 2, "threads": torch.get_num_threads()}]


# --- a disk that fails ---------------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("name", ["metrics.csv", "checkpoint.safetensors"])
def test_a_failed_save_leaves_the_one_before(tmp_path, whole, monkeypatch, call, name):
    out = tmp_path / "run"
    generator = go(out)
    next(generator)
    next(generator)
    before = contents(out)
    original, wanted = getattr(os, call), 0 if name == "metrics.csv" else 1

    def full(*arguments):
        nonlocal wanted
        wanted -= 1
        if wanted < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FileError, match=f"{name}.*No space left") as error:
            next(generator)
    one_line(error)
    after = contents(out)
    assert sorted(after) == FILES
    assert after["checkpoint.safetensors"] == before["checkpoint.safetensors"]
    assert len(list(go(out, resume=True))) == 2
    assert_as_if_never_stopped(out, whole)


@pytest.mark.parametrize("written", [0, 1, 2, 3, 4])
def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch, written):
    original, left = os.replace, written

    def full(*arguments):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*arguments)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(FileError, match="No space left"):
            next(go(out))
    assert not out.exists()
    next(go(out))


# --- what is refused -----------------------------------------------------------------------


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match=r"not empty; resume its run or choose another") as error:
        next(go(tmp_path))
    one_line(error)
    assert list(contents(tmp_path)) == ["thesis.tex"]
    with pytest.raises(FileError, match=r"cannot write into .*thesis.tex': it is no folder"):
        next(go(tmp_path / "thesis.tex"))
    with pytest.raises(FileError, match="not empty"):
        next(go(stopped(tmp_path / "run")))


@pytest.mark.parametrize("name", ["", "missing", "file", "line\nbreak"])
def test_a_folder_without_a_run_is_not_resumed(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"cannot resume .*no run\.json") as error:
        next(go(tmp_path / name, resume=True))
    one_line(error)
    assert list(contents(tmp_path)) == ["file"]


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    return stopped(tmp_path_factory.mktemp("half") / "run", arguments={"noise": 0.2})


OTHER_PIXEL = DATA.train_images.copy()
OTHER_PIXEL[7, 0, 0, 0] ^= 1
CHANGES = {
    r"recipe\.lr=0\.09, now 0\.1: ": {"recipe": replace(PLAIN, lr=0.1)},
    r"recipe\.epochs=4, now 8: ": {"recipe": replace(PLAIN, epochs=8)},
    r"recipe\.milestones=\[\], now \[1\]: ": {"recipe": replace(PLAIN, milestones=(1,))},
    r"recipe\.lr=0\.09, now 0\.1; seed=0, now 5: ": {"recipe": replace(PLAIN, lr=0.1), "seed": 5},
    r"arguments\.noise=0\.2, now 0\.4: ": {"arguments": {"noise": 0.4}},
    r"arguments\.limit=None, now 9: ": {"arguments": {"noise": 0.2, "limit": 9}},
    "with other images or labels: ": {"data": replace(DATA, train_images=OTHER_PIXEL)},
    r"data\.name='tiny', now 'b': ": {"data": replace(DATA, name="b")},
    "with other images or labels: use": {"labels": DATA.train_labels},
    "with other images or labels: use its": {"true": None},
}


@pytest.mark.parametrize("message", CHANGES)
def test_other_settings_are_named_with_both_values(half, message):
    before = contents(half)
    options = {"arguments": {"noise": 0.2}, **CHANGES[message]}
    with pytest.raises(ValueError, match=message) as error:
        next(go(half, resume=True, **options))
    assert not isinstance(error.value, FileError)  # the files are in order
    assert "use its settings" in one_line(error)
    assert contents(half) == before


def resumes(out):
    """The state that is resumed from, or the one line that says why not."""
    run = Run(job(arguments={"noise": 0.2}), out)
    run.resume()
    return run.training.state_dict()


@pytest.fixture
def copy(half, tmp_path):
    return Path(shutil.copytree(half, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["run.json", "metrics.csv", "checkpoint.safetensors"])
@pytest.mark.parametrize("damage", ["empty", "cut", "folder", "pipe", "missing", "pickle", "bytes"])
def test_a_damaged_file_is_named(copy, name, damage):
    path, data = copy / name, (copy / name).read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage != "missing":
        buffer = io.BytesIO()
        torch.save({"epoch": Malice()}, buffer)
        new = {"empty": b"", "cut": data[: 2 * len(data) // 3], "pickle": buffer.getvalue()}
        path.write_bytes(new.get(damage, b"\x00\xff" * 500))
    with pytest.raises(FileError, match=f"{name}") as error:
        resumes(copy)
    one_line(error)
    assert not (copy / "pwned").exists()


class Malice:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_malice_would_work_where_it_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Malice()))
    assert (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "not JSON"),
        ("[]", "not the record of a run"),
        ("null", "not the record of a run"),
        ("{}", "not the record of a run"),
        ("7", "not the record of a run"),
        ('{"accuracy": 1}', "not the record of a run"),
        ('{"schema_version": 2}', "schema_version is 2; 1 can be read"),
        ('{"schema_version": 1}', "status is missing"),
        ('{"schema_version": 1, "status": "completed"}', "recipe is missing"),
    ],
)
def test_a_strange_record(copy, text, message):
    (copy / "run.json").write_text(text)
    with pytest.raises(FileError, match=message) as error:
        resumes(copy)
    one_line(error)


@pytest.mark.parametrize("key", ["recipe", "data", "arguments", "seed"])
def test_a_record_with_a_part_of_another_kind(copy, key):
    saved = record(copy)
    saved[key] = [1]
    (copy / "run.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=key) as error:
        resumes(copy)
    one_line(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:2], "metrics.csv has 1 epochs, the checkpoint 2"),
        (lambda lines: lines[::2], "row of epoch 1 is missing or damaged"),
        (lambda lines: [lines[0], lines[1] + ",1", lines[2]], "row of epoch 1 is missing"),
        (lambda lines: [lines[0].replace("lr", "rate"), *lines[1:]], "its columns are others"),
        (
            lambda lines: [lines[0], "1," + "x," * 21 + "x", lines[2]],
            "train_loss of epoch 1 is 'x'",
        ),
        (lambda lines: [lines[0], "1," + "," * 21, lines[2]], "train_loss of epoch 1 is ''"),
        (lambda lines: [lines[0], '1,"' + "9" * 200_000, lines[2]], "not a table"),
    ],
)
def test_a_strange_table(copy, change, message):
    lines = (copy / "metrics.csv").read_text().splitlines()
    (copy / "metrics.csv").write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(FileError, match=message) as error:
        resumes(copy)
    one_line(error)


def test_a_checkpoint_of_another_run_or_another_network(copy, tmp_path):
    path = copy / "checkpoint.safetensors"
    state, stamp = tensors(copy), stamp_of(copy)
    del stamp["sha256"]
    other = stopped(tmp_path / "other", seed=1) / "checkpoint.safetensors"
    for data, message in {
        other.read_bytes(): "the checkpoint of another run",
        save(state): "its tensors are not those that were saved",
        save(state, metadata={"run": "[1]"}): "not a checkpoint, or damaged",
        checkpoint_bytes({"network.x": torch.zeros(1)}, stamp): "does not fit this training",
        checkpoint_bytes(
            {**state, "generator": torch.zeros_like(state["generator"])}, stamp
        ): "does not fit this training",
        checkpoint_bytes(state, {**stamp, "epoch": 1}): "it says epoch 1, its tensors 2",
        checkpoint_bytes(state, {**stamp, "schema_version": 2}): "another run",
    }.items():
        path.write_bytes(data)
        with pytest.raises(FileError, match=rf"checkpoint\.safetensors.*{message}") as error:
            resumes(copy)
        one_line(error)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.data())
def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(half, data):
    path = half / "checkpoint.safetensors"
    original = path.read_bytes()
    header = 8 + int.from_bytes(original[:8], "little")
    # Half of them in the header, which is a small part of the file.
    place = data.draw(st.one_of(st.integers(0, header - 1), st.integers(header, len(original) - 1)))
    damaged = bytearray(original)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    state, complaint = None, ""
    path.write_bytes(damaged)
    try:
        state = resumes(half)
    except FileError as error:
        complaint = str(error)
    finally:
        path.write_bytes(original)
    assert "\n" not in complaint
    if state is not None:  # a blank that became another blank
        assert differing(tensors(half), state) == []


if __name__ == "__main__":
    program(sys.argv[1], Path(sys.argv[2]))


def test_weights_that_the_last_step_of_an_epoch_spoiled_are_not_kept(tmp_path, monkeypatch):
    """Its loss is that before the step, so it does not tell."""
    run = Run(job(), tmp_path / "run")
    train_once = run.training.train_once

    def spoiled(on_batch):
        trained = train_once(on_batch)
        if run.training.epoch == 1:  # which are done
            next(run.training.network.parameters()).data.fill_(torch.nan)
        return trained

    monkeypatch.setattr(run.training, "train_once", spoiled)
    run.start()
    kept = run.epochs()
    assert next(kept).epoch == 1
    with pytest.raises(DivergedError, match="weights are not finite after epoch 2; a lower lr"):
        next(kept)
    assert run.record.status == "failed"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_model_that_is_not_finite_is_refused(tmp_path):
    list(train(DATA, GIVEN, recipe=replace(PLAIN, epochs=1), device="cpu", out=tmp_path / "run"))
    path = tmp_path / "run" / "model.safetensors"
    stamp, state = read_checkpoint(path)
    spoiled = {k: v * torch.nan if v.is_floating_point() else v for k, v in state.items()}
    path.write_bytes(checkpoint_bytes(spoiled, stamp))
    with pytest.raises(FileError, match="its weights are not finite: the training diverged"):
        read_model(tmp_path / "run")
