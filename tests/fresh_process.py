"""Code in a process of its own, as a user would run it, and in an environment of its own."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def run_code(
    code: str,
    environment: Mapping[str, str],
    folder: Path,
    python: Path | str = sys.executable,
    timeout: float = 300,
) -> Any:
    """Run Python code in `folder`; returns the last line that it prints, read as JSON."""
    finished = subprocess.run(
        [str(python), "-c", code],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,  # a question whether to trust code would wait for an answer
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.strip().splitlines()[-1])


def environment_with(folder: Path, packages: Sequence[str]) -> Path:
    """A virtual environment that holds these installed packages, what they need, and no more.

    The packages are linked, not installed again: torch alone would take a minute and a gigabyte.

    Returns:
        Its Python.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in sorted(_closure(packages)):
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            source = Path(distribution.locate_file(top))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return folder / "bin" / "python"


def _closure(packages: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found
