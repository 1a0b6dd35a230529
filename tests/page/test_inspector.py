from __future__ import annotations

import io
import threading
import time

import pytest
from conftest import ROOT
from PIL import Image

from data.synthetic import render
from modeling.image_processing import PhotoError, to_upright_rgb
from page.inspection.inspector import Inspector
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import NAMES, Translation
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.views.verdict_card import verdict_card


class Turns:
    """The turns that an inspector's visitors take."""

    def __init__(self) -> None:
        self.threads = Inspector(Catalogue([]))._turns

    def take(self, work, *given):
        return self.threads.submit(work, *given).result()


def waiting_for(turns: Turns) -> int:
    return turns.threads._work_queue.qsize()


def test_turns_are_taken_in_the_order_of_asking_and_by_one_thread():
    turns, order, by = Turns(), [], set()
    begun, go_on = threading.Event(), threading.Event()

    def work(name: int) -> None:
        begun.set()
        go_on.wait()
        order.append(name)
        by.add(threading.get_ident())

    threads = [threading.Thread(target=turns.take, args=(work, name)) for name in range(8)]
    threads[0].start()
    assert begun.wait(60)
    for name, thread in enumerate(threads[1:], start=1):
        thread.start()
        while waiting_for(turns) < name:  # it has asked
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    assert len(by) == 1


def test_who_takes_turn_after_turn_lets_others_in_between():
    turns, order = Turns(), []
    single = threading.Thread(target=turns.take, args=(order.append, "single"))

    def work(number: int) -> None:
        if number == 3:
            single.start()
            while not waiting_for(turns):
                time.sleep(0.001)
        order.append("batch")

    for number in range(20):
        turns.take(work, number)
    single.join()
    assert order.index("single") == 4


def test_an_error_is_told_to_who_asked_and_takes_nobody_elses_turn():
    turns = Turns()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            turns.take(broken)
    assert turns.take(int, "7") == 7


def broken() -> None:
    raise RuntimeError


def test_results_keep_the_visitors_file_name_and_the_photo(tmp_path):
    catalogue = Catalogue(shipped_models())
    inspector, folder = Inspector(catalogue), TemporaryFolder(tmp_path / "visitors")
    entry = next(entry for entry in catalogue.entries if entry.category == "flange_nut")
    photo = tmp_path / "upload.png"
    render("flange_nut", seed=930_000, defect="stain", size=256).image.save(photo)
    kept = folder.keep(photo)
    photo.unlink()  # Gradio deletes uploads after an hour
    result, inspection = inspector.inspect("nut 7.png", kept, entry, 0.5, folder)
    assert result.file == "nut 7.png"
    assert result.record.verdict == inspection.verdict
    assert result.record.photo_size == (256, 256)
    for threshold in (0.0, 0.3, 0.5, 0.9, 1.0):
        judged, expected = result.at_threshold(threshold), inspection.at_threshold(threshold)
        assert judged.record.verdict == expected.verdict
        assert list(judged.record.regions) == expected.regions
        assert judged.record.finding == expected.finding
    folder.close()
    assert not folder.path.exists()


def test_a_file_that_is_no_photo_is_a_result_with_a_sentence(tmp_path):
    catalogue = Catalogue(shipped_models())
    inspector, folder = Inspector(catalogue), TemporaryFolder(tmp_path / "visitors")
    broken = tmp_path / "x.png"
    broken.write_text("no picture")
    kept = folder.keep(broken)
    result, inspection = inspector.inspect("my part.png", kept, catalogue.entries[0], 0.5, folder)
    assert inspection is None
    assert result.record.verdict == "ERROR"
    assert result.record.error.startswith("my part.png is not a picture")
    assert str(tmp_path) not in result.record.error


def endless_comment() -> bytes:
    """A JPEG that holds far more beside its pixels than a photo."""
    content = (ROOT / "assets/examples/flange_nut/dent.jpg").read_bytes()
    comment = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
    return content[:2] + comment * 200 + content[2:]


def enormous() -> bytes:
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


UNREADABLE = {
    "no_picture": lambda: b"no picture",
    "damaged": lambda: (ROOT / "assets/examples/flange_nut/dent.jpg").read_bytes()[:2000],
    "too_large": enormous,
    "overfull": endless_comment,
}


@pytest.mark.parametrize("reason", UNREADABLE)
def test_the_page_says_in_each_language_why_a_photo_can_not_be_read(reason, tmp_path):
    entry = shipped_models()[0]
    inspector, folder = Inspector(Catalogue([entry])), TemporaryFolder(tmp_path / "visitors")
    (tmp_path / "x.png").write_bytes(UNREADABLE[reason]())
    kept = folder.keep(tmp_path / "x.png")
    result, _ = inspector.inspect("my part.png", kept, entry, 0.5, folder)
    assert result.why_not(Translation("en")) == result.record.error
    said = {result.why_not(Translation(language)) for language in NAMES}
    assert len(said) == len(NAMES)
    assert all("my part.png" in sentence for sentence in said)
    assert result.why_not(Translation("de")) in verdict_card(result, Translation("de"))


def test_a_picture_without_pixels_has_words_too():
    with pytest.raises(PhotoError) as raised:
        to_upright_rgb(Image.new("RGB", (0, 3)), "my part.png")
    words = Translation("en")(f"trouble.{raised.value.reason}", file="my part.png")
    assert words == str(raised.value)
