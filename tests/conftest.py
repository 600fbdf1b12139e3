"""What several test files need."""

import os
import signal

import pytest
import torch

from tests.helpers.browser import chromium


def pytest_configure(config):
    """One thread for each of the processes of `-n`, and for the children of each.

    They are as many as the cores; threads that share a core wait for each other.
    """
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session", autouse=True)
def as_many_threads_in_children():
    """However busy the machine is: sums of more threads differ in their last bits."""
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def hears_signals():
    """Children hear the signals that tests send, even if pytest runs in the background or by nohup.

    A process that is started there ignores them, and the program leaves ignored signals ignored.
    """
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        **({signal.SIGHUP: signal.SIG_DFL} if hasattr(signal, "SIGHUP") else {}),
    }
    before = {number: signal.getsignal(number) for number in defaults}
    for number, handler in defaults.items():
        if before[number] is signal.SIG_IGN:
            signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def one_thread():
    """Two threads that share a busy processor take many times as long, and sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def browser():
    """Chromium, or a skip."""
    with chromium() as started:
        yield started
