"""Train classifiers on labels of which an unknown part is wrong: sparse over-parameterization.

>>> from sop_classify import Indexed, SOPLoss
>>> loss = SOPLoss(len(dataset), num_classes)
>>> for images, labels, index in DataLoader(Indexed(dataset), 128, shuffle=True):
...     loss(network(images), labels, index).backward()
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sop_classify.collapse import Collapse, neural_collapse
    from sop_classify.data import ImageData, Indexed, subset
    from sop_classify.elr import ELRLoss
    from sop_classify.human import read_human_labels
    from sop_classify.issues import LabelIssues, label_issues
    from sop_classify.loss import SOPLoss, alpha_for
    from sop_classify.methods import training_for
    from sop_classify.noise import asymmetric_noise, instance_noise, symmetric_noise
    from sop_classify.readers import load_data
    from sop_classify.recipes import RECIPES, Recipe, recipe_for, with_settings
    from sop_classify.runs import train
    from sop_classify.training import DivergedError, Epoch, Training

_HOME = {
    "Collapse": "collapse",
    "DivergedError": "training",
    "ELRLoss": "elr",
    "Epoch": "training",
    "ImageData": "data",
    "Indexed": "data",
    "LabelIssues": "issues",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "SOPLoss": "loss",
    "Training": "training",
    "alpha_for": "loss",
    "asymmetric_noise": "noise",
    "instance_noise": "noise",
    "label_issues": "issues",
    "load_data": "readers",
    "neural_collapse": "collapse",
    "read_human_labels": "human",
    "recipe_for": "recipes",
    "subset": "data",
    "symmetric_noise": "noise",
    "train": "runs",
    "training_for": "methods",
    "with_settings": "recipes",
}
__all__ = [
    "RECIPES",
    "Collapse",
    "DivergedError",
    "ELRLoss",
    "Epoch",
    "ImageData",
    "Indexed",
    "LabelIssues",
    "Recipe",
    "SOPLoss",
    "Training",
    "alpha_for",
    "asymmetric_noise",
    "instance_noise",
    "label_issues",
    "load_data",
    "neural_collapse",
    "read_human_labels",
    "recipe_for",
    "subset",
    "symmetric_noise",
    "train",
    "training_for",
    "with_settings",
]


def __getattr__(name: str) -> Any:
    # PEP 562: noise, recipes and files must not wait for torch (seconds to import).
    if name not in _HOME:
        raise AttributeError(f"module 'sop_classify' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sop_classify.{_HOME[name]}"), name)
