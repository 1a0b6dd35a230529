"""The parts of a report that compare: categories, kinds of defect, floors, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from evaluation.documents.charts import spread_chart
from evaluation.documents.document import Block, Charts, Paragraph, Section, Table
from evaluation.documents.wording import UNDEFINED, counted, duration, figure, megabytes, percent
from evaluation.stored import StoredEvaluation
from model_files import Cost, Figures

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
DASH = "A dash: not measured, or undefined for these photos."
Row = tuple[str, Figures]


def name_of(evaluation: StoredEvaluation, among: Sequence[StoredEvaluation]) -> str:
    """The category, with the model where several were evaluated on it, or else the folder."""
    same = [other for other in among if other.category == evaluation.category]
    if len(same) == 1:
        return evaluation.category
    models = [other.model for other in same]
    is_alone = models.count(evaluation.model) == 1
    folder = "/".join(evaluation.folder.parts[-2:])  # no path of the machine in a report
    return f"{evaluation.category} ({evaluation.model if is_alone else folder})"


def worst_of(values: Sequence[float | None], *, highest: bool = False) -> set[int]:
    """Indices of the worst values; none where all are alike, so that nothing stands out."""
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return set()
    worst = max(known) if highest else min(known)
    return {index for index, value in enumerate(values) if value == worst}


def at_a_glance(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Two tables over the categories: which photos, and where on them."""
    rows: list[Row] = [
        (name_of(evaluation, evaluations), evaluation.metrics) for evaluation in evaluations
    ]
    blocks: list[Block] = [
        _figures_table(
            "category",
            rows,
            IMAGE_FIGURES,
            "Which photos are anomalous?",
            "image_auroc",
            (
                ("F1 at the threshold", lambda row: figure(_number(row, "f1"))),
                ("false alarms", lambda row: _verdicts(row, "false_alarm")),
                ("missed", lambda row: _verdicts(row, "miss")),
            ),
            with_mean=True,
        ),
        _figures_table(
            "category", rows, PIXEL_FIGURES, "Where on the photo?", "aupro", with_mean=True
        ),
        Paragraph(f"Intervals hold with 95 % confidence. {DASH}"),
    ]
    absent = _absent(rows, IMAGE_FIGURES | PIXEL_FIGURES)
    if absent:
        blocks.append(Paragraph(f"Not in these evaluations: {', '.join(absent)}.", "note"))
    blocks += [
        Paragraph(
            f"{row[0]}: none of the pixel figures is further than {bound:.2g} from the exact one."
        )
        for row in rows
        if (bound := _number(row, "pixel_error_bound"))
    ]
    notes = dict.fromkeys(f"{name}: {note}" for name, metrics in rows for note in metrics.notes)
    return Section("At a glance", [*blocks, *(Paragraph(note, "note") for note in notes)])


