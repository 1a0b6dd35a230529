"""Every command in README.md, CONTRIBUTING.md and docs/ runs as it is written, and links lead on.

The commands run in a folder that looks like a clone of the project, with photos of three products
under DIR and a Hub on this machine. Only what makes them take long is changed: see `LESS`, `MORE`
and `FEW`. A block that can't run here says what it needs, in a comment that no reader sees:

    <!-- needs: the internet -->
    ```
    make app
    ```

The fence says what a block is: none of its own: commands; bash: a script; python; json; text: no
program, such as a drawing.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import Commands, commands
from conftest import ROOT
from test_rooms import ALLOWED

from data.synthetic import render
from modeling.image_processing import MAX_PHOTO_PIXELS
from page.server import limits

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS = {"the internet", "hours"}
ORGANISATION = "org"  # the only one in which the Hub of the tests lets anybody write
PRODUCTS = ("bracket", "bottle", "screw")
MODEL = "runs/bracket"

# Instead of what a page says after these flags.
LESS = {
    "--image_size": "128",
    "--tile_size": "64",
    "--push_every": "1",
    "--limit": "1",
    "--visitors": "2",
    "--seconds": "1",
    "--batch": "2",
}
# Said besides, where a page does not say it.
MORE = {
    "training/train.py": {"--image_size": "64", "--epochs": "1", "--checkpoint_every": "1"},
    "evaluation/evaluate.py": {"--num_pictures": "1"},
    "evaluation.studies.throughput": {"--image_size": "64"},
    "evaluation.studies.compare_residuals": {
        "--photos": "4",
        "--copies": "1",
        "--residual_normalisation": "none",
    },
    "evaluation.studies.robustness": {"--changes": "brightness", "--limit": "1"},
    "evaluation.studies.cross_category": {"--limit": "1"},
    "evaluation.studies.benchmark": {"--runs": "1", "--batch_sizes": "1"},
}
FEW = "?train=10&test_good=3&test_per_defect=1&size=96"  # of the parts that are drawn


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the file.
        line: of its fence.
        language: what the fence says.
        text: what it holds.
        needs: what it needs that is not here; None if it runs here.
    """

    page: Path
    line: int
    language: str
    text: str
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    lines = page.read_text().splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        needs = re.fullmatch(r"<!-- needs: (.+) -->", lines[opened - 1].strip())
        text = "\n".join(lines[opened + 1 : number]) + "\n"
        language = lines[opened].strip().removeprefix("```")
        yield Block(page, opened + 1, language, text, needs and needs[1])
        opened = None


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


class Clone:
    """A folder that looks like a clone of the project, and what runs commands in it."""

    def __init__(self, folder: Path, run: Commands) -> None:
        self.folder = folder
        self.run = run
        self.done: set[str] = set()
        for name in os.listdir(ROOT):
            if not name.startswith(".") and name != "runs":
                (folder / name).symlink_to(ROOT / name)
        for product in PRODUCTS:
            draw_photos(folder / "DIR" / product)
        for name in ("photo.jpg", "photo.png"):
            render("flange_nut", seed=7, defect="dent", size=96).image.save(folder / name)

    def do(self, words: tuple[str, ...], environment: dict[str, str] | None = None) -> None:
        """Run a command, cheaply, and see that it ends well."""
        finished = self.run(cheap(words, self.folder), self.folder, environment)
        assert finished.returncode == 0, finished.output[-4000:]

    def do_block(self, language: str, text: str) -> None:
        """Run a block; a command that stands on several pages runs once."""
        if language == "python":
            (self.folder / "block.py").write_text(text)
            self.do(("python", "block.py"))
        elif language == "bash":
            self.do(("bash", "-euo", "pipefail", "-c", text))
        else:
            for variables, words in commands_in(text):
                command = shlex.join([f"{variables}", *words])
                if command in self.done:
                    continue
                if "app.py" in words:
                    with self.app(words, variables):
                        pass
                else:
                    self.do(words, variables)
                self.done.add(command)

    @contextmanager
    def app(
        self,
        words: tuple[str, ...] = ("python", "app.py"),
        environment: dict[str, str] | None = None,
    ) -> Iterator[str]:
        """Run the app until the block ends; gives its address, at which it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        address, deadline = f"127.0.0.1:{port}", time.monotonic() + 300
        with self.run.running((*words, "--port", port), self.folder, environment) as app:
            while not answers(f"http://{address}/"):
                running = app.poll() is None and time.monotonic() < deadline
                assert running, app.output.read_text()
                time.sleep(0.1)
            yield address


def draw_photos(folder: Path) -> None:
    """A product in the layout of MVTec AD."""
    kinds = {"train/good": range(20), "test/good": range(20, 23), "test/scratch": range(30, 32)}
    for kind, seeds in kinds.items():
        (folder / kind).mkdir(parents=True)
        for seed in seeds:
            photo = render("flange_nut", seed=seed, defect=Path(kind).name, size=96)
            photo.image.save(folder / kind / f"{seed:03}.png")
            if photo.mask:
                mask = folder / "ground_truth/scratch" / f"{seed:03}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                photo.mask.save(mask)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def cheap(words: tuple[str, ...], folder: Path) -> list[str]:
    """The command with less to do, and with the files that its patterns mean."""
    found: list[str] = []
    for word in words:
        word = LESS.get(found[-1], word) if found else word
        word = word + FEW if word.startswith("synthetic:") else word
        matches = sorted(folder.glob(word)) if "*" in word else []
        found += [path.relative_to(folder).as_posix() for path in matches] or [word]
    for program, more in MORE.items():
        if program in found:
            found += [part for flag in more if flag not in found for part in (flag, more[flag])]
    return found


def commands_in(text: str) -> Iterator[tuple[dict[str, str], tuple[str, ...]]]:
    """The variables and the words of each command."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        variables = {}
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        if words and words[0] != ".":  # that is .venv/bin/activate, which the tests' Python is in
            yield variables, tuple(words)


