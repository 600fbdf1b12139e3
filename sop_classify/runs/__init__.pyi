from .folder import (
    require_new as require_new,
)
from .grid import train_grid as train_grid
from .job import (
    Job as Job,
)
from .run import (
    Run as Run,
)
from .run import (
    train as train,
)
