from .run import (
    Run as Run,
    finish as finish,
    require_new as require_new,
    train as train,
)
