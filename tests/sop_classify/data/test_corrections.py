"""Corrections of labels: what they change, what they cannot, and that the data stays as it is."""

import csv
import os
import shutil
import stat
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overparam.files import FileError, discard_unfinished
from sop_classify.data.corrected_data import undo_csv, write_csv, write_folder, write_npz
from sop_classify.data.correction_plan import plan, read_labels
from sop_classify.data.corrections import count_too_rare, read_corrections
from sop_classify.data.images import read_images

HEADER = "path,split,given,corrected,action\n"


def state(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for name in ("cat", "dog"):
        for i in range(3):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), 30 * i + (100 if name == "dog" else 0)).save(
                root / name / f"{i}.png"
            )
    return root


def planned(place, text, tmp_path):
    table = tmp_path / "corrections.csv"
    table.write_text(text)
    return plan(read_labels(place), read_corrections(table))


def test_a_new_folder(folder, tmp_path):
    before = state(folder)
    text = HEADER + ("cat/1.png,,cat,dog,accept\ncat/2.png,,cat,,drop\ndog/0.png,,dog,dog,keep\n")
    changes = planned(folder, text, tmp_path)
    places = write_folder(tmp_path / "new", changes)
    # dog/1.png is there: the newcomer gets a name of its own.
    assert places["cat/1.png"] == "dog/1-2.png"
    expected = {**before, "dog/1-2.png": before["cat/1.png"]}
    del expected["cat/1.png"], expected["cat/2.png"]
    assert state(tmp_path / "new") == expected
    assert state(folder) == before
    # The same again: nothing to do. Something else there: refused.
    assert write_folder(tmp_path / "new", changes) == places
    (tmp_path / "new" / "mine.txt").write_text("x")
    with pytest.raises(FileError, match="not empty"):
        write_folder(tmp_path / "new", changes)
    assert (tmp_path / "new" / "mine.txt").read_text() == "x"
    # Undone, what is left is as it was.
    (tmp_path / "undo.csv").write_bytes(undo_csv(changes, places))
    (tmp_path / "new" / "mine.txt").unlink()
    back = plan(read_labels(tmp_path / "new"), read_corrections(tmp_path / "undo.csv"))
    assert back.problems == ()
    write_folder(tmp_path / "old", back)
    undone = state(tmp_path / "old")
    assert undone.pop("cat/1-2.png") == before["cat/1.png"]
    assert undone.items() <= before.items()


