"""Tiles cover a picture, and their maps join without a seam."""

from __future__ import annotations

import pytest
import torch

from modeling import Autoencoder, AutoencoderConfig, ReconstructionConfig, ReconstructionModel
from modeling.dissimilarity import gaussian_blur
from modeling.restoration import Restoration
from modeling.tiling import LEAST_OVERLAP, Tiling

WHOLE, SIDE = 160, 64  # three tiles a side, 48 apart


def photos(count: int, side: int = WHOLE, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(
    "whole, side, unit", [(160, 64, 8), (1120, 448, 8), (96, 64, 4), (64, 64, 8)]
)
def test_tiles_cover_the_picture_and_overlap(whole, side, unit):
    tiling = Tiling.covering(whole, side, unit)
    assert tiling.whole == whole
    assert tiling.stride % unit == 0
    if tiling.count > 1:
        assert side - tiling.stride >= LEAST_OVERLAP * side
        assert (tiling.count - 2) * (1 - LEAST_OVERLAP) * side < whole - side  # no tile too many


def test_a_size_that_tiles_do_not_fit_is_refused_with_one_that_does():
    with pytest.raises(ValueError, match="take image_size 1120") as refused:
        Tiling.covering(1124, 448, 8)
    assert Tiling.covering(1120, 448, 8).whole == 1120
    assert "found 1124 with tiles of 448" in str(refused.value)
    with pytest.raises(ValueError, match="tile_size"):
        ReconstructionConfig(image_size=448, tile_size=450)


def test_cut_tiles_are_the_picture_in_order():
    tiling = Tiling.covering(WHOLE, SIDE, 8)
    pictures = photos(2)
    tiles = tiling.cut(pictures)
    assert tiles.shape == (18, 3, SIDE, SIDE)
    row, column, photo = 1, 2, 1
    top, left = row * tiling.stride, column * tiling.stride
    expected = pictures[photo, :, top : top + SIDE, left : left + SIDE]
    assert torch.equal(tiles[photo * 9 + row * 3 + column], expected)


def test_joining_what_was_cut_gives_the_picture_back():
    tiling = Tiling.covering(WHOLE, SIDE, 8)
    pictures = photos(2)
    torch.testing.assert_close(tiling.join(tiling.cut(pictures)), pictures, atol=1e-6, rtol=0)


def test_a_step_between_two_tiles_becomes_a_slope():
    tiling = Tiling.covering(SIDE * 7 // 4, SIDE, 8)  # two a side
    tiles = torch.zeros(4, 1, SIDE, SIDE)
    tiles[1::2] = 1.0  # the right ones say otherwise than the left ones
    row = tiling.join(tiles)[0, 0, 0]
    overlap = SIDE - tiling.stride
    assert row.diff().max() <= 1.5 / overlap
    assert row.diff().min() >= -1e-6
    assert row[0] == 0 and row[-1] == 1


class Local(Autoencoder):
    """Judges every place by its near surroundings alone: the difference from a blurred picture."""

    def restore(self, values):
        return Restoration(gaussian_blur(values, 1.0))


def build(model_class: type[ReconstructionModel] = Autoencoder, **fields) -> ReconstructionModel:
    torch.manual_seed(0)
    fields = {"target": "pixels", "hidden_sizes": [8, 16], "latent_channels": 8, **fields}
    return model_class(AutoencoderConfig(categories=["plate"], **fields)).eval()


def inside_one_tile(tiling: Tiling, margin: int) -> torch.Tensor:
    """(whole,) bool: at least `margin` from every place that two tiles share."""
    alone = torch.ones(tiling.whole, dtype=torch.bool)
    for number in range(1, tiling.count):
        start = number * tiling.stride
        alone[start - margin : start + tiling.side - tiling.stride + margin] = False
    return alone


def test_a_tiled_map_equals_the_untiled_one_inside_the_tiles():
    fields = {"residual_normalisation": "none", "residual_weights": {"l1": 1.0}, "map_sigma": 2}
    whole = build(Local, image_size=WHOLE, **fields)
    tiled = build(Local, image_size=WHOLE, tile_size=SIDE, **fields)
    pictures = photos(2)
    found, expected = (model.detect(pictures) for model in (tiled, whole))
    alone = inside_one_tile(tiled.config.tiling, margin=12)  # the reach of both blurs
    square = alone[:, None] & alone
    assert square.sum() > 0.15 * square.numel()
    difference = (found.anomaly_map - expected.anomaly_map).abs()
    assert difference[:, square].max() < 1e-6
    assert expected.anomaly_map.max() > 0.01
    # Where tiles meet, one that ends there sees less than the whole: little, and no step.
    assert difference.max() < 0.1 * expected.anomaly_map.max()


@pytest.mark.parametrize("target", ["pixels", "features"])
def test_a_tiled_model_keeps_the_contract(target, tmp_path):
    model = build(
        image_size=WHOLE, tile_size=SIDE, target=target, residual_normalisation="location"
    )
    model.calibrate([photos(3), photos(3, seed=1)], false_alarm_rate=0.25)
    pictures = photos(3, seed=2)
    output = model.detect(pictures)
    assert output.anomaly_map.shape == (3, WHOLE, WHOLE)
    assert output.reconstruction.shape == (3, 3, WHOLE, WHOLE)
    assert output.doubt.shape == output.raw_score.shape == (3,)
    torch.testing.assert_close(output.raw_score, output.anomaly_map.amax(dim=(1, 2)))
    one_by_one = torch.cat([model.detect(picture[None]).raw_score for picture in pictures])
    torch.testing.assert_close(one_by_one, output.raw_score, rtol=1e-4, atol=1e-4)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    assert again.config.tile_size == SIDE
    torch.testing.assert_close(again.detect(pictures).raw_score, output.raw_score)


def test_training_takes_tiles_or_whole_pictures():
    model = build(image_size=WHOLE, tile_size=SIDE).train()
    pictures = photos(1)
    whole = model(pictures, loss_only=True).loss
    tiles = model(model.config.tiling.cut(pictures), loss_only=True).loss
    torch.testing.assert_close(whole, tiles)
    with pytest.raises(ValueError, match=r"must have the shape \(B, 3, 160, 160\)"):
        model(model.config.tiling.cut(pictures))


def test_a_small_defect_is_found_where_it_is():
    model = build(image_size=WHOLE, tile_size=SIDE, residual_normalisation="location")
    model.calibrate([photos(6)], false_alarm_rate=0.2)
    plain = photos(1, seed=5)
    damaged = plain.clone()
    damaged[..., 108:114, 60:66] = 0.0
    clean, found = model.detect(plain), model.detect(damaged)
    change = (found.anomaly_map - clean.anomaly_map)[0]
    place = divmod(change.argmax().item(), WHOLE)
    assert abs(place[0] - 111) < 12 and abs(place[1] - 63) < 12
