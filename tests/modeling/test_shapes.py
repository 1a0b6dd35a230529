from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modeling.shapes import core_of, is_at_outline, shape_of, silhouette


def drawn(kind: str, box: tuple[int, int, int, int], width: int = 4) -> np.ndarray:
    """(100, 100) bool with a line or an ellipse."""
    picture = Image.new("1", (100, 100))
    draw = ImageDraw.Draw(picture)
    draw.line(box, fill=1, width=width) if kind == "line" else draw.ellipse(box, fill=1)
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (drawn("line", (10, 10, 80, 80)), "line"),
        (drawn("line", (10, 50, 90, 50), 1), "line"),
        (drawn("ellipse", (40, 40, 48, 48)), "spot"),
        (drawn("ellipse", (30, 30, 70, 75)), "area"),
        (np.pad(np.ones((1, 1), bool), 5), "spot"),
    ],
)
def test_a_shape_is_told_by_its_geometry(mask, shape):
    if mask.size < 200:  # one pixel of a small map is still a spot of the picture
        mask = np.pad(mask, 40)
    assert shape_of(mask) == shape


def test_a_stretched_photo_is_measured_as_it_was_taken():
    mask = drawn("ellipse", (40, 20, 50, 50))  # three times as high as wide on the map
    assert shape_of(mask) == "area"
    assert shape_of(mask, cell=(2.0, 1.0)) == "line"


def test_the_core_is_where_the_deviation_is_strongest_and_never_empty():
    rows = np.linspace(-20, 20, 101)
    raw = 12 - np.abs(rows)[None, :] - np.abs(rows)[:, None]
    score_map = (1 / (1 + np.exp(-raw))).astype(np.float32)
    for threshold in (0.1, 0.5, 0.9):
        region = score_map > threshold
        core = core_of(score_map, region, threshold)
        assert core.any()
        assert not (core & ~region).any()
        assert core.sum() < 0.5 * region.sum()
    saturated = np.ones((5, 5), np.float32)
    assert core_of(saturated, saturated > 0.5, 0.5).all()


def part_on_background(part=(200, 190, 180), background=(40, 42, 44)) -> Image.Image:
    picture = Image.new("RGB", (120, 80), background)
    ImageDraw.Draw(picture).ellipse((30, 10, 90, 70), fill=part)
    noise = np.random.default_rng(1).normal(0, 2, (80, 120, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def test_a_part_on_a_background_has_an_outline():
    part = silhouette(part_on_background(), (80, 120))
    assert part[40, 60]
    assert not part[5, 5]
    assert part.mean() == pytest.approx(np.pi * 30 * 30 / (120 * 80), abs=0.02)
    at_edge = np.zeros((80, 120), bool)
    at_edge[35:45, 84:96] = True
    inside = np.zeros((80, 120), bool)
    inside[35:45, 50:62] = True
    assert is_at_outline(at_edge, part)
    assert not is_at_outline(inside, part)
    assert not is_at_outline(at_edge, None)


def test_what_fills_the_picture_has_none():
    texture = np.random.default_rng(0).integers(60, 200, (80, 120, 3), np.uint8)
    assert silhouette(Image.fromarray(texture), (80, 120)) is None
    assert silhouette(Image.new("RGB", (120, 80), (90, 90, 90)), (80, 120)) is None


def test_what_is_strongest_in_a_wide_region_is_no_spot():
    core = drawn("ellipse", (45, 45, 50, 50))
    assert shape_of(core) == "spot"
    assert shape_of(core, region_share=0.2) == "area"
