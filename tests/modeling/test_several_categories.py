"""One model for several categories: each is judged by its own statistics and threshold."""

from __future__ import annotations

import pytest
import torch

from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor, InspectionPipeline

SIDE = 64


@pytest.fixture(scope="module")
def photos() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 6, 3, SIDE, SIDE, generator=generator)
    return {"bolt": noise[0], "nut": noise[1] * 0.3}


@pytest.fixture(scope="module")
def model(photos) -> Autoencoder:
    torch.manual_seed(0)
    fields = {"image_size": SIDE, "residual_normalisation": "channel+location"}
    model = Autoencoder(AutoencoderConfig(categories=["bolt", "nut"], **fields)).eval()
    for category, pictures in photos.items():
        model.calibrate([pictures], 0.3, category)
    return model


def test_each_category_has_its_own_calibration(model):
    assert [*model.calibrations] == ["bolt", "nut"]
    bolt, nut = model.calibration_of("bolt"), model.calibration_of("nut")
    assert bolt.raw_threshold != nut.raw_threshold


def test_a_mixed_batch_equals_each_category_alone(model, photos):
    mixed = torch.cat([photos["bolt"][:2], photos["nut"][:2]])
    together = model.detect(mixed, ["bolt", "bolt", "nut", "nut"])
    alone = [model.detect(photos[name][:2], name).anomaly_score for name in ("bolt", "nut")]
    assert torch.allclose(together.anomaly_score, torch.cat(alone), atol=1e-4)


def test_the_category_must_be_said_and_known(model, photos):
    with pytest.raises(ValueError, match="knows bolt, nut; say which"):
        model.detect(photos["bolt"])
    with pytest.raises(ValueError, match=r"must be one of bolt, nut.*found washer"):
        model.detect(photos["bolt"], "washer")


def test_it_reloads_with_all_its_categories(model, photos, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = Autoencoder.from_pretrained(tmp_path)
    before, after = (one.detect(photos["nut"], "nut").anomaly_score for one in (model, loaded))
    assert torch.equal(before, after)


def test_the_pipeline_takes_the_category(model, photos):
    from PIL import Image

    processor = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
    inspect = InspectionPipeline(model=model, image_processor=processor)
    picture = (photos["nut"][0].permute(1, 2, 0) * 255).round().byte()
    photo = Image.fromarray(picture.numpy())
    as_nut, as_bolt = (inspect(photo, category=name).score for name in ("nut", "bolt"))
    assert as_nut != as_bolt
    with pytest.raises(ValueError, match="say which"):
        inspect(photo)
