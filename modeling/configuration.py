"""What a reconstruction model is, as data: one shared base, one config per architecture."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from .backbones import EFFICIENTNET_LITE0, body_layers
from .calibration import RANGES, Calibration
from .checks import check_choice, check_list, check_multiple, check_number, check_weighting
from .dissimilarity import DISSIMILARITIES
from .ground import ALL, JUDGED
from .image_processing import DEFAULT_SIDE
from .tiling import Tiling
from .whole_part import WholePartShape

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

TARGETS = ("pixels", "features")
NORMALISATIONS = {
    "pixels": ("none", "location"),
    "features": ("none", "location", "channel", "channel+location"),
}

MAX_SIDE, MAX_TILED_SIDE = 2048, 8192  # pixels of what the body sees at once, and in tiles
MAX_CATEGORIES = 1_000
MAX_NAME = 100  # characters of a category's name
MAX_GOOD_PARTS = 100_000  # whose scores a calibration keeps
MAX_LAYERS = 32  # of a backbone that are stacked
MAX_STAGES = 8  # of an autoencoder, each of half the side
MAX_GRID = 512  # positions a side of stacked features; a few gigabytes
PIXEL_MAP_STRIDE = 4  # finer than a visible defect, and a sixteenth of the statistics to store


class ReconstructionConfig(PreTrainedConfig):
    """What every reconstruction model shares; an architecture's config adds its body.

    Raises `ValueError` on a value out of range and on a field that does not exist.

    Args:
        image_size: side of the square model input, in pixels; 32 to 8192.
        tile_size: side of the tiles that the body sees one by one, 32 to 2048; None: the whole
            input at once. Small defects on a large part need many pixels, and a body that
            sees them all at once takes too much memory to train.
        num_channels: colour channels of the input; 3 (RGB).
        target: what is reconstructed: "pixels", or "features" of a frozen backbone.
        backbone: "efficientnet-lite0", -lite1 or -lite2, or the Hub id of an `AutoBackbone`; None
            for pixels.
        backbone_layers: layers of the backbone whose features are stacked (its block numbers, or
            the `out_indices` of an `AutoBackbone`); None: `modeling.backbones.body_layers`.
        backbone_config: config of an `AutoBackbone`, so that the model loads without its Hub id.
        feature_stride: input pixels to one position of the grid on which features are stacked; the
            patch size of a ViT leaves its features as they are.
        painter_channels: width of the small decoder that paints features as a picture.
        whole_part_layers: layers of the backbone by which the whole part is known
            (`modeling.whole_part`); None: the body judges alone.
        whole_part_side: positions of that coarse grid, each way.
        whole_part_channels: to which its features are reduced, if they have more.
        whole_part_directions: in which good parts may differ, at most.
        judged: "all" that a photo shows, or the "part": what differs on the ground beside it counts
            for nothing (`modeling.ground`).
        loss_weights: training loss, a weighted sum of the mean dissimilarities named in
            `modeling.dissimilarity.DISSIMILARITIES` for the target.
        residual_weights: what is scored: a weighted sum of the same dissimilarity maps.
        residual_normalisation: how the residual is made fair by its statistics on good parts.
            "channel" whitens features by their residual's covariance, "location" measures each
            place by its own mean and deviation, "channel+location" does both, "none" neither.
        map_sigma: standard deviation of the Gaussian that smooths the residual into the anomaly
            map, in input pixels; 0 leaves it as it is.
        categories: the products the model was trained on.
        calibrations: category to what its held-out good parts say
            (`modeling.calibration.Calibration.to_dict`); empty while uncalibrated.
    """

    model_type = "golden-sample"

    image_size: int = DEFAULT_SIDE
    tile_size: int | None = None
    num_channels: int = 3
    target: str = "features"
    backbone: str | None = None
    backbone_layers: list[int] | None = None
    backbone_config: dict[str, Any] | None = None
    feature_stride: int = 8
    painter_channels: int = 64
    whole_part_layers: list[int] | None = None
    whole_part_side: int = 14
    whole_part_channels: int = 128
    whole_part_directions: int = 60
    judged: str = ALL
    loss_weights: dict[str, float | int] | None = None
    residual_weights: dict[str, float | int] | None = None
    residual_normalisation: str | None = None
    map_sigma: float | int = 8.0
    categories: list[str] | None = None
    calibrations: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_unknown(kwargs)
        check_choice("target", self.target, TARGETS)
        check_choice("judged", self.judged, JUDGED)
        for name, value in self.defaults_for_target(self.target).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if self.backbone_layers is None and isinstance(self.backbone, str):
            self.backbone_layers = body_layers(self.backbone)
        self.categories = [] if self.categories is None else self.categories
        self.calibrations = {} if self.calibrations is None else self.calibrations
        self._check_categories()
        self._check_calibrations()
        self._check_ranges()
        super().__post_init__(**kwargs)

    @classmethod
    def defaults_for_target(cls, target: str) -> dict[str, Any]:
        """Fields whose default follows from the target."""
        if target == "pixels":
            # Structure at several scales instead of one. On held-out parts, damaged on purpose, the
            # mean of six models (three architectures, bottle and screw, 2026-11-24) is 82.7 % image
            # and 93.6 % pixel AUROC by evaluation.studies.compare_residuals; one scale has 80.5 and
            # 92.9. Screws gain 3 to 7 points of the first, bottles lose 0.2 to 0.7.
            return {
                "loss_weights": {"l1": 1.0, "ssim": 1.0},
                "residual_weights": {"l1": 1.0, "ms_ssim": 1.0},
                "residual_normalisation": "location",
            }
        # The whitened square sees the unusual in every direction, the angle also where features are
        # weak; a weight of 5 makes them about equal. On held-out parts, damaged on purpose, both
        # together rank keys, screws and fabrics better than the square alone, and bottles as well.
        return {
            "backbone": EFFICIENTNET_LITE0,
            "loss_weights": {"mse": 1.0},
            "residual_weights": {"mse": 1.0, "cosine": 5.0},
            "residual_normalisation": "channel",
        }

    @property
    def trunk_layers(self) -> list[int]:
        """The layers that one pass of the backbone gives, for the body and for the whole part."""
        if self.whole_part_layers is None:
            return list(self.backbone_layers)
        return sorted({*self.backbone_layers, *self.whole_part_layers})

    @property
    def whole_part_shape(self) -> WholePartShape:
        """How large the stream of the whole part is."""
        return WholePartShape(
            self.whole_part_side, self.whole_part_channels, self.whole_part_directions
        )

    @property
    def body_stride(self) -> int:
        """Input pixels to one position of the values that the body restores."""
        return self.feature_stride if self.target == "features" else 1

    @property
    def body_size(self) -> int:
        """Side of what the body sees at once: a tile, or the whole input."""
        return self.tile_size or self.image_size

    @property
    def body_field(self) -> str:
        """The field that says it."""
        return "image_size" if self.tile_size is None else "tile_size"

    @property
    def tiling(self) -> Tiling:
        """How the input is cut into tiles, in pixels."""
        return Tiling.covering(self.image_size, self.body_size, self.map_stride)

    @property
    def map_stride(self) -> int:
        """Input pixels to one position of the residual map, before it is enlarged."""
        return self.feature_stride if self.target == "features" else PIXEL_MAP_STRIDE

    def _refuse_unknown(self, kwargs: dict[str, Any]) -> None:
        known = {field.name for field in fields(self)}
        for name in kwargs.keys() - TRANSFORMERS_KEYS:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"{type(self).__name__} has no field {name!r}{hint}")

    def _check_categories(self) -> None:
        if self.categories != []:
            check_list("categories", self.categories, MAX_CATEGORIES)
        self.categories = list(self.categories)
        for name in self.categories:
            if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
                raise ValueError(
                    f"categories must be names of 1 to {MAX_NAME} printable characters, found "
                    f"{name!r}."
                )
        if len({*self.categories}) < len(self.categories):
            raise ValueError(f"categories must differ, found {self.categories!r}.")

    def _check_calibrations(self) -> None:
        if not isinstance(self.calibrations, dict):
            raise ValueError(f"calibrations must be by category, found {self.calibrations!r}.")
        self.calibrations = dict(self.calibrations)
        for category, values in self.calibrations.items():
            check_choice("calibrations", category, self.categories)
            calibration = Calibration.from_dict(values)
            field = f"calibrations.{category}"
            check_list(f"{field}.normal_scores", values["normal_scores"], MAX_GOOD_PARTS)
            for name, (low, high) in RANGES.items():
                check_number(f"{field}.{name}", getattr(calibration, name), low, high)

    def _check_ranges(self) -> None:
        largest = MAX_SIDE if self.tile_size is None else MAX_TILED_SIDE
        check_number("image_size", self.image_size, 32, largest, whole=True)
        if self.tile_size is not None:
            largest = min(MAX_SIDE, self.image_size)
            check_number("tile_size", self.tile_size, 32, largest, whole=True)
        check_number("num_channels", self.num_channels, 3, 3, whole=True)
        dissimilarities = tuple(DISSIMILARITIES[self.target])
        check_weighting("loss_weights", self.loss_weights, dissimilarities)
        check_weighting("residual_weights", self.residual_weights, dissimilarities)
        check_number("map_sigma", self.map_sigma, 0.0, 64.0)
        check_choice(
            f"residual_normalisation of {self.target}",
            self.residual_normalisation,
            NORMALISATIONS[self.target],
        )
        if self.target == "features":
            self._check_features()
        elif self.whole_part_layers is not None:
            raise ValueError(
                f"whole_part_layers need the target features, found {self.target}; leave them out."
            )
        for name in ("image_size", "tile_size"):
            check_multiple(name, getattr(self, name) or 0, self.map_stride, "one map position")
        _ = self.tiling  # raises when the tiles don't fit the image

    def _check_features(self) -> None:
        check_number("feature_stride", self.feature_stride, 1, 64, whole=True)
        check_number("painter_channels", self.painter_channels, 16, 1024, whole=True)
        check_multiple("painter_channels", self.painter_channels, 16, "8 groups of each layer")
        if self.feature_stride > 1 and self.feature_stride % 2:  # the painter doubles the grid
            raise ValueError(f"feature_stride must be 1 or even, found {self.feature_stride}.")
        check_number("positions of features", self.body_size // self.feature_stride, 1, MAX_GRID)
        if not isinstance(self.backbone, str):
            raise ValueError(f"backbone must be a name, found {self.backbone!r}.")
        for name in ("backbone_layers", "whole_part_layers"):
            layers = getattr(self, name)
            if layers is None and name == "whole_part_layers":
                continue  # there is no such stream
            check_list(name, layers, MAX_LAYERS)
            for layer in layers:
                check_number(name, layer, 0, 200, whole=True)
            if list(layers) != sorted({*layers}):
                raise ValueError(f"{name} must be ascending layer numbers, found {layers}.")
        check_number("whole_part_side", self.whole_part_side, 1, 64, whole=True)
        check_number("whole_part_channels", self.whole_part_channels, 1, 1024, whole=True)
        check_number("whole_part_directions", self.whole_part_directions, 1, 512, whole=True)


class AutoencoderConfig(ReconstructionConfig):
    """The convolutional autoencoder's body; `image_size` must be a multiple of `total_stride`.

    Args:
        patch_size: side of the patches that the first layer reads and the last one writes, in
            positions of the target. On pixels, working on patches instead of single positions is
            what makes training on a CPU feasible.
        hidden_sizes: channels of each stage; every stage after the first halves the resolution.
        latent_channels: channels of the bottleneck. Few, so that a defect does not fit through.
    """

    model_type = "golden-sample-autoencoder"

    patch_size: int | None = None
    hidden_sizes: list[int] | None = None
    latent_channels: int = 64

    @classmethod
    def defaults_for_target(cls, target: str) -> dict[str, Any]:
        """Fields whose default follows from the target."""
        body = (
            {"patch_size": 4, "hidden_sizes": [64, 96, 128, 192]}
            if target == "pixels"
            else {"patch_size": 1, "hidden_sizes": [128, 160, 256]}
        )
        return {**super().defaults_for_target(target), **body}

    def _check_ranges(self) -> None:
        super()._check_ranges()
        check_number("patch_size", self.patch_size, 1, 16, whole=True)
        check_number("latent_channels", self.latent_channels, 1, 4096, whole=True)
        check_list("hidden_sizes", self.hidden_sizes, MAX_STAGES)
        for size in self.hidden_sizes:
            check_number("hidden_sizes", size, 8, 4096, whole=True)
            check_multiple("hidden_sizes", size, 8, "8 groups of each normalisation layer")
        check_multiple(
            self.body_field,
            self.body_size,
            self.total_stride,
            "the target's stride, patch_size, and one halving a stage after the first",
        )

    @property
    def total_stride(self) -> int:
        """Input pixels to one bottleneck position; every stage after the first halves the side."""
        return self.body_stride * self.patch_size * 2 ** (len(self.hidden_sizes) - 1)


class VariationalAutoencoderConfig(AutoencoderConfig):
    """The variational autoencoder's body: an autoencoder whose bottleneck is a distribution.

    Args:
        kl_weight: weight of the Kullback-Leibler divergence (mean over the latent values) in the
            loss, once warm; 0 to 10.
        kl_warmup_steps: training steps over which that weight rises from 0, so that the decoder
            learns to use the latent before it is made noisy.
        probability_samples: 0 scores the residual of the mode; n > 0 scores the reconstruction
            probability over n samples of the latent (An and Cho 2015), always the same n.
    """

    model_type = "golden-sample-variational-autoencoder"

    kl_weight: float | int = 1e-2
    kl_warmup_steps: int = 300
    probability_samples: int = 0

    def _check_ranges(self) -> None:
        super()._check_ranges()
        check_number("kl_weight", self.kl_weight, 0.0, 10.0)
        check_number("kl_warmup_steps", self.kl_warmup_steps, 0, 10**5, whole=True)
        check_number("probability_samples", self.probability_samples, 0, 256, whole=True)


class MaskedAutoencoderConfig(ReconstructionConfig):
    """The masked autoencoder's body, after ViT-MAE (He et al. 2022).

    Args:
        patch_size: side of a token's patch, in positions of the target; patches fill the picture.
        hidden_size: width of the encoder's tokens.
        num_hidden_layers: blocks of the encoder, which sees the visible tokens alone.
        num_attention_heads: heads of every block; must divide both widths.
        decoder_hidden_size: width of the decoder's tokens.
        decoder_num_hidden_layers: blocks of the decoder, which sees all positions.
        mask_ratio: share of the tokens that training hides, drawn anew for every picture.
        num_masks: disjoint masks that together hide every token once; each token is judged in the
            pass that hides it, from its surroundings. Inference costs that many passes.
    """

    model_type = "golden-sample-masked-autoencoder"

    patch_size: int | None = None
    hidden_size: int = 192
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    decoder_hidden_size: int = 128
    decoder_num_hidden_layers: int = 2
    mask_ratio: float = 0.5
    num_masks: int = 4

    @classmethod
    def defaults_for_target(cls, target: str) -> dict[str, Any]:
        """Fields whose default follows from the target."""
        patch_size = 16 if target == "pixels" else 2
        return {**super().defaults_for_target(target), "patch_size": patch_size}

    def _check_ranges(self) -> None:
        super()._check_ranges()
        check_number("patch_size", self.patch_size, 1, 64, whole=True)
        check_number("num_hidden_layers", self.num_hidden_layers, 1, 48, whole=True)
        check_number("decoder_num_hidden_layers", self.decoder_num_hidden_layers, 1, 48, whole=True)
        check_number("num_attention_heads", self.num_attention_heads, 1, 64, whole=True)
        check_number("mask_ratio", self.mask_ratio, 0.05, 0.95)
        check_number("num_masks", self.num_masks, 2, 64, whole=True)
        for name in ("hidden_size", "decoder_hidden_size"):
            check_number(name, getattr(self, name), 4, 4096, whole=True)
            check_multiple(name, getattr(self, name), self.num_attention_heads, "its heads")
            check_multiple(name, getattr(self, name), 4, "sine and cosine of both axes")
        token_side = self.body_stride * self.patch_size
        check_multiple(self.body_field, self.body_size, token_side, "a token's pixels")
