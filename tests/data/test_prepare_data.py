"""Photos from a folder to the Hub and back, with the real client in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import ROOT
from huggingface_hub import DatasetCard, constants
from loopback_hub import OWNER_TOKEN, READER_TOKEN, LoopbackHub, serve
from PIL import Image

from data.dataset import load_inspection_dataset
from data.prepare_data import main

SPLITS = ("train", "test", "validation")


def write_picture(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(values).convert(mode).save(path)


def write_category(folder: Path, with_validation: bool = False) -> None:
    for number, name in enumerate(("000.png", "001.jpg", "002.bmp")):
        write_picture(folder / "train" / "good" / name, number)
    write_picture(folder / "test" / "good" / "000.png", 10)
    for name in ("000", "001"):  # the second has no mask, and stays in
        write_picture(folder / "test" / "bent" / f"{name}.png", 20 + int(name))
    write_picture(folder / "ground_truth" / "bent" / "000_mask.png", 30, mode="L")
    if with_validation:
        write_picture(folder / "validation" / "good" / "000.png", 40)
        write_picture(folder / "validation" / "bent" / "000.png", 41)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos") / "parts"
    write_category(root / "bottle", with_validation=True)
    write_category(root / "key")
    return root


def prepare(
    hub: LoopbackHub, home: Path, *arguments: str | Path, token: str = OWNER_TOKEN
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data.prepare_data", *map(str, arguments)],
        env=hub.environment(home, token),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def pushed(root, tmp_path_factory):
    """A Hub on to which both categories were pushed in one go."""
    with serve() as hub:
        finished = prepare(hub, tmp_path_factory.mktemp("home"), root, "org/parts")
        assert finished.returncode == 0, finished.stderr
        assert "--data org/parts --category bottle" in finished.stdout
        assert "Reading bottle, train: 100%" in finished.stderr
        yield hub


def stored(photos: datasets.Dataset) -> list[dict]:
    """Rows with the pictures as they are stored."""
    for column in ("image", "mask"):
        photos = photos.cast_column(column, datasets.Image(decode=False))
    return list(photos)


def load_in_a_fresh_process(hub: LoopbackHub, home: Path, folder: Path, category: str) -> None:
    """Save under `folder` what training gets from the Hub with an empty cache and no token."""
    code = (
        "import sys; from data.dataset import load_inspection_dataset as load\n"
        "load('org/parts', sys.argv[1]).save_to_disk(sys.argv[2])\n"
    )
    environment = hub.environment(home, token=None) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, category, str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)


def test_a_category_comes_back_as_it_was_in_the_folder(pushed, root, tmp_path):
    pushed.downloaded.clear()
    load_in_a_fresh_process(pushed, tmp_path / "home", tmp_path / "loaded", "bottle")
    assert any("/bottle/" in name for name in pushed.downloaded)
    assert not any("/key/" in name for name in pushed.downloaded)

    loaded = datasets.load_from_disk(tmp_path / "loaded")
    expected = load_inspection_dataset(root, "bottle")
    assert {*loaded} == {*expected} == {*SPLITS}
    for split in SPLITS:
        assert loaded[split].features == expected[split].features
        for ours, theirs, decoded in zip(
            stored(expected[split]), stored(loaded[split]), loaded[split], strict=True
        ):
            assert (theirs["mask"] is None) == (ours["mask"] is None)
            for name in ("image", "mask"):
                if ours[name]:
                    file = Path(ours.pop(name)["path"])
                    assert theirs.pop(name) == {"bytes": file.read_bytes(), "path": file.name}
                    with Image.open(file) as picture:
                        assert np.array_equal(decoded[name], picture)
            assert theirs == ours
    assert [row["mask"] is None for row in stored(loaded["test"])] == [False, True, True]


def test_no_path_of_this_machine_gets_to_the_hub(pushed, root):
    for path, content in pushed.files("org/parts", "dataset").items():
        assert str(root).encode() not in content, path
        assert str(Path.home()).encode() not in content, path


def test_the_card_says_whose_photos_they_are_and_how_to_use_them(pushed):
    card = DatasetCard(pushed.files("org/parts", "dataset")["README.md"].decode())
    assert card.data.license == "cc-by-nc-sa-4.0"  # a bottle is taken for MVTec AD's
    assert {"golden-sample", "anomaly-detection"} <= {*card.data.tags}
    assert {config["config_name"] for config in card.data.get("configs")} == {"bottle", "key"}
    assert "Bergmann et al., CVPR 2019" in card.text
    assert "| category | train | test | validation |" in card.text
    assert "| bottle | 3 | 3 | 2 |\n| key | 3 | 3 | 0 |" in card.text
    assert 'datasets.load_dataset("org/parts", "bottle")' in card.text
    assert "python training/train.py --data org/parts --category bottle" in card.text


def test_a_category_folder_on_a_branch_of_a_private_dataset(root, tmp_path):
    with serve() as hub:
        options = ("--private", "--revision", "new", "--license", "mit")
        finished = prepare(hub, tmp_path / "home", root / "key", "org/parts", *options)
        assert finished.returncode == 0, finished.stderr
        assert hub.is_private("org/parts", "dataset")
        assert {*hub.files("org/parts", "dataset")} == {".gitattributes"}
        files = hub.files("org/parts", "dataset", "new")
        assert {path for path in files if path.endswith(".parquet")} == {
            f"key/{split}-00000-of-00001.parquet" for split in ("train", "test")
        }
        assert DatasetCard(files["README.md"].decode()).data.license == "mit"


def test_a_push_that_fails_loses_nothing_and_goes_on_with_the_same_command(pushed, root, tmp_path):
    before = pushed.files("org/parts", "dataset")
    with serve() as hub:
        hub.add_repo("org/parts", before, kind="dataset")
        command = (tmp_path / "home", root, "org/parts", "--license", "mit")
        hub.fail("/commit/", status=500, times=1)
        finished = prepare(hub, *command)
        assert finished.returncode == 1
        assert finished.stderr.count("\n") == 1, finished.stderr
        assert "nothing is lost" in finished.stderr
        assert "give the same command again" in finished.stderr
        assert hub.files("org/parts", "dataset") == before
        assert prepare(hub, *command).returncode == 0
        after = hub.files("org/parts", "dataset")
        card, earlier = (DatasetCard(files.pop("README.md").decode()) for files in (after, before))
        assert after == before
        assert card.data.license == "mit"
        assert card.data.get("configs") == earlier.data.get("configs")


@pytest.mark.parametrize(
    ("options", "token", "message"),
    [((), READER_TOKEN, "can't be written"), (("--private",), OWNER_TOKEN, "exists and is public")],
)
def test_nothing_is_pushed_where_it_may_not_be(root, tmp_path, options, token, message):
    with serve() as hub:
        hub.add_repo("org/parts", {"README.md": b"# Parts\n"}, kind="dataset")
        finished = prepare(hub, tmp_path / "home", root, "org/parts", *options, token=token)
        assert finished.returncode == 2
        assert message in finished.stderr
        assert finished.stderr.count("\n") == 1, finished.stderr
        assert len(hub.commits("org/parts", "dataset")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "org/parts"), "nowhere does not exist"),
        ((".", "parts"), "must be ORG/NAME, found 'parts'"),
        ((".", "org/parts", "--category", "nut"), "--category nut is unknown"),
        ((".", "org/parts"), "001.png can't be read as a picture"),
        (("odd", "org/parts"), "'data' can't be a configuration"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    write_category(tmp_path / "bolt")
    write_category(tmp_path / "odd" / "data")
    damaged = tmp_path / "bolt" / "test" / "bent" / "001.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", OWNER_TOKEN)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1, said


def test_without_a_token_it_is_said_how_to_get_one(root, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert main([str(root), "org/parts"]) == 2
    assert "no access token" in capsys.readouterr().err
