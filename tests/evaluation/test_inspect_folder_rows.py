"""What inspect_folder.py writes: a row a photo, whatever interrupts it.

    INSPECTED_PHOTOS=5000 python -m pytest tests/evaluation/test_inspect_folder_rows.py -s -k kill

proves the same with more photos, and prints what it saw.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

from evaluation.inspect_folder.command import main
from evaluation.inspect_folder.parts import PartWriter
from modeling import load_pipeline
from system.cores import single_threaded
from tests.evaluation.inspected_folders import (
    BROKEN,
    PHOTOS,
    arguments_for,
    copy_ten,
    expected_row,
    make_photos,
    read_rows,
    said,
)

TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
FULL = Path("/dev/full")  # whatever is written there finds the disk full


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"), PHOTOS)


@pytest.fixture(scope="module")
def unbroken(trained_model, photos, tmp_path_factory) -> Path:
    """The results of a run of one process that nothing interrupts."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(arguments_for(trained_model, photos, folder)) == 0
    return folder


@pytest.fixture
def few(photos, tmp_path) -> Path:
    """A folder of ten photos that a test may change."""
    return copy_ten(photos, tmp_path / "few")


# What a row says


def test_a_row_says_to_the_last_bit_what_the_pipeline_says(trained_model, photos, unbroken):
    rows = read_rows(unbroken)
    pipe = load_pipeline(trained_model)
    verdicts = set()
    with single_threaded():
        for path in [path for path in rows if path != BROKEN][:: max(1, PHOTOS // 20)]:
            expected = expected_row(pipe(str(photos / path)))
            assert {name: rows[path][name] for name in expected} == expected
            verdicts.add(expected["verdict"])
    assert {"PASS", "FAIL"} <= verdicts


def test_a_photo_that_is_damaged_is_a_row_and_the_rest_goes_on(photos, unbroken):
    rows = read_rows(unbroken)
    assert len(rows) == PHOTOS
    broken = rows[BROKEN]
    assert broken["verdict"] == "ERROR"
    assert broken["error"].startswith("broken.png is damaged")
    assert broken["score"] is broken["regions"] is broken["overlay"] is None
    assert broken["bytes"] == 500
    assert [path for path, row in rows.items() if row["error"]] == [BROKEN]


def test_a_row_names_the_file_and_the_model_that_made_it(trained_model, photos, unbroken):
    record = json.loads((unbroken / "run.json").read_text())
    for path, row in [*read_rows(unbroken).items()][:5]:
        assert row["sha256"] == hashlib.sha256((photos / path).read_bytes()).hexdigest()
        assert row["bytes"] == (photos / path).stat().st_size
        assert row["model"] == record["model"] == trained_model.name
        assert row["model_sha256"] == record["model_sha256"]
        assert row["category"] == "flange_nut"


def test_datasets_reads_the_parts(unbroken, tmp_path):
    read = datasets.load_dataset(
        "parquet", data_files=str(unbroken / "part-*.parquet"), cache_dir=str(tmp_path)
    )["train"]
    assert {*read["path"]} == {*read_rows(unbroken)}
    assert read.features["regions"].feature["peak"].dtype == "float64"


# Interruptions


@contextmanager
def running(*words: str) -> Iterator[psutil.Process]:
    """A command in processes of its own, none of which outlives the block."""
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as popen:
        process = psutil.Process(popen.pid)
        try:
            yield process
        finally:
            kill(process)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def kill(process: psutil.Process) -> None:
    """SIGKILL for a process and all that it started, which leaves them no time for anything."""
    if process.is_running():
        killed = family(process)
        for one in killed:
            one.kill()
        psutil.wait_procs(killed[1:], timeout=60)


def parts_of(output_dir: Path, process: str = "*") -> list[Path]:
    return sorted(output_dir.glob(f"part-*-{process}-*.parquet"))


def wait_for_parts(output_dir: Path, count: int, process: psutil.Process) -> None:
    """Wait until both processes have written `count` parts."""
    deadline = time.monotonic() + 600
    while min(len(parts_of(output_dir, rank)) for rank in ("000", "001")) < count:
        assert process.is_running()
        assert process.status() != psutil.STATUS_ZOMBIE
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_kill_in_the_middle_repeats_no_photo_and_loses_none(
    trained_model, photos, unbroken, tmp_path, capsys
):
    out = tmp_path / "out"
    words = arguments_for(trained_model, photos, out)
    with running(*TWO_PROCESSES, "evaluation/inspect_folder.py", *words) as process:
        wait_for_parts(out, 2 if PHOTOS < 1000 else 12, process)
        for one in family(process):
            one.suspend()  # or they might be done before the next line is
        assert main(words) == 2  # while they are there, nobody else may write
        assert "Another run still writes to" in said(capsys)
        kill(process)
    survived = {path: path.read_bytes() for path in parts_of(out)}
    rows = read_rows(out)
    assert 0 < len(rows) < PHOTOS
    (out / ".unfinished-part-0001-000-99999.parquet").write_bytes(b"PAR1 and then the power failed")
    assert main(words) == 0  # one process goes on where two were killed
    printed = capsys.readouterr().out
    assert f"{len(rows)} photos done before; going on" in printed
    assert f"{PHOTOS - len(rows)} of them now" in printed
    assert read_rows(out) == read_rows(unbroken)
    assert {path: path.read_bytes() for path in survived} == survived
    assert not [*out.glob(".unfinished-*")]
    if PHOTOS >= 1000:
        with capsys.disabled():
            print(f"\n{len(rows)} rows when killed\n{printed}")


def test_rows_that_are_gone_are_made_again_to_the_last_bit(trained_model, few, tmp_path):
    """What is in a batch with a photo changes its last digits, so a part holds whole batches."""
    out = tmp_path / "out"
    words = arguments_for(trained_model, few, out, "--batch_size", "3")
    assert main(words) == 0
    before = read_rows(out)
    first = parts_of(out)[0]
    assert len(pq.read_table(first)) == 3  # a whole batch, though parts have 2 rows
    first.unlink()
    assert main(words) == 0
    assert read_rows(out) == before


def test_a_full_disk_is_one_sentence_and_what_was_finished_stays(
    trained_model, photos, unbroken, tmp_path, capsys
):
    out = tmp_path / "out"
    failing = [path for path, row in read_rows(unbroken).items() if row["verdict"] == "FAIL"]
    overlay = out / "overlays" / f"{failing[-1]}.jpg"
    overlay.parent.mkdir(parents=True)
    overlay.symlink_to(FULL)
    words = arguments_for(trained_model, photos, out)
    assert main(words) == 2
    assert f"There is no room left for {out}; make room" in said(capsys)
    survived = {path: path.read_bytes() for path in parts_of(out)}
    assert 0 < len(read_rows(out)) < PHOTOS
    overlay.unlink()
    assert main(words) == 0
    assert read_rows(out) == read_rows(unbroken)
    assert {path: path.read_bytes() for path in survived} == survived


def test_a_part_that_finds_no_room_leaves_nothing_behind(tmp_path):
    (tmp_path / "part-0001-000-00000.parquet").write_bytes(b"whole")
    (tmp_path / ".unfinished-part-0001-000-00000.parquet").symlink_to(FULL)
    with pytest.raises(OSError, match="No space left on device"):
        PartWriter(tmp_path, start=1, process=0, size=1).add([{"path": "nut.png"}])
    assert [*tmp_path.iterdir()] == [tmp_path / "part-0001-000-00000.parquet"]
    assert (tmp_path / "part-0001-000-00000.parquet").read_bytes() == b"whole"


# Damaged results


def damage_part(out: Path) -> str:
    part = parts_of(out)[0]
    part.write_bytes(part.read_bytes()[:-10])
    return f"{part} is no whole part"


def damage_record(out: Path) -> str:
    (out / "run.json").write_text("{")
    return f"{out / 'run.json'} is damaged"


def lose_record(out: Path) -> str:
    (out / "run.json").unlink()
    return "no run.json that says what made them"


@pytest.mark.parametrize("damage", [damage_part, damage_record, lose_record])
def test_damaged_results_are_one_sentence(
    damage, unbroken, trained_model, photos, tmp_path, capsys
):
    out = shutil.copytree(unbroken, tmp_path / "out")
    sentence = damage(out)
    assert main(arguments_for(trained_model, photos, out)) == 2
    assert sentence in said(capsys)
