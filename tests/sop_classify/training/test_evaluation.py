"""Promise: each number of an epoch is what its name says, against the truth."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sop_classify.training.evaluation import Evaluator
from tests.helpers.labels import small_data

DATA = small_data(number=9, tests=8)
TRUE = DATA.train_labels
GIVEN = np.where(np.isin(np.arange(9), (0, 4, 8)), (TRUE + 1) % 3, TRUE)
# One of the wrong labels is memorised, the two others are seen through; a right one is not learned.
PREDICTED = np.where(np.arange(9) == 0, GIVEN, np.where(np.arange(9) == 1, (TRUE + 1) % 3, TRUE))
SQUARES = torch.arange(9.0).square()
# Test images that are predicted rightly, by how they are predicted.
RIGHT = {
    (): 1,
    ("flips",): 2,
    ("ema",): 3,
    ("ema", "flips"): 5,
    ("ensemble",): 6,
}


class Scripted:
    """A training of three epochs that predicts what it is told to."""

    device = torch.device("cpu")
    given = torch.from_numpy(GIVEN)

    def __init__(self, *, networks=2, **settings):
        self.num_networks = networks
        usual = {"epochs": 3, "test_every": 2, "flips": True, "ema": 0.9}
        self.recipe = SimpleNamespace(**usual | settings)

    def epochs(self, *, on_batch=None):
        for self.epoch in range(1, 4):
            yield SimpleNamespace(
                epoch=self.epoch,
                loss=0.5,
                predicted=torch.from_numpy(PREDICTED),
                rates={"lr": 0.1, "alpha_u": 2.0, "alpha_v": 3.0},
                forward_passes=4.0,
                backward_passes=5.0,
                seconds=6.0,
            )

    def predict(self, images, **options):
        assert images.shape == DATA.test_images.shape
        labels = torch.from_numpy(DATA.test_labels)
        right = torch.arange(8) < RIGHT[tuple(sorted(options))]
        return F.one_hot(torch.where(right, labels, (labels + 1) % 3), 3).float()

    def report(self):
        return {"u": SQUARES, "v": 10 * SQUARES}


def test_by_hand():
    first, second, last = Evaluator(DATA, true_labels=TRUE).epochs(Scripted())
    accuracies = [
        (
            each.test_accuracy,
            each.test_accuracy_flips,
            each.test_accuracy_ema,
            each.test_accuracy_ema_flips,
            each.test_accuracy_ensemble,
        )
        for each in (first, second, last)
    ]
    assert accuracies == [
        (None, None, None, None, None),
        (1 / 8, None, 3 / 8, None, 6 / 8),
        (1 / 8, 2 / 8, 3 / 8, 5 / 8, 6 / 8),
    ]
    assert [each.epoch for each in (first, second, last)] == [1, 2, 3]
    assert last.train_fit == 6 / 9  # five of the six right labels, one of the three wrong ones
    assert (last.memorized, last.recovered) == (1 / 3, 2 / 3)
    for name, mean in (("", 204 / 9), ("_wrong", (0 + 16 + 64) / 3), ("_clean", 124 / 6)):
        assert getattr(last, f"u{name}") == pytest.approx(mean)
        assert getattr(last, f"v{name}") == pytest.approx(10 * mean)
    assert (last.lr, last.alpha_u, last.alpha_v) == (0.1, 2, 3)
    assert (last.forward_passes, last.backward_passes, last.seconds) == (4, 5, 6)
    assert last.train_loss == 0.5


@pytest.mark.parametrize("truth", [None, GIVEN])
def test_where_no_label_is_known_to_be_wrong_nothing_is_said_of_them(truth):
    *_, last = Evaluator(DATA, true_labels=truth).epochs(Scripted())
    assert last.memorized is last.recovered is last.u_wrong is last.v_wrong is None
    assert last.u_clean == (None if truth is None else pytest.approx(204 / 9))
    assert last.train_fit == 6 / 9


def test_one_network_without_averages_or_mirror_images():
    training = Scripted(networks=1, flips=False, ema=0.0)
    *_, last = Evaluator(DATA).epochs(training)
    assert last.test_accuracy == 1 / 8
    others = ("flips", "ema", "ema_flips", "ensemble")
    assert [getattr(last, f"test_accuracy_{name}") for name in others] == [None] * 4