@pytest.fixture(scope="module")
def clone(session_hub, session_hub_home, tmp_path_factory) -> Clone:
    """With a model of brackets, evaluated, and published as ORG/NAME."""
    session_hub.empty()
    run = commands(session_hub.environment(session_hub_home))
    clone = Clone(tmp_path_factory.mktemp("clone"), run)
    clone.do_block("", next(block.text for block in BLOCKS if MODEL in block.text))
    clone.do(("python", "-m", "publishing.push", MODEL, f"{ORGANISATION}/NAME"))
    return clone


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.needs], ids=str)
def test_a_block_runs_as_written(block, request):
    assert block.language in ("", "bash", "python", "json", "text")
    if block.language == "text":
        return
    if block.language == "json":
        json.loads(block.text)
        return
    clone = request.getfixturevalue("clone")
    text = block.text.replace("ORG", ORGANISATION)
    if "127.0.0.1:7860" in text:
        with clone.app() as address:
            clone.do_block(block.language, text.replace("127.0.0.1:7860", address))
    else:
        clone.do_block(block.language, text)


def test_a_block_that_does_not_run_says_what_it_needs():
    pages = "\n".join(page.read_text() for page in PAGES)
    marks = re.findall("^<!-- needs: (.+) -->$", pages, re.M)
    assert sorted(marks) == sorted(block.needs for block in BLOCKS if block.needs)
    assert {*marks} <= NEEDS


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors_of(page: Path) -> set[str]:
    """What leads to a heading, as GitHub names it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_is_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page):
    for name in re.findall(r"`([\w.]+/[\w./]*\.(?:py|yaml|md|sh|txt))`", page.read_text()):
        assert (ROOT / name).is_file() or name.startswith(("runs/", "DIR/", "OUT/")), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_tells_of_the_machine_it_was_written_on(page):
    assert not re.search(
        r"\.\./shared|/work/|/tmp/|/home/|/root/|pypi\.|pythonhosted", page.read_text()
    )


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        assert f"]({page.relative_to(ROOT).as_posix()})" in readme


WALK = r"^\d+\. `([\w/]+\.py)` `([\w.]+)`"  # file and function of a step


def functions_in(path: Path) -> set[str]:
    """The functions of a file, and its classes' methods as "Class.method"."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        found.add(getattr(node, "name", ""))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return found


def test_the_walks_through_the_code_take_ten_steps_and_none_back():
    _, *walks = re.split(
        r"^## The walk of ", (ROOT / "docs/architecture.md").read_text(), flags=re.M
    )
    assert len(walks) == 2
    for walk in walks:
        steps = re.findall(WALK, walk, re.M)
        assert 0 < len(steps) <= 10
        assert len(steps) == len(re.findall(r"^\d+\. ", walk, re.M))
        for file, function in steps:
            assert function in functions_in(ROOT / file), (file, function)
        files = [file for file, _ in itertools.groupby(file for file, _ in steps)]
        assert len(files) == len({*files})


def test_the_limits_are_those_of_the_code():
    page = (ROOT / "docs/safety.md").read_text()
    for limit in (
        f"{MAX_PHOTO_PIXELS // 10**6} megapixels; {limits.MAX_PHOTO_BYTES // 2**20} MB in a zip",
        f"{limits.MAX_UPLOAD_BYTES // 2**20} MB; {limits.MAX_CALL_BYTES // 2**20} MB",
        f"{limits.MAX_PHOTOS:,} photos; zips of {limits.MAX_ENTRIES:,} entries",
        f"{limits.MAX_UNPACKED_BYTES // 2**30} GB unpacked",
        f"{limits.CALLS_PER_MINUTE} calls, {limits.UPLOAD_MB_PER_MINUTE:,} MB",
        f"{limits.WRONG_PASSWORDS_PER_MINUTE} wrong passwords",
    ):
        assert limit in page


def code_in(text: str) -> set[str]:
    """What stands in backticks, as a room is called."""
    return {name.strip("/").removesuffix(".py") for name in re.findall("`(.+?)`", text)}


def test_the_rooms_are_told_as_they_are():
    rooms = re.findall(r"^\| (`.+) \| .+ \|$", (ROOT / "README.md").read_text(), re.M)
    assert set(ALLOWED) <= {name for row in rooms for name in code_in(row)}
    rows = re.findall(r"^\| (`.+) \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert {name: code_in(told) for row, told in rows for name in code_in(row)} == ALLOWED
