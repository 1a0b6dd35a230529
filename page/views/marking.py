"""The picture that a visitor takes home: the photo with its deviation, regions and verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from page.inspection.results import ACCEPT, REJECT, Result
from page.views.result_pictures import NUMBERED

# Sizes as shares of the photo's longer side, so that they look alike at any resolution.
LINE_SHARE, NUMBER_SHARE, CAPTION_SHARE = 1 / 400, 1 / 32, 1 / 28
LEAST_TEXT = 9  # pixels; smaller letters can't be read
INK, PAPER = "#ffffff", "#111111"
VERDICT_COLOURS = {"PASS": "#0f6b3c", "FAIL": "#b3161b", "CHECK": "#3b4a63"}
# Pillow's own font has Latin letters only, and the CSV beside it is English too.
DECIDED = {ACCEPT: ", operator: accept", REJECT: ", operator: reject"}


def scores_and_mask(
    score_map: np.ndarray, photo_size: tuple[int, int], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """A score map, (h, w) in 0..1, at the size of its photo, and where it exceeds the threshold.

    Scores (H, W), float32, and the mask (H, W), bool; the threshold is on the score, 0..1.
    """
    from torch import from_numpy

    from modeling import InspectionImageProcessor
    from modeling.scoring import exceeds

    resize = InspectionImageProcessor().post_process_anomaly_map
    scores = resize(from_numpy(score_map)[None], [photo_size])[0]
    # Where a map ends at the limit, rounding must not make a region of a part that passes.
    np.minimum(scores, score_map.max(), out=scores)
    return scores, exceeds(scores, threshold)


def mark_photo(
    photo: Image.Image, scores: np.ndarray, mask: np.ndarray, result: Result
) -> Image.Image:
    """Paint the deviation, outline and number the regions, and put the verdict below.

    Of an upright RGB photo and the scores and mask that `scores_and_mask` gave for it. The photo's
    pixels keep their places, the caption is a strip below them.
    """
    from modeling.overlay import paint_heatmap

    marked = paint_heatmap(photo, scores)
    longer = max(photo.size)
    _draw_outline(marked, mask, max(1, round(longer * LINE_SHARE)))
    boxes = [region.box for region in result.record.regions[:NUMBERED]]
    _draw_numbers(marked, boxes, max(LEAST_TEXT, round(longer * NUMBER_SHARE)))
    return _with_caption(marked, caption_of(result), VERDICT_COLOURS[result.record.verdict])


def caption_of(result: Result) -> str:
    """Verdict, score and limit, number of regions, and what the operator decided.

    Example:
        >>> from modeling import InspectionRecord
        >>> record = InspectionRecord("PASS", 0.5, score=0.1)
        >>> caption_of(Result("a.png", None, "nut", "m", "m", record, ""))
        'PASS  score 0.100, limit 0.500, no region'
    """
    record = result.record
    count = len(record.regions)
    regions = {0: "no region", 1: "1 region"}.get(count, f"{count} regions")
    return (
        f"{record.verdict}  score {record.score:.3f}, limit {record.threshold:.3f}, {regions}"
        f"{DECIDED.get(result.decision, '')}"
    )


def _draw_outline(picture: Image.Image, mask: np.ndarray, width: int) -> None:
    """A light line inside the edge of the mask and a dark one outside: seen on any ground."""
    from scipy.ndimage import binary_erosion

    inside = mask & ~binary_erosion(mask, iterations=width)
    around = ~mask & ~binary_erosion(~mask, iterations=width, border_value=1)
    picture.paste(PAPER, mask=Image.fromarray(around))
    picture.paste(INK, mask=Image.fromarray(inside))


def _draw_numbers(
    picture: Image.Image, boxes: Sequence[tuple[int, int, int, int]], size: int
) -> None:
    """The numbers that the page's table has too, above their boxes where there is room."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    height = round(1.3 * size)
    numbered = list(enumerate(boxes, start=1))
    for number, (left, top, _, _) in reversed(numbered):  # the strongest lies on top
        width = round(font.getlength(str(number)) + 0.6 * size)
        x = max(0, min(left, picture.width - width))
        y = max(0, top - height)
        draw.rectangle((x, y, x + width, y + height), PAPER, INK)
        draw.text((x + width / 2, y + height / 2), str(number), INK, font, anchor="mm")


def _with_caption(picture: Image.Image, caption: str, colour: str) -> Image.Image:
    """The picture over a strip with one line of text, small enough to fit."""
    room = 0.96 * picture.width
    size = max(LEAST_TEXT, max(picture.size) * CAPTION_SHARE)
    size = max(1.0, size * min(1.0, room / ImageFont.load_default(size).getlength(caption)))
    strip = round(1.8 * max(size, LEAST_TEXT))
    framed = Image.new("RGB", (picture.width, picture.height + strip), colour)
    framed.paste(picture)
    where = (0.02 * picture.width, picture.height + strip / 2)
    draw = ImageDraw.Draw(framed)
    draw.text(where, caption, INK, ImageFont.load_default(size), anchor="lm")
    return framed
