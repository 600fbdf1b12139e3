"""Promise: a table prints no number of earlier code as if it were of the present one."""

import pytest

from benchmarks import logs, tables
from benchmarks.images import frontier, quality_tables
from benchmarks.labels import tables as label_tables
from benchmarks.markdown import Cell, spread, table
from benchmarks.record import code, machine
from tests.helpers.benchmarks import line

OLD = {"code": None, "commit": "0ld", "date": "2025-01-01"}
OLDER = {"code": {"group": "images", "hash": "other"}, "commit": "0lder", "date": "2024-01-01"}


def test_a_cell_is_marked_if_any_of_its_lines_is_of_earlier_code():
    now, old, older = (line("a", "default", 1.0, **more) for more in ({}, OLD, OLDER))
    made = table(
        ["name", "x", "y", "z", "w"],
        [["a", Cell("1", [now]), Cell("2", [now, old]), Cell("3", [older]), Cell("", [old])]],
    )
    assert made.splitlines() == [
        "| name | x | y | z | w |",
        "|---|---|---|---|---|",
        "| a | 1 | 2 † | 3 † |  |",
        "",
        "† measured with earlier code (commits 0lder, 0ld)",
    ]
    assert "†" not in table(["x"], [[Cell("1", [now])]])


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([], 2, ""),
        ([1.239], 2, "1.24"),
        ([1.0, 2.0], 2, "1.50 ± 0.71"),
        ([1.0, 2.0, 3.0], 0, "2 ± 1"),
    ],
)
def test_spread(values, digits, text):
    assert spread(values, digits) == text


def test_machine():
    assert machine({"processor": "P", "threads": 1}) == "P, 1 thread"
    assert machine({"processor": "P", "device_name": "P", "threads": 2}) == "P, 2 threads"
    assert machine({"processor": "P", "device_name": "G", "threads": 2}) == "G"
    assert machine({"processor": "P", "gpu": "G", "threads": 2}) == "G"


def test_the_headline_is_of_complete_sets_of_images_and_the_best_blind_method():
    def everywhere(method: str, value: float, **more) -> list[dict]:
        images = ("F16", "Peppers", "Baboon", "kodim03")
        return [line(image, method, value, side=256, **more) for image in images]

    lines = [
        *everywhere("default", 30.0),
        *everywhere("default", 99.0, steps=3),  # a trial
        *everywhere("median", 20.0),
        *everywhere("tv-l1", 25.0),
        *everywhere("tv-l1", 26.0, seed=1),  # another damage
        *everywhere("dip-l1", 90.0)[:3],  # one image is missing
        *everywhere("oracle-mask", 95.0),  # it is told
        *everywhere("known-mask-linear", 28.0, **OLD),
    ]
    (row,) = [
        row
        for row in quality_tables.image_headline(lines).splitlines()
        if "random-valued 50%" in row
    ]
    four = " | ".join(4 * ["30.00"])
    assert row == f"| random-valued 50% | **30.00** | {four} | 1 | 1 | 25.00 tv-l1 | 28.00 † |"


def test_several_seeds_are_spread_over_the_means_of_the_images():
    def everywhere(value: float, **more) -> list[dict]:
        images = ("F16", "Peppers", "Baboon", "kodim03")
        values = zip(images, (0, 1, 2, 3), strict=True)
        return [line(i, "default", value + add, side=256, **more) for i, add in values]

    lines = [*everywhere(20.0), *everywhere(22.0, seed=1), *everywhere(90.0, seed=2)[:3]]
    row = quality_tables.image_summary(lines).splitlines()[2]
    assert row.startswith("| random-valued 50% |")
    assert "| **22.50 ± 1.41** |" in row  # of 21.5 and 23.5; an image lacks the third seed
    assert row.endswith("| 2/3 |")


def test_lines_of_the_present_code_take_the_place_of_others_of_their_group():
    def one(seed: int, value: float, **more) -> dict:
        case = {"data": "d", "limit": None, "noise": "0.2", "method": "ce", "recipe": "cpu"}
        case |= {"settings": "", "device": "auto", "seed": seed, "accuracy": value}
        return case | {"commit": "abc", "date": "2026", "code": code("labels")} | more

    old = [one(0, 0.5, **OLD), one(1, 0.7, **OLD)]
    assert "| 60.00 ± 14.14 † |" in label_tables.label_summary(old)
    assert "| 80.00 |  |  | 1 |" in label_tables.label_summary([*old, one(1, 0.8)])


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_is_made_of_its_record(name):
    log, _ = tables.TABLES[name]
    head, rule, *rows = tables.render(name).splitlines() if log.lines() else ("|", "|", "|")
    widths = {row.count("|") for row in (head, rule, *rows) if row.startswith("|")}
    assert len(widths) == 1
    assert rows


def test_every_record_has_a_table():
    named = {value for value in vars(logs).values() if isinstance(value, logs.Log)}
    assert named == {log for log, _ in tables.TABLES.values()}
    files = {path for path in logs.RESULTS.rglob("*.jsonl")}
    assert files <= {log.path for log in named}


def test_tables_are_printed_by_name(command, capsys):
    command("tables", "labels/sop-step")
    assert capsys.readouterr().out.startswith("labels/sop-step\n\n| on |")
    with pytest.raises(SystemExit):
        command("tables", "magic")
    assert "there is no table 'magic'" in capsys.readouterr().err


def test_recipes_are_compared_on_the_cases_that_all_of_them_have():
    def measured(image: str, method: str, psnr: float, seconds: float, **more) -> dict:
        return line(image, method, psnr, side=500, seconds=seconds, **more)

    lines = [
        measured("a", "fast", 30.0, 1.0),
        measured("a", "default", 31.0, 2.0),
        measured("a", "best", 32.0, 8.0, **OLD),
        measured("b", "fast", 20.0, 9.0),  # the others have no "b"
        measured("a", "fast", 99.0, 9.0, steps=3),  # a trial
    ]
    *_, row, _, note = frontier.tabulate(lines).splitlines()
    assert row.endswith("| 30.00 | 4 | 31.00 | 8 | 32.00 † | 32 † | 1 |")
    assert note.startswith("† measured with earlier code")
    assert [point.recipe for point in frontier.points(lines)] == ["fast", "default", "best"]
    assert frontier.tabulate(lines[:2]) == "Not measured yet.\n"
