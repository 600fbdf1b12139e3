"""Tables as CSV files: from one to cells, and back."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from overparam.files import FileError, one_line, require_regular_file

__all__ = ["csv_bytes", "read_table"]

_LARGEST_TABLE = 2**30  # bytes
# What may stand before the header for Excel, in quotation marks or not: it says the separator.
_SEPARATOR = re.compile(r'\s*"?sep=([,;:|\t])"?[ ]*(?=[\r\n]|$)', re.IGNORECASE)


def read_table(table: Path) -> tuple[dict[str, str], Iterator[tuple[int, dict[str, str]]]]:
    """Read a table in UTF-8, with commas, semicolons or tabs, or what a first line ``sep=`` says.

    Parameters
    ----------
    table : Path

    Returns
    -------
    columns : dict of str to str
        Their names as the table has them, by these names in small letters.
    rows : iterator of (int, dict)
        Each with its last line's number, from 1, and its cells by column, in small letters; those
        that a short row lacks are missing. Text in quotation marks is as it stands there, other
        text without the spaces before it. Blank rows are left out.

    Raises
    ------
    FileError
        If it is damaged. The message names the table and the line; `rows` raises it too.
    """
    status = table.stat()
    require_regular_file(status.st_mode)
    if status.st_size > _LARGEST_TABLE:
        raise FileError(f"{table.name} has more than {_LARGEST_TABLE} bytes")
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{table.name} is no table, or not in UTF-8 ({one_line(error)}); spreadsheets save it "
            "as CSV UTF-8"
        ) from error
    rows = _rows(table.name, text)
    header = next(rows, None)
    if header is None:
        raise FileError(f"{table.name} is empty")
    written = [cell.strip() for cell in header[1]]
    columns = [name.lower() for name in written]
    for name, times in Counter(filter(None, columns)).items():
        if times > 1:
            raise FileError(f"{table.name} has {times} columns {name!r}; rename all but one")

    def named() -> Iterator[tuple[int, dict[str, str]]]:
        for line, cells in rows:
            # Of a class that is called "a, b" only "a" would be read.
            if any(cells[len(columns) :]):
                raise FileError(
                    f"line {line} of {table.name} has {len(cells)} cells, the header "
                    f"{len(columns)}: text with a comma needs quotation marks"
                )
            yield line, dict(zip(columns, cells, strict=False))

    return dict(zip(columns, written, strict=True)), named()


def _rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with its last line's number."""
    head = text.lstrip().partition("\n")[0]
    said = _SEPARATOR.match(text)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=said[1] if said else max(",;\t", key=head.count),
        skipinitialspace=True,  # so that quotation marks may follow a space
        strict=True,
    )
    try:
        rows = ((reader.line_num, row) for row in reader if any(map(str.strip, row)))
        if said:
            next(rows)
        yield from rows
    except csv.Error as error:
        raise FileError(f"line {reader.line_num} of {name}: {one_line(error)}") from error


def csv_bytes(rows: Iterable[Sequence[Any]], *, header: Sequence[str] = ()) -> bytes:
    """A table as CSV: numbers bare, all other cells in quotes, lines that end in a line feed.

    Names are always quoted, because quotes only where they are needed leave a lone carriage return
    bare, at which readers end a line.

    Parameters
    ----------
    rows : iterable of sequence
        Their cells; numpy's float32 has the fewest digits that give it back.
    header : sequence of str
        Names, which are written first, and in quotes only where they need them.

    Returns
    -------
    bytes
        UTF-8; a byte of a file's name that is none has a backslash.
    """
    text = io.StringIO(newline="")
    if header:
        csv.writer(text, lineterminator="\n").writerow(header)
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
