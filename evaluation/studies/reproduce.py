"""Every figure of README.md, docs/ and the cards, made again by the commands that they name.

    python -m evaluation.studies.reproduce --data DIR --output_dir OUT           # compare
    python -m evaluation.studies.reproduce --data DIR --output_dir OUT --write   # and replace

DIR holds `bottle` and `screw` of MVTec AD; the other photos are drawn. Each table of these pages
stands between `<!-- figures:NAME -->` and `<!-- /figures:NAME -->`. A table that comes out
otherwise is printed line by line, and the command ends with 1; with `--write` the pages and the
cards of the models that ship take the new ones. What a run has left in the output folder is not
made again, so a run that was broken off goes on. `--only shipped guard` makes some of the tables:
`seeds` and `recipes` train models, about 36 minutes and two hours on two cores.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.synthetic import PARTS
from evaluation.documents.document import markdown_table
from modeling import load_model
from training.held_out_calibration import TURNING
from training.photos.augmentation import augmentation_for

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHIPPED = ROOT / "assets" / "models"
RECIPES = ROOT / "training" / "configs"
DEFAULT = "default"
MEASURED = ("bottle", "screw")  # the categories of MVTec AD on which the recipes are compared
SEEDS = (0, 1, 2)
KEPT = ("metrics.json", "roc.png", "calibration.png", "scores.png")  # beside a model that ships
MINUTES = re.compile(r"(?<=\| )\d+ min(?= \|)")
HEAD = ("category", "image AUROC", "pixel AUROC", "AUPRO", "F1", "false alarms", "misses")


class ReproductionError(RuntimeError):
    """A command that failed; the message is what it said last."""


@dataclass(frozen=True)
class Workshop:
    """Where figures are made.

    Attributes:
        data: folder of MVTec AD.
        folder: what was made already, and what is made now.
    """

    data: str
    folder: Path

    def source_of(self, category: str) -> str:
        """Where a category's photos come from."""
        return f"synthetic:{category}" if category in PARTS else self.data

    def trained(self, recipe: str, category: str, seed: int) -> Path:
        """Folder of a model that was trained here; the default's first seed is what ships."""
        if (recipe, seed) == (DEFAULT, 0):
            return SHIPPED / category
        folder = self.folder / recipe / f"{category}-seed{seed}"
        if not (folder / "model.safetensors").exists():
            words = ("--data", self.source_of(category), "--category", category)
            words += ("--seed", str(seed), "--output_dir", str(folder), "--checkpoint_every", "0")
            run("training/train.py", str(RECIPES / f"{recipe}.yaml"), *words)
        return folder

    def evaluated(self, model: Path, category: str) -> dict[str, Any]:
        """Content of the metrics.json of a model on its category; one that ships has its floor."""
        folder = self.folder / "evaluations" / "-".join((model.parent.name, model.name))
        if not (folder / "metrics.json").exists():
            words = ("--model", as_typed(model), "--data", self.source_of(category))
            words += ("--category", category, "--output_dir", as_typed(folder))
            words += ("--baseline",) if model.parent == SHIPPED else ()
            run("evaluation/evaluate.py", *words)
        return json.loads((folder / "metrics.json").read_text())


