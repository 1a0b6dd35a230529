"""What no line of the project's code does, and that what is installed is what was locked."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from collections.abc import Iterator

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modeling.image_processing import MAX_DOWNLOAD_BYTES, MAX_PHOTO_PIXELS
from page.server import limits

CODE = [
    path
    for folder in (ROOT, *(path.parent for path in ROOT.glob("*/__init__.py")))
    for path in (folder.glob("*.py") if folder == ROOT else folder.rglob("*.py"))
]
# What makes objects of whatever a file says, and so runs what somebody wrote into it.
PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LOADERS = {"torch.load", "torch.jit.load", "torch.package", "yaml.load"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
# The trunk that training begins with lies in an installed package, in torch's own format; with
# `weights_only` torch makes tensors of it and nothing else. What the app loads is never this file.
KNOWN = {"modeling/backbones.py": {"torch.load"}}


def calls_in(code: str) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """The calls in code: what is called, as it is written, and the keywords."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


def imported_in(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def faults_in(code: str) -> set[str]:
    """What in code could run what a stranger wrote."""
    faults = imported_in(code) & PICKLES
    for name, keywords in calls_in(code):
        said = {word: ast.unparse(value) for word, value in keywords.items() if word}
        if name in RUNNERS | LOADERS:
            faults.add(name)
        faults |= {
            f"{word}={said[word]}"
            for word, allowed in (
                ("allow_pickle", "False"),
                ("weights_only", "True"),
                ("trust_remote_code", "False"),
                ("use_safetensors", "True"),
                ("shell", "False"),
            )
            if said.get(word, allowed) != allowed
        }
    return faults


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "import torch\ntorch.load(path)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=trusted)",
        "f(weights_only=False)",
        "f(use_safetensors=None)",
        "subprocess.run(words, shell=True)",
        "eval(text)",
    ],
)
def test_each_fault_would_be_found(code):
    assert faults_in(code)


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_reads_a_pickle_or_runs_what_a_stranger_wrote(path):
    known = KNOWN.get(path.relative_to(ROOT).as_posix(), set())
    assert faults_in(path.read_text(encoding="utf-8")) == known


def test_the_one_file_in_torch_s_own_format_is_read_for_its_tensors_alone():
    ((_, keywords),) = (
        call
        for path in KNOWN
        for call in calls_in((ROOT / path).read_text())
        if call[0] == "torch.load"
    )
    assert ast.unparse(keywords["weights_only"]) == "True"


def test_all_rooms_are_looked_at():
    looked_at = {path.relative_to(ROOT).parts[0] for path in CODE}
    assert looked_at == {
        *("app.py", "hub_models.py", "model_files.py", "page", "modeling", "system", "data"),
        *("training", "publishing", "evaluation"),
    }


def test_the_page_takes_no_larger_photo_than_the_pipeline():
    assert limits.MAX_PHOTO_BYTES == MAX_DOWNLOAD_BYTES
    assert limits.MAX_CALL_BYTES > limits.MAX_PHOTO_BYTES * 4 / 3
    assert limits.MAX_UPLOAD_BYTES >= limits.MAX_PHOTO_BYTES
    assert MAX_PHOTO_PIXELS == 100_000_000


def locked() -> dict[str, list[tuple[Requirement, list[str]]]]:
    """By name, the lines of the lock with the hashes below each."""
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            words, *hashes = re.split(r"\s+--hash=", line.strip())
            requirement = Requirement(words)
            found.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return found


def test_the_lock_holds_what_is_required_and_a_hash_of_every_file():
    lock = locked()
    for line in (ROOT / "requirements.txt").read_text().split():
        required = Requirement(line)
        ((found, _),) = lock[canonicalize_name(required.name)]
        assert str(found.specifier) == str(required.specifier), line
    for name, entries in lock.items():
        for requirement, hashes in entries:
            assert re.fullmatch(r"==[\w.+!]+", str(requirement.specifier)), name
            assert hashes, name
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), name


def test_all_that_is_required_is_locked_with_what_it_needs():
    lock, waiting, seen = locked(), [], set()
    waiting += map(Requirement, (ROOT / "requirements.txt").read_text().split())
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        is_elsewhere = requirement.marker and not requirement.marker.evaluate({"extra": ""})
        if name in seen or is_elsewhere:
            continue
        seen.add(name)
        assert name in lock, name
        waiting += map(Requirement, importlib.metadata.requires(name) or ())
    assert len(seen) > 50


def test_the_lock_names_no_place_to_install_from():
    text = (ROOT / "requirements.lock").read_text()
    assert "--index-url" not in text
    assert "--find-links" not in text
    assert "://" not in text
