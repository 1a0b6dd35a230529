"""The learning itself: good photos in, weights and a learning curve out.

Checkpoints are written whole or not at all, and going on from one ends bit-equal to an unbroken run
on as many processes. One process and several take the same steps.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Subset
from tqdm import tqdm

from modeling import InspectionImageProcessor, ReconstructionModel
from system.errors import disk_errors_told, writing_threads_quiet
from system.processes import on_main
from training.accelerator import workers_of
from training.checkpoint_push import CheckpointPush
from training.checkpoints import CheckpointError, Checkpoints
from training.learner import Learner
from training.photos.batches import SharedLoader
from training.photos.restoration import RestorationPhotos, model_input, restoration_photos
from training.recipe import Recipe
from training.training_run import Cost, History

STANDARDISATION_PHOTOS = 64  # good photos that say what is a usual feature; more change nothing
WATCHED_PHOTOS = 32  # held-out photos whose loss is watched, which decides nothing


class TrainingError(RuntimeError):
    """Training can't go on; the message is one sentence for the person who started it."""


@dataclass
class TrainingState:
    """How far training has come; saved with every checkpoint.

    Attributes:
        photos: digest of the names of the good photos that the weights learn from.
        epoch: how many lie behind.
        history: the learning curve, a row an epoch.
    """

    photos: str
    epoch: int = 0
    history: History = field(default_factory=list)

    def state_dict(self) -> dict:
        """For `Checkpoints`."""
        return asdict(self)

    def load_state_dict(self, state: dict) -> None:
        """For `Checkpoints`."""
        self.photos, self.epoch, self.history = state["photos"], state["epoch"], state["history"]


def fit(
    model: ReconstructionModel,
    good: Dataset,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    accelerator: Accelerator,
    cost: Cost,
) -> History:
    """Train the weights in place on the good photos.

    The loss of the held-out ones is watched and decides nothing; `cost` goes into the checkpoints,
    up to date.

    Returns:
        `{"epoch", "loss", "held_out_loss", "learning_rate"}` an epoch.

    Raises:
        TrainingError: when the loss is no longer finite, or there are more processes than photos of
            a batch.
        CheckpointError: when there is nothing to resume from.
        DiskError: when a checkpoint can't be written.
    """
    if accelerator.num_processes > recipe.batch_size:
        raise TrainingError(
            f"batch_size is {recipe.batch_size} for {accelerator.num_processes} processes, "
            "expected a photo each at least; raise --batch_size or start fewer processes."
        )
    model.to(accelerator.device, memory_format=torch.channels_last)
    photos = restoration_photos(good, model, processor, recipe)
    watched = restoration_photos(held_out, model, processor, recipe, damaging=False)
    watched = Subset(watched, _spread(len(watched), WATCHED_PHOTOS))
    if recipe.target == "features":
        model.target.fit(_standardisation_batches(photos, model))
    workers = workers_of(recipe, accelerator)
    loader = SharedLoader(photos, recipe.batch_size, accelerator, recipe.seed, workers)
    watched_loader = SharedLoader(watched, recipe.batch_size, accelerator)
    epochs = recipe.epochs_of(len(loader))
    learner = Learner.of(model, recipe, epochs * len(loader), accelerator)
    state = TrainingState(_digest(good))
    if accelerator.process_index > 0:  # noise and masks are to differ from process to process
        set_seed(recipe.seed + accelerator.process_index)
    states = {"schedule": learner.schedule, "progress": state, "cost": cost}
    checkpoints = Checkpoints(Path(recipe.output_dir), recipe.checkpoints_kept, states)
    if recipe.resume_from_checkpoint:
        _resume(checkpoints, state, learner, recipe)
    accelerator.init_trackers("tensorboard")

    wants_push = recipe.push_every and accelerator.is_main_process
    pushes = CheckpointPush(recipe.hub_model_id) if wants_push else None

    def check_finite(loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} in epoch {state.epoch + 1}, expected a finite number; train "
                f"again with a lower --learning_rate (now {recipe.learning_rate}): "
                f"{checkpoints.way_on()}."
            )

    def after_step(loss: float) -> None:
        bar.update()
        check_finite(loss)

    with _bar(state.epoch, epochs, len(loader), accelerator) as bar, writing_threads_quiet():
        for epoch in range(state.epoch + 1, epochs + 1):
            loader.set_epoch(epoch - 1)
            photos.set_epoch(epoch - 1)
            row = {
                "epoch": epoch,
                "loss": learner.learn(loader, after_step),
                "held_out_loss": learner.watch(watched_loader),
                "learning_rate": learner.schedule.get_last_lr()[0],
            }
            # Before the checkpoint: weights that give no finite loss must not replace better ones.
            check_finite(row["loss"] + row["held_out_loss"])
            state.epoch, state.history = epoch, [*state.history, row]
            _log(row, accelerator, checkpoints)
            bar.set_postfix(loss=f"{row['loss']:.4f}", held_out=f"{row['held_out_loss']:.4f}")
            if recipe.checkpoint_is_due(epoch):
                cost.add_elapsed(accelerator)
                checkpoint = checkpoints.write(accelerator, epoch, pushes and pushes.under_way)
                if pushes and recipe.push_is_due(epoch):
                    pushes.start(checkpoint)
    if pushes:
        pushes.finish()
    return state.history


def _bar(done: int, epochs: int, steps_an_epoch: int, accelerator: Accelerator) -> tqdm:
    """A progress bar over the steps of all epochs, which the main process shows."""
    return tqdm(
        total=epochs * steps_an_epoch,
        initial=done * steps_an_epoch,
        desc="training",
        unit="step",
        disable=not accelerator.is_main_process,
    )


def _log(row: dict[str, float], accelerator: Accelerator, checkpoints: Checkpoints) -> None:
    """Hand a row of the learning curve to the tracker."""
    values = {name: value for name, value in row.items() if name != "epoch"}
    remedy = f"make room, then train again: {checkpoints.way_on()}"
    with disk_errors_told("The log in", checkpoints.output_dir, remedy):
        on_main(lambda: accelerator.log(values, step=row["epoch"]))


def _resume(
    checkpoints: Checkpoints, state: TrainingState, learner: Learner, recipe: Recipe
) -> None:
    """Bring back the state of a checkpoint; rates and decay are those of the recipe."""
    photos = state.photos
    checkpoint = checkpoints.load(learner.accelerator, recipe.resume_from_checkpoint)
    if state.photos != photos:  # held-out photos may be among those that it has learned
        raise CheckpointError(
            f"The checkpoint {checkpoint} has learned from other photos than those of this run; "
            "give the same --data, --category, --seed and --calibration_fraction."
        )
    schedule, groups = learner.schedule, learner.optimizer.param_groups
    schedule.base_lrs = [recipe.learning_rate] * len(groups)
    for group, factor in zip(groups, schedule.lr_lambdas, strict=True):
        rate = recipe.learning_rate * factor(schedule.last_epoch)
        group.update(lr=rate, weight_decay=recipe.weight_decay)


def _digest(photos: Dataset) -> str:
    """A digest of the photos' names, by which a checkpoint knows whether they are the same."""
    return hashlib.sha256("\n".join(photos["image_id"]).encode()).hexdigest()


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
