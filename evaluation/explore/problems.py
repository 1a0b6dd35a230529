"""What may go wrong with these photos, in words, and how bad it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from data.dataset import num_held_out
from data.folder import PHOTO_SUFFIXES
from evaluation.documents.wording import percent, plural
from evaluation.explore.duplicates import NEAR, Match
from evaluation.explore.photo import QUANTITIES, PhotoFacts
from evaluation.explore.sources import GOOD, TEST, TRAIN, Problem
from training.recipe import Recipe

STOPS, LOOK, NOTE = "stops", "look", "note"
SEVERITIES = {
    STOPS: "stops training or evaluation",
    LOOK: "look at it",
    NOTE: "good to know",
}
FEWEST_GOOD = 3  # that `data.dataset.split_calibration` takes
FEWEST_FOR_LIGHT = 10  # photos on either side that say how they were taken
SAME_SHAPE = 0.01  # aspect ratios that differ by less are one: a crop by a pixel or two


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        severity: one of `SEVERITIES`.
        noun: what is counted; empty where the sentence stands alone.
        text: what is the matter with them.
        advice: what it means and what to do.
    """

    severity: str
    noun: str
    text: str
    advice: str


KINDS = {
    "no_good_photos": Kind(
        STOPS,
        "",
        "No good photo for training",
        f"Put good photos ({', '.join(PHOTO_SUFFIXES)}) into CATEGORY/train/good.",
    ),
    "few_good_photos": Kind(
        STOPS,
        "",
        "Too few good photos",
        f"Training needs {FEWEST_GOOD} at least, and the promise of a false-alarm rate many more.",
    ),
    "unreadable_photo": Kind(
        STOPS, "photo", "that can't be read", "Training stops there: replace or remove them."
    ),
    "unreadable_mask": Kind(
        STOPS, "photo", "whose mask can't be read", "Replace or remove the mask."
    ),
    "mask_size": Kind(
        STOPS,
        "photo",
        "whose mask has another size",
        "Export the mask again at the size of its photo.",
    ),
    "contradiction": Kind(
        LOOK,
        "photo",
        "called good in one place and defective in another",
        "The same picture can't be both: remove the wrong one.",
    ),
    "other_category": Kind(
        LOOK, "photo", "that is in another category too", "One of them is in the wrong folder."
    ),
    "leak": Kind(
        LOOK,
        "test photo",
        "that training sees too",
        "Figures measured on them say too much: remove them from train or from test.",
    ),
    "near_leak": Kind(
        LOOK,
        "test photo",
        "nearly equal to a training photo",
        "Perhaps an export, or a second shot of the same part: compare them below. If so, keep "
        "both on one side.",
    ),
    "twice": Kind(
        LOOK,
        "photo",
        "that is there twice",
        "A copy adds nothing, and calibration counts it as one more part: remove it.",
    ),
    "near_twice": Kind(
        NOTE,
        "photo",
        "nearly equal to another of its split",
        "Perhaps two shots of one part: compare them below. They count as two, but say as much as "
        "one.",
    ),
    "mask_without_photo": Kind(
        LOOK,
        "mask",
        "without a photo",
        "A mask belongs to the photo of the same name: ground_truth/KIND/000_mask.png to "
        "test/KIND/000.png.",
    ),
    "photo_without_mask": Kind(
        LOOK,
        "defective photo",
        "without a mask",
        "Figures per pixel leave them out. Expected ground_truth/KIND/000_mask.png for "
        "test/KIND/000.png.",
    ),
    "no_masks": Kind(
        NOTE,
        "",
        "No masks",
        "How well defects are found can be measured, how well they are located can't.",
    ),
    "empty_mask": Kind(
        LOOK,
        "defective photo",
        "with an empty mask",
        "No pixel is above half of the grey range. Masks with 0 and 1 look so, too: write 0 and "
        "255.",
    ),
    "large_mask": Kind(
        LOOK,
        "mask",
        "that marks most of the picture",
        "White is the defect and black the rest: perhaps it is the wrong way round.",
    ),
    "good_with_defect": Kind(
        LOOK,
        "good photo",
        "with a defect in its mask",
        "It is either not good, or the mask belongs to another photo.",
    ),
    "two_masks": Kind(
        LOOK,
        "mask",
        "beside another one of the same photo",
        "Of 000.png and 000_mask.png only one is read: keep one.",
    ),
    "same_name": Kind(
        LOOK,
        "photo",
        "with the name of another in its folder",
        "000.png and 000.jpg share one mask and one line of the results: rename one.",
    ),
    "mixed_shapes": Kind(
        LOOK,
        "photo",
        "of another shape than most",
        "The model stretches every photo to a square, so the part itself looks different in them: "
        "crop or take all alike.",
    ),
    "mixed_sizes": Kind(
        LOOK,
        "photo",
        "of another size than most",
        "They hold more or less detail than the others: take or export all alike.",
    ),
    "mixed_modes": Kind(
        LOOK,
        "photo",
        "stored in another mode than most",
        "A grey photo among coloured ones looks wrong to a model: store all alike.",
    ),
    "weak_promise": Kind(
        LOOK,
        "",
        "Too few good photos for the promised false-alarm rate",
        "From n held-out good photos, no rate under 1/(n+1) can be promised: take more good "
        "photos, or ask for a higher rate (--false_alarm_rate).",
    ),
    "other_light": Kind(
        LOOK,
        "",
        "Good test photos were taken otherwise than the training photos",
        "More than half of them lie outside the middle 95 % of the training photos. A model that "
        "learned those may fail good parts: take training photos under every light that occurs.",
    ),
    "no_test_photos": Kind(
        NOTE, "", "No test photos", "A model can be trained, but nothing says how good it is."
    ),
    "no_good_test_photos": Kind(
        LOOK,
        "",
        "No good test photos",
        "False alarms can't be measured: put good photos into test/good that training doesn't see.",
    ),
    "no_defective_test_photos": Kind(
        NOTE, "", "No defective test photos", "False alarms can be measured, misses can't."
    ),
    "ignored_picture": Kind(
        LOOK,
        "picture",
        "that is ignored",
        f"Photos end in {', '.join(PHOTO_SUFFIXES)} and lie in train/good or test/KIND: move or "
        "convert them.",
    ),
    "ignored_folder": Kind(
        LOOK,
        "folder",
        "of pictures that is ignored",
        "Read are train/good, test/KIND, ground_truth/KIND and validation/KIND alone.",
    ),
    "ignored_file": Kind(NOTE, "other file", "that is ignored", "That is fine."),
}


