from .loop import (
    Step as Step,
)
from .loop import (
    fit as fit,
)
