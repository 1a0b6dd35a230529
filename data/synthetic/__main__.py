"""Pictures of a part for people: a contact sheet, or one photo of each kind.

python -m data.synthetic flange_nut --sheet sheet.png
python -m data.synthetic flange_nut --photos assets/examples/flange_nut
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from . import PARTS, defects_of, render

EXAMPLE_SEED = 5_000_000  # far from the seeds of training and test photos
# As the training photos are drawn: another size or visible JPEG artefacts are another camera, and a
# model that was calibrated on one rightly finds good photos of another unusual.
SIZE = 256


def contact_sheet(part: str) -> Image.Image:
    """A row of six photos for ``"good"`` and for each defect of a part, left to right by seed."""
    kinds = ("good", *defects_of(part))
    sheet = Image.new("RGB", (6 * SIZE, len(kinds) * SIZE))
    for row, kind in enumerate(kinds):
        for seed in range(6):
            photo = render(part, seed=seed, defect=kind, size=SIZE)
            sheet.paste(photo.image, (seed * SIZE, row * SIZE))
    return sheet


def write_photos(part: str, folder: Path) -> None:
    """One JPEG for ``"good"`` and for each defect of a part, each of another specimen."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, kind in enumerate(("good", *defects_of(part))):
        photo = render(part, seed=EXAMPLE_SEED + number, defect=kind, size=SIZE)
        photo.image.save(folder / f"{kind}.jpg", quality=100, subsampling=0)


def main() -> None:
    """Parse the command line and write what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sheet", help="picture file to write: six photos of each kind")
    parser.add_argument("--photos", type=Path, help="folder to write one photo of each kind to")
    arguments = parser.parse_args()
    if arguments.sheet:
        contact_sheet(arguments.part).save(arguments.sheet)
    if arguments.photos:
        write_photos(arguments.part, arguments.photos)


if __name__ == "__main__":
    main()
