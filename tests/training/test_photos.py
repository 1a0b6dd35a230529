from __future__ import annotations

import itertools

import pytest
import torch

from modeling import InspectionImageProcessor
from training import photos as room
from training.augmentation import ANY_ROTATION, UNCHANGED
from training.dataset import load_inspection_dataset
from training.photos import PreparedPhotos, RestorationPhotos


@pytest.fixture(scope="module")
def prepared() -> PreparedPhotos:
    data = "synthetic:flange_nut?train=5&test_good=1&test_per_defect=1&size=64"
    processor = InspectionImageProcessor(size={"height": 64, "width": 64})
    return PreparedPhotos(load_inspection_dataset(data)["train"], processor)


def restoration(prepared, **settings) -> RestorationPhotos:
    settings = {"damage_probability": 1.0, "variants": 2, "seed": 0, **settings}
    return RestorationPhotos(prepared, [ANY_ROTATION] * len(prepared), **settings)


def test_an_item_depends_on_seed_photo_and_epoch_alone(prepared):
    first, second = restoration(prepared), restoration(prepared)
    second[3], second[1]  # asked for in another order
    for name, values in first[1].items():
        assert torch.equal(values, second[1][name])
    first.set_epoch(1)
    assert not torch.equal(first[1]["pixel_values"], second[1]["pixel_values"])
    first.set_epoch(2)  # variants are used in turn
    assert torch.equal(first[1]["pixel_values"], second[1]["pixel_values"])


def test_without_variants_every_epoch_draws_anew(prepared):
    photos = restoration(prepared, variants=0)
    seen = []
    for epoch in range(3):
        photos.set_epoch(epoch)
        seen.append(photos[0]["pixel_values"])
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(seen))
    assert not photos.cache.entries


def test_without_damage_both_pictures_are_the_photo(prepared):
    photos = RestorationPhotos(
        prepared, [UNCHANGED] * len(prepared), damage_probability=0.0, variants=1, seed=0
    )
    item = photos[2]
    assert torch.equal(item["pixel_values"], item["clean_pixel_values"])
    assert torch.equal(item["clean_pixel_values"], prepared[2])


def test_encoded_once_is_encoded_right(prepared):
    calls = []

    def extract(pixels):
        calls.append(pixels)
        return [pixels[:, :, ::2, ::2]]

    photos = restoration(prepared, extract=extract)
    for _ in range(3):
        item = photos[0]
    assert len(calls) == 2  # the damaged and the clean picture
    expected = item["pixel_values"][:, ::2, ::2]
    assert torch.allclose(item["extracted"][0].float(), expected, atol=1e-3)


def test_a_full_cache_changes_nothing_but_time(prepared, monkeypatch):
    kept = restoration(prepared)[0]
    monkeypatch.setattr(room, "CACHE_BYTES", 0)
    anew = restoration(prepared)
    assert torch.equal(anew[0]["pixel_values"], kept["pixel_values"])
    assert not anew.cache.entries