def test_the_undo_of_a_new_table_names_its_paths(folder, tmp_path):
    changes = planned(folder, HEADER + "cat/1.png,,cat,dog,accept\n", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    new = tmp_path / "elsewhere" / "new.csv"
    (tmp_path / "undo.csv").write_bytes(undo_csv(changes, write_csv(new, changes)))
    back = plan(read_labels(new), read_corrections(tmp_path / "undo.csv"))
    assert back.problems == ()
    assert dict(back.relabelled) == {"../data/cat/1.png": "cat"}


def test_the_undo_of_a_new_npz_counts_rows_without_those_left_out(tmp_path):
    images = np.arange(6 * 16 * 16, dtype=np.uint8).reshape(6, 16, 16)
    labels = np.array([0, 1, 0, 1, 0, 1])
    np.savez(tmp_path / "old.npz", train_images=images, train_labels=labels)
    text = HEADER + "train_images[0],,0,,drop\ntrain_images[2],,0,1,accept\n"
    changes = planned(tmp_path / "old.npz", text, tmp_path)
    places = write_npz(tmp_path / "new.npz", changes)
    (tmp_path / "undo.csv").write_bytes(undo_csv(changes, places))
    back = plan(read_labels(tmp_path / "new.npz"), read_corrections(tmp_path / "undo.csv"))
    assert back.problems == ()
    write_npz(tmp_path / "back.npz", back)
    assert np.load(tmp_path / "back.npz")["train_labels"].tolist() == labels[1:].tolist()


@pytest.mark.parametrize("kind", ["folder", "table", "npz"])
def test_a_class_that_lost_all_of_its_images_comes_back(folder, tmp_path, kind):
    paths, old, new = [f"dog/{at}.png" for at in range(3)], "dog", "cat"
    write, place, target = write_folder, folder, "{}"
    if kind == "table":
        write, target = write_csv, "data/{}.csv"
    if kind == "npz":
        place, write, target = tmp_path / "old.npz", write_npz, "{}.npz"
        images, labels = np.zeros((6, 16, 16), np.uint8), np.array([0, 1, 0, 2, 2, 2])
        np.savez(place, train_images=images, train_labels=labels)
        paths, old, new = [f"train_images[{at}]" for at in (3, 4, 5)], "2", "1"
    rows = "".join(f"{path},,{old},{new},accept\n" for path in paths)
    changes = planned(place, HEADER + rows, tmp_path)
    places = write(tmp_path / target.format("new"), changes)
    (tmp_path / "undo.csv").write_bytes(undo_csv(changes, places))
    found = read_labels(tmp_path / target.format("new"))
    back = plan(found, read_corrections(tmp_path / "undo.csv"))
    assert (set(back.relabelled.values()), back.problems) == ({old}, ())
    write(tmp_path / target.format("back"), back)
    again = read_labels(tmp_path / target.format("back"))
    labels = sorted(entry.label for entry in again.entries)
    assert labels == sorted(entry.label for entry in changes.labelled.entries)


def test_a_new_class_is_no_name_in_an_npz_of_numbers(tmp_path):
    images = np.zeros((3, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.array([0, 0, 1]))
    text = HEADER.replace("\n", ",new_class\n") + "train_images[0],,0,cat,relabel,True\n"
    (problem,) = planned(tmp_path / "x.npz", text, tmp_path).problems
    assert "the data has no class 'cat'" in problem


@pytest.mark.parametrize("wrong", [-1, 0.5, np.nan])
def test_labels_of_an_npz_are_whole_numbers_from_0(tmp_path, wrong):
    images = np.zeros((3, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.array([0, 1, wrong]))
    with pytest.raises(FileError, match=f"train_labels hold {wrong}.*whole numbers from 0"):
        read_labels(tmp_path / "x.npz")


@pytest.mark.parametrize("files", ["cifar-10-batches-py", "cifar-100-python", "KMNIST/raw"])
def test_data_sets_of_torchvision_are_refused(tmp_path, files):
    """Their files are no class folders."""
    (tmp_path / files).mkdir(parents=True)
    with pytest.raises(FileError, match="torchvision's files, which are left as they are"):
        read_labels(tmp_path)


def test_corrections_apply_once(folder, tmp_path):
    text = HEADER + "cat/1.png,,cat,dog,relabel\n"
    (folder / "dog" / "1.png").unlink()
    write_folder(tmp_path / "new", planned(folder, text, tmp_path))
    again = planned(tmp_path / "new", text, tmp_path)
    assert (dict(again.relabelled), again.already, again.problems) == ({}, 1, ())


@pytest.mark.parametrize(
    "rows",
    [
        "cat/1.png,,cat,dog,accept\ndog/1.png,,dog,cat,accept\n",  # they change places
        "cat/1.png,,cat,dog,accept\ndog/1.png,,dog,,drop\n",
        "dog/1.png,,dog,cat,accept\ncat/1.png,,cat,,drop\n",
    ],
)
def test_an_image_is_not_taken_for_another_that_had_its_name(folder, tmp_path, rows):
    write_folder(tmp_path / "new", planned(folder, HEADER + rows, tmp_path))
    again = planned(tmp_path / "new", HEADER + rows, tmp_path)
    assert (dict(again.relabelled), again.dropped, again.problems) == ({}, frozenset(), ())
    assert again.already + again.absent == 2


def test_what_only_a_name_says_is_counted_apart(folder, tmp_path):
    """The image may be gone, and the one that has its name another one."""
    (folder / "cat" / "1.png").unlink()
    changes = planned(folder, HEADER + "cat/1.png,,cat,dog,accept\n", tmp_path)
    assert (changes.already, changes.by_name, changes.problems) == (1, 1, ())
    changes = planned(folder, HEADER + "dog/1.png,,cat,dog,accept\n", tmp_path)
    assert (changes.already, changes.by_name, changes.problems) == (1, 0, ())


def test_an_image_to_drop_that_is_not_there_is_counted_apart(folder, tmp_path):
    """It may have been dropped before, or its path may be mistyped."""
    text = HEADER + "cat/1.pgn,,cat,,drop\ndog/9.png,,dog,,keep\ncat/2.png,,cat,,drop\n"
    changes = planned(folder, text, tmp_path)
    assert (changes.dropped, changes.already, changes.absent) == ({"cat/2.png"}, 0, 2)
    assert changes.problems == ()


def test_corrections_without_a_given_class_apply_once(folder, tmp_path):
    text = HEADER + "cat/1.png,,,dog,relabel\n"
    write_folder(tmp_path / "new", planned(folder, text, tmp_path))
    again = planned(tmp_path / "new", text, tmp_path)
    assert (dict(again.relabelled), again.already, again.problems) == ({}, 1, ())


def test_spaces_at_the_end_are_left_out_unless_a_class_ends_so(folder, tmp_path):
    text = HEADER + "cat/1.png ,,cat  ,dog ,relabel\n"
    assert dict(planned(folder, text, tmp_path).relabelled) == {"cat/1.png": "dog"}
    (folder / "dog").rename(folder / "dog ")
    assert dict(planned(folder, text, tmp_path).relabelled) == {"cat/1.png": "dog "}


def test_classes_that_differ_in_spaces_at_the_end_are_not_joined_in_a_table(folder, tmp_path):
    shutil.copytree(folder / "cat", folder / "cat ")
    changes = planned(folder, HEADER + "cat/1.png,,cat,cat ,relabel\n", tmp_path)
    with pytest.raises(FileError, match="'cat' and 'cat ' would be one in a table; write a folder"):
        write_csv(tmp_path / "new.csv", changes)
    assert not (tmp_path / "new.csv").exists()
    write_folder(tmp_path / "new", changes)
    assert read_images(tmp_path / "new").class_names == ("cat", "cat ", "dog")


def test_a_folder_with_the_same_names_but_other_images_is_refused(tmp_path):
    for name, grey in ("a", 0), ("b", 50), ("c", 100):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (16, 16), grey).save(tmp_path / "data" / name / "x.png")
    table = tmp_path / "data" / "all.csv"
    table.write_text("path,label\na/x.png,cat\nb/x.png,cat\nc/x.png,dog\n")
    first, second = (
        planned(table, HEADER + f"{name}/x.png,,cat,dog,accept\n", tmp_path) for name in "ab"
    )
    write_folder(tmp_path / "new", first)
    before = state(tmp_path / "new")
    assert set(write_folder(tmp_path / "other", second).values()) == before.keys()
    with pytest.raises(FileError, match="not empty"):
        write_folder(tmp_path / "new", second)
    with pytest.raises(FileError, match="not empty"):
        write_folder(tmp_path / "new", first, link=True)
    assert write_folder(tmp_path / "new", first).keys() == {"a/x.png", "b/x.png", "c/x.png"}
    assert state(tmp_path / "new") == before


def test_actions_may_begin_with_a_capital(folder, tmp_path):
    text = HEADER + "cat/1.png,,cat,dog,Accept\ncat/2.png,,cat,,DROP \n"
    changes = planned(folder, text, tmp_path)
    assert (dict(changes.relabelled), changes.dropped) == ({"cat/1.png": "dog"}, {"cat/2.png"})


def test_splits_stay(folder, tmp_path):
    (folder.parent / "split").mkdir()
    folder.rename(folder.parent / "split" / "train")
    changes = planned(
        folder.parent / "split", HEADER + "train/cat/1.png,,cat,dog,accept\n", tmp_path
    )
    assert write_folder(tmp_path / "new", changes)["train/cat/1.png"] == "train/dog/1-2.png"


def test_links(folder, tmp_path):
    write_folder(tmp_path / "new", planned(folder, HEADER, tmp_path), link=True)
    link = tmp_path / "new" / "cat" / "0.png"
    assert link.is_symlink()
    assert link.resolve() == (folder / "cat" / "0.png").resolve()


def test_links_to_one_file_are_images_of_their_own_in_a_new_table(folder, tmp_path):
    (tmp_path / "links").mkdir()
    for name, number in (("cat", 0), ("cat", 1), ("dog", 2)):
        place = tmp_path / "links" / name / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(folder / "cat" / "0.png")
    text = HEADER + "cat/1.png,,cat,dog,accept\n"
    places = write_csv(tmp_path / "new.csv", planned(tmp_path / "links", text, tmp_path))
    labels = {e.path: e.label for e in read_labels(tmp_path / "new.csv").entries}
    assert labels == {"links/cat/0.png": "cat", "links/cat/1.png": "dog", "links/dog/2.png": "dog"}
    assert list(places.values()) == list(labels)


def test_a_path_up_from_a_linked_folder_leads_where_it_leads(folder, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(folder / "cat")
    table = tmp_path / "here" / "table.csv"
    table.write_text("path,label\nlink/../dog/0.png,dog\nlink/1.png,cat\n")
    write_csv(tmp_path / "new.csv", planned(table, HEADER, tmp_path))
    paths = [entry.path for entry in read_labels(tmp_path / "new.csv").entries]
    assert paths == ["data/dog/0.png", "here/link/1.png"]


def test_a_new_table_is_data_again(folder, tmp_path):
    text = HEADER + "cat/1.png,,cat,dog,accept\n"
    changes = planned(folder, text, tmp_path)
    write_csv(tmp_path / "new.csv", changes)
    write_csv(tmp_path / "new.csv", changes)  # the same: nothing to do
    labels = {e.path: e.label for e in read_labels(tmp_path / "new.csv").entries}
    assert labels["data/cat/1.png"] == "dog"
    assert len(labels) == 6
    (tmp_path / "new.csv").write_text("mine")
    with pytest.raises(FileError, match="exists"):
        write_csv(tmp_path / "new.csv", changes)


def test_a_new_table_has_the_other_columns_of_the_old_one(folder, tmp_path):
    table = folder / "metadata.csv"
    table.write_text(
        'Label;file_name;Patient ID;"seen, by";class_name;image\n'
        'cat;cat/0.png;007;"A; B";Cat;1\ndog;cat/1.png;;"say ""aah""";Dog;2\ndog;dog/0.png\n'
    )
    changes = planned(folder, HEADER + "cat/1.png,,dog,cat,accept\n", tmp_path)
    new = tmp_path / "new.csv"
    places = write_csv(new, changes)
    with new.open(newline="") as file:
        header, *rows = csv.reader(file)
    # A name of the class beside the label would contradict the new one.
    assert header == ["path", "label", "split", "Patient ID", "seen, by", "image"]
    assert [row[1:] for row in rows] == [
        ["cat", "", "007", "A; B", "1"],
        ["cat", "", "", 'say "aah"', "2"],
        ["dog", "", "", "", ""],
    ]
    (tmp_path / "undo.csv").write_bytes(undo_csv(changes, places))
    undone = plan(read_labels(new), read_corrections(tmp_path / "undo.csv"))
    write_csv(tmp_path / "old.csv", undone)
    assert (tmp_path / "old.csv").read_text() == new.read_text().replace(
        '"data/cat/1.png","cat"', '"data/cat/1.png","dog"'
    )


@pytest.mark.parametrize("form", ["./{}", "{}", ".\\{}", "other/../{}"])
def test_paths_may_be_written_as_tables_of_data_do(folder, tmp_path, form):
    table = folder / "metadata.csv"
    table.write_text("path,label\ncat/0.png,cat\ncat/1.png,dog\n")
    for path in (form.format("cat/1.png"), str(folder / "cat" / "1.png")):
        changes = planned(folder, HEADER + f"{path},,dog,cat,accept\n", tmp_path)
        assert (dict(changes.relabelled), changes.problems) == ({"cat/1.png": "cat"}, ())
    (problem,) = planned(folder, HEADER + "1.png,,dog,cat,accept\n", tmp_path).problems
    assert "it is not in the data, where paths are like 'cat/0.png'" in problem


def test_of_two_decisions_that_contradict_each_other_neither_counts(folder, tmp_path):
    text = HEADER + "cat/1.png,,cat,,drop\ncat/1.png,,cat,,keep\ncat/0.png,,cat,dog,accept\n"
    changes = planned(folder, text, tmp_path)
    assert not changes.dropped
    assert dict(changes.relabelled) == {"cat/0.png": "dog"}
    assert [problem[-24:] for problem in changes.problems] == [
        "line 3 decides otherwise",
        "line 2 decides otherwise",
    ]


def test_rows_without_a_split_are_training_images_beside_others(folder, tmp_path):
    table = folder / "metadata.csv"
    table.write_text("path,label,split\ncat/0.png,cat,\ncat/1.png,dog,val\ndog/0.png,dog,\n")
    places = write_folder(tmp_path / "new", planned(folder, HEADER, tmp_path))
    assert sorted(places.values()) == ["train/cat/0.png", "train/dog/0.png", "val/dog/1.png"]
    assert len(read_labels(tmp_path / "new").entries) == 3


def test_splits_may_write_the_name_of_a_column_differently(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    for split, name in ("train", "Age"), ("test", "age"):
        shutil.copytree(folder, root / split)
        text = f"path,label,{name}\ncat/0.png,cat,{split} 1\ndog/0.png,dog,{split} 2\n"
        (root / split / "metadata.csv").write_text(text)
    write_csv(tmp_path / "new.csv", planned(root, HEADER, tmp_path))
    with (tmp_path / "new.csv").open(newline="") as file:
        ages = [row["Age"] for row in csv.DictReader(file)]
    assert ages == ["train 1", "train 2", "test 1", "test 2"]


def test_an_npz(tmp_path):
    images = np.arange(6 * 16 * 16, dtype=np.uint8).reshape(6, 16, 16)
    np.savez(
        tmp_path / "old.npz",
        train_images=images,
        train_labels=np.array([0, 0, 0, 1, 1, 1]),
        extra=np.arange(6),
        class_names=np.array(["cat", "dog"]),
    )
    text = HEADER + "train_images[1],,cat,dog,accept\ntrain_images[4],,dog,,drop\n"
    for _ in range(2):  # the second time it is there already, the same
        write_npz(tmp_path / "new.npz", planned(tmp_path / "old.npz", text, tmp_path))
    with pytest.raises(FileError, match="exists"):
        write_npz(tmp_path / "new.npz", planned(tmp_path / "old.npz", HEADER, tmp_path))
    new = np.load(tmp_path / "new.npz")
    assert new["train_labels"].tolist() == [0, 1, 0, 1, 1]
    assert (new["train_images"] == images[[0, 1, 2, 3, 5]]).all()
    assert new["extra"].tolist() == [0, 1, 2, 3, 5]
    read_images(tmp_path / "new.npz")
    with pytest.raises(FileError, match="npz"):
        write_folder(tmp_path / "x", planned(tmp_path / "old.npz", text, tmp_path))


def test_each_split_of_an_npz_loses_its_own_rows(tmp_path):
    sizes = {"train": 6, "val": 5, "test": 3}  # as many as are left of those of training
    old = {"class_names": np.array(list("abcdef")), "site": np.arange(6)}
    for at, (split, size) in enumerate(sizes.items()):
        old[f"{split}_images"] = np.full((size, 16, 16), at, np.uint8)
        old[f"{split}_images"][:, 0, 0] = np.arange(size)
        old[f"{split}_labels"] = np.arange(size, dtype=np.uint8)[:, None] % 3
    old["val_site"] = np.arange(5)
    np.savez(tmp_path / "old.npz", **old)
    text = HEADER + (
        "train_images[1],,b,,drop\nval_images[0],,a,,drop\ntest_images[2],,c,a,accept\n"
        "test_images[1],,b,,drop\n"
    )
    changes = planned(tmp_path / "old.npz", text, tmp_path)
    assert changes.problems == ()
    places = write_npz(tmp_path / "new.npz", changes)
    assert places["val_images[1]"] == "val_images[0]"
    assert places["test_images[2]"] == "test_images[1]"
    new = np.load(tmp_path / "new.npz")
    stay = {"train": [0, 2, 3, 4, 5], "val": [1, 2, 3, 4], "test": [0, 2]}
    assert set(new) == set(old)
    for split, rows in stay.items():
        np.testing.assert_array_equal(new[f"{split}_images"], old[f"{split}_images"][rows])
        assert new[f"{split}_labels"].dtype == np.uint8
    labels = [new[f"{split}_labels"].tolist() for split in sizes]
    assert labels == [[[0], [2], [0], [1], [2]], [[1], [2], [0], [1]], [[0], [0]]]
    assert new["site"].tolist() == stay["train"]
    assert new["val_site"].tolist() == stay["val"]
    assert new["class_names"].tolist() == list("abcdef")


def test_an_array_that_looks_like_one_image_keeps_its_rows(tmp_path):
    """There are as many images as one has rows of pixels."""
    rng = np.random.default_rng(0)
    old = {
        "train_images": rng.integers(0, 256, (16, 16, 20, 3), np.uint8),
        "train_labels": np.arange(16) % 2,
        "mean_image": rng.random((16, 20, 3)),
        "train_deviation": rng.random((16, 20)),
        "features": rng.random((16, 5)),
    }
    np.savez(tmp_path / "old.npz", **old)
    text = HEADER + "train_images[3],,1,,drop\n"
    write_npz(tmp_path / "new.npz", planned(tmp_path / "old.npz", text, tmp_path))
    new = np.load(tmp_path / "new.npz")
    for name in ("mean_image", "train_deviation"):
        np.testing.assert_array_equal(new[name], old[name])
    for name in ("train_images", "train_labels", "features"):
        np.testing.assert_array_equal(new[name], np.delete(old[name], 3, axis=0))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.float16])
def test_a_class_beyond_the_type_of_the_labels(tmp_path, kind):
    """Of 3,000 classes the first three have images: their labels fit where others do not."""
    names, labels = np.array([f"c{at}" for at in range(3000)]), np.arange(3).astype(kind)
    images = np.zeros((3, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels, class_names=names)
    for new, stored in (("c2", kind), ("c2999", np.int64)):
        text = HEADER + f"train_images[1],,c1,{new},relabel\n"
        write_npz(tmp_path / f"{new}.npz", planned(tmp_path / "x.npz", text, tmp_path))
        with np.load(tmp_path / f"{new}.npz") as written:
            assert written["train_labels"].dtype == stored
            assert written["train_labels"].tolist() == [0, int(new[1:]), 2]


def test_class_names_that_are_too_few_are_refused(tmp_path):
    images, names = np.zeros((3, 16, 16), np.uint8), np.array(["a", "b"])
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(3), class_names=names)
    with pytest.raises(FileError, match="it has 2 class_names, and labels go up to 2"):
        read_labels(tmp_path / "x.npz")


def test_two_classes_of_one_name_are_refused(tmp_path):
    """Images of the second would become images of the first."""
    images, names = np.zeros((3, 16, 16), np.uint8), np.array(["a", "b", "a"])
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(3), class_names=names)
    with pytest.raises(FileError, match="two of its 3 class_names are 'a'; rename one"):
        read_labels(tmp_path / "x.npz")


def test_a_label_that_is_none_takes_no_memory(tmp_path):
    """Each class below it would get a name."""
    labels = np.array([0, 1, 2**32 - 1], np.uint32)  # -1, stored without a sign
    np.savez(tmp_path / "x.npz", train_images=np.zeros((3, 16, 16), np.uint8), train_labels=labels)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="labels go up to 4294967295; without class_names"):
            read_labels(tmp_path / "x.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [".hidden", "..", "a/b", "a\\b"])
def test_a_class_that_cannot_be_a_folder_leaves_nothing(folder, tmp_path, name):
    table = folder / "metadata.csv"
    table.write_text(f'path,label\ncat/0.png,"{name}"\ncat/1.png,dog\n')
    changes = planned(folder, HEADER, tmp_path)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    with pytest.raises(FileError, match="cannot be the name of a folder"):
        write_folder(tmp_path / "new", changes)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    write_csv(tmp_path / "new.csv", changes)


def test_a_new_folder_has_the_usual_permissions(folder, tmp_path):
    before = os.umask(0o027)
    try:
        write_folder(tmp_path / "new", planned(folder, HEADER, tmp_path))
    finally:
        os.umask(before)
    for place in ("new", "new/cat"):
        assert stat.S_IMODE((tmp_path / place).stat().st_mode) == 0o750


def test_links_lead_to_data_that_was_named_from_here(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    changes = planned(Path("data"), HEADER, tmp_path)
    for _ in range(2):  # the second time it is there
        write_folder(Path("deep/new"), changes, link=True)
    assert state(tmp_path / "deep" / "new") == state(folder)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            "cat/9.png,,cat,dog,accept",
            "line 2, 'cat/9.png': it is not in the data, where paths are like 'cat/0.png'",
        ),
        ("cat/1.png,,bird,dog,accept", "line 2, 'cat/1.png': its class is 'cat', not 'bird'"),
        ("cat/1.png,,cat,bird,accept", "line 2, 'cat/1.png': the data has no class 'bird'"),
        (
            "cat/1.png,,cat,dog,accept\ncat/1.png,,cat,,drop",
            "line 2, 'cat/1.png': line 3 decides otherwise",
        ),
    ],
)
def test_conflicts_are_a_line_each(folder, tmp_path, row, problem):
    assert planned(folder, HEADER + row + "\n", tmp_path).problems[:1] == (problem,)


