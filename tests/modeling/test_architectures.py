"""The contract that every architecture keeps."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from modeling import ARCHITECTURES, InspectionImageProcessor, ReconstructionModel
from modeling.restoration import painting_loss
from modeling.scoring import exceeds

SIDE = 64
STREAMS = {  # a target, and whether the whole part is seen beside it, and the ground told apart
    "pixels": {"target": "pixels"},
    "features": {"target": "features"},
    "features, whole part and ground": {
        "target": "features",
        "judged": "part",
        "whole_part_layers": [4, 12],
        "whole_part_side": 4,
        "whole_part_channels": 16,
        "whole_part_directions": 3,
    },
}


def build(architecture: str, target: str, **fields) -> ReconstructionModel:
    torch.manual_seed(0)
    model_class = ARCHITECTURES[architecture]
    fields = {"image_size": SIDE, "target": target, "categories": ["bolt"], **fields}
    return model_class(model_class.config_class(**fields)).eval()


@pytest.fixture(params=itertools.product(ARCHITECTURES, STREAMS), ids="-".join)
def model(request) -> ReconstructionModel:
    architecture, stream = request.param
    return build(architecture, **STREAMS[stream])


@pytest.fixture
def photos() -> torch.Tensor:
    return torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def calibrated(model, photos) -> ReconstructionModel:
    if model.whole_part is not None:
        model.fit_whole_part(list(photos.split(1)))
        model.whole_part.weight.fill_(0.5)
    if model.ground is not None:
        model.ground.places[:, :20] = 0
    model.calibrate([photos[:4], photos[4:]], false_alarm_rate=0.25)
    return model


@pytest.mark.parametrize("training", [True, False])
def test_forward_has_the_same_fields_and_shapes_in_every_mode(model, photos, training):
    output = model.train(training)(photos)
    assert output.loss.shape == ()
    assert output.reconstruction.shape == (6, 3, SIDE, SIDE)
    assert output.anomaly_map.shape == (6, SIDE, SIDE)
    assert output.anomaly_score.shape == (6,)
    assert (output.anomaly_map >= 0).all()
    assert 0 <= output.reconstruction.min() <= output.reconstruction.max() <= 1
    assert next(iter(output)) == "loss"


def test_gradients_reach_every_trainable_weight_and_no_frozen_one(model, photos):
    if model.config.model_type.endswith("variational-autoencoder"):
        model.config.kl_warmup_steps = 0  # while the KL weight is 0 it teaches nothing
    model.train()(photos).loss.backward()
    for name, parameter in model.named_parameters():
        if "backbone" in name:
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_the_painters_gradient_stops_at_the_painter(photos):
    model = build("autoencoder", "features").train()
    values = model.target.encode(photos)
    painting_loss(model.target, model.restore(values), values, photos, slice(2)).backward()
    assert all(parameter.grad is None for parameter in model.decoder.parameters())
    assert all(parameter.grad is not None for parameter in model.target.painter.parameters())


def test_an_uncalibrated_model_has_no_score_and_no_verdict(model, photos):
    output = model.detect(photos)
    assert output.anomaly_score.isnan().all()
    assert output.is_anomalous is None
    assert output.raw_score.isfinite().all()


def test_the_verdict_agrees_with_the_threshold_at_equality(calibrated, photos):
    output = calibrated.detect(photos)
    calibrated.config.calibrations["bolt"]["raw_threshold"] = output.raw_score[2].item()
    output = calibrated.detect(photos)
    assert output.anomaly_score[2].item() == 0.5
    assert not output.is_anomalous[2]
    assert torch.equal(output.is_anomalous, exceeds(output.raw_score, output.raw_score[2].item()))


def test_twice_is_equal_and_a_batch_equals_its_singles(calibrated, photos):
    first, second = calibrated.detect(photos), calibrated.detect(photos)
    assert torch.equal(first.anomaly_score, second.anomaly_score)
    singles = torch.cat([calibrated.detect(photo[None]).raw_score for photo in photos])
    assert torch.allclose(first.raw_score, singles, rtol=1e-4, atol=1e-5)


def test_detect_equals_forward(calibrated, photos):
    assert torch.equal(calibrated(photos).raw_score, calibrated.detect(photos).raw_score)


def test_a_reloaded_model_gives_bit_equal_scores(calibrated, photos, tmp_path):
    before = calibrated.detect(photos)
    calibrated.save_pretrained(tmp_path)
    after = type(calibrated).from_pretrained(tmp_path).detect(photos)
    assert torch.equal(before.anomaly_score, after.anomaly_score)
    assert torch.equal(before.anomaly_map, after.anomaly_map)


def test_half_and_bfloat16_load_and_score_finite(calibrated, photos, tmp_path):
    calibrated.save_pretrained(tmp_path)
    loaded = type(calibrated).from_pretrained(tmp_path, dtype=torch.bfloat16)
    score = loaded.detect(photos.bfloat16()).anomaly_score
    assert score.isfinite().all()


def test_calibration_does_not_depend_on_the_batches(model, photos):
    one = model.calibrate([photos], 0.25)
    many = model.calibrate(list(photos.split(1)), 0.25)
    assert one.normal_scores == pytest.approx(many.normal_scores, rel=1e-3)


def test_a_calibration_part_is_judged_by_the_others_only(model, photos):
    scores = model.calibrate([photos], 0.25).normal_scores
    model.calibrate([photos[1:]], 0.25)  # statistics of all but the first
    left_out = model.detect(photos[:1]).raw_score.item()
    assert any(math.isclose(left_out, score, rel_tol=1e-3) for score in scores)


def test_one_good_part_is_too_few_to_calibrate(model, photos):
    with pytest.raises(ValueError, match="at least 2 held-out good photos, found 1"):
        model.calibrate([photos[:1]], 0.25)


@pytest.mark.parametrize("shape", [(3, SIDE, SIDE), (1, 1, SIDE, SIDE), (1, 3, 32, SIDE)])
def test_another_shape_is_refused_by_name(model, shape):
    with pytest.raises(ValueError, match="pixel_values must have the shape"):
        model.detect(torch.rand(shape))


def test_the_processor_travels_with_the_model(model, tmp_path):
    from transformers import AutoImageProcessor

    model.save_pretrained(tmp_path)
    saved = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
    saved.save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path).to_dict() == saved.to_dict()
