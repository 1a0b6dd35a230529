"""Which product a picture is judged as: categories by name and number, and their calibrations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .calibration import Calibration

# One name for all pictures, one a picture, or already their numbers (B,).
Category = str | Sequence[str] | Tensor | None


class CategoriesMixin:
    """What a model knows of its categories; their names and calibrations are in its config."""

    def category_if_several(self, category: str) -> str | None:
        """The category to judge by: this one if the model knows several, else None, its only one.

        A model of one product is told nothing, so that it may also see photos of another.
        """
        return category if len(self.config.categories) > 1 else None

    def category_numbers(self, category: Category, count: int) -> Tensor:
        """(count,) positions in `config.categories` of one category for all, or one a picture.

        Numbers are passed on as they are: an exported graph takes these, for it knows no names.
        Raises `ValueError` when a category is unknown, or missing although the model knows several.
        """
        if isinstance(category, Tensor):
            return category
        known = self.config.categories
        if category is None:
            if len(known) > 1:
                raise ValueError(
                    f"This model knows {', '.join(known)}; say which with category=... ."
                )
            return torch.zeros(count, dtype=torch.long, device=self.device)
        names = [category] * count if isinstance(category, str) else list(category)
        unknown = sorted({*names} - {*known})
        if unknown or len(names) != count:
            raise ValueError(
                f"category must be one of {', '.join(known) or 'none: the model knows no category'}"
                f" for each of {count} pictures, found {', '.join(unknown) or len(names)}."
            )
        return torch.tensor([known.index(name) for name in names], device=self.device)

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Category to what its held-out good parts say; empty while uncalibrated."""
        stored = self.config.calibrations
        return {category: Calibration.from_dict(values) for category, values in stored.items()}

    def calibration_of(self, category: str | None = None) -> Calibration | None:
        """A category's calibration, or the only one's, or None; raises as `category_numbers`."""
        number = self.category_numbers(category, 1).item()
        categories = self.config.categories
        return self.calibrations.get(categories[number]) if categories else None