@pytest.mark.parametrize("row", ["train_images[1],,,,drop", "train_images[1],,,1,relabel"])
def test_rows_of_an_npz_need_their_given_class(tmp_path, row):
    """Once a row was dropped, another one has its number."""
    images = np.zeros((3, 16, 16), np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.array([0, 0, 1]))
    changes = planned(tmp_path / "x.npz", HEADER + row + "\n", tmp_path)
    assert changes.problems == (
        "line 2, 'train_images[1]': in an .npz file the given class is needed too",
    )
    assert not changes.dropped
    assert not changes.relabelled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,given,corrected\n", "no column 'action'"),
        (HEADER + "cat/1.png,,cat,dog,delete\n", "line 2 has the action 'delete'"),
        (HEADER + "cat/1.png,,cat,,accept\n", "line 2 has no corrected class"),
        (HEADER + ",,cat,dog,accept\n", "line 2 has no path"),
        (HEADER + '"  ",,cat,dog,accept\n', "line 2 has no path"),
        ('path,given,suggested,is_label_issue\n"  ",cat,dog,True\n', "line 2 has no path"),
        ("", "corrections.csv is empty"),
    ],
)
def test_damaged_corrections(folder, tmp_path, text, message):
    with pytest.raises(FileError, match=message) as raised:
        planned(folder, text, tmp_path)
    assert "\n" not in str(raised.value)


