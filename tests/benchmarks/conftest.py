"""Benchmarks run in this process, on a small picture."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from robustdip.recipes import RECIPES
from tests.helpers.images import with_mixture


@pytest.fixture
def command(monkeypatch, one_thread):
    """Run a script by its name with a command line."""

    def run(name: str, *arguments) -> None:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        importlib.import_module(f"benchmarks.{name}").main()

    return run


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "cat.png"
    Image.fromarray(data.chelsea()[110:142, 190:222]).save(path)
    return path


@pytest.fixture
def small(monkeypatch):
    """The default recipe with a narrow network, and s estimated at every step."""
    recipe = with_mixture(replace(RECIPES["default"], width=16), refresh=1 / 64)
    monkeypatch.setitem(RECIPES, "default", recipe)
    return recipe
