"""The page's HTML, which is written by the templates in `page/templates/`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


def render(name: str, **values: object) -> str:
    """The HTML of a template; it escapes values, and without one raises jinja2.UndefinedError."""
    return TEMPLATES.get_template(name).render(values)


def address(path: Path) -> str:
    """Where the browser finds a file of a visitor's folder, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"


TEMPLATES.filters["address"] = address
