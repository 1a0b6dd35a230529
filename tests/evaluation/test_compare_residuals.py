from __future__ import annotations

import pytest
import torch
from commands import run_command
from conftest import TINY_DATA

from data.synthetic import render
from evaluation.studies.compare_residuals import separations
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor
from training.calibration.held_out_damage import DamageTrial

SIDE = 64


def test_every_residual_and_normalisation_is_a_row_and_the_model_stays_as_it_is(trained_model):
    before = (trained_model / "config.json").read_bytes()
    finished = run_command(
        *(
            "-m",
            "evaluation.studies.compare_residuals",
            "--model",
            trained_model,
            "--data",
            TINY_DATA,
        ),
        *("--residual_weights", "mse=1", "mse=1,cosine=5", "--copies", "1"),
    )
    assert finished.returncode == 0, finished.stderr
    _, _, *rows = finished.stdout.splitlines()
    names = [tuple(row.split()[:2]) for row in rows]
    normalisations = ("none", "location", "channel", "channel+location")
    assert names == [
        (residual, normalisation)
        for residual in ("mse=1", "mse=1,cosine=5")
        for normalisation in normalisations
    ]
    aurocs = [float(row.split()[3]) for row in rows]  # of pixels
    assert max(aurocs) > 0.8
    assert len({*aurocs}) > 4
    assert (trained_model / "config.json").read_bytes() == before


def test_an_unknown_residual_is_refused_in_one_sentence(trained_model):
    finished = run_command(
        *(
            "-m",
            "evaluation.studies.compare_residuals",
            "--model",
            trained_model,
            "--data",
            TINY_DATA,
        ),
        *("--residual_weights", "ssim=1"),
    )
    assert finished.returncode == 2
    assert "residual_weights knows l1, mse, cosine, found 'ssim'" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=SIDE, target="pixels", categories=["flange_nut"])
    return Autoencoder(config).eval()


def test_glaring_damage_is_told_apart_and_no_damage_is_not(model):
    processor = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
    pictures = [render("flange_nut", seed=n, defect="good", size=SIDE).image for n in range(8)]
    good = list(processor(pictures, return_tensors="pt")["pixel_values"])
    glaring = [[photo.clone()] for photo in good]
    for (copy,) in glaring:
        copy[:, 20:36, 20:36] = torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    found = separations(model, DamageTrial(good, glaring), "flange_nut", batch_size=4)
    assert len(found) == 2  # one a half
    assert all(one.image_auroc == 1.0 and one.pixel_auroc > 0.9 for one in found)

    hardly = [[photo.clone()] for photo in good]
    for (copy,) in hardly:
        copy[0, 32, 32] += 1 / 255
    found = separations(model, DamageTrial(good, hardly), "flange_nut", batch_size=4)
    assert all(0.3 < one.image_auroc < 0.7 for one in found)
