from .data.image_data import (
    ImageData as ImageData,
)
from .data.image_data import (
    Indexed as Indexed,
)
from .data.image_data import (
    subset as subset,
)
from .data.loading import load_data as load_data
from .labels.cifar_n import read_human_labels as read_human_labels
from .labels.issues import (
    LabelIssues as LabelIssues,
)
from .labels.issues import (
    label_issues as label_issues,
)
from .labels.label_noise import LabelNoise as LabelNoise
from .labels.noisy import (
    NoisyLabels as NoisyLabels,
)
from .labels.noisy import (
    noisy_labels as noisy_labels,
)
from .labels.synthetic import (
    asymmetric_noise as asymmetric_noise,
)
from .labels.synthetic import (
    instance_noise as instance_noise,
)
from .labels.synthetic import (
    second_choice_noise as second_choice_noise,
)
from .labels.synthetic import (
    symmetric_noise as symmetric_noise,
)
from .methods.build import training_for as training_for
from .methods.catalogue import (
    METHODS as METHODS,
)
from .methods.catalogue import (
    Method as Method,
)
from .methods.catalogue import (
    recipe_for as recipe_for,
)
from .methods.catalogue import (
    register as register,
)
from .methods.elr import ELRLoss as ELRLoss
from .methods.sop import (
    SOPLoss as SOPLoss,
)
from .methods.sop import (
    alpha_for as alpha_for,
)
from .recipes import (
    Recipe as Recipe,
)
from .recipes import (
    setting as setting,
)
from .recipes import (
    with_settings as with_settings,
)
from .runs.job import (
    Job as Job,
)
from .runs.run import (
    train as train,
)
from .training.evaluation import (
    Epoch as Epoch,
)
from .training.evaluation import (
    Evaluator as Evaluator,
)
from .training.loop import (
    DivergedError as DivergedError,
)
from .training.loss import Loss as Loss
from .training.single import Training as Training
