"""The page on which a person decides about labels that look wrong."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from overparam.files import replace_file
from overparam.pages.page import html_page
from overparam.pages.pictures import data_uri, shrunk
from sop_classify.labels.issues import LabelIssues

__all__ = ["REVIEW", "Suspect", "Table", "review_page", "suspected", "write_review"]

REVIEW = "review.html"

_PAGE = Path(__file__).parent / "review_page"
_LARGEST_PAGE = 10_000_000  # bytes: what a phone still opens, and a mail still carries
_MOST = 1000  # suspects; a person decides about some 20 a minute
# Side in pixels and quality of a thumbnail. Photographs take 3 kB with the first of them; the
# others are for pictures of noise, which do not compress.
_THUMBNAILS = ((128, 75), (96, 60), (64, 40), (48, 20))
_LARGEST_MATRIX = 30  # classes; with more the squares are smaller than a finger or a letter


@dataclass(frozen=True)
class Suspect:
    """One example whose label looks wrong.

    Attributes
    ----------
    index : int
        The row of pred_probs.npy.
    path, split : str
        As in label_issues.csv.
    given, suggested : int
        Classes.
    label_quality : float
        As in label_issues.csv: low where the label is probably wrong.
    p_given, p_suggested : float
        Probabilities of the two classes.
    runner_up : int, optional
        The next class after these two.
    """

    index: int
    path: str
    split: str
    given: int
    suggested: int
    label_quality: float
    p_given: float
    p_suggested: float
    runner_up: int | None = None


@dataclass(frozen=True)
class Table:
    """A table below the pictures, for example of the quality of the classes."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]


def suspected(
    issues: LabelIssues,
    probability: NDArray[np.float32],
    *,
    paths: Sequence[str],
    splits: Sequence[str],
) -> list[Suspect]:
    """The labels that are issues, worst first, with the most probable other classes.

    Parameters
    ----------
    issues : LabelIssues
        Of N labels.
    probability : ndarray of float32, shape (N, C)
        By which they were judged.
    paths, splits : sequence of str, shape (N,)

    Returns
    -------
    list of Suspect
        `index` is the row of `probability`.
    """
    found: list[Suspect] = []
    for i in map(int, issues.worst_first[issues.is_label_issue[issues.worst_first]]):
        p, given = probability[i], int(issues.given_label[i])
        others = [label for label in np.argsort(-p, kind="stable").tolist() if label != given]
        found.append(
            Suspect(
                index=i,
                path=paths[i],
                split=splits[i],
                given=given,
                suggested=others[0],
                label_quality=float(issues.label_score[i]),
                p_given=float(p[given]),
                p_suggested=float(p[others[0]]),
                runner_up=others[1] if len(others) > 1 else None,
            )
        )
    return found


def write_review(
    path: str | os.PathLike[str],
    suspects: Sequence[Suspect],
    picture: Callable[[Suspect], NDArray[np.uint8]],
    *,
    class_names: Sequence[str],
    name: str,
    facts: Mapping[str, str] | None = None,
    tables: Sequence[Table] = (),
    transition_matrix: ArrayLike | None = None,
) -> str:
    """Write the page of `review_page`, replacing an earlier one, and return the file's name.

    Raises
    ------
    FileError
        If it cannot be written; an earlier page is then unchanged.
    """
    page = review_page(
        suspects,
        picture,
        class_names=class_names,
        name=name,
        facts=facts,
        tables=tables,
        transition_matrix=transition_matrix,
    )
    replace_file(path, page)
    return Path(path).name


