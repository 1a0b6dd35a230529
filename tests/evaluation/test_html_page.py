from __future__ import annotations

import base64
import io
import re

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from evaluation.documents.html_page import (
    paragraph,
    picture,
    picture_file,
    preformatted,
    render_page,
    svg,
    table,
)


def test_text_is_escaped_wherever_it_enters():
    page = render_page(
        "<b>",
        [("<i>", table(["<u>"], [["<s>"]], "<q>") + paragraph("<em>") + preformatted("<tt>"))],
        paragraph("<small>"),
    )
    for tag in ("b", "i", "u", "s", "q", "em", "tt", "small"):
        assert f"<{tag}>" not in page and f"&lt;{tag}&gt;" in page


def test_what_is_html_already_stays():
    assert "<td><b>x</b></td>" in table(["a", "b"], [["1", Markup("<b>x</b>")]])


def test_columns_of_numbers_are_set_to_the_right():
    made = table(["a", "b", "c"], [["x", "0.9\n(0.8 to 1.0)", "one"], ["y", "-", "2"]])
    assert made.count('<td class="number">') == 2
    assert "0.9<br><small>(0.8 to 1.0)</small>" in made


def test_a_marked_row_says_so_in_words():
    made = table(["a"], [["x"], ["y"]], marked={1}, mark="drop")
    assert '<tr class="marked"><th scope="row">y <span class="mark">(drop)</span></th>' in made
    assert made.count("drop") == 1


def test_no_line_begins_with_a_percent_sign():
    assert "5\N{NO-BREAK SPACE}%" in paragraph("5 %")


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


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "jpeg"), ("RGBA", "jpeg"), ("L", "png")])
def test_a_picture_travels_shrunk_inside_the_page(mode, kind):
    image = Image.new(mode, (640, 320))
    made = picture(image, 'say "x"')
    assert f"data:image/{kind};base64," in made and 'alt="say &#34;x&#34;"' in made
    content = base64.b64decode(re.search(r"base64,([^\"]+)", made)[1])
    assert Image.open(io.BytesIO(content)).size == (320, 160) and image.size == (640, 320)


def test_a_picture_file_travels_byte_for_byte(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 6)).save(path)
    content = base64.b64decode(re.search(r"base64,([^\"]+)", picture_file(path, "a"))[1])
    assert content == path.read_bytes()


def test_a_file_that_is_no_picture_is_an_error(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("no picture")
    with pytest.raises(OSError, match="cannot identify"):
        picture_file(path, "a")
