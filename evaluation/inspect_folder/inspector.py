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
from modeling import FAIL, Inspection, InspectionPipeline, PhotoError

ERROR = "ERROR"  # in the place of a verdict: the photo can't be read
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
        return [
            self._row(path, next(judged) if isinstance(photo, dict) else photo)
            for path, photo in zip(paths, opened, strict=True)
        ]

    def _open(self, path: str) -> dict[str, Any] | PhotoError:
        try:
            return self.pipe.preprocess(Path(self.identity.photos) / path)
        except PhotoError as error:
            return error

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

    def _row(self, path: str, found: Inspection | PhotoError) -> Row:
        file = Path(self.identity.photos) / path
        row = {
            "path": as_text(path),
            "threshold": self.identity.threshold,
            "category": self.identity.category,
            "model": self.identity.model,
            "model_sha256": self.identity.model_sha256,
            "time": datetime.now(UTC),
            **_content(file),
        }
        if isinstance(found, PhotoError):
            sentence = str(found).replace(str(file), path)
            return {**row, "verdict": ERROR, "error": as_text(sentence)}
        return {
            **row,
            "verdict": found.verdict,
            "score": found.score,
            "raw_score": found.raw_score,
            "doubt": found.doubt,
            "region_count": len(found.regions),
            "regions": [_region(region) for region in found.regions],
            "note": found.notes,
            "width": found.photo.width,
            "height": found.photo.height,
            "overlay": self._paint(path, found),
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


def _region(region: Any) -> dict[str, Any]:
    left, top, right, bottom = region.box
    facts = region._asdict()
    del facts["box"]
    return {"left": left, "top": top, "right": right, "bottom": bottom, **facts}


def _content(file: Path) -> dict[str, Any]:
    """What tells later whether a file is still the one that was inspected."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            return {"sha256": digest, "bytes": content.tell()}
    except OSError:  # gone, or not to be read: the row says so by its error
        return {}
