from .build import training_for as training_for
