"""Promise: the examples of docs/neighbours.md run, and find the wrong labels that were planted."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tests.helpers.command_line import done
from tests.helpers.labels import noisy, small_data

PAGE = Path(__file__).parents[2] / "docs" / "neighbours.md"
CLASSES, NUMBER, WRONG = 3, 150, 15

pytestmark = pytest.mark.usefixtures("one_thread")


def example(title, given):
    """Run the block of a section; the names that it made."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    (source,) = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other libraries
        exec(source, given)
    return given


def planted():
    """Points round three corners; the first ones have a wrong label."""
    rng = np.random.default_rng(0)
    true = np.arange(NUMBER) % CLASSES
    images = (3 * np.eye(CLASSES)[true] + rng.normal(0, 0.5, (NUMBER, CLASSES))).astype(np.float32)
    torch.manual_seed(0)
    return {
        "images": images,
        "labels": noisy(true, WRONG),
        "network": nn.Linear(CLASSES, CLASSES),
        "num_classes": CLASSES,
    }, true


def found(loss):
    """Examples whose label was given up."""
    return np.flatnonzero((loss.v.detach().square().amax(1) > 0.5).numpy()).tolist()


def test_datalab_reads_what_find_label_errors_writes(tmp_path, monkeypatch):
    pytest.importorskip("cleanlab")
    pytest.importorskip("datasets")  # of cleanlab[datalab], which cleanlab alone lacks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = small_data(90)
    given = noisy(data.train_labels, 9)
    np.savez("data.npz", train_images=data.train_images, train_labels=given)
    options = ["--epochs", "6", "--set", "batch_size=32", "--device", "cpu", "-q"]
    done("find-label-errors", "data.npz", "--out", "found", *options)
    made = example("cleanlab", {})
    ours, theirs = made["found"].reset_index(), made["issues"].reset_index()
    assert list(theirs["given_label"]) == list(ours["given_label"])
    np.testing.assert_allclose(theirs["label_score"], ours["label_quality"], atol=1e-5)
    # All that cleanlab flags contradict the network.
    assert (theirs["is_label_issue"] <= ours["is_label_issue"]).all()
    assert theirs["is_label_issue"].sum() >= 5


def test_skorch():
    pytest.importorskip("skorch")
    given, true = planted()
    made = example("skorch", given)
    assert found(made["net"].criterion_) == list(range(WRONG))
    assert (made["predicted"] == true).all()


def test_lightning():
    pytest.importorskip("lightning")
    given, true = planted()
    images, labels = (torch.from_numpy(given.pop(key)) for key in ("images", "labels"))
    made = example("Lightning", {**given, "dataset": TensorDataset(images, labels)})
    assert found(made["module"].loss) == list(range(WRONG))
    assert "loss.u" in made["module"].state_dict()
    assert (made["module"].network(images).argmax(1).numpy() == true).all()


def test_hugging_face_datasets():
    pytest.importorskip("datasets")
    given, true = planted()
    made = example("Hugging Face datasets", given)
    assert found(made["loss"]) == list(range(WRONG))
    predicted = made["network"](torch.from_numpy(made["images"])).argmax(1)
    assert (predicted.numpy() == true).all()
