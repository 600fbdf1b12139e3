"""Which code decided a result: a hash of the source files that a measurement depends on.

The hash is of the parsed code, so that comments, docstrings, formatting and the texts of errors do
not change it, while a changed constant or operation does. A file that is only renamed changes it
through the imports of the files that use it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("overparam", "robustdip", "sop_classify")

_SHARED = (
    "overparam/sparse_corruption.py",
    "overparam/muon.py",
    "overparam/devices.py",
)
GROUPS: dict[str, tuple[str, ...]] = {
    "images": (
        *_SHARED,
        "robustdip/recipes.py",
        "robustdip/recovery.py",
        "robustdip/told.py",
        "robustdip/fitting/**/*.py",
        "robustdip/corruption/**/*.py",
    ),
    "large": (
        *_SHARED,
        "robustdip/recipes.py",
        "robustdip/recovery.py",
        "robustdip/fitting/**/*.py",
        "robustdip/corruption/**/*.py",
        "robustdip/tiling/**/*.py",
    ),
    "classical": ("robustdip/classical.py",),
    "shared-defects": (
        "robustdip/defects.py",
        "robustdip/synthetic.py",
        "robustdip/processing.py",
    ),
    "labels": (
        *_SHARED,
        "sop_classify/recipes.py",
        "sop_classify/data/image_data.py",
        "sop_classify/labels/**/*.py",
        "sop_classify/methods/**/*.py",
        "sop_classify/training/**/*.py",
    ),
    "theory": ("overparam/theory/**/*.py",),
}
"""Patterns of the files of each group, relative to the repository."""


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
    files: set[Path] = set()
    for pattern in GROUPS[group]:
        found = set(ROOT.glob(pattern))
        if not found:
            raise ValueError(f"{pattern} of group {group!r} matches no file below {ROOT}")
        files |= found
    # Without the names of the files: where code lies decides no result.
    parsed = sorted(repr(_plain(ast.parse(path.read_bytes()))) for path in files)
    return hashlib.sha256("\n".join(parsed).encode()).hexdigest()[:16]


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
