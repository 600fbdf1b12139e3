"""From a folder to a corrected one: find-label-errors, apply-corrections, make-example-labels."""

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overparam.files import FileError
from sop_classify.runs.run import Run
from tests.helpers.command_line import done, refused, run
from tests.helpers.labels import noisy, small_data

SMALL = ["--epochs", "3", "--set", "batch_size=32", "--device", "cpu", "-q"]
TABLES = {
    *("label_issues.csv", "pred_probs.npy", "transition_matrix.csv", "class_quality.csv"),
    *("overlapping_classes.csv", "duplicates.csv", "skipped.csv", "split.csv", "classes.txt"),
    *("summary.json", "training", "review.html"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    """Ninety images of three classes in folders; nine labels wrong; one broken file."""
    data = small_data(90)
    given = noisy(data.train_labels, 9)
    for at, image in enumerate(data.train_images):
        place = tmp_path / "data" / data.class_names[given[at]] / f"{at:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place)
    (tmp_path / "data" / "c0" / "broken.png").write_bytes(b"x")
    return tmp_path / "data"


def rows(path):
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


def test_the_tables(folder, tmp_path, one_thread):
    out = tmp_path / "out"
    result = done("find-label-errors", folder, "--out", out, "--json", *SMALL)
    summary = json.loads(result.stdout)
    assert {entry.name for entry in out.iterdir()} == TABLES
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["images"] == {"train": 81, "val": 9, "test": 0}
    assert summary["skipped"] == 1
    low, high = (summary["noise_rate"][key] for key in ("low", "high"))
    assert low <= summary["noise_rate"]["estimate"] <= high

    issues = rows(out / "label_issues.csv")
    assert len(issues) == 90
    scores = [float(row["label_quality"]) for row in issues]
    assert scores == sorted(scores)
    p = np.load(out / "pred_probs.npy")
    names = (out / "classes.txt").read_text().split()
    for row in issues:
        line = p[int(row["index"])]
        given, predicted = int(row["given_label"]), int(row["predicted_label"])
        assert (row["is_label_issue"] == "True") == (given != predicted)
        assert row["path"].split("/")[0] == row["given"] == names[given]
        assert row["suggested"] != row["given"]
        assert float(row["p_given"]) == line[given] == np.float32(row["label_quality"])
        others = {row["given"], row["suggested"], row["runner_up"]}
        assert others == set(names)
        assert float(row["p_suggested"]) >= float(row["p_runner_up"])
    quality = rows(out / "class_quality.csv")
    assert sum(int(row["Label Issues"]) for row in quality) == summary["issues"]
    assert sum(int(row["Inverse Label Issues"]) for row in quality) == summary["issues"]
    pairs = rows(out / "overlapping_classes.csv")
    assert sum(int(row["Num Overlapping Examples"]) for row in pairs) == summary["issues"]
    assert [row["path"] for row in rows(out / "skipped.csv")] == ["c0/broken.png"]

    # The same by seed, and again by --resume; a run that is there is not overwritten.
    again = tmp_path / "again"
    done("find-label-errors", folder, "--out", again, *SMALL)
    table = (out / "label_issues.csv").read_bytes()
    assert (again / "label_issues.csv").read_bytes() == table
    (again / "label_issues.csv").unlink()
    done("find-label-errors", folder, "--out", again, "--resume", *SMALL)
    assert (again / "label_issues.csv").read_bytes() == table
    assert "not empty" in refused("find-label-errors", folder, "--out", out, *SMALL)


def test_resuming_where_there_is_no_run(folder, tmp_path, one_thread):
    """A mistyped folder must not look like one that went on, nor another's be written to."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "label_issues.csv").write_text("mine")
    for command in "find-label-errors", "train":
        said = refused(command, folder, "--out", foreign, "--resume", *SMALL)
        assert "not empty" in said
    assert [entry.name for entry in foreign.iterdir()] == ["label_issues.csv"]
    assert (foreign / "label_issues.csv").read_text() == "mine"
    new = tmp_path / "new"
    result = done("find-label-errors", folder, "--out", new, "--resume", *SMALL)
    assert f"nothing to resume in {str(new)!r}; a new run starts" in result.stderr


def test_a_training_that_its_folder_no_longer_takes_goes_on_as_said(
    folder, tmp_path, monkeypatch, one_thread
):
    out, new, write = tmp_path / "out", tmp_path / "new", Run._write_state

    def full(self, place):
        if place == out / "training" and self.training.epoch == 2:
            raise FileError(f"cannot write {str(place)!r}: No space left on device")
        write(self, place)

    monkeypatch.setattr(Run, "_write_state", full)
    failed, moved = run("find-label-errors", folder, "--out", out, *SMALL), out / "training-2"
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].endswith(
        f"No space left on device; the training is in {str(moved)!r}: move it to NEW/training and "
        "continue with --out NEW --resume"
    )
    message = refused("find-label-errors", folder, "--out", moved, "--resume", *SMALL)
    assert f"cannot resume {str(moved)!r}: it is a training; give the folder that it" in message
    new.mkdir()
    moved.rename(new / "training")
    done("find-label-errors", folder, "--out", new, "--resume", *SMALL)
    assert {entry.name for entry in new.iterdir()} == TABLES
    assert [row["epoch"] for row in rows(new / "training" / "metrics.csv")] == ["1", "2", "3"]


def test_test_labels_stand_apart_with_a_warning(folder, tmp_path, one_thread):
    split = tmp_path / "split"
    for name in ("c0", "c1", "c2"):
        images = sorted((folder / name).iterdir())
        for at, image in enumerate(images):
            part = ("train", "test")[at % 4 == 3]
            (split / part / name).mkdir(parents=True, exist_ok=True)
            image.rename(split / part / name / image.name)
    out = tmp_path / "out"
    result = done("find-label-errors", split, "--out", out, *SMALL)
    assert "warning: the labels of test/" in result.stderr
    assert {row["split"] for row in rows(out / "label_issues.csv")} == {"train", "val"}
    test = rows(out / "test_label_issues.csv")
    assert {row["split"] for row in test} == {"test"}
    assert len(np.load(out / "test_pred_probs.npy")) == len(test)


def test_rare_classes_are_said(folder, tmp_path, one_thread):
    (folder / "ra\nre").mkdir()
    Image.new("RGB", (16, 16), "white").save(folder / "ra\nre" / "x.png")
    out = tmp_path / "out"
    result = done("find-label-errors", folder, "--out", out, *SMALL)
    assert r"too rare to judge: ra\nre" in result.stdout
    said = {row["given"]: row["too_rare"] for row in rows(out / "label_issues.csv")}
    assert said == {"c0": "False", "c1": "False", "c2": "False", "ra\nre": "True"}


def test_no_noise_rate_is_told_of_a_few_images(tmp_path, one_thread):
    for name, grey in ("a", 40), ("b", 200):
        for number in range(3):
            (tmp_path / "few" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), grey + number).save(tmp_path / "few" / name / f"{number}.png")
    out = tmp_path / "out"
    result = done("find-label-errors", tmp_path / "few", "--out", out, *SMALL)
    assert "wrong labels, estimated: every class is too rare" in result.stdout
    assert json.loads((out / "summary.json").read_text())["noise_rate"] is None
    assert "Estimated wrong labels" not in (out / "review.html").read_text()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: None, "No such file"),
        (lambda at: at.mkdir(), "no images in class folders"),
        (lambda at: at.write_bytes(b""), "data is empty"),
        (lambda at: at.write_bytes(b"\xff\xfe\x00"), "not in UTF-8"),
    ],
)
def test_bad_data_is_one_line(tmp_path, make, message):
    make(tmp_path / "data")
    out = tmp_path / "out"
    assert message in refused("find-label-errors", tmp_path / "data", "--out", out)
    assert not out.exists()


def test_out_may_not_lie_in_the_data(folder):
    message = refused("find-label-errors", folder, "--out", folder / "out")
    assert "inside the data" in message
    assert not (folder / "out").exists()


def test_corrections_by_the_command(folder, tmp_path):
    table = tmp_path / "corrections.csv"
    table.write_text("path,given,corrected,action\nc1/00.png,c1,c0,accept\n")
    dry = done("apply-corrections", folder, table)
    assert "c1 -> c0: 1" in dry.stdout
    assert "nothing was written" in dry.stdout
    new = tmp_path / "new"
    arguments = ["apply-corrections", folder, table, "--out", new, "--undo", tmp_path / "undo.csv"]
    first, second = done(*arguments), done(*arguments)
    assert first.stdout == second.stdout
    assert (new / "c0" / "00.png").is_file()
    assert not (new / "c1" / "00.png").exists()
    assert (folder / "c1" / "00.png").is_file()
    assert rows(tmp_path / "undo.csv")[0]["corrected"] == "c1"

    table.write_text("path,given,corrected,action\nc1/00.png,c1,c0,accept\nno.png,c1,c0,accept\n")
    failed = run("apply-corrections", folder, table, "--out", tmp_path / "other")
    assert failed.exit_code == 1
    problem, error = failed.stderr.splitlines()
    assert problem.startswith("line 3, 'no.png': it is not in the data")
    assert error.startswith("error: 1 correction cannot be applied")
    assert not (tmp_path / "other").exists()
    done("apply-corrections", folder, table, "--out", tmp_path / "other", "--skip-problems")
    assert (tmp_path / "other" / "c0" / "00.png").is_file()


def test_classes_with_line_breaks_stay_on_one_line_of_a_dry_run(folder, tmp_path):
    (folder / "c1").rename(folder / "c\n1")
    table = tmp_path / "corrections.csv"
    table.write_text('path,given,corrected,action\n"c\n1/00.png","c\n1",c0,accept\n')
    pair, change, total = done("apply-corrections", folder, table).stdout.splitlines()
    assert pair == r"c\n1 -> c0: 1"
    assert change == r"'c\n1/00.png': c\n1 -> c0"
    assert total.startswith("1 label changed")


@pytest.mark.parametrize("suffix", [".tsv", ".xlsx", ".TXT"])
def test_no_folder_is_called_like_a_file_of_another_kind(folder, tmp_path, suffix):
    table = tmp_path / "corrections.csv"
    table.write_text("path,given,corrected,action\nc1/00.png,c1,c0,accept\n")
    out = tmp_path / f"new{suffix}"
    result = run("apply-corrections", folder, table, "--out", out)
    assert result.exit_code == 2
    assert f"--out is a {suffix.lower()} file; name a .csv file, or a folder" in result.stderr
    assert not out.exists()


def test_suggestions_that_are_not_accepted_are_counted(folder, tmp_path):
    table = tmp_path / "label_issues.csv"
    header = "is_label_issue,path,given,suggested,too_rare\n"
    table.write_text(header + "True,c1/00.png,c1,c0,False\nTrue,c1/01.png,c1,c0,True\n")
    said = done("apply-corrections", folder, table).stdout
    assert "1 label changed" in said
    assert "; 1 suggestion not accepted: of too rare a class; nothing" in said
    assert json.loads(done("apply-corrections", folder, table, "--json").stdout)["too_rare"] == 1


def test_an_undo_replaces_nothing(folder, tmp_path):
    """A file of the data, say; and nothing is written before that is known."""
    table, image = tmp_path / "corrections.csv", folder / "c1" / "00.png"
    table.write_text("path,given,corrected,action\nc1/00.png,c1,c0,accept\n")
    before = image.read_bytes()
    message = refused(
        "apply-corrections", folder, table, "--out", tmp_path / "new", "--undo", image
    )
    assert "exists already" in message
    assert image.read_bytes() == before
    assert not (tmp_path / "new").exists()
    done("apply-corrections", folder, table, "--out", tmp_path / "new")
    assert "exists already" in refused(
        "apply-corrections", folder, table, "--out", tmp_path / "new", "--undo", image
    )
    assert image.read_bytes() == before


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "x").mkdir()
    for place in (tmp_path / "x", ".", "/"):  # the last two have no name
        assert "exists already" in refused("make-example-labels", place)
    (tmp_path / "y-truth.csv").write_text("mine")
    assert "exists already" in refused("make-example-labels", tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_a_truth_that_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("overparam.files.replace_file", full)
    assert "No space left" in refused("make-example-labels", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_rows_that_have_no_part_in_the_result_are_counted(folder, tmp_path):
    image = next((folder / "c0").iterdir()).name
    unlisted = len(list(folder.glob("*/*"))) - 1
    table, corrections = folder / "metadata.csv", tmp_path / "corrections.csv"
    table.write_text(
        f"path,label,box\nc0/{image},c0,1\nc0/{image},c0,2\nc0/{image},,3\nnone.png,c1,4\n"
    )
    corrections.write_text("path,given,corrected,action\n")
    result = done("apply-corrections", folder, corrections, "--out", tmp_path / "new.csv")
    assert set(result.stderr.splitlines()) == {
        "1 row or file left out: it is listed twice",
        "1 row or file left out: it has no label",
        "1 row or file left out: No such file or directory",
        f"{unlisted} rows or files left out: no row of metadata.csv names it",
    }
    counts = json.loads(done("apply-corrections", folder, corrections, "--json").stdout)
    assert counts["skipped"] == 3 + unlisted


@pytest.mark.parametrize("kind", ["symmetric", "pairs", "second-choice"])
def test_the_planted_errors(tmp_path, kind):
    done("make-example-labels", tmp_path / "digits", "--errors", kind, "--rate", "0.2")
    truth = rows(tmp_path / "digits-truth.csv")
    assert len(truth) == 1797
    assert all((tmp_path / "digits" / row["path"]).is_file() for row in truth)
    wrong = [row for row in truth if row["label"] != row["given"]]
    # Pairs: 0 and 2 have no partner.
    assert len(wrong) == pytest.approx(0.2 * 1797 * (0.8 if kind == "pairs" else 1), abs=10)


@pytest.mark.slow
def test_from_a_folder_to_a_corrected_folder(tmp_path, one_thread):
    """Of 180 wrong labels at most a tenth is left; see docs/labels.md."""
    digits, found, corrected = (tmp_path / name for name in ("digits", "found", "corrected"))
    done("make-example-labels", digits)
    options = ["--no-mirror", "--epochs", "8", "--device", "cpu", "-q"]
    done("find-label-errors", digits, "--out", found, *options)
    truth = {Path(row["path"]).name: row["label"] for row in rows(tmp_path / "digits-truth.csv")}
    worst = rows(found / "label_issues.csv")[:100]
    right = [truth[Path(row["path"]).name] == row["given"] for row in worst]
    assert sum(right) <= 5
    done("apply-corrections", digits, found / "label_issues.csv", "--out", corrected)
    left = [path for path in corrected.rglob("*.png") if path.parent.name != truth[path.name]]
    assert len(list(corrected.rglob("*.png"))) == 1797
    assert len(left) < 18
