"""How coarsely a model looks is chosen by held-out good photos, and can be said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.dataset import load_inspection_dataset
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor
from training.calibration import scales
from training.calibration.held_out_calibration import choose_and_score
from training.calibration.held_out_damage import LEAST_JUDGED, DamageTrial
from training.calibration.scales import SCALES, set_scale
from training.calibration.trials import SeenTrial, see_trials
from training.photos.decoded import PreparedPhotos
from training.recipe import AUTO, COARSE, FINE, USUAL, Recipe
from training.whole_part import Weighed, learn_whole_part

SIDE, NUT = 64, "flange_nut"
PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
SIZES = {USUAL: (8.0, 4, 6), COARSE: (16.0, 2, 2), FINE: (4.0, 4, 6)}


@pytest.fixture(scope="module")
def good():
    data = f"synthetic:{NUT}?train=16&test_good=1&test_per_defect=1&size={SIDE}"
    return load_inspection_dataset(data)["train"]


@pytest.fixture(scope="module")
def trials(good) -> dict[str, DamageTrial]:
    held_out = PreparedPhotos(good.select(range(LEAST_JUDGED)), PROCESSOR)
    return {NUT: DamageTrial.of_category(held_out, NUT, Recipe())}


def learned(good, **fields) -> tuple[Autoencoder, dict]:
    """An untrained model whose whole part is solved, and what it was solved from."""
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=SIDE, categories=[NUT], **fields)
    model = Autoencoder(config).eval()
    return model, learn_whole_part(model, good, PROCESSOR, Recipe())


def seen_by(model, trials) -> dict[str, SeenTrial]:
    return see_trials(model, trials, batch_size=4)


def with_whole_part(good) -> tuple[Autoencoder, dict]:
    small = {"whole_part_side": 4, "whole_part_directions": 6, "whole_part_channels": 16}
    return learned(good, whole_part_layers=[7, 10], **small)


def looks_of(model: Autoencoder) -> tuple[float, int, int]:
    config = model.config
    return config.map_sigma, config.whole_part_side, config.whole_part_directions


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_that_a_recipe_names_is_the_models(good, trials, name, tmp_path):
    model, examples = with_whole_part(good)
    set_scale(model, seen_by(model, trials), examples, Recipe(scale=name))
    assert looks_of(model) == SIZES[name]
    assert model.whole_part.knows(0)
    assert model.whole_part.spread.shape[-1] == SIZES[name][1]
    choose_and_score(model, good.select(range(LEAST_JUDGED)), PROCESSOR, Recipe())
    model.save_pretrained(tmp_path)
    photo = PreparedPhotos(good, PROCESSOR)[0][None]
    again = Autoencoder.from_pretrained(tmp_path).eval()
    assert torch.equal(again.detect(photo).raw_score, model.detect(photo).raw_score)


@pytest.mark.parametrize("best", SCALES)
def test_the_scale_is_the_one_that_tells_damage_best(good, trials, monkeypatch, best):
    asked = []

    def weighed(of_good, of_copies, shares):
        asked.append(list(SCALES)[len(asked)])  # the usual one first: the others have to beat it
        level = np.array([0.8, 0.81, 0.8, 0.81]) + 0.1 * (asked[-1] == best)
        return Weighed({0.5: level}, level, 1.0)

    monkeypatch.setattr(scales, "weighed_streams", weighed)
    model, examples = with_whole_part(good)
    usual = model.whole_part
    set_scale(model, seen_by(model, trials), examples, Recipe(scale=AUTO))
    assert asked == list(SCALES)
    assert looks_of(model) == SIZES[best]
    assert (model.whole_part is usual) == (best != COARSE)


@pytest.mark.parametrize("name", SCALES)
def test_photos_seen_once_show_at_each_scale_what_a_model_of_that_scale_sees(
    good, trials, monkeypatch, name
):
    model, examples = with_whole_part(good)
    seen = {}

    def weighed(of_good, of_copies, shares):
        seen[len(seen)] = [of_good, *of_copies]
        return Weighed({0.0: np.zeros(len(of_copies))}, np.zeros(len(of_copies)), 1.0)

    monkeypatch.setattr(scales, "weighed_streams", weighed)
    set_scale(model, seen_by(model, trials), examples, Recipe(scale=AUTO))
    found = seen[list(SCALES).index(name)]
    set_scale(model, seen_by(model, trials), examples, Recipe(scale=name))
    photos = [trials[NUT].good, *trials[NUT].copies]
    for one, streams in zip(photos, found, strict=True):
        for expected, stream in zip(model.streams(torch.stack(one)), streams, strict=True):
            assert torch.allclose(stream, expected, rtol=1e-4, atol=1e-4)


def test_few_photos_choose_no_scale(good, trials):
    model, examples = with_whole_part(good)
    trial = trials[NUT]
    few = {NUT: DamageTrial(trial.good[1:], trial.damaged[1:])}
    usual = model.whole_part
    set_scale(model, seen_by(model, few), examples, Recipe(scale=AUTO))
    assert looks_of(model) == SIZES[USUAL] and model.whole_part is usual


def test_a_model_of_one_stream_has_a_scale_too(good, trials):
    model, examples = learned(good, target="pixels")
    assert not examples
    set_scale(model, seen_by(model, trials), examples, Recipe(scale=AUTO))
    assert model.config.map_sigma in {scale.smoothing * 8 for scale in SCALES.values()}
    model, _ = learned(good, target="pixels")
    set_scale(model, seen_by(model, trials), {}, Recipe(scale=COARSE))
    assert model.config.map_sigma == 16


def test_the_whole_part_is_solved_from_the_same_photos_on_a_coarser_grid(good):
    model, examples = with_whole_part(good)
    model.set_whole_part_size(2, 2)
    model.solve_whole_part(examples[NUT], NUT)
    coarse = model.whole_part.state_dict()
    torch.manual_seed(0)
    fields = {"whole_part_side": 2, "whole_part_directions": 2, "whole_part_channels": 16}
    anew, _ = learned(good, whole_part_layers=[7, 10], **fields)
    for name, value in anew.whole_part.state_dict().items():
        assert torch.allclose(coarse[name], value, atol=1e-2), name
