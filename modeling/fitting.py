"""What a model learns from held-out good parts once its weights are trained.

A part of `ReconstructionModel` in a file of its own: the way from a picture to a score
(`reconstruction.py`) reads what is fitted here, and never fits.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .calibration import Calibration
from .checks import check_choice
from .configuration import NORMALISATIONS
from .ground import look_of
from .ground_fitting import fit_ground
from .normalisation import ChannelMoments, LocationMoments, Whitening
from .out_of_distribution import light_and_sharpness, resaved
from .scoring import normalise_residual, raw_score
from .whole_part import PICTURE_SIDE, coarser
from .whole_part_fitting import fit_whole_part

KEPT_BYTES = 2**29  # of what is seen of good photos: about 80 of them at 448 pixels
GROUNDS = 16  # good photos that say what is usual on the ground
UNNAMED = "part"  # the category of a model that was given none


class Seen(NamedTuple):
    """What detection sees of one photo before it judges."""

    values: Tensor  # (tiles, C, h, w), the target's
    restored: Tensor  # (tiles, C, h, w), as they should be
    coarse: Tensor | None  # (1, C, side, side), by which the whole part is seen
    judged: Tensor  # (1, h, w), where on the map what differs counts


class SeenPhotos:
    """Photos that are walked several times, and seen anew each time unless they fit into memory.

    They are what `see` gives one by one; up to `KEPT_BYTES` of them are kept.
    """

    def __init__(self, see: Callable[[], Iterator[Seen]]) -> None:
        self._see = see
        self._kept: list[Seen] | None = None
        self._fits = True

    def __iter__(self) -> Iterator[Seen]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = [], 0
        for seen in self._see():
            yield seen
            size += sum(tensor.nbytes for tensor in seen if tensor is not None)
            self._fits = self._fits and size <= KEPT_BYTES
            if self._fits:
                kept.append(seen)
            else:
                kept.clear()
        self._kept = kept if self._fits else None


class WholePartExamples(NamedTuple):
    """What the whole part is solved from: n good photos in V versions each."""

    features: Tensor  # (n, V, C, g, g), on the coarse grid
    pictures: Tensor  # (n, 3, p, p) in 0..1, of `PICTURE_SIDE`


class Unscaled(NamedTuple):
    """What N photos show before it is decided how coarsely they are looked at."""

    residual: Tensor  # (N, h, w), the body's, neither smoothed nor measured per location
    coarse: Tensor | None  # (N, C, side, side), by which the whole part is seen
    judged: Tensor  # (N, h, w), where on the map what differs counts


class CalibrationMixin:
    """Fits statistics, the look of good photos and calibrations of the model it is a base of."""

    @torch.no_grad()
    def calibrate(
        self,
        batches: Iterable[Tensor],
        false_alarm_rate: float,
        category: str | None = None,
    ) -> Calibration:
        """Learn the residual's statistics, the threshold and the product's look from good parts.

        Raises `ValueError` as `fit_good_parts` does, or with a rate outside (0, 1).

        Args:
            batches: as `fit_good_parts` takes them.
            false_alarm_rate: share of good parts that may fail, in (0, 1).
            category: which of the model's categories they are; not needed if there is one. Its
                calibration is stored in `config.calibrations` too.
        """
        calibration = Calibration.fit(self.fit_good_parts(batches, category), false_alarm_rate)
        self.set_calibration(calibration, category)
        return calibration

    @torch.no_grad()
    def fit_good_parts(self, batches: Iterable[Tensor], category: str | None = None) -> list[float]:
        """Learn the residual's statistics and the product's look from good parts; no threshold yet.

        Each part is scored by the statistics of all the *others*: a part that helped to say what is
        usual would look more usual than a new one, and the threshold would promise too much. Where
        what is seen of them takes more memory than `KEPT_BYTES`, the batches are walked several
        times. Raises `ValueError` with fewer than 2 parts (3 for statistics per location), or an
        unknown category.

        Args:
            batches: (B, 3, H, W) tensors in 0..1; an iterable that can be walked again. Good parts
                that the weights were not trained on.
            category: which of the model's categories they are; not needed if there is one.

        Returns:
            The raw score of each part, >= 0, in the order in which they come.
        """
        number = self.category_numbers(category, 1)
        self._check_count(sum(len(pixel_values) for pixel_values in batches))
        photos = SeenPhotos(functools.partial(self._seen_one_by_one, batches, number))
        channels = self._fit_channels(photos, number)
        locations = self._fit_locations(photos, number)
        if self.ground is not None:
            self.ground.usual[number] = self._usual_on_ground(photos, number)
        scores = [self._score_by_others(seen, number, channels, locations) for seen in photos]
        self._fit_out_of_distribution(batches, number.item())
        return scores

    def fit_whole_part(self, photos: Iterable[Tensor], category: str | None = None) -> None:
        """Learn what belongs where from good parts, those that the body learns from.

        Args:
            photos: each (V, 3, H, W) in 0..1: a photo, and versions of it that are as good.
            category: which of the model's categories they are; not needed if there is one.

        Raises:
            ValueError: when there are too few photos, or the category is unknown.
        """
        self.solve_whole_part(self.whole_part_examples(photos), category)

    @torch.no_grad()
    def whole_part_examples(self, photos: Iterable[Tensor]) -> WholePartExamples:
        """What the whole part is solved from, of photos as `fit_whole_part` takes them.

        They serve as well after `set_whole_part_size` has made the grid coarser.
        """
        features, pictures = [], []
        for versions in photos:
            versions = versions.to(self.device)
            extracted = self.target.extract(self.tiles_of(versions))
            features.append(self.coarse_of(versions, extracted))
            pictures.append(F.adaptive_avg_pool2d(versions[0], PICTURE_SIDE))
        return WholePartExamples(torch.stack(features), torch.stack(pictures))

    def solve_whole_part(self, examples: WholePartExamples, category: str | None = None) -> None:
        """Learn what belongs where from what was seen of good parts; as `fit_whole_part`."""
        number = self.category_numbers(category, 1).item()
        features = coarser(examples.features, self.config.whole_part_side)
        fit_whole_part(self.whole_part, number, features, examples.pictures)

    @torch.no_grad()
    def fit_channels(self, batches: Iterable[Tensor], category: str | None = None) -> None:
        """Learn from good parts how the channels of residuals vary, if the residual is whitened.

        Batches and category are those of `calibrate`, which does it too.
        """
        number = self.category_numbers(category, 1)
        self._fit_channels(self._seen_one_by_one(batches, number), number)

    @torch.no_grad()
    def unscaled(self, batches: Iterable[Tensor], category: str | None = None) -> Unscaled:
        """See photos once, for all scales alike; batches and category as `calibrate` takes them."""
        number = self.category_numbers(category, 1)
        residuals, grids, judged = [], [], []
        for seen in self._seen_one_by_one(batches, number):
            restorations = self.scored_restorations(seen.values, seen.restored)
            residuals.append(self.residual_map(seen.values, restorations, number, sigma=0.0))
            grids += [] if seen.coarse is None else [seen.coarse]
            judged.append(seen.judged)
        coarse = torch.cat(grids) if grids else None
        return Unscaled(torch.cat(residuals), coarse, torch.cat(judged))

    def set_whole_part_size(self, side: int, directions: int) -> None:
        """See the whole part on a grid of another side, with other directions; it is to be solved.

        The sizes are those of `config`; `calibrate` is due again.
        """
        self.config.whole_part_side, self.config.whole_part_directions = side, directions
        self.config.calibrations = {}
        self.whole_part = self._new_whole_part().to(self.device)

    @torch.no_grad()
    def fit_ground(
        self, batches: Iterable[Tensor], moves: bool, category: str | None = None
    ) -> None:
        """Learn where the part is from good parts, such as those that the body learns from.

        Args:
            batches: (B, 3, H, W) tensors in 0..1.
            moves: whether the part may lie elsewhere on every photo.
            category: which of the model's categories they are; not needed if there is one.
        """
        number = self.category_numbers(category, 1).item()
        looks = [look_of(pixel_values.to(self.device)) for pixel_values in batches]
        fit_ground(self.ground, number, torch.cat(looks), moves)

    def set_calibration(self, calibration: Calibration, category: str | None = None) -> None:
        """Judge a category, or the only one, by this calibration; raises as `category_numbers`."""
        number = self.category_numbers(category, 1).item()
        self.config.categories = self.config.categories or [UNNAMED]
        name = self.config.categories[number]
        self.config.calibrations = {**self.config.calibrations, name: calibration.to_dict()}

    def set_residual_normalisation(self, normalisation: str) -> None:
        """Normalise the residual another way, one that the target has; `calibrate` is due again."""
        field = f"residual_normalisation of {self.config.target}"
        check_choice(field, normalisation, NORMALISATIONS[self.config.target])
        self.config.residual_normalisation = normalisation
        self.config.calibrations = {}
        self.residual_statistics = self._new_statistics().to(self.device)

    def _check_count(self, count: int) -> None:
        if count < 2:
            raise ValueError(
                f"Calibration needs at least 2 held-out good photos, found {count}; add good "
                "photos or hold out a larger share."
            )
        if count < 3 and self.residual_statistics.per_location:
            raise ValueError(
                "Statistics per location need at least 3 held-out good photos, found 2: without "
                "one of them, the other would show no spread; add good photos, hold out a larger "
                "share, or choose the residual_normalisation none."
            )

    def _seen_one_by_one(self, batches: Iterable[Tensor], number: Tensor) -> Iterator[Seen]:
        """What detection sees, photo by photo, of photos of the category with a number, (1,)."""
        tiles = self.config.tiling.tiles
        for pixel_values in batches:
            pixel_values = pixel_values.to(self.device)
            extracted = self.target.extract(self.tiles_of(pixel_values))
            values = self.target.combine(extracted)
            restored = self.restore(values).values
            coarse = self.coarse_of(pixel_values, extracted)
            grids = [None] * len(pixel_values) if coarse is None else coarse.split(1)
            judged = self.judged_places(pixel_values, number).split(1)
            photos = zip(values.split(tiles), restored.split(tiles), grids, judged, strict=True)
            yield from (Seen(*photo) for photo in photos)

    def _fit_channels(self, photos: Iterable[Seen], number: Tensor) -> ChannelMoments | None:
        """Store the covariance of all parts' residuals; None where nothing is whitened."""
        statistics = self.residual_statistics
        if not statistics.per_channel:
            return None
        parts = (ChannelMoments.of(seen.values - seen.restored) for seen in photos)
        moments = functools.reduce(operator.add, parts)
        statistics.channel_mean[number], statistics.whitening[number] = moments.whitening()
        return moments

    def _fit_locations(self, photos: Iterable[Seen], number: Tensor) -> LocationMoments | None:
        """Store each location's mean and deviation; None where locations are not told apart."""
        statistics = self.residual_statistics
        if not statistics.per_location:
            return None
        parts = (LocationMoments.of(self._residual_of(seen, number)) for seen in photos)
        moments = functools.reduce(operator.add, parts)
        mean, deviation = moments.mean_and_deviation()
        statistics.location_mean[number], statistics.location_deviation[number] = mean, deviation
        return moments

    def _usual_on_ground(self, photos: Iterable[Seen], number: Tensor) -> Tensor:
        """The largest residual on the ground, of the median of the first good photos."""
        largest = []
        for seen in itertools.islice(photos, GROUNDS):
            residual = self._body_residual(seen.values, seen.restored, number)
            largest.append(
                (self._with_whole_part(residual, seen, number) * (1 - seen.judged)).max()
            )
        return torch.stack(largest).median()

    def _with_whole_part(self, residual: Tensor, seen: Seen, number: Tensor) -> Tensor:
        """The body's residual of one photo, (1, h, w), joined with what the whole part sees."""
        if self.whole_part is None:
            return residual
        return self.whole_part.join(residual, self.whole_part(seen.coarse, number), number)

    def _residual_of(
        self, seen: Seen, number: Tensor, whitening: Whitening | None = None
    ) -> Tensor:
        restorations = self.scored_restorations(seen.values, seen.restored)
        return self.residual_map(seen.values, restorations, number, whitening)

    def _score_by_others(
        self,
        seen: Seen,
        number: Tensor,
        channels: ChannelMoments | None,
        locations: LocationMoments | None,
    ) -> float:
        """The raw score of one part by the statistics of all others.

        `channels` and `locations` are of all parts, this one among them.
        """
        whitening = None
        if channels is not None:
            whitening = (channels - ChannelMoments.of(seen.values - seen.restored)).whitening()
        residual = self._residual_of(seen, number, whitening)
        if locations is not None:
            usual = self._residual_of(seen, number)
            others = (locations - LocationMoments.of(usual)).mean_and_deviation()
            residual = normalise_residual(residual, *others)
        residual = self._with_whole_part(residual, seen, number)
        return raw_score(self.map_of(residual, seen.judged, number)).item()

    def _fit_out_of_distribution(self, batches: Iterable[Tensor], number: int) -> None:
        summaries, measured = [], []
        for pixel_values in batches:
            pixel_values = pixel_values.to(self.device)
            versions = [
                self.familiarity.summarise(picture, self.target.encode(self.tiles_of(picture)))
                for picture in (pixel_values, *resaved(pixel_values))
            ]
            summaries.append(torch.stack(versions, dim=1))  # (B, versions, D)
            measured.append(light_and_sharpness(pixel_values))
        self.familiarity.fit(number, torch.cat(summaries), torch.cat(measured))
