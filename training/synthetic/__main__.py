"""Contact sheet of a part: good photos above, one row of each defect below.

python -m training.synthetic flange_nut --sheet sheet.png
"""

from __future__ import annotations

import argparse

from PIL import Image

from . import PARTS, defects_of, render


def contact_sheet(part: str, columns: int = 6, size: int = 256, first_seed: int = 0) -> Image.Image:
    """One row of photos for ``"good"`` and for each defect of a part, left to right by seed."""
    kinds = ("good", *defects_of(part))
    sheet = Image.new("RGB", (columns * size, len(kinds) * size))
    for row, kind in enumerate(kinds):
        for column in range(columns):
            photo = render(part, seed=first_seed + column, defect=kind, size=size)
            sheet.paste(photo.image, (column * size, row * size))
    return sheet


def main() -> None:
    """Parse the command line and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sheet", required=True, help="picture file to write")
    arguments = parser.parse_args()
    contact_sheet(arguments.part).save(arguments.sheet)


if __name__ == "__main__":
    main()
