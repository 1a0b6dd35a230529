"""inspect_folder.py: a row a photo, whatever interrupts it.

    INSPECTED_PHOTOS=5000 python -m pytest tests/evaluation/test_inspect_folder.py -s -k kill

proves the same with more photos, and prints what it saw.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT
from PIL import Image

from data import synthetic
from evaluation.inspect_folder.command import main
from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.parts import PartWriter, Row
from evaluation.inspect_folder.photos import list_photos
from evaluation.inspect_folder.run import Identity, take_up
from modeling import (
    Autoencoder,
    AutoencoderConfig,
    Inspection,
    InspectionImageProcessor,
    load_pipeline,
)
from system.cores import single_threaded

PHOTOS = int(os.environ.get("INSPECTED_PHOTOS", 60))
SIDE = 192  # as in the training of the model
SUFFIXES = (".png", ".jpg", ".BMP", ".tiff", ".webp")
BROKEN = "line 1/broken.png"
TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
FULL = Path("/dev/full")  # whatever is written there finds the disk full


def make_photos(folder: Path, count: int) -> Path:
    """Photos of good and defective nuts in several folders, no two alike, and one damaged file."""
    generator = np.random.default_rng(0)
    parts = [
        np.asarray(synthetic.render("flange_nut", seed=seed, defect=defect, size=SIDE).image)
        for seed in range(4)
        for defect in ("good", "good", "dent", "scratch")
    ]
    for index in range(count - 1):
        grain = generator.integers(-3, 4, (SIDE, SIDE, 3))
        pixels = np.clip(parts[index % len(parts)] + grain, 0, 255).astype(np.uint8)
        path = folder / f"line {index % 3}" / f"{index:05d}{SUFFIXES[index % len(SUFFIXES)]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / BROKEN).write_bytes((folder / "line 0" / "00000.png").read_bytes()[:500])
    return folder


def arguments_for(model: Path, photos: Path, output_dir: Path, *more: str) -> list[str]:
    words = ["--model", str(model), "--photos", str(photos), "--output_dir", str(output_dir)]
    return [*words, "--part_size", str(max(2, PHOTOS // 50)), *more]


def read_rows(output_dir: Path) -> dict[str, Row]:
    """Path to row without its time, after making sure that no path stands there twice."""
    parts = sorted(output_dir.glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    counts = Counter(row["path"] for row in rows)
    assert [path for path, count in counts.items() if count > 1] == []
    return {row["path"]: {k: v for k, v in row.items() if k != "time"} for row in rows}


def said(capsys) -> str:
    """The one sentence of an error."""
    (line,) = (
        line for line in capsys.readouterr().err.splitlines() if line.startswith("inspect_folder")
    )
    return line


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
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(photos.rglob("0000?.*")):
        shutil.copy(path, folder)
    assert len(list_photos(folder, tmp_path / "out").paths) == 10
    return folder


# What a row says


def expected_row(inspection: Inspection) -> Row:
    return {
        "verdict": inspection.verdict,
        "score": inspection.score,
        "raw_score": inspection.raw_score,
        "threshold": inspection.threshold,
        "doubt": inspection.doubt,
        "region_count": len(inspection.regions),
        "regions": [
            {
                **dict(zip(("left", "top", "right", "bottom"), region.box, strict=True)),
                "area": region.area,
                "peak": region.peak,
                "shape": region.shape,
                "at_outline": region.at_outline,
                "apart": region.apart,
            }
            for region in inspection.regions
        ],
        "note": inspection.notes,
        "error": None,
        "width": inspection.photo.width,
        "height": inspection.photo.height,
    }


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


def test_batches_and_the_threshold_change_what_they_should_and_no_more(
    trained_model, few, tmp_path
):
    pipe = load_pipeline(trained_model)
    lowest = min(pipe(str(path)).score for path in few.iterdir())
    more = ("--threshold", str(lowest / 2), "--batch_size", "4")
    assert main(arguments_for(trained_model, few, tmp_path / "out", *more)) == 0
    for path, row in read_rows(tmp_path / "out").items():
        expected = expected_row(pipe(str(few / path), threshold=lowest / 2))
        assert row["verdict"] == expected["verdict"] != "PASS"
        assert row["threshold"] == lowest / 2
        assert row["region_count"] == expected["region_count"]
        for name in ("score", "raw_score"):
            assert row[name] == pytest.approx(expected[name], rel=1e-4)


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


def test_the_summary_counts_what_the_rows_say(trained_model, few, tmp_path, capsys):
    (few / "note.txt").write_text("no photo")
    (few / "last.png").write_text("no photo either")
    assert main(arguments_for(trained_model, few, tmp_path / "out")) == 0
    counts = Counter(row["verdict"] for row in read_rows(tmp_path / "out").values())
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"11 photos: {counts['PASS']} PASS, {counts['FAIL']} FAIL, {counts['CHECK']} CHECK, "
        f"1 ERROR; yield {100 * counts['PASS'] / (counts['PASS'] + counts['FAIL']):.1f} %"
    )
    assert "11 of them now" in printed.out
    assert "is passed over: 1 .txt." in printed.err


@pytest.mark.parametrize(
    ("overlays", "painted"),
    [("failures", {"FAIL"}), ("none", set()), ("all", {"PASS", "FAIL", "CHECK"})],
)
def test_overlays_are_those_of_the_photos_asked_for(
    overlays, painted, trained_model, few, tmp_path
):
    more = ("--overlays", overlays)
    assert main(arguments_for(trained_model, few, tmp_path / "out", *more)) == 0
    rows = read_rows(tmp_path / "out").values()
    named = {row["overlay"] for row in rows if row["verdict"] in painted}
    written = (tmp_path / "out" / "overlays").glob("*")
    assert named == {path.relative_to(tmp_path / "out").as_posix() for path in written}
    assert all(row["overlay"] is None for row in rows if row["verdict"] not in painted)
    for name in named:
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))


def test_a_model_of_several_products_must_be_told_which(few, tmp_path, capsys):
    torch.manual_seed(0)
    fields = {"image_size": 64, "target": "pixels"}
    model = Autoencoder(AutoencoderConfig(categories=["bolt", "nut"], **fields)).eval()
    for category, brightness in (("bolt", 1.0), ("nut", 0.1)):
        model.calibrate([brightness * torch.rand(6, 3, 64, 64)], 0.3, category)
    model.save_pretrained(tmp_path / "model")
    processor = InspectionImageProcessor(size={"height": 64, "width": 64})
    processor.save_pretrained(tmp_path / "model")
    words = arguments_for(tmp_path / "model", few, tmp_path / "out")
    assert main(words) == 2
    assert "knows bolt, nut; say which with --category" in said(capsys)
    assert main([*words, "--category", "washer"]) == 2
    assert "found --category washer" in said(capsys)
    assert main([*words, "--category", "nut"]) == 0
    pipe = load_pipeline(tmp_path / "model")
    for path, row in read_rows(tmp_path / "out").items():
        expected = pipe(str(few / path), category="nut")
        assert row["score"] == pytest.approx(expected.score, rel=1e-4)
        assert row["category"] == "nut"
    assert main([*words, "--category", "bolt"]) == 2
    assert "the category nut, found bolt" in said(capsys)


# Which photos


def test_every_photo_of_all_folders_is_listed_once_and_in_order(tmp_path):
    for name in ("b/2.PNG", "b/10.jpeg", "a.webp", "c/d/e.tif", "c/notes.txt", "out/overlay.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for hidden in (".trash/x.png", "b/.x.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    listing = list_photos(tmp_path, tmp_path / "out")
    assert listing.paths == [
        *("a.webp", "b/10.jpeg", "b/2.PNG", "c/d/e.tif", "gone.png"),
        os.fsdecode(b"\xff.png"),
    ]
    assert listing.passed_over == {".txt": 1}


def test_names_that_are_no_text_and_broken_links_are_rows(trained_model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    part = synthetic.render("flange_nut", seed=1, size=SIDE).image
    for name in (b"\xff.png", b"line\nbreak.png"):
        part.save(photos / os.fsdecode(name))
    (photos / os.fsdecode(b"\xfe.png")).write_text("no photo")
    (photos / "gone.png").symlink_to("nowhere.png")
    words = arguments_for(trained_model, photos, tmp_path / "out", "--overlays", "all")
    assert main(words) == 0
    rows = read_rows(tmp_path / "out")
    assert {*rows} == {"\\xff.png", "\\xfe.png", "line\nbreak.png", "gone.png"}
    assert rows["gone.png"]["error"] == "gone.png was not found; check the path of the photo."
    assert rows["\\xfe.png"]["error"].startswith("\\xfe.png is not a picture")
    assert rows["\\xff.png"]["verdict"] != "ERROR"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert main(words) == 0  # all of them are found again among the rows
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_photos_that_are_added_are_inspected_and_no_others(trained_model, few, tmp_path, capsys):
    words = arguments_for(trained_model, few, few / "results")
    assert main(words) == 0
    before = read_rows(few / "results")
    synthetic.render("flange_nut", seed=9, size=SIDE).image.save(few / "00003 b.png")
    assert main(words) == 0
    after = read_rows(few / "results")  # where overlays lie too, which are no photos to inspect
    assert {*after} - {*before} == {"00003 b.png"}
    assert {path: after[path] for path in before} == before
    assert "1 of them now" in capsys.readouterr().out


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


# Another run


IDENTITY = Identity("runs/nut", "a" * 64, "nut", 0.5, "photos")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("model_sha256", "b" * 64, f"the model runs/nut ({'a' * 12}), found runs/nut ({'b' * 12})"),
        ("category", "bolt", "the category nut, found bolt"),
        ("threshold", 0.7, "the threshold 0.5, found 0.7"),
        ("photos", "others", "the folder of photos photos, found others"),
    ],
)
def test_a_run_goes_on_only_as_what_it_was_begun(field, value, sentence, tmp_path):
    take_up(tmp_path, IDENTITY, {})
    take_up(tmp_path, dataclasses.replace(IDENTITY, model="moved/nut"), {})
    with pytest.raises(FolderError) as refusal:
        take_up(tmp_path, dataclasses.replace(IDENTITY, **{field: value}), {})
    assert f"{tmp_path} holds results of {sentence}; give what" in str(refusal.value)


def test_a_run_goes_on_with_the_model_published_and_not_with_the_model_trained_again(
    trained_model, few, tmp_path, capsys
):
    model = shutil.copytree(trained_model, tmp_path / "model")
    words = arguments_for(model, few, tmp_path / "out")
    assert main(words) == 0
    for name in ("config.json", "preprocessor_config.json"):
        settings = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**settings, "auto_map": {"AutoModel": "a.B"}}))
    assert main(words) == 0
    weights = Autoencoder.from_pretrained(model)
    with torch.no_grad():
        next(weights.parameters()).add_(1e-3)
    weights.save_pretrained(model)
    assert main(words) == 2
    assert "holds results of the model model (" in said(capsys)


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


def bad_words(model: Path, photos: Path, tmp: Path) -> dict[str, tuple[Sequence[str], str]]:
    (tmp / "empty").mkdir()
    (tmp / "file").touch()
    return {
        "no folder": (arguments_for(model, tmp / "no", tmp / "out"), "no is no folder"),
        "no photos": (arguments_for(model, tmp / "empty", tmp / "out"), "holds no PNG, JPEG"),
        "same": (arguments_for(model, photos, photos), "is the folder of the photos"),
        "file": (arguments_for(model, photos, tmp / "file"), "can't be read or written (File exi"),
        "model": (arguments_for(tmp / "empty", photos, tmp / "out"), "could not be loaded"),
    }


@pytest.mark.parametrize("case", ["no folder", "no photos", "same", "file", "model"])
def test_what_can_not_be_inspected_is_one_sentence(case, trained_model, few, tmp_path, capsys):
    words, sentence = bad_words(trained_model, few, tmp_path)[case]
    assert main(words) == 2
    assert sentence in said(capsys)


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("--threshold", "1.5", "--threshold must be a number from 0.0 to 1.0, found 1.5"),
        ("--threshold", "nan", "--threshold must be a number from 0.0 to 1.0, found nan"),
        ("--batch_size", "0", "--batch_size must be a whole number from 1"),
        ("--part_size", "0", "--part_size must be a whole number from 1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(flag, value, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments_for(tmp_path, tmp_path, tmp_path), flag, value])
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
