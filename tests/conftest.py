"""What several test files need."""

import signal

import pytest


@pytest.fixture
def hears_ctrl_c():
    """This process and its children hear SIGINT, even if it was started deaf, in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
