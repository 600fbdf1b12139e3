"""Train classifiers on labels of which an unknown part is wrong: sparse over-parameterization.

>>> from sop_classify import Indexed, SOPLoss
>>> loss = SOPLoss(len(dataset), num_classes)
>>> for images, labels, index in DataLoader(Indexed(dataset), 128, shuffle=True):
...     loss(network(images), labels, index).backward()
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
