"""Photos to rows: the steps are the pipeline's own, so a row says what the pipeline says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
    """Inspects a batch of photos at a time; called from several threads."""

    pipe: InspectionPipeline
    identity: Identity  # its category's calibration scores, and its threshold judges
    output_dir: Path  # gets the overlays
    overlays: str  # of which photos: `FAILURES`, `NONE` or `ALL` that can be read

    def __call__(self, paths: Sequence[str]) -> list[Row]:
        """A row a file, in their order; some may turn out to be no photo.

        Paths lead from the run's folder. An overlay that can't be written is an OSError.
        """
        photos, failed = {}, {}
        for path in paths:
            file = Path(self.identity.photos) / path
            try:
                photos[path] = self.pipe.preprocess(file)
            except PhotoError as error:
                sentence = as_text(str(error).replace(str(file), path))
                failed[path] = InspectionRecord.failed(sentence, self.identity.threshold)
        inspections = dict(zip(photos, self._inspect([*photos.values()]), strict=True))
        return [
            self._row(path, failed[path], None)
            if path in failed
            else self._row(path, inspections[path].record(), self._paint(path, inspections[path]))
            for path in paths
        ]

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
        """All that is known of a photo, of which the columns of `parts.SCHEMA` are stored."""
        height, width = record.photo_size or (None, None)
        regions = None if record.error else [_flat(facts) for facts in record.region_facts()]
        return {
            **asdict(self.identity),
            **vars(record),
            **_content(Path(self.identity.photos) / path),
            "path": as_text(path),
            "region_count": None if regions is None else len(regions),
            "regions": regions,
            "width": width,
            "height": height,
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
