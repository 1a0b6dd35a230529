"""What a training run leaves behind: weights, config, processor, recipe, learning curve, card."""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

import matplotlib
import torch
from torch import nn

from modeling import InspectionImageProcessor, ReconstructionModel
from training.model_card import RECIPE_FILE, model_card
from training.recipe import Recipe
from training.training_run import TrainingRun

matplotlib.use("Agg")  # a training machine has no screen
import matplotlib.pyplot as plt

History = list[dict[str, float]]


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

    Args:
        folder: the model folder; files of an earlier run in it are replaced.
        model: calibrated, its weights rounded by `round_to_half`.
        processor: its image processor.
        recipe: what it was trained with.
        run: the facts of the run.
        history: the learning curve, a row an epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as draft_name:
        draft = Path(draft_name)
        model.save_pretrained(draft, state_dict=_half_state(model))
        processor.save_pretrained(draft)
        (draft / RECIPE_FILE).write_text(recipe.published().to_yaml())
        _write_history(draft / "learning_curve.csv", history)
        plot_learning_curve(draft / "learning_curve.png", history)
        run.write(draft)
        (draft / "README.md").write_text(model_card(draft))
        # The config moves last: a folder is taken for a model by its config.json.
        for path in sorted(draft.iterdir(), key=lambda path: path.name == "config.json"):
            shutil.move(path, folder / path.name)


def plot_learning_curve(path: Path, history: History) -> None:
    """Draw training and held-out loss over the epochs as a PNG."""
    epochs = [row["epoch"] for row in history]
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    axes.plot(epochs, [row["loss"] for row in history], color="#0072B2", label="training photos")
    axes.plot(
        epochs,
        [row["held_out_loss"] for row in history],
        color="#D55E00",
        linestyle="--",
        label="held-out good photos",
    )
    axes.set(xlabel="epoch", ylabel="loss", yscale="log", title="Learning curve")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _half_state(model: ReconstructionModel) -> dict[str, torch.Tensor]:
    """Weights in fp16; the calibration's statistics stay in float32, which scores depend on."""
    trained = {name for name, _ in model.named_parameters()}
    return {
        name: tensor.half() if name in trained else tensor
        for name, tensor in model.state_dict().items()
    }


def _write_history(path: Path, history: History) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
