"""The pictures of a result side by side, the outlines of its regions, and their table.

What depends on the threshold (outlines, table) is apart from the pictures, so that moving the
slider leaves them untouched; what needs no server (wipe, heat, full screen) is done by page.js.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from contourpy import contour_generator

from page.inspection.results import JPEG_QUALITY, Result
from page.inspection.temporary_folder import TemporaryFolder, writing
from page.languages import Translation
from page.markup import address, decimal, icon, said

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from PIL import Image

    from modeling import Inspection, Region

NUMBERED = 20  # regions that get a number and a row; the weaker ones are outlined together


@dataclass(frozen=True)
class ResultPictures:
    """Files of the pictures that are shown of one result, in the visitor's workplace.

    Attributes:
        original: JPEG of the photo's size.
        reconstruction: JPEG of the photo's size.
        heat: PNG with transparency, of the score map's size.
        heatmap: JPEG of the photo's size: the photo with the heat over it, to be taken home.
    """

    original: Path
    reconstruction: Path
    heat: Path
    heatmap: Path


def write_pictures(inspection: Inspection, workplace: TemporaryFolder) -> ResultPictures:
    """Write the pictures of an inspection into the visitor's workplace.

    Raises:
        NoRoomError: when the disk is full.
    """
    from modeling.overlay import heat_layer

    def jpeg(picture: Image.Image) -> Path:
        path = workplace.new_file(".jpg")
        with writing(path) as file:
            picture.save(file, quality=JPEG_QUALITY)
        return path

    heat = workplace.new_file(".png")
    with writing(heat) as file:
        heat_layer(inspection.score_map).save(file)
    photos = (inspection.photo, inspection.reconstruction, inspection.heatmap)
    original, reconstruction, heatmap = map(jpeg, photos)
    return ResultPictures(original, reconstruction, heat, heatmap)


def pictures_html(result: Result, pictures: ResultPictures, text: Translation) -> str:
    """Three figures of one size: original, how it should look, where it differs.

    Of a photo that can't be judged, the first one alone.

    Args:
        result: what is shown; its outlines come from `outlines`, by the id that both know.
        pictures: its files.
        text: the visitor's language.
    """
    height, width = result.photo_size
    original = _image(pictures.original, text("pictures.original_alt"))
    wiped = _image(pictures.original, "", "wiped")
    reconstruction = _image(pictures.reconstruction, text("pictures.reconstruction_alt"))
    beneath = _image(pictures.original, text("pictures.difference_alt"))
    heat = _image(pictures.heat, "", "heat")
    figures = (
        ("original", original, _checkbox(text), pictures.original),
        (
            "reconstruction",
            f'{reconstruction}{wiped}<i class="edge"></i>',
            _slider("wipe", 0, text),
            pictures.reconstruction,
        ),
        (
            "difference",
            beneath + heat,
            _slider("heat", 100, text) + _legend(text),
            pictures.heatmap,
        ),
    )
    if result.doubt is not None:  # of another product nothing can be painted
        figures = figures[:1]
    shown = "".join(_figure(result, text, *figure) for figure in figures)
    return (
        f'<div class="pictures" role="group" aria-label="{said(text, "pictures.title")}" '
        f'style="--ratio:{width / height:.5f}; --photo-width:{width}; --photo-height:{height}">'
        f"{shown}</div>"
    )


def _figure(
    result: Result, text: Translation, name: str, layers: str, control: str, download: Path
) -> str:
    """One picture with its title and buttons above and its control below."""
    height, width = result.photo_size
    title = text(f"pictures.{name}")
    enlarge = said(text, "pictures.full_screen", picture=title)
    save = said(text, "pictures.download", picture=title)
    file = html.escape(f"{Path(result.file).stem}_{name}.jpg")
    return f"""
<figure class="picture" data-picture="{name}">
  <figcaption>
    <span class="title">{html.escape(title)}</span>
    <a class="tool" href="{address(download)}" download="{file}" title="{save}"
       aria-label="{save}">{icon("download")}</a>
    <button type="button" class="tool enlarge" title="{enlarge}"
            aria-label="{enlarge}">{icon("full")}</button>
  </figcaption>
  <div class="mount"><div class="stage">{layers}
    <svg class="overlay" viewBox="0 0 {width} {height}" preserveAspectRatio="none"
         aria-hidden="true"><use href="#{_outlines_id(result)}"></use></svg>
  </div></div>
  <div class="control">{control}</div>
