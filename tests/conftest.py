"""What several test files need."""

import signal

import pytest
import torch


@pytest.fixture
def hears_ctrl_c():
    """This process and its children hear SIGINT, even if it was started deaf, in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def one_thread():
    """Two threads that share a busy processor take many times as long, and sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
