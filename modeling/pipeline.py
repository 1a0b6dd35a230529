"""Photo(s) -> Inspection: the transformers pipeline for the task `anomaly-detection`."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from transformers import Pipeline
from transformers.utils import ModelOutput

from .backends import TORCH, Detector, load_detector
from .calibration import THRESHOLD, Calibration
from .checks import check_number
from .graph import OUTPUTS
from .image_processing import Photo, open_photo
from .loading import ModelLoadError, load_model
from .out_of_distribution import DOUBT_NOTES, doubt_of
from .overlay import paint_heatmap
from .record import InspectionRecord, verdict_of
from .regions import (
    Finding,
    Region,
    Surroundings,
    apart_from,
    describe,
    find_regions,
    summarise_regions,
)
from .scoring import exceeds
from .shapes import silhouette

TASK = "anomaly-detection"


@dataclass
class Inspection(ModelOutput):
    """What the model says of one photo; fields can be read as attributes and as keys.

    Attributes:
        score: 0..1, increasing with the deviation; 0.5 at the calibrated threshold.
        threshold: the operating threshold that the verdict was made with, 0..1.
        verdict: "FAIL" when `score > threshold`, else "PASS"; "CHECK" when there is a `doubt`.
        doubt: why this photo can't be judged, one of `out_of_distribution.DOUBTS`; None if it can.
        anomaly_map: (H, W) of the photo, float32, >= 0: where it deviates, in raw units.
        heatmap: RGB picture of the photo's size: the photo with the deviation painted over it.
        reconstruction: RGB picture of the photo's size: how the part should look.
        regions: areas above the threshold, strongest first; some exactly when the verdict is FAIL.
        finding: where, how large, how strong and of what shape; None without a region.
        beside: the same of what differs on the ground beside the part, which fails nothing.
        notes: the same, or the doubt, as one plain sentence.
        raw_score: unbounded; ranks photos where the score saturates.
        photo: the photo as it was inspected: upright, 8 bit, RGB.
        score_map: (h, w) of the model's input, float32, 0..1; its maximum is the score.
        part: (h, w) bool, where the part lies; None where it does not stand out of a background.
        surroundings: what is known of the ground; None where all of the photo is judged.
    """

    score: float | None = None
    threshold: float | None = None
    verdict: str | None = None
    doubt: str | None = None
    anomaly_map: np.ndarray | None = None
    heatmap: Image.Image | None = None
    reconstruction: Image.Image | None = None
    regions: list[Region] | None = None
    finding: Finding | None = None
    beside: Finding | None = None
    notes: str | None = None
    raw_score: float | None = None
    photo: Image.Image | None = None
    score_map: np.ndarray | None = None
    part: np.ndarray | None = None
    surroundings: Surroundings | None = None

    def at_threshold(self, threshold: float) -> Inspection:
        """The same inspection judged at another threshold; no model runs. Raises as `judge`."""
        size = (self.photo.height, self.photo.width)
        known = (self.part, self.doubt, self.surroundings)
        judgement = judge(self.score, self.score_map, size, threshold, *known)
        return replace(self, **judgement._asdict())

    def record(self) -> InspectionRecord:
        """What files and programs are told of the photo: the same without its pictures."""
        return InspectionRecord(
            verdict=self.verdict,
            threshold=self.threshold,
            score=self.score,
            raw_score=self.raw_score,
            doubt=self.doubt,
            finding=self.finding,
            regions=tuple(self.regions),
            beside=self.beside,
            note=self.notes,
            photo_size=(self.photo.height, self.photo.width),
        )


class Judgement(NamedTuple):
    """What of an `Inspection` depends on the threshold; fields as there."""

    threshold: float
    verdict: str
    regions: list[Region]
    finding: Finding | None
    notes: str
    beside: Finding | None = None


def judge(
    score: float,
    score_map: np.ndarray,
    photo_size: tuple[int, int],
    threshold: float,
    part: np.ndarray | None = None,
    doubt: str | None = None,
    surroundings: Surroundings | None = None,
) -> Judgement:
    """Verdict, regions and note at an operating threshold; `ValueError` unless that is in 0..1.

    The score, 0..1, is the maximum of its map, (h, w). The regions refer to a photo of (height,
    width); `part` is (h, w) bool, where the part lies, if it is known, `doubt` is why the photo
    can't be judged, if it can't, and `surroundings` what is known of the ground.
    """
    check_number("threshold", threshold, 0.0, 1.0)
    verdict = verdict_of(exceeds(score, threshold), doubt)
    if doubt is not None:
        return Judgement(threshold, verdict, [], None, DOUBT_NOTES[doubt])
    beside, things = None, None
    if surroundings is not None:
        things = surroundings.things
        small = find_regions(surroundings.scores, threshold, photo_size)
        beside = summarise_regions(small, photo_size)
    regions = find_regions(score_map, threshold, photo_size, part, things)
    finding = summarise_regions(regions, photo_size)
    return Judgement(threshold, verdict, regions, finding, describe(finding, beside), beside)


class InspectionPipeline(Pipeline):
    """Inspect photos: path, http(s) address, PIL image, or a list of them.

    Example:
        ```python
        from transformers import pipeline

        inspect = pipeline("anomaly-detection", model="ORG/NAME", trust_remote_code=True)
        inspection = inspect("photo.jpg")
        inspection.verdict, inspection.score, inspection.notes
        ```

    In a clone of the project, `modeling.load_pipeline("folder or ORG/NAME")` runs its code instead.
    Call it with `threshold=` (0..1) for another operating point than the calibrated 0.5, and with
    `category=` if the model knows several.
    """

    _load_image_processor = True
    _load_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._model_name = self.model.name_or_path or type(self.model).__name__
        if not self.model.config.calibrations:
            raise ModelLoadError(
                f"The model {self._model_name} is not calibrated, so it has no threshold to judge "
                "by; train it with training/train.py or call model.calibrate with good photos."
            )
        self.model.eval()
        self.detector: Detector = self.model  # what judges the photos, or its exported graph
        self.backend = TORCH  # the name of what runs it, one of `backends.BACKENDS`

    def _sanitize_parameters(
        self, threshold: float | None = None, category: str | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        of_category = {} if category is None else {"category": category}
        of_threshold = {} if threshold is None else {"threshold": threshold}
        return {}, of_category, of_threshold | of_category

    def preprocess(self, input_: Photo) -> dict[str, Any]:
        """The photo and its `pixel_values`, (1, 3, H, W); raises as `open_photo` does."""
        photo = open_photo(input_)
        return {**self.image_processor(photo, return_tensors="pt"), "photo": photo}

    def _forward(
        self, input_tensors: dict[str, Any], category: str | None = None
    ) -> dict[str, Any]:
        pixel_values = input_tensors["pixel_values"].to(self.model.dtype)
        output = self.detector.detect(pixel_values, category)
        return {"photo": input_tensors["photo"], **{name: output[name] for name in OUTPUTS}}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        threshold: float = THRESHOLD,
        category: str | None = None,
    ) -> Inspection:
        """Bring one photo's results to the photo's geometry and put them in words.

        Raises `ValueError` as `judge` does, and `ModelLoadError` when the model gives no score.
        """
        photo = model_outputs["photo"]
        photo = photo[0] if isinstance(photo, list) else photo  # as batching leaves it
        calibration = self.model.calibration_of(category)
        score = model_outputs["anomaly_score"].item()
        if calibration is None or math.isnan(score):  # NaN exceeds no threshold
            raise ModelLoadError(
                f"The model {self._model_name} gives no score for this photo: it is not calibrated "
                "for the category, or its weights are damaged; train it again, or choose another "
                "one."
            )
        anomaly_map = model_outputs["anomaly_map"]  # (1, h, w)
        scores = calibration.score(anomaly_map)
        score_map = scores[0].float().numpy()
        size = (photo.height, photo.width)
        resize = self.image_processor.post_process_anomaly_map
        painted = model_outputs["reconstruction"][0].float().clamp(0, 1)  # (3, h, w)
        levels = (painted * 255).round().byte()
        reconstruction = Image.fromarray(levels.permute(1, 2, 0).numpy())
        part = silhouette(reconstruction, score_map.shape)
        doubt = doubt_of(model_outputs["doubt"].item())
        surroundings = self._surroundings(model_outputs, calibration, category)
        judgement = judge(score, score_map, size, threshold, part, doubt, surroundings)
        return Inspection(
            score=score,
            doubt=doubt,
            anomaly_map=resize(anomaly_map, [size])[0],
            heatmap=paint_heatmap(photo, resize(scores, [size])[0]),
            reconstruction=reconstruction.resize(photo.size, Image.Resampling.BICUBIC),
            raw_score=model_outputs["raw_score"].item(),
            photo=photo,
            score_map=score_map,
            part=part,
            surroundings=surroundings,
            **judgement._asdict(),
        )

    def _surroundings(
        self, outputs: dict[str, Any], calibration: Calibration, category: str | None
    ) -> Surroundings | None:
        """What one photo's ground shows; None where the model tells no ground apart."""
        if self.model.ground is None:
            return None
        judged = outputs["judged"][0].numpy() > 0
        scores = calibration.score(outputs["ground_map"])[0].float().numpy()
        number = self.model.category_numbers(category, 1)
        places = self.model.ground.places[number][0].cpu().numpy() > 0
        return Surroundings(np.where(judged, 0, scores), apart_from(judged, places))


def load_pipeline(
    model: str | os.PathLike,
    *,
    revision: str | None = None,
    token: str | None = None,
    device: str | None = None,
    local_files_only: bool = False,
    backend: str = TORCH,
) -> InspectionPipeline:
    """Load a calibrated model as a pipeline, ready to inspect; `load_model` has the arguments.

    It runs on the `device`, such as "cpu" or "cuda", chosen by transformers if None, by the
    `backend`: "torch"; "onnxruntime" or "openvino", which need the graph that publishing/export.py
    writes beside the model; or "auto", the fastest that is there. Raises `ModelLoadError` when it
    can't be loaded (see `load_model`), is not calibrated, or can't be run by the backend.
    """
    where = {"revision": revision, "token": token, "local_files_only": local_files_only}
    loaded, processor = load_model(model, **where)
    inspect = InspectionPipeline(model=loaded, image_processor=processor, task=TASK, device=device)
    inspect.detector, inspect.backend = load_detector(loaded, model, backend, **where)
    return inspect
