"""A training run as data: a YAML file, then flags, both read into one checked dataclass."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml

from modeling import ARCHITECTURES
from modeling.backbones import EFFICIENTNET_LITE0, LITE_SCALES, whole_part_layers
from modeling.checks import check_choice, check_number
from modeling.ground import ALL, JUDGED, PART

CONFORMAL, ROC = "conformal", "roc"
USUAL, COARSE, FINE = "usual", "coarse", "fine"
HELD_OUT, CROSS = "held_out", "cross"
AUTO = "auto"  # a field's value: chosen by the photos, or by the machine
FULL_PRECISION, BF16 = "fp32", "bf16"
DEFAULT_RECIPE = Path(__file__).parent / "configs" / "default.yaml"
EXPECTED = {  # what a YAML file must have for a field of each kind, in words
    dict: "`name: value` pairs such as {l1: 1.0}",
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "text, in quotes where YAML takes it for something else",
}
KINDS_IN_LISTS = {
    "category": str,
    "backbone_layers": int,
    "whole_part_layers": int,
    "leave_out": str,
}


def _field(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


def _ranged(default: Any, between: tuple[float, float], help_text: str) -> Any:
    """A number; where it may be left out, None is in range too."""
    return field(default=default, metadata={"help": help_text, "between": between})


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run produces.

    Raises a ValueError on a value out of range, naming the field, the range and the value.
    """

    data: str | None = _field(
        None, "folder in MVTec AD layout, Hub dataset ORG/NAME, or synthetic:PART"
    )
    category: list | None = _field(
        None, "product to learn, such as bottle; several make one model, and all takes every one"
    )
    output_dir: str | None = _field(None, "folder that gets the model")

    architecture: str = _field("autoencoder", f"one of {', '.join(ARCHITECTURES)}")
    target: str = _field("features", "what is reconstructed: pixels or features")
    backbone: str | None = _field(
        None,
        f"whose features: {', '.join(LITE_SCALES)} or the Hub id of an AutoBackbone; default: "
        f"{EFFICIENTNET_LITE0}",
    )
    backbone_layers: list | None = _field(
        None, "which layers' features, such as 4,7,10; default: what suits the backbone"
    )
    whole_part: bool = _field(
        False, "whether a second stream learns what belongs where, from features"
    )
    whole_part_layers: list | None = _field(
        None, "which layers' features those are; default: what suits the backbone"
    )
    image_size: int = _field(448, "side of the square model input, pixels")
    tile_size: int | None = _field(
        None, "side of overlapping tiles that the body sees one by one; default: all at once"
    )
    model: dict | None = _field(
        None, "further fields of the architecture's config, such as latent_channels=64"
    )
    loss_weights: dict | None = _field(None, "training loss, such as l1=1.0,ssim=1.0")
    residual_weights: dict | None = _field(None, "what is scored, such as l1=1.0,ssim=1.0")
    residual_normalisation: str = _field(
        "auto",
        "none, location, channel, channel+location, or auto: what tells synthetic damage best from "
        "held-out good photos",
    )
    map_sigma: float = _field(8.0, "smoothing of the anomaly map, input pixels")
    scale: str = _field(
        USUAL,
        "coarse: maps twice as smooth and a coarser grid of the whole part, for large things out "
        "of place; fine: maps half as smooth; usual: neither; auto: what tells synthetic damage "
        "best from held-out good photos",
    )
    judge: str = _field(
        AUTO,
        "all: what differs on the ground counts as well; part: it counts for nothing; auto: what "
        "tells synthetic damage best from held-out good photos, and from dirt beside the part",
    )

    augmentation: dict | None = _field(
        None, "overrides of the category's preset, such as rotation=180,flip_horizontal=0.5"
    )
    damage_probability: float = _ranged(
        0.7,
        (0.0, 1.0),
        "share of the photos damaged for the model to restore; 0 trains on clean ones",
    )
    structural_probability: float = _ranged(
        0.0,
        (0.0, 1.0),
        "share of the photos, besides, in which a piece or the whole part is out of place",
    )
    variants: int = _ranged(
        4,
        (0, 10_000),
        "augmented and damaged versions of a photo, made once and used in turn; 0: always new",
    )

    epochs: int | None = _ranged(
        None, (1, 100_000), "passes over the good photos; default: what steps needs"
    )
    steps: int = _ranged(620, (1, 10**8), "training steps at least, where epochs is not given")
    batch_size: int = _ranged(4, (1, 4096), "photos a step, over all processes")
    learning_rate: float = _ranged(2e-3, (1e-8, 1.0), "peak learning rate of Muon")
    weight_decay: float = _ranged(1e-4, (0.0, 1.0), "weight decay of Muon")
    warmup_fraction: float = _ranged(
        0.1, (0.0, 0.9), "share of the steps in which the learning rate rises"
    )
    gradient_clip: float = _ranged(1.0, (1e-6, 1e6), "largest norm of a step's gradient")
    seed: int = _ranged(
        0, (0, 2**31), "decides the split, the initial weights and the order of photos"
    )

    calibration_fraction: float = _ranged(
        0.2, (0.01, 0.9), "share of the good photos held out to calibrate score and threshold"
    )
    calibration: str = _field(
        HELD_OUT,
        "held_out: the held-out good photos set the threshold; cross: all good photos do, each "
        "scored by a model that has not learned from it, which takes folds times as long",
    )
    folds: int = _ranged(
        5, (2, 20), "parts of the good photos for cross, the held-out ones being the first"
    )
    leave_out: list | None = _field(
        None,
        "good photos that take no part, being no good parts, such as bottle/train/good/012 or 012",
    )
    false_alarm_rate: float = _ranged(0.05, (0.0001, 0.9), "share of good parts that may fail")
    threshold_rule: str = _field(
        CONFORMAL,
        "conformal: held-out good photos alone promise the false-alarm rate; roc: the photos under "
        "CATEGORY/validation, labelled as under test, say where good ends",
    )

    checkpoint_every: int = _ranged(10, (0, 100_000), "epochs between checkpoints; 0 writes none")
    resume_from_checkpoint: str | None = _field(
        None, "checkpoint folder to go on from, or latest for the last in the output folder"
    )
    checkpoints_kept: int = _ranged(
        3, (0, 100_000), "newest checkpoints that stay on the disk; 0 keeps all"
    )
    cache_disk_gb: float = _ranged(
        16.0,
        (0, 10**6),
        "most disk that decoded photos take in the output folder while training; 0: none",
    )
    cache_memory_gb: float = _ranged(
        4.0, (0, 10**6), "most memory of a machine for augmented photos and their features; 0: none"
    )

    mixed_precision: str = _field(
        AUTO, "fp32, bf16, or auto: what accelerate launch was told, else bf16 on a GPU that has it"
    )
    torch_compile: bool = _field(False, "compile the model, which takes minutes at the start")
    num_workers: int | None = _ranged(
        None, (0, 1024), "processes that prepare photos for a GPU; default: one a core, up to 8"
    )

    data_license: str | None = _field(None, "licence of the photos, for the model card")

    push_to_hub: bool = _field(False, "publish the model on the Hub when it is trained")
    hub_model_id: str | None = _field(None, "where to publish it: ORG/NAME")
    hub_private: bool = _field(False, "whether a new repository is readable with a token only")
    push_every: int = _ranged(
        0,
        (0, 100_000),
        "epochs between checkpoints pushed to the branch checkpoints; 0 pushes none",
    )

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        check_choice("judge", self.judge, (AUTO, *JUDGED))
        check_choice("scale", self.scale, (AUTO, USUAL, COARSE, FINE))
        check_choice("calibration", self.calibration, (HELD_OUT, CROSS))
        check_choice("threshold_rule", self.threshold_rule, (CONFORMAL, ROC))
        check_choice("mixed_precision", self.mixed_precision, (AUTO, FULL_PRECISION, BF16))
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, between = getattr(self, item.name), item.metadata.get("between")
            kinds = get_args(hints[item.name]) or (hints[item.name],)
            if between and not (value is None and NoneType in kinds):
                check_number(item.name, value, *between, whole=int in kinds)
        if self.damage_probability + self.structural_probability > 1:
            raise ValueError(
                "damage_probability and structural_probability are shares of the same photos and "
                f"must be at most 1 together, found {self.damage_probability} and "
                f"{self.structural_probability}; lower one of them."
            )
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub needs hub_model_id, expected ORG/NAME, found none.")
        if self.whole_part_layers and not self.whole_part:
            raise ValueError(
                "whole_part_layers only mean something with whole_part; add --whole_part or leave "
                "them out."
            )
        if not self.push_to_hub and (self.push_every or self.hub_private or self.hub_model_id):
            raise ValueError(
                "hub_model_id, hub_private and push_every only mean something with push_to_hub; "
                "add --push_to_hub or leave them out."
            )

    def model_fields(self) -> dict[str, Any]:
        """The fields that the model's config takes."""
        names = (
            "target",
            "backbone",
            "backbone_layers",
            "image_size",
            "tile_size",
            "loss_weights",
            "residual_weights",
            "map_sigma",
        )
        values = {name: getattr(self, name) for name in names}
        values["judged"] = ALL if self.judge == ALL else PART
        if self.whole_part and self.target == "features":  # nothing else knows the whole part
            backbone = self.backbone or EFFICIENTNET_LITE0
            values["whole_part_layers"] = self.whole_part_layers or whole_part_layers(
                backbone, self.backbone_layers
            )
        if self.residual_normalisation != AUTO:
            values["residual_normalisation"] = self.residual_normalisation
        return {**values, **(self.model or {})}

    def published(self) -> Recipe:
        """The recipe without paths of this machine and Hub ids: what a card or a repo may show."""
        return dataclasses.replace(
            self,
            data=without_folder(self.data),
            backbone=without_folder(self.backbone),
            output_dir=None,
            resume_from_checkpoint=None,
            push_to_hub=False,  # who repeats the run has a repository of their own
            hub_model_id=None,
            hub_private=False,
            push_every=0,
        )

    def to_yaml(self) -> str:
        """The recipe as a YAML file that a run can be started with."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)


def without_folder(name: str | None) -> str | None:
    """The last part of a path that exists here; anything else, a Hub id say, as it is."""
    return Path(name).resolve().name if name and Path(name).exists() else name


def parse_recipe(arguments: Sequence[str] | None = None) -> Recipe:
    """Read a command line, that of the process if None: a YAML file, then flags that override it.

    A file that can't be read, an unknown field or a value out of range is a ValueError; argparse
    exits on an unknown flag (2) and after `--help` (0).
    """
    given = vars(_build_parser().parse_args(arguments))
    values = _read_yaml(Path(given.pop("recipe")))
    values.update({name: value for name, value in given.items() if value is not None})
    return Recipe(**values)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Learn how good parts look. A YAML file gives the recipe; flags override it."
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        default=str(DEFAULT_RECIPE),
        help="YAML file with any of the fields below (default: training/configs/default.yaml)",
    )
    defaults = _read_yaml(DEFAULT_RECIPE)
    types = get_type_hints(Recipe)
    for item in fields(Recipe):
        default = defaults.get(item.name, item.default)
        help_text = f"{item.metadata['help']} (default: {default})".replace("%", "%%")
        if types[item.name] is bool:
            how = {"action": argparse.BooleanOptionalAction, "default": None}
        else:
            several = "+" if item.name in ("category", "leave_out") else None
            reader = _reader_for(item.name, types[item.name])
            how = {"type": reader, "nargs": several, "metavar": item.name.upper()}
        parser.add_argument(f"--{item.name}", help=help_text, **how)
    return parser


def _reader_for(name: str, annotation: Any) -> Callable[[str], Any]:
    """How a flag's text becomes a field's value."""
    if annotation in (int, float):
        return annotation
    if "int" in str(annotation):  # a number that may be left out
        return int
    if name.endswith("_layers"):
        return _read_layers
    return read_weights if "dict" in str(annotation) else str


def _read_layers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        message = f"expected numbers such as 4,7,10, found {text!r}"
        raise argparse.ArgumentTypeError(message) from error


def read_weights(text: str) -> dict[str, float]:
    """`l1=1,ssim=0.5` as a mapping of names to numbers; what argparse takes as a type."""
    try:
        pairs = [pair.split("=") for pair in text.split(",")]
        return {name.strip(): _number(value) for name, value in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected name=weight pairs such as l1=1.0,ssim=1.0, found {text!r}"
        ) from error


def _number(text: str) -> int | float:
    """A whole number stays one: the number of channels is not 64.0."""
    return int(text) if text.strip().lstrip("-").isdigit() else float(text)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ValueError(
            f"The recipe {path} can't be read ({error.strerror}); give a YAML file such as "
            "training/configs/default.yaml."
        ) from error
    except yaml.YAMLError as error:
        raise ValueError(f"The recipe {path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"The recipe {path} must hold `field: value` lines.")
    return {name: _as_declared(path, name, value) for name, value in values.items()}


def _as_declared(path: Path, name: str, value: Any) -> Any:
    """A field's value as the recipe declares it, where YAML has it as something that means it."""
    types = get_type_hints(Recipe)
    if name not in types:
        near = difflib.get_close_matches(str(name), types, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"The recipe {path} has an unknown field {name!r}{hint}")
    kinds = get_args(types[name]) or (types[name],)
    if value is None and NoneType in kinds:
        return None
    kind = KINDS_IN_LISTS.get(name, kinds[0])
    try:
        if name not in KINDS_IN_LISTS:
            return _as_kind(kind, value)
        return [_as_kind(kind, one) for one in (value if isinstance(value, list) else [value])]
    except (OverflowError, ValueError) as error:
        several = " (or a list of it)" if name in KINDS_IN_LISTS else ""
        raise ValueError(
            f"{name} must be {EXPECTED[kind]}{several}, found {value!r} in the recipe {path}."
        ) from error


def _as_kind(kind: type, value: Any) -> Any:
    """Raises ValueError where the value does not mean one of this kind."""
    if isinstance(value, bool) != (kind is bool):
        raise ValueError
    # YAML reads `1e-3` as text and `1` as an int; both mean the float that the field asks for.
    if kind is float and isinstance(value, str | int):
        return float(value)
    # A folder or a product may have a number for a name.
    if kind is str and isinstance(value, int | float):
        return str(value)
    if not isinstance(value, kind):
        raise ValueError
    return value
