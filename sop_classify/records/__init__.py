"""What the folder of a run holds, written and read: its record, its checkpoint, its lock."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
