"""Cross-fitted calibration: every good photo is scored by a model that has not learned from it.

The photos that were held out are fold 0: by them the model that ships is chosen and scored. For
each further fold a model of the same recipe learns from all other good photos, gets the same
choices, and scores its own. A fold lies in OUTPUT_DIR/folds/N with its checkpoints, then with its
scores alone, so that a training which was broken off goes on with the fold that it was at.

Vovk: Cross-conformal predictors, 2015; Barber, Candes, Ramdas and Tibshirani: Predictive inference
with the jackknife+, 2021 (CV+). Where the models of all folds judge a new part, as a rule the rate
that was asked for holds, and at worst about twice that. Here the one that ships judges for all of
them, which is as good as far as the models of one recipe score alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from torch.utils.data import DataLoader

from data.split import Split
from modeling import InspectionImageProcessor, ReconstructionModel
from system.errors import disk_errors_told
from system.files import discard, remove_unfinished, whole_file
from system.processes import on_main, together
from training.calibration.held_out_calibration import Scored, by_category, least_calibrating
from training.checkpoints import CHECKPOINTS, LATEST, Checkpoints
from training.fit import finish_learning, fit
from training.initial_model import BackboneAndConfig, build_model
from training.machine import Cost, join_processes
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe

FOLDS = "folds"  # folder in the model folder while it is trained
KEY, SCORES = "key.txt", "scores.json"  # of a fold: what it is of, and what it found
# Fields of a recipe on which no score of a fold depends.
INDIFFERENT = (
    *("data", "output_dir", "false_alarm_rate", "threshold_rule", "data_license"),
    *("checkpoint_every", "resume_from_checkpoint", "checkpoints_kept"),
    *("cache_disk_gb", "cache_memory_gb", "num_workers"),
    *("push_to_hub", "hub_model_id", "hub_private", "push_every"),
)


class Choices(NamedTuple):
    """What held-out photos chose for a model; lists have one value a category."""

    map_sigma: float
    whole_part_size: tuple[int, int]  # side of its grid, and directions
    residual_normalisation: str
    weights: list[float] | None  # of the whole part beside the body; None without that stream
    judges_all: list[bool] | None  # whether the ground counts; None where it always does

    @classmethod
    def of(cls, model: ReconstructionModel) -> Choices:
        """Those of the model that ships."""
        config = model.config
        return cls(
            config.map_sigma,
            (config.whole_part_side, config.whole_part_directions),
            config.residual_normalisation,
            None if model.whole_part is None else model.whole_part.weight.tolist(),
            None if model.ground is None else model.ground.limit.isinf().tolist(),
        )

    def impose_scale_on(self, model: ReconstructionModel) -> None:
        """Have a model of the same recipe, its whole part yet to be solved, look as coarsely."""
        model.config.map_sigma = self.map_sigma
        if model.whole_part is not None:
            model.set_whole_part_size(*self.whole_part_size)

    def impose_on(self, model: ReconstructionModel) -> None:
        """Have a model of the same recipe, whose weights are learned, judge in the same way."""
        model.set_residual_normalisation(self.residual_normalisation)
        for number, weight in enumerate(self.weights or ()):
            if model.whole_part.knows(number):  # of too few photos it has learned nothing to weigh
                model.whole_part.weight[number] = weight
        for number, judges_all in enumerate(self.judges_all or ()):
            if judges_all:
                model.ground.reset(number)


@dataclass(frozen=True)
class Fold:
    """A further fold, and what its model is made by."""

    number: int  # from 1 on
    learned: Dataset  # all good photos but its own
    own: Dataset
    recipe: Recipe  # of its model: that of the training, in a folder of its own
    categories: list[str]

    @property
    def folder(self) -> Path:
        """Where it learns."""
        return Path(self.recipe.output_dir)

    def key(self, choices: Choices) -> str:
        """A digest of all that its scores depend on."""
        recipe = {
            name: value for name, value in asdict(self.recipe).items() if name not in INDIFFERENT
        }
        ids = [list(photos["image_id"]) for photos in (self.learned, self.own)]
        words = json.dumps([recipe, choices, self.categories, ids], sort_keys=True)
        return hashlib.sha256(words.encode()).hexdigest()


def check_counts(photos: Dataset, split: Split, model: ReconstructionModel, recipe: Recipe) -> None:
    """Raise a ValueError where a fold has too few photos, before hours are spent on training.

    The photos are all good ones, whose rows are split; the model is one that has not learned.
    """
    least = least_calibrating(model, photos.select(split.held_out), recipe)
    parts = [("The held-out part", "hold out a larger share", split.held_out)]
    for number, rows in enumerate(split.folds, start=1):
        parts.append((f"Fold {number} of {recipe.folds}", "ask for fewer --folds", rows))
    for name, remedy, rows in parts:
        for category, own in by_category(photos.select(rows), model.config.categories).items():
            if len(own) < least:
                raise ValueError(
                    f"{name} has {len(own)} of the good photos of {category}, expected {least} at "
                    f"least to calibrate by; {remedy}, leave fewer out, or add good photos."
                )
    learned = by_category(photos.select(split.learned), model.config.categories)
    for category, own in learned.items():
        if not len(own):
            raise ValueError(
                f"No good photo of {category} is left to learn from; leave fewer out, or add some."
            )


def cross_score(
    shipped: ReconstructionModel,
    scored: dict[str, Scored] | None,
    photos: Dataset,
    split: Split,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    backbone: BackboneAndConfig | None,
    cost: Cost,
) -> dict[str, Scored] | None:
    """Train a model a further fold, and pool the scores of all good photos by category.

    Called in every process. Errors are those of `fit`, and a `DiskError` where scores can't be
    written.

    Args:
        shipped: the model that ships; in the main process its choices are made.
        scored: its scores, in the main process alone.
        photos: all good photos, decoded once.
        split: their rows.
        processor: makes a photo what the model takes.
        recipe: of the training.
        backbone: what `build_model` gave; it is not loaded again.
        cost: what the training takes; that of the folds is added.

    Returns:
        In the main process, the scores with those of all folds; None in the others.
    """
    choices = on_main(lambda: Choices.of(shipped))
    if not recipe.resume_from_checkpoint:
        on_main(lambda: remove_folds(Path(recipe.output_dir)))
    for fold in _folds(photos, split, recipe, shipped.config.categories):
        found = _scores_of(fold, choices, processor, backbone)
        cost.load_state_dict(found["cost"])
        if scored is not None:
            scored = pooled(scored, fold.own, found["scores"])
    return scored


def pooled(
    scored: dict[str, Scored], own: Dataset, scores: dict[str, list[float]]
) -> dict[str, Scored]:
    """Scores with those of a fold's own photos, which are by category and in their order."""
    ids = {name: list(part["image_id"]) for name, part in by_category(own, list(scored)).items()}
    return {
        name: replace(one, image_ids=one.image_ids + ids[name], good=one.good + list(scores[name]))
        for name, one in scored.items()
    }


