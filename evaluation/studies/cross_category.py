"""Does a model know what it was not made for? Every model on every product's photos.

    python -m evaluation.studies.cross_category --models runs/* --data DIR synthetic:all \
        --output runs/cross_category.json

Says which share of the photos each model refuses to judge (`modeling.out_of_distribution`): of its
own product, good and defective, it should be none; of every other, all. Prints Markdown: a table of
good photos, one of defective ones, and the photos that were wrongly refused or wrongly judged.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from tqdm import tqdm

from data.rows import DatasetError
from evaluation.studies.judges import GOOD, Judge, batches, load_judges, load_photos, opinions
from modeling import CHECK, FAIL, PASS, ModelLoadError, PhotoError, Rate, ReconstructionOutput, rate
from modeling.out_of_distribution import DOUBTS, NO_DOUBT
from system.command_line import unusable_path, whole_number_from
from system.memory import keep_freed_memory

SHOWN = 12  # wrong photos of a model and product that are listed by name


class Opinion(NamedTuple):
    """What a model says of one photo.

    Attributes:
        image_id: name of the photo.
        is_good: whether it shows a good part.
        verdict: CHECK where the model refuses, otherwise PASS or FAIL.
        doubt: why it refuses, one of `modeling.out_of_distribution.DOUBTS`; None where it judges.
        raw_score: unbounded.
    """

    image_id: str
    is_good: bool
    verdict: str
    doubt: str | None
    raw_score: float


class Refusals(NamedTuple):
    """What a model makes of one product's photos.

    Attributes:
        model: its name.
        judged_as: the category that it was told.
        product: what the photos show.
        good: how many of the good ones it refuses.
        defective: how many of the defective ones it refuses.
        reasons: how many photos by reason.
        passed: how many it judges and passes.
        wrong: of its own product the photos that it refuses, of another one those that it judges.
    """

    model: str
    judged_as: str
    product: str
    good: Rate
    defective: Rate
    reasons: dict[str, int]
    passed: int
    wrong: list[Opinion]

    @property
    def is_own(self) -> bool:
        """Whether the photos show what the model was made for."""
        return self.judged_as == self.product


def cross(
    judges: Sequence[Judge], photos: Mapping[str, Dataset], *, progress: bool = False
) -> list[Refusals]:
    """Every model on every product; each photo is decoded once and shown to all models.

    Args:
        judges: from `evaluation.studies.judges.load_judges`.
        photos: test photos by product.
        progress: show a bar on stderr.

    Returns:
        Model after model, and for each product after product.

    Raises:
        DatasetError: when a photo can't be decoded.
    """
    said: dict[tuple[int, str], list[Opinion]] = {
        (number, product): [] for number in range(len(judges)) for product in photos
    }
    total = sum(map(len, photos.values()))
    with tqdm(total=total, desc="crossing", unit="photo", disable=not progress) as bar:
        for product, dataset in photos.items():
            facts = dataset.select_columns(["image_id", "defect"])
            for rows, pictures in batches(dataset):
                known = facts[rows.start : rows.stop]
                for number, output in enumerate(opinions(judges, pictures)):
                    said[number, product] += _opinions(output, known)
                bar.update(len(pictures))
    return [
        summarise(judges[number], product, several) for (number, product), several in said.items()
    ]


def summarise(judge: Judge, product: str, said: Sequence[Opinion]) -> Refusals:
    """Count what a model said of one product's photos."""

    def refused(among: Sequence[Opinion]) -> Rate:
        return rate(sum(one.verdict == CHECK for one in among), len(among))

    own = judge.category == product
    return Refusals(
        model=judge.name,
        judged_as=judge.category,
        product=product,
        good=refused([one for one in said if one.is_good]),
        defective=refused([one for one in said if not one.is_good]),
        reasons=dict(Counter(one.doubt for one in said if one.doubt is not None)),
        passed=sum(one.verdict == PASS for one in said),
        wrong=[one for one in said if (one.verdict == CHECK) is own],
    )


def as_table(refusals: Sequence[Refusals], kind: str) -> str:
    """Markdown: a row a model, a column a product, in each cell how many photos are refused.

    Args:
        refusals: of every model on every product.
        kind: "good" or "defective" photos.
    """
    products = list(dict.fromkeys(entry.product for entry in refusals))
    cells = {
        (entry.model, entry.judged_as, entry.product): _cell(entry, getattr(entry, kind))
        for entry in refusals
    }
    rows = [
        f"| {_name(model, judged_as)} | "
        f"{' | '.join(cells[model, judged_as, product] for product in products)} |"
        for model, judged_as in dict.fromkeys((entry.model, entry.judged_as) for entry in refusals)
    ]
    head = f"| model \\ {kind} photos of | {' | '.join(products)} |"
    return "\n".join([head, f"|---|{'---|' * len(products)}", *rows])


