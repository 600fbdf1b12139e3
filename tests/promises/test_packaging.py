"""What is installed: three packages and no more, light to import, no code loaded from data."""

import ast
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import overparam
import robustdip
import sop_classify

ROOT = Path(__file__).parents[2]
PACKAGES = (overparam, robustdip, sop_classify)
SOURCES = sorted(
    [
        *(path for p in PACKAGES for path in ROOT.glob(f"{p.__name__}/**/*.py")),
        ROOT / "robustdip_start.py",
        ROOT / "cli.py",
    ]
)
MODULES = [path for path in SOURCES if path.name not in ("cli.py", "__main__.py", "__init__.py")]


PAGES = [
    path
    for p in PACKAGES
    for suffix in ("jinja", "css", "js")
    for path in ROOT.glob(f"{p.__name__}/**/*.{suffix}")
]
STUBS = [path for p in PACKAGES for path in ROOT.glob(f"{p.__name__}/**/*.pyi")]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return importlib.import_module(".".join(part for part in parts if part != "__init__"))


def python(*args, path=ROOT, **options):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    options = {"capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([sys.executable, *args], env=environment, **options)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Wheel and source, built offline from a copy: setuptools leaves files in its tree."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"setuptools>=77 is needed to build them, there is {version}")
    source = tmp_path_factory.mktemp("source") / "tree"
    hidden = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist")
    shutil.copytree(ROOT, source, ignore=hidden)
    script = "from setuptools import build_meta as b; b.build_wheel('out'); b.build_sdist('out')"
    built = python("-c", script, cwd=source)
    assert built.returncode == 0, built.stderr
    return source / "out"


@pytest.fixture
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    return path


def test_the_source_distribution_holds_what_the_readme_runs_and_names(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    readme = (ROOT / "README.md").read_text()
    named = {name for name in re.findall(r"\]\(([\w./-]+)\)", readme) if "//" not in name}
    assert len(named) > 8
    assert {
        "cli.py",
        "examples/astronaut.png",
        "tests/conftest.py",
        "docs/conf.py",
    } | named <= names
    records = {str(log.relative_to(ROOT)) for log in ROOT.glob("benchmarks/results/*/*.jsonl")}
    assert records <= names
    assert not any(name.endswith(".pyc") for name in names)


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"robustdip-{robustdip.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {
        *(package.__name__ for package in PACKAGES),
        "robustdip_start.py",
        info,
    }
    expected = {str(path.relative_to(ROOT)) for path in SOURCES if path.name != "cli.py"}
    expected |= {f"{package.__name__}/py.typed" for package in PACKAGES}
    expected |= {str(path.relative_to(ROOT)) for path in [*STUBS, *PAGES]}
    assert {name for name in names if not name.startswith(info)} == expected
    assert any(name.endswith("LICENSE") for name in names)


def test_the_wheel_runs_by_itself(wheel, tmp_path):
    names = [package.__name__ for package in PACKAGES]
    where = f"import {', '.join(names)}; print({', '.join(f'{n}.__file__' for n in names)})"
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    printed = python("-c", where, path=installed, cwd=tmp_path).stdout
    assert printed.count(str(installed)) == len(names)
    helped = python("-m", "robustdip", "--help", path=installed, cwd=tmp_path)
    assert helped.returncode == 0
    assert "denoise" in helped.stdout
    assert "train-cifar" in helped.stdout
    metadata = zipfile.ZipFile(wheel).read(
        f"robustdip-{robustdip.__version__}.dist-info/entry_points.txt"
    )
    assert b"robustdip = robustdip_start:main" in metadata


def test_importing_is_light():
    # skimage, scipy and tifffile too take long, and reading a PNG needs none of them.
    script = (
        "import json, sys, overparam, overparam.files, robustdip\n"
        "import sop_classify, sop_classify.cli.train_cifar\n"
        "robustdip.read_image, robustdip.write_image, robustdip.corrupt, robustdip.METHODS\n"
        "sop_classify.ImageData, sop_classify.symmetric_noise, sop_classify.recipe_for\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(python("-c", script).stdout))
    assert loaded >= {
        "robustdip.images.reading",
        "sop_classify.labels.synthetic",
        "sop_classify.data.image_data",
    }
    assert not loaded & {"torch", "torchvision", "skimage", "scipy", "matplotlib", "tifffile"}


@pytest.mark.parametrize("path", STUBS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_of_a_stub_is_there_and_public_in_its_module(path):
    package = module_of(path.with_suffix(".py"))
    nodes = ast.parse(path.read_text()).body
    for node in (node for node in nodes if isinstance(node, ast.ImportFrom)):
        home = importlib.import_module(f".{node.module}", package.__name__)
        for alias in node.names:
            assert alias.name == alias.asname, "a stub re-exports a name as itself"
            assert alias.name in package.__all__
            assert alias.name in home.__all__
            assert getattr(package, alias.name) is getattr(home, alias.name)
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = package.nothing


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_and_what_they_offer(path):
    assert len(ast.get_docstring(ast.parse(path.read_text())) or "") > 20
    if path not in MODULES:
        return  # command lines offer commands; faces are tested by their stubs
    module = module_of(path)
    names = module.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(module, name) for name in names)
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = {n.name for n in ast.parse(path.read_text()).body if isinstance(n, kinds)}
    assert {name for name in defined if not name.startswith("_")} <= set(names)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import pickle", "S403"),
        ("from pickle import loads", "S403"),
        ("import dill", "S403"),
        ("import joblib", "TID251"),
        ("from cloudpickle import loads", "TID251"),
        ("import marshal", "TID251"),
        ("value = eval('1')", "S307"),
        ("exec('1')", "S102"),
        ("assert True", "S101"),
        ("import torch", "TID253"),
        ("from overparam.files import _hidden", "PLC2701"),
        ("value = object()._hidden", "SLF001"),
        ("__all__ = ['b', 'a']", "RUF022"),
        ("def public():\n    return 1", "D103"),
    ],
)
def test_the_linter_refuses(source, rule):
    """Code loaded from data, private names across packages, what is undocumented or unordered."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json"]
    # The name of a module of a product: tests and scripts are allowed more.
    command += ["--stdin-filename", "robustdip/quality.py", "-"]
    checked = subprocess.run(command, input=source, cwd=ROOT, capture_output=True, text=True)
    assert rule in {finding["code"] for finding in json.loads(checked.stdout)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_unpickled(path):
    """What ruff has no rule for: numpy and torch are safe unless these are set otherwise."""
    arguments = re.findall(r"(allow_pickle|weights_only)\s*=\s*(\w+)", path.read_text())
    assert set(arguments) <= {("allow_pickle", "False"), ("weights_only", "True")}


def test_the_entry_point_and_the_version_are_those_of_the_source():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]  # declared once, in overparam/version.py
    assert overparam.__version__ == robustdip.__version__
    target = importlib.metadata.EntryPoint("robustdip", project["scripts"]["robustdip"], "scripts")
    from robustdip_start import main

    assert target.load() is main
