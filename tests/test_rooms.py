"""Imports point one way: app -> modeling; training -> modeling; evaluation -> both."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

ROOMS = {"app", "modeling", "training", "evaluation"}
ALLOWED = {
    "modeling": set(),
    "training": {"modeling"},
    "evaluation": {"modeling", "training"},
    "app.py": {"modeling"},
}


def rooms_imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names & ROOMS


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    path = ROOT / room
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    for file in files:
        assert rooms_imported_by(file) <= ALLOWED[room] | {room}, file


def test_modeling_is_flat_so_that_the_hub_can_carry_it():
    for path in (ROOT / "modeling").rglob("*.py"):
        assert path.parent == ROOT / "modeling"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, path
                assert node.module, path
