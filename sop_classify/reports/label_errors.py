"""What was found in somebody's labels, as tables; docs/label_issues.md describes them."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overparam.files import FileError, replace_file
from overparam.words import percent
from sop_classify.data.duplicates import DuplicateSet
from sop_classify.data.images import LabelledImages, split_csv
from sop_classify.data.listing import Skipped
from sop_classify.data.pixels import upright
from sop_classify.data.tables import csv_bytes
from sop_classify.labels.issues import LabelIssues
from sop_classify.labels.quality import ClassQuality, class_quality, overlapping_classes
from sop_classify.labels.rate import NoiseRate
from sop_classify.reports.issues_table import transitions_csv
from sop_classify.reports.review import REVIEW, Suspect, Table, suspected, write_review

__all__ = ["Findings", "Judged", "skipped_csv", "summary", "write_findings"]

_SHOWN = 128  # pixels: the side of a thumbnail


@dataclass(frozen=True, eq=False)
class Judged:
    """Labels that were judged.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        Their positions in the data.
    issues : LabelIssues
    probability : ndarray of float32, shape (n, C)
        By which they were judged.
    """

    index: NDArray[np.int64]
    issues: LabelIssues
    probability: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that was found.

    Attributes
    ----------
    data : LabelledImages
    labels : Judged
        Those of "train" and "val".
    test : Judged or None
        Those of "test".
    noise_rate : NoiseRate
    duplicates : sequence of DuplicateSet
    """

    data: LabelledImages
    labels: Judged
    test: Judged | None
    noise_rate: NoiseRate
    duplicates: Sequence[DuplicateSet]

    @property
    def classes(self) -> list[ClassQuality]:
        """The quality of each class, the worst first."""
        return class_quality(self.labels.issues)

    @property
    def told_rate(self) -> NoiseRate | None:
        """None if every class is too rare: its interval is that of a fit to many labels."""
        return self.noise_rate if len(self.too_rare) < len(self.data.class_names) else None

    @property
    def too_rare(self) -> list[int]:
        """The classes with too few examples to judge their labels, increasing."""
        return sorted(each.label for each in self.classes if each.too_rare)


def write_findings(folder: Path, findings: Findings, **more: Any) -> dict[str, Any]:
    """Write all tables, and at last summary.json, which is returned.

    Parameters
    ----------
    folder : Path
    findings : Findings
    **more
        What else summary.json says.
    """
    data, labels, test = findings.data, findings.labels, findings.test
    names = data.class_names
    files = {
        "label_issues.csv": _issues(data, labels, findings.too_rare),
        "pred_probs.npy": _array(labels.probability),
        "transition_matrix.csv": transitions_csv(labels.issues, class_names=names),
        "class_quality.csv": _quality(findings),
        "overlapping_classes.csv": _overlap(findings),
        "duplicates.csv": _duplicates(data, findings.duplicates),
        "skipped.csv": skipped_csv(data.skipped),
        "split.csv": split_csv(data),
        "classes.txt": "".join(f"{name!r}\n" if "\n" in name else f"{name}\n" for name in names)
        .encode("utf-8", "backslashreplace"),
    }  # fmt: skip
    if test is not None:
        files["test_label_issues.csv"] = _issues(data, test, findings.too_rare)
        files["test_pred_probs.npy"] = _array(test.probability)
    for name, content in files.items():
        replace_file(folder / name, content)
    _review(folder / REVIEW, findings)
    said = {**summary(findings), **more}
    replace_file(folder / "summary.json", json.dumps(said, indent=1, default=str).encode() + b"\n")
    return said


def summary(findings: Findings) -> dict[str, Any]:
    """The numbers, as summary.json has them."""
    data, sets, rate = findings.data, findings.duplicates, findings.told_rate
    counts = {split: len(data.index(split)) for split in ("train", "val", "test")}
    return {
        "data": data.name,
        "images": counts,
        "image_size": list(data.images.shape[1:3]),
        "classes": len(data.class_names),
        "too_rare": [data.class_names[label] for label in findings.too_rare],
        "noise_rate": None
        if rate is None
        else {
            "estimate": round(rate.estimate, 5),
            "low": round(rate.low, 5),
            "high": round(rate.high, 5),
        },
        "issues": int(findings.labels.issues.is_label_issue.sum()),
        "test_issues": None
        if findings.test is None
        else int(findings.test.issues.is_label_issue.sum()),
        "duplicates": {
            "sets": len(sets),
            "two_labels": sum(_differ(data.labels, each) for each in sets),
            "two_splits": sum(_differ(data.splits, each) for each in sets),
        },
        "skipped": len(data.skipped),
        "holdout": data.holdout,
    }


