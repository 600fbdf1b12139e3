from .build import (
    loss_for as loss_for,
)
from .build import (
    training_for as training_for,
)
from .catalogue import (
    METHODS as METHODS,
)
from .catalogue import (
    Method as Method,
)
from .catalogue import (
    Variant as Variant,
)
from .catalogue import (
    find_method as find_method,
)
from .catalogue import (
    recipe_for as recipe_for,
)
from .catalogue import (
    register as register,
)