def test_the_data_is_never_written(folder, tmp_path):
    changes = planned(folder, HEADER, tmp_path)
    for inside in (folder, folder / "new"):
        with pytest.raises(FileError, match="inside the data"):
            write_folder(inside, changes)


def test_a_folder_beside_a_table_is_no_part_of_the_data(folder, tmp_path):
    table = tmp_path / "all.csv"
    table.write_text("path,label\ndata/cat/0.png,cat\ndata/dog/0.png,dog\n")
    changes = planned(table, HEADER + "data/cat/0.png,,cat,dog,accept\n", tmp_path)
    with pytest.raises(FileError, match="inside the data"):
        write_folder(folder / "cat" / "new", changes)
    write_folder(tmp_path / "new", changes)
    assert sorted(state(tmp_path / "new")) == ["dog/0-2.png", "dog/0.png"]


def test_a_failure_leaves_nothing(folder, tmp_path):
    changes = planned(folder, HEADER, tmp_path)
    (folder / "dog" / "2.png").unlink()
    with pytest.raises(FileError, match=r"cannot copy '.*dog/2.png': No such file"):
        write_folder(tmp_path / "new", changes)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["corrections.csv", "data"]


def test_a_signal_leaves_nothing(folder, tmp_path, monkeypatch):
    """The program's answer to one removes what it knows to be unfinished, and ends."""
    changes = planned(folder, HEADER, tmp_path)
    copied, left = [], []

    def copy(source, target):
        target.write_bytes(source.read_bytes())
        copied.append(target)
        if len(copied) == 4:
            discard_unfinished()
            left.extend(sorted(entry.name for entry in tmp_path.iterdir()))
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copy2", copy)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new", changes)
    assert left == ["corrections.csv", "data"]