def skipped_csv(skipped: Sequence[Skipped]) -> bytes:
    """What was left out, and why, as a table."""
    return csv_bytes(((each.path, each.reason) for each in skipped), header=("path", "reason"))


def _differ(values: Sequence[Any] | NDArray[Any], images: DuplicateSet) -> bool:
    return len({values[i] for i in images.index}) > 1


def _issues(data: LabelledImages, judged: Judged, too_rare: Sequence[int]) -> bytes:
    issues, p = judged.issues, judged.probability
    order = issues.worst_first
    every = np.arange(len(p))
    # The three classes of each row: given, the most probable other, the most probable of the rest.
    others = p.astype(np.float64)
    others[every, issues.given_label] = -1
    suggested = others.argmax(axis=1)
    others[every, suggested] = -1
    runner_up = others.argmax(axis=1)
    three = p.shape[1] > 2

    def rows() -> Iterable[Sequence[Any]]:
        for i in order.tolist():
            given, best, third = issues.given_label[i], suggested[i], runner_up[i]
            at = judged.index[i]
            yield (
                bool(issues.is_label_issue[i]),
                issues.label_score[i],
                int(given),
                int(issues.predicted_label[i]),
                i,
                data.paths[at],
                data.splits[at],
                data.class_names[given],
                data.class_names[best],
                p[i, given],
                p[i, best],
                data.class_names[third] if three else None,
                p[i, third] if three else None,
                bool(given in too_rare),
            )

    header = (
        *("is_label_issue", "label_quality", "given_label", "predicted_label", "index", "path"),
        *("split", "given", "suggested", "p_given", "p_suggested", "runner_up", "p_runner_up"),
        "too_rare",
    )
    return csv_bytes(rows(), header=header)


def _review(path: Path, findings: Findings) -> None:
    """The page on which a person decides about the suspected labels of "train" and "val"."""
    data, labels, rate = findings.data, findings.labels, findings.told_rate

    def picture(suspect: Suspect) -> NDArray[np.uint8]:
        at = int(labels.index[suspect.index])
        if data.files:
            try:
                # The whole picture: the network may have seen a small square of it.
                return np.asarray(upright(data.files[at], _SHOWN, bits=data.sample_bits))
            except FileError:  # moved or changed since it was read
                pass
        return data.images[at]

    names = data.class_names
    facts = {"Labels": f"{len(labels.index):,}"}
    if rate is not None:
        interval = f"{100 * rate.low:.1f} to {100 * rate.high:.1f} %"
        facts["Estimated wrong labels"] = f"{100 * rate.estimate:.1f} % (95 %: {interval})"
    write_review(
        path,
        suspected(
            labels.issues,
            labels.probability,
            paths=[data.paths[at] for at in labels.index],
            splits=[data.splits[at] for at in labels.index],
        ),
        picture,
        class_names=names,
        name=data.name,
        facts=facts,
        tables=[
            Table(
                "Quality of the classes, the worst first",
                ["Class", "Labels", "Look wrong", "Share in %"],
                [
                    [names[each.label], each.examples, each.issues, percent(each.noise)]
                    for each in findings.classes
                ],
            ),
        ],
        transition_matrix=labels.issues.transition_matrix,
    )


def _quality(findings: Findings) -> bytes:
    header = (
        *("Class Name", "Class Index", "Label Issues", "Inverse Label Issues", "Label Noise"),
        *("Inverse Label Noise", "Label Quality Score", "Examples", "Too Rare"),
    )
    rows = (
        (
            findings.data.class_names[each.label],
            *(each.label, each.issues, each.inverse_issues),
            *(round(value, 6) for value in (each.noise, each.inverse_noise, each.quality)),
            each.examples,
            each.too_rare,
        )
        for each in findings.classes
    )
    return csv_bytes(rows, header=header)


def _overlap(findings: Findings) -> bytes:
    names = findings.data.class_names
    header = (
        *("Class Name A", "Class Name B", "Class Index A", "Class Index B"),
        *("Num Overlapping Examples", "Joint Probability"),
    )
    pairs = overlapping_classes(findings.labels.issues)
    rows = ((names[x.a], names[x.b], x.a, x.b, x.examples, round(x.joint, 6)) for x in pairs)
    return csv_bytes(rows, header=header)


def _duplicates(data: LabelledImages, sets: Sequence[DuplicateSet]) -> bytes:
    header = ("set", "kind", "path", "split", "label", "two_labels", "two_splits")
    rows = (
        (
            number,
            "exact" if each.exact else "near",
            data.paths[i],
            data.splits[i],
            data.class_names[data.labels[i]],
            _differ(data.labels, each),
            _differ(data.splits, each),
        )
        for number, each in enumerate(sets, start=1)
        for i in each.index
    )
    return csv_bytes(rows, header=header)


def _array(values: NDArray[np.float32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()
