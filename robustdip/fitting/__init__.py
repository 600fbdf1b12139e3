"""The fit of y = x + s: the network, its optimizers and the loop of gradient steps."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
