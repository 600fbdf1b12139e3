"""Tables as the bytes of CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["csv_bytes"]


def csv_bytes(rows: Iterable[Sequence[Any]], *, header: Sequence[str] = ()) -> bytes:
    """A table as CSV: numbers bare, all other cells in quotes, lines that end in a line feed.

    Names are always quoted, because quotes only where they are needed leave a lone carriage return
    bare, at which readers end a line.

    Parameters
    ----------
    rows : iterable of sequence
        Their cells; numpy's float32 has the fewest digits that give it back.
    header : sequence of str
        Plain names, which are written first and without quotes.

    Returns
    -------
    bytes
        UTF-8; a byte of a file's name that is none has a backslash.
    """
    text = io.StringIO(newline="")
    if header:
        text.write(",".join(header) + "\n")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
