"""A report as a list of blocks, written once and printed twice: as HTML and as Markdown.

Both hold the same text and the same tables; charts and pictures stand in the HTML alone.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from evaluation.documents.html_page import render_block, render_page

# What Markdown, or HTML within it, would take for a sign of its own.
SIGNS = re.compile(r"([\\`*\[\]|<>])")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `kind` is "", "lead" or "note"."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Code:
    """Text as it stands, such as a command."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table; columns of numbers are set to the right, the first column names its row.

    None is an empty cell; in HTML, what follows a line break in a cell is small. The rows `marked`,
    by their indices, stand out, or step back if `faint`; the word `mark` stands beside their names,
    since colour alone says nothing in grey.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    marked: Container[int] = ()
    mark: str = "worst"
    faint: bool = False


@dataclass(frozen=True)
class Charts:
    """Charts beside one another, each with the sentence that says what to see in it."""

    charts: Sequence[tuple[Figure, str]]


@dataclass(frozen=True)
class Pictures:
    """Pictures of one thing in a row: (file or None, what it shows); None leaves its words."""

    title: str
    pictures: Sequence[tuple[Path | None, str]]


Block = Paragraph | Heading | Code | Table | Charts | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a document with its heading."""

    title: str
    blocks: Sequence[Block]


def as_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The document as one HTML page that needs no other file."""
    parts = [(one.title, Markup().join(map(render_block, one.blocks))) for one in sections]
    return render_page(title, parts, render_block(Paragraph(lead, "lead")))


def as_markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The document without charts and pictures, as GitHub and the Hub read Markdown."""
    parts = [f"# {_plain(title)}", _plain(lead)]
    for section in sections:
        blocks = [text for block in section.blocks if (text := _markdown(block))]
        parts += [f"## {_plain(section.title)}", *blocks] if blocks else []
    return "\n\n".join(parts) + "\n"


def write_document(output: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the HTML page and, beside it with the ending .md, the same as Markdown.

    The folder of `output` is made; `lead` is the paragraph above the sections.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(as_html(title, lead, sections), encoding="utf-8")
    output.with_suffix(".md").write_text(as_markdown(title, lead, sections), encoding="utf-8")


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _plain(text)
        case Heading(text):
            return f"### {_plain(text)}"
        case Code(text):
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}"
        case Table():
            return _markdown_table(block)
    return ""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *others])


def _markdown_table(table: Table) -> str:
    rows = []
    for number, row in enumerate(table.rows):
        cells = ["" if cell is None else _plain(str(cell)) for cell in row]
        if number in table.marked:
            name = f"{cells[0]} ({table.mark})"
            cells[0] = name if table.faint else f"**{name}**"
        rows.append(cells)
    caption = [_plain(table.caption), ""] if table.caption else []
    return "\n".join([*caption, markdown_table([_plain(cell) for cell in table.head], rows)])


def _plain(text: str) -> str:
    """Text that shows as it stands: no sign of Markdown or HTML, no line of its own."""
    return SIGNS.sub(r"\\\1", " ".join(text.split()))
