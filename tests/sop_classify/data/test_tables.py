"""Tables as CSV: every reader gives the cells back."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overparam.files import FileError
from sop_classify.data.tables import csv_bytes, read_table

NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\r\n\t"))
ROWS = st.lists(st.tuples(NAME, st.floats(allow_nan=False), st.integers(-9, 9)), max_size=5)


@given(ROWS)
def test_cells_come_back(rows):
    text = csv_bytes(rows, header=("name", "score", "rank")).decode()
    header, _, body = text.partition("\n")
    assert header == "name,score,rank"
    stream = io.StringIO(body, newline="")
    assert [tuple(row) for row in csv.reader(stream, quoting=csv.QUOTE_NONNUMERIC)] == rows


@given(ROWS)
def test_our_own_reader_gives_text_back(tmp_path_factory, rows):
    table = tmp_path_factory.getbasetemp() / "names.csv"
    table.write_bytes(csv_bytes([[name] for name, *_ in rows], header=("name",)))
    read = [cells["name"] for _, cells in read_table(table)[1]]
    assert read == [name for name, *_ in rows if name.strip()]


def test_what_is_written_exactly():
    assert csv_bytes([["a\rb", 1, True, np.float32(0.1)]]) == b'"a\rb",1,True,0.1\n'
    assert csv_bytes([["\udcff"]]) == b'"\\udcff"\n'  # of a name that is not UTF-8


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label,Label \na.png,cat,dog\n")
    with pytest.raises(FileError, match=r"labels\.csv has 2 columns 'label'; rename all but one"):
        read_table(table)


def test_columns_without_a_name_are_no_error(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,,\na.png,,\n")  # as spreadsheets end a table
    assert [cells["path"] for _, cells in read_table(table)[1]] == ["a.png"]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffSep=; ", "\n\nsep=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_may_be_said_before_the_header(tmp_path, first, end):
    table = tmp_path / "labels.csv"
    lines = [*first.split("\n"), "path;label,with,commas", "a, b.png;cat", ""]
    table.write_bytes(end.join(lines).encode())
    columns, rows = read_table(table)
    assert columns == {name: name for name in ("path", "label,with,commas")}
    assert list(rows) == [(len(lines) - 1, {"path": "a, b.png", "label,with,commas": "cat"})]


@pytest.mark.parametrize("separator", ",:|\t")
def test_any_usual_separator_may_be_said(tmp_path, separator):
    table = tmp_path / "labels.csv"
    table.write_text(f"sep={separator}\npath{separator}label\na.png{separator};;\n")
    assert list(read_table(table)[1]) == [(3, {"path": "a.png", "label": ";;"})]


def test_a_separator_alone_is_no_table(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("sep=;")
    with pytest.raises(FileError, match=r"labels\.csv is empty"):
        read_table(table)
