"""Page -> HTML: one self-contained file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from qsimc import resources
from qsimc.report import svg
from qsimc.report.data import ReportData
from qsimc.report.page import page
from qsimc.report.text import visible


def report_html(data: ReportData) -> str:
    """Return the report as one HTML document, the same text for the same data.

    Names come from models nobody vouches for.  Three things keep them names: every value is escaped where it
    is printed, characters one cannot see are printed as escapes, and the page's policy runs no script and
    no style but its own, by hash.
    """
    style, script = _part("report.css"), _part("report.js")
    return _template().render(
        page=page(data),
        width=svg.WIDTH,
        height=svg.HEIGHT,
        # Our own files, verbatim: escaping would break `>` in selectors and `&&` in code.
        style=Markup(style),
        script=Markup(script),
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(_part),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


@cache
def _part(name: str) -> str:
    return resources.read("templates", f"report/{name}")


def _printed(value: Any) -> Any:
    """Return a value as the template prints it: text with nothing invisible in it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(text: str) -> str:
    """Return a Content-Security-Policy hash source of an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
