"""The pictures of a result side by side, the outlines of its regions, and their table.

What depends on the threshold (outlines, table) is apart from the pictures, so that moving the
slider leaves them untouched; what needs no server (wipe, heat, full screen) is done by page.js.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from contourpy import contour_generator

from page.inspection.results import JPEG_QUALITY, Result
from page.inspection.temporary_folder import TemporaryFolder, writing
from page.languages import Translation
from page.markup import render

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from PIL import Image

    from modeling import Inspection

NUMBERED = 20  # regions that get a number and a row; the weaker ones are outlined together


@dataclass(frozen=True)
class ResultPictures:
    """Files of the pictures that are shown of one result, in the visitor's folder."""

    original: Path  # JPEG of the photo's size, as are the next and the last
    reconstruction: Path
    heat: Path  # PNG with transparency, of the score map's size
    heatmap: Path  # the photo with the heat over it, to be taken home


def write_pictures(inspection: Inspection, folder: TemporaryFolder) -> ResultPictures:
    """Write the pictures of an inspection into the visitor's folder.

    Raises `NoRoomError` when the disk is full.
    """
    from modeling.overlay import heat_layer

    def jpeg(picture: Image.Image) -> Path:
        path = folder.new_file(".jpg")
        with writing(path) as file:
            picture.save(file, quality=JPEG_QUALITY)
        return path

    heat = folder.new_file(".png")
    with writing(heat) as file:
        heat_layer(inspection.score_map).save(file)
    photos = (inspection.photo, inspection.reconstruction, inspection.heatmap)
    original, reconstruction, heatmap = map(jpeg, photos)
    return ResultPictures(original, reconstruction, heat, heatmap)


def pictures_html(result: Result, pictures: ResultPictures, text: Translation) -> str:
    """Three figures of one size: original, how it should look, where it differs.

    Of a photo that can't be judged, the first one alone: of another product nothing can be painted.
    The outlines come from `outlines_html`, by the id that both know.
    """
    height, width = result.record.photo_size
    return render(
        "result/pictures.html",
        text=text,
        pictures=pictures,
        is_painted=result.record.doubt is None,
        stem=Path(result.file).stem,
        width=width,
        height=height,
        outlines_id=_outlines_id(result),
        colours=_heat_colours(),
    )


def outlines_html(result: Result) -> str:
    """The outlines of the regions with their numbers, which every figure of the result repeats.

    The figures' <use> elements refer to it by its id, so a browser redraws them by itself when
    this changes. Nothing is drawn where there is no region.
    """
    return render(
        "result/outlines.html",
        outlines_id=_outlines_id(result),
        paths=_paths(result) if result.record.regions else [],
        corners=[region.box[:2] for region in result.record.regions[:NUMBERED]],
    )


def regions_html(result: Result, text: Translation) -> str:
    """The regions as a table, strongest first, numbered as the outlines; nothing where none is."""
    if not result.record.regions:
        return ""
    from modeling.regions import summarise_regions

    regions = result.record.regions[:NUMBERED]
    places = [summarise_regions([region], result.record.photo_size) for region in regions]
    return render(
        "result/regions.html",
        text=text,
        regions=list(zip(regions, places, strict=True)),
        more=len(result.record.regions) - len(regions),
    )


def _heat_colours() -> str:
    """The colours of the heat over the scores from 0 to 1, as CSS takes them for a gradient."""
    from modeling.overlay import COLOURS, OPACITIES, STOPS

    return ", ".join(
        f"rgb({red} {green} {blue} / {opacity}) {100 * stop:.0f}%"
        for (red, green, blue), opacity, stop in zip(COLOURS, OPACITIES, STOPS, strict=True)
    )


def _paths(result: Result) -> list[str]:
    """SVG path data in pixels of the photo: one a numbered region, and one for all weaker ones."""
    from modeling.regions import label_regions

    score_map, _ = result.read_maps()
    labels, count = label_regions(score_map, result.record.threshold)
    masks = [labels == number for number in range(1, min(count, NUMBERED) + 1)]
    if count > NUMBERED:
        masks.append(labels > NUMBERED)
    # Other regions are taken out, for the contour of one must not run into its neighbour.
    maps = (np.where(mask | (labels == 0), score_map, 0) for mask in masks)
    return [_path(values, result.record.threshold, result.record.photo_size) for values in maps]


def _path(values: np.ndarray, level: float, photo_size: tuple[int, int]) -> str:
    """The contours of (h, w) values at a level as SVG path data in pixels of the photo."""
    height, width = photo_size
    # A frame of zeros closes the contours of regions that touch the border.
    framed = np.pad(values.astype(np.float64), 1)
    x = (np.arange(framed.shape[1]) - 0.5) * width / values.shape[1]
    y = (np.arange(framed.shape[0]) - 0.5) * height / values.shape[0]
    rings = contour_generator(x, y, framed).lines(level)
    within = (np.clip(ring, 0, (width, height)) for ring in rings)
    return "".join(
        "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in ring[:-1]) + "Z" for ring in within
    )


def _outlines_id(result: Result) -> str:
    """An id that is the visitor's photo's own, so that two results may lie on one page."""
    kept = "none" if result.photo is None else result.photo.stem
    return f"outlines-{kept}"
