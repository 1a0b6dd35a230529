"""What a training run leaves behind: weights, config, processor, recipe, learning curve, card."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from model_files import (
    CARD,
    LEARNING_CURVE,
    LEARNING_CURVE_PLOT,
    PART_PICTURE,
    RECIPE,
    TrainingRun,
)
from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.whole_part import HALVES
from publishing.model_card import model_card
from system.errors import DiskError, disk_errors_told
from system.files import draft_of, move_files, put_in_place, remove_unfinished
from training.checkpoints import Checkpoints, History
from training.recipe import Recipe

matplotlib.use("Agg")  # a training machine has no screen
import matplotlib.pyplot as plt

PLACE_PIXELS = 3  # a side, of a place in the picture of where the part lies
DARK, LIGHT = 90, 235  # levels of grey in it
FINISHED = ".finished-model"  # folder in the model folder; its files are about to be moved up


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round every weight to what half precision can hold; compute stays float32.

    Called before calibration: scores of the saved fp16 file, loaded as float32, are then bit-equal
    to those that the threshold was fitted to.
    """
    for parameter in model.parameters():
        parameter.copy_(parameter.half())


def write_model_folder(
    folder: Path,
    model: ReconstructionModel,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    run: TrainingRun,
    history: History,
) -> None:
    """Write everything that `from_pretrained` and the app take, whole or not at all.

    Files of an earlier run in the folder are replaced; they stay where a `DiskError` is raised. The
    model is calibrated, its weights rounded by `round_to_half`.
    """
    finished = folder / FINISHED
    draft = draft_of(finished)
    remedy = f"make room, then train again: {Checkpoints(folder).way_on()}"
    try:
        with disk_errors_told("The model", folder, remedy):
            complete_model_folder(folder)
            draft.mkdir(parents=True)
            model.save_pretrained(draft, state_dict=_half_state(model))
            processor.save_pretrained(draft)
            (draft / RECIPE).write_text(recipe.published().to_yaml())
            pd.DataFrame(history).to_csv(draft / LEARNING_CURVE, index=False)
            plot_learning_curve(draft / LEARNING_CURVE_PLOT, history)
            draw_places(draft / PART_PICTURE, model)
            run.write(draft)
            (draft / CARD).write_text(model_card(draft))
            put_in_place(draft, finished)
    except DiskError:
        shutil.rmtree(draft, ignore_errors=True)  # its room is needed
        raise
    complete_model_folder(folder)


def complete_model_folder(folder: Path) -> None:
    """Finish what a kill broke off: a model that was written whole is moved into its folder.

    One that was not is removed, and what was in the folder before stays. The folder need not exist.
    """
    remove_unfinished(folder)
    if (folder / FINISHED).exists():
        # The config is last: a folder is taken for a model by its config.json.
        move_files(folder / FINISHED, folder, last="config.json")


def draw_places(path: Path, model: ReconstructionModel) -> None:
    """Draw where aligned parts lie as a PNG, dark on light, those of several categories in a row.

    Nothing of a photo is in it. Nothing is drawn where no part has a place of its own.
    """
    if model.ground is None:
        return
    maps = [places.cpu().numpy() > 0 for places in model.ground.places]
    drawn = [np.where(places, DARK, LIGHT) for places in maps if places.any() and not places.all()]
    if drawn:
        row = np.concatenate([np.pad(one, 1, constant_values=DARK) for one in drawn], axis=1)
        enlarged = row.astype(np.uint8).repeat(PLACE_PIXELS, 0).repeat(PLACE_PIXELS, 1)
        Image.fromarray(enlarged).save(path)


def plot_learning_curve(path: Path, history: History) -> None:
    """Draw training and held-out loss over the epochs as a PNG."""
    epochs = [row["epoch"] for row in history]
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    axes.plot(epochs, [row["loss"] for row in history], color="#0072B2", label="training photos")
    held_out = [row["held_out_loss"] for row in history]
    axes.plot(epochs, held_out, color="#D55E00", linestyle="--", label="held-out good photos")
    axes.set(xlabel="epoch", ylabel="loss", yscale="log", title="Learning curve")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _half_state(model: ReconstructionModel) -> dict[str, torch.Tensor]:
    """Weights in fp16; the calibration's statistics stay in float32, which scores depend on."""
    halves = {name for name, _ in model.named_parameters()}
    halves |= {f"whole_part.{name}" for name in HALVES}
    return {
        name: tensor.half() if name in halves else tensor
        for name, tensor in model.state_dict().items()
    }
