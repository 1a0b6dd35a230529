"""A report as one HTML file: no script, no request, so that it opens offline and prints.

Text is escaped where it enters; what these functions return is safe HTML, and what is already HTML
says so by its type (`markupsafe.Markup`).
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

STYLE = Path(__file__).with_name("page.css")
# Nothing but what stands in the file: a browser then refuses every request, whatever a name holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
JPEG_QUALITY = 88
# What stands in a column of numbers: 0.994, "0.994 (0.97 to 1)", "< 3 of 20", "+1.2 %", "-", "".
NUMBER = re.compile(r"[-+<>]?\s?\d.*|-|")
# As text, not as outlines: it can be searched, copied and read aloud. One salt, so that equal
# figures make equal files.
SVG_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "golden-sample"}
FONTS = "'DejaVu Sans', Verdana, 'Liberation Sans', Arial, sans-serif"


def render_page(title: str, sections: Sequence[tuple[str, str]], lead: str = "") -> str:
    """A whole page.

    Args:
        title: text.
        sections: (heading as text, content as HTML).
        lead: HTML above the sections, such as `paragraph` makes.

    Returns:
        The HTML document, complete in itself.
    """
    places = [f"section-{number}" for number in range(1, len(sections) + 1)]
    links = Markup().join(
        Markup('<li><a href="#{}">{}</a></li>').format(place, heading)
        for place, (heading, _) in zip(places, sections, strict=True)
    )
    body = Markup("\n").join(
        Markup('<section id="{}"><h2>{}</h2>\n{}</section>').format(place, heading, Markup(content))
        for place, (heading, content) in zip(places, sections, strict=True)
    )
    contents = Markup('<nav aria-label="Contents"><ul>{}</ul></nav>').format(links)
    return Markup("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<header><h1>{title}</h1>
{lead}{contents}</header>
<main>
{body}
</main>
</body>
</html>
""").format(
        policy=POLICY,
        title=title,
        style=Markup(STYLE.read_text(encoding="utf-8")),
        lead=Markup(lead),
        contents=contents if len(sections) > 2 else "",
        body=body,
    )


def paragraph(text: str, kind: str = "") -> Markup:
    """A paragraph of text; `kind` is "", "lead" or "note"."""
    opening = Markup('<p class="{}">').format(kind) if kind else Markup("<p>")
    return Markup("{}{}</p>\n").format(opening, _tied(text))


def preformatted(text: str) -> Markup:
    """Text as it stands, such as a command."""
    return Markup("<pre>{}</pre>\n").format(text)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    caption: str = "",
    marked: Container[int] = (),
    mark: str = "worst",
    faint: bool = False,
) -> Markup:
    """A table; columns of numbers are set to the right, the first column names its row.

    Args:
        head: names of the columns.
        rows: cells, text or `Markup`; None is an empty cell. After a line break, text is small.
        caption: text above.
        marked: indices of the rows that stand out.
        mark: the word beside the name of a marked row, since colour alone says nothing in grey.
        faint: let the marked rows step back instead of stand out.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    numeric = [
        column > 0 and all(_is_number(row[column]) for row in cells) for column in range(len(head))
    ]
    kinds = [Markup(' class="number"') if yes else Markup() for yes in numeric]
    names = Markup().join(
        Markup('<th scope="col"{}>{}</th>').format(kind, _tied(name))
        for kind, name in zip(kinds, head, strict=True)
    )
    body = Markup("\n").join(
        _row(row, kinds, mark if number in marked else "", "faint" if faint else "marked")
        for number, row in enumerate(cells)
    )
    above = Markup('<p class="caption">{}</p>\n').format(_tied(caption)) if caption else ""
    # It can be scrolled by the keyboard where it is wider than a phone.
    return Markup(
        '{}<div class="table" tabindex="0"><table aria-label="{}">\n<thead><tr>{}</tr></thead>\n'
        "<tbody>\n{}\n</tbody></table></div>\n"
    ).format(above, caption or head[0], names, body)


def svg(figure: Figure, label: str = "") -> Markup:
    """A matplotlib figure, inlined.

    Args:
        figure: drawn with text in DejaVu Sans, matplotlib's own.
        label: what it shows, for those who can't see it.
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


def chart(figure: Figure, sentence: str) -> Markup:
    """A matplotlib figure with the sentence that says what to see in it."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>\n").format(
        svg(figure, sentence), _tied(sentence)
    )


def picture(image: Image.Image, alt: str, max_side: int = 320) -> Markup:
    """An image that travels inside the page; photos as JPEG, masks (modes 1, L, P) as PNG.

    Args:
        image: of any size; it is not changed.
        alt: what it shows, for those who can't see it.
        max_side: longest side in pixels after shrinking.
    """
    image = image.copy()
    image.thumbnail((max_side, max_side))
    kind = "PNG" if image.mode in ("1", "L", "P") else "JPEG"
    buffer = io.BytesIO()
    image = image.convert("RGB") if kind == "JPEG" else image
    image.save(buffer, kind, quality=JPEG_QUALITY, optimize=True)
    return _data_picture(buffer.getvalue(), kind, alt, *image.size)


def picture_file(path: Path, alt: str) -> Markup:
    """An image file as it is, byte for byte, inside the page.

    Raises:
        OSError: it can't be read or is no image.
    """
    with Image.open(path) as image:
        kind, (width, height) = image.format, image.size
    return _data_picture(path.read_bytes(), kind, alt, width, height)


def _data_picture(content: bytes, kind: str, alt: str, width: int, height: int) -> Markup:
    return Markup('<img src="data:image/{};base64,{}" alt="{}" width="{}" height="{}">').format(
        kind.lower(), base64.b64encode(content).decode(), alt, width, height
    )


def _cell(content: Any) -> Markup:
    if isinstance(content, Markup):
        return content
    first, *others = ("" if content is None else str(content)).split("\n")
    small = Markup().join(Markup("<br><small>{}</small>").format(_tied(line)) for line in others)
    return _tied(first) + small


def _tied(text: str) -> Markup:
    """Text with every percent sign tied to its number, so that no line begins with one."""
    return escape(text.replace(" %", "\N{NO-BREAK SPACE}%"))


def _row(cells: Sequence[Markup], kinds: Sequence[Markup], mark: str, style: str) -> Markup:
    first, *others = cells
    word = Markup(' <span class="mark">({})</span>').format(mark) if mark else ""
    rest = Markup().join(
        Markup("<td{}>{}</td>").format(kind, cell)
        for kind, cell in zip(kinds[1:], others, strict=True)
    )
    opening = Markup('<tr class="{}">').format(style) if mark else Markup("<tr>")
    return Markup('{}<th scope="row">{}{}</th>{}</tr>').format(opening, first, word, rest)


def _is_number(cell: Markup) -> bool:
    return NUMBER.fullmatch(cell.striptags()) is not None