def remove_folds(output_dir: Path) -> None:
    """Remove what folds have left in a model folder that may have none."""
    if (output_dir / FOLDS).exists():
        discard(output_dir / FOLDS)


def _folds(photos: Dataset, split: Split, recipe: Recipe, categories: Sequence[str]) -> list[Fold]:
    folds = []
    for number, own in enumerate(split.folds, start=1):
        of_fold = replace(
            recipe,
            output_dir=str(Path(recipe.output_dir) / FOLDS / str(number)),
            push_to_hub=False,
            hub_model_id=None,
            hub_private=False,
            push_every=0,
        )
        learned = photos.select(split.learned_without(number))
        folds.append(Fold(number, learned, photos.select(own), of_fold, list(categories)))
    return folds


def _scores_of(
    fold: Fold,
    choices: Choices | None,
    processor: InspectionImageProcessor,
    backbone: BackboneAndConfig | None,
) -> dict[str, Any]:
    """What a fold found, {"scores", "cost"}: now, or before the training was broken off.

    Called in every process; the choices are known in the main one.
    """
    found, begun = together(lambda: _before(fold, choices) if choices else None)[0]
    if found:
        return found
    recipe = replace(fold.recipe, resume_from_checkpoint=LATEST if begun else None)
    model, _ = build_model(recipe, fold.categories, backbone)
    accelerator, cost = join_processes(recipe), Cost()
    told = f"fold {fold.number} of {recipe.folds}"
    fit(model, fold.learned, fold.own, processor, recipe, accelerator, cost, told)
    cost.add_elapsed(accelerator)

    def score() -> dict[str, Any]:
        trained = accelerator.unwrap_model(model)
        choices.impose_scale_on(trained)
        finish_learning(trained, fold.learned, processor, recipe)
        choices.impose_on(trained)
        scores = {
            category: trained.fit_good_parts(
                DataLoader(PreparedPhotos(own, processor), recipe.batch_size), category
            )
            for category, own in by_category(fold.own, fold.categories).items()
        }
        return _write(fold, {"scores": scores, "cost": cost.state_dict()})

    on_main(score)
    for tracker in accelerator.trackers:  # not `end_training`, which parts the processes
        tracker.finish()
    accelerator.free_memory()
    return together(lambda: _read(fold) if choices else None)[0]


def _before(fold: Fold, choices: Choices) -> tuple[dict[str, Any] | None, bool]:
    """What a fold found, if it did; else whether there is a checkpoint of it to go on from.

    What is in its folder and was of other photos, choices or recipes goes.
    """
    folder, key = fold.folder, fold.key(choices)
    with disk_errors_told("The fold", folder, "make room, then train again"):
        if not (folder / KEY).is_file() or (folder / KEY).read_text() != key:
            if folder.exists():
                discard(folder)
            folder.mkdir(parents=True)
            with whole_file(folder / KEY) as draft:
                draft.write_text(key)
        remove_unfinished(folder)
    if (folder / SCORES).is_file():
        return _read(fold), False
    return None, Checkpoints(folder).newest() is not None


def _read(fold: Fold) -> dict[str, Any]:
    return json.loads((fold.folder / SCORES).read_text())


def _write(fold: Fold, found: dict[str, Any]) -> None:
    """Keep what a fold found, whole or not at all; its checkpoints are needed no more."""
    path = fold.folder / SCORES
    remedy = f"make room, then train again: {Checkpoints(fold.folder).way_on()}"
    with disk_errors_told("The scores", path, remedy):
        with whole_file(path) as draft:
            draft.write_text(json.dumps(found))
        if (fold.folder / CHECKPOINTS).exists():
            discard(fold.folder / CHECKPOINTS)
