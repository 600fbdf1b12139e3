"""The server of warm processes, what they work on, and the number of checks at the end of a run."""

import numpy as np
import pytest

from robustdip import write_image
from tests.helpers.labels import small_data
from tests.hostile.tally import checks
from tests.hostile.warm import Warm


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    with Warm(tmp_path_factory.mktemp("streams")) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    """A folder with an image and, so that names(folder) is short, nothing else."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    write_image(tmp_path / "in.png", pixels)
    return tmp_path


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    data = small_data(number=48, tests=12)
    path = tmp_path_factory.mktemp("labels") / "small.npz"
    np.savez(
        path,
        train_images=data.train_images,
        train_labels=data.train_labels,
        test_images=data.test_images,
        test_labels=data.test_labels,
    )
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not checks:
        return
    terminalreporter.section("hostile checks that held")
    for area, number in sorted(checks.items()):
        terminalreporter.line(f"{area:<24}{number:>8,}")
    fuzzed = sum(number for area, number in checks.items() if area.startswith("fuzz"))
    terminalreporter.line(f"{'all but fuzzing':<24}{checks.total() - fuzzed:>8,}")
