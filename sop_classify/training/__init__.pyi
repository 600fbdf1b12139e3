from .loop import (
    DivergedError as DivergedError,
)
from .loop import (
    Epoch as Epoch,
)
from .loop import (
    Training as Training,
)
