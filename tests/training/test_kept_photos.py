"""What is prepared once is the same as what is prepared anew, is bounded, and leaves nothing."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from datasets.table import MemoryMappedTable
from killing import killed_at_each_change
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset
from data.rows import DatasetError
from modeling import InspectionImageProcessor, PhotoError, image_processing
from system.errors import DiskError
from system.memory import GIGABYTE
from training.photos.augmentation import ANY_ROTATION
from training.photos.decoded import PIXELS, PreparedPhotos, decoded_once, remove_decoded
from training.photos.restoration import RestorationPhotos, SharedCache

SIDE = 64
DATA = f"synthetic:flange_nut?train=6&test_good=1&test_per_defect=1&size={SIDE}"
PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
BYTES = 3 * SIDE**2  # of a prepared photo


@pytest.fixture(scope="module")
def photos():
    return load_inspection_dataset(DATA)["train"]


# Decoded photos, on the disk


def test_decoded_once_is_what_is_decoded_each_time(photos, tmp_path):
    kept = PreparedPhotos(decoded_once(photos, PROCESSOR, tmp_path, 1.0), PROCESSOR)
    anew = PreparedPhotos(photos, PROCESSOR)
    assert len(kept) == len(anew)
    for one, other in zip(kept, anew, strict=True):
        assert torch.equal(one, other)


def test_it_is_read_from_the_disk_and_not_decoded_again(photos, tmp_path, monkeypatch):
    decoded = decoded_once(photos, PROCESSOR, tmp_path, 1.0)
    blocks = [block for row in decoded.data.blocks for block in row]
    assert any(isinstance(block, MemoryMappedTable) for block in blocks)
    monkeypatch.setattr("training.photos.decoded.prepare", None)
    assert PreparedPhotos(decoded, PROCESSOR)[3].shape == (3, SIDE, SIDE)


def test_it_takes_no_more_disk_than_allowed_and_the_rest_is_decoded_each_time(photos, tmp_path):
    decoded = decoded_once(photos, PROCESSOR, tmp_path, 2.5 * BYTES / GIGABYTE)
    assert [pixels is not None for pixels in decoded[PIXELS]] == [True] * 2 + [False] * 4
    kept, anew = (PreparedPhotos(one, PROCESSOR) for one in (decoded, photos))
    for one, other in zip(kept, anew, strict=True):
        assert torch.equal(one, other)


def test_a_part_of_them_keeps_what_was_decoded(photos, tmp_path):
    some = decoded_once(photos, PROCESSOR, tmp_path, 1.0).select([4, 1])
    assert torch.equal(PreparedPhotos(some, PROCESSOR)[0], PreparedPhotos(photos, PROCESSOR)[4])


def test_nothing_lies_there_even_while_it_is_used(photos, tmp_path):
    decoded = decoded_once(photos, PROCESSOR, tmp_path, 1.0)
    assert list(tmp_path.iterdir()) == []
    assert decoded[5][PIXELS]


def test_a_damaged_photo_is_named(photos, tmp_path):
    def damage(row, index):
        return {"image": {"bytes": b"no picture", "path": None}} if index == 3 else row

    damaged = photos.map(damage, with_indices=True, features=photos.features)
    with pytest.raises(DatasetError, match="train/good/00003 is damaged"):
        decoded_once(damaged, PROCESSOR, tmp_path, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_is_too_large_is_named(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(image_processing, "MAX_PHOTO_PIXELS", SIDE**2 - 1)
    with pytest.raises(PhotoError, match="train/good/00000: The photo is too large") as caught:
        decoded_once(photos, PROCESSOR, tmp_path, 1.0)
    assert caught.value.reason == "too_large"
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_half_written_is_removed(photos, tmp_path):
    def make():
        (tmp_path / "model").mkdir(exist_ok=True)
        return tmp_path / "model"

    for folder in killed_at_each_change(make, lambda at: decoded_once(photos, PROCESSOR, at, 1.0)):
        left = list(folder.iterdir())
        remove_decoded(folder)
        assert list(folder.iterdir()) == []
    assert left == []  # nothing killed the last one


def test_a_folder_that_takes_no_file_is_one_sentence(photos, tmp_path):
    with pytest.raises(DiskError, match=r"The decoded photos .* could not be written .*_disk_gb"):
        decoded_once(photos, PROCESSOR, tmp_path / "nowhere", 1.0)


# What is made of them, in memory


def item(number: int) -> dict:
    values = torch.arange(7) + number
    return {"bytes": values.byte(), "lists": [values.half(), values.float().view(1, 7)]}


def test_what_was_put_is_found_and_nothing_else():
    cache = SharedCache(4, item(0), 10_000)
    assert cache.get(2) is None
    cache.put(2, item(2))
    found = cache.get(2)
    assert torch.equal(found["bytes"], item(2)["bytes"])
    assert all(map(torch.equal, found["lists"], item(2)["lists"]))
    assert [number for number in range(6) if cache.get(number)] == [2]


def test_it_takes_no_more_memory_than_allowed():
    size = SharedCache(1, item(0), 10_000).item_bytes
    cache = SharedCache(4, item(0), 2.5 * size)
    for number in range(4):
        cache.put(number, item(number))
    assert [number for number in range(4) if cache.get(number)] == [0, 1]


def test_a_layout_is_kept_since_sums_over_it_come_out_otherwise():
    tensor = torch.randn(1, 8, 5, 5).to(memory_format=torch.channels_last)[0]
    cache = SharedCache(1, {"x": tensor}, 10_000)
    cache.put(0, {"x": tensor})
    assert cache.get(0)["x"].stride() == tensor.stride()
    assert torch.equal(cache.get(0)["x"], tensor)


def test_what_a_forked_process_puts_the_others_find_even_if_it_is_killed():
    cache = SharedCache(4, item(0), 10_000)
    child = os.fork()
    if child == 0:
        cache.put(1, item(1))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert torch.equal(cache.get(1)["bytes"], item(1)["bytes"])


def test_workers_make_each_photo_once_and_see_the_epoch(photos, tmp_path):
    settings = {"damage_probability": 1.0, "variants": 2, "seed": 0}
    prepared = PreparedPhotos(decoded_once(photos, PROCESSOR, tmp_path, 1.0), PROCESSOR)
    allowed = [ANY_ROTATION] * len(photos)
    shared = RestorationPhotos(prepared, allowed, **settings, cache_bytes=10**8)
    alone = RestorationPhotos(prepared, allowed, **settings)
    loader = DataLoader(
        shared, 2, num_workers=2, persistent_workers=True, multiprocessing_context="fork"
    )
    for epoch in (0, 1):
        shared.set_epoch(epoch)
        alone.set_epoch(epoch)
        pixels = torch.cat([batch["pixel_values"] for batch in loader])
        assert torch.equal(pixels, torch.stack([one["pixel_values"] for one in alone]))
    kept = [shared.cache.get(number) for number in range(2 * len(photos))]
    assert all(one is not None for one in kept)  # in this process, which made only the first
