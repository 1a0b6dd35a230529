"""The browser's part of the page, in a real browser, with Gradio writing the HTML over and over."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import pytest
import specimens
from browsing import contrast, picture_sizes
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect
from specimens import PHOTO_SIZE, SCRATCH, SPOT
from starlette.middleware import Middleware

from page.inspection.results import ACCEPT, REJECT
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import NAMES, Translation, all_words
from page.server.gradio_internals import head_scripts
from page.views.result_pictures import outlines_html, pictures_html, regions_html, write_pictures
from page.views.verdict_card import message_card, threshold_cost, verdict_card

OUTPUT = ROOT / "tests" / "output"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
HEIGHT, WIDTH = PHOTO_SIZE
TEXT = Translation("en")
ROWS = "".join(f'<tr data-number="{n}" tabindex="0"><td>{n}</td></tr>' for n in (1, 2, 3))
TABLE = f"<table id='batch_table'><tbody>{ROWS}</tbody></table>"
SELECT = """element.addEventListener("click", (event) => {
  for (const row of element.querySelectorAll("tr")) row.classList.remove("selected");
  event.target.closest("tr")?.classList.add("selected");
});"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A page with two photos to show, a threshold, and buttons that count their clicks."""
    folder = TemporaryFolder(tmp_path_factory.mktemp("visitors"))
    parts = [specimens.inspected(folder, *areas) for areas in ((SCRATCH, SPOT), (SPOT,))]
    shown = [pictures_html(result, write_pictures(found, folder), TEXT) for result, found in parts]

    def show(number: float, threshold: float) -> tuple[str, str, str, str, str]:
        result = parts[int(number)][0].at_threshold(threshold)
        return (*judged(number, threshold), shown[int(number)], cost(result, threshold))

    def judged(number: float, threshold: float) -> tuple[str, str, str]:
        result = parts[int(number)][0].at_threshold(threshold)
        return verdict_card(result, TEXT), outlines_html(result), regions_html(result, TEXT)

    def cost(result, threshold: float) -> str:
        return threshold_cost(result.calibration, threshold, [0.2, 0.6, 0.9], TEXT)

    words = {
        language: {"page.inspect": text["page.inspect"]} for language, text in all_words().items()
    }
    translate = gr.I18n(**words, **{"zh-CN": words["zh"]})
    with gr.Blocks() as blocks:
        verdict = gr.HTML(message_card("nothing yet"), elem_id="verdict")
        cost_of = gr.HTML(elem_id="cost")
        threshold = gr.Slider(0, 1, value=0.5, step=0.01, elem_id="threshold")
        outline = gr.HTML(elem_id="outlines")
        pictured = gr.HTML(elem_id="pictures")
        table = gr.HTML(elem_id="regions")
        number = gr.Number(0, elem_id="number")
        with gr.Row():
            inspect = gr.Button(translate("page.inspect"), elem_id="inspect")
            gr.Button("A", elem_id="accept")
            gr.Button("R", elem_id="reject")
        gr.Textbox(elem_id="note")
        gr.HTML(TABLE, js_on_load=SELECT)
        everything = [verdict, outline, table, pictured, cost_of]
        inspect.click(show, [number, threshold], everything)
        threshold.change(
            judged,
            [number, threshold],
            everything[:3],
            js="(n, limit) => [n, window.goldenSample.followThreshold(limit)]",
            queue=False,
            show_progress="hidden",
            trigger_mode="always_last",
        )
    _, address, _ = blocks.launch(
        prevent_thread_lock=True,
        css="\n".join(
            path.read_text() for path in sorted((ROOT / "page" / "static").glob("*.css"))
        ),
        i18n=translate,
        app_kwargs={"middleware": [Middleware(head_scripts)]},
        allowed_paths=[str(folder.path)],
        quiet=True,
    )
    yield address
    blocks.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport=DESKTOP)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(address)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)
    yield page
    assert not errors
    page.close()


def inspect(page: Page, number: int = 0) -> None:
    page.locator("#number input").fill(str(number))
    page.click("#inspect")
    expect(page.locator(".picture")).to_have_count(3, timeout=30_000)
    outline = f"g[id^=outlines] .outline >> nth={1 - number}"
    expect(page.locator(outline)).to_be_attached()
    expect(page.locator("g[id^=outlines] .outline")).to_have_count(2 - number)


def box(page: Page, selector: str) -> dict[str, float]:
    return page.locator(selector).first.bounding_box()


def test_three_pictures_lie_side_by_side_equally_large_at_the_photos_ratio(page):
    inspect(page)
    boxes = [page.locator(".stage").nth(place).bounding_box() for place in range(3)]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    sizes = picture_sizes(page.locator(".stage img:not(.heat)"))
    assert [width for width, _ in sizes] == [WIDTH] * 4


