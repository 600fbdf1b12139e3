"""Which code decided a result: a hash of the source files that a measurement depends on.

The hash is of the parsed code, so that comments, docstrings, formatting and the texts of errors do
not change it, while a changed constant or operation does. A file that is only renamed changes it
through the imports of the files that use it.
"""

import ast
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("overparam", "robustdip", "sop_classify")

_SHARED = (
    "overparam/sparse_corruption.py",
    "overparam/muon.py",
    "overparam/devices.py",
)
_FIT = (
    *_SHARED,
    "robustdip/recipes.py",
    "robustdip/recovery.py",
    "robustdip/inputs.py",
    "robustdip/fitting/**/*.py",
    "robustdip/corruption/**/*.py",
)
# What counts only where a caller names the damage.
_NAMED = (
    "robustdip/told.py",
    "robustdip/corruption/blobs.py",
    "robustdip/corruption/streaks.py",
    "robustdip/corruption/thin_lines.py",
)
_TRAINING = (
    *_SHARED,
    "sop_classify/recipes.py",
    "sop_classify/data/image_data.py",
    "sop_classify/data/label_arrays.py",
    "sop_classify/labels/**/*.py",
    "sop_classify/methods/**/*.py",
    "sop_classify/training/**/*.py",
)
# What is told of the labels after a training.
_JUDGED = (
    "sop_classify/labels/class_weights.py",
    "sop_classify/labels/quality.py",
    "sop_classify/labels/rate.py",
)


@dataclass(frozen=True)
class Group:
    """Source files that decide a result: those of some patterns, without those of others."""

    patterns: tuple[str, ...]
    without: tuple[str, ...] = ()

    def files(self) -> set[Path]:
        """Return the files.

        Raises
        ------
        ValueError
            If a pattern matches no file.
        """
        return _matching(self.patterns) - _matching(self.without)


GROUPS: dict[str, Group] = {
    "images": Group(_FIT, without=_NAMED),
    "named-damage": Group((*_FIT, *_NAMED)),
    "large": Group((*_FIT, "robustdip/tiling/**/*.py"), without=_NAMED),
    "classical": Group(("robustdip/classical.py",)),
    "shared-defects": Group(
        ("robustdip/defects.py", "robustdip/synthetic.py", "robustdip/processing.py")
    ),
    "labels": Group(_TRAINING, without=_JUDGED),
    "label-errors": Group(
        (*_TRAINING, "sop_classify/runs/label_errors.py", "sop_classify/cli/own_images.py")
    ),
    "theory": Group(("overparam/theory/**/*.py",)),
}


@cache
def code_hash(group: str) -> str:
    """Return 16 hexadecimal digits that change when the code of a group does.

    The code of this process does not change while it runs, so a hash is computed once.

    Raises
    ------
    ValueError
        If there is no such group, or one of its patterns matches no file.
    """
    if group not in GROUPS:
        raise ValueError(f"there is no group of code {group!r}; use one of {', '.join(GROUPS)}")
    # Without the names of the files: where code lies decides no result.
    parsed = sorted(repr(_plain(ast.parse(path.read_bytes()))) for path in GROUPS[group].files())
    return hashlib.sha256("\n".join(parsed).encode()).hexdigest()[:16]


def _matching(patterns: tuple[str, ...]) -> set[Path]:
    files: set[Path] = set()
    for pattern in patterns:
        found = set(ROOT.glob(pattern))
        if not found:
            raise ValueError(f"{pattern} matches no file below {ROOT}")
        files |= found
    return files


def _plain(node: object) -> object:
    """Syntax as nested lists, the same for all versions of Python (`ast.dump` is not)."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return ["Raise", _plain(node.exc.func)]  # the text of an error decides no result
    if isinstance(node, ast.AST):
        # Versions differ in the fields that are empty: `type_params` came with 3.12.
        fields = [
            [name, value]
            for name, child in ast.iter_fields(node)
            if name not in ("ctx", "kind") and (value := _plain(child)) not in ([], "None")
        ]
        return [type(node).__name__, *fields]
    if isinstance(node, list):
        return [_plain(child) for child in node if not _is_text(child)]
    return repr(node)


def _is_text(node: object) -> bool:
    """Whether a statement is a string alone: the docstring of a module, function or attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
