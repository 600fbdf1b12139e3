"""Run all hostile checks and print how many there are by area: `python -m tests.hostile`."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main([str(Path(__file__).parent), "-m", "", "-q", *sys.argv[1:]]))
