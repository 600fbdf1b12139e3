from .record import (
    RunRecord as RunRecord,
)
from .record import (
    read_metrics as read_metrics,
)
from .record import (
    read_record as read_record,
)
