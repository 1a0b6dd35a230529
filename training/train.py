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
import transformers

from data.dataset import load_categories
from data.rows import VALIDATION, DatasetError
from data.split import Split, split_good
from modeling import InspectionImageProcessor, PhotoError
from publishing.push import check_access, push_model
from system.command_line import published_command, run_command
from system.errors import DiskError, ElsewhereError, UploadError
from system.memory import keep_freed_memory
from system.processes import end, main_first, on_main, state
from training.calibration.cross_fitting import check_counts, cross_score, remove_folds
from training.calibration.held_out_calibration import Scored, choose_and_score, set_thresholds
from training.calibration.suspects import in_words, suspects_of
from training.checkpoints import CheckpointError, Checkpoints
from training.fit import TrainingError, finish_learning, fit
from training.initial_model import build_model
from training.machine import Cost, facts_of_run, join_processes
from training.model_folder import complete_model_folder, write_model_folder
from training.photos.augmentation import augmentation_for
from training.photos.decoded import decoded_once, remove_decoded
from training.recipe import CROSS, ROC, Recipe, parse_recipe

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
    """Train, calibrate on good photos that were not learned from, and write the model folder.

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
    split = main_first(lambda: _split(dataset["train"], recipe))
    check_counts(dataset["train"], split, model, recipe)
    photos = decoded_once(dataset["train"], processor, output_dir, recipe.cache_disk_gb)
    good, held_out = photos.select(split.learned), photos.select(split.held_out)

    history = fit(model, good, held_out, processor, recipe, accelerator, cost)
    cost.add_elapsed(accelerator)
    trained = accelerator.unwrap_model(model)

    def finish_and_score() -> dict[str, Scored]:
        examples = finish_learning(trained, good, processor, recipe)
        labelled = dataset.get(VALIDATION)
        return choose_and_score(trained, held_out, processor, recipe, labelled, examples)

    scored = on_main(finish_and_score)
    if recipe.calibration == CROSS:
        scored = cross_score(trained, scored, photos, split, processor, recipe, backbone, cost)

    def calibrate_and_write() -> None:
        set_thresholds(trained, scored, recipe)
        suspects = suspects_of(scored, recipe)
        on_damage = {category: found.on_damage for category, found in scored.items()}
        run = facts_of_run(trained, command, len(good), cost, accelerator, suspects, on_damage)
        write_model_folder(output_dir, trained, processor, recipe, run, history)
        remove_folds(output_dir)
        if suspects:
            print(in_words(suspects, sum(len(one.good) for one in scored.values())))

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


def _split(good: datasets.Dataset, recipe: Recipe) -> Split:
    folds = recipe.folds if recipe.calibration == CROSS else 1
    return split_good(good, recipe.calibration_fraction, recipe.seed, folds, recipe.leave_out or ())


def _publish(recipe: Recipe) -> None:
    """Push the model if that is asked for, and say where it is."""
    folder = Path(recipe.output_dir)
    if recipe.push_to_hub:
        address, tag = push_model(folder, recipe.hub_model_id, private=recipe.hub_private)
        print(f"The model is at {address}, release {tag}.")
    print(f"The model is in {folder}: python app.py --models {folder}")


if __name__ == "__main__":
    end(main())
