"""Ways to spoil a folder of photos, each with the kind of problem that exploration should name.

Each takes the folder of the category bolt and answers the place that is to be reported.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, size: tuple[int, int] = (24, 24)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(80, 120, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def save(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def break_photo(bolt: Path) -> str:
    path = bolt / "train/good/007.png"
    path.write_bytes(path.read_bytes()[:200])
    return "bolt/train/good/007.png"


def break_checksum(bolt: Path) -> str:
    path = bolt / "test/dent/001.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    return "bolt/test/dent/001.png"


def break_text(bolt: Path) -> str:
    (bolt / "test/good/note.png").write_text("no picture")
    return "bolt/test/good/note.png"


def break_mask(bolt: Path) -> str:
    (bolt / "ground_truth/dent/001_mask.png").write_bytes(b"")
    return "bolt/test/dent/001.png"


def resize_mask(bolt: Path) -> str:
    save(Image.new("L", (24, 20), 255), bolt / "ground_truth/dent/001_mask.png")
    return "bolt/test/dent/001.png"


def empty_mask(bolt: Path) -> str:
    save(Image.new("L", (24, 24), 1), bolt / "ground_truth/dent/001_mask.png")
    return "bolt/test/dent/001.png"


def invert_mask(bolt: Path) -> str:
    save(Image.new("L", (24, 24), 255), bolt / "ground_truth/dent/001_mask.png")
    return "bolt/test/dent/001.png"


def remove_mask(bolt: Path) -> str:
    (bolt / "ground_truth/dent/001_mask.png").unlink()
    return "bolt/test/dent/001.png"


def remove_masked_photo(bolt: Path) -> str:
    (bolt / "test/dent/001.png").unlink()
    return "bolt/ground_truth/dent/001_mask.png"


def mask_of_no_kind(bolt: Path) -> str:
    save(Image.new("L", (24, 24), 255), bolt / "ground_truth/bent/000_mask.png")
    return "bolt/ground_truth/bent/000_mask.png"


def second_mask(bolt: Path) -> str:
    shutil.copy(bolt / "ground_truth/dent/001_mask.png", bolt / "ground_truth/dent/001.png")
    return "bolt/ground_truth/dent/001.png"


def mask_of_good(bolt: Path) -> str:
    mask = Image.new("L", (24, 24))
    mask.paste(255, (0, 0, 3, 3))
    save(mask, bolt / "ground_truth/good/001_mask.png")
    return "bolt/test/good/001.png"


def second_suffix(bolt: Path) -> str:
    save(noise(9), bolt / "test/dent/001.bmp")
    return "bolt/test/dent/001.bmp"


def other_size(bolt: Path) -> str:
    save(noise(9, (48, 48)), bolt / "train/good/010.png")
    return "bolt/train/good/010.png"


def other_shape(bolt: Path) -> str:
    save(noise(9, (32, 24)), bolt / "train/good/010.png")
    return "bolt/train/good/010.png"


def other_mode(bolt: Path) -> str:
    save(noise(9).convert("L"), bolt / "train/good/010.png")
    return "bolt/train/good/010.png"


def webp(bolt: Path) -> str:
    save(noise(9), bolt / "train/good/extra.webp")
    return "bolt/train/good/extra.webp"


def loose_photo(bolt: Path) -> str:
    save(noise(9), bolt / "test/loose.png")
    return "bolt/test/loose.png"


def folder_in_train(bolt: Path) -> str:
    save(noise(9), bolt / "train/bad/000.png")
    return "bolt/train/bad"


def text_file(bolt: Path) -> str:
    (bolt / "train/good/Thumbs.db").write_bytes(b"x")
    return "bolt/train/good/Thumbs.db"


def copy_into_test(bolt: Path) -> str:
    shutil.copy(bolt / "train/good/003.png", bolt / "test/good/copy.png")
    return "bolt/test/good/copy.png"


def copy_as_defect(bolt: Path) -> str:
    shutil.copy(bolt / "train/good/003.png", bolt / "test/dent/001.png")
    return "bolt/test/dent/001.png"


def copy_within_train(bolt: Path) -> str:
    save(Image.open(bolt / "train/good/003.png"), bolt / "train/good/copy.bmp")
    return "bolt/train/good/copy.bmp"


def copy_of_another_category(bolt: Path) -> str:
    path = bolt.parent / "nail/train/good/000.png"
    path.parent.mkdir(parents=True)
    shutil.copy(bolt / "train/good/003.png", path)
    return "nail/train/good/000.png"


def no_good_test_photos(bolt: Path) -> str:
    shutil.rmtree(bolt / "test/good")
    return "bolt/test/good"


def no_defective_test_photos(bolt: Path) -> str:
    shutil.rmtree(bolt / "test/dent")
    shutil.rmtree(bolt / "ground_truth")
    return "bolt/test"


def no_test_photos(bolt: Path) -> str:
    shutil.rmtree(bolt / "test")
    shutil.rmtree(bolt / "ground_truth")
    return "bolt/test"


def no_masks(bolt: Path) -> str:
    shutil.rmtree(bolt / "ground_truth")
    return "bolt/ground_truth"


def no_good_photos(bolt: Path) -> str:
    (bolt / "train/good").rename(bolt / "train/Good")
    return "bolt/train/good"


def keep_good_photos(bolt: Path, count: int) -> str:
    for path in sorted((bolt / "train/good").iterdir())[count:]:
        path.unlink()
    return "bolt/train/good"


def two_good_photos(bolt: Path) -> str:
    return keep_good_photos(bolt, 2)


def too_few_for_the_promise(bolt: Path) -> str:
    return keep_good_photos(bolt, 40)


def darker_test(bolt: Path) -> str:
    for index in range(12):
        dark = noise(1000 + index).point(lambda value: value // 2)
        save(dark, bolt / "test/good" / f"{index:03d}.png")
    return "bolt/test/good"


SPOILERS = (
    ("unreadable_photo", break_photo),
    ("unreadable_photo", break_checksum),
    ("unreadable_photo", break_text),
    ("unreadable_mask", break_mask),
    ("mask_size", resize_mask),
    ("empty_mask", empty_mask),
    ("large_mask", invert_mask),
    ("photo_without_mask", remove_mask),
    ("mask_without_photo", remove_masked_photo),
    ("mask_without_photo", mask_of_no_kind),
    ("two_masks", second_mask),
    ("good_with_defect", mask_of_good),
    ("same_name", second_suffix),
    ("mixed_sizes", other_size),
    ("mixed_shapes", other_shape),
    ("mixed_modes", other_mode),
    ("ignored_picture", webp),
    ("ignored_picture", loose_photo),
    ("ignored_folder", folder_in_train),
    ("ignored_file", text_file),
    ("leak", copy_into_test),
    ("contradiction", copy_as_defect),
    ("twice", copy_within_train),
    ("other_category", copy_of_another_category),
    ("no_good_test_photos", no_good_test_photos),
    ("no_defective_test_photos", no_defective_test_photos),
    ("no_test_photos", no_test_photos),
    ("no_masks", no_masks),
    ("no_good_photos", no_good_photos),
    ("few_good_photos", two_good_photos),
    ("weak_promise", too_few_for_the_promise),
    ("other_light", darker_test),
)
