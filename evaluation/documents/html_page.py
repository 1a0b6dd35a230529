"""A report as one HTML file: no script, no request, so that it opens offline and prints.

The markup stands in templates, which escape every text that enters them.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from evaluation.documents.wording import duration, percent, plural

# What stands in a column of numbers: 0.994, "0.994 (0.97 to 1)", "< 3 of 20", "+1.2 %", "-", "".
NUMBER = re.compile(r"[-+<>]?\s?\d.*|-|")
# As text, not as outlines: it can be searched, copied and read aloud. One salt, so that equal
# figures make equal files.
SVG_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "golden-sample"}
FONTS = "'DejaVu Sans', Verdana, 'Liberation Sans', Arial, sans-serif"


def render_page(title: str, sections: Sequence[tuple[str, Markup]], lead: Markup) -> str:
    """An HTML document, complete in itself, of sections: (heading as text, content as HTML)."""
    page = TEMPLATES.get_template("documents/templates/page.html")
    return page.render(title=title, sections=sections, lead=lead)


def render_block(block: Any) -> Markup:
    """A block of `evaluation.documents.document`, by the macro of its name."""
    macros = TEMPLATES.get_template("documents/templates/blocks.html").module
    return getattr(macros, type(block).__name__.lower())(**vars(block))


def svg(figure: Figure, label: str = "") -> Markup:
    """A figure with text in DejaVu Sans, matplotlib's own, inlined.

    `label` says what it shows to those who can't see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(SVG_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    # Names that nothing refers to would stand twice on a page with two figures.
    used = set(re.findall(r"#([\w.-]+)", drawing))
    drawing = re.sub(
        r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", drawing
    )
    drawing = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, drawing)
    # The height follows from the width, which a narrow screen limits.
    drawing = re.sub(r' height="[\d.]+pt"', "", drawing, count=1)
    opening = Markup('<svg role="img" aria-label="{}"').format(label)
    return Markup(drawing.strip().replace("<svg", opening, 1) + "\n")


def embedded(source: Path | bytes) -> tuple[str, int, int]:
    """A picture file, byte for byte, as an address; and its width and height in pixels.

    Raises `OSError` of what can't be read or is no picture.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        kind, (width, height) = (image.format or "").lower(), image.size
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, height


def tied(text: str) -> str:
    """Text with every percent sign tied to its number, so that no line begins with one."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def lines(content: Any) -> list[str]:
    """The lines of a table's cell; None is an empty cell."""
    return ("" if content is None else str(content)).split("\n")


def column_classes(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Markup]:
    """The class attribute of each column; the first column names its row and holds no numbers."""
    columns = []
    for place, (_, *cells) in enumerate(zip(head, *rows, strict=True)):
        texts = [" ".join(lines(cell)).strip() for cell in cells]
        is_number = place > 0 and all(map(NUMBER.fullmatch, texts))
        columns.append(Markup(' class="number"') if is_number else Markup())
    return columns


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1]),  # each room of evaluation has its own
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {one.__name__: one for one in (tied, duration, percent, plural)}
TEMPLATES.globals |= {one.__name__: one for one in (column_classes, embedded, lines, svg)}
