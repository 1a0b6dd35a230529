"""Measure models on labelled photos: model folders in, figures out.

    python evaluation/evaluate.py --model runs/bottle --data DIR --category bottle \
        --output_dir runs/bottle/evaluation
    accelerate launch --multi_gpu evaluation/evaluate.py --model runs --data DIR --category all \
        --output_dir runs/evaluation --baseline

Writes metrics.json, predictions.csv, pictures.png, restorations.png, examples.jpg, roc.png,
calibration.png, scores.png, cases/ (the worst wrong verdicts) and on request maps/, and prints a
table. In MODEL/evaluation, `publishing.model_card` and `publishing.push` find them. Several models
write to OUTPUT_DIR/MODEL/CATEGORY, one model with several categories to OUTPUT_DIR/CATEGORY.

Models and categories are looked at before the first photo is, and nothing is evaluated if one is
wrong. What fails later, such as a damaged photo, is reported; the others go on, and the exit code
is 2.
Maps, scores and verdicts are those of the model's own `detect`; the test labels are only compared
with them and decide nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from datasets import Dataset, DatasetDict
from datasets.utils.logging import disable_progress_bar
from sklearn.exceptions import UndefinedMetricWarning

from data.dataset import load_inspection_dataset
from data.rows import DatasetError
from evaluation.evaluate.baselines import baseline_metrics
from evaluation.evaluate.map_files import FORMATS
from evaluation.evaluate.prediction import (
    BATCH_SIZE,
    Prediction,
    maps_of_photo_size,
    masks_of,
    predict,
)
from evaluation.evaluate.provenance import cost, provenance
from evaluation.evaluate.results import write_results
from evaluation.evaluate.selection import Pair, model_folders, pair_up
from evaluation.evaluate.summary import format_table, short_table, summarise
from evaluation.metrics import MetricError
from evaluation.model_source import ModelSource
from model_files import LEARNING_CURVE
from modeling import (
    InspectionImageProcessor,
    InspectionPipeline,
    ModelLoadError,
    PhotoError,
    ReconstructionModel,
    load_pipeline,
)
from modeling.backends import AUTO, BACKENDS, TORCH
from system.command_line import run_command, whole_number_from
from system.cores import use_fair_share_of_cores
from system.memory import keep_freed_memory
from system.processes import ElsewhereError, everywhere, on_main, processes_here, state

NAME = "evaluate.py"
BAD_INPUT = (DatasetError, ElsewhereError, MetricError, ModelLoadError, PhotoError)


class Evaluation(NamedTuple):
    """A test set seen by a model; without content in all processes but the main one."""

    predictions: list[Prediction]  # one a photo, in the order of the dataset
    metrics: dict[str, Any]  # as `summarise` gives them
    seconds: float  # from the first photo read to the last one judged


def evaluate(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    dataset: Dataset,
    **how: Any,
) -> Evaluation:
    """Show a model every photo of a labelled dataset and measure what it says.

    Arguments are those of `predict`. Without calibration there is no verdict, and what needs one is
    NaN.

    Raises:
        DatasetError: a photo can't be read.
        MetricError: the model's output is not finite, or a mask has not the size of its photo.
        ElsewhereError: the same in another process.
    """
    start = time.perf_counter()
    predictions = predict(model, image_processor, dataset, **how)
    seconds = time.perf_counter() - start

    def measured() -> dict[str, Any]:
        maps = maps_of_photo_size(predictions, image_processor)
        calibration = model.calibration_of(model.category_if_several(predictions[0].category))
        return summarise(predictions, maps, masks_of(dataset), calibration)

    return Evaluation(predictions, on_main(measured) or {}, seconds)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Measure models on labelled photos and write figures, pictures and metrics.",
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        nargs="+",
        help="model folders, folders that hold some, or Hub repositories such as ORG/NAME",
    )
    add("--revision", help="branch, tag or commit of the Hub repositories (default: main)")
    add(
        "--data",
        required=True,
        help="folder in MVTec AD layout, Hub dataset ORG/NAME, or synthetic:PART",
    )
    add(
        "--category",
        nargs="+",
        default=[],
        help="products to evaluate, such as bottle; all: for each model those that it knows and "
        "data has; not needed if data holds only one",
    )
    add("--output_dir", required=True, type=Path, help="folder that gets the results")
    add(
        "--batch_size",
        type=whole_number_from(1),
        default=BATCH_SIZE,
        help=f"photos at a time (default: {BATCH_SIZE})",
    )
    add("--device", type=_device, help="such as cpu or cuda (default: a GPU if there is one)")
    add(
        "--num_pictures",
        type=whole_number_from(0),
        default=20,
        help="rows of pictures.png, misses and false alarms first; 0 draws no photo (default: 20)",
    )
    add("--maps", choices=FORMATS, help="write the anomaly map of every photo to maps/")
    add(
        "--backend",
        choices=(AUTO, *BACKENDS),
        default=TORCH,
        help="what runs the model: another than torch needs the graph that publishing/export.py "
        f"writes (default: {TORCH})",
    )
    add("--baseline", action="store_true", help="measure simple references on the same photos")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    keep_freed_memory()
    disable_progress_bar()  # of `datasets`; the evaluation's own bar is the one to watch
    transformers.utils.logging.disable_progress_bar()
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    use_fair_share_of_cores(processes_here())
    if state().num_processes > 1:
        options.device = options.device or str(state().device)  # each process has its own one
    with warnings.catch_warnings():
        # What is undefined is said by the notes, once and in words.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        if not state().is_main_process:
            warnings.simplefilter("ignore")  # the main process says the same
        exit_code = _run(EvaluationRun(options, words))
    state().destroy_process_group()
    return exit_code


class EvaluationRun:
    """One command line, and the model and the photos that it is about at the moment."""

    def __init__(self, options: argparse.Namespace, words: Sequence[str]) -> None:
        self.options, self.words = options, words
        where = {name: getattr(options, name) for name in ("revision", "device", "backend")}
        # Pairs come category after category, and often there is one pair.
        self.pipeline = lru_cache(maxsize=1)(partial(load_pipeline, **where))
        self.photos = lru_cache(maxsize=1)(partial(load_inspection_dataset, options.data))

    def pairs(self) -> list[Pair]:
        """What is to be evaluated; raises as `load_pipeline` and `pair_up` do."""
        options = self.options
        known = {
            model: self.pipeline(model).model.config.categories
            for model in model_folders(options.model)
        }
        pairs = pair_up(known, options.category, options.data, options.output_dir)
        chosen = {pair.model for pair in pairs}
        for model in known:
            if model not in chosen:
                _warn(f"{model} knows nothing that {options.data} has, and is left out.")
        return pairs

    def open(self, pair: Pair) -> tuple[InspectionPipeline, DatasetDict]:
        """The model of a pair and its photos; makes the folder for the results.

        Raises:
            DatasetError: when there are no such photos, or the model does not know the category.
        """
        pipe, splits = self.pipeline(pair.model), self.photos(pair.category)
        if "test" not in splits or len(splits["test"]) == 0:
            raise DatasetError(
                f"{self.options.data} has no test photos, so there is nothing to evaluate; put "
                "them into test/good and test/DEFECT of the category."
            )
        known, shown = pipe.model.config.categories, splits["test"]["category"][0]
        if len(known) > 1 and shown not in known:
            raise DatasetError(
                f"The model knows {', '.join(known)}, found --category {shown}; choose one of them."
            )
        if len(known) == 1 and shown not in known:
            _warn(
                f"the model was trained on {known[0]} but is evaluated on {shown}; check --model "
                "and --category."
            )
        if state().is_main_process:
            pair.folder.mkdir(parents=True, exist_ok=True)
        return pipe, splits


def _run(run: EvaluationRun) -> int:
    tell_errors = partial(
        run_command,
        NAME,
        bad_input=BAD_INPUT,
        paths=(run.options.output_dir, "--output_dir"),
        speaks=lambda _: state().is_main_process,
    )
    pairs: list[Pair] = []
    exit_code = tell_errors(lambda: pairs.extend(everywhere(run.pairs)))
    measured = {}
    for pair in pairs:  # what one fails at does not stop the others
        failed = tell_errors(lambda pair=pair: measured.update(_evaluate_pair(run, pair)))
        exit_code = exit_code or failed
    if len(pairs) > 1 and measured and state().is_main_process:
        print(f"\n{short_table('results', measured)}")
    return exit_code


def _evaluate_pair(run: EvaluationRun, pair: Pair) -> dict[str, dict[str, Any]]:
    """Content of metrics.json by its folder; written and printed by the main process alone."""
    options = run.options
    pipe, splits = everywhere(lambda: run.open(pair))
    model, processor, test = pipe.model, pipe.image_processor, splits["test"]
    how = {
        "batch_size": options.batch_size,
        "progress": state().is_main_process,
        "scratch_dir": pair.folder if state().is_main_process else None,
    }
    evaluation = evaluate(model, processor, test, detect=pipe.detector.detect, **how)
    baselines = {}
    if options.baseline:
        baselines = baseline_metrics(model, processor, splits["train"], test, **how)

    def write_and_print() -> dict[str, Any]:
        category = splits["test"]["category"][0]
        source = ModelSource(pair.model, options.revision)
        metrics = {
            **provenance(model, source, options.data, category, run.words),
            **evaluation.metrics,
            "backend": pipe.backend,
            "cost": cost(model, source, len(test), evaluation.seconds),
            "baselines": baselines,
        }
        write_results(
            pair.folder,
            evaluation.predictions,
            metrics,
            pipe,
            test,
            num_pictures=options.num_pictures,
            maps=options.maps,
            learning_curve=source.file(LEARNING_CURVE),
        )
        print(
            f"{pair.model} on {category}: {metrics['n_normal']} good and "
            f"{metrics['n_anomalous']} anomalous photos\n\n{format_table(metrics)}"
        )
        if baselines:
            print(f"\n{short_table('baseline', baselines)}")
        print(f"Results are in {pair.folder}", flush=True)
        return {str(pair.folder): metrics}

    return on_main(write_and_print) or {}


def _warn(sentence: str) -> None:
    if state().is_main_process:
        print(f"{NAME}: warning: {sentence}", file=sys.stderr)


def _device(text: str) -> str:
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError) as error:  # unknown name; not compiled in; none there
        raise argparse.ArgumentTypeError(
            f"expected a device that is there, such as cpu, found {text!r}"
        ) from error
    return text
