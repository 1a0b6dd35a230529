"""The benchmark of the app sees what goes wrong, and says what the start and a crowd take."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import replace

import pytest
from commands import run_command

from modeling import load_pipeline
from tests.strength.app_process import AppError, free_port, started_app
from tests.strength.benchmark_app import CATEGORY, SHIPPED, growth, main, measure_start, start_rows
from tests.strength.large_batch import measure_batch
from tests.strength.visitors import APART, crowd, draw_visitors, inspect_repeatedly

COMMAND = ("-m", "tests.strength.benchmark_app")


@pytest.fixture(scope="module")
def app():
    with started_app() as app:
        yield app


@pytest.fixture(scope="module")
def visitors(tmp_path_factory):
    pipeline = load_pipeline(SHIPPED / CATEGORY)
    return draw_visitors(4, pipeline, CATEGORY, tmp_path_factory.mktemp("photos"))


def test_the_start_is_measured_before_anybody_else_has_asked(app, visitors):
    start = measure_start(app, visitors[0].photo)
    assert start.page > 0
    assert start.verdict > 0
    if os.path.exists("/proc/self/status"):
        assert 100e6 < start.one <= start.peak
        assert len(start.further) == len([*SHIPPED.iterdir()]) - 1
    assert [what for what, _ in start_rows(start)] == [
        "first page after",
        "first verdict after that",
        "memory with one model",
        "each further model",
    ]


def test_visitors_have_answers_that_cannot_be_taken_for_each_others(visitors):
    scores = sorted(visitor.score for visitor in visitors)
    assert all(high - low >= APART for low, high in itertools.pairwise(scores))
    assert len({visitor.photo.name for visitor in visitors}) == len(visitors)


def test_everyone_is_answered_until_the_time_is_over(app, visitors):
    found = crowd(app.address, visitors, 2, app.memory)
    assert (found.errors, found.mixed_up) == ([], [])
    assert all(one.seconds for one in found.results)
    assert len(found.waits) == sum(len(one.seconds) for one in found.results)
    assert found.seconds >= 2
    assert len(found.samples) >= 2


def test_another_visitor_is_served_while_a_batch_runs(app, visitors):
    found = measure_batch(app.address, visitors, 40, app.memory)
    assert found.results == 40
    assert found.meanwhile  # its verdicts came before the end of the batch
    assert len(found.meanwhile) == len(found.samples)
    assert max(found.meanwhile) < found.seconds


def test_somebody_elses_answer_is_noticed(app, visitors):
    one, other = visitors[:2]
    exchanged = inspect_repeatedly(app.address, replace(one, score=other.score), 0.01)
    assert len(exchanged.mixed_up) == len(exchanged.seconds) == 1
    assert f"{one.score:.6f}" in exchanged.mixed_up[0]


def test_what_is_no_verdict_is_an_error_in_the_apps_own_words(app, visitors, tmp_path):
    no_photo = tmp_path / "holiday.png"
    no_photo.write_bytes(b"this is no picture")
    (unreadable,) = inspect_repeatedly(
        app.address, replace(visitors[0], photo=no_photo), 0.01
    ).errors
    assert "holiday.png is not a picture" in unreadable
    (unknown,) = inspect_repeatedly(
        app.address, replace(visitors[0], category="screwdriver"), 0.01
    ).errors
    assert "There is no category" in unknown


@pytest.mark.parametrize(
    ("samples", "grown"),
    [
        ([100] * 40, 0),
        ([*range(0, 100, 10), *[100] * 30], 0),  # it only warmed up
        ([*range(100, 140)], 23),
        ([100] * 39 + [900], 0),  # a photo that is being decoded
        ([None] * 10, None),
        ([], None),
    ],
)
def test_growth_is_what_comes_after_the_warm_up(samples, grown):
    assert growth(samples) == grown


def test_the_command_prints_a_table_of_a_running_app(app):
    words = ("--visitors", "3", "--seconds", "1", "--batch", "6")
    finished = run_command(*COMMAND, "--url", app.address, *words)
    assert finished.returncode == 0, finished.stderr
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", finished.stdout, re.M))
    assert rows["visitors"].startswith("3 for ")
    assert rows["batch"].startswith("6 photos in ")
    assert rows["errors"] == rows["mixed-up answers"] == "0"
    assert re.fullmatch(r"[3-9]\d*, \d+\.\d a second|[12]\d+, .*", rows["answers"])
    assert rows["memory from beginning to end"] == "unknown"


def test_an_app_that_is_not_there_is_one_sentence(capsys):
    address = f"http://127.0.0.1:{free_port()}"
    assert main(["--url", address, "--visitors", "1", "--seconds", "1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("benchmark_app.py: ConnectError")


def test_an_app_that_does_not_start_says_why():
    environment = {"APP_CALLS_PER_MINUTE": "many"}
    with (
        pytest.raises(AppError, match="APP_CALLS_PER_MINUTE"),
        started_app(environment=environment),
    ):
        raise AssertionError("it started")


@pytest.mark.parametrize(
    "words",
    [
        ["--visitors", "0"],
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--batch", "-1"],
        ["--url", "here"],
    ],
)
def test_bad_input_ends_with_2(words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
