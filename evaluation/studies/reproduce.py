"""Every figure of README.md, docs/ and the cards, made again by the commands that they name.

    python -m evaluation.studies.reproduce --data DIR --output_dir OUT           # compare
    python -m evaluation.studies.reproduce --data DIR --output_dir OUT --write   # and replace

DIR holds `bottle` and `screw` of MVTec AD; the other photos are drawn. Each table of these pages
stands between `<!-- figures:NAME -->` and `<!-- /figures:NAME -->`. A table that comes out
otherwise is printed line by line, and the command ends with 1; with `--write` the pages and the
cards of the models that ship take the new ones. What a run has left in the output folder is not
made again, so a run that was broken off goes on. `--only shipped guard` makes some of the tables:
`seeds` and `recipes` train models, about 50 minutes and two hours on two cores.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.rows import DatasetError
from data.synthetic import PARTS
from evaluation.documents.document import markdown_table
from model_files import EXAMPLES, METRICS, PLOTS
from modeling import load_model
from system.command_line import run_command
from training.photos.augmentation import augmentation_for

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHIPPED = ROOT / "assets" / "models"
RECIPES = ROOT / "training" / "configs"
DEFAULT = "default"
ON_GPU = "gpu"  # the recipe that needs a GPU and the Hub; the others are compared on a CPU
MEASURED = ("bottle", "screw")  # the categories of MVTec AD on which the recipes are compared
SEEDS = (0, 1, 2)
BODY_ALONE = ("--no-whole_part", "--judge", "all")  # of the default recipe, over the seeds
MINUTES = re.compile(r"(?<=\| )\d+ min(?= \|)")
RANKING = ("image_auroc", "pixel_auroc", "aupro")
HEAD = ("category", "image AUROC", "pixel AUROC", "AUPRO", "F1", "false alarms", "misses")


class ReproductionError(RuntimeError):
    """A command that failed; the message is what it said last."""


@dataclass(frozen=True)
class Reproduction:
    """Where figures are made."""

    data: str  # folder of MVTec AD
    folder: Path  # what was made already, and what is made now

    def source_of(self, category: str) -> str:
        """Where a category's photos come from."""
        return f"synthetic:{category}" if category in PARTS else self.data

    def trained(self, recipe: str, category: str, seed: int, more: Sequence[str] = ()) -> Path:
        """Folder of a model that was trained here, by a recipe and `more` flags."""
        folder = self.folder / recipe / f"{category}-seed{seed}"
        if not (folder / "model.safetensors").exists():
            run(
                *("training/train.py", RECIPES / f"{recipe}.yaml"),
                *("--data", self.source_of(category), "--category", category),
                *("--seed", seed, "--output_dir", folder, "--checkpoint_every", 0, *more),
            )
        return folder

    def evaluated(self, model: Path, category: str) -> dict[str, Any]:
        """Content of the metrics.json of a model on its category; one that ships has its floor."""
        folder = self.folder / "evaluations" / "-".join((model.parent.name, model.name))
        if not (folder / METRICS).exists():
            run(
                *("evaluation/evaluate.py", "--model", model),
                *("--data", self.source_of(category), "--category", category),
                *("--output_dir", folder),
                *(("--baseline",) if model.parent == SHIPPED else ()),
            )
        return json.loads((folder / METRICS).read_text())

    def study(self, name: str, *words: str) -> str:
        """What one of the studies of all models that ship prints."""
        models = ("--models", *sorted(SHIPPED.iterdir()))
        data = ("--data", "synthetic:all", self.data)
        return run("-m", f"evaluation.studies.{name}", *models, *data, *words)