def summary(refusals: Sequence[Refusals]) -> str:
    """Wrongly refused, wrongly judged, and of these passed: Markdown, a line each."""
    own = [entry for entry in refusals if entry.is_own]
    others = [entry for entry in refusals if not entry.is_own]
    lines = [
        f"- Of {whose} {kind} photos the models refuse "
        f"{_words([getattr(entry, kind) for entry in entries])}."
        for whose, entries in (("their own products'", own), ("other products'", others))
        for kind in ("good", "defective")
    ]
    passed = sum(entry.passed for entry in others)
    total = sum(entry.good.total + entry.defective.total for entry in others)
    return "\n".join(
        [*lines, f"- Of other products' photos they judge and pass {_share(rate(passed, total))}."]
    )


def wrong_photos(refusals: Sequence[Refusals]) -> str:
    """Markdown: by name, what was wrongly refused and what was wrongly judged."""
    lines = []
    for entry in refusals:
        if not entry.wrong:
            continue
        what = "refuses its own" if entry.is_own else "judges"
        shown = [f"{one.image_id} ({one.doubt or one.verdict})" for one in entry.wrong[:SHOWN]]
        more = len(entry.wrong) - len(shown)
        rest = f" and {more} more" if more else ""
        name = _name(entry.model, entry.judged_as)
        lines.append(f"- {name} {what} {', '.join(shown)}{rest}.")
    return "\n".join(lines) or "- No photo is wrongly refused or wrongly judged."


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="cross_category.py", description="Every model on every product's photos."
    )
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="FOLDER")
    add("--data", nargs="+", required=True, metavar="SOURCE")
    add("--seed", type=whole_number_from(0), default=0, help="of synthetic parts (default: 0)")
    add("--good_only", action="store_true", help="show the models the good photos alone")
    add(
        "--limit",
        type=whole_number_from(1),
        metavar="N",
        help="N good and N defective photos of each product",
    )
    add("--output", type=Path, help="JSON file for the numbers")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    options = parse_arguments(arguments)
    keep_freed_memory()
    disable_progress_bar()  # of `datasets`
    try:
        _make_ready(options.output)
        photos = load_photos(options.data, seed=options.seed, limit=options.limit)
        if options.good_only:
            photos = {product: _good_ones(dataset) for product, dataset in photos.items()}
        refusals = cross(load_judges(options.models), photos, progress=True)
        kinds = ("good",) if options.good_only else ("good", "defective")
        tables = [as_table(refusals, kind) for kind in kinds]
        print(*tables, summary(refusals), wrong_photos(refusals), sep="\n\n")
        if options.output:
            content = json.dumps([_plain(one) for one in refusals], indent=2)
            options.output.write_text(content + "\n")
    except (DatasetError, ModelLoadError, PhotoError) as error:
        print(f"cross_category.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        sentence = unusable_path(error, options.output, "--data and --output")
        print(f"cross_category.py: {sentence}", file=sys.stderr)
        return 2
    return 0


def _make_ready(output: Path | None) -> None:
    """Make the folder of a file that is written after hours of judging.

    Raises:
        OSError: when it can't be made, or the file is a folder.
    """
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))


def _opinions(output: ReconstructionOutput, known: Mapping[str, Sequence[str]]) -> list[Opinion]:
    """One a photo; the guard is asked before the verdict, as `modeling.judge` does it."""
    opinions = []
    for row, number in enumerate(output.doubt.tolist()):
        verdict = FAIL if output.is_anomalous[row].item() else PASS
        opinions.append(
            Opinion(
                image_id=known["image_id"][row],
                is_good=known["defect"][row] == GOOD,
                verdict=verdict if number == NO_DOUBT else CHECK,
                doubt=None if number == NO_DOUBT else DOUBTS[number],
                raw_score=output.raw_score[row].item(),
            )
        )
    return opinions


def _good_ones(photos: Dataset) -> Dataset:
    return photos.select([row for row, defect in enumerate(photos["defect"]) if defect == GOOD])


def _name(model: str, judged_as: str) -> str:
    return model if model == judged_as else f"{model} ({judged_as})"


def _cell(entry: Refusals, share: Rate) -> str:
    words = f"{share.count} of {share.total}"
    return f"**{words}**" if entry.is_own else words


def _words(shares: Sequence[Rate]) -> str:
    return _share(rate(sum(one.count for one in shares), sum(one.total for one in shares)))


def _share(share: Rate) -> str:
    if not share.total:
        return "none, for there are none"
    return (
        f"{100 * share.value:.2f} % ({share.count} of {share.total}; 95 % interval "
        f"{100 * share.low:.2f} to {100 * share.high:.2f} %)"
    )


def _plain(entry: Refusals) -> dict:
    """For JSON; a share of nothing is null."""

    def spelled(share: Rate) -> dict:
        return {key: None if value != value else value for key, value in share._asdict().items()}

    return entry._asdict() | {
        "good": spelled(entry.good),
        "defective": spelled(entry.defective),
        "wrong": [one._asdict() for one in entry.wrong],
    }


if __name__ == "__main__":
    sys.exit(main())
