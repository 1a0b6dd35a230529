"""Batches through the real inspector, with a model that ships."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path

import pytest
from PIL import Image

from data.synthetic import render
from modeling import InspectionRecord
from page.inspection.batch import THUMBNAIL_SIDE, Batch, count_verdicts
from page.inspection.inspector import Inspector
from page.inspection.results import ACCEPT, REJECT, UNDECIDED, Result
from page.inspection.temporary_folder import TemporaryFolder
from page.inspection.uploads import Upload
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, find_models
from system.files import UNFINISHED

DEFECTS = ("good", "missing_part", "good", "scratch", "good")
MANY = 200
MAX_GROWTH = (
    16 * 2**20
)  # bytes that 150 more photos may add to the memory; one photo's maps: 0.5 MB


@pytest.fixture(scope="module")
def entry(trained_model) -> ModelEntry:
    return find_models([str(trained_model)])[0]


@pytest.fixture(scope="module")
def inspector(entry) -> Inspector:
    return Inspector(Catalogue([entry]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number} {defect}.png" for number, defect in enumerate(DEFECTS)]
    for seed, (path, defect) in enumerate(zip(paths, DEFECTS, strict=True)):
        render("flange_nut", seed=700_000 + seed, defect=defect, size=192).image.save(path)
    return paths


@pytest.fixture
def folder(tmp_path) -> TemporaryFolder:
    return TemporaryFolder(tmp_path / "visitors")


@pytest.fixture
def batch(photos, folder) -> Batch:
    return batch_of(photos, folder)


def batch_of(photos: list[Path], folder: TemporaryFolder, threshold: float = 0.5) -> Batch:
    uploads = [Upload(photo.name, folder.keep(photo)) for photo in photos]
    return Batch(uploads, folder, threshold)


def of(verdict: str, **fields: object) -> Result:
    record = InspectionRecord(verdict, **{"threshold": 0.5, **fields})
    return Result("a.png", None, "nut", "model", "model", record, "")


def errors_of(batch: Batch) -> list[bool]:
    return [result.record.verdict == "ERROR" for result in batch.results]


def assert_judged(results: list[Result], threshold: float) -> None:
    for result in results:
        assert result.record.threshold == threshold
        assert result.record.verdict == ("FAIL" if result.record.score > threshold else "PASS")
        assert bool(result.record.regions) == (result.record.verdict == "FAIL")


def test_photos_are_inspected_in_their_order_and_the_page_hears_of_each(batch, inspector, entry):
    steps = [(len(step.results), step.is_running) for step in batch.run(inspector, entry)]
    assert steps == [*((done, True) for done in range(1, 6)), (5, False)]
    assert [result.file for result in batch.results] == [upload.file for upload in batch.uploads]
    assert_judged(batch.results, 0.5)
    assert {result.key for result in batch.results} == {entry.key}
    assert batch.totals.inspected == len(DEFECTS)
    assert batch.seconds_left == 0
    assert batch.photos_per_minute > 0
    assert not batch.is_cancelled


def test_thumbnails_are_small_and_keep_the_photos_shape(inspector, entry, folder, tmp_path):
    path = tmp_path / "wide.png"
    Image.effect_noise((1200, 300), 50).convert("RGB").save(path)
    batch = batch_of([path], folder)
    list(batch.run(inspector, entry))
    with Image.open(batch.thumbnails[0]) as thumbnail:
        assert thumbnail.size == (THUMBNAIL_SIDE, THUMBNAIL_SIDE // 4)
        assert thumbnail.format == "JPEG"


def test_a_file_that_cannot_be_read_is_a_row_and_the_rest_goes_on(
    photos, inspector, entry, folder, tmp_path
):
    text, truncated = tmp_path / "notes.txt", tmp_path / "half.png"
    text.write_text("no picture")
    truncated.write_bytes(photos[0].read_bytes()[:2000])
    batch = batch_of([photos[0], text, truncated, photos[1]], folder)
    batch.uploads.insert(2, Upload("inner.zip", error="Not opened."))
    list(batch.run(inspector, entry))
    assert errors_of(batch) == [False, True, True, True, False]
    assert "notes.txt is not a picture" in batch.results[1].record.error
    assert batch.results[2].record.error == "Not opened."
    assert "half.png is damaged" in batch.results[3].record.error
    assert batch.totals.unreadable == 3
    assert [thumbnail is None for thumbnail in batch.thumbnails] == [False, True, True, True, False]
    batch.rejudge(0.25)
    assert errors_of(batch) == [False, True, True, True, False]
    assert all(result.record.threshold == 0.25 for result in batch.results)


def test_a_photo_for_which_there_is_no_room_is_a_row_and_the_rest_goes_on(
    batch, inspector, entry, folder, full_disk
):
    full_disk(folder.path / "00002.npz")  # the maps of the second photo
    full_disk(folder.path / "00007.jpg")  # the thumbnail of the third: five photos, one before
    list(batch.run(inspector, entry))
    assert [result.record.error for result in batch.results] == [
        None,
        Translation("en")("batch.no_room"),
        *[None] * 3,
    ]
    assert errors_of(batch) == [False, True, False, False, False]
    assert [thumbnail is None for thumbnail in batch.thumbnails] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert not [path for path in folder.path.iterdir() if path.name.startswith(UNFINISHED)]
    batch.rejudge(0.9)
    assert [result.record.threshold for result in batch.results] == [0.9] * 5


def test_cancelling_keeps_what_is_done(batch, inspector, entry):
    for step in batch.run(inspector, entry):
        if len(step.results) == 2:
            batch.cancel()
    assert len(batch.results) == 2
    assert batch.is_cancelled
    assert not batch.is_running
    assert_judged(batch.results, 0.5)


def test_cancelling_after_the_last_photo_changes_nothing(batch, inspector, entry):
    list(batch.run(inspector, entry))
    batch.cancel()
    assert not batch.is_cancelled


def test_a_visitor_who_leaves_ends_it(batch, inspector, entry):
    running = batch.run(inspector, entry)
    next(running)
    assert batch.is_running
    running.close()
    assert not batch.is_running
    assert len(batch.results) == 1


def test_files_that_are_deleted_under_it_end_it_quietly(photos, entry, folder):
    class Leaving(Catalogue):
        """The visitor leaves while the model runs."""

        def load(self, entry):
            pipeline = super().load(entry)

            def inspect(*arguments, **options):
                inspection = pipeline(*arguments, **options)
                batch.cancel()
                folder.close()
                return inspection

            inspect.model = pipeline.model
            return inspect

    batch = batch_of(photos, folder)
    (last,) = batch.run(Inspector(Leaving([entry])), entry)
    assert last.results == []
    assert not last.is_running


def test_a_model_that_cannot_be_loaded_ends_it_with_a_sentence(batch, entry, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(entry.source, folder)
    (folder / "model.safetensors").write_bytes(b"broken")
    broken = ModelEntry("broken", "flange_nut", str(folder))
    (last,) = batch.run(Inspector(Catalogue([broken])), broken)
    assert "broken" in last.error
    assert last.results == []
    assert not last.is_running


def test_the_whole_batch_is_judged_at_another_threshold_and_keeps_its_decisions(
    batch, inspector, entry
):
    list(batch.run(inspector, entry))
    scores = sorted(result.record.score for result in batch.results)
    batch.decide(2, ACCEPT, "a reflection")
    for threshold in (0.0, scores[1], (scores[2] + scores[3]) / 2, 1.0):
        batch.rejudge(threshold)
        assert_judged(batch.results, threshold)
        assert (batch.results[1].decision, batch.results[1].note) == (ACCEPT, "a reflection")
    assert [result.decision for result in batch.results].count(UNDECIDED) == 4
    assert batch.totals.passed == 5


def test_photos_that_are_not_done_yet_are_judged_at_the_newest_threshold(batch, inspector, entry):
    for step in batch.run(inspector, entry):
        batch.rejudge(0.1 * len(step.results))
    assert_judged(batch.results, 0.5)


def test_a_threshold_that_is_moved_while_the_model_runs_holds_for_that_photo(
    batch, inspector, entry, monkeypatch
):
    inspect = inspector.inspect

    def slow_inspect(*arguments):
        answer = inspect(*arguments)
        batch.rejudge(0.3)
        return answer

    monkeypatch.setattr(inspector, "inspect", slow_inspect)
    list(batch.run(inspector, entry))
    assert_judged(batch.results, 0.3)


def interrupted(interruption: Callable[[], object]) -> Result:
    """A result during whose judging something else happens."""

    class Interrupted(Result):
        def at_threshold(self, threshold: float) -> Result:
            interruption()
            return of("PASS", threshold=threshold)

    return Interrupted(**vars(of("PASS")))


def test_a_decision_that_is_made_during_judging_is_not_lost(folder):
    batch = Batch([], folder, 0.5)
    batch.results.append(interrupted(lambda: batch.decide(1, REJECT, "scratched")))
    batch.rejudge(0.7)
    (result,) = batch.results
    assert (result.record.threshold, result.decision, result.note) == (0.7, REJECT, "scratched")


def test_a_later_threshold_takes_over_from_an_earlier_one(folder):
    batch = Batch([], folder, 0.5)
    first = interrupted(lambda: batch.threshold == 0.7 and batch.rejudge(0.9))
    batch.results += [first, of("PASS", threshold=0.5)]
    batch.rejudge(0.7)
    assert [result.record.threshold for result in batch.results] == [0.9, 0.9]


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -0.1, 1.1])
def test_a_threshold_that_is_none_is_refused(folder, threshold):
    """With NaN, which differs from itself, a photo was judged anew for ever."""
    batch = Batch([], folder, 0.5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        batch.rejudge(threshold)
    with pytest.raises(ValueError, match="from 0 to 1"):
        Batch([], folder, threshold)
    batch.results.append(of("PASS"))
    batch.rejudge(0.7)
    assert batch.results[0].record.threshold == batch.threshold == 0.7


def test_totals_count_verdicts_and_the_yield_is_of_those_judged():
    totals = count_verdicts(["PASS", "FAIL", "ERROR", "CHECK", "PASS", "PASS"])
    assert totals == (3, 1, 1, 1)
    assert (totals.inspected, totals.judged, totals.good_share) == (5, 4, 0.75)
    assert math.isnan(count_verdicts(["ERROR", "CHECK"]).good_share)


def test_the_operator_has_the_last_word(folder):
    results = [of("PASS"), of("FAIL"), of("CHECK"), of("ERROR", error="Broken.")]
    batch = Batch([], folder, 0.5, results=results)
    assert batch.totals_decided is None
    batch.decide(1, REJECT, "")
    batch.decide(2, ACCEPT, "only dust")
    batch.decide(3, ACCEPT, "")
    assert [result.final_verdict for result in batch.results] == ["FAIL", "PASS", "PASS", "ERROR"]
    assert batch.totals == (1, 1, 1, 1)
    assert batch.totals_decided == (2, 1, 0, 1)
    assert batch.results[1].note == "only dust"


def test_the_pace_is_not_known_before_the_second_photo(batch, inspector, entry):
    for step in batch.run(inspector, entry):
        assert math.isnan(step.photos_per_minute) == (len(step.results) < 2)
        assert math.isnan(step.seconds_left) == (len(step.results) < 2)


def memory() -> int:
    """Resident memory of this process in bytes."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


