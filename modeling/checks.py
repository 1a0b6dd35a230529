"""Checks of single values; each message names the field, what is allowed, and what was found."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any


def check_number(field: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    """Raise `ValueError`, naming the field, unless `value` is a finite number from `low` to `high`.

    Both are allowed; where it must be `whole`, only an integer is. The message begins with the
    field, the name by which a user knows the value, and tells range and value.
    """
    kind = "a whole number" if whole else "a number"
    expected_type = int if whole else (int, float)
    is_number = isinstance(value, expected_type) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{field} must be {kind} from {low} to {high}, found {value!r}.")


def check_choice(field: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError`, naming the field, unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{field} must be one of {', '.join(known)}, found {value!r}.")


def check_multiple(field: str, value: int, unit: int, reason: str) -> None:
    """Raise `ValueError`, naming the field and `reason`, unless `unit` divides `value`."""
    if value % unit:
        raise ValueError(f"{field} must be a multiple of {unit} ({reason}), found {value}.")


def check_list(field: str, values: list[Any], longest: int) -> None:
    """Raise `ValueError`, naming the field, unless `values` is a list of 1 to `longest`."""
    if not isinstance(values, list | tuple) or not 0 < len(values) <= longest:
        found = len(values) if isinstance(values, list | tuple) else repr(values)
        raise ValueError(f"{field} must be a list of 1 to {longest} values, found {found}.")


def check_weighting(field: str, weights: dict[str, float], known: tuple[str, ...]) -> None:
    """Raise `ValueError`, naming the field, unless `weights` maps `known` names to 0..1000.

    At least one of them must be above 0.
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
