"""Which models are evaluated on which categories, and where the results of each pair go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers.utils import CONFIG_NAME

from data.dataset import load_inspection_dataset
from data.rows import DatasetError, UnknownCategoryError

ALL = "all"


@dataclass(frozen=True)
class Pair:
    """A model's folder or Hub id, a category or None for the data's only one, and their results."""

    model: str
    category: str | None
    folder: Path


def model_folders(names: Sequence[str]) -> list[str]:
    """Model folders and Hub ids, each once; a folder that holds model folders stands for them."""
    found: list[str] = []
    for name in names:
        folder = Path(name)
        within = sorted(str(config.parent) for config in folder.glob(f"*/{CONFIG_NAME}"))
        if (folder / CONFIG_NAME).is_file() or not within:
            within = [str(folder) if folder.is_dir() else name]
        found += within
    return list(dict.fromkeys(found))


def categories_of(data: str) -> list[str]:
    """The categories that a source of photos holds; raises as `load_inspection_dataset` does."""
    try:
        return load_inspection_dataset(data)["train"]["category"][:1]
    except UnknownCategoryError as error:
        if not error.found:
            raise
        return error.found


def pair_up(
    known: Mapping[str, Sequence[str]], asked: Sequence[str], data: str, output_dir: Path
) -> list[Pair]:
    """Every model with every category that was asked for.

    Pairs come category after category; models without one are left out. Several models get a folder
    each in the output folder; there, or for a single model, several categories get one each. A
    single pair gets the output folder itself.

    `known` are the models, each with the categories that it knows. If `["all"]` are asked for, a
    model gets those that the data has; if none is, the only one that the data has.

    Raises:
        DatasetError: when the data lacks a category, or no model knows one that it has.
    """
    wants_all = list(asked) == [ALL]
    if not asked and len(known) > 1:
        there = categories_of(data)
        asked = there if len(there) == 1 else []  # of several, loading says that one must be named
    elif wants_all or len(asked) > 1:
        there = categories_of(data)
        if not wants_all and not {*asked} <= {*there}:
            raise DatasetError(
                f"--category takes categories that {data} has ({', '.join(there)}), or {ALL} by "
                f"itself; found {' '.join(asked)}."
            )
        asked = there if wants_all else list(dict.fromkeys(asked))
    chosen = [
        (model, category)
        for category in asked or [None]
        for model in known
        if not wants_all or category in known[model]
    ]
    if not chosen:
        knowledge = sorted({category for categories in known.values() for category in categories})
        raise DatasetError(
            f"{data} has {', '.join(asked)}, and --model knows {', '.join(knowledge)}; name the "
            "category to evaluate with --category, or choose other photos."
        )
    several_models = len({model for model, _ in chosen}) > 1
    several = several_models or len({category for _, category in chosen}) > 1
    paths = [Path(model).resolve() if Path(model).is_dir() else Path(model) for model in known]
    parts = [[part for part in path.parts if part != path.anchor] for path in paths]
    names = dict(zip(known, short_names(parts, "--"), strict=True))
    pairs = []
    for model, category in chosen:
        folder = output_dir / names[model] if several_models else output_dir
        pairs.append(Pair(model, category, folder / category if several and category else folder))
    return pairs


def short_names(paths: Sequence[Sequence[str]], joint: str) -> list[str]:
    """The last part of each path, or as many as tell them apart, with a joint between them."""
    names: list[str] = []
    for count in range(1, max(map(len, paths)) + 1):
        names = [joint.join(parts[-count:]) for parts in paths]
        if len({*names}) == len(names):
            break
    return names
