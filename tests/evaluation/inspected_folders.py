"""Folders of photos for inspect_folder.py, its words, and what the rows it wrote say."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from data import synthetic
from evaluation.inspect_folder.parts import Row
from evaluation.inspect_folder.photos import list_photos
from modeling import Inspection

PHOTOS = int(os.environ.get("INSPECTED_PHOTOS", 60))
SIDE = 192  # as in the training of the model
SUFFIXES = (".png", ".jpg", ".BMP", ".tiff", ".webp")
BROKEN = "line 1/broken.png"


def make_photos(folder: Path, count: int) -> Path:
    """Photos of good and defective nuts in several folders, no two alike, and one damaged file."""
    generator = np.random.default_rng(0)
    parts = [
        np.asarray(synthetic.render("flange_nut", seed=seed, defect=defect, size=SIDE).image)
        for seed in range(4)
        for defect in ("good", "good", "dent", "scratch")
    ]
    for index in range(count - 1):
        grain = generator.integers(-3, 4, (SIDE, SIDE, 3))
        pixels = np.clip(parts[index % len(parts)] + grain, 0, 255).astype(np.uint8)
        path = folder / f"line {index % 3}" / f"{index:05d}{SUFFIXES[index % len(SUFFIXES)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / BROKEN).write_bytes((folder / "line 0" / "00000.png").read_bytes()[:500])
    return folder


def copy_ten(photos: Path, folder: Path) -> Path:
    """A folder of ten of these photos that a test may change."""
    folder.mkdir()
    for path in sorted(photos.rglob("0000?.*")):
        shutil.copy(path, folder)
    assert len(list_photos(folder, folder.parent / "out").paths) == 10
    return folder


def arguments_for(model: Path, photos: Path, output_dir: Path, *more: str) -> list[str]:
    words = ["--model", str(model), "--photos", str(photos), "--output_dir", str(output_dir)]
    return [*words, "--part_size", str(max(2, PHOTOS // 50)), *more]


def read_rows(output_dir: Path) -> dict[str, Row]:
    """Path to row without its time, after making sure that no path stands there twice."""
    parts = sorted(output_dir.glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    counts = Counter(row["path"] for row in rows)
    assert [path for path, count in counts.items() if count > 1] == []
    return {row["path"]: {k: v for k, v in row.items() if k != "time"} for row in rows}


def said(capsys) -> str:
    """The one sentence of an error."""
    (line,) = (
        line for line in capsys.readouterr().err.splitlines() if line.startswith("inspect_folder")
    )
    return line


def expected_row(inspection: Inspection) -> Row:
    """What the row of a photo that was inspected says."""
    return {
        "verdict": inspection.verdict,
        "score": inspection.score,
        "raw_score": inspection.raw_score,
        "threshold": inspection.threshold,
        "doubt": inspection.doubt,
        "region_count": len(inspection.regions),
        "regions": [
            {
                **dict(zip(("left", "top", "right", "bottom"), region.box, strict=True)),
                "area": region.area,
                "peak": region.peak,
                "shape": region.shape,
                "at_outline": region.at_outline,
                "apart": region.apart,
            }
            for region in inspection.regions
        ],
        "note": inspection.notes,
        "error": None,
        "width": inspection.photo.width,
        "height": inspection.photo.height,
    }