def kinds_of_defect(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Every kind of defect against all the good photos of its category."""
    blocks: list[Block] = []
    charts = []
    for evaluation in evaluations:
        rows: list[Row] = [*evaluation.metrics.per_defect.items()]
        name = name_of(evaluation, evaluations)
        if not rows:
            blocks.append(
                Paragraph(f"{name}: no kinds of defect, since no test photo is anomalous.")
            )
            continue
        blocks.append(
            _figures_table(
                "kind of defect",
                rows,
                IMAGE_FIGURES | PIXEL_FIGURES,
                f"{name}, each kind against all the good photos.",
                "image_auroc",
                (("missed", lambda row: _verdicts(row, "miss")),),
            )
        )
        dots = _dots(rows)
        if len(dots) > 1:
            charts.append((spread_chart(dots, "image AUROC", name), _what_dots_say(dots, "kind")))
    return Section("Kinds of defect", [*blocks, *([Charts(charts)] if charts else [])])


def spread(evaluations: Sequence[StoredEvaluation]) -> Section:
    """How unequal the model is: between categories, and between kinds of defect."""
    scopes: list[tuple[str, list[Row]]] = [
        (
            f"kinds of defect, {name_of(evaluation, evaluations)}",
            [*evaluation.metrics.per_defect.items()],
        )
        for evaluation in evaluations
    ]
    across: list[Row] = [
        (name_of(evaluation, evaluations), evaluation.metrics) for evaluation in evaluations
    ]
    rows = [
        cells
        for scope, members in [("categories", across), *scopes]
        for key, quantity in SPREADS.items()
        if (cells := _spread_row(scope, members, key, quantity))
    ]
    blocks: list[Block] = [
        Paragraph(
            "An average hides whom it serves badly: the difference between the best and the worst "
            "is what a line with that product, or that defect, gets."
        )
    ]
    if rows:
        head = ("between", "figure", "lowest", "highest", "difference")
        blocks.append(Table(head, rows))
    else:
        blocks.append(
            Paragraph("One category with at most one kind of defect: there is nothing to compare.")
        )
    dots = _dots(across)
    if len(dots) > 1:
        chart = spread_chart(dots, "image AUROC", "Categories")
        blocks.append(Charts([(chart, _what_dots_say(dots, "category"))]))
    return Section("Fairness", blocks)


def baselines(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Ours above the floor that simple references reach on the same photos."""
    blocks: list[Block] = []
    for evaluation in evaluations:
        floors = evaluation.metrics.baselines
        if not floors:
            continue
        name = name_of(evaluation, evaluations)
        titled = {BASELINES.get(key, key): values for key, values in floors.items()}
        rows: list[Row] = [("this model", evaluation.metrics), *titled.items()]
        seconds = {title: values.seconds for title, values in titled.items()}
        seconds["this model"] = _whole_time(evaluation)
        blocks.append(
            _figures_table(
                "method",
                rows,
                IMAGE_FIGURES | PIXEL_FIGURES,
                f"{name}: this model and simple references on the same photos.",
                None,
                (("time to learn and judge", lambda row, of=seconds: duration(of[row[0]])),),
            )
        )
        blocks.append(Paragraph(_against_floor(name, rows)))
    if not blocks:
        blocks.append(
            Paragraph(
                "No simple reference was measured beside the model, so these figures have no "
                "floor; evaluate.py --baseline measures three.",
                "note",
            )
        )
    return Section("Simple references", blocks)


def cost(evaluations: Sequence[StoredEvaluation]) -> Section:
    """Time and size."""
    head = (
        "category",
        "time a photo",
        "photos a second",
        "photos",
        "weights",
        "parameters",
        "training",
        "cores",
        "processes",
    )
    rows = [
        _cost_row(evaluation, name_of(evaluation, evaluations))
        for evaluation in evaluations
        if evaluation.metrics.cost != Cost()
    ]
    blocks: list[Block] = []
    if rows:
        caption = "Time a photo: the whole way from the file to the score, in batches."
        blocks.append(Table(head, rows, caption))
    if len(rows) < len(evaluations):
        unknown = ", ".join(
            name_of(evaluation, evaluations)
            for evaluation in evaluations
            if evaluation.metrics.cost == Cost()
        )
        sentence = f"Speed and size were not measured for {unknown}; evaluate again to have them."
        blocks.append(Paragraph(sentence, "note"))
    return Section("Speed and size", blocks)


def _figures_table(
    what: str,
    rows: Sequence[Row],
    figures: Mapping[str, str],
    caption: str,
    worst_by: str | None,
    more: Sequence[tuple[str, Callable[[Row], str]]] = (),
    with_mean: bool = False,
) -> Table:
    """Rows with the figures that at least one of them has.

    Args:
        what: a row is.
        rows: at least one.
        figures: key in metrics.json to the name of its column.
        caption: above; what the worst one is worst in is added.
        worst_by: key of the figure whose lowest row is marked; None marks none.
        more: further columns, as name and what makes a cell.
        with_mean: add the mean over the rows, of the figures that all of them have.
    """
    shown = {
        key: title
        for key, title in figures.items()
        if any(_number(row, key) is not None for row in rows)
    }
    others = [(title, cells) for title, make in more if (cells := _cells(rows, make))]
    head = [what, *shown.values(), *(title for title, _ in others)]
    body = [
        [
            row[0],
            *(figure(_number(row, key), getattr(row[1], f"{key}_interval", None)) for key in shown),
            *(cells[number] for _, cells in others),
        ]
        for number, row in enumerate(rows)
    ]
    worst = worst_of([_number(row, worst_by) for row in rows]) if worst_by else set()
    if worst:
        caption += f" Worst: lowest {figures[worst_by]}."
    if with_mean and len(rows) > 1:
        body.append(_mean_row(rows, shown, len(others)))
    return Table(head, body, caption, worst)


def _cells(rows: Sequence[Row], make: Callable[[Row], str]) -> list[str]:
    cells = [make(row) for row in rows]
    return cells if set(cells) != {UNDEFINED} else []


def _mean_row(rows: Sequence[Row], shown: Mapping[str, str], others: int) -> list[str]:
    columns = [[_number(row, key) for row in rows] for key in shown]
    means = [None if None in column else fmean(column) for column in columns]
    return [f"mean of {len(rows)}", *map(figure, means), *[""] * others]


def _spread_row(scope: str, rows: Sequence[Row], key: str, quantity: str) -> list[str] | None:
    """The extremes of a figure, with the names of those who have them."""
    known = [(value, row[0]) for row in rows if (value := _number(row, key)) is not None]
    if len(known) < 2:
        return None
    low, high = min(known)[0], max(known)[0]
    is_rate = key.endswith("_rate")
    write = percent if is_rate else figure
    difference = f"{100 * (high - low):.1f} points" if is_rate else figure(high - low)
    ends = [f"{write(end)}\n({_holders(known, end)})" for end in (low, high)]
    return [scope, quantity, *ends, difference]


def _holders(known: Sequence[tuple[float, str]], value: float) -> str:
    """Who has a value."""
    names = [name for other, name in known if other == value]
    return " and ".join(names) if len(names) < 3 else f"{len(names)} of {len(known)}"


def _dots(rows: Sequence[Row]) -> list[tuple[str, float, tuple[float, float] | None]]:
    return [
        (row[0], value, row[1].image_auroc_interval)
        for row in rows
        if (value := _number(row, "image_auroc")) is not None
    ]


def _what_dots_say(dots: Sequence[tuple[str, float, tuple[float, float] | None]], what: str) -> str:
    line = ", its line the 95 % interval" if any(ends for *_, ends in dots) else ""
    least = worst_of([value for _, value, _ in dots])
    worst = " and ".join(dots[index][0] for index in sorted(least))
    found = f"the diamond, {worst}, is told worst" if least else "here all are told equally well"
    return (
        f"Each dot is one {what}{line}: the further right it lies, the more surely its anomalous "
        f"photos are told from good ones; {found}."
    )


def _whole_time(evaluation: StoredEvaluation) -> float | None:
    """Training and judging all the test photos, as the time of a reference counts."""
    cost = evaluation.metrics.cost
    parts = [cost.training_seconds, cost.inference_seconds]
    return None if None in parts else sum(parts)


def _against_floor(name: str, rows: Sequence[Row]) -> str:
    ours, *floors = [(row[0], _number(row, "image_auroc")) for row in rows]
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


def _cost_row(evaluation: StoredEvaluation, name: str) -> list[str]:
    known = evaluation.metrics.cost
    seconds, parameters = known.seconds_per_photo, known.parameters
    counts = [known.photos, known.cores, known.processes]
    photos, cores, processes = (UNDEFINED if n is None else f"{n:,}" for n in counts)
    return [
        name,
        duration(seconds),
        f"{1 / seconds:.1f}" if seconds else UNDEFINED,
        photos,
        megabytes(known.weights_bytes),
        UNDEFINED if parameters is None else f"{parameters / 1e6:.1f} million",
        duration(known.training_seconds),
        cores,
        processes,
    ]


def _verdicts(row: Row, kind: str) -> str:
    """False alarms among the good photos, or misses among the anomalous ones."""
    plural_name = "false_alarms" if kind == "false_alarm" else "misses"
    count = _number(row, plural_name)
    total = _number(row, "n_normal" if kind == "false_alarm" else "n_anomalous")
    if total is None:  # a kind of defect counts its own photos
        total = _number(row, "n")
    return counted(count, total, getattr(row[1], f"{kind}_rate_interval"))


def _number(row: Row, key: str) -> float | None:
    return getattr(row[1], key, None)


def _absent(rows: Sequence[Row], figures: Mapping[str, str]) -> list[str]:
    return [
        title for key, title in figures.items() if all(_number(row, key) is None for row in rows)
    ]
