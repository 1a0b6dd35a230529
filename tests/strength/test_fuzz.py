"""Whatever is given gets an answer or one clear sentence: the real functions, thousands of cases.

`make test` runs 5,500 cases, always the same. `FUZZ=20 python -m pytest tests/strength` runs twenty
times as many, which is what to do after a change to what opens files.
"""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from hostile_files import (
    damage,
    damaged,
    json_values,
    no_photos,
    one_sentence,
    photos,
    zips,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from modeling import (
    ARCHITECTURES,
    InspectionImageProcessor,
    ModelLoadError,
    PhotoError,
    load_pipeline,
    open_photo,
)
from modeling.image_processing import MAX_PHOTO_PIXELS
from page.api.programs import Programs
from page.inspection.inspector import Inspector
from page.inspection.temporary_folder import TemporaryFolder
from page.inspection.uploads import unpack
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import find_models

TIMES = int(os.environ.get("FUZZ", "1"))
PHOTOS, ZIPS, CALLS, MODELS = 3_000, 1_000, 500, 1_000  # cases of each kind
VERDICTS = {"PASS", "FAIL", "CHECK"}
FILES = {**photos(), **no_photos()}


def cases(count: int) -> Callable[..., Any]:
    """So many examples, the same in every run; what is slow is no failure."""
    return settings(
        max_examples=count * TIMES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate],  # the cases are short, and making one shorter takes minutes
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@cases(PHOTOS)
@given(kind=st.sampled_from(sorted(FILES)), edits=damage())
def test_a_file_is_a_photo_or_one_sentence(folder, kind, edits):
    path = folder / "photo.bin"
    path.write_bytes(damaged(FILES[kind], edits))
    try:
        photo = open_photo(path)
    except PhotoError as error:
        assert one_sentence(str(error), folder)
        assert str(error).startswith("photo.bin ")
        assert edits or kind in no_photos()
    else:
        assert photo.mode == "RGB"
        assert 0 < photo.width * photo.height <= MAX_PHOTO_PIXELS
        assert len(photo.tobytes()) == 3 * photo.width * photo.height


@cases(ZIPS)
@given(content=zips(), edits=damage())
def test_a_zip_is_photos_or_one_sentence_each(folder, content, edits):
    path = folder / "photos.zip"
    path.write_bytes(damaged(content, edits))
    before = {*folder.rglob("*")}
    visitors = TemporaryFolder(folder / "visitors")
    try:
        rows = unpack([path], visitors, Translation("en"))
        assert rows
        for row in rows:
            assert row.file.isprintable()
            assert bool(row.error) == (row.photo is None)
            assert not row.error or one_sentence(row.error, folder)
        kept = [row.photo for row in rows if row.photo]
        assert {*folder.rglob("*")} - before <= {*kept, visitors.path, folder / "visitors"}
        assert {path.parent for path in kept} <= {visitors.path}
    finally:
        visitors.close()


@pytest.fixture(scope="module")
def programs(trained_model, folder) -> Programs:
    return Programs(Inspector(Catalogue(find_models([str(trained_model)]))), folder / "callers")


DATA_URIS = ["data:image/png;base64," + base64.b64encode(FILES[kind]).decode() for kind in FILES]
ARRAYS = [[[math.nan] * 3] * 3, [math.inf], {"path": [[0.5]]}, {"path": "", "orig_name": 7}]
PHOTO = json_values(*DATA_URIS, *DATA_URIS, *ARRAYS, "http://", "http://10.0.0.1/a", "file:///etc")


@cases(CALLS)
@given(
    photo=PHOTO,
    category=st.sampled_from(["flange_nut", None, "screw"]) | json_values(),
    model=st.sampled_from([None, "flange_nut", "nobody"]) | json_values(),
    threshold=st.sampled_from([0, 0.5, 1]) | json_values(-0.01, 1.01, math.nan),
)
def test_a_call_is_answered_with_a_verdict_or_one_sentence(
    programs, folder, photo, category, model, threshold
):
    for call, photos_given in ((programs.inspect, photo), (programs.inspect_batch, [photo])):
        try:
            answer = call(photos_given, category, model, threshold)
        except gr.Error as error:
            assert one_sentence(str(error.message), folder)
            continue
        for record in answer.get("results", [answer]):
            json.dumps(record)
            if record.get("verdict") in VERDICTS:
                assert 0 <= record["score"] <= 1
            else:
                assert one_sentence(record["error"], folder)
    assert not [path for path in (folder / "callers").glob("*") if any(path.iterdir())]


@pytest.fixture(scope="module")
def sound(folder) -> Path:
    """A model with both streams, as small as they can be: it is built anew for every case."""
    model_class = ARCHITECTURES["autoencoder"]
    config = model_class.config_class(
        image_size=64,
        categories=["flange_nut"],
        backbone_layers=[2, 4],
        whole_part_layers=[4],
        whole_part_channels=8,
        whole_part_directions=2,
    )
    photos = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = model_class(config).eval()
    model.fit_whole_part(photos.split(1))
    model.calibrate([photos], false_alarm_rate=0.3)
    model.save_pretrained(folder / "sound")
    size = {"height": 64, "width": 64}
    InspectionImageProcessor(size=size).save_pretrained(folder / "sound")
    return folder / "sound"


@pytest.fixture(scope="module")
def model(sound, folder) -> Path:
    """Its copy, of which the cases change the files."""
    return Path(shutil.copytree(sound, folder / "nut"))


FIELDS = (
    *("image_size", "tile_size", "num_channels", "target", "backbone", "backbone_layers"),
    *("backbone_config", "feature_stride", "painter_channels", "loss_weights", "categories"),
    *("residual_weights", "residual_normalisation", "map_sigma", "calibrations", "patch_size"),
    *("whole_part_layers", "whole_part_side", "whole_part_channels", "whole_part_directions"),
    *("hidden_sizes", "latent_channels", "model_type", "architectures", "dtype", "num_labels"),
    *("id2label", "auto_map", "_attn_implementation", "quantization_config", "torch_dtype"),
    *("transformers_version", "return_dict", "output_hidden_states", "is_encoder_decoder"),
    *("chunk_size_feed_forward", "problem_type", "label2id", "custom_pipelines", "unheard_of"),
)
CALIBRATION_FIELDS = (
    *("normal_scores", "false_alarm_rate", "promised_false_alarm_rate", "raw_threshold"),
    *("scale", "rule", "unheard_of"),
)
PROCESSOR_FIELDS = (
    *("size", "resample", "do_resize", "do_rescale", "rescale_factor", "do_normalize", "do_pad"),
    *("image_mean", "image_std", "crop_size", "do_center_crop", "image_processor_type"),
    *("pad_size", "default_to_square", "auto_map", "do_convert_rgb", "unheard_of"),
)
EVIL = (
    *("evil.Model", "kernels-community/attention", "autoencoder", "pixels", "float16"),
    *("timm_backbone", "dinov2", "channel+location", [8] * 3, [2, 4], {"mse": 1}, ["<b>", "<b>"]),
    {"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
    {"model_type": "dinov2", "num_hidden_layers": 10**5},
    {"model_type": "resnet", "depths": [1, 1], "hidden_sizes": [10**5, 10**5]},
    {"flange_nut": {"normal_scores": [1.0], "raw_threshold": 1.0, "scale": 1e-300}},
    {"height": 10**5, "width": 10**5},
)
VALUES = json_values(*EVIL, *EVIL)


def changes(fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(fields), VALUES, min_size=1, max_size=2)


@cases(MODELS)
@given(
    config=changes(FIELDS) | st.just({}),
    calibration=changes(CALIBRATION_FIELDS) | st.just({}),
    processor=changes(PROCESSOR_FIELDS) | st.just({}),
    file=st.sampled_from(["config.json", "preprocessor_config.json", "model.safetensors"]),
    edits=damage() | st.just([]),
)
def test_a_model_folder_is_a_model_or_one_sentence(
    model, sound, config, calibration, processor, file, edits
):
    fields = json.loads((sound / "config.json").read_text())
    fields["calibrations"]["flange_nut"].update(calibration)
    sizes = json.loads((sound / "preprocessor_config.json").read_text())
    (model / "config.json").write_text(json.dumps({**fields, **config}))
    (model / "preprocessor_config.json").write_text(json.dumps({**sizes, **processor}))
    shutil.copyfile(sound / "model.safetensors", model / "model.safetensors")
    (model / file).write_bytes(damaged((model / file).read_bytes(), edits))
    photo = Image.effect_noise((64, 64), 60)
    try:
        verdict = load_pipeline(model, device="cpu")(photo).verdict
    except ModelLoadError as error:
        assert one_sentence(str(error))
    else:
        assert verdict in VERDICTS
