"""Which rule should set the threshold? Promised against realised false-alarm rate, over splits.

    python evaluation/threshold_study.py \
        --models assets/models/flange_nut assets/models/key assets/models/fabric \
        --data "synthetic:flange_nut?train=1&test_good=400&test_per_defect=15" \
               "synthetic:key?train=1&test_good=400&test_per_defect=15" \
               "synthetic:fabric?train=1&test_good=400&test_per_defect=15" \
        --output_dir runs/threshold_study

Each model scores the test photos of its product once; the rest is arithmetic on the scores. For
every seed the photos are shuffled and divided: some good ones calibrate, a few good and defective
ones are the labelled validation set of the rule "ROC", and all others are the test. Every rule of
`evaluation.thresholds.rules` sets its threshold, which is then applied to the test.

The default rule is chosen on synthetic parts alone; other data are shown beside them and choose
nothing. Writes threshold_study.json (with all scores), threshold_study.html and
threshold_study.md, and prints what follows from them.
"""

from __future__ import annotations

import argparse
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

# A script started by its path finds only its own folder; the packages lie one above. Its own folder
# must not stay: there, `evaluate` and `metrics` would hide installed libraries of these names.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from sklearn.exceptions import UndefinedMetricWarning
from tqdm import tqdm

from evaluation.command_line import unusable_path, whole_number_from
from evaluation.measuring.prediction import predict
from evaluation.metrics import MetricError
from evaluation.thresholds.report import as_text, write_report
from evaluation.thresholds.trials import Scored, study, usable_sizes
from modeling import (
    InspectionImageProcessor,
    ModelLoadError,
    PhotoError,
    ReconstructionModel,
    load_model,
)
from training.dataset import (
    SYNTHETIC_PREFIX,
    DatasetError,
    UnknownCategoryError,
    load_categories,
)
from training.recipe import public_path, published_command

PHOTOS_AT_ONCE = 64  # whose maps are in memory
LIBRARIES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "scipy")


def score_products(folders: Sequence[str], sources: Sequence[str], seed: int) -> Iterator[Scored]:
    """Every product of the data, scored by each model that knows it.

    Args:
        folders: model folders, or Hub repositories.
        sources: as `training.dataset.load_inspection_dataset` takes them.
        seed: of synthetic parts.

    Raises:
        DatasetError: a source can't be read, none of the models knows its product, or it has too
            few photos.
        ModelLoadError: a folder holds no model.
    """
    models = {folder: load_model(folder) for folder in folders}
    known = sorted({name for model, _ in models.values() for name in model.config.categories})
    for source in sources:
        photos = _test_photos(source, seed)
        names = np.array(photos["category"])
        for product in dict.fromkeys(names.tolist()):
            if product not in known:
                raise DatasetError(
                    f"{source} shows {product}, which none of the models knows; they know "
                    f"{', '.join(known) or 'no product'}. Give --models one that was trained on it."
                )
            shown = photos.select(np.flatnonzero(names == product))
            usable_sizes(_labels_of(shown))
            for folder, (model, processor) in models.items():
                if product in model.config.categories:
                    yield Scored(
                        product=product,
                        model=public_path(folder),
                        data=public_path(source),
                        is_synthetic=source.startswith(SYNTHETIC_PREFIX),
                        labels=_labels_of(shown),
                        scores=_raw_scores(model, processor, shown, f"scoring {product}"),
                    )


def _test_photos(source: str, seed: int) -> Dataset:
    try:
        return load_categories(source, seed=seed)["test"]
    except UnknownCategoryError:  # it holds several
        return load_categories(source, ["all"], seed=seed)["test"]


def _labels_of(photos: Dataset) -> list[int]:
    anomalous = photos.features["label"].str2int("anomalous")
    return [int(label == anomalous) for label in photos["label"]]


def _raw_scores(
    model: ReconstructionModel, processor: InspectionImageProcessor, photos: Dataset, title: str
) -> list[float]:
    """Of all photos; no maps are kept, which would fill the memory."""
    scores: list[float] = []
    with tqdm(total=len(photos), desc=title, unit="photo") as bar:
        for first in range(0, len(photos), PHOTOS_AT_ONCE):
            some = photos.select(range(first, min(first + PHOTOS_AT_ONCE, len(photos))))
            scores += [prediction.raw_score for prediction in predict(model, processor, some)]
            bar.update(len(some))
    return scores


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="threshold_study.py",
        description="Compare rules for the threshold: promised against realised false-alarm rate.",
    )
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="DIR", help="model folders")
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="folders in MVTec AD layout, Hub datasets ORG/NAME, or synthetic:PART",
    )
    add("--output_dir", type=Path, metavar="OUT", help="folder that gets the tables and the scores")
    add("--seeds", type=whole_number_from(2), default=100, help="random splits (default: 100)")
    add(
        "--seed",
        type=whole_number_from(0),
        default=1,
        help="of synthetic parts; another one than a model was trained with (default: 1)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    disable_progress_bar()  # of `datasets`
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if options.output_dir:
            options.output_dir.mkdir(parents=True, exist_ok=True)
        products = list(score_products(options.models, options.data, options.seed))
        with warnings.catch_warnings():
            # Where nothing fails, precision is undefined; it is not part of the study.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            outcomes = [outcome for one in products for outcome in study(one, options.seeds)]
        if options.output_dir:
            write_report(options.output_dir, products, outcomes, _provenance(options, words))
    except (DatasetError, MetricError, ModelLoadError, PhotoError) as error:
        print(f"threshold_study.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        sentence = unusable_path(error, options.output_dir, "--output_dir")
        print(f"threshold_study.py: {sentence}", file=sys.stderr)
        return 2
    print(as_text(outcomes))
    return 0


def _provenance(options: argparse.Namespace, words: Sequence[str]) -> dict[str, Any]:
    return {
        "command": published_command("evaluation/threshold_study.py", words),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        "seeds": options.seeds,
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
    }


if __name__ == "__main__":
    sys.exit(main())