def test_suggestions_can_be_accepted_unseen(tmp_path):
    (tmp_path / "label_issues.csv").write_text(
        "is_label_issue,label_quality,path,given,suggested,too_rare\n"
        "True,.1,a,x,y,False\nTRUE,.2,b,x,y,TRUE\nTRUE,.3,c,y,x,FALSE\nFalse,.4,d,x,y,True\n"
    )  # half of it as a spreadsheet writes it
    table = tmp_path / "label_issues.csv"
    assert count_too_rare(table) == 1
    assert [each.path for each in read_corrections(table)] == ["a", "c"]
    assert [each.path for each in read_corrections(table, worst=1)] == ["a"]


def test_the_table_of_a_training_is_taken_if_it_names_files(tmp_path):
    table = tmp_path / "label_issues.csv"
    header = "index,is_label_issue,label_score,given_label,predicted_label"
    table.write_text(f'{header},file\n4,True,.2,"x","y","b"\n9,True,.1,"x","z","a"\n')
    (first, second) = read_corrections(table)
    assert (first.path, first.given, first.corrected, first.action) == ("b", "x", "y", "accept")
    assert second.path == "a"
    assert [each.path for each in read_corrections(table, worst=1)] == ["a"]
    table.write_text(f'{header}\n4,True,.2,"x","y"\n')
    with pytest.raises(FileError, match="without names of files; make one by find-label-errors"):
        read_corrections(table)
    # With a person's decisions it is a table of corrections.
    columns = "path,given,corrected,action"
    table.write_text(f'{header},{columns}\n4,True,.2,"x","y","b","x","z","accept"\n')
    assert [each.corrected for each in read_corrections(table)] == ["z"]


