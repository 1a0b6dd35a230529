from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import DESKTOP, PHONE
from conftest import ROOT
from playwright.sync_api import Browser, Page

from evaluation.documents.document import as_markdown
from evaluation.report.command import lead_of, main, sections_of, title_of, write_report
from evaluation.report.overview import name_of, worst_of
from evaluation.stored import StoredEvaluationError, read_evaluations
from tests.evaluation.made_evaluations import make_evaluation

SHIPPED = ROOT / "assets" / "models" / "flange_nut" / "evaluation"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=DESKTOP)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two categories, the second one weaker."""
    runs = tmp_path_factory.mktemp("runs")
    make_evaluation(runs / "nut", "nut")
    make_evaluation(runs / "key", "key", image_auroc=0.9, aupro=0.7)
    output = tmp_path_factory.mktemp("report") / "new" / "report.html"
    write_report([runs], output, "python evaluation/report.py runs --output report.html")
    return output


def text_of(tmp_path: Path, **changes) -> str:
    """The Markdown of one evaluation's report, without drawing its charts."""
    return text_of_folder(make_evaluation(tmp_path / "evaluation", **changes))


def text_of_folder(folder: Path) -> str:
    evaluations = read_evaluations([folder])
    return as_markdown(title_of(evaluations), lead_of(evaluations), sections_of(evaluations))


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_without_a_request_an_error_or_a_page_wider_than_the_screen(
    report, browser, viewport
):
    page = browser.new_context(viewport=viewport).new_page()
    requests, messages = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(report.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert messages == []
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.locator("h1").inner_text() == "Evaluation: key, nut"


def test_every_picture_and_chart_is_drawn(report, page):
    page.goto(report.as_uri())
    broken = page.locator("img").evaluate_all(
        "images => images.filter(i => !i.naturalWidth).length"
    )
    assert page.locator("img").count() == 2 * (4 + 3) and broken == 0
    # Of each category: kinds of defect, ROC, precision-recall, scores, learning curve, promise.
    assert page.locator("svg").count() == 2 * 6 + 1
    sentences = page.locator(".charts figcaption").all_inner_texts()
    assert len(sentences) == 13 and all(text.strip().endswith(".") for text in sentences)


def test_no_two_elements_have_the_same_name(report, page):
    page.goto(report.as_uri())
    names = page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    outside = [name for name in names if name.startswith("section-")]
    assert len(outside) == len(set(outside)) == page.locator("nav a").count()


def test_tables_hold_the_numbers_of_metrics_json(report):
    glance = section(report.with_suffix(".md").read_text(), "At a glance")
    for number in ("0.950 (0.812 to 1.000)", "0.961", "0.923", "0.987", "0.654", "0.612", "0.893"):
        assert number in glance
    assert "1 of 4 (25.0 %; 4.6 to 69.9 %)" in glance
    assert "1 of 5 (20.0 %; 3.6 to 62.4 %)" in glance
    assert "| mean of 2 | 0.925 |" in glance


def test_html_and_markdown_hold_the_same_tables(report, page):
    page.goto(report.as_uri())
    cells = page.locator("th, td").evaluate_all(
        "all => all.map(cell => cell.textContent.replace(/\\s/g, ''))"
    )
    lines = [line for line in report.with_suffix(".md").read_text().splitlines() if "|" in line]
    written = [cell for line in lines for cell in line.strip("|").split("|") if cell != "---"]
    plain = [re.sub(r"\*\*|\\|\s", "", cell) for cell in written]
    assert cells == plain


def test_the_worst_category_and_defect_are_marked_in_words(report, page):
    markdown = report.with_suffix(".md").read_text()
    assert "| **key (worst)** | 0.900" in section(markdown, "At a glance")
    assert "| **scratch (worst)** | 0.875" in section(markdown, "Kinds of defect")
    page.goto(report.as_uri())
    assert page.locator("tr.marked th").first.inner_text() == "key (worst)"


def test_nothing_is_marked_where_all_are_alike():
    assert worst_of([0.9, 0.9, None]) == set()
    assert worst_of([0.9, 0.8, None, 0.8]) == {1, 3}
    assert worst_of([None, None]) == set()


def test_the_spread_between_categories_and_defects_is_told(report):
    fairness = section(report.with_suffix(".md").read_text(), "Fairness")
    assert "| categories | image AUROC | 0.900 (key) | 0.950 (nut) | 0.050 |" in fairness
    assert (
        "| kinds of defect, nut | miss rate | 0.0 % (dent) | 50.0 % (scratch) | 50.0 points |"
        in fairness
    )


def test_the_promise_is_compared_with_what_happened(report):
    nut = section(report.with_suffix(".md").read_text(), "nut")
    assert "promised from 4 held-out good parts; realised: 1 of 4 (25.0 %; 4.6 to 69.9 %)" in nut
    assert "do not speak against it" in nut
    assert "| 50.0 % | 40.0 % | 1 of 4 (25.0 %; 4.6 to 69.9 %) | as promised |" in nut
    assert "| 5.0 % | not with 4 parts, 20.0 % at least |" in nut


def test_an_exceeded_promise_is_marked(tmp_path):
    markdown = text_of(
        tmp_path,
        promised_false_alarm_rate=0.01,
        calibration_scores=[0.1] * 99,
    )
    assert "more than the chance of these photos explains" in markdown
    assert "| **1.0 % (exceeded)** | 1.0 % | 4 of 4" in markdown


def test_the_wrong_verdicts_are_counted(tmp_path):
    text = section(text_of(tmp_path, false_alarms=3), "nut")
    assert "Missed: 1 anomalous photo that passed, the weakest score first." in text
    assert "False alarms: the worst 1 of 3 good photos that failed" in text


def test_simple_references_stand_beside_the_model(tmp_path):
    markdown = text_of(tmp_path)
    floors = section(markdown, "Simple references")
    assert "| nearest neighbours | 0.900 |" in floors
    assert "lies 5.0 points above the best simple reference, nearest neighbours" in floors


def test_a_reference_that_does_better_is_admitted(tmp_path):
    markdown = text_of(tmp_path, baselines={"mean_image": {"image_auroc": 0.99}})
    assert "the simpler mean good image (0.990) does better than this model (0.950)" in markdown


def test_speed_size_commands_and_versions_are_told(report):
    markdown = report.with_suffix(".md").read_text()
    cost = section(markdown, "Speed and size")
    assert "| nut | 100 ms | 10.0 | 9 | 6.2 MB | 2.9 million | 11 min 30 s | 2 | 1 |" in cost
    made = section(markdown, "How these figures were made")
    assert "python evaluation/evaluate.py --model runs/nut" in made
    assert "python evaluation/report.py runs --output report.html" in made
    assert "| torch | 2.13.0 |" in made
    assert "| nut | runs/nut | synthetic:nut | 7 | 2026-11-25T10:00:00+00:00 | cpu |" in made


def test_missing_parts_leave_a_sentence(tmp_path):
    new = ("cost", "baselines", "calibration_scores", "aupro_5", "image_f1_max", "versions")
    markdown = text_of(tmp_path, cases=False, whole=False, **dict.fromkeys(new))
    for sentence in (
        "Not in these evaluations: best F1, AUPRO (5 %).",
        "The learning curve was not kept beside this evaluation.",
        "Other rates than that of the threshold can't be told",
        "Pictures of the wrong verdicts were not kept.",
        "No simple reference was measured beside the model",
        "Speed and size were not measured for nut",
        "The versions of the libraries were not kept.",
    ):
        assert sentence in markdown
    assert "best F1 |" not in section(markdown, "At a glance").replace("pixel best F1", "")


def test_one_class_alone_and_no_calibration_leave_a_sentence(tmp_path):
    undefined = (
        *("image_auroc", "image_auroc_interval", "average_precision", "false_alarms", "misses"),
        *("promised_false_alarm_rate", "raw_threshold", "calibration_scores", "per_defect"),
    )
    scores = {"good": [1.0, 2.0], "anomalous": []}
    notes = ["No test photo is anomalous."]
    markdown = text_of(
        tmp_path, whole=False, cases=False, scores=scores, notes=notes, **dict.fromkeys(undefined)
    )
    assert "No ROC curve: it needs the scores of good and of anomalous photos." in markdown
    assert "The model is not calibrated, so it promises nothing." in markdown
    assert "nut: No test photo is anomalous." in markdown
    assert "nut: no kinds of defect" in markdown


def test_names_are_text_and_never_markup(tmp_path, page):
    name = "<b>bo|ld</b><img src=x onerror=alert(1)> $x_1^2$"
    folder = make_evaluation(tmp_path / "evaluation", category=name, per_defect=None)
    write_report([folder], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "<b>" not in html and "<img src=x" not in html
    _, *others = (tmp_path / "report.md").read_text().split("```")[::2]  # outside of code
    assert others and not any(re.search(r"(?<!\\)<", part) for part in others)
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("h1").inner_text() == f"Evaluation: {name}"


def test_the_report_of_a_shipped_model_holds_its_figures():
    metrics = json.loads((SHIPPED / "metrics.json").read_text())
    text = text_of_folder(SHIPPED)
    assert f"{metrics['misses']} of {metrics['n_anomalous']} (" in text
    for figures in (metrics, *metrics["per_defect"].values()):
        assert f"{figures['image_auroc']:.3f}" in text and f"{figures['aupro']:.3f}" in text
    assert metrics["command"] in text


def test_equal_evaluations_make_equal_reports(tmp_path):
    folder, output = make_evaluation(tmp_path / "evaluation"), tmp_path / "report.html"
    written = []
    for _ in range(2):
        write_report([folder], output)
        written.append(output.read_bytes())
    assert written[0] == written[1]


def test_the_lead_counts_photos_once(tmp_path):
    alone = read_evaluations([make_evaluation(tmp_path / "a", model="runs/a")])
    assert lead_of(alone) == (
        "1 model on 4 good and 5 anomalous test photos. Found: 4 of the 5 anomalous ones (80.0 %). "
        "Failed by mistake: 1 of the 4 good ones (25.0 %)."
    )
    make_evaluation(tmp_path / "b", model="runs/b")
    assert lead_of(read_evaluations([tmp_path])) == "2 models on 1 category, side by side."


def test_two_evaluations_of_one_category_have_names_of_their_own(tmp_path):
    for name, model in (("a", "runs/a"), ("b", "runs/b"), ("c", "runs/b")):
        make_evaluation(tmp_path / name / "evaluation", model=model)
    evaluations = read_evaluations([tmp_path])
    names = [name_of(evaluation, evaluations) for evaluation in evaluations]
    assert names == ["nut (runs/a)", "nut (b/evaluation)", "nut (c/evaluation)"]


def test_the_command_line_writes_both_files_and_no_path_of_the_machine(tmp_path, capsys):
    folder, output = make_evaluation(tmp_path / "evaluation"), tmp_path / "report.html"
    assert main([str(folder), "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    for path in (output, output.with_suffix(".md")):
        assert str(tmp_path) not in path.read_text()


def test_a_folder_without_evaluation_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path), "--output", str(tmp_path / "report.html")]) == 2
    error = capsys.readouterr().err
    assert "metrics.json" in error and str(tmp_path) in error and error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_an_output_that_is_no_html_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        main([str(tmp_path), "--output", str(tmp_path / "report.pdf")])
    assert refusal.value.code == 2 and ".html" in capsys.readouterr().err


def test_a_damaged_figure_is_named(tmp_path):
    folder = make_evaluation(tmp_path / "evaluation", image_auroc="high")
    with pytest.raises(StoredEvaluationError, match=r"metrics.json: .* image_auroc, found 'high'"):
        write_report([folder], tmp_path / "report.html")
