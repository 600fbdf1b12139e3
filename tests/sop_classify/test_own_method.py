"""Promise: a method of your own is one module and one registration, through public names."""

import csv
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from sop_classify import METHODS, Loss, Method, Recipe, recipe_for, register, setting, train
from tests.helpers.command_line import app
from tests.helpers.labels import noisy, small_data

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True, kw_only=True)
class PatientRecipe(Recipe):
    """Settings of a loss that trusts an example more, the lower its loss was in the last epoch."""

    sharpness: float = setting(1.0)
    patience: float = setting(0.0, scales=True)


class PatientLoss(Loss):
    """Cross entropy with weights that fall with the last loss of each example."""

    def __init__(self, number, sharpness):
        super().__init__()
        self.sharpness = sharpness
        self.register_buffer("trust", torch.ones(number))

    @classmethod
    def from_recipe(cls, recipe, num_examples, num_classes, *, generator):
        return cls(num_examples, recipe.sharpness)

    def forward(self, logits, labels, index, strong_logits=None):
        each = F.cross_entropy(logits, labels, reduction="none")
        loss = (each * self.trust[index]).mean()
        self.trust[index] = (-self.sharpness * each.detach()).exp()
        return loss

    def report(self, labels):
        return {"u": self.trust}


@pytest.fixture
def patient():
    settings = {
        "name": "cpu",
        "source": "this test",
        "method": "patient",
        "network": "fast",
        "epochs": 2,
        "batch_size": 32,
        "lr": 0.05,
        "schedule": "linear",
        "patience": 1,
    }
    method = Method(
        name="patient",
        summary="Trusts what was easy in the last epoch.",
        implementation=f"{__name__}:PatientLoss",
        settings=PatientRecipe,
        recipes={"cpu": PatientRecipe(**settings)},
        published_accuracy={"symmetric-0.2": 12.5},
    )
    register(method)
    yield method
    del METHODS["patient"]


def test_it_trains(patient):
    data = small_data()
    given = noisy(data.train_labels, 30)
    recipe = recipe_for("cpu", "patient")
    epochs = list(train(data, given, recipe=recipe, true_labels=data.train_labels, device="cpu"))
    assert len(epochs) == 2
    assert all(np.isfinite(epoch.train_loss) for epoch in epochs)
    assert epochs[-1].u_clean > epochs[-1].u_wrong > 0


def test_the_command_line_knows_it(patient, tmp_path):
    data = small_data(number=60, tests=21, classes=10)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    arrays = {"train_images": data.train_images, "train_labels": data.train_labels}
    arrays |= {"test_images": data.test_images, "test_labels": data.test_labels}
    np.savez(tmp_path / "small.npz", class_names=names, **arrays)
    shared = ["--data", str(tmp_path / "small.npz"), "--device", "cpu"]
    grid = ["compare-methods", "--out", str(tmp_path / "grid"), *shared, "--methods", "ce,patient"]
    grid += ["--epochs", "1", "--set", "sharpness=2"]
    result = CliRunner().invoke(app, grid)
    assert result.exit_code == 0, result.output
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("| symmetric-0.2 | patient |")]
    assert line.endswith("| 12.5 | 1 |")
    with (tmp_path / "grid" / "comparison.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["ce", "patient"]

    alone = [
        "train-cifar",
        *shared,
        "--noise",
        "0.2",
        "--method",
        "patient",
        "--recipe",
        "cpu",
        "-q",
    ]
    refused = CliRunner().invoke(app, [*alone, "--set", "mixup=1"])
    assert "method 'patient' has no setting 'mixup'; it has network," in refused.stderr
    assert "sharpness, patience" in refused.stderr
    result = CliRunner().invoke(app, [*alone, "--epochs", "1", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
