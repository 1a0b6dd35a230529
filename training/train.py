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

import sys
from collections.abc import Sequence
from pathlib import Path

# A script started by its path finds only its own folder; the packages lie one above.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets
import torch
import transformers

from data.dataset import load_categories, split_calibration
from data.rows import VALIDATION, DatasetError
from modeling import InspectionImageProcessor, PhotoError
from publishing.push import check_access, push_model
from system.command_line import published_command, run_command
from system.errors import DiskError, ElsewhereError, UploadError
from system.memory import keep_freed_memory
from system.processes import end, main_first, on_main, state
from training.checkpoints import CheckpointError, Checkpoints
from training.fit import TrainingError, fit
from training.held_out_calibration import calibrate
from training.initial_model import build_model
from training.judging import learn_ground
from training.machine import Cost, facts_of_run, join_processes
from training.model_folder import complete_model_folder, round_to_half, write_model_folder
from training.photos.augmentation import augmentation_for
from training.photos.decoded import decoded_once, remove_decoded
from training.recipe import ROC, Recipe, parse_recipe
from training.whole_part import learn_whole_part

# Wrong recipes, photos and backbones are kinds of ValueError.
BAD_INPUT = (CheckpointError, ElsewhereError, TrainingError, ValueError)
FAILED = (DiskError, UploadError)  # nothing is wrong with what was asked for


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when disk or Hub could not be written."""
    keep_freed_memory()
    # The training's own bar is the one to watch.
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    words = sys.argv[1:] if arguments is None else list(arguments)

    def work() -> None:
        recipe = parse_recipe(words)
        for name in ("data", "output_dir"):
            if not getattr(recipe, name):
                raise ValueError(f"--{name} is missing; `--help` says what it takes.")
        try:
            train(recipe, published_command("training/train.py", words))
            if state().is_main_process:
                _publish(recipe)
        except OSError as error:  # where a library writes without us, such as the tracker's log
            path = error.filename or recipe.output_dir
            raise DiskError(
                f"{path} can't be read or written ({error.strerror or error})."
            ) from error

    def speaks(error: Exception) -> bool:  # the main process, or the one that met a bad photo
        return state().is_main_process or isinstance(error, DatasetError | PhotoError)

    return run_command("train.py", work, bad_input=BAD_INPUT, failed=FAILED, speaks=speaks)


def train(recipe: Recipe, command: str) -> None:
    """Train, calibrate on held-out good photos, and write the model folder.

    The command is for the model card. Wrong photos are a `DatasetError`, a recipe that makes no
    valid model a ValueError, a repository that can't be pushed to an `UploadError`, a model that
    can't be written a `DiskError`; `fit` has its own. Any of them is an `ElsewhereError` in the
    other processes.
    """
    output_dir, cost = Path(recipe.output_dir), Cost()
    # Everything that can be wrong with a recipe is found before the photos are read.
    for category in recipe.category or [""]:
        augmentation_for(category, recipe.augmentation)
    model, backbone = build_model(recipe)
    accelerator = join_processes(recipe)
    if recipe.push_to_hub:
        on_main(lambda: check_access(recipe.hub_model_id, recipe.hub_private))
    on_main(lambda: _make_ready(output_dir, recipe))

    dataset = main_first(lambda: _load_photos(recipe))  # the other processes find it cached
    model, _ = build_model(recipe, list(dict.fromkeys(dataset["train"]["category"])), backbone)
    side = model.config.image_size
    processor = InspectionImageProcessor(size={"height": side, "width": side})
    photos = decoded_once(dataset["train"], processor, output_dir, recipe.cache_disk_gb)
    good, held_out = main_first(
        lambda: split_calibration(photos, recipe.calibration_fraction, recipe.seed)
    )

    history = fit(model, good, held_out, processor, recipe, accelerator, cost)
    cost.add_elapsed(accelerator)

    def calibrate_and_write() -> None:
        trained = accelerator.unwrap_model(model).to(memory_format=torch.contiguous_format)
        round_to_half(trained)  # before calibration, so that the threshold fits what is saved
        examples = learn_whole_part(trained.eval(), good, processor, recipe)
        learn_ground(trained, good, processor, recipe)
        calibrate(trained, held_out, processor, recipe, dataset.get(VALIDATION), examples)
        run = facts_of_run(trained, command, len(good), cost, accelerator)
        write_model_folder(output_dir, trained, processor, recipe, run, history)

    on_main(calibrate_and_write)
    accelerator.end_training()


def _make_ready(output_dir: Path, recipe: Recipe) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        complete_model_folder(output_dir)
        remove_decoded(output_dir)
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


def _load_photos(recipe: Recipe) -> datasets.DatasetDict:
    dataset = load_categories(recipe.data, recipe.category or (), seed=recipe.seed)
    if recipe.threshold_rule == ROC and not dataset.get(VALIDATION):
        raise DatasetError(
            f"threshold_rule roc needs labelled photos that are no test photos, and {recipe.data} "
            "has none; put them under CATEGORY/validation/good and CATEGORY/validation/DEFECT."
        )
    return dataset


def _publish(recipe: Recipe) -> None:
    """Push the model if that is asked for, and say where it is."""
    folder = Path(recipe.output_dir)
    if recipe.push_to_hub:
        address, tag = push_model(folder, recipe.hub_model_id, private=recipe.hub_private)
        print(f"The model is at {address}, release {tag}.")
    print(f"The model is in {folder}: python app.py --models {folder}")


if __name__ == "__main__":
    end(main())
