"""Learn how good parts look: good photos in, a model folder out.

    accelerate launch training/train.py training/configs/default.yaml \
        --data DIR --category bottle --output_dir runs/bottle
    python training/train.py --data synthetic:flange_nut --output_dir runs/flange_nut

The folder that it writes is what `from_pretrained`, `evaluation/evaluate.py` and `app.py` take.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# A script started by its path finds only its own folder; the packages lie one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration, set_seed
from datasets import Dataset
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from modeling import ARCHITECTURES, InspectionImageProcessor, PhotoError, ReconstructionModel
from training.dataset import (
    DatasetError,
    decode_picture,
    load_inspection_dataset,
    split_calibration,
)
from training.model_folder import round_to_half, write_model_folder
from training.recipe import Recipe, parse_recipe

CACHE_BYTES = 2 * 2**30  # prepared photos kept in memory; further ones are decoded every epoch


class TrainingError(RuntimeError):
    """Training can't go on; the message is one sentence for the person who started it."""


class PreparedPhotos(TorchDataset):
    """Photos as the model takes them, each decoded once while the cache has room."""

    def __init__(self, photos: Dataset, processor: InspectionImageProcessor) -> None:
        self.photos = photos.select_columns(["image", "image_id"])
        self.processor = processor
        side = processor.size["height"]
        self.cache_room = CACHE_BYTES // (3 * side * side)
        self.cache: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Tensor:
        """One photo: (3, H, W) in 0..1."""
        if index in self.cache:
            return self.cache[index].float() / 255
        photo = decode_picture(self.photos, index, "image")
        pixels = self.processor(photo, return_tensors="pt")["pixel_values"][0]
        if len(self.cache) < self.cache_room:
            # Resized pixels are whole numbers of 255ths, so bytes hold them without loss.
            self.cache[index] = (pixels * 255).round().byte()
        return pixels


@dataclass
class Progress:
    """How far training has come; saved with every checkpoint."""

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict:
        """For `Accelerator.save_state`."""
        return {"epoch": self.epoch, "history": self.history}

    def load_state_dict(self, state: dict) -> None:
        """For `Accelerator.load_state`."""
        self.epoch, self.history = state["epoch"], state["history"]


def train(recipe: Recipe, command: str = "") -> Path:
    """Train, calibrate on held-out good photos, and write the model folder.

    Args:
        recipe: what to train, on what.
        command: the command line, for the model card.

    Returns:
        The model folder.

    Raises:
        DatasetError: when the photos can't be read.
        TrainingError: when the loss is no longer finite or a checkpoint is missing.
        ValueError: when the recipe does not make a valid model.
    """
    output_dir = Path(recipe.output_dir)
    model_class = ARCHITECTURES[recipe.architecture]
    config = model_class.config_class(**recipe.model_fields())  # a wrong field fails before data
    accelerator = Accelerator(
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=output_dir, logging_dir=output_dir),
        # Seedable, so that a resumed epoch sees the photos in the order it would have had.
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
    )
    set_seed(recipe.seed)
    with accelerator.main_process_first():  # one process prepares what the others find cached
        dataset = load_inspection_dataset(recipe.data, recipe.category, seed=recipe.seed)
    config.category = dataset["train"][0]["category"]
    good, held_out = split_calibration(dataset["train"], recipe.calibration_fraction, recipe.seed)
    model = model_class(config).to(memory_format=torch.channels_last)
    processor = InspectionImageProcessor(
        size={"height": config.image_size, "width": config.image_size}
    )

    history = fit(model, good, held_out, processor, recipe, accelerator)

    if accelerator.is_main_process:
        model = accelerator.unwrap_model(model).to(memory_format=torch.contiguous_format)
        round_to_half(model)  # before calibration, so that the threshold fits what is saved
        model.eval().calibrate(
            photo_loader(held_out, processor, recipe.batch_size), recipe.false_alarm_rate
        )
        write_model_folder(output_dir, model, processor, recipe, command, history, len(good))
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return output_dir


def photo_loader(
    photos: Dataset, processor: InspectionImageProcessor, batch_size: int, shuffle: bool = False
) -> DataLoader:
    """Batches of prepared photos, (B, 3, H, W) in 0..1."""
    return DataLoader(PreparedPhotos(photos, processor), batch_size=batch_size, shuffle=shuffle)


