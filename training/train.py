"""Learn how good parts look: good photos in, a model folder out.

    accelerate launch training/train.py training/configs/default.yaml \
        --data DIR --category bottle --output_dir runs/bottle
    python training/train.py --data synthetic:flange_nut --output_dir runs/flange_nut

The folder that it writes is what `from_pretrained`, `evaluation/evaluate.py` and `app.py` take.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A script started by its path finds only its own folder; the packages lie one above.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datasets
import torch
import transformers
from accelerate import Accelerator, PartialState
from accelerate.utils import DataLoaderConfiguration, ProjectConfiguration, set_seed
from datasets import Dataset
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from modeling import ARCHITECTURES, InspectionImageProcessor, PhotoError, ReconstructionModel
from modeling.allocator import keep_freed_memory
from modeling.backbones import BackboneError, load_backbone
from training.augmentation import UNCHANGED, augmentation_for
from training.calibration import calibrate
from training.cores import use_fair_share_of_cores
from training.dataset import VALIDATION, DatasetError, load_categories, split_calibration
from training.hub_access import UploadError
from training.model_folder import round_to_half, write_model_folder
from training.muon import Muon
from training.photos import PreparedPhotos, RestorationPhotos
from training.push import CHECKPOINTS, CheckpointPush, check_access, push_model
from training.recipe import ROC, Recipe, parse_recipe, published_command, without_folder
from training.training_run import Cost, TrainingRun

STANDARDISATION_PHOTOS = 64  # good photos that say what is a usual feature; more change nothing
WATCHED_PHOTOS = 32  # held-out photos whose loss is watched, which decides nothing

BackboneAndConfig = tuple[nn.Module, dict[str, Any] | None]


class TrainingError(RuntimeError):
    """Training can't go on; the message is one sentence for the person who started it."""


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
        UploadError: when the repository to push to can't be written.
        TrainingError: when the loss is no longer finite or a checkpoint is missing.
        ValueError: when the recipe does not make a valid model.
    """
    output_dir = Path(recipe.output_dir)
    cost = Cost()
    # Everything that can be wrong with a recipe is found before the photos are read.
    for category in recipe.category or [""]:
        augmentation_for(category, recipe.augmentation)
    model, backbone = build_model(recipe)
    accelerator = Accelerator(
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=output_dir, logging_dir=output_dir),
        # Seedable, so that a resumed epoch sees the photos in the order it would have had.
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
    )
    use_fair_share_of_cores(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    if recipe.push_to_hub and accelerator.is_main_process:
        check_access(recipe.hub_model_id, recipe.hub_private)
    with accelerator.main_process_first():  # one process prepares what the others find cached
        dataset = load_categories(recipe.data, recipe.category or (), seed=recipe.seed)
    labelled = dataset.get(VALIDATION)
    if recipe.threshold_rule == ROC and not labelled:
        raise DatasetError(
            f"threshold_rule roc needs labelled photos that are no test photos, and {recipe.data} "
            "has none; put them under CATEGORY/validation/good and CATEGORY/validation/DEFECT."
        )
    good, held_out = split_calibration(dataset["train"], recipe.calibration_fraction, recipe.seed)
    categories = list(dict.fromkeys(dataset["train"]["category"]))
    model, _ = build_model(recipe, categories, backbone)
    processor = InspectionImageProcessor(
        size={"height": model.config.image_size, "width": model.config.image_size}
    )

    history = fit(model, good, held_out, processor, recipe, accelerator, cost)
    cost.measure(accelerator)

    if accelerator.is_main_process:
        model = accelerator.unwrap_model(model).to(memory_format=torch.contiguous_format)
        round_to_half(model)  # before calibration, so that the threshold fits what is saved
        calibrate(model.eval(), held_out, processor, recipe, labelled)
        run = TrainingRun.of(model, command, len(good), cost, accelerator)
        write_model_folder(output_dir, model, processor, recipe, run, history)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return output_dir


def build_model(
    recipe: Recipe, categories: Sequence[str] = (), backbone: BackboneAndConfig | None = None
) -> tuple[ReconstructionModel, BackboneAndConfig | None]:
    """An untrained model, its initial weights decided by the recipe's seed.

    Args:
        recipe: architecture, target and their fields.
        categories: what the model will know.
        backbone: what an earlier call returned, so that it is loaded once.

    Returns:
        The model, its backbone's weights published and rounded to half, as they will be saved; and
        the backbone with its config, None for pixels.

    Raises:
        BackboneError: when the backbone's weights can't be had.
        ValueError: when the recipe does not make a valid model.
    """
    set_seed(recipe.seed)
    model_class = ARCHITECTURES[recipe.architecture]
    fields = {**recipe.model_fields(), "categories": list(categories)}
    if recipe.target == "pixels":
        return model_class(model_class.config_class(**fields)), None
    defaults = model_class.config_class.defaults_for_target("features")
    backbone = backbone or load_backbone(
        recipe.backbone or defaults["backbone"],
        recipe.backbone_layers or defaults["backbone_layers"],
    )
    network, hub_config = backbone
    fields |= {"backbone": without_folder(fields["backbone"]), "backbone_config": hub_config}
    model = model_class(model_class.config_class(**fields))
    model.target.backbone.load_state_dict(network.state_dict())
    round_to_half(model.target.backbone)
    return model, backbone


def fit(
    model: ReconstructionModel,
    good: Dataset,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    accelerator: Accelerator,
    cost: Cost,
) -> list[dict[str, float]]:
    """Train the weights in place; one row of the learning curve an epoch.

    Args:
        model: the model to train.
        good: good photos that the weights learn from.
        held_out: good photos whose loss is only watched; it decides nothing.
        processor: prepares the photos.
        recipe: hyper-parameters.
        accelerator: devices, processes, checkpoints, tracker.
        cost: goes into the checkpoints, up to date.

    Returns:
        `{"epoch", "loss", "held_out_loss", "learning_rate"}` an epoch.

    Raises:
        TrainingError: when the loss is no longer finite.
    """
    model.to(accelerator.device, memory_format=torch.channels_last)
    photos, held_out_photos = (
        restoration_photos(split, model, processor, recipe, damaging)
        for split, damaging in ((good, True), (held_out, False))
    )
    if recipe.target == "features":
        model.target.fit(_standardisation_batches(photos, model))
    optimizer = Muon(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    loader = DataLoader(photos, recipe.batch_size, shuffle=True)
    watched = Subset(held_out_photos, _spread(len(held_out_photos), WATCHED_PHOTOS))
    held_out_loader = DataLoader(watched, recipe.batch_size)
    model, optimizer, loader, held_out_loader = accelerator.prepare(
        model, optimizer, loader, held_out_loader
    )
    epochs = recipe.epochs_of(len(loader))
    schedule = LambdaLR(
        optimizer, _warmup_then_cosine(epochs * len(loader), recipe.warmup_fraction)
    )
    progress = Progress()
    accelerator.register_for_checkpointing(schedule, progress, cost)
    if recipe.resume_from_checkpoint:
        accelerator.load_state(_checkpoint_folder(recipe))
    accelerator.init_trackers("tensorboard")

    pushes = _checkpoint_pushes(recipe, accelerator)
    bar = tqdm(
        total=epochs * len(loader),
        initial=progress.epoch * len(loader),
        desc="training",
        unit="step",
        disable=not accelerator.is_main_process,
    )
    for epoch in range(progress.epoch, epochs):
        loader.set_epoch(epoch)
        photos.set_epoch(epoch)
        model.train()
        losses = []
        for batch in loader:
            loss = model(**batch, loss_only=True).loss
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
        if recipe.checkpoint_is_due(epoch + 1):
            checkpoint = _checkpoints(recipe) / f"epoch-{epoch + 1:05d}"
            cost.measure(accelerator)
            accelerator.save_state(checkpoint)
            if pushes and recipe.push_is_due(epoch + 1):
                pushes.start(checkpoint)
    bar.close()
    if pushes:
        pushes.finish()
    return progress.history


def restoration_photos(
    photos: Dataset,
    model: ReconstructionModel,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    damaging: bool,
) -> RestorationPhotos:
    """Photos to train on, or (`damaging` False) to watch the loss on as they are."""
    allowed = {
        category: augmentation_for(category, recipe.augmentation) if damaging else UNCHANGED
        for category in {*photos["category"]}
    }
    # A GPU encodes a batch faster than the memory of encoded photos could be filled and read.
    keeps_features = recipe.target == "features" and model.device.type == "cpu"
    return RestorationPhotos(
        PreparedPhotos(photos, processor),
        [allowed[category] for category in photos["category"]],
        damage_probability=recipe.damage_probability if damaging else 0.0,
        variants=recipe.variants if damaging else 1,
        seed=recipe.seed,
        extract=model.target.extract if keeps_features else None,
    )


def _standardisation_batches(
    photos: RestorationPhotos, model: ReconstructionModel
) -> Iterator[list[Tensor]]:
    """Features of up to `STANDARDISATION_PHOTOS` clean photos, spread evenly over all."""
    for index in _spread(len(photos), STANDARDISATION_PHOTOS):
        item = photos[index]
        layers = item.get("clean_extracted")
        if layers is None:
            yield model.target.extract(item["clean_pixel_values"][None].to(model.device))
        else:
            yield [layer[None] for layer in layers]


def _spread(length: int, most: int) -> list[int]:
    """Up to `most` indices, evenly over a sequence of this length."""
    count = min(length, most)
    return [index * length // count for index in range(count)]


@torch.no_grad()
def _held_out_loss(model: torch.nn.Module, loader: DataLoader, accelerator: Accelerator) -> float:
    model.eval()
    losses = [model(**batch, loss_only=True).loss for batch in loader]
    return _mean_over_processes(losses, accelerator)


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


def _checkpoint_pushes(recipe: Recipe, accelerator: Accelerator) -> CheckpointPush | None:
    wanted = recipe.push_every and accelerator.is_main_process
    return CheckpointPush(recipe.hub_model_id) if wanted else None


def _checkpoints(recipe: Recipe) -> Path:
    return Path(recipe.output_dir) / CHECKPOINTS


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when the Hub could not be written."""
    keep_freed_memory()
    # The training's own bar is the one to watch.
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    try:
        recipe = parse_recipe(arguments)
        for name in ("data", "output_dir"):
            if not getattr(recipe, name):
                raise ValueError(f"--{name} is missing; `--help` says what it takes.")
        words = sys.argv[1:] if arguments is None else list(arguments)
        folder = train(recipe, published_command("training/train.py", words))
        if recipe.push_to_hub and PartialState().is_main_process:
            address, tag = push_model(folder, recipe.hub_model_id, private=recipe.hub_private)
            print(f"The model is at {address}, release {tag}.")
    except (BackboneError, DatasetError, PhotoError, TrainingError, ValueError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except UploadError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    print(f"The model is in {folder}: python app.py --models {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
