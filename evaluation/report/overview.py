"""The parts of a report that compare: categories, kinds of defect, floors, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from evaluation.documents.charts import spread_chart
from evaluation.documents.document import Block, Charts, Paragraph, Section, Table
from evaluation.documents.wording import (
    UNDEFINED,
    counted,
    defined,
    duration,
    figure,
    megabytes,
    percent,
)
from evaluation.stored import StoredEvaluation
from model_files import BaselineMetrics, Cost, DefectMetrics, Figures, Metrics

# Key in metrics.json to the name of the column.
IMAGE_FIGURES = {
    "image_auroc": "image AUROC",
    "average_precision": "image AP",
    "image_f1_max": "best F1",
}
PIXEL_FIGURES = {
    "pixel_auroc": "pixel AUROC",
    "pixel_average_precision": "pixel AP",
    "pixel_f1_max": "pixel best F1",
    "aupro": "AUPRO (30 %)",
    "aupro_5": "AUPRO (5 %)",
}
PLACE_FIGURES = {
    "pointing": "pointing",
    "pointing_of_fails": "pointing of FAILs",
    "image_auroc_at_defects": "image AUROC at the defects",
}
OF_METHODS = IMAGE_FIGURES | PIXEL_FIGURES
ALL_FIGURES = OF_METHODS | PLACE_FIGURES
BASELINES = {
    "mean_image": "mean good image",
    "gaussian_per_location": "Gaussian at each location",
    "nearest_neighbours": "nearest neighbours",
}
SPREADS = {
    "image_auroc": "image AUROC",
    "aupro": "AUPRO (30 %)",
    "false_alarm_rate": "false-alarm rate",
    "miss_rate": "miss rate",
}
# Name of a column to what makes its cell.
COST: Mapping[str, Callable[[Cost], str]] = {
    "time a photo": lambda cost: duration(cost.seconds_per_photo),
    "photos a second": lambda cost: defined(
        cost.seconds_per_photo or None, lambda seconds: f"{1 / seconds:.1f}"
    ),
    "photos": lambda cost: defined(cost.photos, "{:,}".format),
    "weights": lambda cost: megabytes(cost.weights_bytes),
    "parameters": lambda cost: defined(cost.parameters, lambda n: f"{n / 1e6:.1f} million"),
    "training": lambda cost: duration(cost.training_seconds),
    "cores": lambda cost: defined(cost.cores, "{:,}".format),
    "processes": lambda cost: defined(cost.processes, "{:,}".format),
}
Row = tuple[str, Figures]  # what has these figures


def name_of(evaluation: StoredEvaluation, among: Sequence[StoredEvaluation]) -> str:
    """The category, with the model where several were evaluated on it, or else the folder."""
    same = [other for other in among if other.category == evaluation.category]
    if len(same) == 1:
        return evaluation.category
    models = [other.model for other in same]
    is_alone = models.count(evaluation.model) == 1
    folder = "/".join(evaluation.folder.parts[-2:])  # no path of the machine in a report
    return f"{evaluation.category} ({evaluation.model if is_alone else folder})"


def worst_of(values: Sequence[float | None]) -> set[int]:
    """Indices of the lowest values; none where all are alike, so that nothing stands out."""
    known = {value for value in values if value is not None}
    if len(known) < 2:
        return set()
    return {index for index, value in enumerate(values) if value == min(known)}


def at_a_glance(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Two tables over the categories: which photos, and where on them."""
    rows = _rows(evaluations)
    at_the_threshold = {
        "F1 at the threshold": lambda metrics: figure(metrics.f1),
        "false alarms": lambda metrics: counted(
            metrics.false_alarms, metrics.n_normal, metrics.false_alarm_rate_interval
        ),
        "missed": lambda metrics: _missed(metrics, metrics.n_anomalous),
    }
    photos = "Which photos are anomalous?", "image_auroc", at_the_threshold
    places = "Where on the photo?", "aupro"
    blocks: list[Block] = [
        _figures_table("category", rows, IMAGE_FIGURES, *photos, with_mean=True),
        _figures_table("category", rows, PIXEL_FIGURES | PLACE_FIGURES, *places, with_mean=True),
        Paragraph(
            "Intervals hold with 95 % confidence. A dash: not measured, or undefined for these "
            "photos."
        ),
    ]
    absent = [
        title
        for key, title in ALL_FIGURES.items()
        if all(_number(row, key) is None for row in rows)
    ]
    if absent:
        blocks.append(Paragraph(f"Not in these evaluations: {', '.join(absent)}.", "note"))
    blocks += [
        Paragraph(
            f"{name}: none of the pixel figures is further than {metrics.pixel_error_bound:.2g} "
            "from the exact one."
        )
        for name, metrics in rows
        if metrics.pixel_error_bound
    ]
    notes = dict.fromkeys(f"{name}: {note}" for name, metrics in rows for note in metrics.notes)
    return Section("At a glance", [*blocks, *(Paragraph(note, "note") for note in notes)])


