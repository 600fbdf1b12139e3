"""Promise: what the documents show runs, and their links lead somewhere."""

import dataclasses
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from torch.utils.data import TensorDataset

import overparam
import robustdip
import sop_classify
from robustdip.__main__ import commands

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
MODULES = [
    name
    for package in (overparam, robustdip, sop_classify)
    for name in (
        package.__name__,
        *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")),
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_say(name, one_thread):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def blocks(page):
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def short(denoise):
    """A fit of few steps: the example has to run, not to recover."""
    recipe = dataclasses.replace(robustdip.RECIPES["default"], steps=2, width=16)

    def shortened(image, *, method="default", **options):
        return denoise(image, method=recipe if method == "default" else method, **options)

    return shortened


@pytest.mark.parametrize("page", ["README.md", "docs/images.md"])
def test_the_examples_on_images_run(page, monkeypatch, tmp_path, one_thread):
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    robustdip.write_image("photo.png", picture)
    monkeypatch.setattr(robustdip, "denoise", short(robustdip.denoise), raising=False)
    sources = blocks(ROOT / page)
    assert sources
    for source in sources:
        exec(source, {})
    if page == "README.md":
        assert robustdip.read_image("recovered.png").pixels.shape == picture.shape


def test_the_examples_on_labels_run(monkeypatch, tmp_path, one_thread):
    monkeypatch.chdir(tmp_path)
    worst, noise, loop = blocks(ROOT / "docs" / "labels.md")

    images = np.zeros((4, 16, 16, 3), np.uint8)
    np.savez("mine.npz", train_images=images)
    Path("runs/mine").mkdir(parents=True)
    rows = [f'{i},True,0.5,"cat","dog"' for i in range(4)]
    head = "index,is_label_issue,label_score,given_label,predicted_label"
    Path("runs/mine/label_issues.csv").write_text("\n".join([head, *rows]) + "\n")
    exec(worst, {})
    assert Path("worst.png").stat().st_size > 1000

    names = tuple("abcdefghij")
    labels = np.arange(40) % 10
    data = sop_classify.ImageData(
        np.zeros((40, 16, 16, 3), np.uint8), labels, images, labels[:4], names, "cifar10"
    )
    monkeypatch.setattr(sop_classify, "load_data", lambda name: data, raising=False)
    recipe = sop_classify.with_settings(sop_classify.recipe_for("cpu", "sop"), ["epochs=1"])
    monkeypatch.setattr(sop_classify, "recipe_for", lambda *names: recipe, raising=False)
    made = {}
    exec(noise, made)
    assert Path("runs/python/label_issues.csv").is_file()
    assert (made["noisy"].given_labels != labels).mean() == 0.2

    network = torch.nn.Linear(3, 2)
    given = {
        "dataset": TensorDataset(torch.ones(8, 3), torch.arange(8) % 2),
        "num_classes": 2,
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1),
        "device": "cpu",
    }
    exec(loop, given)
    _, down = given["loss"].parts(torch.arange(8) % 2)
    assert (down > 0.5).any()  # a contradicted label was given up


def shown(page):
    """The calls of the program in the shell blocks of a page: the words after its name."""
    text = page.read_text().replace("\\\n", " ")
    for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            starts = [i for i, word in enumerate(words) if word == "robustdip" or "cli.py" in word]
            for start in starts:
                ends = (i for i, word in enumerate(words) if i > start and word in ("|", "&&"))
                yield words[start + 1 : next(ends, None)]


def test_the_program_has_the_commands_and_options_that_are_shown():
    main = typer.main.get_command(commands())
    found = 0
    for page in PAGES:
        for name, *arguments in shown(page):
            main.commands[name].make_context(name, arguments)  # as the program reads them
            found += 1
    assert found > 50


def anchors(page):
    """GitHub's anchors of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Files and anchors of this repository; other sites are not asked."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        made = target.parent == ROOT / "docs" / "gallery"  # by sphinx-gallery
        assert made or target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_text_are_no_wider_than_120(page):
    """Tables, code and what is made from records may be."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "†"))]
    assert [line for line in lines if len(line) > 120] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
