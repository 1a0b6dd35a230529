from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from modeling.regions import (
    Region,
    apart_from,
    describe,
    find_regions,
    label_components,
    label_regions,
    summarise_regions,
)
from modeling.shapes import core_of, is_at_outline, shape_of


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.7])
def test_components_equal_scipys_with_diagonal_neighbours(density):
    mask = np.random.default_rng(3).random((60, 70)) < density
    ours, count = label_components(mask)
    reference, reference_count = ndimage.label(mask, structure=np.ones((3, 3)))
    assert count == reference_count
    pairs = set(zip(ours.ravel(), reference.ravel(), strict=True))
    assert len(pairs) == count + 1  # one to one, the background included


def test_an_empty_and_a_full_mask():
    assert label_components(np.zeros((4, 5), bool))[1] == 0
    assert label_components(np.ones((4, 5), bool))[1] == 1


def test_boxes_refer_to_the_photo_and_the_strongest_comes_first():
    score_map = np.zeros((10, 20), np.float32)
    score_map[1:3, 2:5] = 0.8
    score_map[7, 15] = 0.9
    regions = find_regions(score_map, 0.5, photo_size=(100, 400))
    assert [region.peak for region in regions] == [pytest.approx(0.9), pytest.approx(0.8)]
    assert regions[1].box == (40, 10, 100, 30)
    assert regions[1].area == pytest.approx(6 / 200)


def test_there_is_a_region_exactly_when_something_exceeds_the_threshold():
    score_map = np.full((8, 8), 0.5, np.float32)
    assert find_regions(score_map, 0.5, (8, 8)) == []
    score_map[3, 3] = np.nextafter(np.float32(0.5), np.float32(1))
    assert len(find_regions(score_map, 0.5, (8, 8))) == 1


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((0, 0, 10, 10), "in the upper left"),
        ((45, 45, 55, 55), "in the centre"),
        ((45, 0, 55, 10), "at the top"),
        ((45, 90, 55, 100), "at the bottom"),
        ((90, 45, 100, 55), "on the right"),
        ((90, 90, 100, 100), "in the lower right"),
    ],
)
def test_the_note_says_where(box, place):
    note = describe(summarise_regions([Region(box, 0.012, 0.6, "line")], (100, 100)))
    assert note == (
        f"Slight deviation {place}, 1 region, about 1 % of the picture; line-shaped: possibly a "
        "scratch or a crack."
    )


def test_the_note_of_a_good_part():
    assert describe(summarise_regions([], (10, 10))).startswith("No deviation above the limit")


def test_what_lies_at_the_outline_is_said_so():
    note = describe(summarise_regions([Region((0, 0, 9, 9), 0.2, 0.95, "area", True)], (100, 100)))
    assert "at the outline of the part" in note
    assert note.startswith("Strong deviation in the upper left")


def test_labels_are_numbered_as_the_regions_are():
    score_map = np.zeros((30, 30), np.float32)
    score_map[2:4, 2:4], score_map[10:20, 10:20], score_map[25:28, 3:9] = 0.7, 0.7, 0.9
    labels, count = label_regions(score_map, 0.5)
    assert count == 3
    regions = find_regions(score_map, 0.5, (30, 30))
    for number, region in enumerate(regions, start=1):
        rows, columns = np.nonzero(labels == number)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == region.box
    assert [round(region.peak, 1) for region in regions] == [0.9, 0.7, 0.7]
    assert regions[1].area > regions[2].area


def test_a_score_that_is_the_rounded_threshold_counts_as_the_verdict_counts_it():
    score_map = np.full((8, 8), np.float32(0.55))  # rounded up: 0.550000012
    assert float(score_map.max()) > 0.55
    assert len(find_regions(score_map, 0.55, (8, 8))) == 1


def test_a_region_cut_out_of_the_map_is_measured_as_on_the_whole_map(monkeypatch):
    rng = np.random.default_rng(0)
    raw = ndimage.gaussian_filter(rng.normal(size=(90, 120)), 1.5)
    score_map = (1 / (1 + np.exp(-raw / raw.std()))).astype(np.float32)
    part = np.zeros((90, 120), bool)
    part[20:70, 30:90] = True
    looked_at = []

    def spy(levels, region, threshold):
        looked_at.append(levels.shape)
        return core_of(levels, region, threshold)

    monkeypatch.setattr("modeling.regions.core_of", spy)
    found = find_regions(score_map, 0.6, (180, 360), part)
    labels, count = label_regions(score_map, 0.6)
    assert count == len(found) > 20
    assert {region.shape for region in found} > {"line"}
    assert {region.at_outline for region in found} == {True, False}
    for number, region in enumerate(found, start=1):
        mask = labels == number
        core = core_of(score_map, mask, 0.6)
        assert region.area == mask.mean()
        assert region.peak == score_map[mask].max()
        assert region.shape == shape_of(core, (2.0, 3.0), region.area)
        assert region.at_outline == is_at_outline(core, part)
        rows, columns = np.nonzero(mask)
        left, top, right, bottom = region.box
        assert (left, right) == (3 * columns.min(), 3 * columns.max() + 3)
        assert (top, bottom) == (2 * rows.min(), 2 * rows.max() + 2)
        # Over the whole map, a photo with hundreds of regions would take seconds.
        assert looked_at[number - 1] == (np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_something_large_beside_the_part_is_said_to_be_there():
    score_map = np.zeros((40, 40), np.float32)
    score_map[2:8, 2:8], score_map[20:24, 20:24] = 0.9, 0.8
    things = np.zeros((10, 10), bool)
    things[:2, :2] = True
    beside, on_it = find_regions(score_map, 0.5, (40, 40), things=things)
    assert beside.apart and not on_it.apart
    note = describe(summarise_regions([beside, on_it], (40, 40)))
    assert "beside the part: something large" in note


def test_what_lies_apart_is_outside_the_places_or_no_part_of_the_largest_piece():
    judged = np.zeros((8, 8), bool)
    judged[1:6, 1:4] = judged[0:2, 6:8] = True
    places = np.zeros((4, 4), bool)
    places[:, :2] = True
    expected = judged & (np.arange(8) >= 4)
    assert np.array_equal(apart_from(judged, places), expected)
    assert np.array_equal(apart_from(judged, np.zeros((4, 4), bool)), expected)
    assert not apart_from(np.zeros((8, 8), bool), np.zeros((4, 4), bool)).any()


def test_what_differs_on_the_ground_is_one_more_sentence():
    small = [Region((0, 0, 9, 9), 0.01, 0.9)]
    note = describe(None, summarise_regions(small, (100, 100)))
    assert note.startswith("No deviation above the limit")
    assert note.endswith("in the upper left, something small differs and does not count.")
    assert "2 small places differ" in describe(None, summarise_regions(small * 2, (100, 100)))
