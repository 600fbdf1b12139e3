"""Promise: every parameter of the public functions is checked; one line says which."""

from pathlib import Path

import numpy as np
import pytest
import torch

import sop_classify
from sop_classify import (
    ELRLoss,
    Evaluator,
    Indexed,
    Job,
    LabelNoise,
    SOPLoss,
    Training,
    alpha_for,
    asymmetric_noise,
    instance_noise,
    label_issues,
    load_data,
    noisy_labels,
    read_human_labels,
    recipe_for,
    second_choice_noise,
    subset,
    symmetric_noise,
    train,
    training_for,
)
from tests.helpers.labels import small_data, small_recipe

DATA, LABELS = small_data(), small_data().train_labels
RNG, HALF = np.random.default_rng(0), np.full((96, 2), 0.5)
LOGITS, GIVEN, INDEX = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), torch.arange(4)
FEW = LABELS[:4]
MASKED = np.ma.masked_array(LABELS)

SYMMETRIC = LabelNoise("symmetric", 0.2)
NOISE = {"labels": LABELS, "rate": 0.2, "num_classes": 3, "rng": RNG}
BATCH = {"logits": LOGITS, "labels": GIVEN, "index": INDEX}
TRAINING = {"data": DATA, "given_labels": LABELS, "recipe": small_recipe()}
# What is called, with arguments that are accepted.
CALLS = {
    "SOPLoss": (SOPLoss, {"num_examples": 4, "num_classes": 3}),
    "SOPLoss()": (lambda **a: SOPLoss(4, 3)(**a), BATCH),
    "ELRLoss": (ELRLoss, {"num_examples": 4, "num_classes": 3}),
    "ELRLoss()": (lambda **a: ELRLoss(4, 3)(**a), BATCH),
    "alpha_for": (alpha_for, {"activation_epochs": 5, "batch_size": 128}),
    "symmetric_noise": (symmetric_noise, NOISE),
    "asymmetric_noise": (asymmetric_noise, {**NOISE, "mapping": {0: 1}}),
    "instance_noise": (instance_noise, {**NOISE, "images": DATA.train_images}),
    "second_choice_noise": (second_choice_noise, {**NOISE, "images": DATA.train_images}),
    "subset": (subset, {"data": DATA, "number": 9, "rng": RNG}),
    "load_data": (load_data, {"download": False}),
    "label_issues": (label_issues, {"given_labels": LABELS % 2, "probability": HALF}),
    "LabelNoise": (LabelNoise, {"kind": "symmetric", "rate": 0.2}),
    "LabelNoise.parse": (LabelNoise.parse, {"text": "0.2"}),
    "noisy_labels": (noisy_labels, {"data": DATA, "noise": SYMMETRIC, "seed": 0}),
    "read_human_labels": (read_human_labels, {"path": "none.npz", "name": "worst"}),
    "recipe_for": (recipe_for, {"budget": "cpu"}),
    "Evaluator": (Evaluator, {"data": DATA}),
    "Indexed": (Indexed, {"dataset": [(0, 1)]}),
    "Job": (Job, TRAINING),
    "train": (train, {**TRAINING, "device": "cpu"}),
    "training_for": (training_for, {**TRAINING, "device": "cpu"}),
    "Training": (Training, {**TRAINING, "device": "cpu", "loss": SOPLoss(96, 3)}),
}  # fmt: skip
SEEDS = [(1.5, TypeError), (True, TypeError), ("0", TypeError), (-1, ValueError)]
OF_TRAINING = {
    "data": [(None, TypeError), (DATA.train_images, TypeError)],
    "given_labels": [
        (LABELS / 1, TypeError), (MASKED, TypeError), (LABELS[1:], ValueError), ("a", ValueError),
        (LABELS + 1, ValueError), (LABELS[:, None], ValueError),
    ],
    "recipe": [("sop", TypeError), (None, TypeError)],
    "seed": [*SEEDS, (2**63, ValueError)],
    "device": [("tpu", ValueError), (0, TypeError), (None, TypeError)],
    "compile": [(1, TypeError), ("yes", TypeError)],
}  # fmt: skip
OF_NOISE = {
    "labels": [(LABELS / 1, TypeError), (MASKED, TypeError), ([], ValueError), ([3], ValueError)],
    "rate": [(1, ValueError), (-0.1, ValueError), (np.nan, ValueError), ("x", TypeError)],
    "num_classes": [(1, ValueError), (2.5, TypeError), ("3", TypeError), (True, TypeError)],
    "rng": [(0, TypeError), (None, TypeError), (np.random, TypeError)],
}
OF_LOSS = {
    "num_examples": [(0, ValueError), (4.0, TypeError), (True, TypeError), (None, TypeError)],
    "num_classes": [(1, ValueError), (2.5, TypeError), ("3", TypeError)],
}
NUMBER = [(-1, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("x", TypeError),
          (1e31, ValueError), (True, TypeError), (torch.tensor(1.0), TypeError)]  # fmt: skip
OF_BATCH = {
    "logits": [(LOGITS.long(), TypeError), (LOGITS.numpy(), TypeError), (LOGITS[:, :2], ValueError),
               (LOGITS[:2], ValueError)],
    "labels": [(GIVEN.float(), TypeError), (GIVEN.int(), TypeError), ([0, 1, 2, 0], TypeError),
               (GIVEN + 1, ValueError), (GIVEN - 1, ValueError), (GIVEN[:0], ValueError)],
    "index": [(INDEX.float(), TypeError), (INDEX.bool(), TypeError), (range(4), TypeError),
              (INDEX + 1, ValueError), (INDEX - 1, ValueError), (INDEX[:2], ValueError)],
}  # fmt: skip
WRONG = {
    "SOPLoss": {
        **OF_LOSS,
        **dict.fromkeys(("alpha_u", "alpha_v", "balance", "consistency"), NUMBER),
        "strong_share": [(0, ValueError), (2, ValueError), (np.nan, ValueError), (None, TypeError)],
        "form": [("code", ValueError), (None, ValueError), (["paper"], ValueError)],
        "init": [(0, ValueError), (1, ValueError), (np.nan, ValueError), (None, TypeError)],
        "generator": [(0, TypeError), (RNG, TypeError)],
    },
    "SOPLoss()": {
        **OF_BATCH,
        "strong_logits": [(LOGITS.long(), TypeError), (LOGITS[:2], ValueError), (1, TypeError)],
        "strong": [(INDEX > 0, TypeError), (INDEX + 1, ValueError), (1, TypeError)],
    },
    "ELRLoss": {
        **OF_LOSS,
        "decay": [(1, ValueError), (-0.1, ValueError), (np.nan, ValueError), ("x", TypeError)],
        "regularisation": NUMBER,
    },
    "ELRLoss()": OF_BATCH,
    "alpha_for": {
        "activation_epochs": [(0, ValueError), (0.01, ValueError), (np.inf, ValueError),
                              ("x", TypeError)],
        "batch_size": [(0, ValueError), (1.5, TypeError), (None, TypeError)],
        "init": [(0, ValueError), (1, ValueError), ("x", TypeError)],
    },
    "symmetric_noise": {**OF_NOISE, "include_true": [(1, TypeError), (None, TypeError)]},
    "asymmetric_noise": {
        **OF_NOISE,
        "mapping": [("zzz", ValueError), ({}, ValueError), (None, TypeError), ([1], TypeError),
                    ({0: 3}, ValueError), ({0: 1.5}, TypeError), ("cifar10", ValueError)],
    },
    "instance_noise": {
        **OF_NOISE,
        "images": [(DATA.train_images / 1, TypeError), (DATA.train_images[1:], ValueError),
                   (np.ma.masked_array(DATA.train_images), TypeError), (None, TypeError)],
    },
    "second_choice_noise": {
        **OF_NOISE,
        "images": [(DATA.train_images / 1, TypeError), (DATA.train_images[1:], ValueError),
                   (np.ma.masked_array(DATA.train_images), TypeError), (None, TypeError)],
    },
    "subset": {
        "data": [(LABELS, TypeError), (None, TypeError)],
        "number": [(2, ValueError), (97, ValueError), (9.0, TypeError), (-1, ValueError)],
        "rng": [(0, TypeError), (None, TypeError)],
    },
    "load_data": {
        "dataset": [("mnist", ValueError), (None, ValueError), (10, ValueError)],
        "download": [(1, TypeError), (None, TypeError)],
        "image_size": [(0, ValueError), (1.5, TypeError), (2**40, ValueError)],
    },
    "label_issues": {
        "given_labels": [(LABELS / 1, TypeError), (LABELS, ValueError), (FEW, ValueError)],
        "probability": [(HALF.astype(int), TypeError), (HALF[0], ValueError),
                        (HALF * 3, ValueError), (np.ma.masked_array(HALF), TypeError),
                        (None, TypeError)],
        "score": [("margin", ValueError), (None, ValueError)],
    },
    "LabelNoise": {
        "kind": [("heavy", ValueError), (None, TypeError), (1, TypeError)],
        "rate": [(1, ValueError), (np.nan, ValueError), ("x", TypeError), (True, TypeError),
                 (None, ValueError)],
        "mapping": [("cifar10", ValueError), (1, ValueError)],
    },
    "LabelNoise.parse": {"text": [("heavy", ValueError), (0.2, TypeError)]},
    "noisy_labels": {
        "data": [(LABELS, TypeError)],
        "noise": [("symmetric", TypeError), (0.2, TypeError)],
        "seed": SEEDS,
        "limit": [(2, ValueError), (97, ValueError), (9.0, TypeError), ("9", TypeError)],
        "human_labels": [("x.pt", ValueError)],
    },
    "read_human_labels": {"name": [("heavy", ValueError), (None, TypeError)]},
    "recipe_for": {
        "budget": [("papers", ValueError), (None, ValueError)],
        "method": [("magic", ValueError), (None, ValueError)],
    },
    "Evaluator": {
        "data": [(LABELS, TypeError)],
        "true_labels": [(LABELS / 1, TypeError), (LABELS[1:], ValueError), (MASKED, TypeError)],
    },
    "Indexed": {"dataset": [(iter([]), TypeError), (None, TypeError)]},
    "Job": {key: values for key, values in OF_TRAINING.items() if key != "device"},
    "train": {
        **{key: values for key, values in OF_TRAINING.items() if key != "device"},
        "resume": [(True, ValueError), (1, TypeError)],
        "arguments": [([], TypeError), ("x", TypeError)],
        "out": [(1, TypeError)],
        "true_labels": OF_TRAINING["given_labels"],
    },
    "training_for": {**OF_TRAINING, "network": [([], ValueError), (["x"], TypeError)]},
    "Training": {
        **OF_TRAINING,
        "loss": [(None, TypeError), (torch.nn.MSELoss(), TypeError)],
        "network": [([], ValueError), (["x"], TypeError)],
    },
}  # fmt: skip
CASES = [
    pytest.param(name, key, value, kind, id=f"{name}-{key}-{i}")
    for name, parameters in WRONG.items()
    for key, values in parameters.items()
    for i, (value, kind) in enumerate(values)
]


# How a message may call a parameter instead.
OTHER_WORDS = {
    "budget": ["recipe"],
    "dataset": ["has no length or no items"],
    "kind": ["noise"],
    "labels": ["the batch is empty"],
    "limit": ["training examples"],
    "name": ["label set"],
    "network": ["networks"],
    "num_classes": ["classes"],
    "number": ["training examples"],
    "out": ["os.PathLike"],
    "probability": ["probabilities"],
    "rate": ["noise"],
    "text": ["noise"],
}


@pytest.mark.parametrize(("name", "key", "value", "kind"), CASES)
def test_a_wrong_value_is_one_line(name, key, value, kind):
    call, arguments = CALLS[name]
    with pytest.raises(kind) as caught:
        call(**{**arguments, key: value})
    assert type(caught.value) is kind or isinstance(caught.value, ValueError)
    line = str(caught.value)
    assert line
    assert "\n" not in line
    words = [key, key.replace("_", " "), *OTHER_WORDS.get(key, [])]
    assert any(word in line for word in words), line


@pytest.mark.parametrize("name", [n for n in CALLS if n not in ("load_data", "read_human_labels")])
def test_the_other_arguments_are_accepted(name):
    call, arguments = CALLS[name]
    call(**arguments)


def test_every_function_of_the_package_is_tried():
    tried = {name.partition(".")[0].removesuffix("()") for name in WRONG}
    # Results and base classes, which nobody makes by hand; ImageData, whose test is with the data;
    # recipes, whose tests are with them.
    others = {"DivergedError", "Epoch", "LabelIssues", "Loss", "METHODS", "Method", "NoisyLabels"}
    others |= {"ImageData", "Recipe", "register", "setting", "with_settings"}
    assert tried | others == set(sop_classify.__all__)


def test_numbers_of_numpy_are_numbers():
    loss = SOPLoss(np.int64(4), np.int32(3), alpha_u=np.float32(1), init=np.float64(1e-8))
    assert loss.u.shape == (4, 1)
    assert alpha_for(np.float32(5), batch_size=np.int64(128)) == alpha_for(5, batch_size=128)
    assert LabelNoise("symmetric", np.float64(0.2)).rate == 0.2


def test_a_path_is_a_path(tmp_path):
    epochs = train(DATA, recipe=small_recipe("ce", "epochs=1"), device="cpu", out=Path(tmp_path))
    assert len(list(epochs)) == 1
