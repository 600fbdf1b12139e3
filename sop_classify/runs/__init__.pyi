from .run import (
    Run as Run,
)
from .run import (
    finish as finish,
)
from .run import (
    require_new as require_new,
)
from .run import (
    train as train,
)
