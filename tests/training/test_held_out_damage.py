from __future__ import annotations

import pytest
import torch

from data.dataset import load_inspection_dataset
from modeling import InspectionImageProcessor
from training.calibration.held_out_damage import JUDGED_COPIES, DamageTrial
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe

SIDE = 64


@pytest.fixture(scope="module")
def photos() -> PreparedPhotos:
    data = f"synthetic:flange_nut?train=8&test_good=1&test_per_defect=1&size={SIDE}"
    processor = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
    return PreparedPhotos(load_inspection_dataset(data)["train"], processor)


def test_every_copy_is_damaged_in_its_own_way_and_the_seed_repeats_it(photos):
    trial = DamageTrial.of(photos, most=5, copies=2, seed=3)
    assert len(trial.good) == len(trial.damaged) == 5
    for photo, (one, other) in zip(trial.good, trial.damaged, strict=True):
        assert not torch.equal(photo, one)
        assert not torch.equal(one, other)
    again = DamageTrial.of(photos, most=5, copies=2, seed=3)
    assert all(
        torch.equal(one, other)
        for several, others in zip(trial.damaged, again.damaged, strict=True)
        for one, other in zip(several, others, strict=True)
    )


def test_choices_are_made_by_local_and_structural_damage_alike(photos):
    trial = DamageTrial.of_category(photos, "flange_nut", Recipe())
    assert {len(of_photo) for of_photo in trial.damaged} == {2 * JUDGED_COPIES}
    assert len(trial.copies) == 2 * JUDGED_COPIES
    assert all(len(copy) == len(photos) for copy in trial.copies)
    turned = DamageTrial.of_category(photos, "flange_nut", Recipe(augmentation={"rotation": 180}))
    for photo, of_photo, others in zip(trial.good, trial.damaged, turned.damaged, strict=True):
        local, structural = of_photo[:JUDGED_COPIES], of_photo[JUDGED_COPIES:]
        assert not any(torch.equal(photo, copy) for copy in structural)
        assert all(map(torch.equal, local, others))
    # A part that turns is never called damaged for being turned or moved.
    assert not all(
        torch.equal(one, other)
        for of_photo, others in zip(trial.damaged, turned.damaged, strict=True)
        for one, other in zip(of_photo, others, strict=True)
    )
