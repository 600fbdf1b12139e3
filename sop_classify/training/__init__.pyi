from .evaluation import (
    Epoch as Epoch,
)
from .evaluation import (
    Evaluator as Evaluator,
)
from .loop import (
    DivergedError as DivergedError,
)
from .loop import (
    TrainedEpoch as TrainedEpoch,
)
from .loop import (
    TrainingLoop as TrainingLoop,
)
from .loss import Loss as Loss
from .single import Training as Training