def run(*words: str | int | Path) -> str:
    """What a command prints when it is run as a user would; a ReproductionError if it fails."""
    # Paths as one types them in the project's folder, since cards repeat the commands.
    typed = [
        str(word).removeprefix(f"{ROOT}{os.sep}") if isinstance(word, Path) else str(word)
        for word in words
    ]
    print("+", "python", *typed, file=sys.stderr, flush=True)
    finished = subprocess.run(
        [sys.executable, *typed], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if finished.returncode:
        script = next(word for word in typed if word != "-m")
        raise ReproductionError(f"{script} ended with {finished.returncode}; it says why above.")
    return finished.stdout


def shipped(reproduction: Reproduction) -> str:
    """The models that ship, on the test photos of their category."""
    rows = []
    for model in sorted(SHIPPED.iterdir(), key=lambda folder: (folder.name in PARTS, folder.name)):
        (category,) = load_model(model)[0].config.categories
        metrics = reproduction.evaluated(model, category)
        rows.append([named(category), *ranking(metrics), f"{metrics['f1']:.3f}", *errors(metrics)])
    return markdown_table(HEAD, rows)


def seeds(reproduction: Reproduction) -> str:
    """The default recipe's body over three seeds."""
    rows = []
    for category in MEASURED:
        models = (reproduction.trained(DEFAULT, category, seed, BODY_ALONE) for seed in SEEDS)
        runs = [reproduction.evaluated(model, category) for model in models]
        cells = [f"`{category}`"]
        for key in RANKING:
            values = [metrics[key] for metrics in runs]
            cells += [", ".join(map(percent, values)), percent(sum(values) / len(values))]
        rows.append(cells)
    head = ("category", "image AUROC", "mean", "pixel AUROC", "mean", "AUPRO", "mean")
    return markdown_table(head, rows)


def recipes(reproduction: Reproduction) -> str:
    """The other recipes."""
    rows = []
    for path in sorted(RECIPES.glob("*.yaml")):
        if path.stem in (DEFAULT, ON_GPU):
            continue
        for category in MEASURED:
            model = reproduction.trained(path.stem, category, SEEDS[0])
            metrics = reproduction.evaluated(model, category)
            minutes = f"{metrics['cost']['training_seconds'] / 60:.0f} min"
            names = (f"`{path.name}`", f"`{category}`")
            rows.append([*names, *ranking(metrics), *errors(metrics), minutes])
    return markdown_table(("recipe", *HEAD[:4], *HEAD[5:], "training"), rows)


def guard(reproduction: Reproduction) -> str:
    """Photos that every model refuses to judge: of its own product, and of all the others."""
    kept = reproduction.folder / "guard.md"
    if not kept.exists():
        kept.write_text(reproduction.study("cross_category"))
    return kept.read_text().strip()


def robustness(reproduction: Reproduction) -> str:
    """What each model that ships bears."""
    folder = reproduction.folder / "robustness"
    if not (folder / "robustness.md").exists():
        reproduction.study("robustness", "--limit", "12", "--output_dir", str(folder))
    return table_under("What each model bears", (folder / "robustness.md").read_text())


FIGURES: dict[str, Callable[[Reproduction], str]] = {
    figure.__name__: figure for figure in (shipped, seeds, recipes, guard, robustness)
}


def named(category: str) -> str:
    """A category with where it comes from, and whether its parts lie the same way every time."""
    origin = f"`synthetic:{category}`" if category in PARTS else f"MVTec AD `{category}`"
    turns = augmentation_for(category).turns
    return f"{origin} ({'any rotation' if turns else 'always aligned'})"


def ranking(metrics: dict[str, Any]) -> list[str]:
    """Image AUROC, pixel AUROC and AUPRO, in percent."""
    return [percent(metrics[key]) for key in RANKING]


def errors(metrics: dict[str, Any]) -> list[str]:
    """False alarms and misses, as counts."""
    return [
        f"{metrics['false_alarms']} of {metrics['n_normal']}",
        f"{metrics['misses']} of {metrics['n_anomalous']}",
    ]


def percent(share: float) -> str:
    """With the digits that the pages print."""
    return f"{100 * share:.1f}"


def block(text: str, name: str) -> str:
    """What stands between a figure's markers; a ReproductionError where they are not there."""
    found = re.search(rf"<!-- figures:{name} -->\n(.*?)\n<!-- /figures:{name} -->", text, re.S)
    if found is None:
        raise ReproductionError(
            f"There is no place for {name}: expected <!-- figures:{name} --> and "
            f"<!-- /figures:{name} -->, each on a line of its own, in README.md or in docs/."
        )
    return found.group(1)


def page_of(name: str) -> Path:
    """The page that prints a figure; README.md where none does, which `block` then says."""
    printing = (page for page in PAGES if f"<!-- figures:{name} -->" in page.read_text())
    return next(printing, PAGES[0])


def with_block(text: str, name: str, content: str) -> str:
    """The text with other content between a figure's markers."""
    start, end = f"<!-- figures:{name} -->\n", f"\n<!-- /figures:{name} -->"
    return text.replace(f"{start}{block(text, name)}{end}", f"{start}{content}{end}")


def table_under(heading: str, text: str) -> str:
    """The first table under a heading of a Markdown report; a ReproductionError if none is."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(?:[^|#\n].*\n|\n)*((?:\|.*\n)+)", text, re.M)
    if found is None:
        raise ReproductionError(f"The report has no table under {heading!r}, expected one.")
    return found.group(1).strip()


def difference(name: str, printed: str, made: str) -> list[str]:
    """The lines in which a table comes out otherwise; none when it agrees to the last digit.

    How long something took is no such digit: it is another every time.
    """
    lines = [MINUTES.sub("", text).splitlines() for text in (printed, made)]
    names = (f"printed, {name}", f"made now, {name}")
    return list(difflib.unified_diff(*lines, *names, lineterm="", n=0))


def update_cards(reproduction: Reproduction) -> None:
    """Put the evaluations of the models that ship beside them, and write their cards anew."""
    for model in sorted(SHIPPED.iterdir()):
        made = reproduction.folder / "evaluations" / f"{SHIPPED.name}-{model.name}"
        shown = (EXAMPLES,) if model.name in PARTS else ()  # ours to show, or not
        for name in (METRICS, *PLOTS, *shown):
            shutil.copyfile(made / name, model / "evaluation" / name)
        run("-m", "publishing.model_card", model)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where a figure comes out otherwise or fails, 2 on bad input."""
    parser = argparse.ArgumentParser(description="Make every figure of README.md and docs/ again.")
    add = parser.add_argument
    add("--data", required=True, help="folder with bottle and screw of MVTec AD")
    add("--output_dir", type=Path, required=True, help="folder for all that is made")
    add("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    add("--write", action="store_true", help="put them into pages and cards")
    options = parser.parse_args(arguments)
    return run_command(
        "reproduce.py",
        lambda: _reproduce(options),
        bad_input=(DatasetError,),
        failed=(ReproductionError,),
    )


def _reproduce(options: argparse.Namespace) -> int:
    missing = [name for name in MEASURED if not Path(options.data, name).is_dir()]
    if missing:
        raise DatasetError(
            f"The folder {options.data} holds no {' and no '.join(missing)}; give MVTec AD's "
            "folder, which holds both bottle and screw."
        )
    reproduction = Reproduction(options.data, options.output_dir.resolve())
    reproduction.folder.mkdir(parents=True, exist_ok=True)
    differs = False
    for name in options.only:
        page, made = page_of(name), FIGURES[name](reproduction)
        lines = difference(name, block(page.read_text(), name), made)
        print("\n".join(lines) or f"{name}: agrees to the digits printed")
        differs |= bool(lines)
        if options.write:
            page.write_text(with_block(page.read_text(), name, made))
    if options.write and "shipped" in options.only:
        update_cards(reproduction)
    return int(differs and not options.write)


if __name__ == "__main__":
    sys.exit(main())
