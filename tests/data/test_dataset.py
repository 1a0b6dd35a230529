from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import ROOT
from loopback_hub import LoopbackHub, serve
from PIL import Image

from data.dataset import load_categories, load_inspection_dataset, split_calibration
from data.rows import FEATURES, DatasetError, decode_picture
from data.synthetic import PARTS


def write_picture(path: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).convert(mode).save(path)


def cut(path: Path) -> None:
    """Lose the end of a file, as a copy that was broken off does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def root(tmp_path) -> Path:
    """A category in the official layout, with every format that a user may have."""
    root = tmp_path / "parts"
    for name in ("000.png", "001.JPG", "002.bmp", "003.tif", "004.jpeg"):
        write_picture(root / "bolt" / "train" / "good" / name)
    (root / "bolt" / "train" / "good" / ".DS_Store").write_bytes(b"x")
    write_picture(root / "bolt" / "test" / "good" / "000.png")
    for name in ("000.png", "001.png"):
        write_picture(root / "bolt" / "test" / "bent" / name)
    write_picture(root / "bolt" / "ground_truth" / "bent" / "000_mask.png", mode="L")
    return root


def test_a_folder_in_the_official_layout(root):
    data = load_inspection_dataset(root, "bolt")
    assert data["train"].features == data["test"].features == FEATURES
    assert data["train"]["image_id"][:2] == ["bolt/train/good/000", "bolt/train/good/001"]
    assert len(data["train"]) == 5
    assert set(data["train"]["label"]) == {0}
    test = data["test"]
    assert test["defect"] == ["bent", "bent", "good"]
    assert test["label"] == [1, 1, 0]
    assert [mask is not None for mask in test["mask"]] == [True, False, False]
    assert test[0]["image"].size == test[0]["mask"].size == (12, 10)
    ids = [*data["train"]["image_id"], *test["image_id"]]
    assert len(set(ids)) == len(ids)


def test_the_category_folder_itself_and_a_root_with_one_category(root):
    expected = load_inspection_dataset(root, "bolt")["train"]["image_id"]
    assert load_inspection_dataset(root / "bolt")["train"]["image_id"] == expected
    assert load_inspection_dataset(root)["train"]["image_id"] == expected


def test_only_good_photos_are_enough_to_train(root):
    shutil.rmtree(root / "bolt" / "test")
    shutil.rmtree(root / "bolt" / "ground_truth")
    data = load_inspection_dataset(root, "bolt")
    assert len(data["train"]) == 5
    assert len(data["test"]) == 0
    assert data["test"].features == FEATURES


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda root: (root / "bolt/train/good/000.png").write_bytes(b"no"), "000.png can't be"),
        (lambda root: (root / "bolt/test/bent/001.png").write_bytes(b""), "001.png can't be read"),
        (lambda root: cut(root / "bolt/train/good/000.png"), "000.png can't be read"),
        (lambda root: cut(root / "bolt/train/good/001.JPG"), "001.JPG can't be read"),
        (lambda root: cut(root / "bolt/train/good/002.bmp"), "002.bmp can't be read"),
        (lambda root: cut(root / "bolt/train/good/003.tif"), "003.tif can't be read"),
        (lambda root: cut(root / "bolt/ground_truth/bent/000_mask.png"), "000_mask.png can't be"),
        (lambda root: shutil.rmtree(root / "bolt/train/good"), "holds no good photos"),
        (lambda root: shutil.rmtree(root / "bolt"), "no CATEGORY/train/good"),
        (
            lambda root: write_picture(root / "bolt/ground_truth/bent/000_mask.png", (6, 6)),
            "is 6 x 6 pixels, expected the size of its photo",
        ),
        (lambda root: shutil.rmtree(root), "does not exist"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(root, harm, message):
    harm(root)
    with pytest.raises(DatasetError, match=message) as caught:
        load_inspection_dataset(root, "bolt")
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_category_lists_those_that_exist(root):
    with pytest.raises(DatasetError, match=r"--category nut is unknown; it holds bolt"):
        load_inspection_dataset(root, "nut")
    write_picture(root / "washer" / "train" / "good" / "0.png")
    with pytest.raises(DatasetError, match=r"no --category was given; it holds bolt, washer"):
        load_inspection_dataset(root)


def test_a_mask_without_its_photo_is_a_warning(root):
    write_picture(root / "bolt" / "ground_truth" / "bent" / "009_mask.png", mode="L")
    with pytest.warns(UserWarning, match="009_mask.png has no photo"):
        load_inspection_dataset(root, "bolt")


def test_a_picture_that_only_decoding_shows_to_be_damaged_is_named():
    """A repository's pictures are not opened before they are used."""
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(whole, "JPEG")
    stored = {"bytes": whole.getvalue()[:1000], "path": None}
    photos = datasets.Dataset.from_dict(
        {"image": [stored], "image_id": ["bolt/test/bent/000"]},
        features=datasets.Features({name: FEATURES[name] for name in ("image", "image_id")}),
    )
    with pytest.raises(DatasetError, match="The image of bolt/test/bent/000 is damaged"):
        decode_picture(photos, 0, "image")


