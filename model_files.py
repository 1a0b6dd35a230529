"""The files beside a model's weights: their names, what they hold, and the one way to read each.

At the top level, as whoever reads them may need neither torch nor transformers nor gradio. A model
on the Hub can be anybody's, so every field is bounded and of its kind. What is of another kind is
an error that names it (`parse`), or taken for missing in a stranger's file (`parse_untrusted`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

CARD, RECIPE, TRAINING, METRICS = "README.md", "recipe.yaml", "training.json", "metrics.json"
LEARNING_CURVE, LEARNING_CURVE_PLOT = "learning_curve.csv", "learning_curve.png"
PART_PICTURE = "part.png"  # where the part lies, of a model that judges it alone
EVALUATION = "evaluation"  # folder with the figures; those of several categories in a folder each
ROC_PLOT, CALIBRATION_PLOT, SCORES_PLOT = "roc.png", "calibration.png", "scores.png"
PLOTS = (ROC_PLOT, CALIBRATION_PLOT, SCORES_PLOT)
EXAMPLES = "examples.jpg"  # a sheet of test photos
# Those of `training.recipe.Recipe`: a recipe with another one is of another version.
# fmt: off
RECIPE_FIELDS = (
    "data", "category", "output_dir", "architecture", "target", "backbone", "backbone_layers",
    "whole_part", "whole_part_layers",
    "image_size", "tile_size", "model", "loss_weights", "residual_weights",
    "residual_normalisation", "map_sigma", "scale", "judge", "augmentation", "damage_probability",
    "structural_probability",
    "variants",
    "epochs", "steps", "batch_size", "learning_rate", "weight_decay", "warmup_fraction",
    "gradient_clip", "seed", "calibration_fraction", "calibration", "folds", "leave_out",
    "false_alarm_rate", "threshold_rule",
    "checkpoint_every", "resume_from_checkpoint", "checkpoints_kept", "cache_disk_gb",
    "cache_memory_gb", "mixed_precision", "torch_compile", "num_workers", "data_license",
    "push_to_hub", "hub_model_id", "hub_private", "push_every",
)
# fmt: on
MOST_BYTES = 1_000_000  # of a file that may be anybody's; those of this project have some thousand
LONGEST_WORD, LONGEST_TEXT, MOST_NAMES = 255, 10_000, 200
# Controls that no text needs: invisible ones, those that turn its direction, halves of characters.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def bounded_text(path: Path | None) -> str | None:
    """The text of a file that may be anybody's; None where there is none that is readable."""
    try:
        if path is None or not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return _without_unseen(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None


def _without_unseen(text: str) -> str:
    return UNSEEN.sub("", text)


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("Input should be two ascending numbers")
    return ends


def _at_most(total: str) -> AfterValidator:
    """A count cannot exceed that of another field."""

    def check(count: int, info: ValidationInfo) -> int:
        most = info.data.get(total)
        if most is not None and count > most:
            raise ValueError(f"Input should be a whole number up to {total}")
        return count

    return AfterValidator(check)


Word = Annotated[str, Field(max_length=LONGEST_WORD), AfterValidator(_without_unseen)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_without_unseen)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Number = Annotated[float, Field(gt=-1e30, lt=1e30)]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=0, lt=1e30)]
# JSON has a list for it.
Interval = Annotated[tuple[Share, Share], Strict(False), AfterValidator(_ascending)]


