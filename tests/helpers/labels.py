"""Small labelled data, noise on it, and trainings of seconds."""

import numpy as np

from sop_classify.data.image_data import ImageData
from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import with_settings
from sop_classify.training.evaluation import Evaluator
from sop_classify.training.networks import FastNet


def small_data(number=96, tests=30, side=16, classes=3, seed=0):
    """Images whose class is the colour of a square at a random place."""
    rng = np.random.default_rng(seed)

    def draw(n):
        labels = np.arange(n, dtype=np.int64) % classes
        images = rng.integers(0, 60, (n, side, side, 3), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            y, x = rng.integers(0, side - 8, 2)
            image[y : y + 8, x : x + 8, label % 3] += 150
        return images, labels

    names = tuple(f"c{i}" for i in range(classes))
    return ImageData(*draw(number), *draw(tests), names, "small")


def noisy(labels, number, classes=3):
    given = labels.copy()
    given[:number] = (given[:number] + 1) % classes
    return given


def small_recipe(method="sop", *settings):
    settings = ("epochs=2", "batch_size=32", *settings)
    return with_settings(recipe_for("cpu", method), settings)


def run(training, data, true_labels=None):
    """All epochs that are left, evaluated."""
    return list(Evaluator(data, true_labels=true_labels).epochs(training))


def tiny_network(classes):
    """The recipes' network with few channels; networks are named by "module:callable"."""
    return FastNet(classes, (8, 16, 16))


TINY_NETWORK = f"{__name__}:tiny_network"
