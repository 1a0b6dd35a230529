"""The page's HTML: templates, and the small pieces that every room uses."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from page.languages import Translation

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
ICONS = {  # path data in a square of 24 units, drawn as strokes
    "pass": "M5 12.5 10 17.5 19.5 7",
    "fail": "M6.5 6.5 17.5 17.5M17.5 6.5 6.5 17.5",
    "check": "M8.6 9a3.4 3.4 0 1 1 5 3c-1.2.7-1.6 1.3-1.6 2.6M12 18v.1",
    "download": "M12 4.5v10.5M7.5 10.8 12 15.3l4.5-4.5M5 19.5h14",
    "full": "M4.5 9.5v-5h5M14.5 4.5h5v5M19.5 14.5v5h-5M9.5 19.5h-5v-5",
}


def render(name: str, **values: object) -> str:
    """The HTML of a template in `page/templates/`; values are escaped there.

    Raises:
        jinja2.UndefinedError: when the template asks for a value that is not given.
    """
    return TEMPLATES.get_template(name).render(values)


def said(text: Translation, key: str, **values: object) -> str:
    """Words of the page, safe in HTML."""
    return html.escape(text(key, **values))


def decimal(number: str, text: Translation) -> str:
    """A number with the decimal mark of the language."""
    return number.replace(".", text("verdict.decimal_mark"))


def icon(name: str) -> str:
    """One of `ICONS`, in the colour of the text around it."""
    return (
        f'<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{ICONS[name]}"/></svg>'
    )


def address(path: Path) -> str:
    """Where the browser finds a file of a visitor's folder, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"