class ModelFile(BaseModel):
    """What the files share: each field is of its kind, or at its default where it is missing."""

    model_config = ConfigDict(
        frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_where_missing(
        cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        default = cls.model_fields[info.field_name].default
        if value in (None, [None, None]):  # an undefined number, or the ends of its interval
            return default
        try:
            return read(value)
        except ValueError:
            if not info.context:
                raise
            return default

    @staticmethod
    def _load(text: str) -> Any:
        return json.loads(text)

    @classmethod
    def parse(cls, text: str, *, untrusted: bool = False) -> Self:
        """The content of a file; of an untrusted one, what is of another kind counts as missing.

        Raises:
            ValueError: says what was expected and found, to follow the file's name.
        """
        try:
            return cls.model_validate(cls._load(text), context=untrusted)
        except ValidationError as error:
            raise ValueError(_in_words(error)) from error
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"expected JSON, found what is none ({error})") from error

    @classmethod
    def parse_untrusted(cls, text: str | None) -> Self | None:
        """What can be read of a file that may be anybody's; None where that is nothing."""
        try:
            return None if text is None else cls.parse(text, untrusted=True)
        except ValueError:
            return None

    def require(self, names: Iterable[str]) -> None:
        """Raise a ValueError that names the first of these fields that the file lacked."""
        for name in names:
            if name not in self.model_fields_set:
                raise ValueError(f"no {name!r}")


class ToldDamage(BaseModel):
    """How well damage drawn on held-out photos is told from these, AUROC: by each stream."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    body: Share  # without the whole part
    whole_part: Share  # by the whole part alone
    joined: Share  # by both, as they count in the model


LATER_FACTS = {"look_defective", "on_damage"}  # which older training.json files don't have


class TrainingRun(ModelFile):
    """training.json: what a training run took and what made it, which the recipe does not hold."""

    command: Text | None = None  # without paths of the machine
    date: Word | None = None  # day on which it ended, ISO 8601
    versions: dict[Word, Word] = Field({}, max_length=MOST_NAMES)  # of libraries
    n_training: Count | None = None  # good photos that the weights learned from
    n_weights: Count | None = None  # of the model, its frozen backbone included
    device: Word | None = None  # in words
    processes: Count | None = None
    wall_seconds: Number | None = None  # start to end of the learning, over all resumed parts
    cpu_seconds: Number | None = None  # that cores worked, summed over cores and processes
    # Image ids of good photos that look defective; None in files of before they were looked for.
    look_defective: list[Text] | None = Field(None, max_length=100_000)
    on_damage: dict[Word, ToldDamage] | None = Field(None, max_length=MOST_NAMES)  # by category

    @classmethod
    def read(cls, folder: Path) -> TrainingRun:
        """The facts in a model folder; a ValueError where one is missing or damaged."""
        try:
            run = cls.parse((folder / TRAINING).read_text())
            run.require(cls.model_fields.keys() - LATER_FACTS)
            if None in run.model_dump(exclude=LATER_FACTS).values():
                raise ValueError("a fact is undefined")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder / TRAINING} is missing or damaged; expected a folder that "
                "training/train.py wrote: train the model again, or name another folder."
            ) from error
        return run

    def write(self, folder: Path) -> None:
        """Save the facts beside the weights."""
        (folder / TRAINING).write_text(
            json.dumps(self.model_dump(exclude_unset=True), indent=2) + "\n"
        )


class RecipeFacts(ModelFile):
    """What others than the trainer want of recipe.yaml, which `training.recipe.Recipe` writes."""

    data: Text | None = None
    architecture: Word | None = None
    target: Word | None = None
    seed: Count | None = None
    calibration: Word | None = None  # "held_out" or "cross"; None in recipes of before the latter
    folds: Count | None = None
    leave_out: list[Text] | None = Field(None, max_length=100_000)  # names of photos
    data_license: Word | None = None  # of the photos, where the trainer named it

    @staticmethod
    def _load(text: str) -> Any:
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"it is not valid YAML: {str(error).splitlines()[0]}") from error
        if not isinstance(values, dict):
            raise ValueError("it must hold `field: value` lines")
        return values

    @classmethod
    def read(cls, folder: Path) -> RecipeFacts:
        """The recipe in a model folder; a ValueError where it is damaged or of another version."""
        try:
            text = (folder / RECIPE).read_text()
            recipe = cls.parse(text)
            for name in cls._load(text):
                if name not in RECIPE_FIELDS:
                    raise ValueError(f"it has an unknown field {name!r}")
            if recipe.data is None:
                raise ValueError("it names no data")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder / RECIPE} is missing, damaged or of another version "
                f"({error}); expected a folder that training/train.py wrote: train "
                "the model again, or name another folder."
            ) from error
        return recipe


class Figures(ModelFile):
    """How well photos and pixels are told apart: of a test set, a kind of defect, or a baseline.

    docs/metrics.md says what each field holds, here and in the classes below, and in what range.
    """

    image_auroc: Share | None = None
    image_auroc_interval: Interval | None = None
    average_precision: Share | None = None
    image_f1_max: Share | None = None
    pixel_auroc: Share | None = None
    pixel_average_precision: Share | None = None
    pixel_f1_max: Share | None = None
    aupro: Share | None = None
    aupro_5: Share | None = None
    pixel_error_bound: Number | None = None


class PlacedFigures(Figures):
    """The same, and whether a photo is found by its defect."""

    pointing: Share | None = None
    pointing_of_fails: Share | None = None
    image_auroc_at_defects: Share | None = None


class DefectMetrics(PlacedFigures):
    """The figures of one kind of defect."""

    n: Count | None = None
    recall: Share | None = None
    miss_rate: Share | None = None
    miss_rate_interval: Interval | None = None
    misses: Annotated[Count, _at_most("n")] | None = None


class BaselineMetrics(Figures):
    """The figures of a simple reference on the same photos."""

    seconds: Number | None = None


class RawScores(ModelFile):
    """Raw scores of the test photos, ascending."""

    good: list[Score] = []
    anomalous: list[Score] = []


class Cost(ModelFile):
    """What the model weighs and takes."""

    photos: Count | None = None
    inference_seconds: Number | None = None
    seconds_per_photo: Number | None = None
    weights_bytes: Count | None = None
    parameters: Count | None = None
    training_seconds: Number | None = None
    cores: Count | None = None
    processes: Count | None = None


class Metrics(PlacedFigures):
    """metrics.json: what evaluation/evaluate.py found; what an older version did not say is None.

    A number is None as well where the photos leave it undefined.
    """

    category: Word | None = None
    model: Text | None = None
    model_revision: Word | None = None
    model_categories: list[Word] = []
    architecture: Word | None = None
    data: Text | None = None
    seed: Count | None = None
    date: Word | None = None
    command: Text | None = None
    versions: dict[Word, Word] = Field({}, max_length=MOST_NAMES)
    device: Word | None = None
    backend: Word | None = None
    n_normal: Count | None = None
    n_anomalous: Count | None = None
    n_with_mask: Count | None = None
    f1: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    false_alarm_rate: Share | None = None
    false_alarm_rate_interval: Interval | None = None
    false_alarms: Annotated[Count, _at_most("n_normal")] | None = None
    miss_rate: Share | None = None
    miss_rate_interval: Interval | None = None
    misses: Annotated[Count, _at_most("n_anomalous")] | None = None
    check_rate: Share | None = None
    check_rate_interval: Interval | None = None
    checks: Count | None = None
    threshold: Share | None = None
    raw_threshold: Number | None = None
    asked_false_alarm_rate: Share | None = None
    promised_false_alarm_rate: Share | None = None
    n_calibration: Count | None = None
    calibration_scores: list[Score] = []
    scores: RawScores = RawScores()
    per_defect: dict[Word, DefectMetrics] = Field({}, max_length=MOST_NAMES)
    notes: list[Text] = []
    cost: Cost = Cost()
    baselines: dict[Word, BaselineMetrics] = Field({}, max_length=MOST_NAMES)

    @property
    def weakest(self) -> str | None:
        """The kind of defect that is found least well; None where none stands out."""
        ranked = {
            name: (kind.image_auroc, -(kind.misses or 0))
            for name, kind in self.per_defect.items()
            if kind.image_auroc is not None
        }
        return min(ranked, key=ranked.get) if len({*ranked.values()}) > 1 else None


def metrics_path(category: str | None = None) -> str:
    """Where a model folder has its figures; one of several categories has some for each."""
    return "/".join((EVALUATION, *([category] if category else []), METRICS))


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json: plain nested values with the fields of `Metrics`; NaN is undefined."""
    text = json.dumps(undefined_as_null(metrics), indent=2, allow_nan=False)
    (folder / METRICS).write_text(text + "\n")


def undefined_as_null(value: Any) -> Any:
    """Plain nested values for JSON, which knows no NaN."""
    if isinstance(value, Mapping):
        return {key: undefined_as_null(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [undefined_as_null(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _in_words(error: ValidationError) -> str:
    """The first thing that is wrong, as the end of a sentence."""
    wrong = error.errors()[0]
    expected = wrong["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if "dictionary" in expected:
        expected = "an object"
    if wrong["loc"]:
        expected += f" as {'.'.join(map(str, wrong['loc']))}"
    found = {list: "a list", dict: "an object"}.get(type(wrong["input"]))
    return f"expected {expected}, found {found or repr(wrong['input'])[:100]}"
