"""An exported graph says what the model itself says, with every architecture and runtime."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import TINY_DATA
from torch.export import ExportedProgram

from data.dataset import load_inspection_dataset
from modeling import (
    ARCHITECTURES,
    InspectionImageProcessor,
    ModelLoadError,
    ReconstructionModel,
    load_model,
    load_pipeline,
)
from modeling.backends import AUTO, ONNX_RUNTIME, OPENVINO, RUNTIMES, TORCH, load_detector
from modeling.configuration import TARGETS
from modeling.graph import OUTPUTS
from modeling.ground import look_of
from modeling.ground_fitting import look_of_ground
from publishing.export import FORMATS, export_model, main, trace

SIDE = 64
CATEGORIES = ["bolt", "nut"]
RUNTIME_OF = {"onnx": ONNX_RUNTIME, "openvino": OPENVINO}
# More are more of the same.
BLOCKS = {"num_hidden_layers": 1, "decoder_num_hidden_layers": 1, "num_masks": 2}
LAYERS = {"backbone_layers": [2, 4]}
BOTH_STREAMS = ("autoencoder", "features")
MORE = {  # what else decides how a score is computed
    ("masked-autoencoder", "features"): BLOCKS | LAYERS,
    ("masked-autoencoder", "pixels"): BLOCKS,
    ("variational-autoencoder", "features"): LAYERS | {"probability_samples": 2},
    ("variational-autoencoder", "pixels"): {"tile_size": 32},  # three a side
    BOTH_STREAMS: LAYERS
    | {
        "residual_normalisation": "channel+location",
        "whole_part_layers": [4, 5],
        "whole_part_channels": 16,
        "whole_part_directions": 3,
        "judged": "part",
    },
    ("autoencoder", "pixels"): {"residual_weights": {"l1": 1.0, "ms_ssim": 1.0, "msgms": 1.0}},
}


def photos(count: int, seed: int = 1) -> torch.Tensor:
    """(count, 3, SIDE, SIDE): 8-bit levels, smooth enough for a pixel model to find structure."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (fine * 255).round() / 255


def write_model(architecture: str, target: str, folder: Path) -> None:
    """An untrained model, calibrated for two categories."""
    torch.manual_seed(0)
    model_class = ARCHITECTURES[architecture]
    fields = {"image_size": SIDE, "target": target, "categories": CATEGORIES}
    more = MORE.get((architecture, target), {})
    model = model_class(model_class.config_class(**fields, **more)).eval()
    for seed, category in enumerate(CATEGORIES):
        if model.whole_part is not None:
            model.fit_whole_part(photos(6, seed).split(1), category)
            model.whole_part.weight[seed] = 0.5
        if model.ground is not None:
            ground, looks = model.ground, look_of(photos(6, seed))
            ground.mean[seed], ground.whitening[seed] = look_of_ground(looks)
            ground.limit[seed], ground.depth[seed], ground.places[seed] = 1.2, seed + 1, 0
        model.calibrate([photos(6, seed)], false_alarm_rate=0.25, category=category)
    model.save_pretrained(folder)
    InspectionImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


@pytest.fixture(scope="module", params=itertools.product(ARCHITECTURES, TARGETS), ids="-".join)
def exported(request, tmp_path_factory):
    """Folder of a model of each kind with a graph of each format."""
    if request.param == BOTH_STREAMS:
        return request.getfixturevalue("graphs")
    folder = tmp_path_factory.mktemp("-".join(request.param))
    write_model(*request.param, folder)
    with traced_once():
        for format in FORMATS:
            export_model(folder, format)
    return folder


@contextmanager
def traced_once() -> Iterator[None]:
    """Let all formats of one model be written from one trace, which takes as long as the rest."""
    with pytest.MonkeyPatch.context() as patch:
        programs: list[ExportedProgram] = []

        def first(model: ReconstructionModel) -> ExportedProgram:
            programs[:] = programs or [trace(model)]
            return programs[0]

        patch.setattr("publishing.export.trace", first)
        yield


