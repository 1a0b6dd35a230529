from __future__ import annotations

import base64
import io
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation.documents.document import (
    Code,
    Heading,
    Paragraph,
    Pictures,
    Section,
    Table,
    as_html,
)
from evaluation.documents.html_page import embedded, svg


def body_of(*blocks) -> str:
    """The HTML of blocks in a page."""
    return as_html("title", "lead", [Section("section", blocks)]).split("<main>")[1]


def test_text_is_escaped_wherever_it_enters(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 6)).save(path)
    blocks = [
        Table(["<u>"], [["<s>"], ["x\n<del>"]], "<q>", {0}, "<ins>"),
        Paragraph("<em>"),
        Heading("<sub>"),
        Code("<tt>"),
        Pictures("<sup>", [(path, "<var>")]),
    ]
    page = as_html("<b>", "<small>", [Section("<i>", blocks)] * 3)
    for tag in ("b", "i", "u", "s", "del", "q", "ins", "em", "sub", "tt", "sup", "var"):
        assert f"<{tag}>" not in page and f"&lt;{tag}&gt;" in page
    assert "&lt;small&gt;" in page


def test_columns_of_numbers_are_set_to_the_right():
    made = body_of(Table(["a", "b", "c"], [["x", "0.9\n(0.8 to 1.0)", "one"], ["y", "-", "2"]]))
    assert made.count('<td class="number">') == 2
    assert "0.9<br><small>(0.8 to 1.0)</small>" in made


def test_a_marked_row_says_so_in_words():
    made = body_of(Table(["a"], [["x"], ["y"]], marked={1}, mark="drop"))
    assert '<tr class="marked"><th scope="row">y <span class="mark">(drop)</span></th>' in made
    assert made.count("drop") == 1


def test_no_line_begins_with_a_percent_sign():
    assert "5\N{NO-BREAK SPACE}%" in body_of(Paragraph("5 %"))


def test_a_drawing_keeps_its_text_and_only_the_names_it_uses():
    figure = Figure()
    axes = figure.subplots()
    axes.bar([1], [1], hatch="//")
    axes.set_title("A & B")
    drawn = svg(figure, "two")
    names = re.findall(r' id="([^"]+)"', drawn)
    assert "A &amp; B" in drawn and drawn.startswith('<svg role="img" aria-label="two"')
    assert names and all(f"#{name}" in drawn for name in names)
    assert "<!DOCTYPE" not in drawn and "<metadata" not in drawn


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_picture_travels_byte_for_byte_inside_the_page(tmp_path, kind):
    path = tmp_path / "a"
    Image.new("RGB", (8, 6)).save(path, kind)
    made = body_of(Pictures('say "x"', [(path, "y"), (None, "z")]))
    content = base64.b64decode(re.search(rf"data:image/{kind};base64,([^\"]+)", made)[1])
    assert content == path.read_bytes() and made.count("<img") == 1
    assert 'alt="say &#34;x&#34;: y" width="8" height="6"' in made
    assert embedded(io.BytesIO(content).getvalue()) == embedded(path)


def test_a_file_that_is_no_picture_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("no picture")
    with pytest.raises(OSError, match="cannot identify"):
        embedded(path)