def fit(
    model: ReconstructionModel,
    good: Dataset,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    accelerator: Accelerator,
) -> list[dict[str, float]]:
    """Train the weights in place; one row of the learning curve an epoch.

    Args:
        model: the model to train.
        good: good photos that the weights learn from.
        held_out: good photos whose loss is only watched; it decides nothing.
        processor: prepares the photos.
        recipe: hyper-parameters.
        accelerator: devices, processes, checkpoints, tracker.

    Returns:
        `{"epoch", "loss", "held_out_loss", "learning_rate"}` an epoch.

    Raises:
        TrainingError: when the loss is no longer finite.
    """
    optimizer = AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    loader = photo_loader(good, processor, recipe.batch_size, shuffle=True)
    held_out_loader = photo_loader(held_out, processor, recipe.batch_size)
    model, optimizer, loader, held_out_loader = accelerator.prepare(
        model, optimizer, loader, held_out_loader
    )
    schedule = LambdaLR(
        optimizer, _warmup_then_cosine(recipe.epochs * len(loader), recipe.warmup_fraction)
    )
    progress = Progress()
    accelerator.register_for_checkpointing(schedule, progress)
    if recipe.resume_from_checkpoint:
        accelerator.load_state(_checkpoint_folder(recipe))
    accelerator.init_trackers("tensorboard")

    bar = tqdm(
        total=recipe.epochs * len(loader),
        initial=progress.epoch * len(loader),
        desc="training",
        unit="step",
        disable=not accelerator.is_main_process,
    )
    for epoch in range(progress.epoch, recipe.epochs):
        loader.set_epoch(epoch)
        model.train()
        losses = []
        for pixel_values in loader:
            loss = model(pixel_values).loss
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss.item()} in epoch {epoch + 1}, expected a finite number; "
                    f"lower --learning_rate (now {recipe.learning_rate}). Checkpoints are intact."
                )
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
            bar.update()
        row = {
            "epoch": epoch + 1,
            "loss": _mean_over_processes(losses, accelerator),
            "held_out_loss": _held_out_loss(model, held_out_loader, accelerator),
            "learning_rate": schedule.get_last_lr()[0],
        }
        progress.epoch, progress.history = epoch + 1, [*progress.history, row]
        accelerator.log({name: row[name] for name in row if name != "epoch"}, step=epoch + 1)
        bar.set_postfix(loss=f"{row['loss']:.4f}", held_out=f"{row['held_out_loss']:.4f}")
        if recipe.checkpoint_every and (epoch + 1) % recipe.checkpoint_every == 0:
            accelerator.save_state(_checkpoints(recipe) / f"epoch-{epoch + 1:05d}")
    bar.close()
    return progress.history


@torch.no_grad()
def _held_out_loss(model: torch.nn.Module, loader: DataLoader, accelerator: Accelerator) -> float:
    model.eval()
    return _mean_over_processes([model(pixels).loss for pixels in loader], accelerator)


def _mean_over_processes(losses: list[Tensor], accelerator: Accelerator) -> float:
    return accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()


def _warmup_then_cosine(steps: int, warmup_fraction: float) -> Callable[[int], float]:
    """Factor on the learning rate, step by step: a linear rise, then half a cosine to 0."""
    warmup = max(1, int(steps * warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1, (step - warmup) / max(1, steps - warmup))))

    return factor


def _checkpoints(recipe: Recipe) -> Path:
    return Path(recipe.output_dir) / "checkpoints"


def _checkpoint_folder(recipe: Recipe) -> str:
    """The checkpoint to go on from, found and checked."""
    wanted = recipe.resume_from_checkpoint
    if wanted == "latest":
        found = sorted(_checkpoints(recipe).glob("epoch-*"))
        if not found:
            raise TrainingError(
                f"There is no checkpoint under {_checkpoints(recipe)}; train without "
                "--resume_from_checkpoint first."
            )
        return str(found[-1])
    if not Path(wanted).is_dir():
        raise TrainingError(
            f"The checkpoint {wanted} is not a folder; give one that training wrote under "
            "checkpoints/, or latest."
        )
    return wanted


def _published_command(words: list[str], recipe: Recipe) -> str:
    """The command line for the card: as typed, but for the folder above the data."""
    public = [recipe.published().data if word == recipe.data else word for word in words]
    return f"python training/train.py {shlex.join(public)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    # The training's own bar is the one to watch.
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    try:
        recipe = parse_recipe(arguments)
        for name in ("data", "output_dir"):
            if not getattr(recipe, name):
                raise ValueError(f"--{name} is missing; `--help` says what it takes.")
        words = sys.argv[1:] if arguments is None else list(arguments)
        folder = train(recipe, _published_command(words, recipe))
    except (DatasetError, PhotoError, TrainingError, ValueError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    print(f"The model is in {folder}: python app.py --models {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
