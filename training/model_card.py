"""The card beside a model: what it is, what made it, and what may not be expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
import transformers
from huggingface_hub import ModelCardData

from modeling import TASK, Calibration, ReconstructionModel
from modeling.backbones import EFFICIENTNET_LITE0
from training.recipe import Recipe

# fmt: off
MVTEC_CATEGORIES = (
    "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill",
    "screw", "tile", "toothbrush", "transistor", "wood", "zipper",
)
# fmt: on
MVTEC_LICENSE = "cc-by-nc-sa-4.0"
OWN_LICENSE = "apache-2.0"


def license_of(recipe: Recipe, categories: Sequence[str]) -> str:
    """Licence of a model, which follows its data's.

    What the recipe says counts; synthetic parts are ours; a folder that is named like a category
    of MVTec AD is taken for it, because the stricter licence is the safe guess; anything else is
    the user's own and unknown here.
    """
    if recipe.data_license:
        return recipe.data_license
    if recipe.data.startswith("synthetic:"):
        return OWN_LICENSE
    return MVTEC_LICENSE if {*categories} & {*MVTEC_CATEGORIES} else "other"


def write_model_card(
    path: Path, model: ReconstructionModel, recipe: Recipe, command: str, n_training: int
) -> None:
    """Write the card of a calibrated model as Markdown with the Hub's front matter.

    Args:
        path: the file to write, README.md of the model folder.
        model: the calibrated model.
        recipe: what it was trained with.
        command: the command line that made it.
        n_training: number of good photos that the weights learned from.
    """
    categories = model.config.categories
    data = ModelCardData(
        library_name="transformers",
        license=license_of(recipe, categories),
        tags=["golden-sample", TASK, "visual-inspection", *categories],
    )
    path.write_text(f"---\n{data.to_yaml()}\n---\n\n{_body(model, recipe, command, n_training)}")


def _body(model: ReconstructionModel, recipe: Recipe, command: str, n_training: int) -> str:
    categories = model.config.categories
    weights = sum(parameter.numel() for parameter in model.parameters())
    parts = " or a good ".join(f"`{category}`" for category in categories)
    thresholds = "\n".join(
        f"- **Threshold{f' of {category}' if len(categories) > 1 else ''}:** "
        f"{_threshold_sentence(calibration)}"
        for category, calibration in model.calibrations.items()
    )
    side = model.config.image_size
    return f"""# {", ".join(categories)}: {recipe.architecture} on {recipe.target}

Learned from {n_training} photos of good parts how a good {parts} looks. It paints how the part
on a photo should look, shows where it deviates, and judges PASS or FAIL.

- **Data:** {_data_sentence(recipe, categories)}
{thresholds}
- **Target:** {_target_sentence(model)}
- **Normalisation of the residual:** {model.config.residual_normalisation}.
- **Size:** {weights / 1e6:.1f} million weights, fp16 safetensors, input {side} x {side} pixels.
- **Not for:** other products, other cameras or light than it was trained with, and any use where \
no person checks the decision.

Made by, seed {recipe.seed}, torch {torch.__version__}, transformers {transformers.__version__}, \
{date.today().isoformat()}:

```
{command}
```

Use it from a clone of the project:

```python
import modeling
from transformers import pipeline

inspection = pipeline("{TASK}", model="THIS FOLDER")("photo.jpg")
print(inspection.verdict, inspection.score, inspection.notes)
```

![Learning curve](learning_curve.png)
"""


def _target_sentence(model: ReconstructionModel) -> str:
    config = model.config
    if config.target == "pixels":
        return "the pixels of the photo."
    layers = ", ".join(map(str, config.backbone_layers))
    licence = " (ImageNet weights, Apache-2.0)" if config.backbone == EFFICIENTNET_LITE0 else ""
    return (
        f"layers {layers} of the frozen backbone {config.backbone}{licence}, which these weights "
        "contain."
    )


def _threshold_sentence(calibration: Calibration) -> str:
    n_held_out = len(calibration.normal_scores)
    if calibration.rule == "roc":
        return (
            "from a labelled validation set, at the point that separates its good and defective "
            f"photos best. By {n_held_out} held-out good photos, about "
            f"{100 * calibration.promised_false_alarm_rate:.1f} % of good parts fail. No test "
            "label took part."
        )
    return (
        f"from {n_held_out} held-out good photos. At most "
        f"{100 * calibration.promised_false_alarm_rate:.1f} % of good parts taken under the same "
        f"conditions are promised to fail; no rate below {100 / (n_held_out + 1):.1f} % can be "
        "promised from so few. No defective photo and no test label took part."
    )


def _data_sentence(recipe: Recipe, categories: Sequence[str]) -> str:
    name = license_of(recipe, categories)
    if recipe.data.startswith("synthetic:"):
        return f"procedural pictures drawn by this project (`{recipe.data}`), Apache-2.0."
    if name == MVTEC_LICENSE and {*categories} & {*MVTEC_CATEGORIES}:
        return (
            f"MVTec AD, {', '.join(categories)} (Bergmann et al., CVPR 2019; IJCV 2021), MVTec "
            "Software GmbH, CC BY-NC-SA 4.0: these weights are for non-commercial use only, with "
            "attribution, share alike."
        )
    return f"photos of the trainer's own; licence: {name}."