def review_page(
    suspects: Sequence[Suspect],
    picture: Callable[[Suspect], NDArray[np.uint8]],
    *,
    class_names: Sequence[str],
    name: str,
    facts: Mapping[str, str] | None = None,
    tables: Sequence[Table] = (),
    transition_matrix: ArrayLike | None = None,
) -> bytes:
    """Make a page that shows suspected labels, takes a person's decisions and exports them.

    The decisions stay in the browser's storage, under a key made of the suspects and the class
    names: a page made again of the same run finds them again.

    Parameters
    ----------
    suspects : sequence of Suspect
        Worst first. The first 1,000 are shown, or as many as fit into 10 MB; the page says how many
        were left out.
    picture : callable
        Gives the image of a suspect, uint8, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). It is called
        for those that are shown.
    class_names : sequence of str, shape (C,)
    name : str
        Of the data.
    facts : mapping of str to str, optional
        What else the head of the page says, for example the estimated noise rate.
    tables : sequence of Table, optional
    transition_matrix : array_like, shape (C, C), optional
        P(given label j | true label i) in row i, column j, drawn for up to 30 classes.

    Returns
    -------
    bytes
        HTML in UTF-8 of at most 10 MB, plus the tables.

    Raises
    ------
    ValueError
        If a class is outside [0, C), or the matrix has another shape.
    """
    classes = len(class_names)
    for suspect in suspects:
        for label in (suspect.given, suspect.suggested, suspect.runner_up):
            if label is not None and not 0 <= label < classes:
                raise ValueError(f"a suspect has class {label}; there are {classes}, from 0")
    names = [_utf8(class_name) for class_name in class_names]
    items, pictures = _shown(suspects, picture)
    identity = json.dumps([names, items]).encode("ascii")
    return html_page(
        _PAGE,
        {
            "name": name,
            "facts": facts or {},
            "tables": tables,
            "matrix": _matrix(transition_matrix, names),
            "total": len(suspects),
            "data": {
                "key": hashlib.sha256(identity).hexdigest()[:32],
                "name": _utf8(name),
                "classes": names,
                "items": items,
                "pictures": pictures,
            },
        },
    )


def _shown(
    suspects: Sequence[Suspect], picture: Callable[[Suspect], NDArray[np.uint8]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Those that fit into the page, and their thumbnails."""
    from jinja2.utils import htmlsafe_json_dumps

    items: list[dict[str, Any]] = []
    pictures: list[str] = []
    left = _LARGEST_PAGE - 500_000  # for template, script, style and class names
    for suspect in suspects[:_MOST]:
        item = {
            "path": _utf8(suspect.path),
            "split": _utf8(suspect.split),
            "given": suspect.given,
            "suggested": suspect.suggested,
            "runnerUp": suspect.runner_up,
            "score": _rounded(suspect.label_quality),
            "pGiven": _rounded(suspect.p_given),
            "pSuggested": _rounded(suspect.p_suggested),
        }
        thumbnail = _thumbnail(picture(suspect))
        left -= len(thumbnail) + len(htmlsafe_json_dumps(item)) + 10
        if left < 0:
            break
        items.append(item)
        pictures.append(thumbnail)
    return items, pictures


def _thumbnail(pixels: NDArray[np.uint8]) -> str:
    share = _LARGEST_PAGE * 0.8 / _MOST
    uri = ""
    for side, quality in _THUMBNAILS:
        uri = data_uri(shrunk(pixels, side), quality=quality)
        if len(uri) <= share:
            break
    return uri


def _rounded(value: float) -> float:
    """Six digits: enough to sort by, and the same key on machines that sum in another order."""
    return float(f"{value:.6g}")


def _utf8(text: str) -> str:
    """As label_issues.csv has it: what UTF-8 does not have is an escape sequence."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _matrix(transition_matrix: ArrayLike | None, names: Sequence[str]) -> dict[str, Any] | None:
    """What the template draws: the names, and a row of probabilities for each."""
    if transition_matrix is None:
        return None
    matrix = np.asarray(transition_matrix, np.float64)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(
            f"the transition matrix has shape {matrix.shape}; "
            f"{(len(names), len(names))} is needed, a row for each class"
        )
    if len(names) > _LARGEST_MATRIX:
        return None
    return {"names": names, "rows": matrix.tolist()}