@pytest.mark.parametrize("full_screen", [False, True])
def test_the_outlines_lie_where_the_regions_are(page, full_screen):
    inspect(page)
    figure = page.locator(".picture").nth(2)
    if full_screen:
        figure.locator(".stage").click()
        expect(page.locator(".picture:fullscreen")).to_have_count(1)
    stage = figure.locator(".stage").bounding_box()
    drawn = figure.locator("use").evaluate(
        """use => { const {x, y, width, height} = use.getBBox(); return [x, y, width, height]; }"""
    )
    assert drawn[0] < 30 + 5 and drawn[0] + drawn[2] > 300 - 5  # from the spot to the scratch
    overlay = figure.locator(".overlay").bounding_box()
    assert overlay == pytest.approx(stage, abs=1)
    assert stage["width"] / WIDTH > (2 if full_screen else 0.5)


def test_the_numbers_are_as_large_on_every_screen_and_stay_in_the_picture(page):
    inspect(page)
    unit = "getComputedStyle(document.documentElement).getPropertyValue('--stage-width')"
    width = box(page, ".stage")["width"]
    assert float(page.evaluate(unit)) == pytest.approx(width, abs=1)
    page.locator(".enlarge").first.click()
    expect(page.locator(".picture:fullscreen")).to_have_count(1)
    page.wait_for_function(f"Number({unit}) > {width} * 1.5")
    page.keyboard.press("Escape")
    page.evaluate("document.fullscreenElement && document.exitFullscreen()")
    page.wait_for_function(f"Math.abs(Number({unit}) - {width}) < 2")


def test_the_verdict_agrees_with_the_threshold_at_21_positions(page):
    inspect(page)
    score = float(page.locator(".verdict").get_attribute("data-score"))
    for step in range(21):
        threshold = step / 20
        page.evaluate("limit => goldenSample.showVerdict(limit)", threshold)
        expected = "FAIL" if score > threshold else "PASS"
        assert page.locator(".verdict").get_attribute("data-verdict") == expected
        assert page.locator(".verdict .badge:visible").inner_text().strip() == expected
        assert page.inner_text(".limit-value") == f"{threshold:.2f}"


def test_the_slider_brings_new_outlines_and_leaves_the_pictures(page):
    inspect(page)
    page.evaluate("for (const i of document.querySelectorAll('.stage img')) i.seen = true")
    page.locator("#threshold input[type=number]").fill("0.9")
    page.locator("#threshold input[type=number]").press("Tab")
    expect(page.locator("g[id^=outlines] .outline")).to_have_count(1)
    expect(page.locator("table.regions tbody tr")).to_have_count(1)
    assert page.evaluate("[...document.querySelectorAll('.stage img')].every(i => i.seen)")


@pytest.mark.parametrize("typed", ["", "5", "-1"])
def test_what_is_no_threshold_changes_nothing_and_is_gone_when_the_box_is_left(page, typed):
    inspect(page)
    box = page.locator("#threshold input[type=number]")
    box.fill("0.9")
    expect(page.locator(".limit-value")).to_have_text("0.90")
    verdict = page.locator(".verdict").get_attribute("data-verdict")
    box.fill(typed)
    page.wait_for_timeout(300)
    assert page.inner_text(".limit-value") == "0.90"
    assert page.locator(".verdict").get_attribute("data-verdict") == verdict
    box.press("Tab")
    expect(box).to_have_value("0.9")
    expect(page.locator("#threshold input[type=range]")).to_have_value("0.9")
    page.wait_for_timeout(300)
    assert page.inner_text(".limit-value") == "0.90"


def test_the_wipe_the_heat_and_the_outlines_keep_their_setting_across_photos(page):
    inspect(page)
    for name, value in (("wipe", 40), ("heat", 25)):
        page.locator(f"[data-setting={name}]").fill(str(value))
    page.locator("[data-setting=outlines]").uncheck()

    def seen() -> list[str]:
        return page.evaluate(
            """() => [getComputedStyle(document.querySelector('.wiped')).clipPath,
              getComputedStyle(document.querySelector('.stage .heat')).opacity,
              getComputedStyle(document.querySelector('.overlay')).display]"""
        )

    assert seen() == ["inset(0px 60% 0px 0px)", "0.25", "none"]
    inspect(page, 1)
    assert seen() == ["inset(0px 60% 0px 0px)", "0.25", "none"]
    # Sliders that Gradio makes anew stand where the visitor left them.
    page.locator("#pictures .pictures").evaluate("shown => { shown.outerHTML = shown.outerHTML; }")
    expect(page.locator("[data-setting=wipe]")).to_have_value("40")


def test_a_row_of_the_table_lights_its_region_up(page):
    inspect(page)
    page.hover("table.regions tr[data-region='2']")
    lit = page.locator("g[id^=outlines] .active").evaluate_all(
        "all => all.map(e => e.dataset.region)"
    )
    assert lit == ["2", "2"]
    page.hover("#note")
    expect(page.locator("g[id^=outlines] .active")).to_have_count(0)


