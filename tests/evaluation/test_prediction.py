from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from data.dataset import load_inspection_dataset
from data.rows import DatasetError
from evaluation.evaluate.prediction import predict
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor
from system.batches import batches_of, map_in_threads
from system.cores import single_threaded
from system.processes import ElsewhereError, everywhere, on_main, together

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> tuple[Autoencoder, InspectionImageProcessor]:
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=64, hidden_sizes=[8, 8], latent_channels=8)
    return Autoencoder(config).eval(), InspectionImageProcessor(size={"height": 64, "width": 64})


@pytest.fixture(scope="module")
def photos():
    data = "synthetic:key?train=3&test_good=5&test_per_defect=1&size=64"
    return load_inspection_dataset(data)["test"]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_maps_lie_in_a_file_that_nobody_sees(model, photos, tmp_path):
    predictions = predict(*model, photos, scratch_dir=tmp_path)
    maps = [prediction.anomaly_map for prediction in predictions]
    assert all(isinstance(one, np.memmap) and one.shape == (64, 64) for one in maps)
    assert not any(one.flags.owndata for one in maps)
    assert list(tmp_path.iterdir()) == []
    for prediction in predictions:
        assert prediction.anomaly_map.max() == np.float32(prediction.raw_score) > 0


def test_predictions_are_those_of_the_models_own_detect(model, photos):
    network, processor = model
    predictions = predict(*model, photos, batch_size=3)
    assert [prediction.image_id for prediction in predictions] == photos["image_id"][:]
    assert [prediction.label for prediction in predictions] == photos["label"][:]
    with single_threaded():
        for first in range(0, len(photos), 3):
            pixel_values = processor(photos[first : first + 3]["image"], return_tensors="pt")
            output = network.detect(pixel_values["pixel_values"])
            for expected, raw, found in zip(
                output.anomaly_map, output.raw_score, predictions[first : first + 3], strict=True
            ):
                assert np.array_equal(expected.numpy(), found.anomaly_map)
                assert found.raw_score == raw.item()


def test_the_number_of_threads_changes_no_bit(model, photos, threads):
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(predict(*model, photos, batch_size=3))
        assert torch.get_num_threads() == count
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert a.raw_score == b.raw_score
            assert np.array_equal(a.anomaly_map, b.anomaly_map)


def test_a_photo_that_breaks_in_a_thread_is_named_and_leaves_nothing_behind(
    model, photos, tmp_path, threads
):
    threads(2)
    broken = {"bytes": b"no picture", "path": None}
    damaged = photos.cast_column("image", photos.features["image"].__class__(decode=False)).map(
        lambda row, index: {"image": broken if index == 6 else row["image"]},
        with_indices=True,
        features=photos.features,
    )
    with pytest.raises(DatasetError, match=photos[6]["image_id"]):
        predict(*model, damaged, batch_size=1, scratch_dir=tmp_path)
    assert torch.get_num_threads() == 2
    assert list(tmp_path.iterdir()) == []


def test_work_in_threads_keeps_its_order_and_runs_ahead_a_little_only():
    started = []

    def work(item: int) -> int:
        started.append(item)
        time.sleep(0.02 * (item % 2 == 0))  # even ones end after the odd one that follows
        return item * item

    results = map_in_threads(work, range(20), CPU, 3)
    assert next(results) == 0
    assert len(started) <= 5
    assert list(results) == [item * item for item in range(1, 20)]


def test_work_in_threads_is_done_by_several_of_them_with_one_core_each(threads):
    threads(4)
    meeting = threading.Barrier(2, timeout=10)

    def work(_: int) -> tuple[int, bool]:
        meeting.wait()  # alone, nobody gets past it
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert list(map_in_threads(work, range(2), CPU, 2)) == [(1, True), (1, True)]


def test_batches_hold_everything_once():
    assert batches_of(7, 3) == [range(0, 3), range(3, 6), range(6, 7)]
    assert batches_of(0, 3) == []


def test_one_process_is_its_own_company():
    assert together(lambda: 7) == [7]
    assert everywhere(lambda: 8) == on_main(lambda: 8) == 8
    for way in (together, everywhere, on_main):
        with pytest.raises(ZeroDivisionError):
            way(lambda: 1 / 0)


def test_what_another_process_fails_at_is_raised_here(monkeypatch):
    def gather(mine: list) -> list:
        return [*mine, (None, "part/7 is damaged")]

    monkeypatch.setattr("system.processes.gather_object", gather)
    with pytest.raises(ElsewhereError, match="part/7 is damaged"):
        everywhere(lambda: 1)
    with pytest.raises(KeyError):  # what failed here says more
        everywhere(lambda: {}["missing"])
