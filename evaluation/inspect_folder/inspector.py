"""Photos to rows: the steps are the pipeline's own, so a row says what the pipeline says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from evaluation.inspect_folder.parts import Row
from evaluation.inspect_folder.photos import as_text
from evaluation.inspect_folder.run import Identity
from modeling import FAIL, Inspection, InspectionPipeline, InspectionRecord, PhotoError

OVERLAYS = "overlays"
FAILURES, NONE, ALL = "failures", "none", "all"
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Inspector:
    """Inspects a batch of photos at a time; called from several threads.

    Attributes:
        pipe: the model.
        identity: the run; its category's calibration scores, and its threshold judges.
        output_dir: gets the overlays.
        overlays: of which photos one is painted: `FAILURES`, `NONE` or `ALL` that can be read.
    """

    pipe: InspectionPipeline
    identity: Identity
    output_dir: Path
    overlays: str

    def __call__(self, paths: Sequence[str]) -> list[Row]:
        """Inspect photos, of which some may turn out to be none.

        Args:
            paths: of the photos, from the run's folder.

        Returns:
            A row each, in their order, with the columns of `parts.SCHEMA`.

        Raises:
            OSError: when an overlay can't be written.
        """
        opened = [self._open(path) for path in paths]
        judged = iter(self._inspect([photo for photo in opened if isinstance(photo, dict)]))
        rows = []
        for path, photo in zip(paths, opened, strict=True):
            if isinstance(photo, InspectionRecord):
                rows.append(self._row(path, photo, None))
            else:
                inspection = next(judged)
                rows.append(self._row(path, inspection.record(), self._paint(path, inspection)))
        return rows

    def _open(self, path: str) -> dict[str, Any] | InspectionRecord:
        """What the model is shown; of what can't be read, the record that says so."""
        file = Path(self.identity.photos) / path
        try:
            return self.pipe.preprocess(file)
        except PhotoError as error:
            sentence = as_text(str(error).replace(str(file), path))
            return InspectionRecord.failed(sentence, self.identity.threshold)

    def _inspect(self, photos: Sequence[dict[str, Any]]) -> list[Inspection]:
        if not photos:
            return []
        batch = {
            "pixel_values": torch.cat([photo["pixel_values"] for photo in photos]),
            "photo": [photo["photo"] for photo in photos],
        }
        category = self.pipe.model.category_if_several(self.identity.category)
        output = self.pipe.forward(batch, category=category)
        return [
            self.pipe.postprocess(
                {name: value[index : index + 1] for name, value in output.items()},
                threshold=self.identity.threshold,
                category=category,
            )
            for index in range(len(photos))
        ]

    def _row(self, path: str, record: InspectionRecord, overlay: str | None) -> Row:
        height, width = record.photo_size or (None, None)
        regions = None if record.error else [_flat(facts) for facts in record.region_facts()]
        return {
            "path": as_text(path),
            "verdict": record.verdict,
            "score": record.score,
            "raw_score": record.raw_score,
            "threshold": record.threshold,
            "doubt": record.doubt,
            "region_count": None if regions is None else len(regions),
            "regions": regions,
            "note": record.note,
            "error": record.error,
            "width": width,
            "height": height,
            **_content(Path(self.identity.photos) / path),
            "category": self.identity.category,
            "model": self.identity.model,
            "model_sha256": self.identity.model_sha256,
            "overlay": overlay,
            "time": datetime.now(UTC),
        }

    def _paint(self, path: str, inspection: Inspection) -> str | None:
        """Write the photo with the deviation painted over it; where, from the output folder."""
        if self.overlays == NONE or (self.overlays == FAILURES and inspection.verdict != FAIL):
            return None
        name = f"{OVERLAYS}/{path}.jpg"  # with its ending: a nut.png may lie beside a nut.jpg
        picture = self.output_dir / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        inspection.heatmap.save(picture, quality=JPEG_QUALITY)
        return as_text(name)


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """A region with its box as four columns."""
    box = dict(zip(("left", "top", "right", "bottom"), facts.pop("box"), strict=True))
    return {**box, **facts}


def _content(file: Path) -> dict[str, Any]:
    """What tells later whether a file is still the one that was inspected."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return {"sha256": digest, "bytes": content.tell()}
    except OSError:  # gone, or not to be read: the row says so by its error
        return {}
