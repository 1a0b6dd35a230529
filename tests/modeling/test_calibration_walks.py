"""What is seen of good photos is kept where it is little, and seen anew where it is much."""

from __future__ import annotations

import itertools

import pytest
import torch

from modeling import fitting
from modeling.fitting import Seen, SeenPhotos

PHOTOS = 5


@pytest.mark.parametrize(
    ("photos_kept", "times_seen"), [(PHOTOS, PHOTOS), (PHOTOS - 1, 3 * PHOTOS)], ids=["few", "many"]
)
def test_photos_are_seen_once_where_they_fit_into_memory(monkeypatch, photos_kept, times_seen):
    one = Seen(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), None, torch.ones(1, 4, 4))
    size = sum(tensor.nbytes for tensor in one if tensor is not None)
    monkeypatch.setattr(fitting, "KEPT_BYTES", photos_kept * size)
    asked = []

    def see():
        for number in range(PHOTOS):
            asked.append(number)
            yield one._replace(values=torch.full((1, 2, 4, 4), float(number)))

    photos = SeenPhotos(see)
    walks = [[seen.values.max().item() for seen in photos] for _ in range(3)]
    assert walks == [[*range(PHOTOS)]] * 3
    assert len(asked) == times_seen


def test_a_walk_that_is_broken_off_keeps_nothing_that_is_not_whole():
    seen = Seen(torch.zeros(1), torch.zeros(1), torch.zeros(1), torch.zeros(1))
    photos = SeenPhotos(lambda: iter([seen] * PHOTOS))
    assert len([*itertools.islice(photos, 2)]) == 2
    assert len([*photos]) == len([*photos]) == PHOTOS