def kinds_of_defect(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Every kind of defect against all the good photos of its category."""
    blocks: list[Block] = []
    charts = []
    for name, metrics in _rows(evaluations):
        rows = [*metrics.per_defect.items()]
        if not rows:
            sentence = f"{name}: no kinds of defect, since no test photo is anomalous."
            blocks.append(Paragraph(sentence))
            continue
        caption = f"{name}, each kind against all the good photos."
        more = "image_auroc", {"missed": lambda defect: _missed(defect, defect.n)}
        blocks.append(_figures_table("kind of defect", rows, ALL_FIGURES, caption, *more))
        charts += _spread_charts(rows, name, "kind")
    return Section("Kinds of defect", [*blocks, Charts(charts)])


def spread(evaluations: Sequence[StoredEvaluation]) -> Section:
    """How unequal the model is: between categories, and between kinds of defect."""
    across = _rows(evaluations)
    scopes: dict[str, Sequence[Row]] = {"categories": across}
    for name, metrics in across:
        scopes[f"kinds of defect, {name}"] = [*metrics.per_defect.items()]
    rows = [
        cells
        for scope, members in scopes.items()
        for key, title in SPREADS.items()
        if (cells := _spread_row(scope, members, key, title))
    ]
    why = Paragraph(
        "An average hides whom it serves badly: the difference between the best and the worst is "
        "what a line with that product, or that defect, gets."
    )
    alone = "One category with at most one kind of defect: there is nothing to compare."
    head = ("between", "figure", "lowest", "highest", "difference")
    charts = Charts(_spread_charts(across, "Categories", "category"))
    return Section("Fairness", [why, Table(head, rows) if rows else Paragraph(alone), charts])


def baselines(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Ours above the floor that simple references reach on the same photos."""
    blocks: list[Block] = []
    for name, metrics in _rows(evaluations):
        if not metrics.baselines:
            continue
        floors = {BASELINES.get(key, key): floor for key, floor in metrics.baselines.items()}
        rows: list[Row] = [("this model", metrics), *floors.items()]
        caption = f"{name}: this model and simple references on the same photos."
        times = {"time to learn and judge": lambda row: duration(_whole_time(row))}
        blocks += [
            _figures_table("method", rows, OF_METHODS, caption, None, times),
            Paragraph(_against_floor(name, rows)),
        ]
    none = (
        "No simple reference was measured beside the model, so these figures have no floor; "
        "evaluate.py --baseline measures three."
    )
    return Section("Simple references", blocks or [Paragraph(none, "note")])


def cost(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Time and size."""
    costs = {name: metrics.cost for name, metrics in _rows(evaluations)}
    rows = [
        [name, *(cell(cost) for cell in COST.values())]
        for name, cost in costs.items()
        if cost != Cost()
    ]
    blocks: list[Block] = []
    if rows:
        caption = "Time a photo: the whole way from the file to the score, in batches."
        blocks.append(Table(["category", *COST], rows, caption))
    unknown = [name for name, cost in costs.items() if cost == Cost()]
    if unknown:
        sentence = f"Speed and size were not measured for {', '.join(unknown)}; evaluate again to "
        blocks.append(Paragraph(f"{sentence}have them.", "note"))
    return Section("Speed and size", blocks)


def _rows(evaluations: Sequence[StoredEvaluation]) -> list[tuple[str, Metrics]]:
    return [(name_of(one, evaluations), one.metrics) for one in evaluations]


def _figures_table(
    what: str,
    rows: Sequence[Row],
    figures: Mapping[str, str],
    caption: str,
    worst_by: str | None,
    more: Mapping[str, Callable[[Any], str]] | None = None,
    *,
    with_mean: bool = False,
) -> Table:
    """Rows, at least one, with the columns in which one of them has something.

    The columns are `figures`, by their key in metrics.json, and `more`, by what makes a cell of a
    row's figures. The lowest row in the figure `worst_by` is marked, which the caption then says;
    `with_mean` adds the mean over the rows, of the figures that all of them have.
    """
    names, columns = [row[0] for row in rows], {}
    for key, title in figures.items():
        values = [_number(row, key) for row in rows]
        ends = [getattr(row[1], f"{key}_interval", None) for row in rows]
        columns[title] = [*map(figure, values, ends)]
        if with_mean and len(rows) > 1 and set(columns[title]) != {UNDEFINED}:
            columns[title].append(figure(None if None in values else fmean(values)))
    for title, cell in (more or {}).items():
        columns[title] = [cell(row[1]) for row in rows]
    known = {title: cells for title, cells in columns.items() if set(cells) != {UNDEFINED}}
    if with_mean and len(rows) > 1:
        names.append(f"mean of {len(rows)}")
    worst = worst_of([_number(row, worst_by) for row in rows]) if worst_by else set()
    if worst:
        caption += f" Worst: lowest {figures[worst_by]}."
    body = [*zip_longest(names, *known.values(), fillvalue="")]
    return Table([what, *known], body, caption, worst)


def _spread_row(scope: str, rows: Sequence[Row], key: str, title: str) -> list[str] | None:
    """The extremes of a figure, with the names of those who have them."""
    known = [(value, row[0]) for row in rows if (value := _number(row, key)) is not None]
    if len(known) < 2:
        return None
    low, high = min(known)[0], max(known)[0]
    is_rate = key.endswith("_rate")
    write = percent if is_rate else figure
    difference = f"{100 * (high - low):.1f} points" if is_rate else figure(high - low)
    ends = []
    for end in (low, high):
        names = [name for value, name in known if value == end]
        holders = " and ".join(names) if len(names) < 3 else f"{len(names)} of {len(known)}"
        ends.append(f"{write(end)}\n({holders})")
    return [scope, title, *ends, difference]


def _spread_charts(rows: Sequence[Row], title: str, what: str) -> list[tuple[Figure, str]]:
    """The image AUROC of the rows on one axis, and what it shows; none where there is one dot."""
    dots = [
        (name, figures.image_auroc, figures.image_auroc_interval)
        for name, figures in rows
        if figures.image_auroc is not None
    ]
    if len(dots) < 2:
        return []
    line = ", its line the 95 % interval" if any(ends for *_, ends in dots) else ""
    least = worst_of([value for _, value, _ in dots])
    worst = " and ".join(dots[index][0] for index in sorted(least))
    found = f"the diamond, {worst}, is told worst" if least else "here all are told equally well"
    sentence = (
        f"Each dot is one {what}{line}: the further right it lies, the more surely its anomalous "
        f"photos are told from good ones; {found}."
    )
    return [(spread_chart(dots, "image AUROC", title), sentence)]


def _whole_time(figures: Metrics | BaselineMetrics) -> float | None:
    """Training and judging all the test photos, as the time of a reference counts."""
    if isinstance(figures, BaselineMetrics):
        return figures.seconds
    parts = [figures.cost.training_seconds, figures.cost.inference_seconds]
    return None if None in parts else sum(parts)


def _against_floor(name: str, rows: Sequence[Row]) -> str:
    ours, *floors = [(row[0], row[1].image_auroc) for row in rows]
    known = [(title, value) for title, value in floors if value is not None]
    if ours[1] is None or not known:
        return f"{name}: the image AUROC is undefined, so the model can't be compared."
    better = [f"{title} ({figure(value)})" for title, value in known if value > ours[1]]
    if better:
        return (
            f"{name}: in image AUROC the simpler {' and '.join(better)} does better than this "
            f"model ({figure(ours[1])})."
        )
    title, value = max(known, key=lambda entry: entry[1])
    return (
        f"{name}: in image AUROC this model ({figure(ours[1])}) lies "
        f"{100 * (ours[1] - value):.1f} points above the best simple reference, {title} "
        f"({figure(value)})."
    )


def _missed(figures: Metrics | DefectMetrics, anomalous: int | None) -> str:
    return counted(figures.misses, anomalous, figures.miss_rate_interval)


def _number(row: Row, key: str) -> float | None:
    return getattr(row[1], key, None)  # a kind of defect has fewer figures than a whole test set
