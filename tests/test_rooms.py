"""The rooms of the project: who imports whom, how large they are, and which commands they offer."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from commands import commands, run_command
from conftest import ROOT

# From low to high; a room imports none that stands in a line below its own, nor its neighbours.
ALLOWED = {
    "modeling": set(),
    "system": set(),
    "hub_models": set(),
    "model_files": set(),
    "data": {"hub_models", "model_files", "modeling", "system"},
    "publishing": {"data", "hub_models", "model_files", "modeling", "system"},
    "training": {"data", "hub_models", "model_files", "modeling", "publishing", "system"},
    "evaluation": {"data", "model_files", "modeling", "system", "training"},
    "page": {"hub_models", "model_files", "modeling", "system"},
    "app": {"page"},
}
SLOW_TO_IMPORT = {"modeling", "torch", "transformers"}  # the first page waits for none of them
MOST_FILES = 15  # side by side in a folder
MOST_LINES = 420  # of a file
FLAT = {"modeling"}  # the Hub carries it as it is


def files_of(room: str) -> list[Path]:
    """A room's files, be it a module or a package."""
    module = ROOT / f"{room}.py"
    return [module] if module.is_file() else sorted((ROOT / room).rglob("*.py"))


FILES = [path for room in ALLOWED for path in files_of(room)]


def name_of(path: Path) -> str:
    """A file as the tests call it."""
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_in(nodes: Iterable[ast.AST], typing_only: bool = False) -> Iterator[tuple]:
    """Every import, whatever it is nested in, and whether it is for type checkers alone."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, typing_only
        elif is_for_type_checkers(node):
            yield from imports_in(node.body, True)
            yield from imports_in(node.orelse, typing_only)
        else:
            yield from imports_in(ast.iter_child_nodes(node), typing_only)


def imported_by(body: list[ast.stmt]) -> set[str]:
    """The top-level packages that code imports, whatever it is nested in."""
    names = set()
    for node, _ in imports_in(body):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def file_of(module: Path) -> Path | None:
    """The file of a module of the project, given as a path without its ending."""
    candidates = (module.with_suffix(".py"), module / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def imported_files(path: Path) -> Iterator[tuple[Path, bool]]:
    """The project's files that a file imports, and whether for type checkers alone."""
    for node, typing_only in imports_in(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found = [file_of(ROOT.joinpath(*alias.name.split("."))) for alias in node.names]
        else:
            base = path.parents[node.level - 1] if node.level else ROOT
            base = base.joinpath(*(node.module or "").split("."))
            found = [file_of(base / alias.name) or file_of(base) for alias in node.names]
        yield from ((imported, typing_only) for imported in found if imported in FILES)


@pytest.fixture(scope="module")
def arrows() -> dict[Path, list[tuple[Path, bool]]]:
    return {path: list(imported_files(path)) for path in FILES}


def test_every_room_is_known():
    rooms = {path.stem for path in ROOT.glob("*.py")}
    rooms |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    assert files_of(room)
    for file in files_of(room):
        imported = imported_by(ast.parse(file.read_text()).body) & set(ALLOWED)
        assert imported <= ALLOWED[room] | {room}, file


def test_the_rooms_that_are_allowed_stand_in_one_order():
    graphlib.TopologicalSorter(ALLOWED).prepare()


def test_no_import_goes_in_a_circle(arrows):
    """Those inside functions count; those for type checkers where they leave the room."""
    graph = {
        path: {to for to, typing_only in found if not typing_only or room_of(to) != room_of(path)}
        for path, found in arrows.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(name_of(path) for path in error.args[1]))


def test_no_folder_is_crowded():
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    flat = {ROOT / room for room in FLAT}
    crowded = {name_of(folder): count for folder, count in counts.items() if count > MOST_FILES}
    assert not {name: count for name, count in crowded.items() if ROOT / name not in flat}


def test_a_file_is_read_in_one_sitting():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


FIRST = [path for path in FILES if room_of(path) in ("app", "hub_models", "model_files", "page")]


@pytest.mark.parametrize("file", FIRST, ids=name_of)
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


def is_command(path: Path) -> bool:
    """Whether a person runs it by `python -m`; what takes JSON, a command starts."""
    if "json.loads(sys.argv" in path.read_text():
        return False
    guard = ast.unparse(ast.parse('__name__ == "__main__"', mode="eval"))
    tests = [node.test for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    return path.name == "__main__.py" or any(ast.unparse(test) == guard for test in tests)


def module_of(path: Path) -> str:
    """As `python -m` takes it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__main__" else parts)


COMMANDS = [*filter(is_command, FILES), ROOT / "tests/strength/benchmark_app.py"]
BY_PATH = [ROOT / "app.py", ROOT / "training/train.py"] + [
    path for path in FILES if "from by_path import run" in path.read_text()
]


@pytest.mark.parametrize("path", COMMANDS, ids=module_of)
def test_a_command_runs_as_a_module(path):
    finished = run_command("-m", module_of(path), "--help")
    assert finished.returncode == 0, finished.output
    assert finished.output.startswith("usage: ")


@pytest.mark.parametrize("path", BY_PATH, ids=name_of)
def test_a_command_runs_by_its_path_from_another_folder(path, tmp_path):
    finished = commands()(["python", str(path), "--help"], tmp_path)
    assert finished.returncode == 0, finished.output
    assert finished.output.startswith("usage: ")


def test_the_commands_by_path_are_those_that_are_promised():
    names = ("evaluate", "report", "explore", "inspect_folder", "leaderboard")
    promised = {"app.py", "training/train.py", *(f"evaluation/{name}.py" for name in names)}
    assert {name_of(path) for path in BY_PATH} == promised


TOLD = re.compile(r"""(?:python|PYTHON"|,) "?(?:-m"?,? "?(\w+(?:\.\w+)+)|(\w+/[\w/]+\.py))""")


def test_every_program_that_a_file_tells_to_run_is_there():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    missing = set()
    for name in listed.stdout.splitlines():
        if not name.endswith((".py", ".md", ".sh", "Makefile")) or not (ROOT / name).exists():
            continue
        for module, script in TOLD.findall((ROOT / name).read_text()):
            program = module.replace(".", "/") or script.removesuffix(".py")
            ours = (ROOT / program).parts[len(ROOT.parts)] in ALLOWED and "NAME" not in program
            if ours and not file_of(ROOT / program):
                missing.add((name, module or script))
    assert not missing