@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_graph_says_what_the_model_says(exported, backend):
    model, _ = load_model(exported)
    detector, name = load_detector(model, exported, backend)
    assert name == backend and detector is not model
    for count in (1, 3):
        pixel_values, category = photos(count, seed=9), (CATEGORIES * 2)[:count]
        expected, found = (judge.detect(pixel_values, category) for judge in (model, detector))
        for field in OUTPUTS:
            # What counts as much or little of a map is the threshold that it is judged by.
            scale = min(one.raw_threshold for one in model.calibrations.values())
            reach = 1e-4 * max(1, scale if "map" in field or "raw" in field else 1)
            torch.testing.assert_close(found[field], expected[field], rtol=0, atol=reach)
        assert found.is_anomalous.tolist() == expected.is_anomalous.tolist()
        assert len({*found.raw_score.tolist()}) == count  # not the same for every picture


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Folder of a model of both streams with a graph of each format, by the command line."""
    folder = tmp_path_factory.mktemp("graphs")
    write_model(*BOTH_STREAMS, folder)
    with traced_once():
        for format in FORMATS:
            assert main([str(folder), "--format", format]) == 0
    return folder


@pytest.fixture
def photo():
    """A photo that no model has seen."""
    data = load_inspection_dataset(TINY_DATA)["test"]
    return data[-1]["image"]


@pytest.mark.parametrize("backend", RUNTIMES)
def test_the_pipeline_runs_a_graph(graphs, photo, backend):
    plain, fast = load_pipeline(graphs), load_pipeline(graphs, backend=backend)
    assert (plain.backend, fast.backend) == (TORCH, backend)
    expected, found = (inspect(photo, category=CATEGORIES[0]) for inspect in (plain, fast))
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert found.verdict == expected.verdict
    assert abs(found.anomaly_map - expected.anomaly_map).max() < 1e-3 * expected.anomaly_map.max()


def test_auto_takes_the_fastest_that_is_there(graphs, tmp_path):
    assert load_pipeline(graphs, backend=AUTO).backend == next(iter(RUNTIMES))
    for backend, runtime in RUNTIMES.items():
        shutil.copytree(graphs, tmp_path / backend)
        for other in RUNTIMES.values():
            if other is not runtime:
                (tmp_path / backend / other.file).unlink()
        assert load_pipeline(tmp_path / backend, backend=AUTO).backend == backend


def test_auto_goes_on_with_torch_where_there_is_no_graph(tmp_path):
    write_model("autoencoder", "pixels", tmp_path)
    assert load_pipeline(tmp_path, backend=AUTO).backend == TORCH


@pytest.mark.parametrize("change", ["calibration", "settings"])
@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_graph_of_another_calibration_or_other_settings_is_refused(
    graphs, tmp_path, backend, change
):
    folder = tmp_path / "nut"
    shutil.copytree(graphs, folder)
    config = json.loads((folder / "config.json").read_text())
    if change == "settings":
        config["map_sigma"] /= 2
    else:
        config["calibrations"][CATEGORIES[0]]["raw_threshold"] *= 1.01
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"another calibration.*publishing\.export"):
        load_pipeline(folder, backend=backend)
    assert load_pipeline(folder, backend=AUTO).backend == TORCH


@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_damaged_graph_is_refused(graphs, tmp_path, backend):
    folder = tmp_path / "nut"
    shutil.copytree(graphs, folder)
    (folder / RUNTIMES[backend].file).write_bytes(b"no graph")
    with pytest.raises(ModelLoadError, match="could not be read"):
        load_pipeline(folder, backend=backend)


def test_a_missing_graph_and_an_unknown_backend_are_told(tmp_path):
    write_model("autoencoder", "pixels", tmp_path)
    with pytest.raises(ModelLoadError, match=r"has no model\.onnx.*python -m publishing\.export"):
        load_pipeline(tmp_path, backend=ONNX_RUNTIME)
    with pytest.raises(ModelLoadError, match="must be one of auto, openvino, onnxruntime, torch"):
        load_pipeline(tmp_path, backend="tensorrt")


@pytest.mark.parametrize("backend", RUNTIMES)
def test_threads_can_share_a_graph(graphs, backend):
    inspect = load_pipeline(graphs, backend=backend)
    side = inspect.model.config.image_size
    pictures = torch.rand(8, 1, 3, side, side, generator=torch.Generator().manual_seed(0))

    def raw_score(picture):
        return inspect.detector.detect(picture, CATEGORIES[:1]).raw_score.item()

    expected = [raw_score(picture) for picture in pictures]
    found = [0.0] * len(pictures)

    def judge(number):
        for _ in range(5):
            found[number] = raw_score(pictures[number])

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == pytest.approx(expected, rel=1e-5)
    assert len({*found}) == len(found)


def test_a_graph_names_no_file_of_this_machine(graphs):
    for runtime in RUNTIMES.values():
        content = (graphs / runtime.file).read_bytes()
        # Weights are any bytes, so a name of three letters may stand among them by chance.
        assert not re.search(rb"\w{4}\.py", content) and b"/home/" not in content
        assert str(graphs).encode() not in content


def test_an_export_without_calibration_is_refused(tmp_path, capsys):
    model_class = ARCHITECTURES["autoencoder"]
    model = model_class(model_class.config_class(image_size=SIDE, target="pixels"))
    model.save_pretrained(tmp_path)
    InspectionImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    assert main([str(tmp_path), "--format", "onnx"]) == 2
    assert "is not calibrated" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), "--format", "onnx"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_broken_export_leaves_the_old_graph(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "nut"
    write_model("autoencoder", "pixels", folder)
    (folder / "model.onnx").write_bytes(b"the old graph")
    before = (folder / "model.onnx").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("publishing.export.os.replace", full)
    assert main([str(folder), "--format", "onnx"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (folder / "model.onnx").read_bytes() == before
    assert not [*folder.glob(".export-*"), *folder.glob(".unfinished-*")]