class Watched(Catalogue):
    """A catalogue whose pipelines write down which photo they were given.

    The photos of the numbers in `held`, from 0, are under way until somebody else has come.
    """

    def __init__(self, entry: ModelEntry, held: Container[int]) -> None:
        super().__init__([entry])
        self.held = held
        self.seen: list[Path] = []
        self.started = threading.Condition()
        self.somebody_came = threading.Event()

    def load(self, entry):
        pipeline = super().load(entry)

        def inspect(photo, **options):
            with self.started:
                number = len(self.seen)
                self.seen.append(photo)
                self.started.notify_all()
            if number in self.held:
                assert self.somebody_came.wait(timeout=600)
                self.somebody_came.clear()
            return pipeline(photo, **options)

        inspect.model = pipeline.model
        return inspect

    def wait_for(self, number: int) -> None:
        """Wait until the photo of this number, from 0, is under way."""
        with self.started:
            assert self.started.wait_for(lambda: len(self.seen) > number, timeout=600)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
def test_a_batch_of_200_takes_no_more_memory_and_lets_another_visitor_in_between(
    photos, entry, folder, tmp_path
):
    came = range(20, MANY, 15)  # the first before the memory is measured: a thread has its own
    catalogue = Watched(entry, came)
    inspector = Inspector(catalogue)
    batch = batch_of([photos[number % len(photos)] for number in range(MANY)], folder)
    other = TemporaryFolder(tmp_path / "other")
    single = other.keep(photos[1])

    def inspect_single() -> float:
        before = time.monotonic()
        result, _ = inspector.inspect("single.png", single, entry, 0.5, other)
        assert not result.record.error
        return time.monotonic() - before

    alone = [inspect_single() for _ in range(4)][1:]  # the first loads the model
    waits: list[float] = []

    def come_again_and_again() -> None:
        """Each time a photo of the batch is being inspected."""
        for number in came:
            catalogue.wait_for(number)
            catalogue.somebody_came.set()
            waits.append(inspect_single())

    visitor = threading.Thread(target=come_again_and_again, daemon=True)
    visitor.start()
    sizes = [memory() for _ in batch.run(inspector, entry)]
    visitor.join()

    assert len(batch.results) == MANY
    assert not any(result.record.error for result in batch.results)
    assert sizes[-1] - sizes[49] < MAX_GROWTH
    assert len(waits) == len(came) == 12
    places = [place for place, photo in enumerate(catalogue.seen) if photo == single][4:]
    # It came while the photo at `came` was under way; at most one more went before it.
    for place, asked_at in zip(places, came, strict=True):
        assert asked_at < place <= asked_at + 2
    print(
        f"alone {sorted(alone)[1]:.3f} s, during the batch at most {max(waits):.3f} s; "
        f"memory {(sizes[-1] - sizes[49]) / 2**20:+.1f} MB from photo 50 to {MANY}; "
        f"{batch.photos_per_minute:.0f} photos a minute"
    )
