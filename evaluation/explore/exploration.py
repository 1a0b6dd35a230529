"""A data set as it is: its photos, its problems, its duplicates and its odd ones out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from evaluation.explore.duplicates import Match, find_matches
from evaluation.explore.photo import QUANTITIES, PhotoFacts, examine
from evaluation.explore.problems import (
    ProblemGroup,
    category_problems,
    group_problems,
    match_problems,
    smallest_promise,
)
from evaluation.explore.sources import Category, Problem
from evaluation.explore.statistics import Outlier, by_group, find_outliers, summarise_group

# What exploration.json takes as it is, of a group of problems and of a photo.
GROUP_FIELDS = ("severity", "kind", "category", "title", "advice")
PHOTO_FIELDS = (*QUANTITIES, "defect_area", "components")


@dataclass(frozen=True)
class Exploration:
    """All that was found out about a data set.

    The photos that could be read stand by category and in their order, the worst kinds of problems
    first, equal photos before nearly equal ones, and the most unusual outliers of a category first.
    """

    photos: dict[str, list[PhotoFacts]]
    problems: list[ProblemGroup]
    matches: list[Match]
    outliers: dict[str, list[Outlier]]


def explore(categories: Iterable[Category], *, progress: bool = False) -> Exploration:
    """Read every photo once and look at all of them together; `progress` shows a bar on stderr.

    Memory: one photo a core at a time, and some 30 kB a photo for small pictures and thumbnail.
    """
    photos: dict[str, list[PhotoFacts]] = {}
    problems: list[Problem] = []
    for category in categories:
        read, wrong = _read(category, progress)
        photos[category.name] = read
        problems += category_problems(category.name, read, [*category.problems, *wrong])
    matches = find_matches([photo for several in photos.values() for photo in several])
    groups = group_problems([*problems, *match_problems(matches)])
    outliers = {name: find_outliers(several) for name, several in photos.items()}
    return Exploration(photos, groups, matches, outliers)


def _read(category: Category, progress: bool) -> tuple[list[PhotoFacts], list[Problem]]:
    # Decoders and numpy let go of the interpreter, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        examined = pool.map(examine, category.photos)
        total = len(category.photos)
        bar = tqdm(examined, category.name, total, unit="photo", disable=not progress)
        facts, wrong = zip(*bar, strict=True) if total else ((), ())
    return [one for one in facts if one is not None], [one for some in wrong for one in some]


def as_record(exploration: Exploration) -> dict[str, Any]:
    """The content of exploration.json without what made it, as docs/exploration.md describes it."""
    return {
        "categories": {
            name: {
                "smallest_false_alarm_rate": smallest_promise(count_good(photos)),
                "groups": {
                    group: summarise_group(some) for group, some in by_group(photos).items()
                },
            }
            for name, photos in exploration.photos.items()
        },
        "problems": [
            {
                **{name: getattr(group, name) for name in GROUP_FIELDS},
                "places": [{"place": one.place, "detail": one.detail} for one in group.problems],
            }
            for group in exploration.problems
        ],
        "duplicates": [
            {
                "first": match.first.stored.name,
                "second": match.second.stored.name,
                "how": match.how,
                "distance": match.distance,
                "leak": match.is_leak,
            }
            for match in exploration.matches
        ],
        "outliers": [
            {**outlier._asdict(), "photo": outlier.photo.stored.name, "category": category}
            for category, outliers in exploration.outliers.items()
            for outlier in outliers
        ],
        "photos": [_photo_record(photo) for some in exploration.photos.values() for photo in some],
    }


def _photo_record(photo: PhotoFacts) -> dict[str, Any]:
    return {
        "image_id": photo.stored.image_id,
        "name": photo.stored.name,
        "category": photo.stored.category,
        "split": photo.stored.split,
        "defect": photo.stored.kind,
        "width": photo.size[0],
        "height": photo.size[1],
        "mode": photo.mode,
        "format": photo.file_format,
        **{name: getattr(photo, name) for name in PHOTO_FIELDS},
    }


def count_good(photos: Sequence[PhotoFacts]) -> int:
    """How many photos there are to train with."""
    return sum(photo.stored.is_for_training for photo in photos)
