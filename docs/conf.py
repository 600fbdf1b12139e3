"""Settings of Sphinx: pages in Markdown, the API from docstrings, a gallery from examples/.

    sphinx-build -W docs build/docs

builds without network. Examples are not run: the gallery shows their committed figures, and
method.md what they print.
"""

import importlib
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT))

project = "robustdip"
author = "The robustdip developers"
copyright = author
version = release = importlib.import_module("robustdip").__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_templates"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = "robustdip"
# Names in single backticks link where they are documented.
default_role = "py:obj"

# Headings get the anchors that GitHub gives them.
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Every package lists its public names once, in __init__.pyi.
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # numpydoc's sections say types, shapes and ranges
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": False,
    "ignore_pattern": r"figures\.py|digits\.py|__init__\.py",
    "image_scrapers": (),
    "reset_modules": (),
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}


def setup(app: Sphinx) -> None:
    # Before numpydoc (500), which takes the docstring apart.
    app.connect("autodoc-process-docstring", plain_text, priority=400)
    app.connect("source-read", show_figure)
    app.connect("source-read", unlink_other_pages)


def plain_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Read a docstring as help() shows it: |x| is a number's size, an indented block a formula."""
    result: list[str] = []
    formula = False
    for line in lines:
        blank, indented = not line.strip(), line.startswith("    ")
        before = next((text for text in reversed(result) if text), "")
        if not blank:
            opens = indented and result[-1:] == [""] and before[:1] not in ("", " ", "-", "*", ">")
            if opens and not before.endswith("::"):
                result += ["::", ""]
            formula = indented and (formula or opens)
        if not formula and not line.lstrip().startswith((">>>", "...")):
            # Every second piece is between backticks.
            pieces = line.split("`")
            pieces[::2] = [piece.replace("|", r"\|") for piece in pieces[::2]]
            # "`Step`s": reStructuredText wants a mark between the name and the letter.
            line = re.sub(r"(`[^`]+`)(?=[a-z])", r"\1\\ ", "`".join(pieces))
        result.append(line)
    lines[:] = result


def show_figure(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the committed figure of an example on its page of the gallery."""
    figure = EXAMPLES / f"{page.removeprefix('gallery/')}.png"
    if page.startswith("gallery/") and figure.exists():
        code = ".. code-block:: Python"
        image = f".. image:: ../../examples/{figure.name}\n\n{code}"
        source[0] = source[0].replace(code, image, 1)


def unlink_other_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Name a page outside of docs/, which the site does not have, instead of linking to it."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\.md\)", r"`\1`", source[0])
