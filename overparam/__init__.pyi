from .sparse_corruption import (
    SparseCorruption as SparseCorruption,
)
from .sparse_corruption import (
    activation_steps as activation_steps,
)
