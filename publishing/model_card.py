"""The card of a model folder: what it is, what made it, what was measured, and its limits.

    python -m publishing.model_card runs/bracket

writes README.md of a folder anew, with the figures of `runs/bracket/evaluation` where
evaluation/evaluate.py has left some.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from transformers import AutoConfig

from data.licences import MVTEC_LICENSE, is_mvtec, license_of, pictures_may_be_shown
from hub_models import CATEGORY_PREFIX, PROJECT_TAG
from modeling import TASK, Calibration, ReconstructionConfig
from modeling.backbones import EFFICIENTNET_LITE0
from system.errors import first_line
from training.recipe import Recipe, read_recipe
from training.training_run import TrainingRun

RECIPE_FILE = "recipe.yaml"
METRICS_FILE = "metrics.json"
EVALUATION = "evaluation"  # folder of a model folder, as the README names it to evaluate.py
MVTEC_DATASET = "Voxel51/mvtec-ad"  # MVTec AD on the Hub; the same photos as the official archive

# What the model-index holds: key in metrics.json to its name on the Hub.
METRICS = {
    "image_auroc": "Image AUROC",
    "average_precision": "Image average precision",
    "pixel_auroc": "Pixel AUROC",
    "aupro": "AUPRO (up to 30 % false positives)",
    "f1": "F1 at the calibrated threshold",
    "false_alarm_rate": "Realised false-alarm rate",
    "miss_rate": "Miss rate",
}


@dataclass(frozen=True)
class CardFacts:
    """All that a card says, read from the folder of a model.

    Attributes:
        config: the model's config.
        recipe: what it was trained with.
        run: what the training took.
        evaluations: subfolder of the model folder to the content of its metrics.json.
        repo: the Hub id that the card is for; None for a folder.
    """

    config: ReconstructionConfig
    recipe: Recipe
    run: TrainingRun
    evaluations: dict[str, dict[str, Any]]
    repo: str | None = None

    @classmethod
    def read(cls, folder: Path, repo: str | None = None) -> CardFacts:
        """Read a model folder.

        Raises:
            ValueError: when it is not one that training/train.py wrote.
        """
        run = TrainingRun.read(folder)
        recipe = _read_recipe(folder)
        evaluations = evaluations_in(folder, recipe)
        return cls(AutoConfig.from_pretrained(folder), recipe, run, evaluations, repo)

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Category to calibration."""
        stored = self.config.calibrations
        return {name: Calibration.from_dict(values) for name, values in stored.items()}


