"""Imports point one way: app -> modeling; training -> modeling; evaluation -> both."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = {
    *("app", "page", "hub_models", "modeling", "system", "data", "training", "publishing"),
    "evaluation",
}
ALLOWED = {
    "hub_models.py": set(),
    "modeling": set(),
    "system": set(),
    "data": {"hub_models", "modeling", "system"},
    "publishing": {"data", "hub_models", "modeling", "system"},
    "training": {"data", "hub_models", "modeling", "publishing", "system"},
    "evaluation": {"data", "modeling", "system", "training"},
    "page": {"hub_models", "modeling", "system"},
    "app.py": {"page"},
}
SLOW_TO_IMPORT = {"modeling", "torch", "transformers"}  # the first page waits for none of them


def imported_by(body: list[ast.stmt]) -> set[str]:
    """The top-level packages that code imports, whatever it is nested in."""
    names = set()
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_every_room_is_known():
    rooms = {path.stem for path in ROOT.glob("*.py")}
    rooms |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == ROOMS
    assert {Path(room).stem for room in ALLOWED} == ROOMS


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    path = ROOT / room
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        imported = imported_by(ast.parse(file.read_text()).body) & ROOMS
        assert imported <= ALLOWED[room] | {path.stem}, file


FIRST = [ROOT / "app.py", ROOT / "hub_models.py", *sorted((ROOT / "page").rglob("*.py"))]


@pytest.mark.parametrize("file", FIRST, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_the_first_page_needs_imports_nothing_slow(file):
    body = ast.parse(file.read_text()).body
    at_import = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not imported_by(at_import) & SLOW_TO_IMPORT


def test_modeling_is_flat_so_that_the_hub_can_carry_it():
    for path in (ROOT / "modeling").rglob("*.py"):
        assert path.parent == ROOT / "modeling"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path
                assert node.module, path
