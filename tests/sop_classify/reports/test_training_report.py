"""Promise: report.html of a run shows its results, in one file, on a phone and a desktop."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import with_settings
from sop_classify.reports.training_report import most_confused
from sop_classify.runs.job import Job
from sop_classify.runs.run import Run
from tests.helpers.browser import DESKTOP, PHONE, opened, violations
from tests.helpers.labels import noisy, small_data


def report(folder, *, classes=3, epochs=3):
    data = small_data(96, tests=32, classes=classes)
    given = noisy(data.train_labels, 12, classes)
    recipe = with_settings(recipe_for("cpu", "sop"), [f"epochs={epochs}", "batch_size=32"])
    run = Run(Job(data, given, recipe, data.train_labels, device="cpu"), folder)
    run.start()
    list(run.epochs())
    return folder / "report.html"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return report(tmp_path_factory.mktemp("run") / "run")


def test_it_says_what_run_json_says(page_file):
    html = page_file.read_text()
    results = json.loads((page_file.parent / "run.json").read_text())["results"]
    assert f"{100 * results['accuracy']:.2f} %" in html
    assert f"{100 * results['balanced_accuracy']:.2f} %" in html
    assert "epoch 3 of 3" in html
    for name in ("c0", "c1", "c2"):
        assert f"<td>{name}</td>" in html
    flagged = (page_file.parent / "label_issues.csv").read_text().count("True")
    assert html.count('loading="lazy"') == min(flagged, 48)
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert len(page_file.read_bytes()) < 1_000_000


@pytest.mark.parametrize("device", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(page_file, browser, device, scheme):
    with opened(browser, page_file, device=device, scheme=scheme) as page:
        assert page.locator("svg.chart").count() == 4  # accuracy, loss, fit, memorised
        assert page.locator("g.cell").count() == 9
        page.get_by_text("Settings").click()
        assert page.get_by_text("activation_epochs").is_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= device["viewport"]["width"]
        assert violations(page) == []


def test_one_epoch_and_many_classes(tmp_path, browser):
    """No line through one point; a list instead of a square with letters that nobody can read."""
    with opened(browser, report(tmp_path / "run", classes=31, epochs=1)) as page:
        assert page.locator("svg").count() == 0
        assert page.get_by_role("heading", name="Classes").is_visible()
        assert page.locator("table").first.locator("tr").count() <= 11


def test_a_name_stays_a_text(tmp_path, browser):
    data = small_data(48, tests=12)
    image = Image.fromarray(data.train_images[0])
    assert image.size == (16, 16)
    names = ("<script>alert(1)</script>", "a & b", "\udcff")
    from dataclasses import replace

    data = replace(data, class_names=names)
    recipe = with_settings(recipe_for("cpu", "ce"), ["epochs=2", "batch_size=32"])
    run = Run(Job(data, noisy(data.train_labels, 8), recipe, device="cpu"), tmp_path / "run")
    run.start()
    list(run.epochs())
    with opened(browser, tmp_path / "run" / "report.html") as page:
        assert page.get_by_role("cell", name=names[0]).first.is_visible()


def test_the_most_confused_classes():
    confusion = np.array([[9, 3, 0], [0, 9, 1], [5, 0, 2]])
    assert most_confused(confusion, ["a", "b", "c"], most=2) == [("c", "a", 5), ("a", "b", 3)]
    assert most_confused(np.eye(3, dtype=int), ["a", "b", "c"]) == []
