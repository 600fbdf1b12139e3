"""Promise: review.html shows what label_issues.csv says, the whole picture of each file."""

import base64
import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from sop_classify.data.images import LabelledImages
from sop_classify.labels.issues import label_issues
from sop_classify.labels.rate import NoiseRate
from sop_classify.reports.label_errors import Findings, Judged, write_findings
from tests.sop_classify.reports.test_review import data_of

NAMES = ("cat", "dog", "deer")


@pytest.fixture
def findings(tmp_path):
    """Thirty files, each 60 wide and 20 high, of which every third is train."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 30).astype(np.float32)
    given = rng.integers(0, 3, 30)
    files = tuple(tmp_path / f"{i}.png" for i in range(30))
    for i, file in enumerate(files):
        Image.new("RGB", (60, 20), (8 * i, 0, 0)).save(file)
    data = LabelledImages(
        name="pets",
        images=np.zeros((30, 16, 16, 3), np.uint8),
        labels=given,
        class_names=NAMES,
        paths=tuple(file.name for file in files),
        splits=("train", "val", "test") * 10,
        files=files,
    )
    index = data.index("train", "val")
    issues = label_issues(given[index], p[index], score="self_confidence")
    judged = Judged(index, issues, p[index])
    return Findings(data, judged, None, NoiseRate(0.25, 0.2, 0.3), ())


def test_the_page_shows_the_issues_of_the_table(findings, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_findings(out, findings)
    page = (out / "review.html").read_bytes()
    with (out / "label_issues.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["is_label_issue"] == "True"]
    assert 5 < len(rows) < 20
    data = data_of(page)
    assert data["classes"] == list(NAMES)
    for row, item, picture in zip(rows, data["items"], data["pictures"], strict=True):
        assert (item["path"], item["split"]) == (row["path"], row["split"])
        classes = [NAMES[item[key]] for key in ("given", "suggested", "runnerUp")]
        assert classes == [row["given"], row["suggested"], row["runner_up"]]
        numbers = [item[key] for key in ("score", "pGiven", "pSuggested")]
        said = [float(row[key]) for key in ("label_quality", "p_given", "p_suggested")]
        assert numbers == pytest.approx(said, rel=1e-5)
        image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
        assert image.size == (60, 20)
        red = image.getpixel((30, 10))[0]
        assert abs(red - 8 * int(row["path"][:-4])) <= 3
    text = re.sub(r"\s+", " ", page.decode())
    assert "Labels: 20. Estimated wrong labels: 25.0 % (95 %: 20.0 to 30.0 %)." in text


def test_a_small_share_of_a_class_is_not_called_none(tmp_path):
    given = np.repeat([0, 1, 2], 2500)
    p = np.eye(3, dtype=np.float32)[given] * 0.97 + 0.01
    p[0] = p[-1]  # one cat looks like a deer
    images = np.zeros((given.size, 16, 16, 3), np.uint8)
    names = tuple(f"train_images[{at}]" for at in range(given.size))
    data = LabelledImages("pets", images, given, NAMES, names, ("train",) * given.size)
    issues = label_issues(given, p, score="self_confidence")
    judged = Judged(data.index("train"), issues, p)
    write_findings(tmp_path, Findings(data, judged, None, NoiseRate(0.25, 0.2, 0.3), ()))
    page = (tmp_path / "review.html").read_text("utf-8")
    assert "<td>cat</td><td>2500</td><td>1</td><td>0.04</td>" in page
    assert "<td>dog</td><td>2500</td><td>0</td><td>0</td>" in page


def test_a_file_that_is_gone_is_shown_as_the_network_saw_it(findings, tmp_path):
    for file in findings.data.files:
        file.unlink()
    write_findings(tmp_path, findings)
    (first, *_) = data_of((tmp_path / "review.html").read_bytes())["pictures"]
    assert Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))).size == (16, 16)