def test_a_turned_photo_is_compared_with_its_mask_upright(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "bolt/test/bent/000.png") as photo:
        photo.load()
    photo.save(root / "bolt/test/bent/000.png", exif=exif)  # 12 x 10 as stored, 10 x 12 upright
    write_picture(root / "bolt/ground_truth/bent/000_mask.png", (10, 12), "L")
    assert load_inspection_dataset(root, "bolt")["test"][0]["mask"].size == (10, 12)


SMALL = "train=6&test_good=2&test_per_defect=1&size=64"


def test_synthetic_parts_have_exact_numbers_and_masks():
    data = load_inspection_dataset(f"synthetic:key?{SMALL}")
    assert len(data["train"]) == 6
    assert data["train"].features == FEATURES
    labels = data["test"]["label"]
    assert labels.count(0) == 2
    for photo in data["test"]:
        assert (photo["mask"] is None) == (photo["defect"] == "good")


def test_synthetic_parts_depend_on_the_seed_alone_and_splits_never_meet():
    first, again = (load_inspection_dataset(f"synthetic:key?{SMALL}") for _ in range(2))
    other = load_inspection_dataset(f"synthetic:key?{SMALL}", seed=1)

    def contents(split):
        undecoded = split.cast_column("image", datasets.Image(decode=False))
        return [photo["image"]["bytes"] for photo in undecoded]

    assert contents(first["train"]) == contents(again["train"])
    every = contents(first["train"]) + contents(first["test"])
    every += contents(other["train"]) + contents(other["test"])
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("data", "category", "message"),
    [
        ("synthetic:teapot", None, "choose one of flange_nut, key, fabric"),
        ("synthetic:key", "bolt", "The category of synthetic:key is key"),
        ("synthetic:key?trian=3", None, "trian=3"),
        ("synthetic:key?size=8", None, "size must lie between 64 and 1024"),
    ],
)
def test_a_wrong_synthetic_name_is_one_sentence(data, category, message):
    with pytest.raises(DatasetError, match=message.replace("?", r"\?")):
        load_inspection_dataset(data, category)


@pytest.fixture
def two_categories(root) -> Path:
    shutil.copytree(root / "bolt", root / "nut")
    return root


@pytest.mark.parametrize("names", [["nut", "bolt"], ["nut", "bolt", "nut"], ["all"]])
def test_several_categories_come_as_one_dataset(two_categories, names):
    root = two_categories
    several = load_categories(root, names)
    found = set(several["train"]["category"])
    assert found == ({*names} if names != ["all"] else {"bolt", "nut"})
    for split in ("train", "test"):
        alone = [load_inspection_dataset(root, name)[split] for name in sorted(found)]
        assert sorted(several[split]["image_id"]) == sorted(
            image_id for one in alone for image_id in one["image_id"]
        )


def test_all_categories_of_a_folder_without_any_is_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match="holds no CATEGORY/train/good folder"):
        load_categories(tmp_path, ["all"])


def test_all_synthetic_parts_are_one_dataset():
    data = "synthetic:all?train=3&test_good=1&test_per_defect=1&size=64"
    assert {*load_categories(data, ["all"])["train"]["category"]} == {*PARTS}


def test_each_category_gives_its_share_to_calibration(two_categories):
    train = load_categories(two_categories, ["all"])["train"]
    _, held_out = split_calibration(train, 0.4, seed=0)
    assert set(held_out["category"]) == set(train["category"])


def test_the_held_out_part_is_disjoint_complete_and_repeatable(root):
    train = load_inspection_dataset(root, "bolt")["train"]
    good, held_out = split_calibration(train, 0.4, seed=3)
    ids = set(good["image_id"]), set(held_out["image_id"])
    assert not ids[0] & ids[1]
    assert ids[0] | ids[1] == set(train["image_id"])
    assert len(held_out) == 2
    assert split_calibration(train, 0.4, seed=3)[1]["image_id"] == held_out["image_id"]
    with pytest.raises(DatasetError, match="calibration_fraction"):
        split_calibration(train, 1.0, seed=0)
    with pytest.raises(DatasetError, match="at least 3 good photos"):
        split_calibration(train.select([0, 1]), 0.5, seed=0)
    with pytest.raises(DatasetError, match=r"at least 3 good photos .*, and there are none"):
        split_calibration(train.select([]), 0.5, seed=0)


