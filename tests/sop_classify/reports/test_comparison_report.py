"""Promise: comparison.html shows the table of comparison.md and the parts of every run."""

import csv
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import with_settings
from sop_classify.records.record import read_record
from sop_classify.reports.comparison import write_comparison
from sop_classify.reports.training_report import settings_of
from sop_classify.runs.job import Job
from sop_classify.runs.run import Run
from tests.helpers.browser import DESKTOP, PHONE, opened, violations
from tests.helpers.labels import noisy, small_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    data = small_data(48, tests=12)
    for method in ("ce", "sop"):
        recipe = with_settings(recipe_for("cpu", method), ["epochs=2", "batch_size=24"])
        job = Job(data, noisy(data.train_labels, 6), recipe, data.train_labels, device="cpu")
        run = Run(job, folder / f"symmetric-0.1-{method}-0")
        run.start()
        list(run.epochs())
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text("{")
    write_comparison(folder)
    return folder


# On how many lines each title of one word stands.
_LINES_OF_WORDS = """
[...document.querySelectorAll("thead th")].filter((title) => !title.textContent.includes(" ")).map(
  (title) => {
    const range = document.createRange();
    range.selectNodeContents(title);
    return range.getClientRects().length;
  })
"""


@pytest.mark.parametrize(("device", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_in_a_browser(folder, browser, device, scheme):
    with opened(browser, folder / "comparison.html", device=device, scheme=scheme) as page:
        table = (folder / "comparison.md").read_text()
        cells = page.locator("table").first.locator("td").all_inner_texts()
        for line in table.splitlines():
            if line.startswith("| as given"):
                for cell in line.strip("| ").split(" | "):
                    assert cell in cells
        lines = page.evaluate(_LINES_OF_WORDS)
        assert len(lines) > 5
        assert set(lines) == {1}  # "memori-sed": a table that scrolls breaks no word
        assert page.get_by_text("Skipped: ").is_visible()
        page.get_by_text("symmetric-0.1-sop-0: ").click()
        assert page.locator("g.cell:visible").count() == 9
        assert page.locator("svg.chart:visible").count() == 4
        link = page.get_by_role("link", name="The report of this run").last
        assert (folder / link.get_attribute("href")).exists()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= device["viewport"]["width"]
        assert violations(page) == []


def test_a_damaged_or_missing_matrix(folder, tmp_path):
    """An earlier version wrote no matrix; one that is damaged is named, like a damaged run.json."""
    matrix = folder / "symmetric-0.1-ce-0" / "confusion_matrix.csv"
    kept = matrix.read_bytes()
    try:
        matrix.unlink()
        write_comparison(folder)
        assert (folder / "comparison.html").read_text().count('class="cell') == 9
        matrix.write_bytes(b'"given label","c0"\n"c0",x\n')
        assert "confusion_matrix.csv" in write_comparison(folder)
    finally:
        matrix.write_bytes(kept)


@pytest.mark.skipif(sys.platform != "linux", reason="needs bytes for names")
def test_a_run_and_data_whose_names_are_no_utf8(folder, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    run = Path(shutil.copytree(folder / "symmetric-0.1-ce-0", tmp_path / name))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"data": record["data"] | {"name": name}}))
    shutil.copytree(run, tmp_path / f"{name}-2")
    broken = {**record, "status": "failed", "results": {}}
    (tmp_path / f"{name}-2" / "run.json").write_text(json.dumps(broken))
    assert f"Failed: {name}-2: " in write_comparison(tmp_path)
    (row,) = csv.DictReader((tmp_path / "comparison.csv").read_text("utf-8").splitlines())
    assert (row["run"], row["data"]) == ("caf\\udce9", "caf\\udce9")
    assert r"Failed: caf\udce9-2: " in (tmp_path / "comparison.md").read_text("utf-8")


def test_one_thread_is_no_threads(folder):
    record = read_record(folder / "symmetric-0.1-ce-0")
    said = [settings_of(replace(record, threads=number))["device"] for number in (1, 2)]
    assert [each.split(", ")[-1] for each in said] == ["1 thread", "2 threads"]


def test_the_link_to_a_run_of_any_name(folder, tmp_path):
    shutil.copytree(folder / "symmetric-0.1-ce-0", tmp_path / "a:50% #1?")
    write_comparison(tmp_path)
    page = (tmp_path / "comparison.html").read_text("utf-8")
    (link,) = re.findall('href="([^"]+/report.html)"', page)
    place = urlsplit(urljoin(f"{tmp_path.as_uri()}/", link))
    assert Path(unquote(place.path)) == tmp_path / "a:50% #1?" / "report.html"
    assert (place.scheme, place.query, place.fragment) == ("file", "", "")