def evaluations_in(folder: Path, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Results that evaluate.py left in a model folder: evaluation/, or evaluation/CATEGORY/.

    Raises:
        ValueError: when a card can't be written of one, since it is damaged or of another version.
    """
    found = [folder / EVALUATION, *sorted((folder / EVALUATION).glob("*/"))]
    return {
        path.relative_to(folder).as_posix(): _read_metrics(path, recipe)
        for path in found
        if (path / METRICS_FILE).is_file()
    }


def _read_recipe(folder: Path) -> Recipe:
    try:
        recipe = read_recipe(folder / RECIPE_FILE)
        if recipe.data is None:
            raise ValueError("it names no data")
    except ValueError as error:
        raise ValueError(
            f"{folder / RECIPE_FILE} is missing, damaged or of another version "
            f"({first_line(error).rstrip('.')}); expected a folder that training/train.py wrote: "
            "train the model again, or name another folder."
        ) from error
    return recipe


def _read_metrics(evaluation: Path, recipe: Recipe) -> dict[str, Any]:
    path = evaluation / METRICS_FILE
    try:
        metrics = json.loads(path.read_text())
        # All that the card will say of them, which shows whether all of it is there.
        _eval_results(recipe, metrics)
        _result(evaluation.parent, evaluation.name, metrics)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise ValueError(
            f"{path} is damaged or of another version ({reason}); run evaluation/evaluate.py "
            "again, or remove it."
        ) from error
    return metrics


def model_card(folder: Path, repo: str | None = None) -> str:
    """The card of a model folder as Markdown with the Hub's front matter.

    Args:
        folder: a folder that training/train.py wrote, its card apart.
        repo: the Hub id that the card is for; None for the folder as it lies.

    Raises:
        ValueError: when the folder is not a whole one.
    """
    facts = CardFacts.read(folder, repo)
    sections = (
        _introduction(facts),
        _usage(facts),
        _scope(facts),
        _results(facts, folder),
        _examples(facts, folder),
        _threshold(facts),
        _training(facts),
        _data(facts),
        _citation(facts),
    )
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{_metadata(facts).to_yaml()}\n---\n\n{body}\n"


def _metadata(facts: CardFacts) -> ModelCardData:
    categories, recipe = facts.config.categories, facts.recipe
    backbone = facts.config.backbone
    data = facts.recipe.data
    dataset = MVTEC_DATASET if is_mvtec(recipe, categories) else data if _on_hub(data) else None
    results = [
        result
        for metrics in facts.evaluations.values()
        for result in _eval_results(facts.recipe, metrics)
    ]
    return ModelCardData(
        library_name="transformers",
        license=license_of(recipe, categories),
        tags=[
            PROJECT_TAG,
            TASK,
            "visual-inspection",
            *(f"{CATEGORY_PREFIX}{name}" for name in categories),
        ],
        datasets=dataset and [dataset],
        base_model=None if backbone in (None, EFFICIENTNET_LITE0) else backbone,
        model_name=_name(facts) if results else None,
        eval_results=results or None,
    )


def _eval_results(recipe: Recipe, metrics: dict[str, Any]) -> list[EvalResult]:
    """One entry a metric that is defined, as it stands in metrics.json."""
    mvtec = is_mvtec(recipe, [metrics["category"]])
    return [
        EvalResult(
            task_type=TASK,
            task_name="Anomaly detection",
            dataset_type=MVTEC_DATASET if mvtec else metrics["data"],
            dataset_name=f"{'MVTec AD' if mvtec else metrics['data']}, {metrics['category']}",
            dataset_config=metrics["category"],
            dataset_split="test",
            metric_type=key,
            metric_name=name,
            metric_value=metrics[key],
        )
        for key, name in METRICS.items()
        if metrics[key] is not None
    ]


def _on_hub(data: str) -> bool:
    return not data.startswith("synthetic:") and data.count("/") == 1


def _name(facts: CardFacts) -> str:
    categories, recipe = ", ".join(facts.config.categories), facts.recipe
    return f"{categories}: {recipe.architecture} on {recipe.target}"


def _introduction(facts: CardFacts) -> str:
    config = facts.config
    parts = " or a good ".join(f"`{category}`" for category in config.categories)
    residual = " + ".join(f"{weight:g} {name}" for name, weight in config.residual_weights.items())
    return f"""# {_name(facts)}

Learned from {facts.run.n_training} photos of good parts how a good {parts} looks. It paints how the
part on a photo should look, shows where it deviates, and judges PASS or FAIL.

- **Architecture:** {facts.recipe.architecture}, {facts.run.n_weights / 1e6:.1f} million weights, \
fp16 safetensors, input {config.image_size} x {config.image_size} pixels.
- **Target:** {_target_sentence(config)}
- **Residual:** {residual}, normalisation: {config.residual_normalisation}."""


def _usage(facts: CardFacts) -> str:
    several = len(facts.config.categories) > 1
    category = f', category="{facts.config.categories[0]}"' if several else ""
    if facts.repo is None:
        head = (
            f'import modeling  # from a clone of the project\nfrom transformers import pipeline\n\n\
inspect = pipeline("{TASK}", model="THIS FOLDER")'
        )
    else:
        head = f'from transformers import pipeline\n\n\
inspect = pipeline("{TASK}", model="{facts.repo}", trust_remote_code=True)'
    return f"""## Use

```python
{head}
inspection = inspect("photo.jpg"{category})
print(inspection.verdict, inspection.score, inspection.notes)
inspection.heatmap.save("heatmap.png")
```"""


def _scope(facts: CardFacts) -> str:
    return f"""## For and not for

For photos of {" and ".join(facts.config.categories)} taken as the training photos were: the same \
camera, distance, light and background. It supports a decision, and a person makes it.

Not for other products, other cameras, light or picture sizes than it was trained with, nor for \
any use where no person checks the decision. It was shown no defect: one that hardly changes the \
picture, or is hardly larger than the {facts.config.map_stride} pixels of its grid at an input of \
{facts.config.image_size}, may pass."""


def _results(facts: CardFacts, folder: Path) -> str:
    if not facts.evaluations:
        return (
            "## Results\n\nNot measured on labelled photos yet: "
            "`python evaluation/evaluate.py --help`."
        )
    parts = [_result(folder, name, metrics) for name, metrics in facts.evaluations.items()]
    return "## Results\n\n" + "\n\n".join(parts)


def _result(folder: Path, name: str, metrics: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| {title} | {_figure(metrics[key])}{_interval(metrics, key)} |"
        for key, title in METRICS.items()
    )
    figures = "\n\n".join(
        f"![{title}]({name}/{file})"
        for title, file in (
            ("ROC curve", "roc.png"),
            ("Promised and realised false alarms", "calibration.png"),
            ("Scores", "scores.png"),
        )
        if (folder / name / file).is_file()
    )
    return f"""{metrics["n_normal"]} good and {metrics["n_anomalous"]} anomalous test photos of \
{metrics["category"]}, which decided nothing. One run, seed {metrics["seed"]}, \
{metrics["date"][:10]}, torch {metrics["versions"]["torch"]}:

| metric | value |
|---|---|
{rows}

{_weakest(metrics)}

```
{metrics["command"]}
```

{figures}"""


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(metrics: dict[str, Any], key: str) -> str:
    ends = metrics.get(f"{key}_interval")
    if metrics[key] is None or ends is None:
        return ""
    counted = {
        "false_alarm_rate": f"{metrics['false_alarms']} of {metrics['n_normal']}; ",
        "miss_rate": f"{metrics['misses']} of {metrics['n_anomalous']}; ",
    }
    return f" ({counted.get(key, '')}95 % interval {ends[0]:.3f} to {ends[1]:.3f})"


def _weakest(metrics: dict[str, Any]) -> str:
    """Where it fails most, which an average hides."""
    ranked = {
        name: kind
        for name, kind in metrics["per_defect"].items()
        if kind["image_auroc"] is not None
    }
    if not ranked:
        return ""
    name, kind = min(ranked.items(), key=lambda item: item[1]["image_auroc"])
    missed = "" if kind["misses"] is None else f", {kind['misses']} of {kind['n']} missed"
    return f"Weakest at `{name}`: image AUROC {kind['image_auroc']:.3f}{missed}."


def _examples(facts: CardFacts, folder: Path) -> str:
    sheets = [name for name in facts.evaluations if (folder / name / "examples.jpg").is_file()]
    if not sheets or not pictures_may_be_shown(facts.recipe):
        return ""
    pictures = "\n\n".join(f"![Test photos]({name}/examples.jpg)" for name in sheets)
    return f"## Examples\n\nTest photos, kinds of defect in turn:\n\n{pictures}"


def _threshold(facts: CardFacts) -> str:
    several = len(facts.config.categories) > 1
    sentences = "\n".join(
        f"- {f'{category}: ' if several else ''}{_threshold_sentence(calibration)}"
        for category, calibration in facts.calibrations.items()
    )
    return f"## Threshold\n\nThe score lies in 0..1 and is 0.5 at the threshold.\n\n{sentences}"


def _threshold_sentence(calibration: Calibration) -> str:
    n_held_out = len(calibration.normal_scores)
    if calibration.rule == "roc":
        return (
            "From a labelled validation set, at the point that separates its good and defective "
            f"photos best. By {n_held_out} held-out good photos, about "
            f"{100 * calibration.promised_false_alarm_rate:.1f} % of good parts fail. No test "
            "label took part."
        )
    return (
        f"From {n_held_out} held-out good photos. At most "
        f"{100 * calibration.promised_false_alarm_rate:.1f} % of good parts taken under the same "
        f"conditions are promised to fail; no rate below {100 / (n_held_out + 1):.1f} % can be "
        "promised from so few. No defective photo and no test label took part."
    )


def _training(facts: CardFacts) -> str:
    run = facts.run
    versions = ", ".join(f"{library} {version}" for library, version in run.versions.items())
    processes = f", {run.processes} processes" if run.processes > 1 else ""
    return f"""## Training

Seed {facts.recipe.seed}, {versions}, {run.date}; every setting is in `{RECIPE_FILE}`:

```
{run.command}
```

{_cost_sentence(run, processes)}

![Learning curve](learning_curve.png)"""


def _cost_sentence(run: TrainingRun, processes: str) -> str:
    return (
        f"It took {run.wall_seconds / 60:.1f} minutes and {run.cpu_seconds / 60:.1f} core minutes "
        f"of CPU time on {run.device}{processes}, calibration apart. No energy "
        "counter was read, so no energy and no CO2 is claimed."
    )


def _data(facts: CardFacts) -> str:
    return f"## Data and licence\n\n{_data_sentence(facts.recipe, facts.config.categories)}"


def _data_sentence(recipe: Recipe, categories: Sequence[str]) -> str:
    if recipe.data.startswith("synthetic:"):
        return f"Procedural pictures drawn by this project (`{recipe.data}`), Apache-2.0."
    if is_mvtec(recipe, categories):
        return (
            f"MVTec AD, {', '.join(categories)} (Bergmann et al., CVPR 2019; IJCV 2021), MVTec "
            "Software GmbH, CC BY-NC-SA 4.0: these weights are for non-commercial use only, with "
            "attribution, share alike. The card shows none of its pictures."
        )
    return (
        f"Photos of the trainer's own (`{recipe.data}`); licence: "
        f"{license_of(recipe, categories)}. The card shows none of them."
    )


def _target_sentence(config: ReconstructionConfig) -> str:
    if config.target == "pixels":
        return "the pixels of the photo."
    layers = ", ".join(map(str, config.backbone_layers))
    licence = " (ImageNet weights, Apache-2.0)" if config.backbone == EFFICIENTNET_LITE0 else ""
    return (
        f"layers {layers} of the frozen backbone {config.backbone}{licence}, which these weights "
        "contain."
    )


def _citation(facts: CardFacts) -> str:
    year = facts.run.date[:4]
    entries = [
        f"@software{{golden_sample,\n  title = {{Golden Sample: visual inspection that learns from "
        f"good parts alone}},\n  year = {{{year}}}\n}}"
    ]
    if license_of(facts.recipe, facts.config.categories) == MVTEC_LICENSE:
        entries.append(
            "@article{bergmann2021mvtec,\n  title = {The MVTec Anomaly Detection Dataset: A "
            "Comprehensive Real-World Dataset for Unsupervised Anomaly Detection},\n  author = "
            "{Bergmann, Paul and Batzner, Kilian and Fauser, Michael and Sattlegger, David and "
            "Steger, Carsten},\n  journal = {International Journal of Computer Vision},\n  volume ="
            " {129},\n  pages = {1038--1059},\n  year = {2021}\n}"
        )
    return "## Cite\n\n```bibtex\n" + "\n\n".join(entries) + "\n```"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m publishing.model_card",
        description="Write the card of a model folder anew, with its evaluation's figures.",
    )
    parser.add_argument("folder", type=Path, help="folder that training/train.py wrote")
    options = parser.parse_args(arguments)
    try:
        (options.folder / "README.md").write_text(model_card(options.folder))
    except (OSError, ValueError) as error:
        print(f"model_card.py: {error}", file=sys.stderr)
        return 2
    print(f"The card is {options.folder / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
