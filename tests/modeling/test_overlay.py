from __future__ import annotations

import numpy as np
from PIL import Image

from modeling.overlay import heat_layer, paint_heatmap


def test_a_good_part_is_left_as_it_is():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8))
    painted = paint_heatmap(photo, np.full((8, 9), 0.2, np.float32))
    assert np.array_equal(np.asarray(painted), np.asarray(photo))


def test_the_stronger_the_deviation_the_less_of_the_photo_is_seen():
    photo = Image.new("RGB", (64, 1), (90, 120, 200))
    scores = np.linspace(0, 1, 64, dtype=np.float32)[None]
    painted = np.asarray(paint_heatmap(photo, scores), float)[0]
    distance = np.abs(painted - (90, 120, 200)).sum(axis=1)
    assert distance[0] == 0
    assert (distance[scores[0] > 0.3] > 0).all()


def test_the_scale_is_the_same_for_every_photo():
    photo = Image.new("RGB", (4, 1), (128, 128, 128))
    alone = paint_heatmap(photo, np.array([[0.3, 0.3, 0.3, 0.3]], np.float32))
    beside = paint_heatmap(photo, np.array([[0.3, 0.9, 0.9, 0.9]], np.float32))
    assert alone.getpixel((0, 0)) == beside.getpixel((0, 0))


def test_the_layer_over_the_photo_is_the_heatmap():
    rng = np.random.default_rng(2)
    photo = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    scores = rng.random((20, 30), np.float32)
    layered = Image.alpha_composite(photo.convert("RGBA"), heat_layer(scores)).convert("RGB")
    difference = np.asarray(layered, int) - np.asarray(paint_heatmap(photo, scores), int)
    assert np.abs(difference).max() <= 1  # rounding
