from __future__ import annotations

import threading

from page.bench import Bench, Turns
from page.catalogue import Catalogue, shipped_models
from page.results import Workplace
from training.synthetic import render


def test_turns_are_taken_in_the_order_of_asking():
    turns, order, held = Turns(), [], threading.Event()

    def take(name: int) -> None:
        with turns.taken():
            order.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in range(8)]
    with turns.taken():
        for name, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) < name + 2:  # it has asked
                held.wait(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_who_takes_turn_after_turn_lets_others_in_between():
    turns, order, asked = Turns(), [], threading.Event()

    def take_once() -> None:
        asked.set()
        with turns.taken():
            order.append("single")

    single = threading.Thread(target=take_once)
    for number in range(20):
        with turns.taken():
            order.append("batch")
            if number == 3:
                single.start()
                asked.wait()
                while len(turns._waiting) < 2:
                    threading.Event().wait(0.001)
    single.join()
    assert order.index("single") == 4


def test_a_turn_is_given_back_after_an_error():
    turns = Turns()
    for _ in range(2):
        try:
            with turns.taken():
                raise RuntimeError
        except RuntimeError:
            pass
    with turns.taken():
        pass


def test_results_keep_the_visitors_file_name_and_the_photo(tmp_path):
    catalogue = Catalogue(shipped_models())
    bench, workplace = Bench(catalogue), Workplace(tmp_path / "visitors")
    entry = next(entry for entry in catalogue.entries if entry.category == "flange_nut")
    photo = tmp_path / "upload.png"
    render("flange_nut", seed=930_000, defect="stain", size=256).image.save(photo)
    kept = workplace.keep(photo)
    photo.unlink()  # Gradio deletes uploads after an hour
    result, inspection = bench.inspect("nut 7.png", kept, entry, 0.5, workplace)
    assert result.file == "nut 7.png"
    assert result.verdict == inspection.verdict
    assert result.photo_size == (256, 256)
    for threshold in (0.0, 0.3, 0.5, 0.9, 1.0):
        judged, expected = result.at_threshold(threshold), inspection.at_threshold(threshold)
        assert judged.verdict == expected.verdict
        assert list(judged.regions) == expected.regions
        assert judged.finding == expected.finding
    workplace.close()
    assert not workplace.folder.exists()


def test_a_file_that_is_no_photo_is_a_result_with_a_sentence(tmp_path):
    catalogue = Catalogue(shipped_models())
    bench, workplace = Bench(catalogue), Workplace(tmp_path / "visitors")
    broken = tmp_path / "x.png"
    broken.write_text("no picture")
    kept = workplace.keep(broken)
    result, inspection = bench.inspect("my part.png", kept, catalogue.entries[0], 0.5, workplace)
    assert inspection is None
    assert result.verdict == ""
    assert result.error.startswith("my part.png is not a picture")
    assert str(tmp_path) not in result.error