def as_typed(path: Path) -> str:
    """A path as one types it in the project's folder, since cards repeat the commands."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def run(script: str, *words: str) -> str:
    """Run one of the project's scripts as a user would; returns what it printed.

    Raises:
        ReproductionError: when it fails.
    """
    print("+", "python", script, *words, file=sys.stderr, flush=True)
    finished = subprocess.run(
        [sys.executable, script, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if finished.returncode:
        raise ReproductionError(f"{script} ended with {finished.returncode}; it says why above.")
    return finished.stdout


def shipped(workshop: Workshop) -> str:
    """The models that ship, on the test photos of their category."""
    rows = []
    for model in sorted(SHIPPED.iterdir(), key=lambda folder: (folder.name in PARTS, folder.name)):
        (category,) = load_model(model)[0].config.categories
        metrics = workshop.evaluated(model, category)
        rows.append([named(category), *ranking(metrics), f"{metrics['f1']:.3f}", *errors(metrics)])
    return markdown_table(HEAD, rows)


def seeds(workshop: Workshop) -> str:
    """The default recipe over three seeds."""
    rows = []
    for category in MEASURED:
        runs = [
            workshop.evaluated(workshop.trained(DEFAULT, category, seed), category)
            for seed in SEEDS
        ]
        image, pixel, aupro = zip(*map(ranking, runs), strict=True)
        means = [mean(runs, key) for key in ("image_auroc", "pixel_auroc", "aupro")]
        cells = (", ".join(image), means[0], ", ".join(pixel), means[1], ", ".join(aupro), means[2])
        rows.append([f"`{category}`", *cells])
    head = ("category", "image AUROC", "mean", "pixel AUROC", "mean", "AUPRO", "mean")
    return markdown_table(head, rows)


def recipes(workshop: Workshop) -> str:
    """The other recipes."""
    rows = []
    for path in sorted(RECIPES.glob("*.yaml")):
        if path.stem == DEFAULT:
            continue
        for category in MEASURED:
            model = workshop.trained(path.stem, category, SEEDS[0])
            metrics = workshop.evaluated(model, category)
            minutes = f"{metrics['cost']['training_seconds'] / 60:.0f} min"
            names = (f"`{path.name}`", f"`{category}`")
            rows.append([*names, *ranking(metrics), *errors(metrics), minutes])
    return markdown_table(("recipe", *HEAD[:4], *HEAD[5:], "training"), rows)


def guard(workshop: Workshop) -> str:
    """Photos that every model refuses to judge: of its own product, and of all the others."""
    kept = workshop.folder / "guard.md"
    if not kept.exists():
        models = [str(folder) for folder in sorted(SHIPPED.iterdir())]
        words = ("--models", *models, "--data", "synthetic:all", workshop.data)
        printed = run("-m", "evaluation.studies.cross_category", *words)
        kept.write_text(printed)
    return kept.read_text().strip()


def robustness(workshop: Workshop) -> str:
    """What each model that ships bears."""
    folder = workshop.folder / "robustness"
    if not (folder / "robustness.md").exists():
        models = [str(model) for model in sorted(SHIPPED.iterdir())]
        words = ("--models", *models, "--data", "synthetic:all", workshop.data)
        run(
            "-m",
            "evaluation.studies.robustness",
            *words,
            "--limit",
            "12",
            "--output_dir",
            str(folder),
        )
    return table_under("What each model bears", (folder / "robustness.md").read_text())


FIGURES: dict[str, Callable[[Workshop], str]] = {
    figure.__name__: figure for figure in (shipped, seeds, recipes, guard, robustness)
}


def named(category: str) -> str:
    """A category with where it comes from, and whether its parts lie the same way every time."""
    origin = f"`synthetic:{category}`" if category in PARTS else f"MVTec AD `{category}`"
    turns = augmentation_for(category).rotation >= TURNING
    return f"{origin} ({'any rotation' if turns else 'always aligned'})"


def ranking(metrics: dict[str, Any]) -> list[str]:
    """Image AUROC, pixel AUROC and AUPRO, in percent."""
    return [percent(metrics[key]) for key in ("image_auroc", "pixel_auroc", "aupro")]


def errors(metrics: dict[str, Any]) -> list[str]:
    """False alarms and misses, as counts."""
    return [
        f"{metrics['false_alarms']} of {metrics['n_normal']}",
        f"{metrics['misses']} of {metrics['n_anomalous']}",
    ]


def mean(runs: Sequence[dict[str, Any]], key: str) -> str:
    """Of one metric over runs, in percent."""
    return percent(sum(metrics[key] for metrics in runs) / len(runs))


def percent(share: float) -> str:
    """With the digits that the pages print."""
    return f"{100 * share:.1f}"


def block(text: str, name: str) -> str:
    """What stands between a figure's markers.

    Raises:
        ReproductionError: when they are not there.
    """
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
    """The first table under a heading of a Markdown report.

    Raises:
        ReproductionError: when there is none.
    """
    found = re.search(rf"^#+ {re.escape(heading)}\n(?:[^|#\n].*\n|\n)*((?:\|.*\n)+)", text, re.M)
    if found is None:
        raise ReproductionError(f"The report has no table under {heading!r}, expected one.")
    return found.group(1).strip()


def difference(name: str, printed: str, made: str) -> list[str]:
    """The lines in which a table comes out otherwise; none when it agrees to the last digit.

    How long something took is no such digit: it is another every time.
    """
    names = (f"printed, {name}", f"made now, {name}")
    lines = [MINUTES.sub("", text).splitlines() for text in (printed, made)]
    return list(difflib.unified_diff(*lines, *names, lineterm="", n=0))


def update_cards(workshop: Workshop) -> None:
    """Put the evaluations of the models that ship beside them, and write their cards anew."""
    for model in sorted(SHIPPED.iterdir()):
        made = workshop.folder / "evaluations" / f"{SHIPPED.name}-{model.name}"
        names = (*KEPT, "examples.jpg") if model.name in PARTS else KEPT  # ours to show, or not
        for name in names:
            shutil.copyfile(made / name, model / "evaluation" / name)
        run("-m", "publishing.model_card", str(model.relative_to(ROOT)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where a figure comes out otherwise or fails, 2 on bad input."""
    parser = argparse.ArgumentParser(description="Make every figure of README.md and docs/ again.")
    parser.add_argument("--data", required=True, help="folder with bottle and screw of MVTec AD")
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="folder for all that is made"
    )
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--write", action="store_true", help="put them into pages and cards")
    options = parser.parse_args(arguments)
    missing = [name for name in MEASURED if not Path(options.data, name).is_dir()]
    if missing:
        print(
            f"reproduce.py: The folder {options.data} holds no {' and no '.join(missing)}; give "
            "MVTec AD's folder, which holds both bottle and screw.",
            file=sys.stderr,
        )
        return 2
    workshop = Workshop(options.data, options.output_dir.resolve())
    workshop.folder.mkdir(parents=True, exist_ok=True)
    differs = False
    try:
        for name in options.only:
            page, made = page_of(name), FIGURES[name](workshop)
            lines = difference(name, block(page.read_text(), name), made)
            print("\n".join(lines) or f"{name}: agrees to the digits printed")
            differs |= bool(lines)
            if options.write:
                page.write_text(with_block(page.read_text(), name, made))
        if options.write and "shipped" in options.only:
            update_cards(workshop)
    except ReproductionError as error:
        print(f"reproduce.py: {error}", file=sys.stderr)
        return 1
    return int(differs and not options.write)


if __name__ == "__main__":
    sys.exit(main())
