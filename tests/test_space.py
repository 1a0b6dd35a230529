"""The front matter of README.md, by which the Hub builds and shows the Space."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib

import pytest
from conftest import ROOT
from huggingface_hub import RepoCard, SpaceCardData
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from PIL import Image
from test_rooms import imported_by

import publishing.deploy

COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
LONGEST_DESCRIPTION = 60  # characters; the Hub refuses more


@pytest.fixture(scope="module")
def card() -> SpaceCardData:
    front_matter = RepoCard.load(ROOT / "README.md").data.to_dict()
    return SpaceCardData(**front_matter)


@pytest.fixture(scope="module")
def requirements() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text().split()
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def test_the_gradio_that_the_space_installs_is_the_one_that_was_tested(card, requirements):
    assert card.sdk == "gradio"
    assert card.sdk_version == importlib.metadata.version("gradio")
    assert str(requirements["gradio"].specifier) == f"=={card.sdk_version}"


def test_the_python_of_the_space_runs_the_code_and_every_requirement(card, requirements):
    assert isinstance(card.python_version, str)  # 3.10 without quotes would be 3.1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert card.python_version in SpecifierSet(project["requires-python"])
    for name in requirements:
        needed = importlib.metadata.metadata(name).get("Requires-Python")
        assert needed is None or card.python_version in SpecifierSet(needed), name


def test_the_app_file_is_a_program_that_opens_the_page(card):
    tree = ast.parse((ROOT / card.app_file).read_text())
    guards = [ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If)]
    assert "__name__ == '__main__'" in guards  # the Hub runs it as a script
    assert ".launch(" in ast.unparse(tree)


def test_the_hub_accepts_how_the_space_is_shown(card):
    assert card.title
    assert len(card.emoji) == 1
    assert {card.colorFrom, card.colorTo} <= COLOURS
    assert 0 < len(card.short_description) <= LONGEST_DESCRIPTION
    with Image.open(ROOT / card.thumbnail) as thumbnail:
        assert min(thumbnail.size) >= 200


def test_the_licence_is_the_projects(card):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert card.license == project["license"].lower() == "apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0" in text


def test_no_model_is_named_before_one_is_published(card):
    assert card.models is None
    assert "preload_from_hub" not in card
    assert card.datasets == ["Voxel51/mvtec-ad"]
    assert "golden-sample" in card.tags


def test_everything_that_the_space_imports_is_among_its_requirements(requirements):
    files = [path for path in publishing.deploy.space_files().values() if path.suffix == ".py"]
    own = {path.stem for path in files} | {"modeling", "page", "system"}
    imported = {name for path in files for name in imported_by(ast.parse(path.read_text()).body)}
    distributions = importlib.metadata.packages_distributions()
    needed = imported - own - sys.stdlib_module_names
    assert {"gradio", "torch", "transformers", "huggingface_hub", "PIL"} <= needed
    missing = {name for name in needed if not {*distributions.get(name, [])} & {*requirements}}
    assert not missing
