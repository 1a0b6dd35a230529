"""What stands beside a model's weights is read in one way, by everybody."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields

import pytest
from conftest import ROOT
from fresh_process import run_code

from model_files import (
    METRICS,
    RECIPE_FIELDS,
    TRAINING,
    Metrics,
    RecipeFacts,
    TrainingRun,
    metrics_path,
    write_metrics,
)
from training.recipe import Recipe

SHIPPED = sorted((ROOT / "assets" / "models").iterdir())


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_file_is_read_whole_and_written_as_it_was(folder, tmp_path):
    text = (folder / metrics_path()).read_text()
    metrics, stored = Metrics.parse(text), json.loads(text)
    read = json.loads(metrics.model_dump_json(exclude_unset=True))
    assert read == stored
    write_metrics(tmp_path, stored)
    assert (tmp_path / METRICS).read_text() == text
    TrainingRun.read(folder).write(tmp_path)
    assert (tmp_path / TRAINING).read_text() == (folder / TRAINING).read_text()
    assert RecipeFacts.read(folder).seed == stored["seed"]


def test_the_fields_are_those_that_the_documents_explain():
    rows = re.findall(r"^\| `([\w.]+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.M)
    nested = {"per_defect", "cost", "baselines", "scores", "versions"}
    assert {row for row in rows if "." not in row} == {*Metrics.model_fields} - nested
    for name, inner in (("per_defect.DEFECT", "per_defect"), ("baselines.BASELINE", "baselines")):
        explained = {row.rpartition(".")[2] for row in rows if row.startswith(f"{name}.")}
        _, kind = Metrics.model_fields[inner].annotation.__args__
        assert explained <= {*kind.model_fields}
    for inner in ("cost", "scores"):
        explained = {row.rpartition(".")[2] for row in rows if row.startswith(f"{inner}.")}
        assert explained == {*Metrics.model_fields[inner].annotation.model_fields}


def test_the_known_fields_of_a_recipe_are_its_own():
    assert [field.name for field in fields(Recipe)] == [*RECIPE_FIELDS]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"image_auroc": "high"}, "expected a valid number as image_auroc, found 'high'"),
        ({"image_auroc": True}, "expected a valid number as image_auroc, found True"),
        ({"aupro": 1.5}, "expected less than or equal to 1 as aupro, found 1.5"),
        ({"per_defect": [1]}, "expected an object as per_defect, found a list"),
        (
            {"per_defect": {"dent": {"n": 2, "misses": 3}}},
            "expected a whole number up to n as per_defect.dent.misses, found 3",
        ),
        ({"miss_rate_interval": [0.9, 0.1]}, "expected two ascending numbers"),
        ([], "expected an object, found a list"),
    ],
)
def test_what_is_of_another_kind_is_named_or_of_a_stranger_taken_for_missing(content, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Metrics.parse(json.dumps(content))
    untrusted = Metrics.parse_untrusted(json.dumps(content))
    assert untrusted is None or not untrusted.model_dump(
        exclude_defaults=True, exclude={"per_defect"}
    )


def test_what_is_undefined_is_null_and_read_as_none(tmp_path):
    undefined = {"miss_rate": float("nan"), "miss_rate_interval": [float("nan")] * 2}
    write_metrics(tmp_path, {"category": "nut", "per_defect": {"dent": undefined}})
    kind = Metrics.parse((tmp_path / METRICS).read_text()).per_defect["dent"]
    assert kind.miss_rate is None and kind.miss_rate_interval is None


def test_reading_them_imports_nothing_slow():
    slow = {"torch", "transformers", "gradio", "huggingface_hub"}
    code = f"import json, sys, model_files\nprint(json.dumps(sorted({slow!r} & {{*sys.modules}})))"
    assert run_code(code, os.environ, ROOT) == []
