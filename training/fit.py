"""The learning itself: good photos in, weights and a learning curve out.

Checkpoints are written whole or not at all, and going on from one ends bit-equal to an unbroken run
on as many processes. One process and several take the same steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Subset
from tqdm import tqdm

from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.fitting import WholePartExamples
from system.errors import disk_errors_told, writing_threads_quiet
from system.processes import on_main
from training.checkpoints import CheckpointError, CheckpointPush, Checkpoints, History
from training.judging import learn_ground
from training.learner import Learner
from training.machine import Cost, workers_of
from training.model_folder import round_to_half
from training.photos.batches import SharedLoader
from training.photos.restoration import RestorationPhotos, model_input, restoration_photos
from training.recipe import CROSS, Recipe
from training.whole_part import learn_whole_part

STANDARDISATION_PHOTOS = 64  # good photos that say what is a usual feature; more change nothing
WATCHED_PHOTOS = 32  # held-out photos whose loss is watched, which decides nothing


class TrainingError(RuntimeError):
    """Training can't go on; the message is one sentence for the person who started it."""


@dataclass
class TrainingState:
    """How far training has come; saved with every checkpoint."""

    photos: str  # digest of the names of the good photos that the weights learn from
    epoch: int = 0  # how many lie behind
    history: History = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """For `Checkpoints`."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """For `Checkpoints`."""
        vars(self).update(state)


def fit(
    model: ReconstructionModel,
    good: Dataset,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    accelerator: Accelerator,
    cost: Cost,
    told: str = "training",
) -> History:
    """Train the weights in place on the good photos.

    The loss of the held-out ones is watched and decides nothing; `cost` goes into the checkpoints,
    up to date; `told` is what the bar says. A loss that is not finite, or more processes than
    photos of a batch, is a `TrainingError`; nothing to resume from a `CheckpointError`; a full disk
    a `DiskError`.

    Returns:
        `{"epoch", "loss", "held_out_loss", "learning_rate"}` an epoch.
    """
    if accelerator.num_processes > recipe.batch_size:
        raise TrainingError(
            f"batch_size is {recipe.batch_size} for {accelerator.num_processes} processes, "
            "expected a photo each at least; raise --batch_size or start fewer processes."
        )
    model.to(accelerator.device, memory_format=torch.channels_last)
    loader, watched = _loaders(model, good, held_out, processor, recipe, accelerator)
    epochs = recipe.epochs or math.ceil(recipe.steps / len(loader))
    learner = Learner(model, recipe, epochs * len(loader), accelerator)
    if accelerator.process_index > 0:  # noise and masks are to differ from process to process
        set_seed(recipe.seed + accelerator.process_index)
    state = TrainingState(hashlib.sha256("\n".join(good["image_id"]).encode()).hexdigest())
    states = {"schedule": learner.schedule, "progress": state, "cost": cost}
    checkpoints = Checkpoints(Path(recipe.output_dir), recipe.checkpoints_kept, states)
    if recipe.resume_from_checkpoint:
        _resume(checkpoints, state, learner, recipe)
    accelerator.init_trackers("tensorboard")
    wants_push = recipe.push_every and accelerator.is_main_process
    pushes = CheckpointPush(recipe.hub_model_id) if wants_push else None

    bar = tqdm(
        total=epochs * len(loader),
        initial=state.epoch * len(loader),
        desc=told,
        unit="step",
        disable=not accelerator.is_main_process,
    )
    with bar, writing_threads_quiet():
        for epoch in range(state.epoch + 1, epochs + 1):
            row = _learn_epoch(epoch, learner, loader, watched, recipe, checkpoints, bar)
            state.epoch, state.history = epoch, [*state.history, row]
            # Further folds follow, and a kill in the middle of them is not to cost this one.
            is_last = epoch == epochs and recipe.calibration == CROSS
            every = min(1, recipe.checkpoint_every) if is_last else recipe.checkpoint_every
            if _is_due(every, epoch) or _is_due(recipe.push_every, epoch):
                cost.add_elapsed(accelerator)
                checkpoint = checkpoints.write(accelerator, epoch, pushes and pushes.under_way)
                if pushes and _is_due(recipe.push_every, epoch):
                    pushes.start(checkpoint)
    if pushes:
        pushes.finish()
    return state.history


def finish_learning(
    model: ReconstructionModel, good: Dataset, processor: InspectionImageProcessor, recipe: Recipe
) -> dict[str, WholePartExamples]:
    """What is learned without steps, from the good photos that the weights were trained on.

    Called in the main process alone, as all that follows. The model is in evaluation mode then;
    returned is, by category, what its whole part was solved from.
    """
    model.to(memory_format=torch.contiguous_format)
    round_to_half(model)  # before calibration, so that the threshold fits what is saved
    examples = learn_whole_part(model.eval(), good, processor, recipe)
    learn_ground(model, good, processor, recipe)
    return examples


def _loaders(
    model: ReconstructionModel,
    good: Dataset,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    accelerator: Accelerator,
) -> tuple[SharedLoader, SharedLoader]:
    """Good photos to learn from, by which features are standardised, and held-out ones to watch."""
    photos = restoration_photos(good, model, processor, recipe)
    watched = restoration_photos(held_out, model, processor, recipe, damaging=False)
    watched = Subset(watched, _spread(len(watched), WATCHED_PHOTOS))
    if recipe.target == "features":
        model.target.fit(_standardisation_batches(photos, model))
    workers = workers_of(recipe, accelerator)
    return (
        SharedLoader(photos, recipe.batch_size, accelerator, recipe.seed, workers),
        SharedLoader(watched, recipe.batch_size, accelerator),
    )


def _learn_epoch(
    epoch: int,
    learner: Learner,
    loader: SharedLoader,
    watched: SharedLoader,
    recipe: Recipe,
    checkpoints: Checkpoints,
    bar: tqdm,
) -> dict[str, float]:
    """Walk through the photos once; a row of the learning curve, which goes to the tracker too."""

    def check_finite(loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} in epoch {epoch}, expected a finite number; train again with "
                f"a lower --learning_rate (now {recipe.learning_rate}): {checkpoints.way_on()}."
            )

    def after_step(loss: float) -> None:
        bar.update()
        check_finite(loss)

    loader.set_epoch(epoch - 1)
    values = {
        "loss": learner.learn(loader, after_step),
        "held_out_loss": learner.watch(watched),
        "learning_rate": learner.schedule.get_last_lr()[0],
    }
    # Before the checkpoint: weights that give no finite loss must not replace better ones.
    check_finite(values["loss"] + values["held_out_loss"])
    remedy = f"make room, then train again: {checkpoints.way_on()}"
    with disk_errors_told("The log in", checkpoints.output_dir, remedy):
        on_main(lambda: learner.accelerator.log(values, step=epoch))
    bar.set_postfix(loss=f"{values['loss']:.4f}", held_out=f"{values['held_out_loss']:.4f}")
    return {"epoch": epoch, **values}


def _is_due(every: int, epoch: int) -> bool:
    """Whether what is done every so many epochs, or never for 0, is done after this one."""
    return every > 0 and epoch % every == 0


def _resume(
    checkpoints: Checkpoints, state: TrainingState, learner: Learner, recipe: Recipe
) -> None:
    """Bring back the state of a checkpoint; rates and decay are those of the recipe."""
    photos = state.photos
    checkpoint = checkpoints.load(learner.accelerator, recipe.resume_from_checkpoint)
    if state.photos != photos:  # held-out photos may be among those that it has learned
        raise CheckpointError(
            f"The checkpoint {checkpoint} has learned from other photos than those of this run; "
            "give the same --data, --category, --seed, --calibration_fraction and --leave_out."
        )
    schedule, groups = learner.schedule, learner.optimizer.param_groups
    schedule.base_lrs = [recipe.learning_rate] * len(groups)
    for group, factor in zip(groups, schedule.lr_lambdas, strict=True):
        rate = recipe.learning_rate * factor(schedule.last_epoch)
        group.update(lr=rate, weight_decay=recipe.weight_decay)


def _standardisation_batches(
    photos: RestorationPhotos, model: ReconstructionModel
) -> Iterator[list[Tensor]]:
    """Features of up to `STANDARDISATION_PHOTOS` clean photos, spread evenly over all."""
    for index in _spread(len(photos), STANDARDISATION_PHOTOS):
        item = photos[index]
        layers = item.get("clean_extracted")
        if layers is None:
            clean = model_input(item)["clean_pixel_values"]
            yield model.target.extract(clean[None].to(model.device))
        else:
            yield [layer[None] for layer in layers]


def _spread(length: int, most: int) -> list[int]:
    """Up to `most` indices, evenly over a sequence of this length."""
    count = min(length, most)
    return [index * length // count for index in range(count)]