</figure>"""


def _image(path: Path, alt: str, name: str = "photo") -> str:
    return f'<img class="{name}" src="{address(path)}" alt="{html.escape(alt)}" draggable="false">'


def _checkbox(text: Translation) -> str:
    return (
        '<label class="switch"><input type="checkbox" data-setting="outlines" checked> '
        f"{said(text, 'pictures.outlines')}</label>"
    )


def _slider(name: str, percent: int, text: Translation) -> str:
    """A range of 0..100 that page.js reads; `percent` is where it stands at first."""
    return (
        f'<label class="slider"><span>{said(text, f"pictures.{name}")}</span>'
        f'<input type="range" min="0" max="100" value="{percent}" data-setting="{name}"></label>'
    )


def _legend(text: Translation) -> str:
    """The colours of the heat over the scores from 0 to 1, with the calibrated limit."""
    from modeling.overlay import COLOURS, OPACITIES, STOPS

    stops = ", ".join(
        f"rgb({r} {g} {b} / {opacity}) {100 * stop:.0f}%"
        for (r, g, b), opacity, stop in zip(COLOURS, OPACITIES, STOPS, strict=True)
    )
    legend = said(text, "pictures.legend")
    middle = decimal("0.5", text)
    return (
        f'<div class="legend" role="img" aria-label="{legend}" title="{legend}"><span>0</span>'
        f'<i style="background-image:linear-gradient(to right, {stops})"></i><span>1</span>'
        f"<b>{middle}</b></div>"
    )


def outlines_html(result: Result) -> str:
    """The outlines of the regions with their numbers, which every figure of the result repeats.

    The figures' <use> elements refer to it by its id, so a browser redraws them by itself when
    this changes. Nothing is drawn where there is no region.
    """
    shapes = _paths(result) if result.regions else []
    drawn = "".join(
        f'<g class="outline" data-region="{number}"><path class="under" d="{path}"/>'
        f'<path class="over" d="{path}"/></g>'
        for number, path in enumerate(shapes, start=1)
    )
    badges = "".join(
        f'<g class="outline-number" data-region="{number}" '
        f'style="--x:{region.box[0]}px; --y:{region.box[1]}px"><circle r="10"/>'
        f"<text>{number}</text></g>"
        for number, region in enumerate(result.regions[:NUMBERED], start=1)
    )
    return (
        '<svg class="outlines" width="0" height="0" aria-hidden="true">'
        f'<g id="{_outlines_id(result)}">{drawn}{badges}</g></svg>'
    )


def regions_html(result: Result, text: Translation) -> str:
    """The regions as a table, strongest first, numbered as the outlines; nothing where none is."""
    if not result.regions:
        return ""
    columns = ("number", "position", "shape", "area", "peak")
    head = "".join(f'<th scope="col">{said(text, f"regions.{name}")}</th>' for name in columns)
    rows = "".join(
        _row(number, region, result.photo_size, text)
        for number, region in enumerate(result.regions[:NUMBERED], start=1)
    )
    more = len(result.regions) - NUMBERED
    key = "regions.more_one" if more == 1 else "regions.more_many"
    rest = f'<p class="more">{said(text, key, count=more)}</p>' if more > 0 else ""
    return (
        f'<table class="regions" aria-label="{said(text, "regions.title")}">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
    )


def _row(number: int, region: Region, photo_size: tuple[int, int], text: Translation) -> str:
    left, top, right, bottom = region.box
    peak = decimal(f"{region.peak:.3f}", text)
    area = text("regions.percent", percent=decimal(f"{100 * region.area:.2f}", text))
    shape = "outline" if region.at_outline else region.shape
    return (
        f'<tr data-region="{number}"><td><span class="chip">{number}</span></td>'
        f"<td>{_place(region, photo_size, text)} "
        f'<span class="pixels">x {left}&ndash;{right}, y {top}&ndash;{bottom}</span></td>'
        f"<td>{said(text, f'regions.shape_{shape}')}</td><td>{html.escape(area)}</td>"
        f"<td>{peak}</td></tr>"
    )


def _place(region: Region, photo_size: tuple[int, int], text: Translation) -> str:
    from modeling.regions import summarise_regions

    finding = summarise_regions([region], photo_size)
    return said(text, f"regions.{finding.row}_{finding.column}")


def _paths(result: Result) -> list[str]:
    """SVG path data in pixels of the photo: one a numbered region, and one for all weaker ones."""
    from modeling.regions import label_regions

    score_map, _ = result.read_maps()
    labels, count = label_regions(score_map, result.threshold)
    masks = [labels == number for number in range(1, min(count, NUMBERED) + 1)]
    if count > NUMBERED:
        masks.append(labels > NUMBERED)
    # Other regions are taken out, for the contour of one must not run into its neighbour.
    maps = (np.where(mask | (labels == 0), score_map, 0) for mask in masks)
    return [_path(values, result.threshold, result.photo_size) for values in maps]


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
    return f"outlines-{html.escape(kept)}"