def png(seed: int, mode: str = "RGB") -> dict:
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{seed:03d}.png"}


def write_own_layout(folder: Path) -> None:
    configs = []
    for category in ("bolt", "nut"):
        for split, defect in (("train", "good"), ("test", "bent")):
            rows = {
                "image": [png(1), png(2)],
                "mask": [None if defect == "good" else png(3, "L")] * 2,
                "label": [int(defect != "good")] * 2,
                "defect": [defect] * 2,
                "category": [category] * 2,
                "image_id": [f"{category}/{split}/{defect}/{n}" for n in range(2)],
            }
            path = folder / category / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(rows, features=FEATURES).to_parquet(path)
        files = "".join(
            f"      - split: {split}\n        path: {category}/{split}.parquet\n"
            for split in ("train", "test")
        )
        configs.append(f"  - config_name: {category}\n    data_files:\n{files}")
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n")


def write_split_layout(folder: Path) -> None:
    features = datasets.Features(
        {
            "image_path": datasets.Image(),
            "split": datasets.Value("string"),
            "object": datasets.Value("string"),
            "defect": datasets.Value("string"),
            "label": datasets.Value("int64"),
            "mask_path": datasets.Image(),
        }
    )
    (folder / "data").mkdir(parents=True)
    for category in ("bolt", "nut"):
        for split, defect in (("train", "good"), ("test", "bent")):
            rows = {
                "image_path": [png(1), png(2)],
                "split": [split] * 2,
                "object": [category] * 2,
                "defect": [defect] * 2,
                "label": [int(defect != "good")] * 2,
                "mask_path": [None if defect == "good" else png(3, "L")] * 2,
            }
            name = f"{category}.{split}-00000-of-00001.parquet"
            datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "data" / name)


def write_fiftyone_layout(folder: Path) -> None:
    samples = []
    for category in ("bolt", "nut"):
        for number, (split, defect) in enumerate((("train", "good"), ("test", "bent")) * 2):
            sample = {
                "filepath": f"data/{category}-{number}.png",
                "tags": [split],
                "category": {"label": category},
                "defect": {"label": defect},
            }
            write_picture(folder / sample["filepath"])
            if defect != "good":
                sample["defect_mask"] = {"mask_path": f"masks/{category}-{number}.png"}
                write_picture(folder / sample["defect_mask"]["mask_path"], mode="L")
            samples.append(sample)
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))


def load_in_a_fresh_process(hub: LoopbackHub, home: Path, repo: str, category: str) -> dict:
    """What the real client makes of the Hub, with an empty cache."""
    code = (
        "import json, sys\n"
        "from data.dataset import DatasetError, FEATURES, load_inspection_dataset\n"
        "try:\n"
        "    data = load_inspection_dataset(sys.argv[1], sys.argv[2])\n"
        "except DatasetError as error:\n"
        "    print(json.dumps({'error': str(error)}))\n"
        "else:\n"
        "    assert data['train'].features == FEATURES\n"
        "    photo = data['test'][0]\n"
        "    assert photo['image'].size == photo['mask'].size\n"
        "    print(json.dumps({split: data[split].num_rows for split in data} | {\n"
        "        'defects': list(data['test']['defect']),\n"
        "        'categories': list(data['train']['category'])}))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, repo, category],
        env=hub.environment(home) | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("write", [write_own_layout, write_split_layout, write_fiftyone_layout])
def test_every_layout_on_the_hub_downloads_one_category_only(write, tmp_path):
    write(tmp_path / "repo")
    with serve() as hub:
        hub.add_repo("org/parts", tmp_path / "repo", kind="dataset")
        found = load_in_a_fresh_process(hub, tmp_path / "home", "org/parts", "bolt")
        assert found == {
            "train": 2,
            "test": 2,
            "defects": ["bent", "bent"],
            "categories": ["bolt", "bolt"],
        }
        assert hub.downloaded
        assert not [name for name in hub.downloaded if "nut" in name]


def test_an_unknown_category_and_an_unknown_dataset_on_the_hub(tmp_path):
    write_split_layout(tmp_path / "repo")
    with serve() as hub:
        hub.add_repo("org/parts", tmp_path / "repo", kind="dataset")
        found = load_in_a_fresh_process(hub, tmp_path / "home", "org/parts", "gear")
        assert "it holds bolt, nut" in found["error"]
        found = load_in_a_fresh_process(hub, tmp_path / "home", "org/other", "gear")
        assert "org/other could not be read from the Hub" in found["error"]