def test_a_word_that_is_neither_true_nor_false_is_refused(tmp_path):
    """A spreadsheet in another language writes one, and no suggestion would be accepted."""
    table = tmp_path / "label_issues.csv"
    table.write_text("path,given,suggested,is_label_issue\na,x,y,WAHR\nb,x,y,FALSCH\n")
    for read in read_corrections, count_too_rare:
        with pytest.raises(FileError, match="line 2 has the is_label_issue 'wahr'; use True or Fa"):
            read(table)


def test_the_worst_are_those_of_the_lowest_quality(tmp_path):
    table = tmp_path / "label_issues.csv"
    rows = ("True,0.5,a,x,y\n", "True,0.1,b,x,y\n", "False,0.0,c,x,y\n", "True,1e-3,d,x,y\n")
    table.write_text("is_label_issue,label_quality,path,given,suggested\n" + "".join(rows))
    assert [each.path for each in read_corrections(table, worst=2)] == ["d", "b"]
    corrections = tmp_path / "corrections.csv"
    corrections.write_text(HEADER + "a,,x,y,accept\n")
    with pytest.raises(FileError, match="only of those the worst can be taken"):
        read_corrections(corrections, worst=1)
    table.write_text(table.read_text() + "True,low,e,x,y\n")
    with pytest.raises(FileError, match="line 6 has the label_quality 'low'"):
        read_corrections(table, worst=1)
    assert len(read_corrections(table)) == 4


@pytest.mark.parametrize(
    "columns",
    [
        "path,given,suggested,is_label_issue,label_quality",
        "file,given_label,predicted_label,is_label_issue,label_score",
    ],
)
def test_what_a_person_decided_in_a_table_of_suggestions_counts(tmp_path, columns):
    """They may fill in two more columns of the table, in place of the page."""
    table = tmp_path / "label_issues.csv"
    ours = columns.replace("file,given_label", "path,given")
    table.write_text(
        f"{ours},corrected,action\na,cat,dog,True,0.1,cat,keep\nb,cat,dog,True,0.2,cow,relabel\n"
    )
    found = [(each.path, each.corrected, each.action) for each in read_corrections(table)]
    assert found == [("a", "cat", "keep"), ("b", "cow", "relabel")]
    assert count_too_rare(table) == 0
    with pytest.raises(FileError, match="only of those the worst can be taken"):
        read_corrections(table, worst=1)
    table.write_text(f"{columns},action\na,cat,dog,True,0.1,keep\n")
    with pytest.raises(FileError, match="it has no column"):
        read_corrections(table)
