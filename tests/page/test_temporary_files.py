"""What apps leave on the disk, whichever way they end; each is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT
from gradio.utils import get_upload_folder

from page.server.temporary_files import UPLOADS_VARIABLE, visitors_folder

CODE = """
import time
from gradio.utils import get_upload_folder
from page.server.temporary_files import visitors_folder
with visitors_folder() as folder:
    (folder / "photo.jpg").write_text("of a visitor")
    print(folder, get_upload_folder(), flush=True)
    time.sleep(600)
"""


@contextmanager
def app_in(disk: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that keeps a visitor's photo, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(disk)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        visitors, uploads = (Path(word) for word in process.stdout.readline().split())
        assert visitors.parent == uploads.parent
        yield process, visitors.parent
    finally:
        process.kill()
        process.wait()


def test_the_next_start_deletes_what_the_dead_have_left_and_nothing_else(tmp_path):
    theirs = tmp_path / "golden-sample-models"  # of somebody who likes the name
    (theirs / "visitors").mkdir(parents=True)
    elsewhere = tmp_path / "golden-sample-link"
    with app_in(tmp_path) as (killed, folder_of_killed), app_in(tmp_path) as (_, folder_of_running):
        elsewhere.symlink_to(folder_of_running)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (folder_of_killed / "visitors" / "photo.jpg").exists()
        with app_in(tmp_path) as (stopped, folder_of_stopped):
            assert not folder_of_killed.exists()
            assert (folder_of_running / "visitors" / "photo.jpg").exists()
            stopped.send_signal(signal.SIGTERM)
            assert stopped.wait(60) == 0
            assert not folder_of_stopped.exists()
    assert theirs.exists()
    assert elsewhere.is_symlink()


def test_uploads_lie_beside_and_the_environment_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setenv(UPLOADS_VARIABLE, str(tmp_path))
    with visitors_folder() as visitors:
        assert visitors.parent.parent == tmp_path
        assert Path(get_upload_folder()).parent == visitors.parent
    assert get_upload_folder() == str(tmp_path)
    assert not [*tmp_path.iterdir()]
