from .errors import DivergedError as DivergedError
from .errors import NotEnoughMemoryError as NotEnoughMemoryError
from .sparse_corruption import (
    SparseCorruption as SparseCorruption,
)
from .sparse_corruption import (
    activation_steps as activation_steps,
)
from .version import __version__ as __version__
