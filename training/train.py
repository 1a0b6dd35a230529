"""Learn how good parts look: good photos in, a model folder out.

    accelerate launch training/train.py training/configs/default.yaml \
        --data DIR --category bottle --output_dir runs/bottle
    python training/train.py --data synthetic:flange_nut --output_dir runs/flange_nut

`accelerate launch` takes all GPUs there are; without any, `accelerate launch --multi_gpu
--num_processes 2` starts two processes. They take the same steps as one, since batch_size counts
the photos of a step over all of them.

The folder that it writes is what `from_pretrained`, `evaluation/evaluate.py` and `app.py` take.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A script started by its path finds only its own folder; the packages lie one above.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration, set_seed
from torch import nn

from data.dataset import load_categories, split_calibration
from data.rows import VALIDATION, DatasetError
from modeling import ARCHITECTURES, InspectionImageProcessor, PhotoError, ReconstructionModel
from modeling.backbones import BackboneError, load_backbone
from publishing.push import check_access, push_model
from system.command_line import published_command
from system.cores import use_fair_share_of_cores
from system.disk_errors import DiskError
from system.hub_access import UploadError
from system.memory import keep_freed_memory
from system.processes import ElsewhereError, main_first, on_main, state
from training import photo_cache
from training.augmentation import augmentation_for
from training.calibration import calibrate
from training.checkpoints import CheckpointError, Checkpoints
from training.fit import TrainingError, fit, processes_here
from training.model_folder import complete_model_folder, round_to_half, write_model_folder
from training.recipe import (
    AUTO,
    BF16,
    FULL_PRECISION,
    ROC,
    Recipe,
    parse_recipe,
    without_folder,
)
from training.training_run import Cost, facts_of_run

BackboneAndConfig = tuple[nn.Module, dict[str, Any] | None]

BAD_INPUT = (
    BackboneError,
    CheckpointError,
    DatasetError,
    ElsewhereError,
    PhotoError,
    TrainingError,
    ValueError,
)
FAILED = (DiskError, UploadError)  # nothing is wrong with what was asked for


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
        TrainingError: when the loss is no longer finite.
        CheckpointError: when there is no checkpoint to resume from.
        DiskError: when a checkpoint or the model can't be written.
        ElsewhereError: when one of these happened in another process.
        ValueError: when the recipe does not make a valid model.
    """
    output_dir = Path(recipe.output_dir)
    cost = Cost()
    # Everything that can be wrong with a recipe is found before the photos are read.
    for category in recipe.category or [""]:
        augmentation_for(category, recipe.augmentation)
    model, backbone = build_model(recipe)
    accelerator = join_processes(recipe)
    if recipe.push_to_hub:
        on_main(lambda: check_access(recipe.hub_model_id, recipe.hub_private))
    on_main(lambda: _make_ready(output_dir, recipe))
    dataset = main_first(lambda: _load(recipe))  # the others find cached what one has prepared
    categories = list(dict.fromkeys(dataset["train"]["category"]))
    model, _ = build_model(recipe, categories, backbone)
    processor = InspectionImageProcessor(
        size={"height": model.config.image_size, "width": model.config.image_size}
    )
    decoded = photo_cache.decoded_once(
        dataset["train"], processor, output_dir, recipe.cache_disk_gb
    )
    good, held_out = main_first(
        lambda: split_calibration(decoded, recipe.calibration_fraction, recipe.seed)
    )

    history = fit(model, good, held_out, processor, recipe, accelerator, cost)
    cost.measure(accelerator)

    def calibrate_and_write() -> None:
        trained = accelerator.unwrap_model(model).to(memory_format=torch.contiguous_format)
        round_to_half(trained)  # before calibration, so that the threshold fits what is saved
        calibrate(trained.eval(), held_out, processor, recipe, dataset.get(VALIDATION))
        run = facts_of_run(trained, command, len(good), cost, accelerator)
        write_model_folder(output_dir, trained, processor, recipe, run, history)

    on_main(calibrate_and_write)
    accelerator.end_training()
    return output_dir


def join_processes(recipe: Recipe) -> Accelerator:
    """This process among all of those that train."""
    state()  # first, since it knows what to do where there is no GPU
    accelerator = Accelerator(
        mixed_precision=_precision(recipe),
        log_with="tensorboard",
        project_config=ProjectConfiguration(
            project_dir=recipe.output_dir, logging_dir=recipe.output_dir
        ),
    )
    use_fair_share_of_cores(processes_here())
    return accelerator


def _load(recipe: Recipe) -> datasets.DatasetDict:
    dataset = load_categories(recipe.data, recipe.category or (), seed=recipe.seed)
    if recipe.threshold_rule == ROC and not dataset.get(VALIDATION):
        raise DatasetError(
            f"threshold_rule roc needs labelled photos that are no test photos, and {recipe.data} "
            "has none; put them under CATEGORY/validation/good and CATEGORY/validation/DEFECT."
        )
    return dataset


def _precision(recipe: Recipe) -> str:
    """In accelerate's words."""
    if recipe.mixed_precision != AUTO:
        return "no" if recipe.mixed_precision == FULL_PRECISION else recipe.mixed_precision
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return BF16 if launched == "no" and has_bf16 else launched


def _make_ready(output_dir: Path, recipe: Recipe) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        complete_model_folder(output_dir)
        photo_cache.remove_leftovers(output_dir)
    except OSError as error:
        raise ValueError(
            f"The folder {output_dir} can't be written ({error.strerror or error}); give another "
            "--output_dir."
        ) from error
    newest = Checkpoints(output_dir).newest()
    if newest and recipe.checkpoint_every and not recipe.resume_from_checkpoint:
        print(
            f"train.py: warning: {newest} is of an earlier training and goes with the first new "
            "checkpoint; --resume_from_checkpoint latest goes on from it instead.",
            file=sys.stderr,
        )


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when disk or Hub could not be written."""
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
        if state().is_main_process:
            _publish(folder, recipe)
    except (*BAD_INPUT, *FAILED) as error:
        _tell(error)
        return 1 if isinstance(error, FAILED) else 2
    except OSError as error:  # where a library writes on its own account, the log say
        name = error.filename or recipe.output_dir
        _tell(DiskError(f"{name} can't be read or written ({error.strerror or error})."))
        return 1
    return 0


def _publish(folder: Path, recipe: Recipe) -> None:
    if recipe.push_to_hub:
        address, tag = push_model(folder, recipe.hub_model_id, private=recipe.hub_private)
        print(f"The model is at {address}, release {tag}.")
    print(f"The model is in {folder}: python app.py --models {folder}")


def _tell(error: Exception) -> None:
    """Say what is wrong: once, where all processes find it, or who has found it alone."""
    if state().is_main_process or isinstance(error, DatasetError | PhotoError):
        print(f"train.py: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
