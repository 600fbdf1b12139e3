"""One HTML file, made of a template, a style and a script.

The file needs nothing else: no server and no network, which its content security policy forbids.
The policy also allows no script and no style but the page's own, so that a class name or a path,
whatever it contains, stays a text.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["html_page"]

_BASE = Path(__file__).parent


def html_page(
    folder: Path, values: Mapping[str, Any], *, template: str = "page.html.jinja"
) -> bytes:
    """Render the page of a folder.

    Parameters
    ----------
    folder : Path
        Holds page.html.jinja, which extends base.html.jinja of this package, page.css, and page.js
        if the page does something.
    values : mapping of str to object
        For the template, all of it data: it is escaped. Strings with characters that UTF-8 does not
        have get escape sequences in their place.
    template : str
        Another template of the folder, with the same style and script.

    Returns
    -------
    bytes
        HTML in UTF-8.

    Raises
    ------
    jinja2.UndefinedError
        If the template needs a value that is missing.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader([folder, _BASE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _text(_BASE / "base.css") + _text(folder / "page.css")
    script = _text(folder / "page.js") if (folder / "page.js").exists() else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; "
        f"script-src {_source(script)}; base-uri 'none'; form-action 'none'"
    )
    html = environment.get_template(template).render(
        {
            **values,
            "policy": policy,
            # They are files of this program, not data. Only so are they the text that was hashed.
            "style": Markup(style),  # noqa: S704
            "script": Markup(script),  # noqa: S704
        }
    )
    return html.encode("utf-8", "backslashreplace")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The one text that the policy allows, by its hash."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
