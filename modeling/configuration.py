"""What a reconstruction model is, as data: one shared base, one config per architecture."""

from __future__ import annotations

import difflib
import math
from dataclasses import fields
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from .dissimilarity import DISSIMILARITIES

# What transformers itself hands to a config beside the declared fields: entries of a saved
# config.json that other classes own, and keywords that `from_pretrained` passes on.
TRANSFORMERS_KEYS = frozenset(
    {
        "_attn_implementation",
        "_commit_hash",
        "_name_or_path",
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "torch_dtype",
    }
)


def check_number(field: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    """Raise unless `value` is a number in [low, high].

    Args:
        field: the name a user knows the value by; it opens the message.
        value: what was given.
        low: smallest value allowed.
        high: largest value allowed.
        whole: the value must be an integer.

    Raises:
        ValueError: naming the field, the range and the value.
    """
    kind = "a whole number" if whole else "a number"
    expected_type = int if whole else (int, float)
    is_number = isinstance(value, expected_type) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{field} must be {kind} from {low} to {high}, found {value!r}.")


def check_weights(field: str, weights: dict[str, float], known: tuple[str, ...]) -> None:
    """Raise unless `weights` maps known names to weights >= 0, at least one of them above 0.

    Args:
        field: the name a user knows the value by.
        weights: name to weight.
        known: the names allowed.

    Raises:
        ValueError: naming the field, what is allowed and what was found.
    """
    if not isinstance(weights, dict) or not weights:
        raise ValueError(
            f"{field} must map some of {', '.join(known)} to a weight, found {weights!r}."
        )
    for name, weight in weights.items():
        if name not in known:
            raise ValueError(f"{field} knows {', '.join(known)}, found {name!r}.")
        check_number(f"{field}.{name}", weight, 0.0, 1000.0)
    if not any(weights.values()):
        raise ValueError(f"{field} must have at least one weight above 0, found {weights!r}.")


class ReconstructionConfig(PreTrainedConfig):
    """What every reconstruction model shares; an architecture's config adds its body.

    Args:
        image_size: side of the square model input, in pixels; 32 to 2048.
        num_channels: colour channels of the input; 3 (RGB).
        loss_weights: training loss, a weighted sum of the mean dissimilarities named in
            `modeling.dissimilarity.DISSIMILARITIES`.
        residual_weights: what is scored: a weighted sum of the same dissimilarity maps.
        residual_normalisation: "location" divides the residual's excess over its mean on good
            parts by its spread there, per location; "none" scores the plain residual.
        map_sigma: standard deviation of the Gaussian that smooths the residual into the anomaly
            map, in input pixels; 0 leaves it as it is.
        category: the product the model was trained on, or None.
        calibration: what held-out good parts say (`modeling.calibration.Calibration.to_dict`), or
            None while uncalibrated.

    Raises:
        ValueError: on a value out of range and on a field that does not exist.
    """

    model_type = "golden-sample"

    image_size: int = 256
    num_channels: int = 3
    loss_weights: dict[str, float | int] | None = None
    residual_weights: dict[str, float | int] | None = None
    residual_normalisation: str = "location"
    map_sigma: float | int = 4.0
    category: str | None = None
    calibration: dict[str, Any] | None = None

    RESIDUAL_NORMALISATIONS: ClassVar[tuple[str, ...]] = ("none", "location")

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_unknown(kwargs)
        if self.loss_weights is None:
            self.loss_weights = {"l1": 1.0, "ssim": 1.0}
        if self.residual_weights is None:
            self.residual_weights = {"l1": 1.0, "ssim": 1.0}
        self._check_ranges()
        super().__post_init__(**kwargs)

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        known = {field.name for field in fields(self)}
        for name in kwargs.keys() - TRANSFORMERS_KEYS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{type(self).__name__} has no field {name!r}{hint}")

    def _check_ranges(self) -> None:
        check_number("image_size", self.image_size, 32, 2048, whole=True)
        check_number("num_channels", self.num_channels, 3, 3, whole=True)
        check_weights("loss_weights", self.loss_weights, tuple(DISSIMILARITIES))
        check_weights("residual_weights", self.residual_weights, tuple(DISSIMILARITIES))
        check_number("map_sigma", self.map_sigma, 0.0, 64.0)
        if self.residual_normalisation not in self.RESIDUAL_NORMALISATIONS:
            raise ValueError(
                f"residual_normalisation must be one of {', '.join(self.RESIDUAL_NORMALISATIONS)}, "
                f"found {self.residual_normalisation!r}."
            )


class AutoencoderConfig(ReconstructionConfig):
    """The convolutional autoencoder's body.

    Args:
        patch_size: side of the patches that the first layer reads and the last one paints, in
            pixels. Working on patches instead of pixels is what makes training on a CPU feasible.
        hidden_sizes: channels of each stage; every stage after the first halves the resolution.
        latent_channels: channels of the bottleneck. Few, so that a defect does not fit through.

    Raises:
        ValueError: on a value out of range, and when `image_size` is no multiple of the total
            stride, `patch_size * 2 ** (len(hidden_sizes) - 1)`.
    """

    model_type = "golden-sample-autoencoder"

    patch_size: int = 4
    hidden_sizes: list[int] | None = None
    latent_channels: int = 64

    def __post_init__(self, **kwargs: Any) -> None:
        if self.hidden_sizes is None:
            self.hidden_sizes = [64, 96, 128, 192]
        super().__post_init__(**kwargs)

    def _check_ranges(self) -> None:
        super()._check_ranges()
        check_number("patch_size", self.patch_size, 1, 16, whole=True)
        check_number("latent_channels", self.latent_channels, 1, 4096, whole=True)
        if not self.hidden_sizes:
            raise ValueError("hidden_sizes must name at least one stage, found none.")
        for size in self.hidden_sizes:
            check_number("hidden_sizes", size, 8, 4096, whole=True)
            if size % 8:  # the normalisation layers split the channels into 8 groups
                raise ValueError(f"hidden_sizes must be multiples of 8, found {size}.")
        if self.image_size % self.total_stride:
            raise ValueError(
                f"image_size must be a multiple of {self.total_stride} (patch_size and one halving "
                f"a stage after the first), found {self.image_size}."
            )

    @property
    def total_stride(self) -> int:
        """Input pixels to one bottleneck position."""
        return self.patch_size * 2 ** (len(self.hidden_sizes) - 1)
