"""The card of a model folder: what it is, what made it, what was measured, and its limits.

    python -m publishing.model_card runs/bracket

writes README.md of a folder anew, with the figures of `runs/bracket/evaluation` where
evaluation/evaluate.py has left some. Its words stand in templates/model_card.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from safetensors import safe_open
from transformers import AutoConfig
from transformers.utils import SAFE_WEIGHTS_NAME

import model_files
from data.licences import MVTEC_LICENSE, is_mvtec, is_synthetic, license_of, pictures_may_be_shown
from hub_models import CATEGORY_PREFIX, PROJECT_TAG
from model_files import CARD, EVALUATION, METRICS, Metrics, RecipeFacts, TrainingRun
from modeling import TASK, Calibration, ReconstructionConfig
from modeling.backbones import LITE_SCALES
from modeling.ground import ALL
from system.command_line import run_command
from system.errors import first_line

MVTEC_DATASET = "Voxel51/mvtec-ad"  # MVTec AD on the Hub; the same photos as the official archive
# What the model-index holds: field of `Metrics` to its name on the Hub.
FIGURES = {
    "image_auroc": "Image AUROC",
    "average_precision": "Image average precision",
    "pixel_auroc": "Pixel AUROC",
    "aupro": "AUPRO (up to 30 % false positives)",
    "f1": "F1 at the calibrated threshold",
    "false_alarm_rate": "Realised false-alarm rate",
    "miss_rate": "Miss rate",
}
# What else a card says of an evaluation.
NEEDED = ("category", "data", "n_normal", "n_anomalous", "seed", "date", "command", "per_defect")
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=False,  # it is Markdown
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class CardFacts:
    """All that a card says, read from the folder of a model."""

    config: ReconstructionConfig
    recipe: RecipeFacts
    run: TrainingRun
    evaluations: dict[str, Metrics]  # subfolder of the model folder -> the figures in it

    @classmethod
    def read(cls, folder: Path) -> CardFacts:
        """Read a model folder; a ValueError where it is not one that training/train.py wrote."""
        run, recipe = TrainingRun.read(folder), RecipeFacts.read(folder)
        return cls(AutoConfig.from_pretrained(folder), recipe, run, _evaluations_in(folder))

    @property
    def name(self) -> str:
        """Of the model, for people."""
        categories = ", ".join(self.config.categories)
        return f"{categories}: {self.recipe.architecture} on {self.recipe.target}"

    @property
    def licence(self) -> str:
        """Of the model."""
        return license_of(self.recipe.data, self.recipe.data_license, self.config.categories)

    @property
    def shows_pictures(self) -> bool:
        """Whether the card may show photos of the parts."""
        return pictures_may_be_shown(self.recipe.data, self.recipe.data_license)

    def is_mvtec(self, categories: Sequence[str]) -> bool:
        """Whether photos of these categories are taken for those of MVTec AD."""
        return is_mvtec(self.recipe.data, self.recipe.data_license, categories)


def _evaluations_in(folder: Path) -> dict[str, Metrics]:
    """Results that evaluate.py left in a model folder: evaluation/, or evaluation/CATEGORY/."""
    evaluations = folder / EVALUATION
    return {
        path.parent.relative_to(folder).as_posix(): _read_metrics(path)
        for path in (evaluations / METRICS, *sorted(evaluations.glob(f"*/{METRICS}")))
        if path.is_file()
    }


def _read_metrics(path: Path) -> Metrics:
    try:
        metrics = Metrics.parse(path.read_text())
        metrics.require((*NEEDED, *FIGURES))
        for kind in metrics.per_defect.values():
            kind.require(("n", "image_auroc", "misses"))
        if "torch" not in metrics.versions:
            raise ValueError("no 'torch'")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or of another version ({first_line(error)}); run "
            "evaluation/evaluate.py again, or remove it."
        ) from error
    return metrics


def model_card(folder: Path, repo: str | None = None) -> str:
    """The card of a model folder as Markdown with the Hub's front matter.

    Args:
        folder: a folder that training/train.py wrote; a ValueError where it is not a whole one.
        repo: the Hub id that the card is for; None for the folder as it lies.
    """
    facts = CardFacts.read(folder)
    config = facts.config
    return TEMPLATES.get_template("model_card.md").render(
        front_matter=_metadata(facts).to_yaml(),
        name=facts.name,
        repo=repo,
        task=TASK,
        **vars(facts),
        calibrations={
            name: Calibration.from_dict(values) for name, values in config.calibrations.items()
        },
        is_cross=facts.recipe.calibration == "cross",
        has_several_categories=len(config.categories) > 1,
        has_own_backbone=config.backbone in LITE_SCALES,
        judged=_judged(folder, config),
        figures=FIGURES,
        figure=_figure,
        weakest=_weakest,
        pointing=_pointing,
        has_picture=lambda place, file: (folder / place / file).is_file(),
        shows_pictures=facts.shows_pictures,
        files=model_files,
        is_synthetic=is_synthetic(facts.recipe.data),
        is_mvtec=facts.is_mvtec(config.categories),
        cites_mvtec=facts.licence == MVTEC_LICENSE,
        licence=facts.licence,
    )


def _judged(folder: Path, config: ReconstructionConfig) -> dict[str, str]:
    """What is judged, by category: "all", the part at its "places", or found on each "photo"."""
    if config.judged == ALL:
        return dict.fromkeys(config.categories, ALL)
    with safe_open(folder / SAFE_WEIGHTS_NAME, framework="numpy") as weights:
        places = weights.get_tensor("ground.places")
    return {
        category: ALL if one.all() else "places" if one.any() else "photo"
        for category, one in zip(config.categories, places, strict=True)
    }


def _metadata(facts: CardFacts) -> ModelCardData:
    categories, data = facts.config.categories, facts.recipe.data
    is_on_hub = not is_synthetic(data) and data.count("/") == 1
    dataset = MVTEC_DATASET if facts.is_mvtec(categories) else data if is_on_hub else None
    backbone = facts.config.backbone
    results = [
        result for metrics in facts.evaluations.values() for result in _eval_results(facts, metrics)
    ]
    of_categories = [f"{CATEGORY_PREFIX}{name}" for name in categories]
    return ModelCardData(
        library_name="transformers",
        license=facts.licence,
        tags=[PROJECT_TAG, TASK, "visual-inspection", *of_categories],
        datasets=dataset and [dataset],
        base_model=None if backbone in LITE_SCALES else backbone,
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def _eval_results(facts: CardFacts, metrics: Metrics) -> list[EvalResult]:
    """One entry a metric that is defined, as it stands in metrics.json."""
    mvtec = facts.is_mvtec([metrics.category])
    return [
        EvalResult(
            task_type=TASK,
            task_name="Anomaly detection",
            dataset_type=MVTEC_DATASET if mvtec else metrics.data,
            dataset_name=f"{'MVTec AD' if mvtec else metrics.data}, {metrics.category}",
            dataset_config=metrics.category,
            dataset_split="test",
            metric_type=key,
            metric_name=name,
            metric_value=value,
        )
        for key, name in FIGURES.items()
        if (value := getattr(metrics, key)) is not None
    ]


def _figure(metrics: Metrics, key: str) -> str:
    """A figure with its interval, and of a rate what was counted."""
    value, ends = getattr(metrics, key), getattr(metrics, f"{key}_interval", None)
    if value is None:
        return "undefined"
    if ends is None:
        return f"{value:.4f}"
    counted = {
        "false_alarm_rate": f"{metrics.false_alarms} of {metrics.n_normal}; ",
        "miss_rate": f"{metrics.misses} of {metrics.n_anomalous}; ",
    }
    return f"{value:.4f} ({counted.get(key, '')}95 % interval {ends[0]:.3f} to {ends[1]:.3f})"


def _weakest(metrics: Metrics) -> str:
    """Where it fails most, which an average hides."""
    ranked = [pair for pair in metrics.per_defect.items() if pair[1].image_auroc is not None]
    if not ranked:
        return ""
    name, kind = min(ranked, key=lambda pair: pair[1].image_auroc)
    missed = "" if kind.misses is None else f", {kind.misses} of {kind.n} missed"
    return f"Weakest at `{name}`: image AUROC {kind.image_auroc:.3f}{missed}."


def _pointing(metrics: Metrics) -> str:
    """Whether photos fail by their defects, where that was measured."""
    if metrics.pointing is None or metrics.image_auroc_at_defects is None:
        return ""
    of_fails = metrics.pointing_of_fails
    failing = "" if of_fails is None else f", of those that fail {100 * of_fails:.1f} %"
    return (
        " The highest place of the map lies on the defect of "
        f"{100 * metrics.pointing:.1f} % of the photos{failing}; image AUROC by the defects' own "
        f"places is {metrics.image_auroc_at_defects:.3f}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m publishing.model_card",
        description="Write the card of a model folder anew, with its evaluation's figures.",
    )
    parser.add_argument("folder", type=Path, help="folder that training/train.py wrote")
    card = parser.parse_args(arguments).folder / CARD

    def write() -> None:
        card.write_text(model_card(card.parent))
        print(f"The card is {card}")

    return run_command("model_card.py", write, bad_input=(OSError, ValueError))


if __name__ == "__main__":
    sys.exit(main())
