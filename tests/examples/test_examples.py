"""Promise: the examples run, save a figure, refuse a bad place at once, and show what they say."""

import dataclasses
import functools
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

NAMES = [
    *("before_after", "image_prior", "linear_model", "low_rank"),
    *("memorisation", "explicit_penalty"),
]


@pytest.fixture
def example(one_thread):
    """Import an example by its name; pytest's `pythonpath` holds the folder, as a script's does."""
    return importlib.import_module


def run(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", [f"{module.__name__}.py", *map(str, arguments)])
    module.main()
    return capsys.readouterr().out


def has_a_picture(path):
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    return min(pixels.shape) > 200 and pixels.std() > 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "no/such/folder/x.png"], "no/such/folder"),
        (["--out", "x.jpg"], "x.jpg"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_a_bad_place_or_seed_is_one_line_at_once(
    example, name, arguments, message, monkeypatch, capsys, tmp_path
):
    module = example(name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(module, monkeypatch, capsys, *arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_model", "low_rank"])
def test_the_convex_examples_run(example, name, monkeypatch, capsys, tmp_path):
    module, out = example(name), tmp_path / "figure.png"
    if name == "low_rank":  # a quarter of the pixels, half of the frames, one start
        for constant, value in (("SIZE", 48), ("FRAMES", 20), ("INITS", (1e-2,))):
            monkeypatch.setattr(module, constant, value)
    assert run(module, monkeypatch, capsys, "--out", out).count("\n") > 5
    assert has_a_picture(out)


@pytest.mark.parametrize(
    "name", [pytest.param("memorisation", marks=pytest.mark.slow), "explicit_penalty"]
)
def test_the_label_examples_run(example, name, monkeypatch, capsys, tmp_path):
    module, out = example(name), tmp_path / "figure.png"
    monkeypatch.setattr(module, "train", functools.partial(module.train, epochs=2))
    if name == "memorisation":
        monkeypatch.setattr(module, "EPOCHS", 2)
    printed = run(module, monkeypatch, capsys, "--out", out)
    assert len(printed.splitlines()) == {"memorisation": 8, "explicit_penalty": 9}[name]
    assert has_a_picture(out)


def test_before_and_after_shows_every_kind_of_damage(example, monkeypatch, capsys, tmp_path):
    module, out = example("before_after"), tmp_path / "figure.png"
    # The drawing is shown here; tests of their own show that `denoise` recovers.
    monkeypatch.setattr(module, "denoise", lambda image, *, seed: SimpleNamespace(image=image))
    printed = run(module, monkeypatch, capsys, "--out", out)
    assert len(printed.splitlines()) == len(module.DAMAGE)
    clean = np.asarray(Image.open(module.PICTURE).convert("RGB"))
    drawn = np.asarray(Image.open(out).convert("RGB"))
    gap, title, size = module.GAP, module.TITLE, len(clean)
    left, top = gap + size + gap, title  # the picture with text, most of which is not covered
    shown = drawn[top : top + size, left : left + size]
    assert (shown == clean).all(axis=-1).mean() > 0.85  # no pixel is resampled


def test_the_image_example_runs(example, monkeypatch, capsys, tmp_path):
    module, out = example("image_prior"), tmp_path / "figure.png"
    short = {name: dataclasses.replace(r, steps=3) for name, r in module.RECIPES.items()}
    monkeypatch.setattr(module, "RECIPES", short)
    printed = run(module, monkeypatch, capsys, "--out", out)
    assert len(printed.splitlines()) == 4
    assert has_a_picture(out)


@pytest.mark.slow
def test_cross_entropy_memorises_digits_and_sop_does_not(example):
    digits, memorisation = example("digits"), example("memorisation")
    data = digits.load(seed=0)
    given_labels = digits.noisy(data, 0.4, seed=0)
    accuracy, memorised, nearer = {}, {}, {}
    for method in ("ce", "sop"):
        training, history = digits.train(data, given_labels, method, seed=0)
        accuracy[method], memorised[method] = history[-1].test_accuracy, history[-1].memorized
        towards = [
            memorisation.collapse(training, labels).nc1
            for labels in (given_labels, data.train_labels)
        ]
        nearer[method] = "given" if towards[0] < towards[1] else "true"
    # Ten seeds: memorised 0.998 ± 0.002 and 0.039, accuracy 0.61 ± 0.03 and 0.971 ± 0.012, 0.948 at
    # least. Without the guard of classes it was 0.918 ± 0.073, and 0.868 with this seed.
    # NC1 towards given and true labels: 0.16 and 2.0, and 2.2 and 0.2.
    assert memorised["ce"] > 0.98
    assert memorised["sop"] < 0.12
    assert accuracy["sop"] > 0.91
    assert nearer == {"ce": "given", "sop": "true"}


@pytest.mark.slow
def test_a_penalty_takes_all_labels_or_none(example):
    digits, penalty = example("digits"), example("explicit_penalty")
    data = digits.load(seed=0)
    given_labels = digits.noisy(data, 0.4, seed=0)
    right = given_labels == data.train_labels
    size = {}
    for weight in (0.01, 3.0):
        loss = penalty.PenalisedLoss(len(given_labels), 10, weight=weight)
        digits.train(data, given_labels, "ce", seed=0, loss=loss)
        size[weight] = loss.s.abs().sum(1).numpy()
    # Ten seeds: 1.754 ± 0.012 and 0.056 ± 0.012.
    assert size[0.01][right].mean() > 1.7
    assert size[3.0][~right].mean() < 0.11


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    start=st.floats(0, 1),
    gradient=st.floats(-30, 30),
    own=st.booleans(),
    lr=st.floats(0.01, 1),
    weight=st.floats(0, 10),
)
def test_the_proximal_step_minimises_its_objective(start, gradient, own, lr, weight):
    """Among all z in the bounds, the step minimises (z − (s − lr·g))²/2 + lr·λ|z|."""
    step = importlib.import_module("explicit_penalty").proximal_step
    s = start if own else -start
    found = step(
        torch.tensor([s], dtype=torch.float64),
        torch.tensor([gradient], dtype=torch.float64),
        torch.tensor([float(own)], dtype=torch.float64),
        lr,
        weight,
    ).item()
    grid = np.linspace(0, 1, 20001) * (1 if own else -1)

    def objective(z):
        return (z - (s - lr * gradient)) ** 2 / 2 + lr * weight * np.abs(z)

    assert objective(found) <= objective(grid).min() + 1e-9
    assert 0 <= abs(found) <= 1
    assert found >= 0 if own else found <= 0
