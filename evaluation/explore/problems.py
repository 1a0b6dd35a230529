"""What may go wrong with these photos, in words, and how bad it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from data.dataset import num_held_out
from data.folder import PHOTO_SUFFIXES
from evaluation.documents.wording import percent, plural
from evaluation.explore.duplicates import NEAR, Match
from evaluation.explore.photo import QUANTITIES, PhotoFacts
from evaluation.explore.sources import TEST, TRAIN, Problem
from training.recipe import Recipe

STOPS, NOTE = "stops", "note"
SEVERITIES = {STOPS: "stops training or evaluation", "look": "look at it", NOTE: "good to know"}
FEWEST_GOOD = 3  # that `data.dataset.split_calibration` takes
FEWEST_FOR_LIGHT = 10  # photos on either side that say how they were taken
SAME_SHAPE = 0.01  # aspect ratios that differ by less are one: a crop by a pixel or two


class Kind(NamedTuple):
    """A kind of problem, as problems.yaml describes it; `noun` is empty where `text` is whole."""

    severity: str
    text: str
    advice: str
    noun: str = ""


def _read_kinds() -> dict[str, Kind]:
    """The kinds by name, those of one severity in the order in which they are told."""
    text = Path(__file__).with_name("problems.yaml").read_text(encoding="utf-8")
    known = {"suffixes": ", ".join(PHOTO_SUFFIXES), "fewest": FEWEST_GOOD}
    return {
        name: Kind(**{**fields, "advice": fields["advice"].format(**known)})
        for name, fields in yaml.safe_load(text).items()
    }


KINDS = _read_kinds()


class ProblemGroup(NamedTuple):
    """All problems, at least one, of one of the `KINDS` in one category."""

    kind: str
    category: str
    problems: list[Problem]

    @property
    def severity(self) -> str:
        """How bad it is, one of `SEVERITIES`."""
        return KINDS[self.kind].severity

    @property
    def title(self) -> str:
        """Such as "3 photos that can't be read"."""
        kind, number = KINDS[self.kind], len(self.problems)
        if not kind.noun:
            return kind.text
        text = kind.text if number == 1 else kind.text.replace("that is ", "that are ")
        return f"{plural(number, kind.noun)} {text}"

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return KINDS[self.kind].advice


def group_problems(problems: Iterable[Problem]) -> list[ProblemGroup]:
    """Problems by kind and category, the worst kinds first."""
    groups: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.kind, problem.category].append(problem)
    severities, kinds = list(SEVERITIES), list(KINDS)
    return sorted(
        (ProblemGroup(kind, category, some) for (kind, category), some in groups.items()),
        key=lambda one: (severities.index(one.severity), one.category, kinds.index(one.kind)),
    )


def category_problems(
    category: str, photos: Sequence[PhotoFacts], problems: Sequence[Problem]
) -> list[Problem]:
    """What only all readable photos of a category together show, added to what each one did."""
    found = [*problems]
    missing = [problem for problem in found if problem.kind == "photo_without_mask"]
    test = [photo.stored for photo in photos if photo.stored.split == TEST]
    if missing and all(stored.mask is None for stored in test if not stored.is_good):
        found = [problem for problem in found if problem.kind != "photo_without_mask"]
        detail = f"{plural(len(missing), 'defective photo')} without one"
        found.append(Problem("no_masks", category, f"{category}/ground_truth", detail))
    found += _counts_that_fail(category, photos)
    found += _unlike_most(category, photos)
    return found + _other_light(category, photos)


def match_problems(matches: Iterable[Match]) -> list[Problem]:
    """Equal and nearly equal photos as problems, at the place of the second one."""
    problems = []
    for match in matches:
        near = match.how == NEAR
        if match.first.stored.category != match.second.stored.category:
            kind = "other_category"
        elif match.is_contradiction:
            kind = "contradiction"
        elif match.is_leak:
            kind = "near_leak" if near else "leak"
        else:
            kind = "near_twice" if near else "twice"
        # Of a leak, the photo to look at is the one of the test, whatever came first.
        first, second = match.first.stored, match.second.stored
        if second.split == TRAIN != first.split:
            first, second = second, first
        detail = f"{match.how if not near else 'nearly equal'}: {first.name}"
        problems.append(Problem(kind, second.category, second.name, detail))
    return problems


def smallest_promise(n_good: int) -> float | None:
    """The smallest false-alarm rate that calibration can promise from so many good photos.

    With the share that training holds out by default; None where that is too few to train.
    """
    if n_good < FEWEST_GOOD:
        return None
    return 1 / (num_held_out(n_good, Recipe().calibration_fraction) + 1)


def _counts_that_fail(category: str, photos: Sequence[PhotoFacts]) -> list[Problem]:
    n_good = sum(photo.stored.split == TRAIN for photo in photos)
    test = [photo for photo in photos if photo.stored.split == TEST]
    n_good_test = sum(photo.stored.is_good for photo in test)
    promise, place = smallest_promise(n_good), f"{category}/train/good"
    problems = []
    if n_good == 0:
        problems.append(Problem("no_good_photos", category, place))
    elif promise is None:
        problems.append(Problem("few_good_photos", category, place, plural(n_good, "photo")))
    elif promise > Recipe().false_alarm_rate:
        problems.append(Problem("weak_promise", category, place, _promise(n_good, promise)))
    if not test:
        problems.append(Problem("no_test_photos", category, f"{category}/test"))
    elif n_good_test == 0:
        problems.append(Problem("no_good_test_photos", category, f"{category}/test/good"))
    elif n_good_test == len(test):
        problems.append(Problem("no_defective_test_photos", category, f"{category}/test"))
    return problems


def _promise(n_good: int, promise: float) -> str:
    recipe = Recipe()
    held_out = num_held_out(n_good, recipe.calibration_fraction)
    enough = next(n for n in count(n_good) if (smallest_promise(n) or 1) <= recipe.false_alarm_rate)
    return (
        f"of {n_good} photos, training holds out {held_out}, which promise no rate under "
        f"{percent(promise)}; {percent(recipe.false_alarm_rate)} needs {enough} photos"
    )


def _other_light(category: str, photos: Sequence[PhotoFacts]) -> list[Problem]:
    """Quantities in which most good test photos are unlike most training photos."""
    good = [photo for photo in photos if photo.stored.is_good]
    problems = []
    for quantity in QUANTITIES:
        train, test = (
            [getattr(photo, quantity) for photo in good if photo.stored.split == split]
            for split in (TRAIN, TEST)
        )
        if len(train) < FEWEST_FOR_LIGHT or len(test) < FEWEST_FOR_LIGHT:
            continue
        low, high = np.quantile(train, (0.025, 0.975))
        outside = sum(not low <= value <= high for value in test)
        if 2 * outside > len(test):
            detail = (
                f"{quantity}: {outside} of {len(test)} outside; median {np.median(test):.3g}, in "
                f"training {np.median(train):.3g}"
            )
            problems.append(Problem("other_light", category, f"{category}/test/good", detail))
    return problems


def _unlike_most(category: str, photos: Sequence[PhotoFacts]) -> list[Problem]:
    """Photos whose shape, size or mode is not the most frequent one of their category."""
    if not photos:
        return []
    ((size, _),) = Counter(photo.size for photo in photos).most_common(1)
    ((mode, _),) = Counter(photo.mode for photo in photos).most_common(1)
    problems = []
    for photo in photos:
        width, height = photo.size
        detail = f"{width} x {height}, most are {size[0]} x {size[1]}"
        if photo.size != size:
            same_shape = abs(width * size[1] / (height * size[0]) - 1) < SAME_SHAPE
            kind = "mixed_sizes" if same_shape else "mixed_shapes"
            problems.append(Problem(kind, category, photo.stored.name, detail))
        if photo.mode != mode:
            detail = f"{photo.mode}, most are {mode}"
            problems.append(Problem("mixed_modes", category, photo.stored.name, detail))
    return problems
