"""The part is told from what it lies on, by good photos alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from data.synthetic import render
from modeling import Autoencoder, AutoencoderConfig
from modeling.ground import (
    MARGIN,
    SIDE,
    Ground,
    depth_of,
    large_things,
    look_of,
    without_holes,
)
from modeling.ground_fitting import fit_ground
from training.photos.dirt import KINDS, dirty

PIXELS = 224
CELL = PIXELS // SIDE
ONLY = torch.zeros(1, dtype=torch.long)
MOVES = {"flange_nut": False, "key": True, "fabric": False}


def photo_of(part: str, seed: int) -> Tensor:
    """(3, PIXELS, PIXELS) in 0..1, a good part."""
    image = render(part, seed=seed, size=PIXELS).image
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)


def mask(rows: list[str]) -> Tensor:
    return torch.tensor([[float(place == "#") for place in row] for row in rows])[None]


@pytest.fixture(scope="module", params=["flange_nut", "key"])
def learned(request) -> tuple[Ground, Tensor]:
    """What was learned of a part, and good photos of it that took no part in that."""
    part = request.param
    ground = Ground(categories=1)
    good = torch.stack([photo_of(part, seed) for seed in range(10)])
    fit_ground(ground, 0, look_of(good), MOVES[part])
    return ground, torch.stack([photo_of(part, 700_000 + seed) for seed in range(4)])


def judged(ground: Ground, photos: Tensor) -> Tensor:
    return ground(photos, ONLY.expand(len(photos)))


def ground_in_pixels(places: Tensor) -> np.ndarray:
    return (places == 0).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1).numpy()


def test_before_anything_is_learned_all_is_part():
    assert judged(Ground(1), torch.rand(2, 3, PIXELS, PIXELS)).eq(1).all()


def test_a_part_is_judged_with_its_outline_and_the_ground_around_it_is_not(learned):
    ground, photos = learned
    found = judged(ground, photos)
    assert 0.1 < found.mean() < 0.75
    corners = found[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()
    # What differs most from the corners' colour is the part.
    colour = look_of(photos)[:, :3]
    far = (colour - colour[..., :2, :2].mean(dim=(2, 3), keepdim=True)).abs().amax(dim=1) > 0.2
    assert far.any() and found[far].all()


@pytest.mark.parametrize("kind", KINDS)
def test_dirt_on_the_ground_is_not_judged(learned, kind, monkeypatch):
    ground, photos = learned
    monkeypatch.setattr("training.photos.dirt.KINDS", (kind,))
    for number, (photo, clean) in enumerate(zip(photos, judged(ground, photos), strict=True)):
        picture = photo.permute(1, 2, 0).numpy()
        soiled = dirty(picture, ground_in_pixels(clean), np.random.default_rng(number))
        assert np.abs(soiled - picture).max() > 0.03
        found = judged(ground, torch.from_numpy(soiled).permute(2, 0, 1)[None])[0]
        assert (found != clean).float().mean() < 0.01


def test_something_large_beside_the_part_is_judged(learned):
    ground, photos = learned
    for photo, clean in zip(photos, judged(ground, photos), strict=True):
        assert not clean[:8, :8].any()
        other = photo.clone()
        other[:, : 7 * CELL, : 7 * CELL] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
        assert judged(ground, other[None])[0, :7, :7].all()


def test_a_turning_part_that_is_gone_leaves_nothing_unjudged():
    ground = Ground(1)
    good = torch.stack([photo_of("key", seed) for seed in range(10)])
    fit_ground(ground, 0, look_of(good), moves=True)
    empty = good[:1, :, :4, :4].mean(dim=(2, 3), keepdim=True).expand(1, 3, PIXELS, PIXELS)
    assert judged(ground, empty).eq(1).all()


def test_of_a_surface_that_fills_the_picture_all_is_part():
    ground = Ground(1)
    good = torch.stack([photo_of("fabric", seed) for seed in range(6)])
    for moves in (False, True):
        fit_ground(ground, 0, look_of(good), moves)
        assert judged(ground, good).eq(1).all()


def test_in_another_light_no_part_is_lost(learned):
    ground, photos = learned
    lost = judged(ground, photos) > judged(ground, 0.2 + 0.8 * photos)
    assert lost.float().mean() < 0.01


def test_holes_belong_to_the_part_and_bays_do_not():
    ring = mask(["......", ".####.", ".#..#.", ".####.", "......"])
    bay = mask(["......", ".####.", ".#....", ".####.", "......"])
    assert without_holes(ring)[0, 2, 2:4].eq(1).all()
    assert torch.equal(without_holes(bay), bay)


def test_what_hangs_together_with_a_deep_place_is_large_and_a_speck_is_not():
    things = mask(["###.....#", "####.....", "###.##...", ".........", "........."])
    found = large_things(things, things, torch.tensor(2.0))
    assert found[0, 0, :3].eq(1).all() and found[0, 1, 3] == 1
    assert found[0, 2, 4:6].eq(1).all()  # a gap of one place parts nothing
    assert found[0, 0, 8] == 0
    assert depth_of(mask(["....", ".##.", ".##.", "...."]), 3).max() == 1


def test_what_reaches_from_the_ground_onto_the_part_does_not_count():
    place = torch.arange(40)
    smeared = 30 * 0.55 ** (place - 10).abs().float()
    residual = (1 + smeared).expand(1, 40, 40)
    places = (place >= 13).float().expand(1, 40, 40)

    def counts(residual: Tensor, judged: Tensor, usual: float = 0.0) -> Tensor:
        ground = Ground(1)
        ground.usual.fill_(usual)
        return ground.on_part(residual, judged, ONLY, stride=8)[0]

    assert counts(residual, places).max() < 1.05
    defect = residual.clone()
    defect[0, 20, 20] += 9
    assert counts(defect, places)[20, 20] > 9
    # Nothing is taken away where the ground looks as it does on good photos, or is part.
    assert torch.equal(counts(residual, places, usual=40.0), residual[0] * places[0])
    assert torch.equal(counts(residual, torch.ones_like(residual)), residual[0])


def test_the_margin_is_as_wide_as_it_is_said():
    ground = Ground(1)
    good = torch.full((4, 3, PIXELS, PIXELS), 0.2)
    good += 0.01 * torch.rand(good.shape, generator=torch.Generator().manual_seed(0))
    good[..., 20 * CELL : 30 * CELL, 20 * CELL : 30 * CELL] += 0.6
    fit_ground(ground, 0, look_of(good), moves=False)
    rows = judged(ground, good)[0].amax(dim=1).nonzero()
    assert (rows.min(), rows.max()) == (20 - MARGIN, 29 + MARGIN)


def test_a_folder_that_says_nothing_of_it_judges_all_and_keeps_its_weights(tmp_path):
    config = AutoencoderConfig(image_size=64, target="pixels", categories=["bolt"])
    old = Autoencoder(config).eval()
    old.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    saved.pop("judged", None)
    (tmp_path / "config.json").write_text(json.dumps(saved))
    loaded, photos = Autoencoder.from_pretrained(tmp_path), torch.rand(2, 3, 64, 64)
    assert loaded.ground is None and loaded.state_dict().keys() == old.state_dict().keys()
    found = loaded.detect(photos)
    assert torch.equal(found.raw_score, old.detect(photos).raw_score)
    assert found.judged.eq(1).all() and not found.ground_map.any()
