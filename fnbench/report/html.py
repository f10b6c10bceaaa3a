"""One self-contained HTML file from a template: nothing is loaded, nothing that a name says is run.

Values pass jinja's autoescape, data stands in JSON whose ``<`` is escaped, and a content security policy allows just
this page's own style and script, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fnbench import __version__
from fnbench.files import write_text

TEMPLATES = Path(__file__).resolve().parent / "templates"


def rendered(
    template: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    values: Mapping[str, Any],
    connect: str = "'none'",
) -> str:
    """The text of a page.

    template: file name in ``templates``.  styles, scripts: file names there, put into the page in this order.
    values: what the template prints.  connect: where the page may ask for data; nowhere by default.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style = "\n".join((TEMPLATES / name).read_text("utf-8") for name in styles)
    code = "\n".join((TEMPLATES / name).read_text("utf-8") for name in scripts)
    script = f'"use strict";\n(() => {{\n{code}\n}})();'
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        **values,
        version=__version__,
        policy=policy(style, script, connect),
        style=Markup(style),  # our own files, as they are
        script=Markup(script),
    )


def policy(style: str, script: str, connect: str) -> str:
    """The content security policy of a page with this one style and this one script."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data: blob:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            f"connect-src {connect}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def write_page(path: Path, text: str) -> None:
    """Write a page whole or not at all; OutputError when it cannot be written."""
    write_text(path, text)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