def test_a_picture_can_be_taken_home(page):
    inspect(page)
    with page.expect_download() as download:
        page.locator(".picture[data-picture=difference] a[download]").click()
    assert download.value.suggested_filename == "part 7_difference.jpg"


def test_text_is_saved_as_a_file(page):
    with page.expect_download() as download:
        page.evaluate("goldenSample.saveText('a,b\\n1,2\\n', 'inspection.csv')")
    assert download.value.suggested_filename == "inspection.csv"
    with open(download.value.path()) as file:
        assert file.read() == "a,b\n1,2\n"


def test_enter_inspects_and_a_and_r_decide_but_not_while_one_types(page):
    page.evaluate(
        """() => { window.clicked = [];
          addEventListener("click", (event) => window.clicked.push(event.target.id)); }"""
    )

    def clicked() -> list[str]:
        return page.evaluate("window.clicked.splice(0)")

    for key in ("Enter", "a", "R"):  # with Shift it would be another key; this is Caps Lock
        page.keyboard.press(key)
    assert clicked() == ["inspect", "accept", "reject"]
    note = page.locator("#note textarea, #note input")
    note.focus()
    page.keyboard.type("a rare part")
    page.keyboard.press("Enter")
    assert clicked() == []
    note.blur()
    page.keyboard.press("Control+a")
    assert clicked() == []
    page.focus("#accept")
    page.keyboard.press("Enter")  # presses what has the focus
    assert clicked() == ["accept"]


def test_arrows_walk_the_batch_but_not_from_a_slider(page):
    def selected() -> str:
        return page.locator("#batch_table tr.selected").inner_text()

    for key, row in (
        ("ArrowDown", "1"),
        ("ArrowRight", "2"),
        ("ArrowDown", "3"),
        ("ArrowDown", "3"),
        ("ArrowLeft", "2"),
    ):
        page.keyboard.press(key)
        assert selected() == row, key
    page.focus("#threshold input[type=range]")
    page.keyboard.press("ArrowRight")
    assert selected() == "2"
    page.locator("#batch_table tr").nth(1).focus()
    page.keyboard.press("ArrowDown")  # one step, though two listen
    assert selected() == "3"


def test_the_address_names_the_choice_and_the_page_keeps_it_there(page, address):
    page.goto(f"{address}?category=flange%20nut&model=m%2F1&lang=de&__theme=dark")
    expect(page.locator("#inspect")).to_be_visible()
    asked = {"category": "flange nut", "model": "m/1", "lang": "de"}
    assert page.evaluate("goldenSample.link()") == asked
    page.evaluate("goldenSample.setLink('key', null)")
    assert page.evaluate("goldenSample.link()") == asked | {"category": "key", "model": None}
    assert "__theme=dark" in page.url


@pytest.mark.parametrize("language", NAMES)
def test_the_address_chooses_the_language_of_gradios_words_too(page, address, language):
    page.goto(f"{address}?lang={language}")
    expect(page.locator("#inspect")).to_have_text(all_words()[language]["page.inspect"])
    assert page.evaluate("goldenSample.language()") == language
    assert page.evaluate("document.documentElement.lang").split("-")[0] == language


def test_a_chosen_language_is_remembered(browser, address):
    context = browser.new_context(locale="es-MX")
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#inspect")).to_have_text("Inspeccionar")
    page.evaluate("goldenSample.chooseLanguage('ja')")
    expect(page.locator("#inspect")).to_have_text("検査する")
    assert "lang=ja" in page.url
    page.goto(address)
    expect(page.locator("#inspect")).to_have_text("検査する")
    context.close()


def test_a_language_that_nobody_translated_is_english(browser, address):
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(f"{address}?lang=xx")
    expect(page.locator("#inspect")).to_have_text("Inspect")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_verdict_can_be_read(browser, address, scheme, tmp_path):
    page = browser.new_page(viewport=DESKTOP, color_scheme=scheme)
    page.goto(address)
    inspect(page)
    for name in ("PASS", "FAIL", "CHECK"):
        page.locator(".verdict").evaluate("(e, name) => e.dataset.verdict = name", name)
        assert contrast(page.locator(f".verdict .badge.{name.lower()}").first) >= 4.5
        for decision in (ACCEPT, REJECT):
            page.locator(".verdict").evaluate("(e, name) => e.dataset.decision = name", decision)
            assert page.locator(".verdict .badge:visible").count() == 1
        page.locator(".verdict").evaluate("e => e.dataset.decision = ''")
    page.close()


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [("desktop", DESKTOP, "light"), ("phone", PHONE, "light"), ("dark", DESKTOP, "dark")],
)
def test_the_pictures_fit(browser, address, name, viewport, scheme):
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    page.goto(address)
    inspect(page)
    page.wait_for_timeout(500)
    page.screenshot(path=OUTPUT / f"pictures_{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.close()
