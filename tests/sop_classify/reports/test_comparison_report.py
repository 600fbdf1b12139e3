"""Promise: comparison.html shows the table of comparison.md and the parts of every run."""

import pytest

from sop_classify.methods.catalogue import recipe_for
from sop_classify.recipes import with_settings
from sop_classify.reports.comparison import write_comparison
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