class ProblemGroup(NamedTuple):
    """All problems of one kind in one category.

    Attributes:
        kind: key of `KINDS`.
        category: the product.
        problems: at least one.
    """

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
        kind = KINDS[self.kind]
        if not kind.noun:
            return kind.text
        text = kind.text
        if len(self.problems) > 1:
            text = text.replace("that is ", "that are ")
        return f"{plural(len(self.problems), kind.noun)} {text}"

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return KINDS[self.kind].advice


def group_problems(problems: Iterable[Problem]) -> list[ProblemGroup]:
    """Findings by kind and category, the worst kinds first."""
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
    """What only all photos of a category together show, added to what each one did.

    Args:
        category: the product.
        photos: all of its photos that could be read.
        problems: of its folders and single photos.
    """
    found = [*problems]
    defective = [photo for photo in photos if photo.stored.split == TEST and not _is_good(photo)]
    missing = [problem for problem in found if problem.kind == "photo_without_mask"]
    if missing and all(photo.stored.mask is None for photo in defective):
        found = [problem for problem in found if problem.kind != "photo_without_mask"]
        detail = f"{plural(len(missing), 'defective photo')} without one"
        found.append(Problem("no_masks", category, f"{category}/ground_truth", detail))
    return [
        *found,
        *_counts_that_fail(category, photos),
        *_unlike_most(category, photos),
        *_other_light(category, photos),
    ]


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
    n_good_test = sum(map(_is_good, test))
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
    good = [photo for photo in photos if _is_good(photo)]
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
    size = _most_frequent(photos, lambda photo: photo.size)
    mode = _most_frequent(photos, lambda photo: photo.mode)
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


def _most_frequent(photos: Sequence[PhotoFacts], fact: Callable[[PhotoFacts], object]) -> object:
    return Counter(map(fact, photos)).most_common(1)[0][0]


def _is_good(photo: PhotoFacts) -> bool:
    return photo.stored.kind == GOOD
