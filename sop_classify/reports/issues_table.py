"""Tables of the labels that look wrong, and of which class is mistaken for which."""

from collections.abc import Sequence

from sop_classify.data.tables import csv_bytes
from sop_classify.labels.issues import LabelIssues

__all__ = ["issues_csv", "matrix_csv", "transitions_csv"]


def issues_csv(
    issues: LabelIssues,
    *,
    class_names: Sequence[str] | None = None,
    files: Sequence[str] = (),
) -> bytes:
    """A table of all labels, worst first, with cleanlab's names for the columns.

    The columns are index, is_label_issue (True or False), label_score, given_label and
    predicted_label; the index counts the training examples from 0. Scores read back as float32
    are the same. If `files` are given, a last column, file, has them.

    Parameters
    ----------
    issues : LabelIssues
    class_names : sequence of str, shape (C,), optional
        Write these in place of the classes' numbers. A character that UTF-8 does not have (of a
        folder's undecodable name) is written as its escape sequence.
    files : sequence of str, shape (N,), optional
        Where each example is.

    Returns
    -------
    bytes
        CSV in UTF-8, lines ended by a line feed, names in quotation marks.

    Raises
    ------
    ValueError
        If there is not one name for each class, or not one file for each example.
    """
    classes = len(issues.transition_matrix)
    names = range(classes) if class_names is None else class_names
    if len(names) != classes:
        raise ValueError(f"there are {len(names)} class names and {classes} classes; name each")
    if len(files) not in (0, len(issues.given_label)):
        raise ValueError(f"there are {len(files)} files and {len(issues.given_label)} labels")
    order = issues.worst_first
    columns = {
        "index": order.tolist(),
        "is_label_issue": issues.is_label_issue[order].tolist(),
        # Not tolist: as numpy's float32 they are written with the fewest digits that give it back.
        "label_score": issues.label_score[order],
        "given_label": [names[i] for i in issues.given_label[order]],
        "predicted_label": [names[i] for i in issues.predicted_label[order]],
    }
    if files:
        columns["file"] = [files[i] for i in order]
    return csv_bytes(zip(*columns.values(), strict=True), header=list(columns))


def transitions_csv(issues: LabelIssues, *, class_names: Sequence[str]) -> bytes:
    """The transition matrix as a table: a row a true class, a column a given one, names first."""
    rows = issues.transition_matrix.round(6).tolist()
    return matrix_csv(rows, corner="true label", class_names=class_names)


def matrix_csv(
    rows: Sequence[Sequence[float]], *, corner: str, class_names: Sequence[str]
) -> bytes:
    """A matrix with a row and a column for each class as a table; `corner` says what rows are."""
    named = ([name, *row] for name, row in zip(class_names, rows, strict=True))
    return csv_bytes([[corner, *class_names], *named])
