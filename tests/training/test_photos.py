from __future__ import annotations

import itertools

import pytest
import torch

from data.dataset import load_inspection_dataset
from modeling import InspectionImageProcessor
from training.photos.augmentation import ANY_ROTATION, UNCHANGED
from training.photos.decoded import PreparedPhotos
from training.photos.restoration import RestorationPhotos, model_input
from training.photos.structural_damage import KINDS, OF_PIECES


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
    photos = restoration(prepared, variants=0, cache_bytes=10**8)
    seen = []
    for epoch in range(3):
        photos.set_epoch(epoch)
        seen.append(photos[0]["pixel_values"])
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(seen))
    assert photos.cache is None


def test_without_damage_both_pictures_are_the_photo(prepared):
    photos = RestorationPhotos(
        prepared, [UNCHANGED] * len(prepared), damage_probability=0.0, variants=1, seed=0
    )
    item = model_input(photos[2])
    assert torch.equal(item["pixel_values"], item["clean_pixel_values"])
    assert torch.equal(item["clean_pixel_values"], prepared[2])


def damaged_items(prepared, augmentation, **settings) -> list[dict[str, torch.Tensor]]:
    """Items of the first photos that are damaged, one an epoch."""
    photos = RestorationPhotos(
        prepared, [augmentation] * len(prepared), variants=0, seed=0, **settings
    )
    found = []
    for epoch in range(12):
        photos.set_epoch(epoch)
        found += [photos[index] for index in range(len(prepared))]
    return [item for item in found if not torch.equal(*item.values())]


def test_both_kinds_of_damage_come_as_often_as_asked_for(prepared):
    drawn = 12 * len(prepared)
    local = damaged_items(prepared, UNCHANGED, damage_probability=0.5)
    both = damaged_items(prepared, UNCHANGED, damage_probability=0.5, structural_probability=0.3)
    assert 0.3 < len(local) / drawn < 0.7
    assert 0.6 < len(both) / drawn < 0.97


@pytest.mark.parametrize(
    "augmentation,kinds", [(UNCHANGED, KINDS), (ANY_ROTATION, OF_PIECES)], ids=["aligned", "turns"]
)
def test_what_is_no_damage_to_a_part_is_not_drawn(prepared, monkeypatch, augmentation, kinds):
    drawn = []

    def damage_structure(picture, generator, kinds):
        drawn.append(kinds)
        return 1 - picture

    monkeypatch.setattr("training.photos.restoration.damage_structure", damage_structure)
    settings = {"damage_probability": 0.0, "structural_probability": 1.0}
    assert len(damaged_items(prepared, augmentation, **settings)) == 12 * len(prepared)
    assert {*drawn} == {kinds}


def test_encoded_once_is_encoded_right(prepared):
    calls = []

    def extract(pixels):
        calls.append(pixels)
        return [pixels[:, :, ::2, ::2]]

    photos = restoration(prepared, extract=extract, cache_bytes=10**8, variants=1)
    for _ in range(3):
        item = model_input(photos[0])
    assert len(calls) == 2  # the damaged and the clean picture
    expected = item["pixel_values"][:, ::2, ::2]
    assert torch.allclose(item["extracted"][0].float(), expected, atol=1e-3)


@pytest.mark.parametrize("cache_bytes", [10**8, 30_000, 100])
def test_what_is_kept_changes_nothing_but_time(prepared, cache_bytes):
    kept, anew = restoration(prepared, cache_bytes=cache_bytes), restoration(prepared)
    for epoch in (0, 1, 2):
        for photos in (kept, anew):
            photos.set_epoch(epoch)
        for index in range(len(prepared)):
            first, second = kept[index], anew[index]
            assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_batch_as_the_model_takes_it_holds_pictures_in_0_to_1(prepared):
    batch = model_input({"pixel_values": torch.tensor([0, 51, 255]).byte(), "extracted": [1]})
    assert batch["pixel_values"].tolist() == [0, pytest.approx(0.2), 1]
    assert batch["extracted"] == [1]
