from __future__ import annotations

from commands import run_command
from conftest import TINY_DATA


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
