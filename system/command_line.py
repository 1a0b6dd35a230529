"""What the command lines of this folder share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def whole_number_from(least: int) -> Callable[[str], int]:
    """What argparse takes as the type of a whole number that is not below `least`.

    Args:
        least: 0 or more.
    """

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} up, found {text!r}"
            )
        return int(text)

    return read


def unusable_path(error: OSError, output: Path, options: str) -> str:
    """One sentence about a path that can't be used.

    Args:
        error: what the system said.
        output: where results go, which is meant if the error names no path.
        options: which to check, such as "--output_dir".
    """
    return (
        f"{error.filename or output} can't be read or written ({error.strerror or error}); check "
        f"{options}."
    )
