"""Train classifiers on labels of which an unknown part is wrong: sparse over-parameterization.

In a training loop of your own the loss takes the place of cross entropy::

    from sop_classify import Indexed, SOPLoss

    loss = SOPLoss(len(dataset), num_classes)
    for images, labels, index in DataLoader(Indexed(dataset), 128, shuffle=True):
        loss(network(images), labels, index).backward()
"""

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "RECIPES":
        raise AttributeError("sop_classify.RECIPES is gone; use recipe_for(budget, method)")
    return _public(name)
