from .grid import train_grid as train_grid
from .run import (
    Job as Job,
)
from .run import (
    Run as Run,
)
from .run import (
    require_new as require_new,
)
from .run import (
    train as train,
)
