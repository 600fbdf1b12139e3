from .grid import train_grid as train_grid
from .record import (
    RunRecord as RunRecord,
)
from .record import (
    read_metrics as read_metrics,
)
from .record import (
    read_record as read_record,
)
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
